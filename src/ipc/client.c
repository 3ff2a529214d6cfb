/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdalign.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void ipc_answer_done(struct ipc_answer *answer)
{
    for (size_t i = 0; i < answer->fd_count; i++)
        close(answer->fds[i]);
    answer->fd_count = 0;
}

void ipc_request_init(struct ipc_request *request, enum ipc_op op)
{
    memset(request, 0, sizeof *request);
    request->op = op;
}

void ipc_client_close(struct ipc_client *client)
{
    fd_done(&client->fd);
}

static int client_lost(struct ipc_client *client, int error, struct err *ret_err, const char *what)
{
    ipc_client_close(client);
    return err_set(ret_err, error, ERR_NETD_UNAVAILABLE, "", "tunwright-netd %s", what);
}

bool ipc_client_is_alive(const struct ipc_client *client)
{
    char byte;
    if (client->fd < 0)
        return false;
    ssize_t length = recv(client->fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT);
    return length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR));
}

/* 0: ready. -ETIMEDOUT. */
static int client_wait(const struct ipc_client *client, short events, int64_t deadline_ns)
{
    for (;;) {
        int64_t left_ns = deadline_ns - clock_monotonic_ns();
        struct pollfd ready = {.fd = client->fd, .events = events};
        int count = poll(&ready, 1, left_ns <= 0 ? 0 : (int)((left_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC));
        if (count > 0)
            return 0;
        if (count < 0 && errno != EINTR)
            return -errno;
        if (count == 0 && left_ns <= 0)
            return -ETIMEDOUT;
    }
}

int ipc_client_send(struct ipc_client *client, struct ipc_request *request, const char *text, int64_t deadline_ns,
                    struct err *ret_err)
{
    if (client->fd < 0)
        return client_lost(client, -ENOTCONN, ret_err, "is not connected");
    request->magic = IPC_MAGIC;
    request->size = sizeof *request;
    request->serial = ++client->serial;
    size_t text_length = text ? ipc_request_text_length(request) : 0;
    for (;;) {
        int result = seqpacket_send(client->fd, request, sizeof *request, text, text_length, NULL, 0, MSG_DONTWAIT);
        if (result == 0)
            return 0;
        if (result != -EAGAIN)
            return client_lost(client, -ENOTCONN, ret_err, "closed the connection");
        if (client_wait(client, POLLOUT, deadline_ns) < 0)
            return client_lost(client, -ETIMEDOUT, ret_err, "does not take requests");
    }
}

static int answer_take(struct ipc_answer *answer, const struct ipc_reply *reply, const char *text, struct err *ret_err)
{
    answer->reply = *reply;
    memcpy(answer->text, text, reply->text_length);
    answer->text[reply->text_length] = '\0';
    if (reply->error == 0)
        return 0;
    if (ret_err) {
        *ret_err = reply->err;
        if (ret_err->code == ERR_NONE)
            ret_err->code = ERR_INTERNAL;
    }
    return reply->error;
}

int ipc_client_receive_any(struct ipc_client *client, uint32_t oldest, int64_t deadline_ns,
                           struct ipc_answer *ret_answer, struct err *ret_err)
{
    ret_answer->fd_count = 0;
    if (client->fd < 0)
        return client_lost(client, -ENOTCONN, ret_err, "is not connected");
    for (;;) {
        alignas(struct ipc_reply) char packet[sizeof(struct ipc_reply) + WORKER_STATUS_MAX];
        size_t length = 0;
        ret_answer->fd_count = IPC_ANSWER_FDS_MAX;
        int result = seqpacket_receive(client->fd, packet, sizeof packet, &length, ret_answer->fds,
                                       &ret_answer->fd_count, MSG_DONTWAIT);
        if (result == -EAGAIN) {
            if (client_wait(client, POLLIN, deadline_ns) < 0)
                return client_lost(client, -ETIMEDOUT, ret_err, "did not answer in time");
            continue;
        }
        if (result < 0 || length == 0)
            return client_lost(client, -ENOTCONN, ret_err, "went away before it answered");

        const struct ipc_reply *reply;
        const char *text;
        if (ipc_reply_check(packet, length, &reply, &text, NULL) < 0) {
            ipc_answer_done(ret_answer);
            return client_lost(client, -ENOTCONN, ret_err, "answered what cannot be understood");
        }
        /* what belongs to a request that nobody waits for any more */
        if (reply->op == IPC_OP_N || reply->serial - oldest > client->serial - oldest) {
            ipc_answer_done(ret_answer);
            continue;
        }
        return answer_take(ret_answer, reply, text, ret_err);
    }
}

int ipc_client_receive(struct ipc_client *client, int64_t deadline_ns, struct ipc_answer *ret_answer,
                       struct err *ret_err)
{
    return ipc_client_receive_any(client, client->serial, deadline_ns, ret_answer, ret_err);
}

int ipc_client_call(struct ipc_client *client, struct ipc_request *request, const char *text, int64_t timeout_ms,
                    struct ipc_answer *ret_answer, struct err *ret_err)
{
    int64_t deadline_ns = clock_monotonic_ns() + timeout_ms * NSEC_PER_MSEC;
    ret_answer->fd_count = 0;
    int result = ipc_client_send(client, request, text, deadline_ns, ret_err);
    return result < 0 ? result : ipc_client_receive(client, deadline_ns, ret_answer, ret_err);
}

int ipc_client_connect(struct ipc_client *client, const char *path, int64_t timeout_ms, struct err *ret_err)
{
    ipc_client_close(client);
    struct err why = {0};
    if (seqpacket_connect(path, &client->fd, &why) < 0) {
        client->fd = -1;
        return err_set(ret_err, -ENOTCONN, ERR_NETD_UNAVAILABLE, "", "tunwright-netd is away: %s", why.message);
    }
    struct ipc_request hello;
    struct ipc_answer answer;
    ipc_request_init(&hello, IPC_HELLO);
    int result = ipc_client_call(client, &hello, NULL, timeout_ms, &answer, &why);
    ipc_answer_done(&answer);
    if (result == 0)
        return 0;
    ipc_client_close(client);
    return err_set(ret_err, -ENOTCONN, ERR_NETD_UNAVAILABLE, "", "%s", why.message);
}

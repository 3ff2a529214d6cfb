/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/control.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

static void control_take_fds(struct msghdr *header, struct control_message *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
            if (message->fd_count < ARRAY_SIZE(message->fds))
                message->fds[message->fd_count++] = fd;
            else
                fd_done(&fd);
        }
    }
}

static void control_close_fds(struct control_message *message)
{
    while (message->fd_count > 0)
        fd_done(&message->fds[--message->fd_count]);
}

int control_receive(int fd, struct control_buffer *buffer, struct control_message *ret_message, struct err *ret_err)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int) * WORKER_FDS_MAX)];
    struct iovec part = {.iov_base = buffer->bytes, .iov_len = WORKER_MESSAGE_MAX};
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct control_message message = {.packet = buffer->bytes};
    ssize_t n;
    int r;

    do
        n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? -EAGAIN : -ECONNRESET;
    message.length = (size_t)n;
    control_take_fds(&header, &message);
    if (n == 0) {
        control_close_fds(&message);
        return -ECONNRESET;
    }
    buffer->bytes[n] = '\0';
    if (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        err_set(ret_err, -EPROTO, ERR_LIMIT_EXCEEDED, "", "the message is too long or carries too many descriptors");
        control_close_fds(&message);
        return -EPROTO;
    }
    r = config_head_parse(message.packet, message.length, &message.head, ret_err);
    if (r < 0) {
        control_close_fds(&message);
        return -EPROTO;
    }
    *ret_message = message;
    return 0;
}

int control_send(int fd, const char *verb, const char *body, size_t body_length, const int *fds, size_t fd_count)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int) * WORKER_FDS_MAX)] = {0};
    struct iovec parts[] = {
        {.iov_base = (void *)(uintptr_t)verb, .iov_len = strlen(verb)},
        {.iov_base = (void *)(uintptr_t) "\n", .iov_len = 1},
        {.iov_base = (void *)(uintptr_t)body, .iov_len = body_length},
    };
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts)};

    if (fd_count > WORKER_FDS_MAX)
        return -EINVAL;
    if (fd_count > 0) {
        struct cmsghdr *c;

        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
    }
    while (sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int control_send_failed(int fd, const struct err *err)
{
    CLEANUP(text_done) char *text = NULL;
    char detail[ERR_POINTER_MAX + ERR_MESSAGE_MAX + 4];
    cJSON *body = cJSON_CreateObject();

    snprintf(detail, sizeof(detail), "%s%s%s", err->pointer, err->pointer[0] ? ": " : "", err->message);
    if (cJSON_AddStringToObject(body, "detail", detail))
        text = cJSON_PrintUnformatted(body);
    cJSON_Delete(body);
    return control_send(fd, "failed", text ? text : "{}", text ? strlen(text) : 2, NULL, 0);
}

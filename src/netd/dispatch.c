/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may speak here is said by the kernel (SO_PEERCRED, once, when they connect); what may be said, by the check in
 * src/ipc/message.c; what is done about it, by the table below. A client that speaks another language, does not begin
 * with a hello, or does not read its answers is dropped.
 */
#include "dispatch.h"

#include "devices.h"
#include "worker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* One turn of the loop has its price, and a run of steps comes in as many packets as steps. */
#define REQUESTS_AT_ONCE 16

struct netd_client {
    struct netd *netd;
    uint64_t number;
    struct watch watch;
    bool greeted; /* has said hello */
    bool subscribed;
    bool listing; /* a WORKER_LIST is on its way; nothing else is read meanwhile */
    uint32_t list_serial;
    uint64_t list_after; /* the number of the last device in it */
};

/* ---- answering --------------------------------------------------------------------------------------------------- */

static struct netd_client *client_find(const struct netd *netd, uint64_t number)
{
    for (size_t i = 0; i < NETD_CLIENTS_MAX; i++)
        if (netd->clients[i] && netd->clients[i]->number == number)
            return netd->clients[i];
    return NULL;
}

static void client_close(struct netd_client *client)
{
    struct netd *netd = client->netd;
    for (size_t i = 0; i < NETD_CLIENTS_MAX; i++)
        if (netd->clients[i] == client)
            netd->clients[i] = NULL;
    watch_close(netd, &client->watch);
    worker_captures_end(netd, client->number);
    free(client);
}

static void reply_init(struct ipc_reply *reply, uint32_t op, uint32_t serial)
{
    memset(reply, 0, sizeof *reply);
    reply->magic = IPC_MAGIC;
    reply->op = op;
    reply->serial = serial;
}

static void client_reply(struct netd_client *client, uint32_t op, uint32_t serial, int error, const struct err *err,
                         const int *fds, size_t fd_count)
{
    struct ipc_reply reply;
    reply_init(&reply, op, serial);
    reply.error = error;
    if (error < 0 && err)
        reply.err = *err;
    if (error < 0 && reply.err.code == ERR_NONE)
        err_set_kernel(&reply.err, error, ipc_op_name(op), "refused");
    if (seqpacket_send(client->watch.fd, &reply, sizeof reply, NULL, 0, fds, fd_count, MSG_DONTWAIT) < 0) {
        /* its handler may still be in hand further up: the end of file makes the loop drop it */
        shutdown(client->watch.fd, SHUT_RDWR);
    }
}

void dispatch_end_client(struct netd *netd, uint64_t number)
{
    const struct netd_client *client = client_find(netd, number);
    if (client) /* the loop finds its end of file, and drops it */
        shutdown(client->watch.fd, SHUT_RDWR);
}

void request_answer(const struct request *request, int error, const struct err *err, const int *fds, size_t fd_count)
{
    struct netd_client *client = client_find(request->netd, request->client);
    char uuid[UUID_TEXT_SIZE];
    /* "not now" is no refusal, and of several devices each is going to be asked for by itself */
    if (error < 0 && error != -EAGAIN && request->packet->op != IPC_DEVICES_DELETE && netd_may_log(request->netd))
        log_info("%s of %s refused: %s", ipc_op_name(request->packet->op),
                 uuid_print(&request->packet->device.uuid, uuid),
                 err && err->message[0] ? err->message : errno_name(error));
    if (client)
        client_reply(client, request->packet->op, request->packet->serial, error, err, fds, fd_count);
}

void dispatch_event(struct netd *netd)
{
    struct ipc_reply event;
    reply_init(&event, IPC_OP_N, 0);
    for (size_t i = 0; i < NETD_CLIENTS_MAX; i++)
        if (netd->clients[i] && netd->clients[i]->subscribed)
            /* where it does not fit, there are others before it that say the same */
            seqpacket_send(netd->clients[i]->watch.fd, &event, sizeof event, NULL, 0, NULL, 0, MSG_DONTWAIT);
}

struct waiter *waiter_new(const struct request *request)
{
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (waiter) {
        waiter->client = request->client;
        waiter->packet = *request->packet;
    }
    return waiter;
}

void waiter_answer(struct netd *netd, struct waiter *waiter, int error, const struct err *err)
{
    if (!waiter)
        return;
    struct request request = {.netd = netd, .client = waiter->client, .packet = &waiter->packet, .text = ""};
    request_answer(&request, error, err, NULL, 0);
    free(waiter);
}

/* ---- the requests that are the connection's own ------------------------------------------------------------------ */

static int handle_hello(const struct request *request, struct err *ret_err)
{
    (void)ret_err;
    struct netd_client *client = client_find(request->netd, request->client);
    if (client)
        client->greeted = true;
    return 0;
}

static int handle_subscribe(const struct request *request, struct err *ret_err)
{
    (void)ret_err;
    struct netd_client *client = client_find(request->netd, request->client);
    if (client)
        client->subscribed = true;
    return 0;
}

/* Sends as much of the list as fits; the loop calls again when there is room. */
static void client_list(struct netd_client *client)
{
    struct netd *netd = client->netd;
    for (size_t i = 0; i <= netd->device_count; i++) {
        bool last = i == netd->device_count;
        if (!last && (netd->devices[i]->number <= client->list_after || !netd->devices[i]->worker))
            continue;
        struct ipc_reply reply;
        const char *text = NULL;
        reply_init(&reply, IPC_WORKER_LIST, client->list_serial);
        if (!last) {
            reply.more = 1;
            worker_describe(netd->devices[i]->worker, &reply.worker, &text, &reply.text_length);
        }
        int result =
            seqpacket_send(client->watch.fd, &reply, sizeof reply, text, reply.text_length, NULL, 0, MSG_DONTWAIT);
        if (result == -EAGAIN) {
            watch_set(netd, &client->watch, EPOLLOUT);
            return;
        }
        if (result < 0)
            break;
        if (!last)
            client->list_after = netd->devices[i]->number;
    }
    client->listing = false;
    watch_set(netd, &client->watch, EPOLLIN);
}

static int handle_worker_list(const struct request *request, struct err *ret_err)
{
    (void)ret_err;
    struct netd_client *client = client_find(request->netd, request->client);
    if (client) {
        client->listing = true;
        client->list_serial = request->packet->serial;
        client->list_after = 0;
        client_list(client);
    }
    return ANSWER_LATER;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static int (*const handlers[])(const struct request *request, struct err *ret_err) = {
    [IPC_HELLO] = handle_hello,
    [IPC_DEVICE_CREATE] = handle_device_create,
    [IPC_DEVICE_DELETE] = handle_device_delete,
    [IPC_DEVICES_DELETE] = handle_devices_delete,
    [IPC_DEVICE_ADOPT] = handle_device_adopt,
    [IPC_DEVICE_RELEASE] = handle_device_release,
    [IPC_LINK_SET] = handle_link_set,
    [IPC_ADDRESS_ADD] = handle_address_add,
    [IPC_ADDRESS_DELETE] = handle_address_delete,
    [IPC_ROUTE_ADD] = handle_route_add,
    [IPC_ROUTE_DELETE] = handle_route_delete,
    [IPC_WORKER_START] = handle_worker_start,
    [IPC_WORKER_CONFIGURE] = handle_worker_configure,
    [IPC_WORKER_STOP] = handle_worker_stop,
    [IPC_WORKER_LIST] = handle_worker_list,
    [IPC_WORKER_PAGE] = handle_worker_page,
    [IPC_NETNS_SOCKET] = handle_netns_socket,
    [IPC_SUBSCRIBE] = handle_subscribe,
    [IPC_WORKER_CAPTURE] = handle_worker_capture,
};
static_assert(ARRAY_SIZE(handlers) == IPC_OP_N, "one handler an operation");

static void request_handle(const struct request *request)
{
    struct err err = {0};
    int result = handlers[request->packet->op](request, &err);
    if (result != ANSWER_LATER)
        request_answer(request, result, &err, NULL, 0);
}

void waiter_again(struct netd *netd, struct waiter *waiter)
{
    struct request request = {.netd = netd, .client = waiter->client, .packet = &waiter->packet, .text = ""};
    request_handle(&request);
    free(waiter);
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

static void client_refuse(struct netd_client *client, const char *why)
{
    if (netd_may_log(client->netd))
        log_warning("a client was dropped: %s", why);
    client_close(client);
}

/* Takes one request; false where there is none, or the client has gone, or nothing more is to be read now. */
static bool client_read(struct netd_client *client)
{
    static alignas(struct ipc_request) char packet[IPC_PACKET_MAX];
    const struct ipc_request *checked;
    const char *text;
    size_t length = 0;
    struct err err = {0};
    /* no request brings descriptors: with no room for them, a packet that has any is refused */
    int result = seqpacket_receive(client->watch.fd, packet, sizeof packet, &length, NULL, NULL, MSG_DONTWAIT);
    if (result == -EAGAIN)
        return false;
    if (result == -EMSGSIZE) {
        client_refuse(client, "a packet too long, or with descriptors");
        return false;
    }
    if (result < 0 || length == 0) { /* it has gone; with events unread, that is ECONNRESET */
        client_close(client);
        return false;
    }
    result = ipc_request_check(packet, length, &checked, &text, &err);
    if (result == -EPROTO) {
        client_refuse(client, err.message);
        return false;
    }
    if (!client->greeted && (result < 0 || checked->op != IPC_HELLO)) {
        client_refuse(client, "it did not begin with a hello");
        return false;
    }
    if (result < 0) {
        /* magic and size are right, so op and serial are what they seem */
        const struct ipc_request *request = (const struct ipc_request *)packet;
        if (netd_may_log(client->netd))
            log_warning("a malformed %s was refused: %s", ipc_op_name(request->op), err.message);
        client_reply(client, request->op < IPC_OP_N ? request->op : IPC_HELLO, request->serial, result, &err, NULL, 0);
        return true;
    }
    struct request request = {.netd = client->netd, .client = client->number, .packet = checked, .text = text};
    request_handle(&request);
    return !client->listing;
}

static void client_ready(void *context, uint32_t events)
{
    struct netd_client *client = context;
    if (client->listing && events & EPOLLOUT)
        client_list(client);
    else if (client->listing)
        client_close(client); /* EPOLLHUP or EPOLLERR */
    else
        for (int i = 0; i < REQUESTS_AT_ONCE && client_read(client); i++)
            ;
}

static bool peer_is_allowed(struct netd *netd, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return false;
    if (peer.uid == 0 || peer.uid == netd->user.uid || peer.uid == geteuid())
        return true;
    if (netd_may_log(netd))
        log_warning("uid %u, process %d, may not speak to us", peer.uid, peer.pid);
    return false;
}

static int spare_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* There is no descriptor for it. Left where it is, it would wake the loop again and again. */
static void client_turn_away(struct netd *netd)
{
    if (netd_may_log(netd))
        log_error("no descriptors left for a client");
    fd_done(&netd->spare_fd);
    int fd = accept4(netd->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    fd_done(&fd);
    netd->spare_fd = spare_open();
}

static void listener_ready(void *context, uint32_t events)
{
    struct netd *netd = context;
    (void)events;
    int fd CLEANUP(fd_done) = accept4(netd->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE)
            client_turn_away(netd);
        return;
    }
    if (!peer_is_allowed(netd, fd))
        return;
    size_t slot = 0;
    while (slot < NETD_CLIENTS_MAX && netd->clients[slot])
        slot++;
    struct netd_client *client = slot < NETD_CLIENTS_MAX ? calloc(1, sizeof *client) : NULL;
    if (!client) {
        if (netd_may_log(netd))
            log_warning("too many clients: one was turned away");
        return;
    }
    client->netd = netd;
    client->number = ++netd->last_number;
    if (watch_add(netd, &client->watch, fd, EPOLLIN, client_ready, client) < 0) {
        free(client);
        return;
    }
    fd = -1;
    netd->clients[slot] = client;
}

int dispatch_listen(struct netd *netd, int fd)
{
    netd->spare_fd = spare_open();
    return watch_add(netd, &netd->listener, fd, EPOLLIN, listener_ready, netd);
}

void dispatch_close(struct netd *netd)
{
    for (size_t i = 0; i < NETD_CLIENTS_MAX; i++)
        if (netd->clients[i])
            client_close(netd->clients[i]);
    watch_close(netd, &netd->listener);
}

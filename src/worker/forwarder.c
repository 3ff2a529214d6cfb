/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/forwarder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct forwarder_type *const forwarder_types[] = {&monitor_type, &echo_type, &udp_type};

static int forwarder_make_lanes(struct forwarder *forwarder, struct err *ret_err)
{
    const int *queues = forwarder->fds + 1, *sockets = queues + forwarder->queue_count;

    for (size_t i = 0; i < forwarder->queue_count; i++) {
        struct lane *lane = &forwarder->lanes[i];
        int r = fd_set_nonblocking(queues[i]);

        if (r < 0)
            return err_set_kernel(ret_err, r, "fcntl", "queue %zu", i);
        lane->forwarder = forwarder;
        lane->config = &forwarder->config;
        lane->index = i;
        lane->queue = queues[i];
        lane->socket = forwarder->socket_count > 0 ? sockets[i] : -1;
        lane->counters = &forwarder->page->slots[i];
    }
    return 0;
}

static int forwarder_configure(struct forwarder *forwarder, const struct config_head *head, struct err *ret_err)
{
    int r;

    r = config_parse(forwarder->message + head->body_offset, forwarder->message_length - head->body_offset,
                     &forwarder->config, ret_err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(forwarder_types); i++)
        if (forwarder_types[i]->type == forwarder->config.worker.type)
            forwarder->type = forwarder_types[i];
    if (!forwarder->type)
        return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "/worker/type", "is not one of this program's");
    if (head->sockets != (forwarder->type->has_sockets ? head->queues : 0))
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "%u sockets where %u are needed", head->sockets,
                       forwarder->type->has_sockets ? head->queues : 0);
    r = counter_page_map(forwarder->fds[0], &forwarder->page, ret_err);
    if (r == 0)
        r = forwarder_make_lanes(forwarder, ret_err);
    if (r == 0 && forwarder->type->init)
        r = forwarder->type->init(forwarder, ret_err);
    if (r == 0)
        r = threads_start(&forwarder->threads, forwarder->lanes, forwarder->queue_count, ret_err);
    return r;
}

static int forwarder_check_head(const struct config_head *head, size_t fd_count, struct err *ret_err)
{
    if (head->queues < 1 || head->queues > DEVICE_QUEUES_MAX || head->sockets > WORKER_SOCKETS_MAX ||
        fd_count != 1 + (size_t)head->queues + head->sockets)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "%zu descriptors for %u queues and %u sockets",
                       fd_count, head->queues, head->sockets);
    return 0;
}

int forwarder_new(const char *message, size_t length, const struct config_head *head, const int *fds, size_t fd_count,
                  struct forwarder **ret_forwarder, struct err *ret_err)
{
    struct forwarder *forwarder = NULL;
    int r = forwarder_check_head(head, fd_count, ret_err);

    if (r == 0) {
        forwarder = calloc(1, sizeof(*forwarder) + head->queues * sizeof(forwarder->lanes[0]));
        r = forwarder ? 0 : err_no_memory(ret_err);
    }
    if (r < 0) {
        for (size_t i = 0; i < fd_count; i++)
            fd_done(&(int){fds[i]});
        return r;
    }
    threads_init(&forwarder->threads);
    forwarder->queue_count = head->queues;
    forwarder->socket_count = head->sockets;
    forwarder->fd_count = fd_count;
    for (size_t i = 0; i < fd_count; i++)
        forwarder->fds[i] = fds[i];
    forwarder->message = malloc(length);
    if (forwarder->message) {
        memcpy(forwarder->message, message, length);
        forwarder->message_length = length;
        r = forwarder_configure(forwarder, head, ret_err);
    } else {
        r = err_no_memory(ret_err);
    }
    if (r < 0) {
        forwarder_free(forwarder);
        return r;
    }
    *ret_forwarder = forwarder;
    return 0;
}

void forwarder_free(struct forwarder *forwarder)
{
    if (!forwarder)
        return;
    threads_stop(&forwarder->threads);
    counter_page_unmap(forwarder->page);
    for (size_t i = 0; i < forwarder->fd_count; i++)
        fd_done(&forwarder->fds[i]);
    free(forwarder->message);
    free(forwarder);
}

void forwarder_begin(struct forwarder *forwarder)
{
    forwarder->type->begin(forwarder);
    for (size_t i = 0; i < forwarder->queue_count; i++) {
        forwarder->lanes[i].news = true;
        lane_publish(&forwarder->lanes[i]);
    }
    threads_go(&forwarder->threads);
}

void forwarder_set_capture(struct forwarder *forwarder, struct capture *capture)
{
    __atomic_store_n(&forwarder->capture, capture, __ATOMIC_SEQ_CST);
    for (size_t i = 0; i < forwarder->queue_count; i++)
        lane_wait_turn(&forwarder->lanes[i]);
}

void forwarder_set_offload(struct forwarder *forwarder, unsigned wanted)
{
    /* It is the device's, whichever queue is asked. */
    forwarder->device_offload = device_set_offload(forwarder->lanes[0].queue, wanted);
}

char *forwarder_status(const struct forwarder *forwarder)
{
    struct buf out = {0};
    size_t gone = 0;

    for (size_t i = 0; i < forwarder->queue_count; i++)
        gone += lane_told(&forwarder->lanes[i].report.queue_gone);
    buf_printf(&out, "{\"type\":\"%s\",\"queues\":%zu,\"queues_gone\":%zu", worker_type_name(forwarder->type->type),
               forwarder->queue_count, gone);
    if (forwarder->type->status)
        forwarder->type->status(forwarder, &out);
    buf_add_text(&out, "}");
    return buf_take(&out);
}

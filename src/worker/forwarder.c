/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/forwarder.h"

#include "worker/split.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct forwarder_type *const forwarder_types[] = {&monitor_type, &echo_type, &udp_type};

static void super_packet_done(uint8_t **bytes)
{
    free(*bytes);
}

static int forwarder_configure(struct forwarder *forwarder, const struct config_head *head, struct err *ret_err)
{
    int r;

    if (head->queues < 1 || head->queues > DEVICE_QUEUES_MAX || head->sockets > WORKER_SOCKETS_MAX ||
        forwarder->fd_count != 1 + (size_t)head->queues + head->sockets)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "%zu descriptors for %u queues and %u sockets",
                       forwarder->fd_count, head->queues, head->sockets);
    forwarder->queue_count = head->queues;
    forwarder->socket_count = head->sockets;
    r = config_parse(forwarder->message + head->body_offset, forwarder->message_length - head->body_offset,
                     &forwarder->config, ret_err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(forwarder_types); i++)
        if (forwarder_types[i]->type == forwarder->config.worker.type)
            forwarder->type = forwarder_types[i];
    if (!forwarder->type)
        return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "/worker/type", "is not one of this program's");
    if (head->sockets != forwarder->type->sockets)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "%u sockets where %u are needed", head->sockets,
                       forwarder->type->sockets);
    r = counter_page_map(forwarder->fds[0], &forwarder->page, ret_err);
    if (r < 0)
        return r;
    forwarder->counters = &forwarder->page->slots[0];
    for (size_t i = 0; i < forwarder->queue_count; i++) {
        r = fd_set_nonblocking(forwarder_queue(forwarder, i));
        if (r < 0)
            return err_set_kernel(ret_err, r, "fcntl", "queue %zu", i);
    }
    return forwarder->type->init(forwarder, ret_err);
}

int forwarder_new(const char *message, size_t length, const struct config_head *head, const int *fds, size_t fd_count,
                  struct forwarder **ret_forwarder, struct err *ret_err)
{
    struct forwarder *forwarder = calloc(1, sizeof(*forwarder));
    int r;

    if (!forwarder) {
        for (size_t i = 0; i < fd_count; i++)
            fd_done(&(int){fds[i]});
        return err_no_memory(ret_err);
    }
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
    counter_page_unmap(forwarder->page);
    for (size_t i = 0; i < forwarder->fd_count; i++)
        fd_done(&forwarder->fds[i]);
    free(forwarder->message);
    free(forwarder);
}

unsigned forwarder_set_offload(struct forwarder *forwarder, unsigned wanted)
{
    unsigned offload = 0;

    for (size_t i = 0; i < forwarder->queue_count; i++) /* it is the device's, whichever queue is asked */
        offload = device_set_offload(forwarder_queue(forwarder, i), wanted);
    return offload;
}

/* A super-packet that was waiting when its offloads were turned off: for a type that takes packets one by one. */
static void forwarder_take_split(struct forwarder *forwarder, size_t queue, struct split *split)
{
    struct device_packet *packet = &forwarder->packet;
    size_t segment, length;

    while (split_next(split, packet->bytes, PACKET_ROOM - FORWARDER_GROWTH, 1, &segment, &length) == 1) {
        counter_pair_add(&forwarder->counters->device_in, length);
        forwarder->type->from_device(forwarder, queue, length);
    }
}

static void forwarder_take_plain(struct forwarder *forwarder, size_t queue, size_t length)
{
    struct device_packet *packet = &forwarder->packet;
    struct packet_view view;
    struct split split;

    if (packet->header.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        if (packet_parse(forwarder->config.kind, packet->bytes, length, &view) == 0 &&
            split_init(&split, &packet->header, packet->bytes, length, &view) == 0) {
            CLEANUP(super_packet_done) uint8_t *whole = malloc(length);
            if (whole) {
                memcpy(whole, packet->bytes, length);
                split.packet = whole;
                forwarder_take_split(forwarder, queue, &split);
                return;
            }
        }
        counter_pair_add(&forwarder->counters->device_in, length);
        counter_drop(forwarder->counters, DROP_MALFORMED);
        return;
    }
    counter_pair_add(&forwarder->counters->device_in, length);
    if (split_finish_checksum(&packet->header, packet->bytes, length) < 0)
        counter_drop(forwarder->counters, DROP_MALFORMED);
    else
        forwarder->type->from_device(forwarder, queue, length);
}

int forwarder_from_device(struct forwarder *forwarder, size_t queue, int most)
{
    int fd = forwarder_queue(forwarder, queue), r = 0;

    for (int i = 0; i < most; i++) {
        ssize_t n = device_read(fd, &forwarder->packet, PACKET_ROOM - FORWARDER_GROWTH);

        if (n <= 0) {
            r = (int)n;
            break;
        }
        if (forwarder->type->takes_super_packets)
            forwarder->type->from_device(forwarder, queue, (size_t)n);
        else
            forwarder_take_plain(forwarder, queue, (size_t)n);
    }
    if (forwarder->type->flush)
        forwarder->type->flush(forwarder, queue);
    return r;
}

void forwarder_from_wire(struct forwarder *forwarder, int most)
{
    for (int i = 0; i < most; i++)
        if (forwarder->type->from_wire(forwarder) < 0)
            return;
}

void forwarder_to_device(struct forwarder *forwarder, size_t queue, uint8_t *bytes, size_t length)
{
    static const struct virtio_net_hdr plain;
    enum drop_reason reason = device_write(forwarder_queue(forwarder, queue), bytes, length, &plain, NULL);

    if (reason == PACKET_FORWARD)
        counter_pair_add(&forwarder->counters->device_out, length);
    else
        counter_drop(forwarder->counters, reason);
}

char *forwarder_status(const struct forwarder *forwarder)
{
    struct buf out = {0};
    size_t gone = 0;

    for (size_t i = 0; i < forwarder->queue_count; i++)
        gone += forwarder->queue_gone[i];
    buf_printf(&out, "{\"type\":\"%s\",\"queues\":%zu,\"queues_gone\":%zu", worker_type_name(forwarder->type->type),
               forwarder->queue_count, gone);
    if (forwarder->type->status)
        forwarder->type->status(forwarder, &out);
    buf_add_text(&out, "}");
    return buf_take(&out);
}

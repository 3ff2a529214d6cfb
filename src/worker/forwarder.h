/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forwarder: one configuration at work: its descriptors, its counters, and what its type of worker makes of a packet.
 *
 * It is built whole from one `configure` message, beside the one in force, and then takes its place or is thrown away:
 * there is no half-configured state. The rows of the table in forwarder.c show all there is in a worker's life.
 */
#ifndef WORKER_FORWARDER_H
#define WORKER_FORWARDER_H

#include "worker/config.h"
#include "worker/counters.h"
#include "worker/packet.h"
#include "worker/udp.h"

/* Room that is kept free behind a packet from the device, for an answer that is longer. */
#define FORWARDER_GROWTH 16

struct forwarder;

struct forwarder_type {
    enum worker_type type;
    uint32_t sockets; /* how many it takes */
    /* Makes ready what it needs beside the configuration. */
    int (*init)(struct forwarder *forwarder, struct err *ret_err);
    /* Whether from_device gets super-packets and unfinished checksums, and counts device_in itself. */
    bool takes_super_packets;
    /* One packet in forwarder->packet, in device_in already: sent on, answered or dropped, and counted as that. */
    void (*from_device)(struct forwarder *forwarder, size_t queue, size_t length);
    /* The queue's turn is over: nothing may be kept back. NULL: nothing ever is. */
    void (*flush)(struct forwarder *forwarder, size_t queue);
    /* Receives once. -EAGAIN: none was waiting. */
    int (*from_wire)(struct forwarder *forwarder);
    /* The socket has an error to tell. */
    void (*on_wire_error)(struct forwarder *forwarder);
    /* At forwarder->timer_ns; where it is not needed NULL. */
    void (*on_timer)(struct forwarder *forwarder);
    /* The members of the status object, each with a comma before it. */
    void (*status)(const struct forwarder *forwarder, struct buf *out);
};

struct monitor {
    struct rate_limit lines;
    uint64_t suppressed;
};

struct forwarder {
    struct config config;
    const struct forwarder_type *type;
    struct counter_page *page;
    struct counter_slot *counters; /* in the page */
    size_t queue_count;
    bool queue_gone[DEVICE_QUEUES_MAX];
    size_t socket_count;
    bool socket_gone[WORKER_SOCKETS_MAX];
    bool news;        /* its status may have changed; the loop clears it */
    int64_t timer_ns; /* CLOCK_MONOTONIC when on_timer is due; 0: never */
    union {
        struct monitor monitor;
        struct udp udp;
    };
    /* The message it was made from, as it came, and the descriptors: owned. */
    char *message;
    size_t message_length;
    int fds[WORKER_FDS_MAX]; /* page, queues, sockets */
    size_t fd_count;
    struct device_packet packet; /* the one in hand, or the datagrams */
};

/* Takes the descriptors, whatever comes of it; copies the message. */
int forwarder_new(const char *message, size_t length, const struct config_head *head, const int *fds, size_t fd_count,
                  struct forwarder **ret_forwarder, struct err *ret_err);
void forwarder_free(struct forwarder *forwarder);

static inline int forwarder_queue(const struct forwarder *forwarder, size_t index)
{
    return forwarder->fds[1 + index];
}

static inline int forwarder_socket(const struct forwarder *forwarder, size_t index)
{
    return forwarder->fds[1 + forwarder->queue_count + index];
}

/* Each handles up to `most` packets that are waiting there. The device's: -ENODEV when it is gone for good. */
int forwarder_from_device(struct forwarder *forwarder, size_t queue, int most);
void forwarder_from_wire(struct forwarder *forwarder, int most);

/* Writes a packet to the device and counts it: as device_out, or as dropped. The DEVICE_HEADER_SIZE bytes before it are
 * written over. */
void forwarder_to_device(struct forwarder *forwarder, size_t queue, uint8_t *bytes, size_t length);

/* Sets what all queues leave to us; what came of it. */
unsigned forwarder_set_offload(struct forwarder *forwarder, unsigned wanted);

/* The status object as text; owned, NULL when memory ran out. */
char *forwarder_status(const struct forwarder *forwarder);

extern const struct forwarder_type monitor_type, echo_type, udp_type;

#endif

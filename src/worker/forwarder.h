/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forwarder: one configuration at work: its descriptors, its counters, its lanes, and what its type of worker makes of a
 * packet.
 *
 * It is built whole from one `configure` message, beside the one in force, and then takes its place or is thrown away:
 * there is no half-configured state. What can fail is done before the one in force is disturbed: it is built, its
 * threads are made, and wait; then those of the old one end, each after its turn, and these are let go. Meanwhile
 * packets wait in queues and sockets. The rows of the table in forwarder.c show all there is in a worker's life.
 */
#ifndef WORKER_FORWARDER_H
#define WORKER_FORWARDER_H

#include "worker/lane.h"
#include "worker/threads.h"

struct forwarder_type {
    enum worker_type type;
    bool has_sockets; /* as many as queues */
    /* Makes ready what it needs beside the configuration, in all lanes. NULL: nothing. */
    int (*init)(struct forwarder *forwarder, struct err *ret_err);
    /* The device is to be as it needs it: called when the configuration takes effect, and no lane runs. */
    void (*begin)(struct forwarder *forwarder);
    /* Whether from_device gets super-packets and unfinished checksums, and counts device_in itself. */
    bool takes_super_packets;
    /* One packet in lane->packet, in device_in already: sent on, answered or dropped, and counted as that. */
    void (*from_device)(struct lane *lane, size_t length);
    /* The queue's turn is over: nothing may be kept back. NULL: nothing ever is. */
    void (*flush)(struct lane *lane);
    /* Receives once, and charges the lane for it. -EAGAIN: none was waiting. */
    int (*from_wire)(struct lane *lane);
    /* The socket has an error to tell. */
    void (*on_wire_error)(struct lane *lane);
    /* At lane->timer_ns; where it is not needed NULL. */
    void (*on_timer)(struct lane *lane);
    /* Brings lane->report up to date. NULL: it has nothing to say. */
    void (*report)(struct lane *lane);
    /* The members of the status object, each with a comma before it, from the reports of the lanes: those run on other
     * threads. */
    void (*status)(const struct forwarder *forwarder, struct buf *out);
};

struct forwarder {
    struct config config;
    const struct forwarder_type *type;
    struct counter_page *page;
    struct capture *capture; /* borrowed; atomic: lanes look at it when a turn begins. NULL: nobody captures */
    unsigned device_offload; /* enum device_offload: what the device leaves to us */
    size_t socket_count;
    /* The message it was made from, as it came, and the descriptors: owned. */
    char *message;
    size_t message_length;
    int fds[WORKER_FDS_MAX]; /* page, queues, sockets */
    size_t fd_count;
    struct threads threads;
    size_t queue_count;
    struct lane lanes[]; /* as many as queues */
};

/* Takes the descriptors, whatever comes of it; copies the message. */
int forwarder_new(const char *message, size_t length, const struct config_head *head, const int *fds, size_t fd_count,
                  struct forwarder **ret_forwarder, struct err *ret_err);
/* Ends its threads first. */
void forwarder_free(struct forwarder *forwarder);

/* It takes effect: lane 0 is the caller's to run now, the others run. */
void forwarder_begin(struct forwarder *forwarder);

/* Packets are captured into this one from now on (borrowed; NULL: into none). No lane uses the one before any more. */
void forwarder_set_capture(struct forwarder *forwarder, struct capture *capture);

/* Sets what the device leaves to us, as far as the kernel knows it: in device_offload. */
void forwarder_set_offload(struct forwarder *forwarder, unsigned wanted);

/* The status object as text; owned, NULL when memory ran out. */
char *forwarder_status(const struct forwarder *forwarder);

extern const struct forwarder_type monitor_type, echo_type, udp_type;

#endif

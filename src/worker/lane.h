/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lane: one queue of the device with what belongs to it: a socket, a slot of counters, buffers, and the state that its
 * type of worker keeps.
 *
 * Lanes share nothing but the configuration, which they only read. What the wire gave to lane i goes to queue i, and so
 * a flow stays on one lane, in order.
 */
#ifndef WORKER_LANE_H
#define WORKER_LANE_H

#include "worker/config.h"
#include "worker/counters.h"
#include "worker/device_io.h"
#include "worker/udp.h"

/* Room that is kept free behind a packet from the device, for an answer that is longer. */
#define LANE_GROWTH 16

struct forwarder;

struct monitor {
    struct rate_limit lines;
    uint64_t suppressed;
};

struct lane {
    const struct forwarder *forwarder;
    const struct config *config; /* the forwarder's */
    size_t index;
    int queue, socket; /* borrowed from the forwarder; -1 where the type has no sockets */
    bool queue_gone, socket_gone;
    bool news;                     /* the status may have changed; the loop clears it */
    int64_t timer_ns;              /* CLOCK_MONOTONIC when on_timer is due; 0: never */
    struct counter_slot *counters; /* in the page */
    union {
        struct monitor monitor;
        struct udp udp;
    };
    struct device_packet packet; /* the one in hand, or the datagrams */
};

/* Each handles up to `most` packets that are waiting there. The device's: -ENODEV when it is gone for good. */
int lane_from_device(struct lane *lane, int most);
void lane_from_wire(struct lane *lane, int most);

/* Writes a packet to the device and counts it: as device_out, or as dropped. The DEVICE_HEADER_SIZE bytes before it are
 * written over. */
void lane_to_device(struct lane *lane, uint8_t *bytes, size_t length);

#endif

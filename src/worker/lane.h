/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lane: one queue of the device with what belongs to it: a socket, a slot of counters, buffers, the state that its type
 * of worker keeps, and a thread.
 *
 * Lanes share nothing but the configuration, which they only read. What the wire gave to lane i goes to queue i. The
 * kernel sends a flow's packets to the queue that it saw the flow's other direction come from, so that a flow stays on
 * one lane, in order, at both ends.
 *
 * A wake-up gives the queue and the socket one turn each. A turn is bounded by what it costs: each system call as much
 * as copying LANE_CALL bytes, and the bytes themselves. So a flood in one direction, of small packets or of large ones,
 * takes turns with the other. What a turn leaves is found by the next poll(2).
 *
 * It is poll(2), and not epoll, because an epoll set stands in the wait queues of its descriptors all the time: the
 * kernel would have something to call for every datagram that comes and every segment that is freed, while we run.
 */
#ifndef WORKER_LANE_H
#define WORKER_LANE_H

#include "worker/capture.h"
#include "worker/config.h"
#include "worker/counters.h"
#include "worker/device_io.h"
#include "worker/monitor.h"
#include "worker/udp.h"

#include <poll.h>

/* Room that is kept free behind a packet from the device, for an answer that is longer. */
#define LANE_GROWTH 16

#define LANE_CALL 4096
#define LANE_TURN (512 * 1024) /* some 50 to 100 microseconds: 64 small packets, or four super-packets, in and out */

struct forwarder;

/* What others may know of a lane: its thread writes it, and the main thread makes the status of it. Each member is
 * whole by itself. */
struct lane_report {
    uint32_t queue_gone;
    uint32_t path_mtu;   /* 0: not known */
    uint32_t wire_error; /* errno; 0: none */
    uint32_t offload;    /* bits of the type's own */
};

struct lane {
    const struct forwarder *forwarder;
    const struct config *config; /* the forwarder's */
    size_t index;
    int queue, socket; /* borrowed from the forwarder; -1 where the type has no sockets */
    bool queue_gone, socket_gone;
    bool news;                     /* the report is not up to date */
    long turn;                     /* what is left of it; negative when it was overdrawn */
    struct capture *capture;       /* of the turn in hand: where packets are captured into; mostly NULL */
    uint32_t turns;                /* begun and ended: odd within one; atomic */
    int64_t timer_ns;              /* CLOCK_MONOTONIC when on_timer is due; 0: never */
    struct counter_slot *counters; /* in the page */
    struct lane_report report;
    union {
        struct monitor monitor;
        struct udp udp;
    };
    struct device_packet packet; /* the one in hand, or the datagrams */
};

/* ---- its life, on the lane's thread ------------------------------------------------------------------------------ */

/* What to wait for: nothing (-1) of what is gone. */
static inline struct pollfd lane_wait_queue(const struct lane *lane)
{
    return (struct pollfd){.fd = lane->queue_gone ? -1 : lane->queue, .events = POLLIN};
}

static inline struct pollfd lane_wait_socket(const struct lane *lane)
{
    return (struct pollfd){.fd = lane->socket_gone ? -1 : lane->socket, .events = POLLIN};
}

/* One turn, after what poll said of it. */
void lane_on_queue(struct lane *lane, short events);
void lane_on_socket(struct lane *lane, short events);

/* Does what is due at timer_ns. */
void lane_on_time(struct lane *lane);

/* Brings the report up to date; whether there was any news. */
bool lane_publish(struct lane *lane);

/* Milliseconds until then, as poll takes them; -1, for ever, where it is 0. */
int lane_wait_ms(int64_t due_ns);

/* Waits until the turn in hand, if there is one, is over: soon. From another thread. */
void lane_wait_turn(const struct lane *lane);

/* ---- for the types ----------------------------------------------------------------------------------------------- */

/* One system call that moved so many bytes. */
static inline void lane_charge(struct lane *lane, size_t bytes)
{
    lane->turn -= LANE_CALL + (long)bytes;
}

/* Writes a packet to the device and counts it: as device_out, or as dropped. The DEVICE_HEADER_SIZE bytes before it are
 * written over. */
void lane_to_device(struct lane *lane, uint8_t *bytes, size_t length);

/* What became of a packet that goes to the device, or was to go there. */
static inline void lane_capture(struct lane *lane, const uint8_t *bytes, size_t length, enum drop_reason reason)
{
    if (__builtin_expect(lane->capture != NULL, 0))
        capture_packet(lane->capture, lane->index, CAPTURE_IN, bytes, length,
                       reason == PACKET_FORWARD ? CAPTURE_NOT_DROPPED : (unsigned)reason);
}

static inline void lane_tell(uint32_t *where, uint32_t value)
{
    __atomic_store_n(where, value, __ATOMIC_RELAXED);
}

static inline uint32_t lane_told(const uint32_t *where)
{
    return __atomic_load_n(where, __ATOMIC_RELAXED);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/lane.h"

#include "worker/forwarder.h"
#include "worker/split.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* ---- packets ----------------------------------------------------------------------------------------------------- */

static void super_packet_done(uint8_t **bytes)
{
    free(*bytes);
}

/* A super-packet that was waiting when its offloads were turned off: for a type that takes packets one by one. */
static void lane_take_split(struct lane *lane, struct split *split)
{
    size_t segment, length;

    while (split_next(split, lane->packet.bytes, PACKET_ROOM - LANE_GROWTH, 1, &segment, &length) == 1) {
        counter_pair_add(&lane->counters->device_in, length);
        lane->forwarder->type->from_device(lane, length);
    }
}

static void lane_take_plain(struct lane *lane, size_t length)
{
    struct device_packet *packet = &lane->packet;
    struct packet_view view;
    struct split split;

    if (packet->header.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        if (packet_parse(lane->config->kind, packet->bytes, length, &view) == 0 &&
            split_init(&split, &packet->header, packet->bytes, length, &view) == 0) {
            CLEANUP(super_packet_done) uint8_t *whole = malloc(length);
            if (whole) {
                memcpy(whole, packet->bytes, length);
                split.packet = whole;
                lane_take_split(lane, &split);
                return;
            }
        }
        counter_pair_add(&lane->counters->device_in, length);
        counter_drop(lane->counters, DROP_MALFORMED);
        return;
    }
    counter_pair_add(&lane->counters->device_in, length);
    if (split_finish_checksum(&packet->header, packet->bytes, length) < 0)
        counter_drop(lane->counters, DROP_MALFORMED);
    else
        lane->forwarder->type->from_device(lane, length);
}

static void lane_take(struct lane *lane, size_t length)
{
    if (lane->forwarder->type->takes_super_packets)
        lane->forwarder->type->from_device(lane, length);
    else
        lane_take_plain(lane, length);
}

static void lane_flush(struct lane *lane)
{
    if (lane->forwarder->type->flush)
        lane->forwarder->type->flush(lane);
}

/* The one that is captured is sent by itself: what is dropped between its beginning and its end is dropped of it. */
static void lane_take_captured(struct lane *lane, size_t length)
{
    uint64_t drops[DROP_REASON_N];
    unsigned reason = 0;

    lane_flush(lane);
    memcpy(drops, lane->counters->drops, sizeof(drops));
    if (!capture_begin(lane->capture, lane->index, CAPTURE_OUT, lane->packet.bytes, length)) {
        lane_take(lane, length);
        return;
    }
    lane_take(lane, length);
    lane_flush(lane);
    while (reason < DROP_REASON_N && drops[reason] == lane->counters->drops[reason])
        reason++;
    capture_end(lane->capture, lane->index, reason < DROP_REASON_N ? reason : CAPTURE_NOT_DROPPED);
}

/* 0, or -ENODEV when the device is gone for good. */
static int lane_from_device(struct lane *lane)
{
    int r = 0;

    for (lane->turn = LANE_TURN; lane->turn > 0;) {
        ssize_t n = device_read(lane->queue, &lane->packet, PACKET_ROOM - LANE_GROWTH);

        if (n <= 0) {
            r = (int)n;
            break;
        }
        lane_charge(lane, (size_t)n);
        if (__builtin_expect(lane->capture != NULL, 0))
            lane_take_captured(lane, (size_t)n);
        else
            lane_take(lane, (size_t)n);
    }
    lane_flush(lane);
    return r;
}

static void lane_from_wire(struct lane *lane)
{
    for (lane->turn = LANE_TURN; lane->turn > 0;)
        if (lane->forwarder->type->from_wire(lane) < 0)
            return;
}

void lane_to_device(struct lane *lane, uint8_t *bytes, size_t length)
{
    static const struct virtio_net_hdr plain;
    enum drop_reason reason = device_write(lane->queue, bytes, length, &plain, NULL);

    lane_charge(lane, length);
    lane_capture(lane, bytes, length, reason);
    if (reason == PACKET_FORWARD)
        counter_pair_add(&lane->counters->device_out, length);
    else
        counter_drop(lane->counters, reason);
}

/* ---- its life ---------------------------------------------------------------------------------------------------- */

/* A capture that began or ended meanwhile is seen in the next turn: the main thread waits for the end of this one before
 * it takes an old one away. */
static void lane_turn_begin(struct lane *lane)
{
    __atomic_store_n(&lane->turns, lane->turns + 1, __ATOMIC_SEQ_CST);
    lane->capture = __atomic_load_n(&lane->forwarder->capture, __ATOMIC_SEQ_CST);
}

static void lane_turn_end(struct lane *lane)
{
    lane->capture = NULL;
    __atomic_store_n(&lane->turns, lane->turns + 1, __ATOMIC_RELEASE);
}

void lane_wait_turn(const struct lane *lane)
{
    uint32_t turns = __atomic_load_n(&lane->turns, __ATOMIC_SEQ_CST);

    while ((turns & 1) && __atomic_load_n(&lane->turns, __ATOMIC_ACQUIRE) == turns)
        sched_yield();
}

void lane_on_queue(struct lane *lane, short events)
{
    int r;

    if (events == 0)
        return;
    lane_turn_begin(lane);
    r = lane_from_device(lane);
    lane_turn_end(lane);
    /* An error on a queue means that there is no device behind it; one that stays would wake us for ever. */
    if (r == 0 && (events & POLLIN || !(events & (POLLERR | POLLHUP | POLLNVAL))))
        return;
    lane->queue_gone = true;
    lane->news = true;
    log_warning("%s: the device behind queue %zu is gone", lane->config->device, lane->index);
}

void lane_on_socket(struct lane *lane, short events)
{
    if (events == 0)
        return;
    if (events & POLLERR)
        lane->forwarder->type->on_wire_error(lane);
    lane_turn_begin(lane);
    lane_from_wire(lane);
    lane_turn_end(lane);
    if (events & (POLLHUP | POLLNVAL)) {
        lane->socket_gone = true;
        log_warning("%s: socket %zu was shut down", lane->config->device, lane->index);
    }
}

void lane_on_time(struct lane *lane)
{
    if (lane->timer_ns != 0 && clock_monotonic_ns() >= lane->timer_ns)
        lane->forwarder->type->on_timer(lane);
}

bool lane_publish(struct lane *lane)
{
    if (!lane->news)
        return false;
    lane->news = false;
    lane_tell(&lane->report.queue_gone, lane->queue_gone);
    if (lane->forwarder->type->report)
        lane->forwarder->type->report(lane);
    return true;
}

int lane_wait_ms(int64_t due_ns)
{
    int64_t left;

    if (due_ns == 0)
        return -1;
    left = due_ns - clock_monotonic_ns();
    return left <= 0 ? 0 : (int)(left / NSEC_PER_MSEC) + 1;
}

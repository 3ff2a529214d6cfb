/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/lane.h"

#include "worker/forwarder.h"
#include "worker/split.h"

#include <stdlib.h>
#include <string.h>

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

int lane_from_device(struct lane *lane, int most)
{
    const struct forwarder_type *type = lane->forwarder->type;
    int r = 0;

    for (int i = 0; i < most; i++) {
        ssize_t n = device_read(lane->queue, &lane->packet, PACKET_ROOM - LANE_GROWTH);

        if (n <= 0) {
            r = (int)n;
            break;
        }
        if (type->takes_super_packets)
            type->from_device(lane, (size_t)n);
        else
            lane_take_plain(lane, (size_t)n);
    }
    if (type->flush)
        type->flush(lane);
    return r;
}

void lane_from_wire(struct lane *lane, int most)
{
    for (int i = 0; i < most; i++)
        if (lane->forwarder->type->from_wire(lane) < 0)
            return;
}

void lane_to_device(struct lane *lane, uint8_t *bytes, size_t length)
{
    static const struct virtio_net_hdr plain;
    enum drop_reason reason = device_write(lane->queue, bytes, length, &plain, NULL);

    if (reason == PACKET_FORWARD)
        counter_pair_add(&lane->counters->device_out, length);
    else
        counter_drop(lane->counters, reason);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* From the wire to the device: see udp.h for the way. */
#include "worker/forwarder.h"
#include "worker/merge.h"
#include "worker/udp_unwrap.h"

#include <string.h>

/* The kernel does not understand a super-packet (some versions have that bug): as packets it does. */
static void write_split(struct lane *lane, const struct merge *merge, const struct virtio_net_hdr *header)
{
    struct device_packet *one = &lane->udp.segment;
    struct packet_view view;
    struct split split;
    size_t segment, length;

    if (packet_parse(lane->config->kind, merge->packet, merge->length, &view) < 0 ||
        split_init(&split, header, merge->packet, merge->length, &view) < 0) {
        counter_raise(&lane->counters->drops[DROP_MALFORMED], merge->count);
        return;
    }
    while (split_next(&split, one->bytes, PACKET_ROOM, 1, &segment, &length) == 1)
        lane_to_device(lane, one->bytes, length);
}

static void write_run(struct lane *lane, struct merge *merge)
{
    struct virtio_net_hdr header;
    enum drop_reason reason;
    bool refused = false;

    if (merge->count == 0)
        return;
    merge_finish(merge, &header);
    reason = device_write(lane->queue, merge->packet, merge->length, &header, &refused);
    lane_charge(lane, merge->length);
    if (!refused || merge->count == 1)
        lane_capture(lane, merge->packet, merge->length, reason);
    if (refused && merge->count > 1) {
        lane->udp.merges = false;
        lane->news = true;
        write_split(lane, merge, &header);
    } else if (reason == PACKET_FORWARD) {
        counter_pair_add_many(&lane->counters->device_out, merge->count,
                              merge->length + (merge->count - 1) * merge->payload);
    } else {
        counter_raise(&lane->counters->drops[reason], merge->count);
    }
}

/* Joins the run where `head` bytes before the packet, and its headers, say what the run's first one's did: what was
 * judged of that one holds for this one. */
static bool join_alike(struct merge *merge, uint8_t *bytes, size_t length, size_t head)
{
    return merge->verified && length > head && memcmp(bytes, merge->packet - head, head) == 0 &&
           merge_append_alike(merge, bytes + head, length - head);
}

/* Datagrams that lie back to back in lane->packet. Each is judged by itself, and then joins the run or ends it. */
static void take_datagrams(struct lane *lane, const struct wire_datagram *datagram)
{
    const struct udp *udp = &lane->udp;
    struct merge merge = {.count = 0};
    size_t head = 0; /* of the run's first */

    for (size_t at = 0; at < datagram->length; at += datagram->segment) {
        uint8_t *bytes = lane->packet.bytes + at;
        size_t left = datagram->length - at, length = left < datagram->segment ? left : datagram->segment;
        struct udp_arrival arrival;
        enum drop_reason reason;

        if (join_alike(&merge, bytes, length, head))
            continue;
        reason = udp_unwrap(lane->config->kind, bytes, length, datagram->tos, &arrival);
        if (reason != PACKET_FORWARD) {
            counter_drop(lane->counters, reason);
            lane_capture(lane, bytes, length, reason);
            continue;
        }
        bytes += arrival.head;
        length -= arrival.head;
        if (merge.count > 0 && merge_append(&merge, bytes, length, &arrival.view, &arrival.header))
            continue;
        write_run(lane, &merge);
        head = arrival.head;
        merge_begin(&merge, bytes, length, &arrival.view, &arrival.header,
                    lane->forwarder->device_offload & DEVICE_USO);
        merge.closed = merge.closed || !udp->merges;
    }
    write_run(lane, &merge);
}

int udp_from_wire(struct lane *lane)
{
    struct wire_datagram datagram;
    size_t count;
    int r = wire_receive(&lane->udp.wire, lane->packet.bytes, PACKET_ROOM, &datagram);

    if (r == 0) {
        lane_charge(lane, datagram.length);
        if (datagram.lump)
            datagram.segment = udp_first_length(lane->config->kind, lane->packet.bytes, datagram.length);
        count = datagram.length > 0 ? (datagram.length + datagram.segment - 1) / datagram.segment : 1;
        counter_pair_add_many(&lane->counters->wire_in, count, datagram.length);
        if (datagram.lost > 0)
            counter_raise(&lane->counters->drops[DROP_RCVBUF_FULL], datagram.lost);
        if (!datagram.from_peer) {
            counter_raise(&lane->counters->drops[DROP_UNKNOWN_SOURCE], count);
            lane_capture(lane, lane->packet.bytes, datagram.length, DROP_UNKNOWN_SOURCE);
        } else if (datagram.length == 0 || datagram.cut) {
            counter_raise(&lane->counters->drops[DROP_MALFORMED], count);
        } else {
            take_datagrams(lane, &datagram);
        }
    }
    udp_take_news(lane);
    return r;
}

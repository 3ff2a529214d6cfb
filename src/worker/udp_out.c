/* SPDX-License-Identifier: Apache-2.0 */
/* From the device to the wire: see udp.h for the way. */
#include "worker/ecn.h"
#include "worker/forwarder.h"
#include "worker/fragment.h"
#include "worker/split.h"
#include "worker/udp_unwrap.h"

#include <errno.h>
#include <string.h>

static const struct virtio_net_hdr plain;

static enum drop_reason send_failure(int error)
{
    switch (error) {
    case -EAGAIN:
    case -ENOBUFS:
    case -ENOMEM:
        return DROP_QUEUE_FULL;
    case -EMSGSIZE:
        return DROP_TOO_BIG;
    default:
        return DROP_WIRE_ERROR;
    }
}

/* ---- what stands before a packet --------------------------------------------------------------------------------- */

static bool has_head(const struct lane *lane)
{
    return lane->config->worker.udp.header == UDP_HEADER_GUE;
}

static bool leaves_checksums(const struct lane *lane)
{
    return has_head(lane) && lane->config->worker.udp.offload.checksum;
}

/* What all packets have room for before them: the device is told of one length. */
static size_t head_most(const struct lane *lane)
{
    return !has_head(lane) ? 0 : leaves_checksums(lane) ? GUE_HEADER_MOST : GUE_HEADER_SIZE;
}

static struct udp_head head_for(const struct lane *lane, const struct packet_view *view,
                                const struct virtio_net_hdr *checksum)
{
    struct udp_head head = {.length = 0};

    if (has_head(lane))
        udp_head_make(view->version, checksum, &head);
    return head;
}

/* The packet is to go on as one that anybody understands. */
static void finish_checksum(struct udp_head *head, const struct packet_view *view, uint8_t *packet, size_t length)
{
    if (!(head->checksum.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return;
    (void)split_finish_checksum(&head->checksum, packet, length); /* it is the packet's own: it lies in it */
    udp_head_make(view->version, &plain, head);
}

/* ---- one packet by itself ---------------------------------------------------------------------------------------- */

/* Counts it where it was sent. 0 or the error of wire_send. */
static int send_parts(struct lane *lane, const struct iovec *parts, size_t part_count, uint8_t tos)
{
    size_t length = 0;
    int r = wire_send(&lane->udp.wire, parts, part_count, tos);

    for (size_t i = 0; i < part_count; i++)
        length += parts[i].iov_len;
    lane_charge(lane, length);
    if (r < 0)
        return r;
    counter_pair_add(&lane->counters->wire_out, length);
    return 0;
}

static enum drop_reason send_fragments(struct lane *lane, const struct udp_head *head, const uint8_t *packet,
                                       const struct packet_view *view, size_t mtu)
{
    struct fragmenter fragmenter;
    struct fragment fragment;
    int r = fragmenter_init(&fragmenter, packet, view, mtu);

    if (r < 0)
        return r == -EMSGSIZE ? DROP_TOO_BIG : DROP_MALFORMED;
    while (fragmenter_next(&fragmenter, &fragment)) {
        struct iovec parts[3] = {
            {.iov_base = (void *)(uintptr_t)head->bytes, .iov_len = head->length},
            {.iov_base = (void *)(uintptr_t)fragment.header, .iov_len = fragment.header_length},
            {.iov_base = (void *)(uintptr_t)fragment.payload, .iov_len = fragment.payload_length},
        };

        r = send_parts(lane, parts, ARRAY_SIZE(parts), ecn_outer_tos(view->tos));
        if (r < 0)
            return send_failure(r); /* without this one the others are of no use */
    }
    return PACKET_FORWARD;
}

static void answer_too_big(struct lane *lane, const uint8_t *packet, const struct packet_view *view, size_t mtu)
{
    struct udp *udp = &lane->udp;
    size_t length = icmp_too_big(packet, view, mtu, udp->answer.bytes);

    if (length == 0 || !rate_limit_permits(&udp->answers, clock_monotonic_ns()))
        return;
    /* Only the packet that it is about counts as dropped. */
    if (device_write(lane->queue, udp->answer.bytes, length, &plain, NULL) == PACKET_FORWARD)
        counter_pair_add(&lane->counters->device_out, length);
}

/* What becomes of a packet that is longer than the path takes. */
static enum drop_reason take_too_big(struct lane *lane, struct udp_head *head, uint8_t *packet,
                                     const struct packet_view *view, size_t length)
{
    struct wire *wire = &lane->udp.wire;
    size_t before = head_most(lane) + view->ip, mtu;
    int r;

    if (view->version == 0 || head->length + length <= wire->payload_max || wire->payload_max <= before)
        return DROP_TOO_BIG;
    mtu = wire->payload_max - before;
    finish_checksum(head, view, packet, length);
    if (view->version == 4 && !view->dont_fragment)
        return lane->config->kind == DEVICE_TUN ? send_fragments(lane, head, packet, view, mtu) : DROP_TOO_BIG;
    if (view->version == 6 && view->ip_length <= IPV6_MTU_LEAST) {
        /* IPv6 is promised that this much gets through (RFC 8200, 5), and no answer could make it send less: here the
         * outer packet has to be fragmented (RFC 2473, 7.1). */
        struct iovec parts[2] = {{.iov_base = head->bytes, .iov_len = head->length},
                                 {.iov_base = packet, .iov_len = length}};

        r = wire_send_fragmented(wire, parts, ARRAY_SIZE(parts), ecn_outer_tos(view->tos));
        if (r < 0)
            return send_failure(r);
        counter_pair_add(&lane->counters->wire_out, head->length + length);
        return PACKET_FORWARD;
    }
    if (view->version == 6 && mtu < IPV6_MTU_LEAST)
        mtu = IPV6_MTU_LEAST; /* which will be fragmented outside, as above */
    answer_too_big(lane, packet, view, mtu);
    return DROP_TOO_BIG;
}

/* The packet and its head may be changed. */
static void send_single(struct lane *lane, struct udp_head *head, uint8_t *packet, const struct packet_view *view,
                        size_t length)
{
    struct iovec parts[2] = {{.iov_base = head->bytes, .iov_len = head->length},
                             {.iov_base = packet, .iov_len = length}};
    size_t without = head->length == 0; /* a part of no bytes is not free */
    enum drop_reason reason = PACKET_FORWARD;
    int r = -EMSGSIZE;

    if (wire_fits(&lane->udp.wire, head->length + length))
        r = send_parts(lane, parts + without, ARRAY_SIZE(parts) - without, ecn_outer_tos(view->tos));
    if (r == -EMSGSIZE)
        reason = take_too_big(lane, head, packet, view, length);
    else if (r < 0)
        reason = send_failure(r);
    if (reason != PACKET_FORWARD)
        counter_drop(lane->counters, reason);
}

/* ---- many at once ------------------------------------------------------------------------------------------------ */

/* The batch did not go out whole: each packet in it goes its own way, as if there had been no batch. */
static void flush_singly(struct lane *lane)
{
    struct udp_batch *batch = &lane->udp.batch;

    for (size_t at = 0; at < batch->length; at += batch->segment) {
        size_t length = batch->length - at < batch->segment ? batch->length - at : batch->segment;
        struct udp_head head = {.length = 0};
        struct packet_view view;

        if (has_head(lane))
            (void)udp_head_read(batch->bytes + at, length, &head); /* it was written here */
        uint8_t *packet = batch->bytes + at + head.length;
        length -= head.length;
        if (packet_parse(lane->config->kind, packet, length, &view) < 0)
            view = (struct packet_view){.version = 0}; /* a frame that only its receiver understands */
        send_single(lane, &head, packet, &view, length);
    }
}

void udp_flush(struct lane *lane)
{
    struct udp *udp = &lane->udp;
    struct udp_batch *batch = &udp->batch;
    int r;

    if (batch->count > 0) {
        r = wire_send_batch(&udp->wire, batch->bytes, batch->length, batch->segment, batch->tos);
        lane_charge(lane, batch->length);
        if (r == 0)
            counter_pair_add_many(&lane->counters->wire_out, batch->count, batch->length);
        else if (r == -EOPNOTSUPP || r == -EMSGSIZE)
            flush_singly(lane);
        else
            counter_raise(&lane->counters->drops[send_failure(r)], batch->count);
        batch->length = batch->count = 0;
        batch->closed = false;
    }
    udp_take_news(lane);
}

/* Whether a datagram can go with those in the batch; an empty one takes any. */
static bool batch_takes(const struct udp_batch *batch, size_t length, uint8_t tos)
{
    if (batch->count == 0)
        return true;
    return !batch->closed && batch->tos == tos && length <= batch->segment && batch->count < WIRE_BATCH_SEGMENTS &&
           batch->length + length <= WIRE_BATCH_BYTES;
}

static void batch_note(struct udp_batch *batch, size_t count, size_t bytes, size_t segment, uint8_t tos)
{
    if (batch->count == 0) {
        batch->segment = segment;
        batch->tos = tos;
    }
    batch->count += count;
    batch->length += bytes;
    batch->closed = batch->length < batch->count * batch->segment;
}

static void batch_add(struct lane *lane, const struct udp_head *head, const uint8_t *packet, size_t length, uint8_t tos)
{
    struct udp_batch *batch = &lane->udp.batch;
    size_t whole = head->length + length;

    if (!batch_takes(batch, whole, tos))
        udp_flush(lane);
    memcpy(batch->bytes + batch->length, head->bytes, head->length);
    memcpy(batch->bytes + batch->length + head->length, packet, length);
    batch_note(batch, 1, whole, whole, tos);
}

static void batch_add_split(struct lane *lane, struct split *split, uint8_t tos)
{
    struct udp_batch *batch = &lane->udp.batch;

    while (!split_is_done(split)) {
        size_t segment, bytes, count;

        if (!batch_takes(batch, split_next_length(split), tos) ||
            (batch->count > 0 && split_next_length(split) != batch->segment))
            udp_flush(lane);
        count = split_next(split, batch->bytes + batch->length, WIRE_BATCH_BYTES - batch->length,
                           WIRE_BATCH_SEGMENTS - batch->count, &segment, &bytes);
        counter_pair_add_many(&lane->counters->device_in, count, bytes - count * split->head_length);
        batch_note(batch, count, bytes, segment, tos);
    }
}

/* The path does not take what the device makes of it: the device finds out segment by segment. */
static void send_split_singly(struct lane *lane, struct split *split, const struct packet_view *whole)
{
    uint8_t *bytes = lane->udp.segment.bytes;
    struct udp_head head = head_for(lane, whole, &plain);
    size_t segment, length;

    udp_flush(lane);
    split->head_length = 0;
    split->leave_checksum = false;
    while (split_next(split, bytes, PACKET_ROOM, 1, &segment, &length) == 1) {
        struct packet_view view;

        counter_pair_add(&lane->counters->device_in, length);
        if (packet_parse(lane->config->kind, bytes, length, &view) == 0)
            send_single(lane, &head, bytes, &view, length);
        else
            counter_drop(lane->counters, DROP_MALFORMED);
    }
}

/* ---- what the device hands over ---------------------------------------------------------------------------------- */

static void drop_whole(struct lane *lane, size_t length, enum drop_reason reason)
{
    counter_pair_add(&lane->counters->device_in, length);
    counter_drop(lane->counters, reason);
}

static void take_super_packet(struct lane *lane, const struct packet_view *view, size_t length)
{
    struct device_packet *packet = &lane->packet;
    struct virtio_net_hdr checksum = plain;
    struct udp_head head;
    struct split split;

    if (split_init(&split, &packet->header, packet->bytes, length, view) < 0) {
        drop_whole(lane, length, DROP_MALFORMED);
        return;
    }
    if (leaves_checksums(lane)) {
        split.leave_checksum = true;
        checksum.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        checksum.csum_start = (uint16_t)split.upper;
        checksum.csum_offset = split_checksum_offset(&split);
    }
    head = head_for(lane, view, &checksum);
    split.head = head.bytes;
    split.head_length = head.length;
    if (wire_fits(&lane->udp.wire, split_next_length(&split)) && split_next_length(&split) <= WIRE_BATCH_BYTES)
        batch_add_split(lane, &split, ecn_outer_tos(view->tos));
    else
        send_split_singly(lane, &split, view);
}

static void take_packet(struct lane *lane, const struct packet_view *view, size_t length)
{
    struct device_packet *packet = &lane->packet;
    struct virtio_net_hdr checksum = packet->header;
    struct udp_head head;

    if (!(checksum.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || !leaves_checksums(lane) ||
        !udp_checksum_is_own(packet->bytes, view, &checksum)) {
        if (split_finish_checksum(&checksum, packet->bytes, length) < 0) {
            drop_whole(lane, length, DROP_MALFORMED);
            return;
        }
        checksum = plain;
    }
    counter_pair_add(&lane->counters->device_in, length);
    head = head_for(lane, view, &checksum);
    if (head.length + length <= WIRE_BATCH_BYTES && wire_fits(&lane->udp.wire, head.length + length)) {
        batch_add(lane, &head, packet->bytes, length, ecn_outer_tos(view->tos));
    } else {
        udp_flush(lane);
        send_single(lane, &head, packet->bytes, view, length);
    }
}

void udp_from_device(struct lane *lane, size_t length)
{
    const struct endpoint *remote = &lane->config->worker.udp.remote;
    struct device_packet *packet = &lane->packet;
    struct packet_view view;
    enum drop_reason reason =
        udp_inspect(lane->config->kind, packet->bytes, length, remote, lane->forwarder->queue_count, &view);

    if (reason != PACKET_FORWARD)
        drop_whole(lane, length, reason);
    else if (packet->header.gso_type != VIRTIO_NET_HDR_GSO_NONE)
        take_super_packet(lane, &view, length);
    else
        take_packet(lane, &view, length);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udp: the bare packet or frame as the payload of one UDP datagram, to and from one peer.
 *
 *     device ─> inspect ─> fits the path? ─────────────────────────────> send, under the inner packet's TOS
 *                              └─ too big: IPv4 that may be fragmented ─> fragments, each sent
 *                                          DF or IPv6 ─────────────────> ICMP back into the device
 *     wire ─> from the peer? ─> unwrap ─> device
 *
 * Every packet ends in one counter: wire_out or device_out, or one reason. One that was answered by ICMP is dropped,
 * too.
 */
#include "worker/forwarder.h"

#include "worker/device_io.h"
#include "worker/ecn.h"
#include "worker/fragment.h"
#include "worker/icmp.h"
#include "worker/udp_unwrap.h"

#include <errno.h>

/* ICMP answers a second: enough for every flow to learn, too little to be a weapon. */
#define ANSWERS_RATE 100

static int udp_init(struct forwarder *forwarder, struct err *ret_err)
{
    const struct worker_config *worker = &forwarder->config.worker;

    forwarder->udp.answers = (struct rate_limit){.rate = ANSWERS_RATE, .burst = ANSWERS_RATE};
    return wire_init(&forwarder->udp.wire, forwarder_socket(forwarder, 0), &worker->udp.local, &worker->udp.remote,
                     ret_err);
}

static enum drop_reason udp_send_failure(int error)
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

/* Counts it where it was sent. 0 or the error of wire_send. */
static int udp_send(struct forwarder *forwarder, const struct iovec *parts, size_t part_count, uint8_t tos)
{
    size_t length = 0;
    int r = wire_send(&forwarder->udp.wire, parts, part_count, tos);

    if (r < 0)
        return r;
    for (size_t i = 0; i < part_count; i++)
        length += parts[i].iov_len;
    counter_pair_add(&forwarder->counters->wire_out, length);
    return 0;
}

static enum drop_reason udp_send_fragments(struct forwarder *forwarder, const struct packet_view *view, size_t mtu)
{
    struct fragmenter fragmenter;
    struct fragment fragment;
    int r = fragmenter_init(&fragmenter, forwarder->packet, view, mtu);

    if (r < 0)
        return r == -EMSGSIZE ? DROP_TOO_BIG : DROP_MALFORMED;
    while (fragmenter_next(&fragmenter, &fragment)) {
        struct iovec parts[2] = {
            {.iov_base = (void *)(uintptr_t)fragment.header, .iov_len = fragment.header_length},
            {.iov_base = (void *)(uintptr_t)fragment.payload, .iov_len = fragment.payload_length},
        };

        r = udp_send(forwarder, parts, ARRAY_SIZE(parts), ecn_outer_tos(view->tos));
        if (r < 0)
            return udp_send_failure(r); /* without this one the others are of no use */
    }
    return PACKET_FORWARD;
}

static void udp_answer_too_big(struct forwarder *forwarder, size_t queue, const struct packet_view *view, size_t mtu)
{
    struct udp *udp = &forwarder->udp;
    size_t length = icmp_too_big(forwarder->packet, view, mtu, udp->answer);

    if (length == 0 || !rate_limit_permits(&udp->answers, clock_monotonic_ns()))
        return;
    /* Only the packet that it is about counts as dropped. */
    if (device_write(forwarder_queue(forwarder, queue), udp->answer, length) == PACKET_FORWARD)
        counter_pair_add(&forwarder->counters->device_out, length);
}

/* What becomes of a packet that is longer than the path takes. */
static enum drop_reason udp_too_big(struct forwarder *forwarder, size_t queue, const struct packet_view *view,
                                    size_t length)
{
    struct wire *wire = &forwarder->udp.wire;
    struct iovec part = {.iov_base = forwarder->packet, .iov_len = length};
    size_t mtu;
    int r;

    if (view->version == 0 || length <= wire->payload_max || wire->payload_max <= view->ip)
        return DROP_TOO_BIG;
    mtu = wire->payload_max - view->ip;
    if (view->version == 4 && !view->dont_fragment)
        return forwarder->config.kind == DEVICE_TUN ? udp_send_fragments(forwarder, view, mtu) : DROP_TOO_BIG;
    if (view->version == 6 && view->ip_length <= IPV6_MTU_LEAST) {
        /* IPv6 is promised that this much gets through (RFC 8200, 5), and no answer could make it send less: here the
         * outer packet has to be fragmented (RFC 2473, 7.1). */
        r = wire_send_fragmented(wire, &part, 1, ecn_outer_tos(view->tos));
        if (r < 0)
            return udp_send_failure(r);
        counter_pair_add(&forwarder->counters->wire_out, length);
        return PACKET_FORWARD;
    }
    if (view->version == 6 && mtu < IPV6_MTU_LEAST)
        mtu = IPV6_MTU_LEAST; /* which will be fragmented outside, as above */
    udp_answer_too_big(forwarder, queue, view, mtu);
    return DROP_TOO_BIG;
}

static void udp_take_news(struct forwarder *forwarder)
{
    if (forwarder->udp.wire.news) {
        forwarder->udp.wire.news = false;
        forwarder->news = true;
    }
}

static void udp_from_device(struct forwarder *forwarder, size_t queue, size_t length)
{
    struct udp *udp = &forwarder->udp;
    struct iovec part = {.iov_base = forwarder->packet, .iov_len = length};
    struct packet_view view;
    enum drop_reason reason;
    int r;

    reason =
        udp_inspect(forwarder->config.kind, forwarder->packet, length, &forwarder->config.worker.udp.remote, &view);
    if (reason == PACKET_FORWARD) {
        r = wire_fits(&udp->wire, length) ? udp_send(forwarder, &part, 1, ecn_outer_tos(view.tos)) : -EMSGSIZE;
        if (r == -EMSGSIZE)
            reason = udp_too_big(forwarder, queue, &view, length);
        else if (r < 0)
            reason = udp_send_failure(r);
    }
    if (reason != PACKET_FORWARD)
        counter_drop(forwarder->counters, reason);
    udp_take_news(forwarder);
}

static int udp_from_wire(struct forwarder *forwarder)
{
    struct wire_datagram datagram;
    enum drop_reason reason = DROP_UNKNOWN_SOURCE;
    int r = wire_receive(&forwarder->udp.wire, forwarder->packet, sizeof(forwarder->packet), &datagram);

    if (r == 0) {
        counter_pair_add(&forwarder->counters->wire_in, datagram.length);
        if (datagram.from_peer)
            reason = udp_unwrap(forwarder->config.kind, forwarder->packet, datagram.length, datagram.tos);
        if (reason == PACKET_FORWARD)
            forwarder_to_device(forwarder, 0, forwarder->packet, datagram.length);
        else
            counter_drop(forwarder->counters, reason);
    }
    udp_take_news(forwarder);
    return r;
}

static void udp_on_wire_error(struct forwarder *forwarder)
{
    wire_errors_drain(&forwarder->udp.wire);
    udp_take_news(forwarder);
}

static void udp_status(const struct forwarder *forwarder, struct buf *out)
{
    const struct wire *wire = &forwarder->udp.wire;

    if (wire->path_mtu > 0)
        buf_printf(out, ",\"path_mtu\":%u", wire->path_mtu);
    else
        buf_add_text(out, ",\"path_mtu\":null");
    if (wire->error > 0)
        buf_printf(out, ",\"wire_error\":\"%s\"", errno_name(wire->error));
    else
        buf_add_text(out, ",\"wire_error\":null");
}

const struct forwarder_type udp_type = {
    .type = WORKER_UDP,
    .sockets = 1,
    .init = udp_init,
    .from_device = udp_from_device,
    .from_wire = udp_from_wire,
    .on_wire_error = udp_on_wire_error,
    .status = udp_status,
};

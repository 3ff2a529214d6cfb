/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/forwarder.h"

/* ICMP answers a second: enough for every flow to learn, too little to be a weapon. */
#define ANSWERS_RATE 100

static int udp_init(struct forwarder *forwarder, struct err *ret_err)
{
    const struct worker_config *worker = &forwarder->config.worker;

    for (size_t i = 0; i < forwarder->queue_count; i++) {
        struct lane *lane = &forwarder->lanes[i];
        struct endpoint local = worker->udp.local, remote = worker->udp.remote;
        int r;

        if (forwarder->socket_count > 1) {
            local.port = (uint16_t)(local.port + i);
            remote.port = (uint16_t)(remote.port + i);
        }
        r = wire_init(&lane->udp.wire, lane->socket, &local, &remote, ret_err);
        if (r < 0)
            return r;
        lane->udp.answers = (struct rate_limit){.rate = ANSWERS_RATE, .burst = ANSWERS_RATE};
    }
    return 0;
}

static void udp_begin(struct forwarder *forwarder)
{
    const struct udp_offload *wanted = &forwarder->config.worker.udp.offload;

    forwarder_set_offload(forwarder, (wanted->tso ? DEVICE_TSO : 0U) | (wanted->uso ? DEVICE_USO : 0U));
    for (size_t i = 0; i < forwarder->queue_count; i++) {
        struct udp *udp = &forwarder->lanes[i].udp;

        /* The device takes super-packets whatever it was told of what it may hand over. Where it does not, which some
         * versions of the kernel do not, it says so of the first one, and nothing is lost by that. */
        udp->merges = wanted->merge;
        wire_set_offload(&udp->wire, (wanted->udp_segment ? WIRE_SEGMENT : 0U) | (wanted->udp_gro ? WIRE_GRO : 0U));
    }
}

void udp_take_news(struct lane *lane)
{
    if (lane->udp.wire.news) {
        lane->udp.wire.news = false;
        lane->news = true;
    }
}

static void udp_on_wire_error(struct lane *lane)
{
    wire_errors_drain(&lane->udp.wire);
    udp_take_news(lane);
}

enum udp_report_offload { UDP_MERGES = 1 << 0, UDP_SEGMENTS = 1 << 1, UDP_GROUPS = 1 << 2 };

static void udp_report(struct lane *lane)
{
    const struct udp *udp = &lane->udp;

    lane_tell(&lane->report.path_mtu, udp->wire.path_mtu);
    lane_tell(&lane->report.wire_error, (uint32_t)udp->wire.error);
    lane_tell(&lane->report.offload, (udp->merges ? UDP_MERGES : 0U) | (udp->wire.segments ? UDP_SEGMENTS : 0U) |
                                         (udp->wire.gro ? UDP_GROUPS : 0U));
}

/* Of all lanes: the narrowest path, the first error, and what is in use everywhere. */
static struct lane_report udp_report_all(const struct forwarder *forwarder)
{
    struct lane_report all = {.offload = ~0U};

    for (size_t i = 0; i < forwarder->queue_count; i++) {
        const struct lane_report *report = &forwarder->lanes[i].report;
        uint32_t path_mtu = lane_told(&report->path_mtu);

        if (path_mtu != 0 && (all.path_mtu == 0 || path_mtu < all.path_mtu))
            all.path_mtu = path_mtu;
        if (all.wire_error == 0)
            all.wire_error = lane_told(&report->wire_error);
        all.offload &= lane_told(&report->offload);
    }
    return all;
}

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

static void udp_status(const struct forwarder *forwarder, struct buf *out)
{
    const struct worker_config *worker = &forwarder->config.worker;
    const struct lane_report all = udp_report_all(forwarder);
    bool leaves_checksums =
        worker->udp.header == UDP_HEADER_GUE && worker->udp.offload.checksum && forwarder->device_offload & DEVICE_TSO;

    if (all.path_mtu > 0)
        buf_printf(out, ",\"path_mtu\":%u", all.path_mtu);
    else
        buf_add_text(out, ",\"path_mtu\":null");
    if (all.wire_error > 0)
        buf_printf(out, ",\"wire_error\":\"%s\"", errno_name((int)all.wire_error));
    else
        buf_add_text(out, ",\"wire_error\":null");
    buf_printf(out,
               ",\"offload\":{\"tso\":%s,\"uso\":%s,\"merge\":%s,\"udp_segment\":%s,\"udp_gro\":%s,\"checksum\":%s}",
               truth(forwarder->device_offload & DEVICE_TSO), truth(forwarder->device_offload & DEVICE_USO),
               truth(all.offload & UDP_MERGES), truth(all.offload & UDP_SEGMENTS), truth(all.offload & UDP_GROUPS),
               truth(leaves_checksums));
}

const struct forwarder_type udp_type = {
    .type = WORKER_UDP,
    .has_sockets = true,
    .init = udp_init,
    .begin = udp_begin,
    .takes_super_packets = true,
    .from_device = udp_from_device,
    .flush = udp_flush,
    .from_wire = udp_from_wire,
    .on_wire_error = udp_on_wire_error,
    .report = udp_report,
    .status = udp_status,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/forwarder.h"

/* ICMP answers a second: enough for every flow to learn, too little to be a weapon. */
#define ANSWERS_RATE 100

static int udp_init(struct forwarder *forwarder, struct err *ret_err)
{
    const struct worker_config *worker = &forwarder->config.worker;

    for (size_t i = 0; i < forwarder->queue_count; i++) {
        struct lane *lane = &forwarder->lanes[i];
        int r = wire_init(&lane->udp.wire, lane->socket, &worker->udp.local, &worker->udp.remote,
                          WIRE_SEGMENT | WIRE_GRO, ret_err);

        if (r < 0)
            return r;
        lane->udp.answers = (struct rate_limit){.rate = ANSWERS_RATE, .burst = ANSWERS_RATE};
    }
    /* last: what is refused must not change what the device does for the configuration in force */
    forwarder_set_offload(forwarder, DEVICE_TSO | DEVICE_USO);
    for (size_t i = 0; i < forwarder->queue_count; i++)
        forwarder->lanes[i].udp.merges = forwarder->device_offload != 0;
    return 0;
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

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

static void udp_status(const struct forwarder *forwarder, struct buf *out)
{
    const struct udp *udp = &forwarder->lanes[0].udp;
    const struct wire *wire = &udp->wire;

    if (wire->path_mtu > 0)
        buf_printf(out, ",\"path_mtu\":%u", wire->path_mtu);
    else
        buf_add_text(out, ",\"path_mtu\":null");
    if (wire->error > 0)
        buf_printf(out, ",\"wire_error\":\"%s\"", errno_name(wire->error));
    else
        buf_add_text(out, ",\"wire_error\":null");
    buf_printf(out, ",\"offload\":{\"tso\":%s,\"uso\":%s,\"merge\":%s,\"udp_segment\":%s,\"udp_gro\":%s}",
               truth(forwarder->device_offload & DEVICE_TSO), truth(forwarder->device_offload & DEVICE_USO),
               truth(udp->merges), truth(wire->segments), truth(wire->gro));
}

const struct forwarder_type udp_type = {
    .type = WORKER_UDP,
    .sockets = 1,
    .init = udp_init,
    .takes_super_packets = true,
    .from_device = udp_from_device,
    .flush = udp_flush,
    .from_wire = udp_from_wire,
    .on_wire_error = udp_on_wire_error,
    .status = udp_status,
};

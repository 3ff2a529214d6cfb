/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor: counts what comes out of the device, says so in the log at a bounded rate, and drops it.
 */
#include "worker/forwarder.h"

#include <stdio.h>

#define SUMMARY_AFTER_NS NSEC_PER_SEC

static int monitor_init(struct forwarder *forwarder, struct err *ret_err)
{
    struct monitor *all = &forwarder->lanes[0].monitor;

    (void)ret_err;
    pthread_mutex_init(&all->lock, NULL);
    all->lines.rate = all->lines.burst = forwarder->config.worker.monitor.log_rate;
    for (size_t i = 0; i < forwarder->queue_count; i++)
        forwarder->lanes[i].monitor.all = all;
    return 0;
}

static void monitor_begin(struct forwarder *forwarder)
{
    forwarder_set_offload(forwarder, 0);
}

static void monitor_describe_ip(const uint8_t *bytes, const struct packet_view *view, char *out, size_t size)
{
    struct ip_addr source = packet_address(packet_source(bytes, view), view);
    struct ip_addr destination = packet_address(packet_destination(bytes, view), view);
    char source_text[IP_ADDR_TEXT_SIZE], destination_text[IP_ADDR_TEXT_SIZE], number[16];
    struct packet_upper upper;
    const char *protocol;

    if (packet_find_upper(bytes, view, &upper) < 0)
        upper = (struct packet_upper){.protocol = view->protocol, .first = true};
    protocol = packet_protocol_name(upper.protocol);
    if (!protocol) {
        snprintf(number, sizeof(number), "protocol %u", upper.protocol);
        protocol = number;
    }
    snprintf(out, size, "IPv%u %s > %s %s%s", view->version, ip_addr_print(&source, source_text),
             ip_addr_print(&destination, destination_text), protocol, upper.fragmented ? " fragment" : "");
}

void monitor_describe(enum device_kind kind, const uint8_t *bytes, size_t length, char *out, size_t size)
{
    struct packet_view view;

    if (packet_parse(kind, bytes, length, &view) < 0)
        snprintf(out, size, "malformed");
    else if (view.version != 0)
        monitor_describe_ip(bytes, &view, out, size);
    else if (view.ethertype == ETHERTYPE_OF_ARP)
        snprintf(out, size, "ARP");
    else
        snprintf(out, size, "ethertype 0x%04x", view.ethertype);
}

/* The first one that is passed over has its lane say, a while later, how many there were. */
static bool monitor_permits(struct lane *lane)
{
    struct monitor *all = lane->monitor.all;
    int64_t now = clock_monotonic_ns();
    bool permits;

    pthread_mutex_lock(&all->lock);
    permits = rate_limit_permits(&all->lines, now);
    if (!permits && all->suppressed++ == 0)
        lane->timer_ns = now + SUMMARY_AFTER_NS;
    pthread_mutex_unlock(&all->lock);
    return permits;
}

static void monitor_from_device(struct lane *lane, size_t length)
{
    char text[MONITOR_TEXT_SIZE];

    counter_drop(lane->counters, DROP_NOT_FORWARDED);
    if (lane->config->worker.monitor.log_rate == 0 || !monitor_permits(lane))
        return;
    monitor_describe(lane->config->kind, lane->packet.bytes, length, text, sizeof(text));
    log_info("%s: %s of %zu bytes: %s", lane->config->device, lane->config->kind == DEVICE_TUN ? "packet" : "frame",
             length, text);
}

static void monitor_on_timer(struct lane *lane)
{
    struct monitor *all = lane->monitor.all;
    uint64_t suppressed;

    lane->timer_ns = 0;
    pthread_mutex_lock(&all->lock);
    suppressed = all->suppressed;
    all->suppressed = 0;
    pthread_mutex_unlock(&all->lock);
    log_info("%s: %llu more not logged", lane->config->device, (unsigned long long)suppressed);
}

const struct forwarder_type monitor_type = {
    .type = WORKER_MONITOR,
    .init = monitor_init,
    .begin = monitor_begin,
    .from_device = monitor_from_device,
    .on_timer = monitor_on_timer,
};

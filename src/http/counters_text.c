/* SPDX-License-Identifier: Apache-2.0 */
#include "counters_text.h"

#include "tunwright/worker.h"

#include <string.h>

static uint64_t drops_sum(const struct counter_slot *worker)
{
    uint64_t sum = 0;
    for (int reason = 0; reason < DROP_REASON_N; reason++)
        sum += worker->drops[reason];
    return sum;
}

struct counters_mark counters_mark_of(const struct snapshot_device *device, const struct counters *counters,
                                      int64_t now_monotonic_ns)
{
    struct counters_mark mark = {.uuid = device->stored.uuid, .time_ns = now_monotonic_ns};
    memcpy(mark.name, device->stored.device->name, sizeof mark.name);
    if (counters->has_kernel) {
        mark.ifindex = device->ifindex;
        mark.kernel_rx = (struct counter_pair){counters->kernel.rx_packets, counters->kernel.rx_bytes};
        mark.kernel_tx = (struct counter_pair){counters->kernel.tx_packets, counters->kernel.tx_bytes};
    }
    if (counters->has_worker) {
        mark.since_ns = counters->since_ns;
        mark.device_in = counters->worker.device_in;
        mark.device_out = counters->worker.device_out;
        mark.wire_in = counters->worker.wire_in;
        mark.wire_out = counters->worker.wire_out;
        mark.drops = drops_sum(&counters->worker);
    }
    return mark;
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

#define add_literal(out, text) buf_add((out), "" text, sizeof(text) - 1)

#define add_member(out, text, value) (add_literal(out, text), buf_add_u64(out, value))

/* Three places after the point. */
static void add_thousandths(struct buf *out, uint64_t value)
{
    unsigned rest = (unsigned)(value % 1000);
    const char places[4] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10), (char)('0' + rest % 10)};
    buf_add_u64(out, value / 1000);
    buf_add(out, places, sizeof places);
}

static void add_time(struct buf *out, int64_t realtime_ns)
{
    char text[CLOCK_TEXT_SIZE];
    add_literal(out, "\"");
    buf_add_text(out, clock_print(realtime_ns, text));
    add_literal(out, "\"");
}

/* ---- the document ------------------------------------------------------------------------------------------------ */

static void add_kernel(struct buf *out, const struct link_stats *stats)
{
    add_member(out, "{\"rx_packets\":", stats->rx_packets);
    add_member(out, ",\"rx_bytes\":", stats->rx_bytes);
    add_member(out, ",\"rx_errors\":", stats->rx_errors);
    add_member(out, ",\"rx_dropped\":", stats->rx_dropped);
    add_member(out, ",\"tx_packets\":", stats->tx_packets);
    add_member(out, ",\"tx_bytes\":", stats->tx_bytes);
    add_member(out, ",\"tx_errors\":", stats->tx_errors);
    add_member(out, ",\"tx_dropped\":", stats->tx_dropped);
    add_literal(out, "}");
}

static void add_pair(struct buf *out, const struct counter_pair *pair)
{
    add_member(out, "{\"packets\":", pair->packets);
    add_member(out, ",\"bytes\":", pair->bytes);
    add_literal(out, "}");
}

static void add_worker(struct buf *out, enum worker_type type, const struct counter_slot *sum)
{
    add_literal(out, "{\"type\":\"");
    buf_add_text(out, worker_type_name(type));
    add_literal(out, "\",\"device_in\":");
    add_pair(out, &sum->device_in);
    add_literal(out, ",\"device_out\":");
    add_pair(out, &sum->device_out);
    add_literal(out, ",\"wire_in\":");
    add_pair(out, &sum->wire_in);
    add_literal(out, ",\"wire_out\":");
    add_pair(out, &sum->wire_out);
    add_literal(out, ",\"drops\":{");
    for (int reason = 0; reason < DROP_REASON_N; reason++) {
        if (reason)
            add_literal(out, ",");
        add_literal(out, "\"");
        buf_add_text(out, drop_reason_name((enum drop_reason)reason));
        add_literal(out, "\":");
        buf_add_u64(out, sum->drops[reason]);
    }
    add_literal(out, "}}");
}

/* All of it but the closing brace. A device's name needs no escapes. */
static void add_document(struct buf *out, const struct snapshot_device *device, const struct counters *counters)
{
    add_literal(out, "{\"device\":\"");
    buf_add_text(out, device->stored.device->name);
    add_literal(out, "\",\"time\":");
    add_time(out, counters->time_ns);
    add_literal(out, ",\"since\":");
    if (counters->has_worker)
        add_time(out, counters->since_ns);
    else
        add_literal(out, "null");
    add_literal(out, ",\"kernel\":");
    if (counters->has_kernel)
        add_kernel(out, &counters->kernel);
    else
        add_literal(out, "null");
    add_literal(out, ",\"worker\":");
    if (counters->has_worker)
        add_worker(out, device->stored.device->worker.type, &counters->worker);
    else
        add_literal(out, "null");
}

void counters_print(struct buf *out, const struct snapshot_device *device, const struct counters *counters)
{
    add_document(out, device, counters);
    add_literal(out, "}");
}

/* ---- rates ------------------------------------------------------------------------------------------------------- */

/* A second. What shrank was begun anew in between without our knowing: 0. */
static void add_rate(struct buf *out, uint64_t before, uint64_t now, int64_t elapsed_ns)
{
    double thousandths = now > before ? (double)(now - before) * 1e12 / (double)elapsed_ns : 0;
    add_thousandths(out, thousandths < 1e19 ? (uint64_t)(thousandths + 0.5) : UINT64_MAX);
}

static void add_pair_rate(struct buf *out, const struct counter_pair *before, const struct counter_pair *now,
                          int64_t elapsed_ns)
{
    add_literal(out, "{\"packets\":");
    add_rate(out, before->packets, now->packets, elapsed_ns);
    add_literal(out, ",\"bytes\":");
    add_rate(out, before->bytes, now->bytes, elapsed_ns);
    add_literal(out, "}");
}

static void add_kernel_rates(struct buf *out, const struct counters_mark *before, const struct counters_mark *now,
                             int64_t elapsed_ns)
{
    add_literal(out, "{\"rx_packets\":");
    add_rate(out, before->kernel_rx.packets, now->kernel_rx.packets, elapsed_ns);
    add_literal(out, ",\"rx_bytes\":");
    add_rate(out, before->kernel_rx.bytes, now->kernel_rx.bytes, elapsed_ns);
    add_literal(out, ",\"tx_packets\":");
    add_rate(out, before->kernel_tx.packets, now->kernel_tx.packets, elapsed_ns);
    add_literal(out, ",\"tx_bytes\":");
    add_rate(out, before->kernel_tx.bytes, now->kernel_tx.bytes, elapsed_ns);
    add_literal(out, "}");
}

static void add_worker_rates(struct buf *out, const struct counters_mark *before, const struct counters_mark *now,
                             int64_t elapsed_ns)
{
    add_literal(out, "{\"device_in\":");
    add_pair_rate(out, &before->device_in, &now->device_in, elapsed_ns);
    add_literal(out, ",\"device_out\":");
    add_pair_rate(out, &before->device_out, &now->device_out, elapsed_ns);
    add_literal(out, ",\"wire_in\":");
    add_pair_rate(out, &before->wire_in, &now->wire_in, elapsed_ns);
    add_literal(out, ",\"wire_out\":");
    add_pair_rate(out, &before->wire_out, &now->wire_out, elapsed_ns);
    add_literal(out, ",\"drops\":");
    add_rate(out, before->drops, now->drops, elapsed_ns);
    add_literal(out, "}");
}

void counters_print_with_rates(struct buf *out, const struct snapshot_device *device, const struct counters *counters,
                               const struct counters_mark *before, const struct counters_mark *now)
{
    add_document(out, device, counters);
    int64_t elapsed_ns = before ? now->time_ns - before->time_ns : 0;
    if (elapsed_ns <= 0 || !uuid_equal(&before->uuid, &now->uuid)) {
        add_literal(out, ",\"rates\":null}");
        return;
    }
    add_literal(out, ",\"rates\":{\"interval_s\":");
    add_thousandths(out, (uint64_t)(elapsed_ns + NSEC_PER_MSEC / 2) / NSEC_PER_MSEC);
    add_literal(out, ",\"kernel\":");
    if (now->ifindex && now->ifindex == before->ifindex)
        add_kernel_rates(out, before, now, elapsed_ns);
    else
        add_literal(out, "null");
    add_literal(out, ",\"worker\":");
    if (now->since_ns && now->since_ns == before->since_ns)
        add_worker_rates(out, before, now, elapsed_ns);
    else
        add_literal(out, "null");
    add_literal(out, "}}");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include "event_filter.h"

#include "tunwright/worker.h"

#include <inttypes.h>
#include <string.h>

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static void add_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and line feed are escaped. The rest is UTF-8 as it is. */
static void add_value(struct buf *out, const char *text)
{
    for (; *text; text++) {
        size_t plain = strcspn(text, "\\\"\n");
        buf_add(out, text, plain);
        text += plain;
        if (!*text)
            return;
        buf_add_text(out, *text == '\\' ? "\\\\" : *text == '"' ? "\\\"" : "\\n");
    }
}

static void add_sample(struct buf *out, const char *name, uint64_t value)
{
    buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void add_one(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
    add_head(out, name, type, help);
    add_sample(out, name, value);
}

/* A sample of a device, with one more label or none. Neither a device's name nor a word of ours needs escapes. */
static void add_device_sample(struct buf *out, const char *name, const char *device, const char *key, const char *word,
                              uint64_t value)
{
    buf_add_text(out, name);
    buf_add_text(out, "{device=\"");
    buf_add_text(out, device);
    if (key) {
        buf_add_text(out, "\",");
        buf_add_text(out, key);
        buf_add_text(out, "=\"");
        buf_add_text(out, word);
    }
    buf_printf(out, "\"} %" PRIu64 "\n", value);
}

/* ---- the daemon -------------------------------------------------------------------------------------------------- */

static void add_daemon(struct buf *out, const struct metrics *metrics)
{
    const struct snapshot *snapshot = metrics->snapshot;
    add_head(out, "tunwright_build_info", "gauge", "Always 1; the labels say what runs.");
    buf_add_text(out, "tunwright_build_info{version=\"" TUNWRIGHT_VERSION "\"} 1\n");
    add_one(out, "tunwright_netd_connected", "gauge", "Whether tunwright-netd answers.", snapshot->netd_connected);
    add_one(out, "tunwright_store_writable", "gauge", "Whether the database can be written.", snapshot->store_writable);
    add_one(out, "tunwright_settled", "gauge", "Whether the first convergence after the start was tried.",
            snapshot->settled);
    add_one(out, "tunwright_files_tried", "gauge", "Whether all start-up files were tried.", metrics->files_tried);
    add_one(out, "tunwright_config_revision", "gauge", "How many changes of the configuration there were.",
            snapshot->revision);
    add_one(out, "tunwright_confirmation_pending", "gauge", "Whether a change waits to be confirmed or reverted.",
            snapshot->is_pending);
    add_head(out, "tunwright_confirmation_deadline_seconds", "gauge",
             "When the pending change is reverted, in seconds since the epoch; 0 without one.");
    int64_t deadline_ms = snapshot->is_pending ? snapshot->pending_deadline_ns / NSEC_PER_MSEC : 0;
    buf_printf(out, "tunwright_confirmation_deadline_seconds %" PRId64 ".%03" PRId64 "\n", deadline_ms / 1000,
               deadline_ms % 1000);
    add_one(out, "tunwright_events_newest_sequence", "gauge", "The sequence of the newest event.",
            metrics->newest_event);
}

static void add_http(struct buf *out, const struct metrics *metrics)
{
    add_head(out, "tunwright_http_requests_total", "counter", "Answers by method and class of status.");
    for (int method = 0; method < ANSWER_METHOD_N; method++)
        for (int class = 0; class < ANSWER_CLASS_N; class ++) {
            uint64_t count = atomic_load_explicit(&metrics->answered->of[method][class], memory_order_relaxed);
            /* what was never seen, of what is possible, is 0: without it the first of its kind is no increase */
            bool usual = method != ANSWER_OTHER && class > 0;
            if (count || usual)
                buf_printf(out, "tunwright_http_requests_total{method=\"%s\",status=\"%dxx\"} %" PRIu64 "\n",
                           answer_method_name((enum answer_method)method), class + 1, count);
        }
    add_one(out, "tunwright_http_connections", "gauge", "Open connections to the API.", metrics->connections);
    add_one(out, "tunwright_http_streams", "gauge", "Clients that watch.", metrics->streams);
}

static void add_process(struct buf *out, const struct process_facts *process)
{
    add_head(out, "process_start_time_seconds", "gauge", "When the process was started, in seconds since the epoch.");
    buf_printf(out, "process_start_time_seconds %.3f\n", process->start_time_s);
    add_head(out, "process_cpu_seconds_total", "counter", "User and system time that the process has used.");
    buf_printf(out, "process_cpu_seconds_total %.3f\n", process->cpu_s);
    add_one(out, "process_resident_memory_bytes", "gauge", "Resident memory.", process->resident_bytes);
    add_one(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", process->virtual_bytes);
    add_one(out, "process_open_fds", "gauge", "Open file descriptors.", process->open_fds);
    add_one(out, "process_max_fds", "gauge", "How many file descriptors may be open.", process->max_fds);
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

/* One device that is shown. */
struct entry {
    const struct snapshot_device *device;
    const struct counters *counters;
    const char *name;
};

/* The next one from *place on; false at the end. */
static bool entry_next(const struct metrics *metrics, size_t *place, struct entry *ret_entry)
{
    while (*place < metrics->snapshot->device_count) {
        size_t at = (*place)++;
        const struct snapshot_device *device = &metrics->snapshot->devices[at];
        if (!event_filter_takes_device(metrics->filter, device->stored.device))
            continue;
        *ret_entry = (struct entry){device, &metrics->counters[at], device->stored.device->name};
        return true;
    }
    return false;
}
#define each_entry(metrics, entry) for (size_t entry##_place = 0; entry_next((metrics), &entry##_place, &(entry));)

static void add_states(struct buf *out, const struct metrics *metrics)
{
    struct entry entry;
    uint64_t counts[DEVICE_STATE_N] = {0};
    add_head(out, "tunwright_device_state", "gauge", "The state of a device: 1 for the one it is in, else 0.");
    each_entry(metrics, entry)
    {
        counts[entry.device->state]++;
        for (int state = 0; state < DEVICE_STATE_N; state++)
            add_device_sample(out, "tunwright_device_state", entry.name, "state",
                              device_state_name((enum device_state)state), (int)entry.device->state == state);
    }
    add_head(out, "tunwright_devices", "gauge", "Devices by state.");
    for (int state = 0; state < DEVICE_STATE_N; state++)
        buf_printf(out, "tunwright_devices{state=\"%s\"} %" PRIu64 "\n", device_state_name((enum device_state)state),
                   counts[state]);
}

static void add_info(struct buf *out, const struct metrics *metrics)
{
    char uuid[UUID_TEXT_SIZE];
    struct entry entry;
    add_head(out, "tunwright_device_info", "gauge", "Always 1; the labels say what the device is.");
    each_entry(metrics, entry)
    {
        const struct device *device = entry.device->stored.device;
        buf_printf(out, "tunwright_device_info{device=\"%s\",kind=\"%s\",uuid=\"%s\",netns=\"%s\",worker=\"%s\"} 1\n",
                   entry.name, device_kind_name(device->kind), uuid_print(&entry.device->stored.uuid, uuid),
                   device->netns, worker_type_name(device->worker.type));
    }
    add_head(out, "tunwright_device_label", "gauge", "Always 1; one sample for each label that a user gave a device.");
    each_entry(metrics, entry)
    {
        const struct device *device = entry.device->stored.device;
        for (size_t i = 0; i < device->label_count; i++) {
            buf_printf(out, "tunwright_device_label{device=\"%s\",key=\"%s\",value=\"", entry.name,
                       device->labels[i].key);
            add_value(out, device->labels[i].value);
            buf_add_text(out, "\"} 1\n");
        }
    }
}

static uint64_t value_generation(const struct snapshot_device *device)
{
    return device->stored.generation;
}

static uint64_t value_observed_generation(const struct snapshot_device *device)
{
    return device->observed_generation;
}

static uint64_t value_up(const struct snapshot_device *device)
{
    return device->present && device->carrier;
}

static uint64_t value_mtu(const struct snapshot_device *device)
{
    return device->present ? device->mtu : 0;
}

static uint64_t value_deviations(const struct snapshot_device *device)
{
    return device->deviation_count;
}

static void add_gauges(struct buf *out, const struct metrics *metrics)
{
    static const struct {
        const char *name, *help;
        uint64_t (*value)(const struct snapshot_device *device);
    } rows[] = {
        {"tunwright_device_generation", "How often the device's document was changed.", value_generation},
        {"tunwright_device_observed_generation", "The last generation that was wholly in the kernel.",
         value_observed_generation},
        {"tunwright_device_deviations", "Differences between the document and the kernel.", value_deviations},
        {"tunwright_device_carrier", "Whether the device is there and somebody holds its queue.", value_up},
        {"tunwright_device_mtu_bytes", "The device's MTU, 0 where it is not there.", value_mtu},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct entry entry;
        add_head(out, rows[i].name, "gauge", rows[i].help);
        each_entry(metrics, entry)
            add_device_sample(out, rows[i].name, entry.name, NULL, NULL, rows[i].value(entry.device));
    }
}

/* ---- the kernel's counters --------------------------------------------------------------------------------------- */

static void add_kernel(struct buf *out, const struct metrics *metrics)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } rows[] = {
#define ROW(name, member, help) {"tunwright_device_" name "_total", help, offsetof(struct link_stats, member)}
        ROW("receive_packets", rx_packets, "Packets that the device handed to the protocol stack."),
        ROW("receive_bytes", rx_bytes, "Bytes that the device handed to the protocol stack."),
        ROW("receive_errors", rx_errors, "Packets towards the protocol stack that were faulty."),
        ROW("receive_drops", rx_dropped, "Packets towards the protocol stack that the kernel dropped."),
        ROW("transmit_packets", tx_packets, "Packets that the protocol stack sent into the device."),
        ROW("transmit_bytes", tx_bytes, "Bytes that the protocol stack sent into the device."),
        ROW("transmit_errors", tx_errors, "Packets from the protocol stack that were faulty."),
        ROW("transmit_drops", tx_dropped, "Packets from the protocol stack that the kernel dropped."),
#undef ROW
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct entry entry;
        add_head(out, rows[i].name, "counter", rows[i].help);
        each_entry(metrics, entry)
        {
            uint64_t value;
            if (!entry.counters->has_kernel)
                continue;
            memcpy(&value, (const char *)&entry.counters->kernel + rows[i].offset, sizeof value);
            add_device_sample(out, rows[i].name, entry.name, NULL, NULL, value);
        }
    }
}

/* ---- workers ----------------------------------------------------------------------------------------------------- */

static void add_worker_states(struct buf *out, const struct metrics *metrics)
{
    struct entry entry;
    add_head(out, "tunwright_worker_state", "gauge", "The state of a worker: 1 for the one it is in, else 0.");
    each_entry(metrics, entry) for (int state = 0; entry.device->has_worker && state < WORKER_STATE_N; state++)
        add_device_sample(out, "tunwright_worker_state", entry.name, "state",
                          worker_state_name((enum worker_state)state), (int)entry.device->worker_state == state);
    add_head(out, "tunwright_worker_restarts_total", "counter", "How often the worker ended by itself.");
    each_entry(metrics, entry) if (entry.device->has_worker) add_device_sample(
        out, "tunwright_worker_restarts_total", entry.name, NULL, NULL, entry.device->worker_restarts);
    add_head(out, "tunwright_worker_start_time_seconds", "gauge",
             "When the worker was started, in seconds since the epoch.");
    each_entry(metrics, entry)
    {
        int64_t ms = entry.device->worker_started_ns / NSEC_PER_MSEC;
        if (entry.device->has_worker && ms)
            buf_printf(out, "tunwright_worker_start_time_seconds{device=\"%s\"} %" PRId64 ".%03" PRId64 "\n",
                       entry.name, ms / 1000, ms % 1000);
    }
}

static void add_worker_counters(struct buf *out, const struct metrics *metrics)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } rows[] = {
#define ROW(name, member, help) {"tunwright_worker_" name "_total", help, offsetof(struct counter_slot, member)}
        ROW("device_in_packets", device_in.packets, "Packets that the worker read from the device."),
        ROW("device_in_bytes", device_in.bytes, "Bytes that the worker read from the device."),
        ROW("device_out_packets", device_out.packets, "Packets that the worker wrote to the device."),
        ROW("device_out_bytes", device_out.bytes, "Bytes that the worker wrote to the device."),
        ROW("wire_in_packets", wire_in.packets, "Packets that the worker's socket received."),
        ROW("wire_in_bytes", wire_in.bytes, "Bytes that the worker's socket received, without outer headers."),
        ROW("wire_out_packets", wire_out.packets, "Packets that the worker's socket sent."),
        ROW("wire_out_bytes", wire_out.bytes, "Bytes that the worker's socket sent, without outer headers."),
#undef ROW
    };
    struct entry entry;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        add_head(out, rows[i].name, "counter", rows[i].help);
        each_entry(metrics, entry)
        {
            uint64_t value;
            if (!entry.counters->has_worker)
                continue;
            memcpy(&value, (const char *)&entry.counters->worker + rows[i].offset, sizeof value);
            add_device_sample(out, rows[i].name, entry.name, NULL, NULL, value);
        }
    }
    add_head(out, "tunwright_worker_dropped_packets_total", "counter", "Packets that the worker dropped, by reason.");
    each_entry(metrics, entry) for (int reason = 0; entry.counters->has_worker && reason < DROP_REASON_N; reason++)
        add_device_sample(out, "tunwright_worker_dropped_packets_total", entry.name, "reason",
                          drop_reason_name((enum drop_reason)reason), entry.counters->worker.drops[reason]);
}

void metrics_print(const struct metrics *metrics, struct buf *out)
{
    add_daemon(out, metrics);
    add_http(out, metrics);
    add_process(out, &metrics->process);
    add_states(out, metrics);
    add_info(out, metrics);
    add_gauges(out, metrics);
    add_kernel(out, metrics);
    add_worker_states(out, metrics);
    add_worker_counters(out, metrics);
}

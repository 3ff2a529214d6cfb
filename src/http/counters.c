/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "handlers.h"
#include "server.h"

#include "tunwright/worker.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>

/* cJSON's own numbers go through a double, which is exact to 2^53 only. */
static bool add_count(cJSON *object, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return cJSON_AddRawToObject(object, name, text);
}

static bool add_kernel(cJSON *json, const struct counters *counters)
{
    if (!counters->has_kernel)
        return cJSON_AddNullToObject(json, "kernel");
    const struct link_stats *stats = &counters->kernel;
    cJSON *kernel = cJSON_AddObjectToObject(json, "kernel");
    return kernel && add_count(kernel, "rx_packets", stats->rx_packets) &&
           add_count(kernel, "rx_bytes", stats->rx_bytes) && add_count(kernel, "rx_errors", stats->rx_errors) &&
           add_count(kernel, "rx_dropped", stats->rx_dropped) && add_count(kernel, "tx_packets", stats->tx_packets) &&
           add_count(kernel, "tx_bytes", stats->tx_bytes) && add_count(kernel, "tx_errors", stats->tx_errors) &&
           add_count(kernel, "tx_dropped", stats->tx_dropped);
}

static bool add_pair(cJSON *worker, const char *name, const struct counter_pair *pair)
{
    cJSON *json = cJSON_AddObjectToObject(worker, name);
    return json && add_count(json, "packets", pair->packets) && add_count(json, "bytes", pair->bytes);
}

static bool add_worker(cJSON *json, enum worker_type type, const struct counters *counters)
{
    if (!counters->has_worker)
        return cJSON_AddNullToObject(json, "worker");
    const struct counter_slot *sum = &counters->worker;
    cJSON *worker = cJSON_AddObjectToObject(json, "worker");
    if (!worker || !cJSON_AddStringToObject(worker, "type", worker_type_name(type)) ||
        !add_pair(worker, "device_in", &sum->device_in) || !add_pair(worker, "device_out", &sum->device_out) ||
        !add_pair(worker, "wire_in", &sum->wire_in) || !add_pair(worker, "wire_out", &sum->wire_out))
        return false;
    cJSON *drops = cJSON_AddObjectToObject(worker, "drops");
    for (int reason = 0; drops && reason < DROP_REASON_N; reason++)
        if (!add_count(drops, drop_reason_name((enum drop_reason)reason), sum->drops[reason]))
            return false;
    return drops;
}

cJSON *counters_to_json(struct engine *engine, const struct snapshot_device *device)
{
    char time[CLOCK_TEXT_SIZE];
    struct counters counters;
    engine_counters(engine, device, &counters);
    cJSON *json = cJSON_CreateObject();
    bool whole = json && cJSON_AddStringToObject(json, "device", device->stored.device->name) &&
                 cJSON_AddStringToObject(json, "time", clock_print(counters.time_ns, time)) &&
                 (counters.has_worker ? cJSON_AddStringToObject(json, "since", clock_print(counters.since_ns, time))
                                      : cJSON_AddNullToObject(json, "since")) &&
                 add_kernel(json, &counters) && add_worker(json, device->stored.device->worker.type, &counters);
    if (whole)
        return json;
    cJSON_Delete(json);
    return NULL;
}

void counters_get(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = NULL;
    const struct snapshot_device *device = devices_find(request, &snapshot);
    if (device)
        answer_json(request, 200, counters_to_json(request->server->engine, device));
}

void counters_list(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = engine_snapshot(request->server->engine);
    cJSON *items = cJSON_CreateArray();
    for (size_t i = 0; items && i < snapshot->device_count; i++) {
        answer_item_add(&items, counters_to_json(request->server->engine, &snapshot->devices[i]));
    }
    answer_items(request, items);
}

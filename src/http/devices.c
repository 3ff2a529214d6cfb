/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "change_wait.h"
#include "handlers.h"
#include "server.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the document with its status ---------------------------------------------------------------------------------
 */

/* Never through a double. */
static bool add_u64(cJSON *object, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return cJSON_AddRawToObject(object, name, text);
}

static bool add_u64_or_null(cJSON *object, const char *name, bool is_there, uint64_t value)
{
    return is_there ? add_u64(object, name, value) : cJSON_AddNullToObject(object, name) != NULL;
}

static bool add_text_or_null(cJSON *object, const char *name, const char *text)
{
    return text && *text ? answer_add_text(object, name, text) : cJSON_AddNullToObject(object, name) != NULL;
}

static bool add_time(cJSON *object, const char *name, int64_t realtime_ns)
{
    char text[CLOCK_TEXT_SIZE];
    return cJSON_AddStringToObject(object, name, clock_print(realtime_ns, text));
}

static bool add_reason(cJSON *status, const struct err *reason)
{
    if (reason->code == ERR_NONE)
        return cJSON_AddNullToObject(status, "reason");
    cJSON *json = cJSON_AddObjectToObject(status, "reason");
    return json && cJSON_AddStringToObject(json, "code", err_code_name(reason->code)) &&
           answer_add_text(json, "detail", reason->message) && add_text_or_null(json, "operation", reason->operation) &&
           add_text_or_null(json, "errno", reason->sys_errno ? errno_name(reason->sys_errno) : NULL);
}

static bool add_worker(cJSON *status, const struct snapshot_device *device)
{
    if (!device->has_worker)
        return cJSON_AddNullToObject(status, "worker");
    cJSON *json = cJSON_AddObjectToObject(status, "worker");
    bool runs = device->worker_pid > 0;
    if (!json || !cJSON_AddStringToObject(json, "state", worker_state_name(device->worker_state)) ||
        !add_u64_or_null(json, "pid", runs, runs ? (uint64_t)device->worker_pid : 0) ||
        !add_u64(json, "restarts", device->worker_restarts))
        return false;
    if (!(device->worker_started_ns ? add_time(json, "started", device->worker_started_ns)
                                    : cJSON_AddNullToObject(json, "started") != NULL))
        return false;
    if (!add_text_or_null(json, "detail", device->worker_detail))
        return false;
    /* the worker's own words: an object that passed the strict check when it came */
    return device->worker_status ? cJSON_AddRawToObject(json, "report", device->worker_status) != NULL
                                 : cJSON_AddNullToObject(json, "report") != NULL;
}

static bool add_status(cJSON *document, const struct snapshot_device *device)
{
    char uuid[UUID_TEXT_SIZE], mac[sizeof "00:00:00:00:00:00"] = "";
    const struct stored_device *stored = &device->stored;
    if (device->present && stored->device->kind == DEVICE_TAP)
        snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", device->mac[0], device->mac[1], device->mac[2],
                 device->mac[3], device->mac[4], device->mac[5]);
    cJSON *status = cJSON_AddObjectToObject(document, "status");
    return status && cJSON_AddStringToObject(status, "state", device_state_name(device->state)) &&
           add_reason(status, &device->reason) && add_u64(status, "generation", stored->generation) &&
           add_u64(status, "observed_generation", device->observed_generation) &&
           cJSON_AddStringToObject(status, "uuid", uuid_print(&stored->uuid, uuid)) &&
           add_u64_or_null(status, "ifindex", device->present, device->ifindex) &&
           cJSON_AddBoolToObject(status, "carrier", device->present && device->carrier) &&
           add_u64_or_null(status, "mtu", device->present, device->mtu) && add_text_or_null(status, "mac", mac) &&
           add_time(status, "created", stored->created_ns) && add_time(status, "changed", stored->changed_ns) &&
           add_worker(status, device);
}

cJSON *devices_document(const struct snapshot_device *device)
{
    cJSON *document = device_to_json(device->stored.device);
    if (document && add_status(document, device))
        return document;
    cJSON_Delete(document);
    return NULL;
}

/* ---- handlers -----------------------------------------------------------------------------------------------------
 */

void devices_snapshot_done(const struct snapshot **snapshot)
{
    if (*snapshot)
        snapshot_release(*snapshot);
}

const struct snapshot_device *devices_find(struct request *request, const struct snapshot **ret_snapshot)
{
    const struct snapshot *snapshot = engine_snapshot(request->server->engine);
    const struct snapshot_device *device = snapshot_device_find(snapshot, request->variables[0]);
    if (device) {
        *ret_snapshot = snapshot;
        return device;
    }
    snapshot_release(snapshot);
    *ret_snapshot = NULL;
    struct err e;
    err_set(&e, -ENOENT, ERR_NOT_FOUND, "", "there is no device \"%.64s\"", request->variables[0]);
    answer_problem(request, &e);
    return NULL;
}

void devices_list(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = engine_snapshot(request->server->engine);
    cJSON *items = cJSON_CreateArray();
    for (size_t i = 0; items && i < snapshot->device_count; i++) {
        answer_item_add(&items, devices_document(&snapshot->devices[i]));
    }
    answer_items(request, items);
}

void devices_get(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = NULL;
    const struct snapshot_device *device = devices_find(request, &snapshot);
    if (device)
        answer_json(request, 200, devices_document(device));
}

/* NULL: the answer is given. */
static struct device *body_to_device(struct request *request, const char *name, bool name_may_be_pattern)
{
    struct err_list errors = {.count = 0};
    struct device *device = NULL;
    if (!request->body.length)
        err_list_add(&errors, ERR_INVALID_JSON, "", "the body is empty; it must be a device document");
    else if (!device_parse(request->body.data, request->body.length, name, name_may_be_pattern, &device, &errors))
        return device;
    answer_problems(request, &errors);
    return NULL;
}

void devices_post(struct request *request)
{
    struct device *device CLEANUP(device_done) = body_to_device(request, NULL, true);
    struct change *change = device ? change_wait_new(request, CHANGE_DEVICE_CREATE) : NULL;
    if (!change)
        return;
    text_copy(change->name, sizeof change->name, device->name);
    change->device = device;
    device = NULL;
    change_wait_submit(request);
}

void devices_put(struct request *request)
{
    struct device *device CLEANUP(device_done) = body_to_device(request, request->variables[0], false);
    struct change *change = device ? change_wait_new(request, CHANGE_DEVICE_PUT) : NULL;
    if (!change)
        return;
    change->device = device;
    device = NULL;
    change_wait_submit(request);
}

void devices_delete(struct request *request)
{
    if (change_wait_new(request, CHANGE_DEVICE_DELETE))
        change_wait_submit(request);
}

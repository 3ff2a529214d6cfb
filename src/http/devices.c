/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "body.h"
#include "change_wait.h"
#include "device_list.h"
#include "document_cache.h"
#include "handlers.h"
#include "json_add.h"
#include "server.h"

#include <cjson/cJSON.h>
#include <errno.h>

/* ---- the document with its status -------------------------------------------------------------------------------- */

static bool add_reason(cJSON *status, const struct err *reason)
{
    if (reason->code == ERR_NONE)
        return cJSON_AddNullToObject(status, "reason");
    cJSON *json = cJSON_AddObjectToObject(status, "reason");
    return json && cJSON_AddStringToObject(json, "code", err_code_name(reason->code)) &&
           answer_add_text(json, "detail", reason->message) &&
           json_add_text_or_null(json, "operation", reason->operation) &&
           json_add_text_or_null(json, "errno", reason->sys_errno ? errno_name(reason->sys_errno) : NULL);
}

static bool add_worker(cJSON *status, const struct snapshot_device *device)
{
    if (!device->has_worker)
        return cJSON_AddNullToObject(status, "worker");
    cJSON *json = cJSON_AddObjectToObject(status, "worker");
    bool runs = device->worker_pid > 0;
    if (!json || !cJSON_AddStringToObject(json, "state", worker_state_name(device->worker_state)) ||
        !json_add_u64_or_null(json, "pid", runs, runs ? (uint64_t)device->worker_pid : 0) ||
        !json_add_u64(json, "restarts", device->worker_restarts))
        return false;
    if (!(device->worker_started_ns ? json_add_time(json, "started", device->worker_started_ns)
                                    : cJSON_AddNullToObject(json, "started") != NULL))
        return false;
    if (!json_add_text_or_null(json, "detail", device->worker_detail))
        return false;
    /* the worker's own words: an object that passed the strict check when it came */
    return device->worker_status ? cJSON_AddRawToObject(json, "report", device->worker_status) != NULL
                                 : cJSON_AddNullToObject(json, "report") != NULL;
}

static bool add_deviations(cJSON *status, const struct snapshot_device *device)
{
    cJSON *array = cJSON_AddArrayToObject(status, "deviations");
    bool added = array;
    for (size_t i = 0; added && i < device->deviation_count; i++) {
        const struct deviation *deviation = &device->deviations[i];
        cJSON *json = cJSON_CreateObject();
        added = json && cJSON_AddItemToArray(array, json);
        if (!added)
            cJSON_Delete(json);
        added = added && answer_add_text(json, "pointer", deviation->pointer) &&
                cJSON_AddStringToObject(json, "operation", deviation->operation) &&
                cJSON_AddRawToObject(json, "wanted", deviation->wanted) &&
                cJSON_AddRawToObject(json, "found", deviation->found);
    }
    return added;
}

static bool add_status(cJSON *document, const struct snapshot_device *device)
{
    char uuid[UUID_TEXT_SIZE];
    const struct stored_device *stored = &device->stored;
    bool has_mac = device->present && stored->device->kind == DEVICE_TAP;
    cJSON *status = cJSON_AddObjectToObject(document, "status");
    return status && cJSON_AddStringToObject(status, "state", device_state_name(device->state)) &&
           add_reason(status, &device->reason) && json_add_u64(status, "generation", stored->generation) &&
           json_add_u64(status, "observed_generation", device->observed_generation) &&
           cJSON_AddStringToObject(status, "uuid", uuid_print(&stored->uuid, uuid)) &&
           json_add_u64_or_null(status, "ifindex", device->present, device->ifindex) &&
           cJSON_AddBoolToObject(status, "carrier", device->present && device->carrier) &&
           json_add_u64_or_null(status, "mtu", device->present, device->mtu) &&
           json_add_mac_or_null(status, "mac", has_mac, device->mac) &&
           json_add_time(status, "created", stored->created_ns) &&
           json_add_time(status, "changed", stored->changed_ns) && add_deviations(status, device) &&
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

/* ---- handlers ---------------------------------------------------------------------------------------------------- */

void devices_snapshot_done(const struct snapshot **snapshot)
{
    if (*snapshot)
        snapshot_release(*snapshot);
}

bool devices_visible(const struct request *request, const struct snapshot_device *device)
{
    return selector_matches(&request->identity.selector, device->stored.device);
}

void devices_not_found(struct request *request)
{
    struct err e;
    err_set(&e, -ENOENT, ERR_NOT_FOUND, "", "there is no device \"%.64s\"", request->variables[0]);
    answer_problem(request, &e);
}

const struct snapshot_device *devices_find(struct request *request, const struct snapshot **ret_snapshot)
{
    const struct snapshot *snapshot = engine_snapshot(request->server->engine);
    const struct snapshot_device *device = snapshot_device_find(snapshot, request->variables[0]);
    if (device && devices_visible(request, device)) {
        *ret_snapshot = snapshot;
        return device;
    }
    snapshot_release(snapshot);
    *ret_snapshot = NULL;
    devices_not_found(request);
    return NULL;
}

void devices_tag(struct request *request, const struct snapshot_device *device)
{
    char etag[ETAG_SIZE];
    answer_header(request, "ETag", etag_of_device(&device->stored, etag));
}

bool devices_is_unchanged(struct request *request, const struct snapshot_device *device)
{
    char etag[ETAG_SIZE];
    return answer_is_unchanged(request, etag_of_device(&device->stored, etag));
}

/* ---- reads ------------------------------------------------------------------------------------------------------- */

void devices_list(struct request *request)
{
    struct device_list list CLEANUP(device_list_done) = {.next = NULL};
    if (!device_list_make(request, &list))
        return;
    cJSON *items = cJSON_CreateArray();
    for (size_t i = 0; items && i < list.count; i++)
        answer_item_add(&items, devices_document(list.devices[i]));
    answer_page(request, items, list.next);
}

void devices_get(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = NULL;
    const struct snapshot_device *device = devices_find(request, &snapshot);
    if (!device || devices_is_unchanged(request, device))
        return;
    document_answer(request, snapshot, device);
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

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
    struct change *change = device ? change_wait_of_device(request, CHANGE_DEVICE_PUT) : NULL;
    if (!change)
        return;
    change->device = device;
    device = NULL;
    change_wait_submit(request);
}

/* The merge patch goes on as text: what it is merged with is the engine's. */
static void change_take_body(struct change *change, struct request *request)
{
    change->text_length = request->body.length;
    change->text = change->text_length ? buf_take(&request->body) : NULL;
}

void devices_patch(struct request *request)
{
    if (!request->body.length) {
        struct err e;
        err_set(&e, -EINVAL, ERR_INVALID_JSON, "",
                "the body is empty; it must be a merge patch of the device document, like {\"mtu\":1400}");
        answer_problem(request, &e);
        return;
    }
    struct change *change = change_wait_of_device(request, CHANGE_DEVICE_PATCH);
    if (!change)
        return;
    change_take_body(change, request);
    change_wait_submit(request);
}

void devices_delete(struct request *request)
{
    if (!change_wait_of_device(request, CHANGE_DEVICE_DELETE))
        return;
    request->wait->answer = change_wait_gone;
    change_wait_submit(request);
}

void devices_adopt(struct request *request)
{
    const char *netns = request_query(request, "netns");
    if (netns && !netns_name_is_valid(netns)) {
        struct err e;
        err_set(&e, -EINVAL, ERR_INVALID_QUERY, "", "\"%.64s\" cannot be the name of a network namespace", netns);
        answer_problem(request, &e);
        return;
    }
    struct change *change = change_wait_of_device(request, CHANGE_DEVICE_ADOPT);
    if (!change)
        return;
    text_copy(change->netns, sizeof change->netns, netns ? netns : "");
    change_take_body(change, request);
    change_wait_submit(request);
}

void devices_release(struct request *request)
{
    struct err_list errors = {.count = 0};
    if (body_check_empty(&request->body, "the path says what is released", &errors)) {
        answer_problems(request, &errors);
        return;
    }
    if (!change_wait_of_device(request, CHANGE_DEVICE_RELEASE))
        return;
    request->wait->answer = change_wait_gone;
    change_wait_submit(request);
}

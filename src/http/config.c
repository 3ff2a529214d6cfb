/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole configuration at once, and the change of it that waits for a confirmation.
 */
#include "answer.h"
#include "body.h"
#include "change_wait.h"
#include "handlers.h"
#include "json_add.h"
#include "server.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

/* ---- the document ------------------------------------------------------------------------------------------------ */

/* What who asks may see of it. Owned; NULL: no memory. */
static cJSON *config_to_json(const struct request *request, const struct snapshot *snapshot)
{
    const struct device **devices = calloc(snapshot->device_count + 1, sizeof(const struct device *));
    size_t count = 0;
    for (size_t i = 0; devices && i < snapshot->device_count; i++)
        if (devices_visible(request, &snapshot->devices[i]))
            devices[count++] = snapshot->devices[i].stored.device;
    cJSON *json = devices ? device_set_to_json(devices, count) : NULL;
    free(devices);
    return json;
}

static void config_answer(struct request *request, const struct snapshot *snapshot)
{
    char etag[ETAG_SIZE];
    answer_json(request, 200, config_to_json(request, snapshot));
    answer_header(request, "ETag", etag_of_config(snapshot, etag));
}

void config_get(struct request *request)
{
    char etag[ETAG_SIZE];
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = engine_snapshot(request->server->engine);
    if (!answer_is_unchanged(request, etag_of_config(snapshot, etag)))
        config_answer(request, snapshot);
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

static void config_changed(struct request *request, const struct change *change)
{
    config_answer(request, change->after);
}

void config_put(struct request *request)
{
    struct err_list errors = {.count = 0};
    struct device_set set = {.count = 0};
    if (!request->body.length)
        err_list_add(&errors, ERR_INVALID_JSON, "",
                     "the body is empty; it must be a configuration, like {\"devices\":[]}");
    else
        device_set_parse(request->body.data, request->body.length, false, &set, &errors);
    if (errors.count) {
        answer_problems(request, &errors);
        return;
    }
    buf_done(&request->body); /* it may be big, and the change may take its time */
    struct change *change = change_wait_new(request, CHANGE_CONFIG_PUT);
    if (!change) {
        device_set_done(&set);
        return;
    }
    change->config = set;
    request->wait->answer = config_changed;
    change_wait_submit(request);
}

/* ---- confirmation ------------------------------------------------------------------------------------------------ */

/* What it was names a device, which may be none of theirs who see only some. */
static bool add_pending_operation(cJSON *pending, const struct request *request, const struct snapshot *snapshot)
{
    if (request->identity.selector.count)
        return cJSON_AddNullToObject(pending, "operation");
    return answer_add_text(pending, "operation", snapshot->pending_actor.operation);
}

static void pending_answer(struct request *request, const struct snapshot *snapshot)
{
    cJSON *json = cJSON_CreateObject(), *pending = NULL;
    bool whole = json;
    if (whole && !snapshot->is_pending) {
        whole = cJSON_AddNullToObject(json, "pending");
    } else if (whole) {
        int64_t left_ns = snapshot->pending_deadline_ns - clock_realtime_ns();
        int64_t left_s = left_ns > 0 ? (left_ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC : 0;
        pending = cJSON_AddObjectToObject(json, "pending");
        whole = pending && json_add_time(pending, "deadline", snapshot->pending_deadline_ns) &&
                json_add_u64(pending, "remaining_s", (uint64_t)left_s) &&
                answer_add_text(pending, "actor", snapshot->pending_actor.name) &&
                add_pending_operation(pending, request, snapshot);
    }
    if (!whole) {
        cJSON_Delete(json);
        json = NULL;
    }
    answer_json(request, 200, json);
}

void config_get_pending(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = engine_snapshot(request->server->engine);
    pending_answer(request, snapshot);
}

static void config_confirmed(struct request *request, const struct change *change)
{
    pending_answer(request, change->after);
}

static void submit_without_body(struct request *request, enum change_kind kind,
                                void (*answer)(struct request *request, const struct change *change))
{
    struct err_list errors = {.count = 0};
    if (body_check_empty(&request->body, "there is but one change that can be meant", &errors)) {
        answer_problems(request, &errors);
        return;
    }
    if (!change_wait_new(request, kind))
        return;
    request->wait->answer = answer;
    change_wait_submit(request);
}

void config_confirm(struct request *request)
{
    submit_without_body(request, CHANGE_CONFIRM, config_confirmed);
}

void config_revert(struct request *request)
{
    submit_without_body(request, CHANGE_REVERT, config_changed);
}

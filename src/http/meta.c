/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "handlers.h"
#include "server.h"

#include <cjson/cJSON.h>

static void answer_whole(struct request *request, unsigned status, cJSON *json, bool whole)
{
    if (!whole) {
        cJSON_Delete(json);
        json = NULL;
    }
    answer_json(request, status, json);
}

/* The process lives and answers. */
void meta_health(struct request *request)
{
    cJSON *json = cJSON_CreateObject();
    answer_whole(request, 200, json, json && cJSON_AddStringToObject(json, "status", "ok"));
}

/* It can carry out changes: netd answers, the store can be written, and the start is over, with its start-up files. */
void meta_ready(struct request *request)
{
    const struct snapshot *snapshot = engine_snapshot(request->server->engine);
    bool netd = snapshot->netd_connected, store = snapshot->store_writable, settled = snapshot->settled;
    snapshot_release(snapshot);
    bool files = atomic_load(&request->server->files_tried);

    bool ready = netd && store && settled && files;
    cJSON *json = cJSON_CreateObject();
    answer_whole(request, ready ? 200 : 503, json,
                 json && cJSON_AddBoolToObject(json, "ready", ready) && cJSON_AddBoolToObject(json, "netd", netd) &&
                     cJSON_AddBoolToObject(json, "store", store) && cJSON_AddBoolToObject(json, "settled", settled) &&
                     cJSON_AddBoolToObject(json, "files", files));
    if (!ready)
        answer_header(request, "Retry-After", "1");
}

void meta_version(struct request *request)
{
    cJSON *json = cJSON_CreateObject();
    answer_whole(request, 200, json,
                 json && cJSON_AddStringToObject(json, "name", "tunwright") &&
                     cJSON_AddStringToObject(json, "version", TUNWRIGHT_VERSION) &&
                     cJSON_AddStringToObject(json, "api", "v1"));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "counters_text.h"
#include "device_list.h"
#include "handlers.h"
#include "json_add.h"
#include "server.h"

#include <cjson/cJSON.h>

/* Takes the text. */
static void answer_text(struct request *request, struct buf *text)
{
    size_t length = text->length;
    char *body = buf_take(text);
    struct MHD_Response *response = body ? MHD_create_response_from_buffer(length, body, MHD_RESPMEM_MUST_FREE) : NULL;
    if (response) {
        answer_stream(request, "application/json", response);
        return;
    }
    text_done(&body);
    answer_no_memory(request);
}

static struct shared_response *counters_answer(struct engine *engine, const struct snapshot_device *device)
{
    struct counters counters;
    struct buf text = {0};
    engine_counters(engine, device, &counters);
    counters_print(&text, device, &counters);
    buf_add(&text, "\n", 1);
    return shared_response_of_json(&text);
}

void counters_get(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = NULL;
    const struct snapshot_device *device = devices_find(request, &snapshot);
    if (!device)
        return;
    struct counters_cache *cache = &request->server->counters;
    size_t place = (size_t)(device - snapshot->devices);
    int64_t now_ns = clock_monotonic_ns();
    struct shared_response *answer = counters_cache_find(cache, snapshot, place, now_ns);
    if (!answer) {
        answer = counters_answer(request->server->engine, device);
        if (answer)
            counters_cache_put(cache, snapshot, place, now_ns, answer);
    }
    if (answer)
        answer_shared(request, answer);
    else
        answer_no_memory(request);
}

void counters_list(struct request *request)
{
    struct device_list list CLEANUP(device_list_done) = {.next = NULL};
    if (!device_list_make(request, &list))
        return;
    struct buf text = {0};
    buf_add_text(&text, "{\"items\":[");
    for (size_t i = 0; i < list.count; i++) {
        struct counters counters;
        engine_counters(request->server->engine, list.devices[i], &counters);
        if (i)
            buf_add(&text, ",", 1);
        counters_print(&text, list.devices[i], &counters);
    }
    buf_add_text(&text, "],\"next\":");
    json_print(&text, list.next ? cJSON_CreateString(list.next) : cJSON_CreateNull());
    buf_add_text(&text, "}\n");
    answer_text(request, &text);
    answer_link_next(request, list.next);
}

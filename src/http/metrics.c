/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include "answer.h"
#include "event_filter.h"
#include "handlers.h"
#include "server.h"

#include <stdlib.h>

static void snapshot_counts(struct http_server *server, struct metrics *metrics)
{
    struct event unused;
    engine_events(server->engine, UINT64_MAX, &unused, 0, NULL, &metrics->newest_event);
    pthread_mutex_lock(&server->mutex);
    metrics->streams = server->stream_count;
    for (const struct client *client = server->clients; client; client = client->next)
        metrics->connections++;
    pthread_mutex_unlock(&server->mutex);
}

static void filter_done(struct event_filter **filter)
{
    event_filter_release(*filter);
}

static void counters_done(struct counters **counters)
{
    free(*counters);
}

void metrics_get(struct request *request)
{
    struct http_server *server = request->server;
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = engine_snapshot(server->engine);
    struct event_filter *filter CLEANUP(filter_done) = event_filter_new();
    struct counters *counters CLEANUP(counters_done) = calloc(snapshot->device_count + 1, sizeof *counters);
    if (!filter || !counters) {
        answer_no_memory(request);
        return;
    }
    filter->own = request->identity.selector;
    for (size_t i = 0; i < snapshot->device_count; i++)
        if (event_filter_takes_device(filter, snapshot->devices[i].stored.device))
            engine_counters(server->engine, &snapshot->devices[i], &counters[i]);

    struct metrics metrics = {.snapshot = snapshot,
                              .counters = counters,
                              .filter = filter,
                              .answered = &server->answered,
                              .files_tried = atomic_load(&server->files_tried)};
    snapshot_counts(server, &metrics);
    process_facts_read(&metrics.process);

    struct buf text = {0};
    metrics_print(&metrics, &text);
    size_t length = text.length;
    char *body = buf_take(&text);
    struct MHD_Response *response = body ? MHD_create_response_from_buffer(length, body, MHD_RESPMEM_MUST_FREE) : NULL;
    if (response) {
        answer_stream(request, "text/plain; version=0.0.4; charset=utf-8", response);
        return;
    }
    free(body);
    answer_no_memory(request);
}

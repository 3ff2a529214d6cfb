/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What readers see: made by the engine's thread, never changed afterwards, freed by whoever releases it last. The
 * documents and counter pages in it are shared with other snapshots; the rest is its own.
 */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct shared_snapshot {
    struct snapshot snapshot;
    atomic_uint references;
    struct document **documents; /* whose device each stored.device is */
    struct shared_tokens *tokens;
};

static const char *const device_state_names[] = {
    [STATE_PENDING] = "pending",   [STATE_READY] = "ready",   [STATE_DEGRADED] = "degraded",
    [STATE_CONFLICT] = "conflict", [STATE_FAILED] = "failed",
};
_Static_assert(ARRAY_SIZE(device_state_names) == DEVICE_STATE_N, "each state has its name");

const char *device_state_name(enum device_state state)
{
    return (unsigned)state < DEVICE_STATE_N ? device_state_names[state] : "unknown";
}

/* ---- documents --------------------------------------------------------------------------------------------------- */

struct document *document_new(struct device *device)
{
    struct document *document = device ? calloc(1, sizeof(*document)) : NULL;

    if (!document) {
        device_free(device);
        return NULL;
    }
    atomic_init(&document->references, 1);
    document->device = device;
    return document;
}

struct document *document_share(struct document *document)
{
    atomic_fetch_add_explicit(&document->references, 1, memory_order_relaxed);
    return document;
}

void document_release(struct document *document)
{
    if (!document || atomic_fetch_sub_explicit(&document->references, 1, memory_order_acq_rel) != 1)
        return;
    device_free(document->device);
    free(document);
}

/* ---- snapshots --------------------------------------------------------------------------------------------------- */

static void shared_free(struct shared_snapshot *shared)
{
    for (size_t i = 0; i < shared->snapshot.device_count; i++) {
        struct snapshot_device *device = &shared->snapshot.devices[i];

        document_release(shared->documents[i]);
        counter_mapping_release(device->counters);
        free(device->worker_status);
        free(device->deviations);
    }
    free(shared->snapshot.devices);
    free(shared->documents);
    tokens_release(shared->tokens);
    free(shared);
}

static int view_copy(const struct snapshot_device *view, struct snapshot_device *ret_copy)
{
    struct snapshot_device copy = *view;

    copy.deviations = NULL;
    copy.worker_status = NULL;
    if (view->deviation_count > 0)
        copy.deviations = calloc(view->deviation_count, sizeof(*copy.deviations));
    if (view->worker_status)
        copy.worker_status = strdup(view->worker_status);
    if ((view->deviation_count > 0 && !copy.deviations) || (view->worker_status && !copy.worker_status)) {
        free(copy.deviations);
        free(copy.worker_status);
        return -ENOMEM;
    }
    if (view->deviation_count > 0)
        memcpy(copy.deviations, view->deviations, view->deviation_count * sizeof(*copy.deviations));
    counter_mapping_share(copy.counters);
    *ret_copy = copy;
    return 0;
}

struct snapshot *snapshot_new(const struct engine *engine)
{
    struct shared_snapshot *shared = calloc(1, sizeof(*shared));
    size_t count = engine->device_count;

    if (!shared)
        return NULL;
    atomic_init(&shared->references, 1);
    shared->snapshot.devices = calloc(count + 1, sizeof(*shared->snapshot.devices));
    shared->documents = calloc(count + 1, sizeof(struct document *));
    if (!shared->snapshot.devices || !shared->documents) {
        shared_free(shared);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (view_copy(&engine->devices[i]->view, &shared->snapshot.devices[i]) < 0) {
            shared_free(shared);
            return NULL;
        }
        shared->documents[i] = document_share(engine->devices[i]->document);
        shared->snapshot.device_count++;
    }
    shared->snapshot.sequence = engine->sequence + 1;
    shared->snapshot.time_ns = clock_realtime_ns();
    shared->snapshot.netd_connected = engine->netd_connected;
    shared->snapshot.store_writable = engine->store_writable;
    shared->snapshot.settled = engine->settled;
    shared->snapshot.revision = engine->revision;
    memcpy(shared->snapshot.installation, engine->installation, sizeof(shared->snapshot.installation));
    if (engine->pending) {
        shared->snapshot.is_pending = true;
        shared->snapshot.pending_deadline_ns = engine->pending->stored.deadline_ns;
        shared->snapshot.pending_actor = engine->pending->stored.actor;
    }
    shared->tokens = tokens_share(engine->tokens);
    shared->snapshot.tokens = &shared->tokens->set;
    return &shared->snapshot;
}

static struct shared_snapshot *shared_of(const struct snapshot *snapshot)
{
    /* the snapshot is its first member, and was made writable: only its readers promise not to write */
    return (struct shared_snapshot *)(uintptr_t)snapshot;
}

const struct snapshot *snapshot_share(const struct snapshot *snapshot)
{
    atomic_fetch_add_explicit(&shared_of(snapshot)->references, 1, memory_order_relaxed);
    return snapshot;
}

void snapshot_release(const struct snapshot *snapshot)
{
    if (snapshot && atomic_fetch_sub_explicit(&shared_of(snapshot)->references, 1, memory_order_acq_rel) == 1)
        shared_free(shared_of(snapshot));
}

const struct snapshot_device *snapshot_device_find(const struct snapshot *snapshot, const char *name)
{
    size_t low = 0, high = snapshot->device_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(snapshot->devices[middle].stored.device->name, name);

        if (order == 0)
            return &snapshot->devices[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

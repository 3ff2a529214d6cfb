/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answers lie at their devices' places in the snapshot, and all of them go when a newer snapshot is asked for. They are
 * printed without the lock: two threads may print one document at the same time, and one of the two is kept.
 */
#include "document_cache.h"

#include "answer.h"
#include "handlers.h"
#include "json_add.h"
#include "server.h"

#include <stdlib.h>

#define BYTES_MAX ((size_t)16 << 20)

struct document_cache {
    pthread_mutex_t mutex;
    uint64_t sequence; /* the snapshot's */
    size_t count, bytes;
    struct shared_response **documents;
};

struct document_cache *document_cache_new(void)
{
    struct document_cache *cache = calloc(1, sizeof *cache);
    if (cache)
        pthread_mutex_init(&cache->mutex, NULL);
    return cache;
}

static void cache_empty(struct document_cache *cache)
{
    for (size_t i = 0; i < cache->count; i++)
        shared_response_release(cache->documents[i]);
    free(cache->documents);
    cache->documents = NULL;
    cache->count = cache->bytes = 0;
}

void document_cache_free(struct document_cache *cache)
{
    if (!cache)
        return;
    cache_empty(cache);
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

/* With the mutex: makes it this snapshot's. False where it cannot be, or is of a newer one. */
static bool cache_turn_to(struct document_cache *cache, const struct snapshot *snapshot)
{
    if (cache->sequence == snapshot->sequence && cache->documents)
        return true;
    if (cache->sequence > snapshot->sequence)
        return false;
    cache_empty(cache);
    cache->documents = calloc(snapshot->device_count, sizeof *cache->documents);
    if (!cache->documents)
        return false;
    cache->sequence = snapshot->sequence;
    cache->count = snapshot->device_count;
    return true;
}

/* A reference, or NULL: it is not there. */
static struct shared_response *cache_find(struct document_cache *cache, const struct snapshot *snapshot, size_t place)
{
    pthread_mutex_lock(&cache->mutex);
    struct shared_response *document = cache->sequence == snapshot->sequence && cache->documents
                                           ? shared_response_share(cache->documents[place])
                                           : NULL;
    pthread_mutex_unlock(&cache->mutex);
    return document;
}

static void cache_add(struct document_cache *cache, const struct snapshot *snapshot, size_t place,
                      struct shared_response *document)
{
    pthread_mutex_lock(&cache->mutex);
    if (cache_turn_to(cache, snapshot) && !cache->documents[place] && cache->bytes + document->length <= BYTES_MAX) {
        cache->documents[place] = shared_response_share(document);
        cache->bytes += document->length;
    }
    pthread_mutex_unlock(&cache->mutex);
}

static struct shared_response *document_print(const struct snapshot_device *device)
{
    char etag[ETAG_SIZE];
    struct buf body = {0};
    json_print(&body, devices_document(device));
    buf_add_text(&body, "\n");
    struct shared_response *document = shared_response_of_json(&body);
    if (document)
        MHD_add_response_header(document->response, "ETag", etag_of_device(&device->stored, etag));
    return document;
}

void document_answer(struct request *request, const struct snapshot *snapshot, const struct snapshot_device *device)
{
    struct document_cache *cache = request->server->documents;
    size_t place = (size_t)(device - snapshot->devices);
    struct shared_response *document = cache_find(cache, snapshot, place);
    if (!document) {
        document = document_print(device);
        if (document)
            cache_add(cache, snapshot, place, document);
    }
    if (document)
        answer_shared(request, document);
    else
        answer_no_memory(request);
}

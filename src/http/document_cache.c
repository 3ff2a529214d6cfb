/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts lie at their devices' places in the snapshot, and all of them go when a newer snapshot is asked for. They are
 * printed without the lock: two threads may print one document at the same time, and one of the two texts is kept.
 */
#include "document_cache.h"

#include "answer.h"
#include "handlers.h"
#include "message.h"
#include "server.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX ((size_t)16 << 20)

struct document_cache {
    pthread_mutex_t mutex;
    uint64_t sequence; /* the snapshot's */
    size_t count, bytes;
    struct message **texts;
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
        message_release(cache->texts[i]);
    free(cache->texts);
    cache->texts = NULL;
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
    if (cache->sequence == snapshot->sequence && cache->texts)
        return true;
    if (cache->sequence > snapshot->sequence)
        return false;
    cache_empty(cache);
    cache->texts = calloc(snapshot->device_count, sizeof *cache->texts);
    if (!cache->texts)
        return false;
    cache->sequence = snapshot->sequence;
    cache->count = snapshot->device_count;
    return true;
}

/* A reference, or NULL: it is not there. */
static struct message *cache_find(struct document_cache *cache, const struct snapshot *snapshot, size_t place)
{
    pthread_mutex_lock(&cache->mutex);
    struct message *text =
        cache->sequence == snapshot->sequence && cache->texts ? message_share(cache->texts[place]) : NULL;
    pthread_mutex_unlock(&cache->mutex);
    return text;
}

static void cache_add(struct document_cache *cache, const struct snapshot *snapshot, size_t place, struct message *text)
{
    pthread_mutex_lock(&cache->mutex);
    if (cache_turn_to(cache, snapshot) && !cache->texts[place] && cache->bytes + text->length <= BYTES_MAX) {
        cache->texts[place] = message_share(text);
        cache->bytes += text->length;
    }
    pthread_mutex_unlock(&cache->mutex);
}

static struct message *document_print(const struct snapshot_device *device)
{
    cJSON *json = devices_document(device);
    char *printed = json ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    if (!printed)
        return NULL;
    struct buf text = {0};
    buf_add_text(&text, printed);
    buf_add(&text, "\n", 1);
    cJSON_free(printed);
    return message_new(&text);
}

static void response_done(void *text)
{
    message_release(text);
}

void document_answer(struct request *request, const struct snapshot *snapshot, const struct snapshot_device *device)
{
    struct document_cache *cache = request->server->documents;
    size_t place = (size_t)(device - snapshot->devices);
    struct message *text = cache_find(cache, snapshot, place);
    if (!text) {
        text = document_print(device);
        if (text)
            cache_add(cache, snapshot, place, text);
    }
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer_with_free_callback_cls(text->length, text->text, response_done, text)
             : NULL;
    if (response) {
        answer_stream(request, "application/json", response);
        return;
    }
    message_release(text);
    answer_no_memory(request);
}

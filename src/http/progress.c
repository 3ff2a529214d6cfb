/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine says of a long change, on its thread, put before the streams that want it. */
#include "answer.h"
#include "json_add.h"
#include "stream.h"

#include <cjson/cJSON.h>

static struct message *progress_message(const struct change_progress *progress)
{
    struct buf text = {0};
    cJSON *json = cJSON_CreateObject();
    bool ok = json && answer_add_text(json, "operation", progress->operation) &&
              answer_add_text(json, "actor", progress->actor) && json_add_u64(json, "done", progress->done) &&
              json_add_u64(json, "total", progress->total) &&
              cJSON_AddBoolToObject(json, "finished", progress->finished);
    if (!ok) {
        cJSON_Delete(json);
        json = NULL;
    }
    buf_add_text(&text, "event: progress\ndata: ");
    json_print(&text, json);
    buf_add_text(&text, "\n\n");
    return message_new(&text);
}

/* With the mutex. Whoever has not read how far it was by the end of it learns of the end alone. */
static void stream_put(struct stream *stream, struct message *message, bool is_end)
{
    message_release(stream->progress);
    stream->progress = NULL;
    if (is_end)
        message_release(stream->ended);
    *(is_end ? &stream->ended : &stream->progress) = message_share(message);
}

void http_progress(void *context, const struct change_progress *progress)
{
    struct http_server *server = context;
    struct message *message = progress_message(progress);
    if (!message)
        return;
    pthread_mutex_lock(&server->mutex);
    for (struct stream *stream = server->streams; stream; stream = stream->next) {
        if (!stream->wants_progress)
            continue;
        stream_put(stream, message, progress->finished);
        server->nudged = true;
    }
    if (server->nudged)
        pthread_cond_signal(&server->tick);
    pthread_mutex_unlock(&server->mutex);
    message_release(message);
}

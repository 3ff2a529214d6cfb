/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

#include "event_text.h"
#include "feed.h"
#include "json_add.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_AT_ONCE 16

/* ---- what there is to send --------------------------------------------------------------------------------------- */

static void event_print(const struct event *event, struct buf *out)
{
    buf_printf(out, "id: %" PRIu64 "\nevent: %s\ndata: ", event->sequence, event_type_name(event->type));
    json_print(out, event_to_json(event));
    buf_add_text(out, "\n\n");
}

static void gap_print(uint64_t after, uint64_t oldest, uint64_t newest, struct buf *out)
{
    buf_printf(out, "event: gap\ndata: {\"after\":%" PRIu64 ",\"oldest\":%" PRIu64 ",\"newest\":%" PRIu64 "}\n\n",
               after, oldest, newest);
}

/* The next events after *cursor, which moves on. True: there may be more. */
static bool events_print(struct stream *stream, bool has_gap, uint64_t gap_after, uint64_t *cursor, struct buf *out)
{
    struct engine *engine = stream->server->engine;
    struct event events[EVENTS_AT_ONCE];
    uint64_t oldest, newest;
    size_t count = engine_events(engine, *cursor, events, EVENTS_AT_ONCE, &oldest, &newest);
    if (has_gap)
        gap_print(gap_after, oldest, newest, out);
    else if (count && events[0].sequence > *cursor + 1)
        gap_print(*cursor, oldest, newest, out);
    if (!count)
        return false;
    /* taken after the events, so that it is not older than they are */
    const struct snapshot *snapshot = engine_snapshot(engine);
    for (size_t i = 0; i < count; i++)
        if (event_filter_takes(stream->filter, snapshot, &events[i]))
            event_print(&events[i], out);
    snapshot_release(snapshot);
    *cursor = events[count - 1].sequence;
    return *cursor < newest;
}

static struct message *alive_message(const struct stream *stream, uint64_t cursor)
{
    struct buf text = {0};
    buf_add_text(&text, ": alive\n");
    if (stream->wants_events) /* a client keeps an id without data, and can resume from there */
        buf_printf(&text, "id: %" PRIu64 "\n", cursor);
    buf_add_text(&text, "\n");
    return message_new(&text);
}

static struct message *message_take(struct message **at)
{
    struct message *message = *at;
    *at = NULL;
    return message;
}

/* Events first, then progress, then counters, then a sign of life. Without anything *ret_message is NULL, and the stream
 * suspended unless *ret_again. -EPIPE: the stream is to end. */
static int stream_next(struct stream *stream, struct message **ret_message, bool *ret_again)
{
    struct http_server *server = stream->server;
    *ret_message = NULL;
    *ret_again = false;

    pthread_mutex_lock(&server->mutex);
    bool stopping = server->stopping, has_gap = stream->has_gap;
    uint64_t published = server->published, cursor = stream->cursor, gap_after = stream->gap_after;
    pthread_mutex_unlock(&server->mutex);
    if (stopping)
        return -EPIPE;

    struct buf text = {0};
    if (stream->wants_events)
        *ret_again = events_print(stream, has_gap, gap_after, &cursor, &text);
    if (text.length || text.failed) {
        *ret_message = message_new(&text);
        if (!*ret_message)
            return -ENOMEM;
    }

    int64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&server->mutex);
    stream->cursor = cursor;
    stream->has_gap = false;
    if (!*ret_message && !*ret_again)
        *ret_message = message_take(stream->ended      ? &stream->ended
                                    : stream->progress ? &stream->progress
                                                       : &stream->counters);
    bool alive = now - stream->sent_ns >= STREAM_HEARTBEAT_NS && !*ret_message && !*ret_again;
    if (*ret_message || alive) {
        stream->sent_ns = now;
    } else if (!*ret_again) {
        if (server->stopping || server->published != published) {
            *ret_again = true;
        } else {
            stream->suspended = true;
            MHD_suspend_connection(stream->connection);
        }
    }
    pthread_mutex_unlock(&server->mutex);
    if (!alive)
        return 0;
    *ret_message = alive_message(stream, cursor);
    return *ret_message ? 0 : -ENOMEM;
}

/* ---- the library's callbacks ------------------------------------------------------------------------------------- */

ssize_t stream_read(void *context, uint64_t position, char *out, size_t room)
{
    (void)position;
    struct stream *stream = context;
    while (!stream->current) {
        bool again;
        int error = stream_next(stream, &stream->current, &again);
        stream->offset = 0;
        if (error)
            return error == -EPIPE ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
        if (!stream->current && !again)
            return 0; /* suspended */
    }
    struct message *message = stream->current;
    size_t length = message->length - stream->offset;
    if (length > room)
        length = room;
    memcpy(out, message->text + stream->offset, length);
    stream->offset += length;
    if (stream->offset == message->length) {
        stream->current = NULL;
        message_release(message);
    }
    return (ssize_t)length;
}

void stream_free(void *context)
{
    struct stream *stream = context;
    struct http_server *server = stream->server;
    pthread_mutex_lock(&server->mutex);
    if (stream->next)
        stream->next->previous = stream->previous;
    if (stream->previous)
        stream->previous->next = stream->next;
    if (server->streams == stream)
        server->streams = stream->next;
    server->stream_count--;
    if (stream->feed)
        feed_leave(server, stream->feed);
    pthread_mutex_unlock(&server->mutex);
    message_release(stream->current);
    message_release(stream->counters);
    message_release(stream->ended);
    message_release(stream->progress);
    event_filter_release(stream->filter);
    free(stream);
}

/* ---- the others' ------------------------------------------------------------------------------------------------- */

void stream_begin_after(struct stream *stream, uint64_t after)
{
    struct event unused;
    uint64_t oldest, newest;
    engine_events(stream->server->engine, UINT64_MAX, &unused, 0, &oldest, &newest);
    bool is_kept = after <= newest && (after + 1 >= oldest || !oldest);
    stream->cursor = is_kept ? after : oldest ? oldest - 1 : 0;
    stream->has_gap = !is_kept;
    stream->gap_after = after;
}

/* With the mutex: another stream's filter that is the same. */
static void filter_share(struct stream *stream)
{
    for (struct stream *other = stream->server->streams; other; other = other->next) {
        if (!event_filter_equal(other->filter, stream->filter))
            continue;
        event_filter_release(stream->filter);
        stream->filter = event_filter_share(other->filter);
        return;
    }
}

/* With the mutex. */
static bool server_has_room(const struct http_server *server, const char *owner)
{
    size_t of_one = 0;
    for (const struct stream *stream = server->streams; stream; stream = stream->next)
        of_one += !strcmp(stream->owner, owner);
    return of_one < SERVER_STREAMS_OF_ONE && server->stream_count < SERVER_STREAMS_MAX;
}

int stream_register(struct stream *stream)
{
    struct http_server *server = stream->server;
    pthread_mutex_lock(&server->mutex);
    int error = server_has_room(server, stream->owner) && !server->stopping ? 0 : -EBUSY;
    if (!error)
        filter_share(stream);
    if (!error && stream->interval_ns)
        error = feed_join(stream, clock_monotonic_ns());
    if (!error) {
        stream->next = server->streams;
        if (stream->next)
            stream->next->previous = stream;
        server->streams = stream;
        server->stream_count++;
        server->nudged = true;
        pthread_cond_signal(&server->tick);
    }
    pthread_mutex_unlock(&server->mutex);
    return error;
}

void stream_resume(struct stream *stream)
{
    if (!stream->suspended)
        return;
    stream->suspended = false;
    MHD_resume_connection(stream->connection);
}

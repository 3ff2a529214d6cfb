/* SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include "answer.h"
#include "feed.h"
#include "handlers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INTERVAL_MIN_MS     100
#define INTERVAL_MAX_MS     60000
#define INTERVAL_DEFAULT_MS 1000

/* Streams that are resumed at a time, and the pause between: the listener's thread sends to all of them before it looks
 * at anything else. */
#define WAKE_AT_ONCE 64
#define WAKE_PAUSE   ((struct timespec){.tv_nsec = 2 * NSEC_PER_MSEC})

/* ---- the request ------------------------------------------------------------------------------------------------- */

struct topics {
    bool events, counters, progress;
};

static bool *topic_find(struct topics *topics, const char *name, size_t length)
{
    const struct {
        const char *name;
        bool *wanted;
    } rows[] = {{"events", &topics->events}, {"counters", &topics->counters}, {"progress", &topics->progress}};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (length == strlen(rows[i].name) && !strncmp(name, rows[i].name, length))
            return rows[i].wanted;
    return NULL;
}

static int parse_topics(const char *text, struct topics *ret_topics, struct err *ret_err)
{
    struct topics topics = {0};
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        bool *wanted = topic_find(&topics, at, length);
        if (!wanted)
            return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "",
                           "topics are events, counters and progress, with a comma between");
        *wanted = true;
        at += length;
        if (!*at)
            break;
    }
    *ret_topics = topics;
    return 0;
}

/* The event that the client has had last. False: it does not say. */
static int parse_after(const struct request *request, bool *ret_is_said, uint64_t *ret_after, struct err *ret_err)
{
    const char *after = request_query(request, "after");
    const char *last = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Last-Event-ID");
    *ret_is_said = after || last;
    if (after && text_to_u64(after, INT64_MAX, ret_after))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "after is an event's sequence number");
    if (last && text_to_u64(last, INT64_MAX, ret_after))
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "",
                       "Last-Event-ID is not an event's sequence number, which is what this server gives as id");
    return 0;
}

static int parse_request(const struct request *request, struct stream *stream, struct err *ret_err)
{
    const char *topics = request_query(request, "topics"), *interval = request_query(request, "interval_ms");
    struct topics wanted = {0};
    bool is_said;
    uint64_t interval_ms = INTERVAL_DEFAULT_MS, after;
    int error = parse_topics(topics ? topics : "events,counters", &wanted, ret_err);
    if (!error)
        error = event_filter_read(stream->filter, request, ret_err);
    if (!error)
        error = parse_after(request, &is_said, &after, ret_err);
    if (error)
        return error;
    if (interval && (text_to_u64(interval, INTERVAL_MAX_MS, &interval_ms) || interval_ms < INTERVAL_MIN_MS))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "interval_ms is a number from %d to %d",
                       INTERVAL_MIN_MS, INTERVAL_MAX_MS);
    stream->wants_events = wanted.events;
    /* what others do to devices that it does not see is not for it */
    stream->wants_progress = wanted.progress && !stream->filter->own.count;
    stream->interval_ns = wanted.counters ? (int64_t)interval_ms * NSEC_PER_MSEC : 0;
    if (is_said) {
        stream_begin_after(stream, after);
    } else {
        struct event unused;
        engine_events(stream->server->engine, UINT64_MAX, &unused, 0, NULL, &stream->cursor);
    }
    return 0;
}

static struct stream *stream_new(const struct request *request)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    stream->server = request->server;
    stream->connection = request->connection;
    text_copy(stream->owner, sizeof stream->owner, request->identity.name);
    stream->sent_ns = clock_monotonic_ns();
    stream->filter = event_filter_new();
    if (stream->filter)
        return stream;
    free(stream);
    return NULL;
}

/* One that was not linked. */
static void stream_drop(struct stream **stream)
{
    if (!*stream)
        return;
    message_release((*stream)->current);
    event_filter_release((*stream)->filter);
    free(*stream);
}

/* The id tells a client that sees no event where it began. */
static struct message *greeting(const struct stream *stream)
{
    struct buf text = {0};
    buf_add_text(&text, ": watching\n");
    if (stream->wants_events && !stream->has_gap)
        buf_printf(&text, "id: %" PRIu64 "\n", stream->cursor);
    buf_add_text(&text, "\n");
    return message_new(&text);
}

void watch_get(struct request *request)
{
    struct err e;
    struct stream *stream CLEANUP(stream_drop) = stream_new(request);
    if (!stream) {
        answer_no_memory(request);
        return;
    }
    if (parse_request(request, stream, &e)) {
        answer_problem(request, &e);
        return;
    }
    if (!strcmp(request->method, "HEAD")) {
        /* the library ends a stream's answer to HEAD with an empty chunk, which the next answer would begin with */
        answer_stream(request, "text/event-stream", MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
        return;
    }
    stream->current = greeting(stream);
    int error = stream->current ? stream_register(stream) : -ENOMEM;
    if (error == -EBUSY)
        answer_unavailable(request, ERR_LIMIT_EXCEEDED,
                           "there are too many streams already, or the daemon is shutting down");
    else if (error)
        answer_no_memory(request);
    if (error)
        return;
    struct stream *linked = stream;
    stream = NULL;
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_READ_SIZE, stream_read, linked, stream_free);
    if (!response) {
        stream_free(linked);
        answer_no_memory(request);
        return;
    }
    answer_stream(request, "text/event-stream", response);
}

/* ---- the ticker's part ------------------------------------------------------------------------------------------- */

void watch_end_all(struct http_server *server)
{
    for (struct stream *stream = server->streams; stream; stream = stream->next)
        stream_resume(stream);
}

static bool stream_has_something(const struct stream *stream, uint64_t newest, int64_t now_ns)
{
    return stream->counters || stream->ended || stream->progress || (stream->wants_events && stream->cursor < newest) ||
           now_ns - stream->sent_ns >= STREAM_HEARTBEAT_NS;
}

/* Wakes who has something to be sent, some at a time. */
static void streams_wake(struct http_server *server, int64_t now_ns)
{
    struct event unused;
    uint64_t newest = 0;
    engine_events(server->engine, UINT64_MAX, &unused, 0, NULL, &newest);
    for (size_t woken = WAKE_AT_ONCE; woken == WAKE_AT_ONCE;) {
        woken = 0;
        pthread_mutex_lock(&server->mutex);
        for (struct stream *stream = server->streams; stream && woken < WAKE_AT_ONCE; stream = stream->next) {
            if (!stream->suspended || !stream_has_something(stream, newest, now_ns))
                continue;
            stream_resume(stream);
            woken++;
        }
        pthread_mutex_unlock(&server->mutex);
        if (woken == WAKE_AT_ONCE)
            nanosleep(&WAKE_PAUSE, NULL);
    }
}

int64_t watch_tick(struct http_server *server, int64_t now_ns)
{
    feed_round(server, now_ns);
    streams_wake(server, now_ns);
    pthread_mutex_lock(&server->mutex);
    int64_t wake_at = feed_next_due(server, now_ns + STREAM_HEARTBEAT_NS);
    for (struct stream *stream = server->streams; stream; stream = stream->next)
        if (stream->suspended && stream->sent_ns + STREAM_HEARTBEAT_NS < wake_at)
            wake_at = stream->sent_ns + STREAM_HEARTBEAT_NS;
    pthread_mutex_unlock(&server->mutex);
    /* where a round found no memory, its feeds are due still: not at once again */
    return wake_at > now_ns ? wake_at : feed_grid_up(now_ns + 1);
}

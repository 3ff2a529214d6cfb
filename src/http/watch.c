/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream is a connection that the library asks for more (stream_read) until there is nothing; then it is suspended,
 * and resumed when there is. Who makes what:
 *
 *   events    the reader fetches them from the engine itself, from where its cursor is: nothing is queued for a slow
 * client counters  the ticker, one text for all streams that are due; a slow client finds the newest, never an old one
 *
 * `suspended` is set and cleared under the server's mutex together with the call to the library, so that no stream is
 * resumed that was not suspended, and none sleeps through what came while it fell asleep.
 */
#include "watch.h"

#include "answer.h"
#include "handlers.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEARTBEAT_NS        (15 * NSEC_PER_SEC)   /* only a write finds out that a suspended client is gone */
#define ROUND_NS            (100 * NSEC_PER_MSEC) /* counters are made on this grid, so that streams share a reading */
#define INTERVAL_MIN_MS     100
#define INTERVAL_MAX_MS     60000
#define INTERVAL_DEFAULT_MS 1000
#define EVENTS_AT_ONCE      16
#define READ_BUFFER_SIZE    ((size_t)8 << 10)

/* Text on its way to one stream or several. */
struct message {
    size_t references; /* guarded */
    size_t length;
    char text[];
};

struct stream {
    struct http_server *server;
    struct MHD_Connection *connection;
    bool wants_events, wants_counters;
    char device[DEVICE_NAME_SIZE]; /* "": all */
    int64_t interval_ns;

    /* the reader's */
    struct message *current; /* being sent, from `offset` on */
    size_t offset;

    /* guarded */
    bool suspended;
    uint64_t cursor;          /* the last event that was fetched */
    struct message *counters; /* the newest, not taken yet */
    int64_t due_ns;           /* when the next counters are */
    int64_t sent_ns;          /* when something was sent last */
    struct stream *next, *previous;
};

/* ---- messages -----------------------------------------------------------------------------------------------------
 */

/* Empties the text. NULL when memory ran out. */
static struct message *message_new(struct buf *text)
{
    struct message *message = text->failed ? NULL : malloc(sizeof *message + text->length);
    if (message) {
        message->references = 1;
        message->length = text->length;
        if (text->length)
            memcpy(message->text, text->data, text->length);
    }
    buf_done(text);
    return message;
}

/* With the mutex. */
static void message_release(struct message *message)
{
    if (message && !--message->references)
        free(message);
}

static void event_print(const struct event *event, struct buf *out)
{
    char number[24], time[CLOCK_TEXT_SIZE];
    snprintf(number, sizeof number, "%" PRIu64, event->sequence);
    cJSON *json = cJSON_CreateObject();
    char *text = json && cJSON_AddRawToObject(json, "sequence", number) &&
                         cJSON_AddStringToObject(json, "time", clock_print(event->time_ns, time)) &&
                         cJSON_AddStringToObject(json, "type", event_type_name(event->type)) &&
                         cJSON_AddStringToObject(json, "device", event->device) &&
                         answer_add_text(json, "detail", event->detail)
                     ? cJSON_PrintUnformatted(json)
                     : NULL;
    cJSON_Delete(json);
    if (text)
        buf_printf(out, "id: %s\nevent: %s\ndata: ", number, event_type_name(event->type));
    if (text)
        buf_add_text(out, text);
    if (text)
        buf_add_text(out, "\n\n");
    out->failed = out->failed || !text;
    cJSON_free(text);
}

/* ---- the reader: on the library's thread --------------------------------------------------------------------------
 */

/* What there is to send now: events first, then counters, then a sign of life. Without anything *ret_message is NULL.
 * -EPIPE: the stream is to end. */
static int stream_next(struct stream *stream, struct message **ret_message, bool *ret_again)
{
    struct http_server *server = stream->server;
    *ret_message = NULL;
    *ret_again = false;

    pthread_mutex_lock(&server->mutex);
    bool stopping = server->stopping;
    uint64_t published = server->published, cursor = stream->cursor;
    pthread_mutex_unlock(&server->mutex);
    if (stopping)
        return -EPIPE;

    struct buf text = {0};
    if (stream->wants_events) {
        struct event events[EVENTS_AT_ONCE];
        uint64_t newest;
        size_t count = engine_events(server->engine, cursor, events, EVENTS_AT_ONCE, NULL, &newest);
        if (count && events[0].sequence > cursor + 1)
            buf_printf(&text, ": %" PRIu64 " events were lost, for this client is slow\n\n",
                       events[0].sequence - cursor - 1);
        for (size_t i = 0; i < count; i++)
            if (!*stream->device || !strcmp(stream->device, events[i].device))
                event_print(&events[i], &text);
        if (count)
            cursor = events[count - 1].sequence;
        *ret_again = cursor < newest;
    }
    bool failed = text.failed;
    if (text.length && !failed)
        *ret_message = message_new(&text);
    failed = failed || (text.length && !*ret_message);
    buf_done(&text);
    if (failed)
        return -ENOMEM;

    int64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&server->mutex);
    stream->cursor = cursor;
    if (!*ret_message && !*ret_again && stream->counters) {
        *ret_message = stream->counters;
        stream->counters = NULL;
    }
    bool alive = now - stream->sent_ns >= HEARTBEAT_NS && !*ret_message && !*ret_again;
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
    if (alive) {
        buf_add_text(&text, ": alive\n\n");
        *ret_message = message_new(&text);
        return *ret_message ? 0 : -ENOMEM;
    }
    return 0;
}

static ssize_t stream_read(void *context, uint64_t position, char *out, size_t room)
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
        pthread_mutex_lock(&stream->server->mutex);
        message_release(message);
        pthread_mutex_unlock(&stream->server->mutex);
    }
    return (ssize_t)length;
}

/* The library has no further use of it. */
static void stream_free(void *context)
{
    struct stream *stream = context;
    struct http_server *server = stream->server;
    pthread_mutex_lock(&server->mutex);
    if (stream->next)
        stream->next->previous = stream->previous;
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        server->streams = stream->next;
    server->stream_count--;
    message_release(stream->current);
    message_release(stream->counters);
    pthread_mutex_unlock(&server->mutex);
    free(stream);
}

/* ---- the ticker's part --------------------------------------------------------------------------------------------
 */

/* With the mutex. */
static void stream_resume(struct stream *stream)
{
    if (!stream->suspended)
        return;
    stream->suspended = false;
    MHD_resume_connection(stream->connection);
}

void watch_end_all(struct http_server *server)
{
    for (struct stream *stream = server->streams; stream; stream = stream->next)
        stream_resume(stream);
}

/* One reading of the counters: for each device of a snapshot its text, where it is needed. */
struct round {
    const struct snapshot *snapshot;
    bool *needed; /* by the device's place in the snapshot */
    char **texts;
    bool all_needed;
    struct message *all;
};

static bool stream_is_due(const struct stream *stream, int64_t now)
{
    return stream->wants_counters && stream->due_ns <= now;
}

static bool round_is_due(struct http_server *server, int64_t now)
{
    bool due = false;
    pthread_mutex_lock(&server->mutex);
    for (struct stream *stream = server->streams; stream && !due; stream = stream->next)
        due = stream_is_due(stream, now);
    pthread_mutex_unlock(&server->mutex);
    return due;
}

static void round_done(struct http_server *server, struct round *round)
{
    for (size_t i = 0; round->texts && i < round->snapshot->device_count; i++)
        cJSON_free(round->texts[i]);
    free(round->texts);
    free(round->needed);
    pthread_mutex_lock(&server->mutex);
    message_release(round->all);
    pthread_mutex_unlock(&server->mutex);
    snapshot_release(round->snapshot);
}

static int round_begin(struct http_server *server, int64_t now, struct round *round)
{
    *round = (struct round){.snapshot = engine_snapshot(server->engine)};
    size_t count = round->snapshot->device_count + 1; /* never an empty allocation */
    round->needed = calloc(count, sizeof *round->needed);
    round->texts = calloc(count, sizeof *round->texts);
    if (!round->needed || !round->texts)
        return -ENOMEM;
    pthread_mutex_lock(&server->mutex);
    for (struct stream *stream = server->streams; stream; stream = stream->next) {
        if (!stream_is_due(stream, now))
            continue;
        const struct snapshot_device *device =
            *stream->device ? snapshot_device_find(round->snapshot, stream->device) : NULL;
        if (device)
            round->needed[device - round->snapshot->devices] = true;
        else
            round->all_needed = round->all_needed || !*stream->device;
    }
    pthread_mutex_unlock(&server->mutex);
    return 0;
}

static struct message *items_message(const char *const *texts, size_t count)
{
    struct buf out = {0};
    bool first = true;
    buf_add_text(&out, "event: counters\ndata: {\"items\":[");
    for (size_t i = 0; i < count; i++) {
        if (!texts[i])
            continue;
        if (!first)
            buf_add_text(&out, ",");
        buf_add_text(&out, texts[i]);
        first = false;
    }
    buf_add_text(&out, "]}\n\n");
    return message_new(&out);
}

static void round_read(struct http_server *server, struct round *round)
{
    for (size_t i = 0; i < round->snapshot->device_count; i++) {
        if (!round->needed[i] && !round->all_needed)
            continue;
        cJSON *json = counters_to_json(server->engine, &round->snapshot->devices[i]);
        round->texts[i] = json ? cJSON_PrintUnformatted(json) : NULL;
        cJSON_Delete(json);
    }
    if (round->all_needed)
        round->all = items_message((const char *const *)round->texts, round->snapshot->device_count);
}

/* With the mutex: a reference for the stream; NULL where this round has nothing for it. */
static struct message *round_message(struct round *round, const struct stream *stream)
{
    if (!*stream->device) {
        if (round->all)
            round->all->references++;
        return round->all;
    }
    const struct snapshot_device *device = snapshot_device_find(round->snapshot, stream->device);
    if (!device)
        return items_message(NULL, 0);
    const char *text = round->texts[device - round->snapshot->devices];
    return text ? items_message(&text, 1) : NULL;
}

static int64_t grid_up(int64_t at_ns)
{
    return (at_ns + ROUND_NS - 1) / ROUND_NS * ROUND_NS;
}

static void round_deliver(struct http_server *server, struct round *round, int64_t now)
{
    pthread_mutex_lock(&server->mutex);
    for (struct stream *stream = server->streams; stream; stream = stream->next) {
        if (!stream_is_due(stream, now))
            continue;
        struct message *message = round_message(round, stream);
        if (!message)
            continue; /* it came while the counters were read: the next round has them */
        message_release(stream->counters);
        stream->counters = message;
        stream->due_ns += stream->interval_ns;
        if (stream->due_ns <= now)
            stream->due_ns = now + stream->interval_ns;
        stream_resume(stream);
    }
    pthread_mutex_unlock(&server->mutex);
}

/* Wakes who has events to fetch or must give a sign of life; returns when to look again. */
static int64_t streams_wake(struct http_server *server, int64_t now)
{
    struct event unused;
    uint64_t newest = 0;
    engine_events(server->engine, UINT64_MAX, &unused, 0, NULL, &newest);
    int64_t wake_at = now + HEARTBEAT_NS;
    pthread_mutex_lock(&server->mutex);
    for (struct stream *stream = server->streams; stream; stream = stream->next) {
        if ((stream->wants_events && stream->cursor < newest) || now - stream->sent_ns >= HEARTBEAT_NS)
            stream_resume(stream);
        if (stream->wants_counters && grid_up(stream->due_ns) < wake_at)
            wake_at = grid_up(stream->due_ns);
        if (stream->suspended && stream->sent_ns + HEARTBEAT_NS < wake_at)
            wake_at = stream->sent_ns + HEARTBEAT_NS;
    }
    pthread_mutex_unlock(&server->mutex);
    return wake_at;
}

int64_t watch_tick(struct http_server *server, int64_t now_ns)
{
    if (round_is_due(server, now_ns)) {
        struct round round;
        if (!round_begin(server, now_ns, &round)) {
            round_read(server, &round);
            round_deliver(server, &round, now_ns);
        }
        round_done(server, &round);
    }
    int64_t wake_at = streams_wake(server, now_ns);
    /* where a round found no memory, its streams are due still: not at once again */
    return wake_at > now_ns ? wake_at : grid_up(now_ns + 1);
}

/* ---- the request --------------------------------------------------------------------------------------------------
 */

static int parse_topics(const char *text, struct stream *stream, struct err *ret_err)
{
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (length == strlen("events") && !strncmp(at, "events", length))
            stream->wants_events = true;
        else if (length == strlen("counters") && !strncmp(at, "counters", length))
            stream->wants_counters = true;
        else
            return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "",
                           "topics are events and counters, with a comma between");
        at += length;
        if (!*at)
            return 0;
    }
}

static int parse_query(const struct request *request, struct stream *stream, struct err *ret_err)
{
    const char *topics = request_query(request, "topics");
    int error = parse_topics(topics ? topics : "events,counters", stream, ret_err);
    if (error)
        return error;

    const char *device = request_query(request, "device");
    if (device && (!device_name_is_valid(device) || text_copy(stream->device, sizeof stream->device, device)))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "\"%.64s\" cannot be a device's name", device);

    const char *interval = request_query(request, "interval_ms");
    uint64_t interval_ms = INTERVAL_DEFAULT_MS;
    if (interval && (text_to_u64(interval, INTERVAL_MAX_MS, &interval_ms) || interval_ms < INTERVAL_MIN_MS))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "interval_ms is a number from %d to %d",
                       INTERVAL_MIN_MS, INTERVAL_MAX_MS);
    stream->interval_ns = (int64_t)interval_ms * NSEC_PER_MSEC;
    return 0;
}

/* Links the stream. False: there are too many, or the server stops. */
static bool stream_register(struct stream *stream)
{
    struct http_server *server = stream->server;
    pthread_mutex_lock(&server->mutex);
    bool room = server->stream_count < SERVER_STREAMS_MAX && !server->stopping;
    if (room) {
        stream->next = server->streams;
        if (stream->next)
            stream->next->previous = stream;
        server->streams = stream;
        server->stream_count++;
        server->nudged = true;
        pthread_cond_signal(&server->tick);
    }
    pthread_mutex_unlock(&server->mutex);
    return room;
}

void watch_get(struct request *request)
{
    struct err e;
    struct stream *stream = calloc(1, sizeof *stream);
    struct buf greeting = {0};
    if (!stream) {
        answer_no_memory(request);
        return;
    }
    stream->server = request->server;
    stream->connection = request->connection;
    if (parse_query(request, stream, &e)) {
        answer_problem(request, &e);
        free(stream);
        return;
    }
    if (!strcmp(request->method, "HEAD")) {
        /* the library ends a stream's answer to HEAD with an empty chunk, which the next answer would begin with */
        free(stream);
        answer_stream(request, "text/event-stream", MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
        return;
    }
    struct event unused;
    engine_events(stream->server->engine, UINT64_MAX, &unused, 0, NULL, &stream->cursor);
    stream->sent_ns = clock_monotonic_ns();
    stream->due_ns = stream->sent_ns / ROUND_NS * ROUND_NS;
    buf_add_text(&greeting, ": watching\n\n");
    stream->current = message_new(&greeting);
    if (!stream->current) {
        answer_no_memory(request);
        free(stream);
        return;
    }
    if (!stream_register(stream)) {
        free(stream->current);
        free(stream);
        answer_unavailable(request, ERR_LIMIT_EXCEEDED,
                           "there are too many streams already, or the daemon is shutting down");
        return;
    }
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, READ_BUFFER_SIZE, stream_read, stream, stream_free);
    if (!response) {
        stream_free(stream);
        answer_no_memory(request);
        return;
    }
    answer_stream(request, "text/event-stream", response);
}

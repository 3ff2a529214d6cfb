/* SPDX-License-Identifier: Apache-2.0 */
#include "feed.h"

#include "counters_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One round's devices, for the rates of the next; not changed once it is made. */
struct reading {
    size_t references; /* the ticker's, and under the mutex when a feed goes */
    size_t count;
    struct counters_mark marks[]; /* by name */
};

/* Guarded by the server's mutex; `filter` and `interval_ns` never change. */
struct feed {
    size_t streams;
    bool in_round; /* the ticker uses it: it frees it where the last stream left meanwhile */
    bool is_first; /* of streams that have had nothing yet */
    int64_t due_ns, interval_ns;
    struct event_filter *filter;
    struct reading *before;  /* NULL: none, or is_first */
    struct message *message; /* this round's */
    struct feed *next;
};

int64_t feed_grid_up(int64_t at_ns)
{
    return (at_ns + FEED_GRID_NS - 1) / FEED_GRID_NS * FEED_GRID_NS;
}

static void reading_release(struct reading *reading)
{
    if (reading && !--reading->references)
        free(reading);
}

/* ---- feeds: with the mutex --------------------------------------------------------------------------------------- */

static struct feed *feed_new(struct http_server *server, struct event_filter *filter, int64_t due_ns,
                             int64_t interval_ns)
{
    struct feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return NULL;
    feed->filter = event_filter_share(filter);
    feed->due_ns = due_ns;
    feed->interval_ns = interval_ns;
    feed->next = server->feeds;
    server->feeds = feed;
    return feed;
}

static void feed_free_if_unused(struct http_server *server, struct feed *feed)
{
    if (feed->streams || feed->in_round)
        return;
    struct feed **at = &server->feeds;
    while (*at != feed)
        at = &(*at)->next;
    *at = feed->next;
    reading_release(feed->before);
    event_filter_release(feed->filter);
    free(feed);
}

int feed_join(struct stream *stream, int64_t now_ns)
{
    struct http_server *server = stream->server;
    struct feed *feed = server->feeds;
    while (feed && !(feed->is_first && !feed->in_round && event_filter_equal(feed->filter, stream->filter)))
        feed = feed->next;
    if (!feed) {
        feed = feed_new(server, stream->filter, feed_grid_up(now_ns), 0);
        if (!feed)
            return -ENOMEM;
        feed->is_first = true;
    }
    feed->streams++;
    stream->feed = feed;
    return 0;
}

void feed_leave(struct http_server *server, struct feed *feed)
{
    feed->streams--;
    feed_free_if_unused(server, feed);
}

static bool feed_suits(const struct feed *feed, const struct stream *stream, int64_t next_ns)
{
    if (feed->is_first || feed->interval_ns != stream->interval_ns || !event_filter_equal(feed->filter, stream->filter))
        return false;
    int64_t late = (feed->due_ns - next_ns) % feed->interval_ns;
    if (late < 0)
        late += feed->interval_ns;
    return late <= feed->interval_ns / 10;
}

/* The stream has had its first counters, from `feed`, made of `reading`. Without memory it stays, and gets others. */
static void stream_settle(struct stream *stream, struct feed *first, struct reading *reading)
{
    struct http_server *server = stream->server;
    int64_t next_ns = first->due_ns + stream->interval_ns;
    struct feed *feed = server->feeds;
    while (feed && !feed_suits(feed, stream, next_ns))
        feed = feed->next;
    if (!feed) {
        feed = feed_new(server, stream->filter, next_ns, stream->interval_ns);
        if (!feed)
            return;
        reading->references++;
        feed->before = reading;
    }
    feed->streams++;
    first->streams--;
    stream->feed = feed;
    stream->counters_from_ns = next_ns;
}

int64_t feed_next_due(const struct http_server *server, int64_t most_ns)
{
    for (const struct feed *feed = server->feeds; feed; feed = feed->next)
        if (feed_grid_up(feed->due_ns) < most_ns)
            most_ns = feed_grid_up(feed->due_ns);
    return most_ns;
}

/* ---- a round: on the ticker -------------------------------------------------------------------------------------- */

struct round {
    const struct snapshot *snapshot;
    bool *needed; /* by the device's place in the snapshot, as are … */
    struct counters *counters;
    struct counters_mark *marks;
    struct reading *reading;
    struct feed **feeds;
    size_t feed_count;
};

/* The feeds that are due, which stay until round_end. */
static int round_begin(struct http_server *server, int64_t now_ns, struct round *round)
{
    size_t count = 0;
    pthread_mutex_lock(&server->mutex);
    for (struct feed *feed = server->feeds; feed; feed = feed->next)
        count += feed->due_ns <= now_ns;
    round->feeds = count ? malloc(count * sizeof(struct feed *)) : NULL;
    for (struct feed *feed = server->feeds; feed && round->feeds; feed = feed->next) {
        if (feed->due_ns > now_ns)
            continue;
        feed->in_round = true;
        round->feeds[round->feed_count++] = feed;
    }
    pthread_mutex_unlock(&server->mutex);
    return count && !round->feeds ? -ENOMEM : 0;
}

static void round_mark_needed(struct round *round)
{
    for (size_t i = 0; i < round->feed_count; i++) {
        const struct event_filter *filter = round->feeds[i]->filter;
        const struct snapshot_device *all = round->snapshot->devices;
        if (*filter->device) {
            const struct snapshot_device *device = snapshot_device_find(round->snapshot, filter->device);
            if (device)
                round->needed[device - all] = true;
            continue;
        }
        for (size_t j = 0; j < round->snapshot->device_count; j++)
            round->needed[j] = round->needed[j] || event_filter_takes_device(filter, all[j].stored.device);
    }
}

static int round_read(struct http_server *server, struct round *round)
{
    size_t count = round->snapshot->device_count, needed = 0;
    round->needed = calloc(count + 1, sizeof *round->needed); /* never an empty allocation */
    round->counters = malloc((count + 1) * sizeof *round->counters);
    round->marks = malloc((count + 1) * sizeof *round->marks);
    if (!round->needed || !round->counters || !round->marks)
        return -ENOMEM;
    round_mark_needed(round);
    for (size_t i = 0; i < count; i++) {
        if (!round->needed[i])
            continue;
        engine_counters(server->engine, &round->snapshot->devices[i], &round->counters[i]);
        round->marks[i] = counters_mark_of(&round->snapshot->devices[i], &round->counters[i], clock_monotonic_ns());
        needed++;
    }
    round->reading = malloc(sizeof *round->reading + needed * sizeof round->reading->marks[0]);
    if (!round->reading)
        return -ENOMEM;
    round->reading->references = 1;
    round->reading->count = 0;
    for (size_t i = 0; i < count; i++)
        if (round->needed[i])
            round->reading->marks[round->reading->count++] = round->marks[i];
    return 0;
}

/* Both are in order of name: the search goes on where it ended. */
static const struct counters_mark *mark_find(const struct reading *before, const char *name, size_t *at)
{
    if (!before)
        return NULL;
    while (*at < before->count && strcmp(before->marks[*at].name, name) < 0)
        ++*at;
    return *at < before->count && !strcmp(before->marks[*at].name, name) ? &before->marks[*at] : NULL;
}

static struct message *feed_print(const struct feed *feed, const struct round *round)
{
    struct buf out = {0};
    size_t at = 0;
    bool first = true;
    buf_add_text(&out, "event: counters\ndata: {\"items\":[");
    for (size_t i = 0; i < round->snapshot->device_count; i++) {
        const struct snapshot_device *device = &round->snapshot->devices[i];
        if (!round->needed[i] || !event_filter_takes_device(feed->filter, device->stored.device))
            continue;
        if (!first)
            buf_add_text(&out, ",");
        first = false;
        counters_print_with_rates(&out, device, &round->counters[i],
                                  mark_find(feed->before, device->stored.device->name, &at), &round->marks[i]);
    }
    buf_add_text(&out, "]}\n\n");
    return message_new(&out);
}

/* With the mutex. */
static void round_deliver(struct http_server *server, struct round *round, int64_t now_ns)
{
    for (struct stream *stream = server->streams; stream; stream = stream->next) {
        struct feed *feed = stream->feed;
        if (!feed || !feed->message || feed->due_ns < stream->counters_from_ns)
            continue;
        message_release(stream->counters);
        stream->counters = message_share(feed->message);
    }
    for (size_t i = 0; i < round->feed_count; i++) {
        struct feed *feed = round->feeds[i];
        if (!feed->message || feed->is_first)
            continue;
        reading_release(feed->before);
        feed->before = round->reading;
        round->reading->references++;
        feed->due_ns += feed->interval_ns;
        if (feed->due_ns <= now_ns)
            feed->due_ns = now_ns + feed->interval_ns;
    }
    for (struct stream *stream = server->streams; stream; stream = stream->next)
        if (stream->feed && stream->feed->message && stream->feed->is_first)
            stream_settle(stream, stream->feed, round->reading);
}

static void round_end(struct http_server *server, struct round *round)
{
    for (size_t i = 0; i < round->feed_count; i++) {
        struct feed *feed = round->feeds[i];
        message_release(feed->message);
        feed->message = NULL;
        feed->in_round = false;
        feed_free_if_unused(server, feed);
    }
    reading_release(round->reading);
}

void feed_round(struct http_server *server, int64_t now_ns)
{
    struct round round = {0};
    if (round_begin(server, now_ns, &round) || !round.feed_count)
        return;
    round.snapshot = engine_snapshot(server->engine);
    if (!round_read(server, &round))
        for (size_t i = 0; i < round.feed_count; i++)
            round.feeds[i]->message = feed_print(round.feeds[i], &round);
    pthread_mutex_lock(&server->mutex);
    round_deliver(server, &round, now_ns);
    round_end(server, &round);
    pthread_mutex_unlock(&server->mutex);
    snapshot_release(round.snapshot);
    free(round.needed);
    free(round.counters);
    free(round.marks);
    free(round.feeds);
}

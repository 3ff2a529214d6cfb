/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream: one client that watches.
 *
 * The library asks for more (stream_read) until there is nothing; then the connection is suspended, and resumed when
 * there is. Who makes what:
 *
 *   events    the reader fetches them from the engine itself, from where its cursor is: nothing is queued for a slow
 *             client, and one that fell behind what is kept is told so
 *   counters  a feed (feed.h), one text for all its streams; a slow client finds the newest, never an old one
 *   progress  the engine, through http_progress: likewise, and that one ended is told before how far the next one is
 *
 * `suspended` is set and cleared under the server's mutex together with the call to the library, so that no stream is
 * resumed that was not suspended, and none sleeps through what came while it fell asleep.
 */
#ifndef TUNWRIGHT_HTTP_STREAM_H
#define TUNWRIGHT_HTTP_STREAM_H

#include "event_filter.h"
#include "message.h"
#include "server.h"

#define STREAM_HEARTBEAT_NS (15 * NSEC_PER_SEC) /* only a write finds out that a suspended client is gone */
#define STREAM_READ_SIZE    ((size_t)8 << 10)

struct feed;

struct stream {
    struct http_server *server;
    struct MHD_Connection *connection;
    char owner[ACTOR_NAME_SIZE]; /* who watches, as struct actor has it */
    bool wants_events, wants_progress;
    struct event_filter *filter; /* owned, a reference */
    int64_t interval_ns;         /* between counters; 0: none are wanted */

    /* the reader's */
    struct message *current; /* being sent, from `offset` on */
    size_t offset;

    /* guarded by the server's mutex */
    bool suspended;
    uint64_t cursor;          /* the last event that was fetched */
    bool has_gap;             /* the client is yet to be told that events after `gap_after` are lost */
    uint64_t gap_after;       /* … */
    struct feed *feed;        /* where its counters come from, or NULL */
    int64_t counters_from_ns; /* what the feed has before is not for it */
    struct message *counters; /* the newest, not taken yet */
    struct message *ended;    /* of the last change that ended, likewise, … */
    struct message *progress; /* … and of the one after it that goes on */
    int64_t sent_ns;          /* when something was sent last */
    struct stream *next, *previous;
};

/* The library's callbacks. */
ssize_t stream_read(void *stream, uint64_t position, char *out, size_t room);
void stream_free(void *stream);

/* Where to begin: after the event `after`, with a gap where what follows is not kept. */
void stream_begin_after(struct stream *stream, uint64_t after);
/* Links it. -EBUSY: there are too many, or the server stops; -ENOMEM. */
int stream_register(struct stream *stream);

/* With the mutex. */
void stream_resume(struct stream *stream);

#endif

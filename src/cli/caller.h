/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caller: the API's other end, over libcurl. One request at a time and as many streams beside it as wanted, all driven by
 * caller_turn on one thread. Everything that comes is bounded, whoever sends it: the head, the body, the time.
 */
#ifndef TUNWRIGHT_CLI_CALLER_H
#define TUNWRIGHT_CLI_CALLER_H

#include "tunwright/base.h"

#include <poll.h>

#define CALLER_SOCKET      "/run/tunwright/api.sock"
#define CALLER_TIMEOUT_S   300
#define CALLER_BODY_MAX    (64U << 20)
#define CALLER_HEAD_MAX    (64U << 10)
#define CALLER_PROBLEM_MAX (1U << 20) /* of a stream that was refused */
#define CALLER_SILENCE_S   60 /* a stream that says nothing for so long is dead: it has a sign of life every 15 s */
#define CALLER_PATH_MAX    2048

struct caller_settings {
    const char *socket, *url;    /* `url` NULL: the Unix socket */
    const char *token;           /* NULL: none */
    const char *ca, *cert, *key; /* files; NULL: the system's authorities, no certificate */
    unsigned timeout_s;
};

struct caller;

struct caller_call {
    const char *method, *path; /* the path with its query, encoded */
    const char *body;          /* NULL: none */
    const char *type;          /* of the body; NULL: application/json */
    const char *if_match;      /* an entity tag with its quotes, or NULL */
    const char *last_event_id; /* or NULL */
    bool may_be_silent;        /* a stream that has no signs of life */
};

struct caller_reply {
    long status;
    struct buf body;
    char type[64], etag[64], confirm_by[CLOCK_TEXT_SIZE];
    bool changed; /* what Tunwright-Changed says */
};
void caller_reply_done(struct caller_reply *reply);

/* Borrows the settings. -EINVAL for those that cannot be: an URL of another scheme, a token that would go over the network
 * in the clear. */
int caller_new(const struct caller_settings *settings, struct caller **ret_caller, struct err *ret_err);
void caller_free(struct caller *caller);
/* For messages: "/run/tunwright/api.sock" or the URL. */
const char *caller_where(const struct caller *caller);

/* 0: there is an answer, of whatever status. Else
 *   -ECONNREFUSED  nobody is there, or TLS failed, or the connection broke
 *   -ETIMEDOUT     not within the settings' time
 *   -EMSGSIZE      the answer is longer than it may be
 *   -EPROTO        it is not HTTP
 *   -ENOMEM */
int caller_call(struct caller *caller, const struct caller_call *call, struct caller_reply *ret_reply,
                struct err *ret_err);

/* ---- streams ------------------------------------------------------------------------------------------------------ */

struct caller_stream;
/* Gets each piece of a 200's body; other than 0 ends the stream with that. NULL in its place: all of it is kept, up to
 * CALLER_BODY_MAX, and has to be there within the settings' time. */
typedef int (*caller_take)(void *context, const char *data, size_t length);

int caller_stream_open(struct caller *caller, const struct caller_call *call, caller_take take, void *context,
                       struct caller_stream **ret_stream, struct err *ret_err);
/* Whether it has ended, and how: 0 when the daemon closed it in good order, what `take` returned, or as caller_call. Where
 * the answer was none of 200, 0, and the reply (borrowed) has it. */
bool caller_stream_ended(struct caller_stream *stream, int *ret_error, struct err *ret_err);
const struct caller_reply *caller_stream_reply(const struct caller_stream *stream);
/* Moves the reply out of it. */
void caller_stream_move(struct caller_stream *stream, struct caller_reply *ret_reply);
void caller_stream_close(struct caller_stream *stream);

/* Does what can be done, and waits at most timeout_ms for more, or for one of the descriptors. */
int caller_turn(struct caller *caller, struct pollfd *fds, unsigned count, int timeout_ms, struct err *ret_err);

/* Appends a path's segment or a query's value, percent-encoded. */
void caller_encode(struct buf *path, const char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server: the listeners, their connections, and the clock that all of them share.
 *
 * Threads: the library's, one for each listener, which handle requests; the ticker, which makes the streams' counters,
 * wakes streams, and closes connections that take too long; the engine's, which calls http_published and says when a
 * change is done. What they share is guarded by one mutex, held for moments: never while the engine or the kernel is
 * asked. It may be held while the library is told to suspend or resume, for the library calls back without its own
 * lock.
 */
#ifndef TUNWRIGHT_HTTP_SERVER_H
#define TUNWRIGHT_HTTP_SERVER_H

#include "answer_counts.h"
#include "counters_cache.h"
#include "failure_limit.h"
#include "request.h"
#include "tls.h"

#include "tunwright/http.h"

#include <pthread.h>
#include <stdatomic.h>

#define SERVER_LISTENERS_MAX  (1 + 2 * OPTION_LIST_MAX)
#define SERVER_STREAMS_MAX    1100
#define SERVER_STREAMS_OF_ONE 1000                /* of one user or token: some are left for the others */
#define SERVER_REQUEST_NS     (5 * NSEC_PER_SEC)  /* from the first byte that could come to the last of the body */
#define SERVER_KEEP_ALIVE_NS  (60 * NSEC_PER_SEC) /* between two requests */
#define SERVER_IDLE_S         30U                 /* for a client that does not read its answer */

/* Who may use the API, set at the start. */
struct access {
    uint32_t own_uid, socket_gid;
    bool has_admin_gid;
    uint32_t admin_gid;
    const struct option_list *hosts; /* borrowed; NULL: none */
};

enum transport { TRANSPORT_UNIX, TRANSPORT_PLAIN, TRANSPORT_TLS };

struct listener {
    struct http_server *server;
    struct MHD_Daemon *daemon;
    enum transport transport;
    int fd;
    _Atomic int64_t busy_since_ns; /* its thread is with one request; 0: it is not */
};

/* A connection. The library's thread makes and frees it. */
struct client {
    struct http_server *server;
    const struct listener *listener;
    enum transport transport;
    struct failure_source source;     /* whose failures those of this connection are */
    bool verified;                    /* its certificate was: on TLS with a client CA only */
    struct tls_peer peer;             /* where that is so */
    uint32_t uid;                     /* of the process at the other end, … */
    enum role role;                   /* … and what it may by its credentials, read once: on a Unix socket only */
    char address[ACTOR_ADDRESS_SIZE]; /* as struct actor has it */
    char name[ACTOR_NAME_SIZE];       /* likewise, on a Unix socket: whoever has a token is known by that */
    int fd;                           /* borrowed: open as long as this is linked */
    struct request *spare;            /* owned: of the last request, for the next, or NULL */
    _Atomic int64_t deadline_ns;      /* when it is closed unless its request is complete; 0: no matter */
    atomic_bool holds;                /* whether `held` says something */
    struct held_token {               /* guarded: what its stream was permitted by */
        char name[TOKEN_NAME_SIZE];   /* "": nothing that ends */
        int64_t created_ns, until_ns; /* CLOCK_REALTIME */
    } held;
    struct client *next, *previous; /* guarded */
};

struct http_server {
    struct engine *engine;
    struct history *history; /* borrowed, or NULL */
    atomic_bool files_tried; /* the start-up files */
    struct access access;
    struct http_tls *tls; /* borrowed */
    struct listener listeners[SERVER_LISTENERS_MAX];
    size_t listener_count;
    pthread_t ticker;
    struct document_cache *documents; /* has a lock of its own, and so has … */
    struct counters_cache counters;   /* … this */
    struct answer_counts answered;

    pthread_mutex_t mutex; /* guards all that follows */
    pthread_cond_t tick;   /* to the ticker: nudged, or to end */
    pthread_cond_t idle;   /* to http_stop: a request or a change ended */
    bool stopping;         /* nothing may be suspended any more */
    bool ticker_ends;
    bool nudged;                /* the ticker is to look again at once */
    size_t requests;            /* begun and not ended */
    size_t changes;             /* submitted and not done */
    uint64_t published;         /* how often the engine published */
    struct rate_limit refusals; /* log lines about clients that are refused */
    struct failure_limit failures;
    struct client *clients;
    struct stream *streams;
    struct feed *feeds; /* where the streams' counters come from */
    size_t stream_count;
    struct capture *captures;
    size_t capture_count; /* with those that are about to begin */
};

/* The client's connection is closed at `at_ns` unless that is taken back (0) before; an earlier time that was set
 * already stays. */
void server_client_deadline(struct client *client, int64_t at_ns);

/* On the listener's thread, around whatever is done for one request: where that takes long, the others' time is longer,
 * too. */
void server_listener_begin(struct listener *listener);
void server_listener_end(struct listener *listener);

/* The client's connection is closed when the token is deleted or expires, or the certificate it came with does. */
void server_client_hold(struct client *client, const struct token *token);
void server_client_let_go(struct client *client);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request: one request from its first line to its answer.
 *
 * The library calls on the listener's own thread, and everything in `struct request` belongs to that thread. The one
 * exception is the change that it waits for: see change_wait.h.
 */
#ifndef TUNWRIGHT_HTTP_REQUEST_H
#define TUNWRIGHT_HTTP_REQUEST_H

#include "head.h"
#include "target.h"
#include "terms.h"

#include "tunwright/engine.h"

#include <microhttpd.h>

struct client;
struct change_wait;
struct http_server;
struct route_row;
struct shared_response;

#define REQUEST_VARIABLES_MAX 3
#define AUTH_SECRET_SIZE      65 /* 64 hex digits and a NUL */

enum request_phase {
    REQUEST_NEW,      /* its first line was seen */
    REQUEST_BODY,     /* its head is accepted; the body arrives */
    REQUEST_WAITING,  /* suspended until the engine has its change done */
    REQUEST_ANSWERED, /* the answer was handed to the library */
};

/* Who asks: found once the head is there. */
struct identity {
    enum role role;                                          /* ROLE_NOBODY: nobody that is known */
    char name[ACTOR_NAME_SIZE], address[ACTOR_ADDRESS_SIZE]; /* as struct actor has them */
    struct selector selector;                                /* the devices that it may see and change; empty: all */
};

struct request {
    struct http_server *server;
    struct identity identity;
    struct client *client;
    struct MHD_Connection *connection;
    enum request_phase phase;
    int64_t started_ns;

    const char *method, *path; /* the library's, as long as the request lives */
    size_t target_length;      /* as it came, with the query */
    struct target target;
    struct err target_error; /* set where the target cannot be used */
    const struct route_row *row;
    struct terms terms;
    const char *variables[REQUEST_VARIABLES_MAX]; /* what stands in the path for the pattern's {…} */

    struct buf body;
    uint64_t body_seen;       /* bytes, with those that were thrown away */
    struct change_wait *wait; /* owned: the change that is waited for */

    char secret[AUTH_SECRET_SIZE]; /* of the token that it makes: shown in its answer, and wiped with the request */

    unsigned status;
    struct MHD_Response *response;  /* owned: the answer, once there is one, … */
    struct shared_response *shared; /* … unless others give it, too: then this is a reference that keeps it */
};

/* The library's callbacks, with the listener as their closure. */
void *request_begin(void *listener, const char *target, struct MHD_Connection *connection);
enum MHD_Result request_continue(void *listener, struct MHD_Connection *connection, const char *url, const char *method,
                                 const char *version, const char *data, size_t *data_length, void **context);
void request_end(void *listener, struct MHD_Connection *connection, void **context,
                 enum MHD_RequestTerminationCode reason);

/* The query's value for a key, or NULL. */
const char *request_query(const struct request *request, const char *key);

#endif

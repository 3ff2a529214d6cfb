/* SPDX-License-Identifier: Apache-2.0 */
#include "identity.h"

#include "auth.h"
#include "handlers.h"
#include "route_table.h"
#include "server.h"

#include <errno.h>
#include <stdio.h>

/* ---- failures -----------------------------------------------------------------------------------------------------
 */

unsigned identity_wait_s(const struct request *request)
{
    struct http_server *server = request->server;
    if (request->row && request->row->handle == meta_health)
        return 0;
    pthread_mutex_lock(&server->mutex);
    int64_t wait_ns = failure_limit_wait_ns(&server->failures, request->client->source, request->started_ns);
    pthread_mutex_unlock(&server->mutex);
    return (unsigned)((wait_ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
}

/* Counts it and, not too often, tells the log; returns what it was given. */
static int failed(const struct request *request, int error, const struct err *e)
{
    struct http_server *server = request->server;
    int64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&server->mutex);
    failure_limit_note(&server->failures, request->client->source, now);
    bool say = rate_limit_permits(&server->refusals, now);
    pthread_mutex_unlock(&server->mutex);
    if (say)
        log_warning("refused a client from %s: %s", request->client->address, e->message);
    return error;
}

/* ---- certificates -------------------------------------------------------------------------------------------------
 */

int identity_check_certificate(struct request *request, struct err *ret_err)
{
    struct client *client = request->client;
    struct err e;
    if (client->transport != TRANSPORT_TLS || !request->server->tls->client_ca)
        return 0;
    int error = 0;
    if (!client->verified)
        error = tls_peer_verify(request->connection, &client->peer, &e);
    else if (client->peer.expires_ns <= clock_realtime_ns())
        error = err_set(&e, -EACCES, ERR_UNAUTHENTICATED, "", "the client's certificate has expired meanwhile");
    client->verified = !error;
    if (!error)
        return 0;
    if (ret_err)
        *ret_err = e;
    return failed(request, error, &e);
}

/* ---- tokens -------------------------------------------------------------------------------------------------------
 */

static int find_on_unix(struct request *request, struct err *ret_err)
{
    const struct client *client = request->client;
    if (client->role == ROLE_NOBODY)
        return err_set(ret_err, -EACCES, ERR_FORBIDDEN, "",
                       "this socket is for root, the daemon's own user, and members of the socket's group");
    request->identity.role = client->role;
    snprintf(request->identity.name, sizeof request->identity.name, "uid:%u", client->uid);
    return 0;
}

static int find_by_token(struct request *request, const struct head_facts *facts, struct err *ret_err)
{
    struct http_server *server = request->server;
    const char *token;
    size_t length;
    if (!facts->authorization)
        return err_set(ret_err, -EACCES, ERR_UNAUTHENTICATED, "",
                       "send the field \"Authorization: Bearer <token>\" with what is in admin.token of the daemon's "
                       "state directory");
    if (!auth_bearer(facts->authorization, &token, &length) ||
        !auth_token_is_right(token, length, server->access.token_sha256_hex))
        return err_set(ret_err, -EACCES, ERR_UNAUTHENTICATED, "", "the token is not the right one");
    request->identity.role = ROLE_ADMIN;
    text_copy(request->identity.name, sizeof request->identity.name, "token:admin");
    return 0;
}

int identity_find(struct request *request, const struct head_facts *facts, struct err *ret_err)
{
    struct err e;
    request->identity = (struct identity){.role = ROLE_NOBODY};
    text_copy(request->identity.address, sizeof request->identity.address, request->client->address);
    int error =
        request->client->transport == TRANSPORT_UNIX ? find_on_unix(request, &e) : find_by_token(request, facts, &e);
    if (!error)
        return 0;
    if (ret_err)
        *ret_err = e;
    return failed(request, error, &e);
}

int identity_check_role(const struct identity *identity, enum role role, struct err *ret_err)
{
    static const char *const names[ROLE_N] = {"nobody", "reader", "operator", "admin"};
    if (identity->role >= role)
        return 0;
    return err_set(ret_err, -EACCES, ERR_FORBIDDEN, "", "this takes the role %s, and %s is %s", names[role],
                   identity->name, names[identity->role]);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "identity.h"

#include "auth.h"
#include "handlers.h"
#include "route_table.h"
#include "server.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

/* ---- failures ---------------------------------------------------------------------------------------------------- */

unsigned identity_wait_s(const struct request *request)
{
    struct http_server *server = request->server;
    if (request->row && (request->row->handle == meta_health || request->row->handle == assets_get ||
                         request->row->handle == assets_get_page))
        return 0;
    pthread_mutex_lock(&server->mutex);
    int64_t wait_ns = failure_limit_wait_ns(&server->failures, request->client->source, request->started_ns);
    pthread_mutex_unlock(&server->mutex);
    return (unsigned)((wait_ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
}

/* Counts it, where it is the client's, and, not too often, tells the log; returns what it was given. */
static int failed(const struct request *request, int error, const struct err *e)
{
    struct http_server *server = request->server;
    const struct client *client = request->client;
    int64_t now = clock_monotonic_ns();
    if (e->code != ERR_UNAUTHENTICATED && e->code != ERR_FORBIDDEN)
        return error;
    pthread_mutex_lock(&server->mutex);
    failure_limit_note(&server->failures, client->source, now);
    bool say = rate_limit_permits(&server->refusals, now);
    pthread_mutex_unlock(&server->mutex);
    if (say && client->transport == TRANSPORT_UNIX)
        log_warning("refused user %u: %s", client->uid, e->message);
    else if (say)
        log_warning("refused a client from %s: %s", client->address, e->message);
    return error;
}

/* ---- certificates ------------------------------------------------------------------------------------------------ */

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

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static int find_on_unix(struct request *request, struct err *ret_err)
{
    const struct client *client = request->client;
    if (client->role == ROLE_NOBODY)
        return err_set(ret_err, -EACCES, ERR_FORBIDDEN, "",
                       "this socket is for root, the daemon's own user, and members of the socket's group");
    request->identity.role = client->role;
    text_copy(request->identity.name, sizeof request->identity.name, client->name);
    return 0;
}

/* The request is made by whoever has that token. */
static int take_token(struct request *request, const struct token *token, struct err *ret_err)
{
    struct identity *identity = &request->identity;
    int error = selector_parse(token->selector, &identity->selector, ret_err);
    if (error)
        return error; /* what was stored had passed this */
    if (token->expires_ns && token->expires_ns <= clock_realtime_ns())
        return err_set(ret_err, -EACCES, ERR_UNAUTHENTICATED, "", "the token \"%s\" has expired", token->name);
    identity->role = token->role;
    snprintf(identity->name, sizeof identity->name, "%s:%s", token->kind == TOKEN_BEARER ? "token" : "certificate",
             token->name);
    /* a stream outlasts its request: it ends with the token that it began with */
    if (request->row && (request->row->handle == watch_get || request->row->handle == capture_get))
        server_client_hold(request->client, token);
    return 0;
}

/* The token is wiped where it stands: nobody needs it any more. */
static int find_by_secret(struct request *request, const struct token_set *tokens, const char *secret, size_t length,
                          struct err *ret_err)
{
    uint8_t digest[TOKEN_DIGEST_SIZE];
    int error = auth_digest(secret, length, digest);
    OPENSSL_cleanse((void *)(uintptr_t)secret, length);
    if (error)
        return err_no_memory(ret_err);
    const struct token *token = auth_token_of_digest(tokens, digest);
    if (!token)
        return err_set(ret_err, -EACCES, ERR_UNAUTHENTICATED, "", "this is no token, or none any more");
    return take_token(request, token, ret_err);
}

static int find_by_bearer(struct request *request, const struct token_set *tokens, const struct head_field *field,
                          struct err *ret_err)
{
    const char *secret;
    size_t length;
    if (!auth_bearer(field, &secret, &length))
        return err_set(ret_err, -EACCES, ERR_UNAUTHENTICATED, "", "the Authorization field must be \"Bearer <token>\"");
    return find_by_secret(request, tokens, secret, length, ret_err);
}

/* The token in the browser's cookie, if it sent one; the library has a copy of its own, which is wiped here. */
static bool find_cookie(const struct request *request, const struct head_facts *facts, const char **ret_secret,
                        size_t *ret_length)
{
    char name[AUTH_COOKIE_NAME_SIZE], host[64] = "";
    if (!facts->cookie)
        return false;
    /* what does not fit has no port that is ours */
    if (facts->host->value_length < sizeof host)
        memcpy(host, facts->host->value, facts->host->value_length);
    auth_cookie_name(host, name);
    if (!auth_cookie(facts->cookie, name, ret_secret, ret_length))
        return false;
    const char *copy = MHD_lookup_connection_value(request->connection, MHD_COOKIE_KIND, name);
    if (copy)
        OPENSSL_cleanse((void *)(uintptr_t)copy, strlen(copy));
    return true;
}

static int find_by_certificate(struct request *request, const struct token_set *tokens, struct err *ret_err)
{
    const char *name = request->client->peer.common_name;
    const struct token *token = auth_token_of_certificate(tokens, name);
    if (!token)
        return err_set(ret_err, -EACCES, ERR_UNAUTHENTICATED, "",
                       "the certificate is good, but there is no token of kind \"certificate\" with its name, \"%s\"",
                       name);
    return take_token(request, token, ret_err);
}

static int find_by_token(struct request *request, const struct head_facts *facts, struct err *ret_err)
{
    const struct snapshot *snapshot = engine_snapshot(request->server->engine);
    const char *secret;
    size_t length;
    int error;
    if (facts->authorization)
        error = find_by_bearer(request, snapshot->tokens, facts->authorization, ret_err);
    else if (find_cookie(request, facts, &secret, &length))
        error = find_by_secret(request, snapshot->tokens, secret, length, ret_err);
    else if (request->client->verified)
        error = find_by_certificate(request, snapshot->tokens, ret_err);
    else
        error = err_set(ret_err, -EACCES, ERR_UNAUTHENTICATED, "", "send the field \"Authorization: Bearer <token>\"");
    snapshot_release(snapshot);
    return error;
}

static void identity_clear(struct request *request)
{
    request->identity.role = ROLE_NOBODY;
    request->identity.name[0] = '\0';
    request->identity.selector.count = 0;
    text_copy(request->identity.address, sizeof request->identity.address, request->client->address);
}

int identity_find(struct request *request, const struct head_facts *facts, struct err *ret_err)
{
    struct err e;
    identity_clear(request);
    int error =
        request->client->transport == TRANSPORT_UNIX ? find_on_unix(request, &e) : find_by_token(request, facts, &e);
    if (!error)
        return 0;
    if (ret_err)
        *ret_err = e;
    /* a browser that comes for the first time asks who it is, and has guessed nothing */
    bool asks_only = request->row && request->row->handle == session_get && !facts->authorization && !facts->cookie;
    return asks_only && request->client->transport != TRANSPORT_UNIX ? error : failed(request, error, &e);
}

int identity_find_by_secret(struct request *request, char *secret, size_t length, struct err *ret_err)
{
    const struct snapshot *snapshot = engine_snapshot(request->server->engine);
    struct err e;
    identity_clear(request);
    int error = request->client->transport == TRANSPORT_UNIX
                    ? find_on_unix(request, &e)
                    : find_by_secret(request, snapshot->tokens, secret, length, &e);
    OPENSSL_cleanse(secret, length);
    snapshot_release(snapshot);
    if (!error)
        return 0;
    *ret_err = e;
    return failed(request, error, &e);
}

int identity_check_role(const struct identity *identity, enum role role, struct err *ret_err)
{
    if (identity->role >= role)
        return 0;
    return err_set(ret_err, -EACCES, ERR_FORBIDDEN, "", "this takes the role %s, and %s is %s", role_name(role),
                   identity->name, role_name(identity->role));
}

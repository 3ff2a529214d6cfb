/* SPDX-License-Identifier: Apache-2.0 */
#include "identity.h"

#include "auth.h"
#include "server.h"

#include <errno.h>
#include <stdio.h>

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
    if (auth_bearer(facts->authorization, &token, &length) &&
        auth_token_is_right(token, length, server->access.token_sha256_hex)) {
        request->identity.role = ROLE_ADMIN;
        text_copy(request->identity.name, sizeof request->identity.name, "token:admin");
        return 0;
    }
    pthread_mutex_lock(&server->mutex);
    bool say = rate_limit_permits(&server->refusals, clock_monotonic_ns());
    pthread_mutex_unlock(&server->mutex);
    if (say)
        log_warning("a client on TCP presented a token that is not the right one");
    return err_set(ret_err, -EACCES, ERR_UNAUTHENTICATED, "", "the token is not the right one");
}

int identity_find(struct request *request, const struct head_facts *facts, struct err *ret_err)
{
    request->identity = (struct identity){.role = ROLE_NOBODY};
    text_copy(request->identity.address, sizeof request->identity.address, request->client->address);
    return request->client->is_unix ? find_on_unix(request, ret_err) : find_by_token(request, facts, ret_err);
}

int identity_check_role(const struct identity *identity, enum role role, struct err *ret_err)
{
    static const char *const names[ROLE_N] = {"nobody", "reader", "operator", "admin"};
    if (identity->role >= role)
        return 0;
    return err_set(ret_err, -EACCES, ERR_FORBIDDEN, "", "this takes the role %s, and %s is %s", names[role],
                   identity->name, names[identity->role]);
}

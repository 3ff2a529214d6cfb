/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session: how a browser says who it is. It presents a token once and gets it back as a cookie, which no script can read
 * and which no other site can make it send: the token stands in no page and in no storage of the browser's.
 *
 * There is nothing of it on this side. The cookie is the token, it ends with the token, and is judged as if it had come
 * in the field Authorization. On the Unix socket the kernel has said already who it is, and no cookie is needed.
 */
#include "answer.h"
#include "auth.h"
#include "body.h"
#include "handlers.h"
#include "identity.h"
#include "json_add.h"
#include "server.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define SECRET_LENGTH (AUTH_SECRET_SIZE - 1)
#define COOKIE_SIZE   (AUTH_COOKIE_NAME_SIZE + AUTH_SECRET_SIZE + 80)

/* ---- who it is --------------------------------------------------------------------------------------------------- */

/* The token by which whoever asks is known, "token:ci" or "certificate:ci"; NULL where it is not by a token. */
static const struct token *token_of(const struct token_set *tokens, const char *actor)
{
    const char *colon = strchr(actor, ':');
    for (size_t i = 0; colon && i < tokens->count; i++) {
        const struct token *token = &tokens->tokens[i];
        const char *kind = token->kind == TOKEN_BEARER ? "token:" : "certificate:";
        if (!strncmp(actor, kind, strlen(kind)) && !strcmp(colon + 1, token->name))
            return token;
    }
    return NULL;
}

static void answer_identity(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = engine_snapshot(request->server->engine);
    const struct identity *identity = &request->identity;
    const struct token *token = token_of(snapshot->tokens, identity->name);
    if (!token && request->client->transport != TRANSPORT_UNIX) {
        struct err e; /* it was deleted since the request was let in */
        err_set(&e, -EACCES, ERR_UNAUTHENTICATED, "", "this is no token, or none any more");
        answer_problem(request, &e);
        return;
    }
    cJSON *json = cJSON_CreateObject();
    if (json && json_add_text_or_null(json, "name", token ? token->name : NULL) &&
        cJSON_AddStringToObject(json, "role", role_name(identity->role)) &&
        json_add_text_or_null(json, "selector", token ? token->selector : NULL)) {
        answer_json(request, 200, json);
        return;
    }
    cJSON_Delete(json);
    answer_no_memory(request);
}

void session_get(struct request *request)
{
    answer_identity(request);
}

/* ---- the cookie -------------------------------------------------------------------------------------------------- */

/* `secret` is empty for a cookie that ends at once. */
static void set_cookie(struct request *request, const char *secret)
{
    char name[AUTH_COOKIE_NAME_SIZE], cookie[COOKIE_SIZE];
    auth_cookie_name(MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Host"), name);
    snprintf(cookie, sizeof cookie, "%s=%s; HttpOnly; SameSite=Strict; Path=/%s%s", name, secret,
             *secret ? "" : "; Max-Age=0", request->client->transport == TRANSPORT_TLS ? "; Secure" : "");
    answer_header(request, "Set-Cookie", cookie);
    OPENSSL_cleanse(cookie, sizeof cookie);
}

static bool is_secret(const char *text)
{
    return strlen(text) == SECRET_LENGTH && strspn(text, "0123456789abcdef") == SECRET_LENGTH;
}

/* {"token": "<64 hex digits>"}. The tree is borrowed; ret_secret is written on success only. */
static int secret_read(const cJSON *json, char ret_secret[static AUTH_SECRET_SIZE], struct err_list *errors)
{
    const cJSON *token = NULL;
    if (!cJSON_IsObject(json)) {
        err_list_add(errors, ERR_WRONG_TYPE, "", "the body must be an object, {\"token\": \"…\"}");
        return -EINVAL;
    }
    for (const cJSON *member = json->child; member; member = member->next) {
        char pointer[64];
        snprintf(pointer, sizeof pointer, "/%.40s", member->string);
        if (!strcmp(member->string, "token"))
            token = member;
        else
            err_list_add(errors, ERR_UNKNOWN_FIELD, pointer, "there is no such field here: there is only \"token\"");
    }
    if (!token)
        err_list_add(errors, ERR_MISSING_FIELD, "/token", "this is needed");
    else if (!cJSON_IsString(token))
        err_list_add(errors, ERR_WRONG_TYPE, "/token", "this must be text");
    else if (!is_secret(token->valuestring))
        err_list_add(errors, ERR_INVALID_VALUE, "/token", "a token is %d digits of 0 to 9 and a to f", SECRET_LENGTH);
    if (errors->count)
        return -EINVAL;
    memcpy(ret_secret, token->valuestring, AUTH_SECRET_SIZE);
    OPENSSL_cleanse(token->valuestring, SECRET_LENGTH);
    return 0;
}

void session_post(struct request *request)
{
    struct err_list errors = {.count = 0};
    struct err e;
    cJSON *json = NULL;
    if (json_read(request->body.data ? request->body.data : "", request->body.length, &json, &e))
        err_list_add_err(&errors, &e);
    else
        secret_read(json, request->secret, &errors);
    cJSON_Delete(json);
    if (request->body.data)
        OPENSSL_cleanse(request->body.data, request->body.length);
    if (errors.count) {
        answer_problems(request, &errors);
        return;
    }
    /* its own copy is wiped by the look-up, the request's with the request */
    char secret[AUTH_SECRET_SIZE];
    memcpy(secret, request->secret, sizeof secret);
    if (identity_find_by_secret(request, secret, SECRET_LENGTH, &e)) {
        answer_problem(request, &e);
        return;
    }
    answer_identity(request);
    if (request->status == 200 && request->client->transport != TRANSPORT_UNIX)
        set_cookie(request, request->secret);
}

/* Also of one that is worth nothing any more: it must be possible to be rid of it. */
void session_delete(struct request *request)
{
    answer_empty(request, 204);
    set_cookie(request, "");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens. A bearer's secret is made here, stands in the request until its answer is made, and in the answer until that
 * was sent; each place is wiped. What goes to the engine, and from there to disk, is its SHA-256.
 */
#include "answer.h"
#include "auth.h"
#include "change_wait.h"
#include "handlers.h"
#include "server.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tokens_list(struct request *request)
{
    struct err e;
    if (request->identity.selector.count) {
        err_set(&e, -EACCES, ERR_FORBIDDEN, "", "tokens are for all devices, and %s is for some",
                request->identity.name);
        answer_problem(request, &e);
        return;
    }
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = engine_snapshot(request->server->engine);
    cJSON *items = cJSON_CreateArray();
    for (size_t i = 0; items && i < snapshot->tokens->count; i++)
        answer_item_add(&items, token_to_json(&snapshot->tokens->tokens[i]));
    answer_items(request, items);
}

/* The document, and the secret as its last member: no tree ever holds it. Owned; NULL: no memory. */
static char *document_with_secret(const struct token *token, const char *secret)
{
    cJSON *json = token_to_json(token);
    char *document = json ? cJSON_PrintUnformatted(json) : NULL, *text = NULL;
    cJSON_Delete(json);
    size_t length = document ? strlen(document) : 0;
    if (length) {
        const size_t size = length + sizeof ",\"token\":\"\"}\n" + AUTH_SECRET_SIZE;
        text = malloc(size);
        document[length - 1] = '\0'; /* its brace */
        if (text)
            snprintf(text, size, "%s,\"token\":\"%s\"}\n", document, secret);
    }
    cJSON_free(document);
    return text;
}

static void token_created(struct request *request, const struct change *change)
{
    const struct token *token = &change->token;
    if (token->kind == TOKEN_BEARER) {
        char *text = document_with_secret(token, request->secret);
        if (text)
            answer_secret(request, 201, text);
        else
            answer_no_memory(request);
    } else {
        answer_json(request, 201, token_to_json(token));
    }
    char location[sizeof "/v1/tokens/" + TOKEN_NAME_SIZE];
    snprintf(location, sizeof location, "/v1/tokens/%s", token->name);
    answer_header(request, "Location", location);
}

static int secret_make(struct request *request, struct token *token)
{
    if (token->kind != TOKEN_BEARER || request->terms.dry_run)
        return 0;
    int error = auth_secret_make(request->secret);
    return error ? error : auth_digest(request->secret, AUTH_SECRET_SIZE - 1, token->digest);
}

void tokens_post(struct request *request)
{
    struct err_list errors = {.count = 0};
    struct token token;
    if (!request->body.length)
        err_list_add(&errors, ERR_INVALID_JSON, "",
                     "the body is empty; it must be a token, like {\"name\":\"ci\",\"role\":\"operator\"}");
    else
        token_parse(request->body.data, request->body.length, &token, &errors);
    if (errors.count) {
        answer_problems(request, &errors);
        return;
    }
    struct change *change = change_wait_new(request, CHANGE_TOKEN_CREATE);
    if (!change)
        return;
    change->token = token;
    if (secret_make(request, &change->token)) {
        struct err e;
        err_set(&e, -EIO, ERR_INTERNAL, "", "no secret can be made");
        answer_problem(request, &e);
        return;
    }
    request->wait->answer = token_created;
    change_wait_submit(request);
}

static void token_deleted(struct request *request, const struct change *change)
{
    (void)change;
    answer_empty(request, 204);
}

void tokens_delete(struct request *request)
{
    struct change *change = change_wait_new(request, CHANGE_TOKEN_DELETE);
    if (!change)
        return;
    if (text_copy(change->token.name, sizeof change->token.name, request->variables[0])) {
        struct err e;
        err_set(&e, -ENOENT, ERR_NOT_FOUND, "", "there is no token of that name");
        answer_problem(request, &e);
        return;
    }
    request->wait->answer = token_deleted;
    change_wait_submit(request);
}

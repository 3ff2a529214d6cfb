/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: of a secret only its SHA-256. */
#include "query.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int store_token_add(struct store *store, const struct token *token, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_TOKEN_ADD, "store the token");
    int r;

    query_bind_text(&query, token->name);
    query_bind_text(&query, token_kind_name(token->kind));
    query_bind_text(&query, role_name(token->role));
    query_bind_text(&query, token->selector);
    query_bind_int(&query, token->created_ns);
    query_bind_int(&query, token->expires_ns);
    query_bind_blob(&query, token->digest, sizeof(token->digest));
    r = query_run(&query, ret_err);
    if (r < 0 && query.result == SQLITE_CONSTRAINT_PRIMARYKEY)
        r = err_set(ret_err, -EEXIST, ERR_ALREADY_EXISTS, "/name", "there is a token %s already", token->name);
    return r;
}

int store_token_delete(struct store *store, const char *name, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_TOKEN_DELETE, "delete the token");
    int r;

    query_bind_text(&query, name);
    r = query_run(&query, ret_err);
    if (r == 0 && sqlite3_changes(store->db) == 0)
        r = err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "", "there is no token %.63s", name);
    return r;
}

static int token_read(const struct query *query, struct token *ret_token, struct err *ret_err)
{
    struct token token = {.created_ns = query_int(query, 4), .expires_ns = query_int(query, 5)};
    const char *kind = query_text(query, 1), *role = query_text(query, 2);
    struct selector selector;

    if (!kind || !role)
        return err_no_memory(ret_err);
    if (!query_copy_text(query, 0, token.name, sizeof(token.name)) || token_kind_parse(kind, &token.kind) < 0 ||
        role_parse(role, &token.role) < 0 || !query_copy_text(query, 3, token.selector, sizeof(token.selector)) ||
        selector_parse(token.selector, &selector, NULL) < 0 ||
        !query_copy_blob(query, 6, token.digest, sizeof(token.digest)))
        return err_set(ret_err, -EUCLEAN, ERR_STORE_UNAVAILABLE, "", "the stored token %s is not valid", token.name);
    *ret_token = token;
    return 0;
}

int store_tokens_load(struct store *store, struct token **ret_tokens, size_t *ret_count, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_TOKENS, "read the tokens");
    struct token *tokens = NULL;
    size_t count = 0, capacity = 0;
    int r = 0, ended;

    while (r == 0 && query_next(&query)) {
        r = array_grow(&tokens, &capacity, count, sizeof(*tokens));
        if (r < 0)
            r = err_no_memory(ret_err);
        else
            r = token_read(&query, &tokens[count], ret_err);
        count += r == 0;
    }
    ended = query_end(&query, r == 0 ? ret_err : NULL);
    if (r == 0)
        r = ended;
    if (r < 0) {
        free(tokens);
        return r;
    }
    *ret_tokens = tokens;
    *ret_count = count;
    return 0;
}

int store_token_made(struct store *store, bool *ret_made, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_TOKEN_MADE, "read the database");
    bool made = query_next(&query) && query_int(&query, 0) != 0;
    int r = query_end(&query, ret_err);

    if (r == 0)
        *ret_made = made;
    return r;
}

static int token_set_made(struct store *store, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_TOKEN_SET_MADE, "note that the token was made");

    return query_run(&query, ret_err);
}

int store_token_provision(struct store *store, const struct token *token, const char *changes, struct err *ret_err)
{
    static const struct actor actor = {.name = "system", .operation = "provision the first token"};
    int r = store_begin(store, ret_err);

    if (r < 0)
        return r;
    r = store_token_add(store, token, ret_err);
    if (r == 0)
        r = token_set_made(store, ret_err);
    if (r == 0)
        r = store_audit_put(store, token->created_ns, &actor, changes, ret_err);
    if (r == 0)
        return store_commit(store, ret_err);
    store_rollback(store);
    return r;
}

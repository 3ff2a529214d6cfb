/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens. Readers find them in the snapshot, so that whoever was told of a change of them meets it at the next request.
 * The set is small and changes seldom: each change makes a new one.
 */
#include "state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX 1024

struct shared_tokens *tokens_share(struct shared_tokens *tokens)
{
    atomic_fetch_add_explicit(&tokens->references, 1, memory_order_relaxed);
    return tokens;
}

void tokens_release(struct shared_tokens *tokens)
{
    if (!tokens || atomic_fetch_sub_explicit(&tokens->references, 1, memory_order_acq_rel) != 1)
        return;
    free((void *)(uintptr_t)tokens->set.tokens); /* they do not change from when they are shared */
    free(tokens);
}

/* Takes `tokens`, on failure too. NULL: no memory. */
static struct shared_tokens *tokens_new(struct token *tokens, size_t count)
{
    struct shared_tokens *shared = calloc(1, sizeof(*shared));

    if (!shared) {
        free(tokens);
        return NULL;
    }
    shared->set = (struct token_set){.count = count, .tokens = tokens};
    atomic_init(&shared->references, 1);
    return shared;
}

int tokens_load(struct engine *engine, struct err *ret_err)
{
    struct token *tokens = NULL;
    size_t count = 0;
    int r = store_tokens_load(engine->store, &tokens, &count, ret_err);

    if (r < 0)
        return r;
    engine->tokens = tokens_new(tokens, count);
    return engine->tokens ? 0 : err_no_memory(ret_err);
}

/* Where it is, or belongs. */
static bool token_find(const struct token_set *set, const char *name, size_t *ret_place)
{
    size_t place = 0;

    while (place < set->count && strcmp(set->tokens[place].name, name) < 0)
        place++;
    *ret_place = place;
    return place < set->count && strcmp(set->tokens[place].name, name) == 0;
}

/* ---- what a change makes of the set ------------------------------------------------------------------------------ */

/* The set with another token at `place`, or (NULL) without the one there. NULL: no memory. */
static struct shared_tokens *set_edit(const struct token_set *set, size_t place, const struct token *added)
{
    struct token *tokens = calloc(set->count + 1, sizeof(*tokens));
    size_t count = 0;

    if (!tokens)
        return NULL;
    for (size_t i = 0; i < set->count; i++) {
        if (i == place && added)
            tokens[count++] = *added;
        if (i != place || added)
            tokens[count++] = set->tokens[i];
    }
    if (place == set->count && added)
        tokens[count++] = *added;
    return tokens_new(tokens, count);
}

static int create_begin(const struct engine *engine, struct change *change, struct shared_tokens **ret_next,
                        struct err *ret_err)
{
    const struct token_set *set = &engine->tokens->set;
    struct token *token = &change->token;
    size_t place;

    token->created_ns = clock_realtime_ns();
    if (token->expires_ns != 0 && token->expires_ns <= token->created_ns)
        return err_set(ret_err, -EINVAL, ERR_OUT_OF_RANGE, "/expires", "this time is over");
    if (token_find(set, token->name, &place))
        return err_set(ret_err, -EEXIST, ERR_ALREADY_EXISTS, "/name", "there is a token %s already", token->name);
    if (set->count >= TOKENS_MAX)
        return err_set(ret_err, -E2BIG, ERR_LIMIT_EXCEEDED, "", "there can be %d tokens at most", TOKENS_MAX);
    *ret_next = set_edit(set, place, token);
    return *ret_next ? 0 : err_no_memory(ret_err);
}

static int delete_begin(const struct engine *engine, struct change *change, struct shared_tokens **ret_next,
                        struct err *ret_err)
{
    const struct token_set *set = &engine->tokens->set;
    size_t place;

    if (!token_find(set, change->token.name, &place))
        return err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "", "there is no token of that name");
    change->token = set->tokens[place]; /* for the audit entry */
    *ret_next = set_edit(set, place, NULL);
    return *ret_next ? 0 : err_no_memory(ret_err);
}

/* ---- from beginning to end --------------------------------------------------------------------------------------- */

static int change_write(struct engine *engine, const struct change *change, const struct snapshot *snapshot,
                        struct err *ret_err)
{
    bool created = change->kind == CHANGE_TOKEN_CREATE;
    int r = store_begin(engine->store, ret_err);

    if (r < 0)
        return r;
    journal_stage(engine, created ? EVENT_TOKEN_CREATED : EVENT_TOKEN_DELETED, "", "%s", change->token.name);
    r = created ? store_token_add(engine->store, &change->token, ret_err)
                : store_token_delete(engine->store, change->token.name, ret_err);
    if (r == 0)
        r = journal_write(engine, snapshot, ret_err);
    if (r == 0)
        r = journal_audit(engine, &change->actor, change->differences, ret_err);
    if (r == 0)
        r = store_commit(engine->store, ret_err);
    if (r < 0) {
        store_rollback(engine->store);
        journal_rolled_back(engine);
    }
    return r;
}

/* Takes `next`. */
static int change_commit(struct engine *engine, struct change *change, struct shared_tokens *next, struct err *ret_err)
{
    struct shared_tokens *before = engine->tokens;
    bool was_writable = engine->store_writable;
    struct snapshot *snapshot;
    int r;

    engine->tokens = next;
    engine->store_writable = true;
    snapshot = snapshot_new(engine);
    r = snapshot ? change_write(engine, change, snapshot, ret_err) : err_no_memory(ret_err);
    if (r < 0) {
        engine->tokens = before;
        engine->store_writable = was_writable;
        snapshot_release(snapshot);
        tokens_release(next);
        engine_note_store(engine, ret_err);
        return r;
    }
    tokens_release(before);
    engine_publish(engine, snapshot);
    return 0;
}

static int change_run(struct engine *engine, struct change *change, struct err *ret_err)
{
    struct shared_tokens *next = NULL;
    int r;

    /* who sees some devices only must not make a token that sees all */
    if (change->selector.count > 0)
        return err_set(ret_err, -EACCES, ERR_FORBIDDEN, "", "tokens are for all devices, and %s is for some",
                       change->actor.name);
    r = change->kind == CHANGE_TOKEN_CREATE ? create_begin(engine, change, &next, ret_err)
                                            : delete_begin(engine, change, &next, ret_err);
    if (r < 0)
        return r;
    change->differences = token_change_print(&change->token, change->kind == CHANGE_TOKEN_CREATE);
    if (!change->differences) {
        tokens_release(next);
        return err_no_memory(ret_err);
    }
    if (change->dry_run) {
        tokens_release(next);
        return 0;
    }
    return change_commit(engine, change, next, ret_err);
}

void tokens_change(struct engine *engine, struct change *change)
{
    struct err err = {0};
    int r;

    change->outcome = OUTCOME_FAILED;
    change->errors.count = 0;
    change->after = NULL;
    r = change_run(engine, change, &err);
    if (r < 0) {
        err_list_add_err(&change->errors, &err);
        engine_publish_if_dirty(engine);
    } else {
        change->outcome = change->kind == CHANGE_TOKEN_CREATE ? OUTCOME_CREATED : OUTCOME_DELETED;
        change->after = snapshot_share(engine->snapshot);
    }
    change->done(change);
}

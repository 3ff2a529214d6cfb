/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens as readers find them in the snapshot, and what is written of a change of them. */
#include "engine_bench.h"

static struct change *token_change(enum change_kind kind, const char *name, enum role role)
{
    static const struct actor actor = {"uid:0", "unix", "POST /v1/tokens"};
    struct change *change = calloc(1, sizeof(*change));

    change->kind = kind;
    change->actor = actor;
    change->token.role = role;
    strcpy(change->token.name, name);
    memset(change->token.digest, name[0], sizeof(change->token.digest));
    return change;
}

/* "a:reader b:admin" */
static void tokens_are(struct bench *bench, const char *expected)
{
    const struct snapshot *snapshot = engine_snapshot(bench->engine);
    char text[512] = "";

    for (size_t i = 0; i < snapshot->tokens->count; i++) {
        const struct token *token = &snapshot->tokens->tokens[i];
        size_t length = strlen(text);

        snprintf(text + length, sizeof(text) - length, "%s%s:%s", i ? " " : "", token->name, role_name(token->role));
        assert_int_equal(token->digest[31], token->name[0]);
        assert_true(token->created_ns > 0 && token->created_ns <= clock_realtime_ns());
    }
    assert_string_equal(text, expected);
    snapshot_release(snapshot);
}

static void restart(struct bench *bench)
{
    bench_end(bench);
    bench_begin(bench);
    bench_wait_settled(bench);
}

static int64_t rows(struct bench *bench, const char *table)
{
    char sql[64];
    int64_t value = -1;
    sqlite3 *db;

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table);
    assert_int_equal(sqlite3_open(bench->path, &db), SQLITE_OK);
    assert_int_equal(database_read_int(db, sql, &value, NULL, ""), 0);
    sqlite3_close(db);
    return value;
}

static void test_changes(void **state)
{
    struct bench *bench = *state;
    const struct snapshot *old;
    struct event events[8];
    uint64_t newest;
    struct err err;

    tokens_are(bench, "");
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_CREATE, "m", ROLE_ADMIN), NULL), OUTCOME_CREATED);
    old = engine_snapshot(bench->engine);
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_CREATE, "b", ROLE_READER), NULL), OUTCOME_CREATED);
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_CREATE, "z", ROLE_OPERATOR), NULL), OUTCOME_CREATED);
    tokens_are(bench, "b:reader m:admin z:operator");
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_CREATE, "m", ROLE_READER), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_ALREADY_EXISTS);
    assert_string_equal(err.pointer, "/name");
    restart(bench);
    tokens_are(bench, "b:reader m:admin z:operator");
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_DELETE, "m", ROLE_NOBODY), NULL), OUTCOME_DELETED);
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_DELETE, "m", ROLE_NOBODY), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    tokens_are(bench, "b:reader z:operator");
    restart(bench);
    tokens_are(bench, "b:reader z:operator");
    /* a snapshot that somebody holds keeps its own set */
    assert_int_equal(old->tokens->count, 1);
    assert_string_equal(old->tokens->tokens[0].name, "m");
    snapshot_release(old);

    assert_int_equal(engine_events(bench->engine, 0, events, 8, NULL, &newest), 4);
    assert_int_equal(events[0].type, EVENT_TOKEN_CREATED);
    assert_string_equal(events[0].device, "");
    assert_string_equal(events[0].detail, "m");
    assert_int_equal(events[3].type, EVENT_TOKEN_DELETED);
    assert_string_equal(events[3].detail, "m");
    assert_int_equal(rows(bench, "audit"), 4);
}

static void test_audit(void **state)
{
    struct bench *bench = *state;
    struct change *read = calloc(1, sizeof(*read)), *create = token_change(CHANGE_TOKEN_CREATE, "ci", ROLE_OPERATOR);

    create->token.kind = TOKEN_CERTIFICATE;
    assert_int_equal(run(bench, create, NULL), OUTCOME_CREATED);
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_DELETE, "ci", ROLE_NOBODY), NULL), OUTCOME_DELETED);
    read->kind = CHANGE_AUDIT_READ;
    read->audit_most = 10;
    assert_int_equal(submit_keep(bench, read), OUTCOME_UNCHANGED);
    assert_int_equal(read->audit_count, 2);
    assert_string_equal(
        read->audit[0].changes,
        "[{\"token\":\"ci\",\"action\":\"created\",\"kind\":\"certificate\",\"role\":\"operator\",\"selector\":null,"
        "\"expires\":null}]");
    assert_string_equal(
        read->audit[1].changes,
        "[{\"token\":\"ci\",\"action\":\"deleted\",\"kind\":\"certificate\",\"role\":\"operator\",\"selector\":null,"
        "\"expires\":null}]");
    assert_string_equal(read->audit[0].actor.name, "uid:0");
    for (size_t i = 0; i < read->audit_count; i++)
        audit_entry_done(&read->audit[i]);
    free(read->audit);
    change_empty(read);
    free(read);
}

static void test_dry_run(void **state)
{
    struct bench *bench = *state;
    struct change *change = token_change(CHANGE_TOKEN_CREATE, "ci", ROLE_READER);
    uint64_t newest;
    struct err err;

    change->dry_run = true;
    assert_int_equal(submit_keep(bench, change), OUTCOME_CREATED);
    assert_non_null(change->differences);
    assert_int_equal(change->plan.count, 0);
    change_empty(change);
    free(change);
    tokens_are(bench, "");
    assert_int_equal(rows(bench, "token") + rows(bench, "audit") + rows(bench, "event"), 0);
    (void)engine_events(bench->engine, 0, NULL, 0, NULL, &newest);
    assert_int_equal(newest, 0);
    change = token_change(CHANGE_TOKEN_DELETE, "ci", ROLE_NOBODY);
    change->dry_run = true;
    assert_int_equal(run(bench, change, &err), OUTCOME_FAILED); /* as the real one would */
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void test_refusals(void **state)
{
    struct bench *bench = *state;
    struct change *change;
    struct err err;

    change = token_change(CHANGE_TOKEN_CREATE, "ci", ROLE_READER);
    change->token.expires_ns = clock_realtime_ns() - 1;
    assert_int_equal(run(bench, change, &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_OUT_OF_RANGE);
    assert_string_equal(err.pointer, "/expires");
    /* a token for some devices makes none for all */
    for (int i = 0; i < 2; i++) {
        change = token_change(i ? CHANGE_TOKEN_DELETE : CHANGE_TOKEN_CREATE, "ci", ROLE_ADMIN);
        assert_int_equal(selector_parse("site=berlin", &change->selector, NULL), 0);
        assert_int_equal(run(bench, change, &err), OUTCOME_FAILED);
        assert_int_equal(err.code, ERR_FORBIDDEN);
    }
    tokens_are(bench, "");
}

/* Nothing of it is there where one of the rows cannot be written. */
static void test_failing_store(void **state)
{
    struct bench *bench = *state;
    uint64_t newest;
    struct err err;
    sqlite3 *tool;

    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_CREATE, "a", ROLE_ADMIN), NULL), OUTCOME_CREATED);
    assert_int_equal(sqlite3_open(bench->path, &tool), SQLITE_OK);
    assert_int_equal(sqlite3_exec(tool, "BEGIN; SELECT * FROM device", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_CREATE, "b", ROLE_ADMIN), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_DELETE, "a", ROLE_NOBODY), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
    tokens_are(bench, "a:admin");
    sqlite3_close(tool);
    (void)engine_events(bench->engine, 0, NULL, 0, NULL, &newest);
    assert_int_equal(newest, 1);
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_CREATE, "b", ROLE_ADMIN), NULL), OUTCOME_CREATED);
    tokens_are(bench, "a:admin b:admin");
    (void)engine_events(bench->engine, 0, NULL, 0, NULL, &newest);
    assert_int_equal(newest, 2);
    assert_int_equal(rows(bench, "audit"), 2);
}

static void test_many(void **state)
{
    struct bench *bench = *state;
    struct token token = {.role = ROLE_READER, .created_ns = 1};
    struct err err;

    bench_end(bench);
    assert_int_equal(store_open(bench->path, &bench->store, &err), 0);
    assert_int_equal(store_begin(bench->store, &err), 0);
    for (unsigned i = 0; i < 1024; i++) {
        snprintf(token.name, sizeof(token.name), "t%u", i);
        assert_int_equal(store_token_add(bench->store, &token, &err), 0);
    }
    assert_int_equal(store_commit(bench->store, &err), 0);
    store_close(bench->store);
    bench_begin(bench);
    bench_wait_settled(bench);
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_CREATE, "ci", ROLE_READER), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_LIMIT_EXCEEDED);
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_DELETE, "t77", ROLE_READER), NULL), OUTCOME_DELETED);
    assert_int_equal(run(bench, token_change(CHANGE_TOKEN_CREATE, "ci", ROLE_READER), NULL), OUTCOME_CREATED);
}

#define TEST_ON_BENCH(test) cmocka_unit_test_setup_teardown(test, bench_make, bench_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BENCH(test_changes),  TEST_ON_BENCH(test_audit),         TEST_ON_BENCH(test_dry_run),
        TEST_ON_BENCH(test_refusals), TEST_ON_BENCH(test_failing_store), TEST_ON_BENCH(test_many),
    };

    log_open("test_tokens", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

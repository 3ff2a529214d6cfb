/* SPDX-License-Identifier: Apache-2.0 */
/* Events: in order, durable before they can be read, told once, whatever the store and restarts do. */
#include "engine/state.h"
#include "engine_bench.h"

/* ---- by the engine, with its thread ------------------------------------------------------------------------------ */

#define EVENTS_MOST 64

struct told {
    struct event events[EVENTS_MOST];
    size_t count;
    uint64_t oldest, newest;
};

static struct told told_after(struct bench *bench, uint64_t after)
{
    struct told told;

    memset(&told, 0, sizeof(told));
    told.count = engine_events(bench->engine, after, told.events, EVENTS_MOST, &told.oldest, &told.newest);
    return told;
}

/* "created tun0; …", as far as there are words for them. */
static char *told_text(const struct told *told)
{
    struct buf text = {0};

    for (size_t i = 0; i < told->count; i++)
        buf_printf(&text, "%s%s %s%s%s", i ? "; " : "", event_type_name(told->events[i].type), told->events[i].device,
                   told->events[i].detail[0] ? " " : "", told->events[i].detail);
    buf_add_text(&text, "");
    return buf_take(&text);
}

static void expect_told(struct bench *bench, uint64_t after, const char *expected)
{
    struct told told = told_after(bench, after);
    CLEANUP(text_done) char *text = told_text(&told);

    assert_string_equal(text, expected);
    for (size_t i = 0; i < told.count; i++)
        assert_int_equal(told.events[i].sequence, after + 1 + i);
}

static void restart(struct bench *bench)
{
    bench_end(bench);
    bench_begin(bench);
    bench_wait_settled(bench);
}

static const char echo[] = "{'name':'tun0','kind':'tun','worker':{'type':'echo'}}";
static const char plain[] = "{'name':'tun0','kind':'tun'}";

/* A start tells only what is different from what was told before. */
static void test_restart(void **state)
{
    struct bench *bench = *state;
    struct told before, after;

    assert_int_equal(put(bench, echo), OUTCOME_CREATED);
    assert_int_equal(put(bench, "{'name':'tun1','kind':'tun'}"), OUTCOME_CREATED);
    expect_told(bench, 0,
                "device_created tun0 generation 1; worker_state tun0 running; device_state tun0 ready; "
                "device_created tun1 generation 1; device_state tun1 ready");
    before = told_after(bench, 0);
    for (int i = 0; i < 3; i++) {
        restart(bench);
        after = told_after(bench, 0);
        assert_int_equal(after.count, before.count);
        assert_memory_equal(after.events, before.events, sizeof(before.events));
        assert_int_equal(after.oldest, 1);
        assert_int_equal(after.newest, 5);
    }
    assert_int_equal(put(bench, plain), OUTCOME_CHANGED); /* the numbers go on */
    expect_told(bench, 5, "device_changed tun0 generation 2; worker_state tun0 none");
    restart(bench);
    expect_told(bench, 5, "device_changed tun0 generation 2; worker_state tun0 none");

    /* made again under the same name: what was told of the one before does not count */
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun0"), NULL), OUTCOME_DELETED);
    assert_int_equal(put(bench, plain), OUTCOME_CREATED);
    expect_told(bench, 7, "device_deleted tun0; device_created tun0 generation 1; device_state tun0 ready");
    restart(bench);
    expect_told(bench, 10, "");
}

static bool is_pending(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)snapshot;
    return device && device->state != STATE_READY;
}

/* What became different while the daemon was away is told. */
static void test_restart_with_difference(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(put(bench, plain), OUTCOME_CREATED);
    expect_told(bench, 0, "device_created tun0 generation 1; device_state tun0 ready");
    bench_end(bench);
    bench_lock(bench)->disconnected = true;
    bench_unlock(bench);
    bench_begin(bench);
    wait_for(bench, "tun0", is_pending);
    int64_t until = clock_monotonic_ns() + WAIT_NS;
    while (told_after(bench, 2).count == 0 && clock_monotonic_ns() < until)
        poll(NULL, 0, 2);
    struct told told = told_after(bench, 2);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.events[0].type, EVENT_DEVICE_STATE);
    assert_memory_equal(told.events[0].detail, "pending", strlen("pending"));
    bench_lock(bench)->disconnected = false;
    bench_unlock(bench);
    wait_for(bench, "tun0", is_ready);
    expect_told(bench, 3, "device_state tun0 ready");
}

static uint32_t restarts_seen;

static bool is_restarted(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)snapshot;
    return device && device->has_worker && device->worker_restarts == restarts_seen;
}

static void worker_restarts(struct bench *bench, uint32_t restarts)
{
    bench_lock(bench)->state.workers[0].restarts = restarts;
    bench_event(bench);
    bench_unlock(bench);
    restarts_seen = restarts;
    wait_for(bench, "tun0", is_restarted);
}

/* The store refuses while the kernel goes on: readers see what is, and are told what is still so when it takes rows
 * again. */
static void test_store_refuses(void **state)
{
    struct bench *bench = *state;
    const struct snapshot *snapshot;
    sqlite3 *tool;

    assert_int_equal(put(bench, echo), OUTCOME_CREATED);
    assert_int_equal(told_after(bench, 0).newest, 3);
    /* a reader that holds each commit back */
    assert_int_equal(sqlite3_open(bench->path, &tool), SQLITE_OK);
    assert_int_equal(sqlite3_exec(tool, "BEGIN; SELECT * FROM device", NULL, NULL, NULL), SQLITE_OK);
    worker_restarts(bench, 1);
    worker_restarts(bench, 2);
    snapshot = engine_snapshot(bench->engine);
    assert_false(snapshot->store_writable);
    snapshot_release(snapshot);
    assert_int_equal(told_after(bench, 0).newest, 3);
    sqlite3_close(tool);

    int64_t until = clock_monotonic_ns() + WAIT_NS;
    while (told_after(bench, 3).count == 0 && clock_monotonic_ns() < until)
        poll(NULL, 0, 2);
    expect_told(bench, 3, "worker_state tun0 running");
    snapshot = engine_snapshot(bench->engine);
    assert_true(snapshot->store_writable);
    snapshot_release(snapshot);
    restart(bench);
    expect_told(bench, 3, "worker_state tun0 running");
}

/* ---- the audit log ----------------------------------------------------------------------------------------------- */

static size_t audit_read(struct bench *bench, uint64_t after, size_t most, struct change *change)
{
    memset(change, 0, sizeof(*change));
    change->kind = CHANGE_AUDIT_READ;
    change->audit_after = after;
    change->audit_most = most;
    assert_int_equal(submit_keep(bench, change), OUTCOME_UNCHANGED);
    assert_false(change->audit_is_cut);
    return change->audit_count;
}

static void audit_done(struct change *change)
{
    for (size_t i = 0; i < change->audit_count; i++)
        audit_entry_done(&change->audit[i]);
    free(change->audit);
    change_empty(change);
}

static void test_audit(void **state)
{
    static const struct actor actor = {"token:ci", "127.0.0.1:7", "PUT /v1/devices/tun0"};
    struct bench *bench = *state;
    struct change *change = change_of(CHANGE_DEVICE_PUT, plain), *read = calloc(1, sizeof(*read));
    int64_t begun_ns = clock_realtime_ns();

    assert_int_equal(audit_read(bench, 0, 10, read), 0);
    audit_done(read);
    change->actor = actor;
    assert_int_equal(run(bench, change, NULL), OUTCOME_CREATED);
    assert_int_equal(put(bench, plain), OUTCOME_UNCHANGED); /* leaves none */
    assert_int_equal(put(bench, "{'name':'tun0','kind':'tun','mtu':1400}"), OUTCOME_CHANGED);
    restart(bench);
    assert_int_equal(audit_read(bench, 0, 10, read), 2);
    assert_int_equal(read->audit[0].sequence, 1);
    assert_true(read->audit[0].time_ns >= begun_ns && read->audit[0].time_ns <= clock_realtime_ns());
    assert_memory_equal(&read->audit[0].actor, &actor, sizeof(actor));
    assert_int_equal(
        strncmp(read->audit[0].changes, "[{\"device\":\"tun0\",\"action\":\"created\",\"patch\":{\"name\"", 52), 0);
    assert_string_equal(read->audit[1].changes,
                        "[{\"device\":\"tun0\",\"action\":\"changed\",\"patch\":{\"mtu\":1400}}]");
    audit_done(read);
    assert_int_equal(audit_read(bench, 0, 1, read), 1);
    audit_done(read);
    assert_int_equal(audit_read(bench, 1, 10, read), 1);
    assert_int_equal(read->audit[0].sequence, 2);
    audit_done(read);

    /* whoever may see some devices only may not see what became of the others */
    memset(read, 0, sizeof(*read));
    read->kind = CHANGE_AUDIT_READ;
    read->audit_most = 10;
    assert_int_equal(selector_parse("site=berlin", &read->selector, NULL), 0);
    assert_int_equal(submit_keep(bench, read), OUTCOME_FAILED);
    assert_int_equal(read->errors.items[0].code, ERR_FORBIDDEN);
    assert_null(read->audit);
    free(read);
}

/* ---- the journal by itself, without a thread --------------------------------------------------------------------- */

struct desk {
    char directory[64], path[96];
    struct engine *engine;
};

static void desk_open(struct desk *desk)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    struct err err = {0};

    desk->engine = engine;
    pthread_mutex_init(&engine->lock, NULL);
    engine->wake_fd = -1;
    engine->store_writable = true;
    if (store_open(desk->path, &engine->store, &err) < 0 || journal_load(engine, &err) < 0 ||
        tokens_load(engine, &err) < 0)
        fail_msg("%s", err.message);
    engine->snapshot = snapshot_new(engine);
    engine->sequence = 1;
    assert_non_null(engine->snapshot);
    if (journal_begin(engine, &err) < 0)
        fail_msg("%s", err.message);
}

static void desk_close(struct desk *desk)
{
    struct engine *engine = desk->engine;

    snapshot_release(engine->snapshot);
    journal_done(&engine->journal);
    tokens_release(engine->tokens);
    event_ring_done(&engine->events);
    store_close(engine->store);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

static int desk_make(void **state)
{
    struct desk *desk = calloc(1, sizeof(*desk));

    strcpy(desk->directory, "/tmp/test_journal.XXXXXX");
    assert_non_null(mkdtemp(desk->directory));
    snprintf(desk->path, sizeof(desk->path), "%s/tunwright.db", desk->directory);
    desk_open(desk);
    *state = desk;
    return 0;
}

static int desk_remove(void **state)
{
    struct desk *desk = *state;
    char journal[128];

    desk_close(desk);
    snprintf(journal, sizeof(journal), "%s-journal", desk->path);
    unlink(journal);
    unlink(desk->path);
    assert_int_equal(rmdir(desk->directory), 0);
    free(desk);
    return 0;
}

static void desk_stage(struct desk *desk, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        journal_stage(desk->engine, EVENT_FILE_FAILED, "", "%u", i);
}

static int64_t desk_rows(struct desk *desk)
{
    int64_t rows = -1;

    assert_int_equal(database_read_int(desk->engine->store->db, "SELECT count(*) FROM event", &rows, NULL, ""), 0);
    return rows;
}

struct follower {
    struct engine *engine;
    _Atomic uint64_t after;
    uint64_t until;
    const char *complaint;
};

static void *follower_main(void *argument)
{
    struct follower *follower = argument;
    struct event *events = calloc(100, sizeof(*events));
    uint64_t after = 0, oldest, newest;

    while (after < follower->until && !follower->complaint) {
        size_t count = engine_events(follower->engine, after, events, 100, &oldest, &newest);

        for (size_t i = 0; i < count; i++)
            if (events[i].sequence != ++after)
                follower->complaint = "a gap, or a repeat";
        if (newest < after || oldest > after + 1)
            follower->complaint = "the ends are wrong";
        follower->after = after;
    }
    free(events);
    return NULL;
}

/* Of a hundred thousand events a reader that keeps up misses none and sees none twice; no more are kept than shall be,
 * and a restart finds the same. */
static void test_hundred_thousand(void **state)
{
    enum { BATCH = 1000, ALL = 100000 };
    struct desk *desk = *state;
    struct follower follower = {.engine = desk->engine, .until = ALL};
    struct event *before = calloc(ENGINE_EVENTS_KEPT, sizeof(*before)),
                 *after = calloc(ENGINE_EVENTS_KEPT, sizeof(*after));
    uint64_t oldest, newest;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, follower_main, &follower), 0);
    for (unsigned done = 0; done < ALL; done += BATCH) {
        desk_stage(desk, BATCH);
        engine_publish_if_dirty(desk->engine);
        assert_true(desk_rows(desk) <= ENGINE_EVENTS_KEPT + 256 + BATCH);
        while (follower.after + ENGINE_EVENTS_KEPT / 2 < done && !follower.complaint)
            poll(NULL, 0, 1);
    }
    pthread_join(thread, NULL);
    assert_null(follower.complaint);
    assert_int_equal(follower.after, ALL);

    assert_int_equal(engine_events(desk->engine, 0, before, ENGINE_EVENTS_KEPT, &oldest, &newest), ENGINE_EVENTS_KEPT);
    assert_int_equal(newest, ALL);
    assert_int_equal(oldest, ALL - ENGINE_EVENTS_KEPT + 1);
    assert_int_equal(before[0].sequence, oldest);
    desk_close(desk);
    desk_open(desk);
    assert_int_equal(engine_events(desk->engine, 0, after, ENGINE_EVENTS_KEPT, &oldest, &newest), ENGINE_EVENTS_KEPT);
    assert_int_equal(newest, ALL);
    assert_int_equal(oldest, ALL - ENGINE_EVENTS_KEPT + 1);
    assert_memory_equal(before, after, ENGINE_EVENTS_KEPT * sizeof(*before));
    desk_stage(desk, 1);
    engine_publish_if_dirty(desk->engine);
    assert_int_equal(engine_events(desk->engine, ALL, after, 10, &oldest, &newest), 1);
    assert_int_equal(after[0].sequence, ALL + 1);
    free(before);
    free(after);
}

/* What is too old goes, from disk and from memory; the newest holds the number. */
static void test_age(void **state)
{
    struct desk *desk = *state;
    int64_t now_ns = clock_realtime_ns(), old_ns = now_ns - (ENGINE_EVENTS_DAYS + 1) * 86400 * NSEC_PER_SEC;
    struct event events[16];
    uint64_t oldest, newest;

    assert_int_equal(store_begin(desk->engine->store, NULL), 0);
    for (unsigned i = 1; i <= 10; i++) {
        struct event event = {.sequence = i, .time_ns = i <= 6 ? old_ns : now_ns, .type = EVENT_DEVICE_STATE};

        assert_int_equal(store_event_put(desk->engine->store, &event, NULL), 0);
    }
    assert_int_equal(store_commit(desk->engine->store, NULL), 0);
    desk_close(desk);
    desk_open(desk);
    assert_int_equal(engine_events(desk->engine, 0, events, 16, &oldest, &newest), 10);
    engine_publish_if_dirty(desk->engine); /* due at the start, and every hour */
    assert_int_equal(engine_events(desk->engine, 0, events, 16, &oldest, &newest), 4);
    assert_int_equal(oldest, 7);
    assert_int_equal(events[0].sequence, 7);
    assert_int_equal(desk_rows(desk), 4);

    assert_int_equal(database_run(desk->engine->store->db, "UPDATE event SET time_ns = 1", NULL, ""), 0);
    desk_close(desk);
    desk_open(desk);
    engine_publish_if_dirty(desk->engine);
    assert_int_equal(engine_events(desk->engine, 0, events, 16, &oldest, &newest), 1);
    assert_int_equal(oldest, 10);
    assert_int_equal(newest, 10);
    assert_int_equal(desk_rows(desk), 1);
}

/* A hole that only a newer program could fill. */
static void test_unknown(void **state)
{
    struct desk *desk = *state;
    struct event events[16];
    uint64_t oldest, newest;

    desk_stage(desk, 3);
    engine_publish_if_dirty(desk->engine);
    assert_int_equal(
        database_run(desk->engine->store->db, "UPDATE event SET type = 'painted' WHERE sequence >= 2", NULL, ""), 0);
    desk_close(desk);
    desk_open(desk);
    assert_int_equal(engine_events(desk->engine, 0, events, 16, &oldest, &newest), 1);
    assert_int_equal(newest, 3);
    desk_stage(desk, 1);
    engine_publish_if_dirty(desk->engine);
    assert_int_equal(engine_events(desk->engine, 0, events, 16, &oldest, &newest), 2);
    assert_int_equal(events[1].sequence, 4);
}

/* What happened outside of a change stays to be told when a change is rolled back; what the change staged does not. */
static void test_rolled_back(void **state)
{
    struct desk *desk = *state;
    struct engine *engine = desk->engine;
    struct event events[16];
    uint64_t newest;

    assert_int_equal(database_run(engine->store->db, "PRAGMA query_only = ON", NULL, ""), 0);
    journal_stage(engine, EVENT_FILE_FAILED, "", "outside");
    engine_publish_if_dirty(engine);
    assert_false(engine->store_writable);
    assert_int_equal(engine_events(engine, 0, events, 16, NULL, &newest), 0);
    assert_int_equal(newest, 0);
    assert_int_equal(database_run(engine->store->db, "PRAGMA query_only = OFF", NULL, ""), 0);

    assert_int_equal(store_begin(engine->store, NULL), 0);
    journal_stage(engine, EVENT_CONFIG_REVERTED, "", "inside");
    struct snapshot *snapshot = snapshot_new(engine);
    assert_int_equal(journal_write(engine, snapshot, NULL), 0);
    snapshot_release(snapshot);
    store_rollback(engine->store);
    journal_rolled_back(engine);
    assert_int_equal(engine_events(engine, 0, events, 16, NULL, &newest), 0);

    engine_publish_if_dirty(engine);
    assert_int_equal(engine_events(engine, 0, events, 16, NULL, &newest), 1);
    assert_int_equal(events[0].sequence, 1);
    assert_string_equal(events[0].detail, "outside");
    assert_int_equal(desk_rows(desk), 1);
    engine_publish_if_dirty(engine);
    assert_int_equal(desk_rows(desk), 1);
}

/* Whatever is quoted in an event, and wherever it is cut: readers get UTF-8. */
static void test_details(void **state)
{
    static const char *const details[][2] = {
        {"plain", "plain"},
        {"a\nb\tc\x7f", "a?b?c?"},
        {"ends in \xc3", "ends in "},
        {"\xe2\x82\xac\xe2\x82", "\xe2\x82\xac"},
        {"\xff is none \xc3\xa4", "? is none ??"},
        {"\xc3", "?"},
        {"", ""},
    };
    struct desk *desk = *state;
    struct event events[16];
    char text[601];
    uint64_t newest;

    for (size_t i = 0; i < ARRAY_SIZE(details); i++)
        journal_stage(desk->engine, EVENT_FILE_FAILED, "", "%s", details[i][0]);
    for (size_t i = 0; i < sizeof(text) - 1; i += 2)
        memcpy(text + i, "\xc3\xa4", 3);
    journal_stage(desk->engine, EVENT_FILE_FAILED, "", "x%s", text);
    journal_stage(desk->engine, EVENT_FILE_FAILED, "", "%s", text);
    engine_publish_if_dirty(desk->engine);
    assert_int_equal(engine_events(desk->engine, 0, events, 16, NULL, &newest), ARRAY_SIZE(details) + 2);
    for (size_t i = 0; i < ARRAY_SIZE(details); i++)
        assert_string_equal(events[i].detail, details[i][1]);
    for (size_t i = ARRAY_SIZE(details); i < newest; i++) {
        size_t length = strlen(events[i].detail);
        assert_true(length >= ERR_MESSAGE_MAX - 2 && utf8_is_valid(events[i].detail, length));
        assert_null(strchr(events[i].detail, '?'));
    }
}

/* A store that refuses for long does not make the memory grow. */
static void test_staged_is_bounded(void **state)
{
    struct desk *desk = *state;

    desk_stage(desk, 100000);
    assert_true(desk->engine->journal.staged.count <= 1024);
    engine_publish_if_dirty(desk->engine);
    assert_int_equal(desk->engine->journal.staged.count, 0);
}

#define TEST_ON_BENCH(test) cmocka_unit_test_setup_teardown(test, bench_make, bench_remove)
#define TEST_ON_DESK(test)  cmocka_unit_test_setup_teardown(test, desk_make, desk_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BENCH(test_restart),          TEST_ON_BENCH(test_restart_with_difference),
        TEST_ON_BENCH(test_store_refuses),    TEST_ON_BENCH(test_audit),
        TEST_ON_DESK(test_hundred_thousand),  TEST_ON_DESK(test_age),
        TEST_ON_DESK(test_unknown),           TEST_ON_DESK(test_rolled_back),
        TEST_ON_DESK(test_staged_is_bounded), TEST_ON_DESK(test_details),
    };

    log_open("test_journal", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Changes that wait for their confirmation: kept, undone by hand, by time, after a restart, and against resistance. */
#include "engine_bench.h"

static const char *const before[] = {
    "{'name':'tun0','kind':'tun','mtu':1400,'addresses':['192.168.3.11/24'],"
    "'routes':[{'to':'10.9.0.0/16','via':'192.168.3.1'},{'to':'10.11.0.0/16','type':'blackhole'}]}",
    "{'name':'tun1','kind':'tun','worker':{'type':'echo'}}",
    "{'name':'tun2','kind':'tun'}",
};
/* One goes, one changes, one stays, one comes; a route moves. */
static const char *const after[] = {
    "{'name':'tun1','kind':'tap','routes':[{'to':'10.11.0.0/16','type':'blackhole'}]}",
    "{'name':'tun2','kind':'tun'}",
    "{'name':'tun3','kind':'tun','addresses':['192.168.3.11/24'],'routes':[{'to':'10.12.0.0/16','type':'prohibit'}]}",
};

static struct change *whole(enum change_kind kind)
{
    struct change *change = calloc(1, sizeof(*change));

    change->kind = kind;
    return change;
}

static struct change *risky(uint32_t confirm_s)
{
    struct change *change = config_change(CHANGE_CONFIG_PUT, after, ARRAY_SIZE(after));

    change->confirm_s = confirm_s;
    strcpy(change->actor.name, "token:ci");
    strcpy(change->actor.address, "192.0.2.1:40112");
    strcpy(change->actor.operation, "PUT /v1/config");
    return change;
}

static enum change_outcome outcome_of(struct bench *bench, struct change *change, enum err_code *ret_code)
{
    struct err err;
    enum change_outcome outcome = run(bench, change, &err);

    *ret_code = err.code;
    return outcome;
}

/* ---- what it was like before ------------------------------------------------------------------------------------- */

struct origin {
    char *kernel;
    const struct snapshot *snapshot;
};

static void origin_done(struct origin *origin)
{
    free(origin->kernel);
    if (origin->snapshot)
        snapshot_release(origin->snapshot);
}

static struct origin origin_make(struct bench *bench)
{
    struct change *change = config_change(CHANGE_CONFIG_PUT, before, ARRAY_SIZE(before));

    assert_int_equal(run(bench, change, NULL), OUTCOME_CHANGED);
    return (struct origin){bench_kernel_text(bench), engine_snapshot(bench->engine)};
}

/* The documents, uuids and times of before, with younger generations. */
static void assert_restored(struct bench *bench, const struct origin *origin)
{
    const struct snapshot *now = engine_snapshot(bench->engine);

    assert_false(now->is_pending);
    assert_int_equal(now->device_count, origin->snapshot->device_count);
    for (size_t i = 0; i < now->device_count; i++) {
        const struct stored_device *is = &now->devices[i].stored, *was = &origin->snapshot->devices[i].stored;

        assert_true(device_equal(is->device, was->device));
        assert_true(uuid_equal(&is->uuid, &was->uuid));
        assert_int_equal(is->created_ns, was->created_ns);
        if (strcmp(is->device->name, "tun2") == 0)
            assert_int_equal(is->generation, was->generation); /* it was never touched */
        else
            assert_true(is->generation > was->generation);
    }
    snapshot_release(now);
    wait_for_kernel(bench, origin->kernel);
}

static bool is_not_pending(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)device;
    return !snapshot->is_pending;
}

static bool has_event(struct bench *bench, enum event_type type)
{
    static struct event events[256];
    uint64_t newest;
    size_t count = engine_events(bench->engine, 0, events, ARRAY_SIZE(events), NULL, &newest);

    for (size_t i = 0; i < count; i++)
        if (events[i].type == type)
            return true;
    return false;
}

/* One value of the store. Owned. */
static char *store_value(struct bench *bench, const char *sql)
{
    sqlite3_stmt *rows;
    sqlite3 *db;
    char *value;

    assert_int_equal(sqlite3_open(bench->path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &rows, NULL), SQLITE_OK);
    value = sqlite3_step(rows) == SQLITE_ROW ? strdup((const char *)sqlite3_column_text(rows, 0)) : strdup("nothing");
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return value;
}

static void assert_store(struct bench *bench, const char *sql, const char *value)
{
    CLEANUP(text_done) char *is = store_value(bench, sql);

    assert_string_equal(is, value);
}

#define LAST_AUDIT "SELECT actor || ' ' || operation FROM audit ORDER BY sequence DESC LIMIT 1"

/* ---- by hand ----------------------------------------------------------------------------------------------------- */

static void test_confirmed(void **state)
{
    struct bench *bench = *state;
    CLEANUP(origin_done) struct origin origin = origin_make(bench);
    const struct snapshot *snapshot;
    struct change *change;
    enum err_code code;
    int64_t left_ns;

    assert_int_equal(outcome_of(bench, whole(CHANGE_CONFIRM), &code), OUTCOME_FAILED);
    assert_int_equal(code, ERR_NOTHING_PENDING);
    assert_int_equal(outcome_of(bench, whole(CHANGE_REVERT), &code), OUTCOME_FAILED);
    assert_int_equal(code, ERR_NOTHING_PENDING);
    change = config_change(CHANGE_CONFIG_PUT, before, ARRAY_SIZE(before));
    change->confirm_s = 60;
    assert_int_equal(run(bench, change, NULL), OUTCOME_UNCHANGED); /* nothing to confirm */
    wait_for(bench, "", is_not_pending);

    assert_int_equal(run(bench, risky(60), NULL), OUTCOME_CHANGED);
    snapshot = engine_snapshot(bench->engine);
    assert_true(snapshot->is_pending);
    left_ns = snapshot->pending_deadline_ns - clock_realtime_ns();
    assert_true(left_ns > 50 * NSEC_PER_SEC && left_ns <= 60 * NSEC_PER_SEC);
    assert_string_equal(snapshot->pending_actor.name, "token:ci");
    assert_string_equal(snapshot->pending_actor.operation, "PUT /v1/config");
    assert_string_equal(snapshot->pending_actor.address, "");
    snapshot_release(snapshot);
    assert_true(has_event(bench, EVENT_CONFIRMATION_PENDING));

    assert_int_equal(outcome_of(bench, change_of(CHANGE_DEVICE_DELETE, "tun2"), &code), OUTCOME_FAILED);
    assert_int_equal(code, ERR_CONFIRMATION_PENDING);
    assert_int_equal(outcome_of(bench, risky(5), &code), OUTCOME_FAILED);
    assert_int_equal(code, ERR_CONFIRMATION_PENDING);
    change = change_of(CHANGE_DEVICE_DELETE, "tun2");
    change->dry_run = true;
    assert_int_equal(run(bench, change, NULL), OUTCOME_DELETED);
    change = whole(CHANGE_REVERT);
    change->dry_run = true;
    assert_int_equal(submit_keep(bench, change), OUTCOME_CHANGED);
    assert_true(change->plan.count > 0);
    change_empty(change);
    free(change);

    CLEANUP(text_done) char *revision = store_value(bench, "SELECT revision FROM installation");
    change = whole(CHANGE_CONFIRM);
    strcpy(change->actor.name, "uid:0");
    strcpy(change->actor.operation, "POST /v1/config/confirm");
    assert_int_equal(run(bench, change, NULL), OUTCOME_CHANGED);
    wait_for(bench, "", is_not_pending);
    assert_true(has_event(bench, EVENT_CONFIG_CONFIRMED));
    assert_store(bench, LAST_AUDIT, "uid:0 POST /v1/config/confirm");
    assert_store(bench, "SELECT revision FROM installation", revision); /* the configuration is what it was */
    assert_store(bench, "SELECT count(*) FROM pending_device", "0");
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun2"), NULL), OUTCOME_DELETED);
}

static void test_reverted(void **state)
{
    struct bench *bench = *state;
    CLEANUP(origin_done) struct origin origin = origin_make(bench);

    assert_int_equal(run(bench, risky(60), NULL), OUTCOME_CHANGED);
    assert_int_equal(run(bench, whole(CHANGE_REVERT), NULL), OUTCOME_CHANGED);
    assert_restored(bench, &origin);
    assert_true(has_event(bench, EVENT_CONFIG_REVERTED));
    assert_store(bench, "SELECT count(*) FROM pending", "0");
}

/* Each step of the way back refused in turn: then the change still waits, and nothing is different. */
static void test_revert_refused(void **state)
{
    struct bench *bench = *state;
    CLEANUP(origin_done) struct origin origin = origin_make(bench);
    size_t left = 0;

    for (size_t n = 1; left == 0; n++) {
        CLEANUP(text_done) char *kernel = NULL;
        const struct snapshot *snapshot;
        enum change_outcome came;
        struct kernel_fake *fake;
        enum err_code code;

        assert_int_equal(run(bench, risky(60), NULL), OUTCOME_CHANGED);
        kernel = bench_kernel_text(bench);
        fake = bench_lock(bench);
        fake->fail_at = n;
        fake->fail_errno = ENOBUFS;
        bench_unlock(bench);
        came = outcome_of(bench, whole(CHANGE_REVERT), &code);
        fake = bench_lock(bench);
        left = fake->fail_at;
        fake->fail_at = 0;
        bench_unlock(bench);
        if (left == 0) {
            assert_int_equal(came, OUTCOME_FAILED);
            assert_int_equal(code, ERR_KERNEL_REFUSED);
            assert_true(kernel_is(bench, kernel));
            snapshot = engine_snapshot(bench->engine);
            assert_true(snapshot->is_pending);
            snapshot_release(snapshot);
            assert_int_equal(run(bench, whole(CHANGE_REVERT), NULL), OUTCOME_CHANGED);
        }
        assert_restored(bench, &origin);
    }
}

/* ---- by time ----------------------------------------------------------------------------------------------------- */

static void test_time_is_over(void **state)
{
    struct bench *bench = *state;
    CLEANUP(origin_done) struct origin origin = origin_make(bench);

    assert_int_equal(run(bench, risky(1), NULL), OUTCOME_CHANGED);
    wait_for(bench, "", is_not_pending);
    assert_restored(bench, &origin);
    assert_true(has_event(bench, EVENT_CONFIG_REVERTED));
    assert_store(bench, LAST_AUDIT, "system revert what was not confirmed in time");
}

static void test_time_is_over_without_netd(void **state)
{
    struct bench *bench = *state;
    CLEANUP(origin_done) struct origin origin = origin_make(bench);
    enum err_code code;

    assert_int_equal(run(bench, risky(1), NULL), OUTCOME_CHANGED);
    bench_lock(bench)->disconnected = true;
    bench_unlock(bench);
    poll(NULL, 0, 1300); /* past the deadline: who confirms now comes too late, whatever is still in the kernel */
    assert_int_equal(outcome_of(bench, whole(CHANGE_CONFIRM), &code), OUTCOME_FAILED);
    assert_int_equal(code, ERR_CONFIRMATION_PENDING);
    bench_lock(bench)->disconnected = false;
    bench_unlock(bench);
    wait_for(bench, "", is_not_pending);
    assert_restored(bench, &origin);
}

static void test_time_is_over_and_kernel_refuses(void **state)
{
    struct bench *bench = *state;
    CLEANUP(origin_done) struct origin origin = origin_make(bench);

    for (size_t n = 1; n < 6; n++) {
        struct kernel_fake *fake;

        assert_int_equal(run(bench, risky(1), NULL), OUTCOME_CHANGED);
        fake = bench_lock(bench);
        fake->fail_at = n;
        fake->fail_errno = ENOBUFS;
        bench_unlock(bench);
        wait_for(bench, "", is_not_pending);
        wait_for_kernel(bench, origin.kernel); /* the resync does it */
        assert_restored(bench, &origin);
        wait_for(bench, "tun0", is_ready);
        wait_until_quiet(bench);
        assert_store(bench, "SELECT count(*) FROM attempt", "0");
    }
}

static void test_time_is_over_and_store_refuses(void **state)
{
    struct bench *bench = *state;
    CLEANUP(origin_done) struct origin origin = origin_make(bench);

    assert_int_equal(run(bench, risky(1), NULL), OUTCOME_CHANGED);
    bench_store_run(bench, "CREATE TRIGGER trap BEFORE DELETE ON pending BEGIN SELECT RAISE(ABORT, 'no'); END");
    poll(NULL, 0, 1500);
    assert_store(bench, "SELECT count(*) FROM pending", "1");
    bench_store_run(bench, "DROP TRIGGER trap");
    wait_for(bench, "", is_not_pending);
    assert_restored(bench, &origin);
}

/* ---- over a restart ---------------------------------------------------------------------------------------------- */

static void test_restart_in_time(void **state)
{
    struct bench *bench = *state;
    CLEANUP(origin_done) struct origin origin = origin_make(bench);
    const struct snapshot *snapshot;
    enum err_code code;

    assert_int_equal(run(bench, risky(60), NULL), OUTCOME_CHANGED);
    bench_end(bench);
    bench_begin(bench);
    bench_wait_settled(bench);
    snapshot = engine_snapshot(bench->engine);
    assert_true(snapshot->is_pending);
    assert_string_equal(snapshot->pending_actor.name, "token:ci");
    snapshot_release(snapshot);
    assert_int_equal(outcome_of(bench, change_of(CHANGE_DEVICE_DELETE, "tun2"), &code), OUTCOME_FAILED);
    assert_int_equal(code, ERR_CONFIRMATION_PENDING);
    assert_int_equal(run(bench, whole(CHANGE_REVERT), NULL), OUTCOME_CHANGED);
    assert_restored(bench, &origin);

    /* a clock that was set back may not give it more time than was asked for */
    assert_int_equal(run(bench, risky(1), NULL), OUTCOME_CHANGED);
    bench_end(bench);
    bench_store_run(bench, "UPDATE pending SET deadline_ns = deadline_ns + 3600000000000");
    bench_begin(bench);
    wait_for(bench, "", is_not_pending);
    assert_restored(bench, &origin);
}

static void test_restart_too_late(void **state)
{
    struct bench *bench = *state;
    CLEANUP(origin_done) struct origin origin = origin_make(bench);
    const struct snapshot *snapshot;

    for (int reboot = 0; reboot < 2; reboot++) {
        assert_int_equal(run(bench, risky(60), NULL), OUTCOME_CHANGED);
        bench_end(bench);
        bench_store_run(bench, "UPDATE pending SET deadline_ns = deadline_ns - 61000000000");
        if (reboot) {
            observed_done(&bench_lock(bench)->state);
            bench_unlock(bench);
        }
        bench_begin(bench);
        snapshot = engine_snapshot(bench->engine); /* from the first moment on */
        assert_false(snapshot->is_pending);
        assert_int_equal(snapshot->device_count, ARRAY_SIZE(before));
        snapshot_release(snapshot);
        assert_restored(bench, &origin);
        assert_true(has_event(bench, EVENT_CONFIG_REVERTED));
        assert_store(bench, LAST_AUDIT, "system revert what was not confirmed in time");
        wait_for(bench, "tun0", is_ready);
        wait_until_quiet(bench);
        assert_store(bench, "SELECT count(*) FROM attempt", "0");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BENCH(test_confirmed),
        TEST_ON_BENCH(test_reverted),
        TEST_ON_BENCH(test_revert_refused),
        TEST_ON_BENCH(test_time_is_over),
        TEST_ON_BENCH(test_time_is_over_without_netd),
        TEST_ON_BENCH(test_time_is_over_and_kernel_refuses),
        TEST_ON_BENCH(test_time_is_over_and_store_refuses),
        TEST_ON_BENCH(test_restart_in_time),
        TEST_ON_BENCH(test_restart_too_late),
    };

    log_open("test_pending", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk is full, broken or read-only at each point of a change of several devices, for once or from then on: the
 * change is refused, everything is as it was, and goes on as soon as the disk does, with the events of meanwhile.
 */
#include "engine_bench.h"

#include "power_cut_vfs.h"

static const char *const before[] = {
    "{'name':'tun0','kind':'tun','mtu':1400,'addresses':['192.168.3.11/24'],"
    "'routes':[{'to':'10.9.0.0/16','via':'192.168.3.1'},{'to':'10.11.0.0/16','type':'blackhole'}]}",
    "{'name':'tun1','kind':'tun','worker':{'type':'echo'}}",
    "{'name':'tun2','kind':'tun'}",
};
static const char *const after[] = {
    "{'name':'tun1','kind':'tap','routes':[{'to':'10.11.0.0/16','type':'blackhole'}]}",
    "{'name':'tun2','kind':'tun'}",
    "{'name':'tun3','kind':'tun','addresses':['192.168.3.11/24'],'routes':[{'to':'10.12.0.0/16','type':'prohibit'}]}",
};

static struct change *to(const char *const *documents, size_t count)
{
    struct change *change = config_change(CHANGE_CONFIG_PUT, documents, count);

    strcpy(change->actor.name, "uid:0");
    strcpy(change->actor.operation, "PUT /v1/config");
    return change;
}

/* What is of the configuration on the disk; events and attempts come and go with the engine's own doings. */
static char *rows_text(struct bench *bench)
{
    struct buf out = {0};
    sqlite3_stmt *rows = NULL;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(bench->path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT name || uuid || generation || document FROM device UNION ALL SELECT 'audit ' || "
                           "count(*) || ' ' || coalesce(max(sequence), 0) FROM audit UNION ALL SELECT 'revision ' || "
                           "revision FROM installation UNION ALL SELECT 'pending ' || count(*) FROM pending",
                           -1, &rows, NULL),
        SQLITE_OK);
    while (sqlite3_step(rows) == SQLITE_ROW)
        buf_printf(&out, "%s\n", (const char *)sqlite3_column_text(rows, 0));
    assert_int_equal(sqlite3_finalize(rows), SQLITE_OK);
    sqlite3_close(db);
    buf_add_text(&out, "");
    return buf_take(&out);
}

static bool store_is_writable(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)device;
    return snapshot->store_writable;
}

/* Sequences without a gap or a repeat, the same in memory and on the disk. */
static void check_events(struct bench *bench)
{
    struct event *copied = calloc(ENGINE_EVENTS_KEPT, sizeof(*copied));
    uint64_t oldest, newest;
    size_t count = 0, shown;
    sqlite3_stmt *rows = NULL;
    sqlite3 *db;

    shown = engine_events(bench->engine, 0, copied, ENGINE_EVENTS_KEPT, &oldest, &newest);
    assert_int_equal(sqlite3_open(bench->path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT sequence, device, detail FROM event ORDER BY sequence", -1, &rows, NULL),
        SQLITE_OK);
    while (sqlite3_step(rows) == SQLITE_ROW) {
        assert_true(count < shown);
        assert_int_equal(sqlite3_column_int64(rows, 0), count + 1);
        assert_int_equal(copied[count].sequence, count + 1);
        assert_string_equal((const char *)sqlite3_column_text(rows, 1), copied[count].device);
        assert_string_equal((const char *)sqlite3_column_text(rows, 2), copied[count].detail);
        count++;
    }
    assert_int_equal(count, shown);
    sqlite3_finalize(rows);
    sqlite3_close(db);
    free(copied);
}

static uint64_t newest_event(struct bench *bench)
{
    struct event event;
    uint64_t oldest, newest;

    (void)engine_events(bench->engine, UINT64_MAX, &event, 1, &oldest, &newest);
    return newest;
}

/* tun2 is changed behind our back. */
static void something_happens(struct bench *bench)
{
    struct kernel_fake *fake = bench_lock(bench);

    for (size_t i = 0; i < fake->state.link_count; i++)
        if (strcmp(fake->state.links[i].name, "tun2") == 0)
            fake->state.links[i].mtu = 1111;
    bench_event(bench);
    bench_unlock(bench);
}

static void fail_everywhere(struct bench *bench, int error, bool once)
{
    size_t refused = 0;

    for (size_t n = 1;; n++) {
        CLEANUP(text_done) char *kernel_then = NULL;
        CLEANUP(text_done) char *kernel_now = NULL;
        CLEANUP(text_done) char *then = NULL;
        CLEANUP(text_done) char *now = NULL;
        enum change_outcome outcome;
        uint64_t newest;
        struct err err;
        bool reached;

        assert_int_not_equal(run(bench, to(before, ARRAY_SIZE(before)), NULL), OUTCOME_FAILED);
        wait_for(bench, "tun0", is_ready);
        wait_for(bench, "tun1", is_ready);
        kernel_then = bench_kernel_text(bench);
        then = rows_text(bench);

        disk_fail_at(n, once, error);
        outcome = run(bench, to(after, ARRAY_SIZE(after)), &err);
        reached = disk.fault.at != n && (once ? disk.fault.at == 0 : disk.fault_seen >= n);
        if (outcome != OUTCOME_FAILED) {
            disk_fail_at(0, false, 0);
            if (!reached) {
                print_message("%s%s: %zu points, refused at %zu\n", strerror(error), once ? ", once" : "", n - 1,
                              refused);
                return;
            }
            continue; /* one that it can do without: what the next commit mends */
        }
        refused++;
        if (err.code != ERR_STORE_UNAVAILABLE && (err.code != ERR_STORE_FULL || error != ENOSPC))
            fail_msg("%s at %zu: %s %s", strerror(error), n, err_code_name(err.code), err.message);
        kernel_now = bench_kernel_text(bench);
        assert_string_equal(kernel_now, kernel_then);
        newest = newest_event(bench);
        if (!once && (n == 3 || n == 40)) { /* more often, and it would be a fight */
            something_happens(bench);
            wait_for_kernel(bench, kernel_then); /* it is looked after all the same */
            assert_int_equal(newest_event(bench), newest);
        }
        disk_fail_at(0, false, 0);
        if (n % 16 == 1)
            wait_for(bench, "tun0", store_is_writable); /* by itself */
        now = rows_text(bench);
        if (strcmp(then, now) != 0)
            fail_msg("%s%s at %zu:\n%s\nwas\n%s", strerror(error), once ? " once" : "", n, now, then);
        assert_int_equal(run(bench, to(after, ARRAY_SIZE(after)), NULL), OUTCOME_CHANGED);
        if (n % 8 == 1) {
            wait_until_quiet(bench);
            check_events(bench);
        }
        if (!once)
            assert_true(newest_event(bench) > newest);
    }
}

static void test_full(void **state)
{
    fail_everywhere(*state, ENOSPC, false);
}

static void test_full_once(void **state)
{
    fail_everywhere(*state, ENOSPC, true);
}

static void test_broken(void **state)
{
    fail_everywhere(*state, EIO, false);
}

static void test_broken_once(void **state)
{
    fail_everywhere(*state, EIO, true);
}

static void test_read_only(void **state)
{
    fail_everywhere(*state, EROFS, false);
}

static int bench_make_here(void **state)
{
    image_done(&disk.now);
    return bench_make(state);
}

static int bench_remove_here(void **state)
{
    disk_fail_at(0, false, 0);
    return bench_remove(state);
}

#define TEST_HERE(test) cmocka_unit_test_setup_teardown(test, bench_make_here, bench_remove_here)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_HERE(test_full),        TEST_HERE(test_full_once), TEST_HERE(test_broken),
        TEST_HERE(test_broken_once), TEST_HERE(test_read_only),
    };

    disk_register();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

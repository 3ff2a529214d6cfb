/* SPDX-License-Identifier: Apache-2.0 */
/* One change at a time: what it answers, and that nothing is left of one that fails at any step. */
#include "engine_bench.h"

/* ---- what a change does ------------------------------------------------------------------------------------------ */

static void test_outcomes(void **state)
{
    struct bench *bench = *state;
    struct err err;
    size_t applied;

    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun0"), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(run(bench, address_change(CHANGE_ADDRESS_PUT, "tun0", "10.0.0.1/24"), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND);

    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_CREATE, full), NULL), OUTCOME_CREATED);
    applied = bench_applied(bench);
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_CREATE, full), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_ALREADY_EXISTS);
    assert_int_equal(put(bench, full), OUTCOME_UNCHANGED);

    assert_int_equal(run(bench, address_change(CHANGE_ADDRESS_PUT, "tun0", "192.168.3.11/24"), NULL),
                     OUTCOME_UNCHANGED);
    assert_int_equal(bench_applied(bench), applied); /* asked for what is there: nothing was touched */
    assert_int_equal(run(bench, address_change(CHANGE_ADDRESS_PUT, "tun0", "192.168.3.12/24"), NULL), OUTCOME_CREATED);
    assert_int_equal(run(bench, address_change(CHANGE_ADDRESS_DELETE, "tun0", "192.168.3.12/24"), NULL),
                     OUTCOME_DELETED);
    assert_int_equal(run(bench, address_change(CHANGE_ADDRESS_DELETE, "tun0", "192.168.3.12/24"), &err),
                     OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(bench_applied(bench), applied + 2);

    assert_int_equal(run(bench, route_change(CHANGE_ROUTE_PUT, "tun0", "10.20.0.0/16", 5, NULL), NULL),
                     OUTCOME_CREATED);
    assert_int_equal(run(bench, route_change(CHANGE_ROUTE_PUT, "tun0", "10.20.0.0/16", 5, NULL), NULL),
                     OUTCOME_UNCHANGED);
    assert_int_equal(run(bench, route_change(CHANGE_ROUTE_PUT, "tun0", "10.20.0.0/16", 5, "192.168.3.9"), NULL),
                     OUTCOME_CHANGED);
    assert_int_equal(run(bench, route_change(CHANGE_ROUTE_DELETE, "tun0", "10.20.0.0/16", 5, NULL), NULL),
                     OUTCOME_DELETED);
    assert_int_equal(run(bench, route_change(CHANGE_ROUTE_DELETE, "tun0", "10.20.0.0/16", 5, NULL), &err),
                     OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND);

    assert_int_equal(run(bench, worker_change("tun0", WORKER_MONITOR), NULL), OUTCOME_CHANGED);
    assert_int_equal(run(bench, worker_change("tun0", WORKER_MONITOR), NULL), OUTCOME_UNCHANGED);
    assert_int_equal(run(bench, change_of(CHANGE_WORKER_DELETE, "tun0"), NULL), OUTCOME_DELETED);
    assert_int_equal(run(bench, change_of(CHANGE_WORKER_DELETE, "tun0"), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(run(bench, worker_change("tun0", WORKER_ECHO), NULL), OUTCOME_CREATED);
    assert_int_equal(put(bench, full), OUTCOME_CHANGED);
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun0"), NULL), OUTCOME_DELETED);
    CLEANUP(text_done) char *left = bench_kernel_text(bench);
    assert_string_equal(left, "");
}

static void test_generation_and_snapshot(void **state)
{
    struct bench *bench = *state;
    const struct snapshot *first, *second;
    const struct snapshot_device *device;
    uint8_t installation[6];

    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    first = engine_snapshot(bench->engine);
    device = snapshot_device_find(first, "tun0");
    assert_int_equal(device->stored.generation, 1);
    assert_int_equal(device->observed_generation, 1);
    assert_int_equal(device->state, STATE_READY);
    assert_true(device->present && device->carrier && device->has_worker);
    assert_int_equal(device->mtu, 1400);
    assert_int_equal(device->worker_state, WORKER_RUNNING);
    assert_non_null(device->counters);
    assert_null(device->worker_status);
    store_installation(bench->store, installation);
    assert_memory_equal(device->stored.uuid.bytes, installation, 6);
    assert_int_equal(device->stored.uuid.bytes[6] >> 4, 8);
    assert_int_equal(device->stored.uuid.bytes[8] >> 6, 2);

    assert_int_equal(put(bench, full), OUTCOME_UNCHANGED);
    assert_int_equal(run(bench, address_change(CHANGE_ADDRESS_PUT, "tun0", "10.1.0.1/24"), NULL), OUTCOME_CREATED);
    second = engine_snapshot(bench->engine);
    assert_int_equal(snapshot_device_find(second, "tun0")->stored.generation, 2);
    assert_true(uuid_equal(&snapshot_device_find(second, "tun0")->stored.uuid, &device->stored.uuid));
    assert_true(snapshot_device_find(second, "tun0")->counters == device->counters);
    assert_true(snapshot_device_find(second, "tun0")->stored.created_ns == device->stored.created_ns);
    assert_true(second->sequence > first->sequence);
    assert_int_equal(device->stored.device->address_count, 2); /* the first did not change */
    assert_null(snapshot_device_find(second, "tun1"));

    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun0"), NULL), OUTCOME_DELETED);
    assert_string_equal(device->stored.device->name, "tun0"); /* as long as it is held */
    snapshot_release(first);
    snapshot_release(second);
}

static void test_names_with_numbers(void **state)
{
    struct bench *bench = *state;
    struct change *change;
    static const char *const expected[] = {"tun1", "tun2", "tun4"};

    struct kernel_fake *fake = bench_lock(bench);
    fake->state.links = calloc(1, sizeof(*fake->state.links));
    fake->state.link_count = fake->state.link_capacity = 1;
    strcpy(fake->state.links[0].name, "tun0"); /* somebody else's */
    fake->state.links[0].kind = OBSERVED_TUN;
    bench_unlock(bench);

    assert_int_equal(put(bench, "{'name':'tun3','kind':'tun','netns':'blue'}"), OUTCOME_CREATED);
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        change = change_of(CHANGE_DEVICE_CREATE, "{'name':'tun%d','kind':'tun'}");
        assert_int_equal(submit(bench, change), OUTCOME_CREATED);
        assert_string_equal(change->name, expected[i]);
        free(change);
    }
    change = change_of(CHANGE_DEVICE_CREATE, "{'name':'tun%d','kind':'tun','netns':'blue'}");
    assert_int_equal(submit(bench, change), OUTCOME_CREATED);
    assert_string_equal(change->name, "tun0"); /* free there, and free in the configuration */
    free(change);
}

static void test_refusals_between_devices(void **state)
{
    struct bench *bench = *state;
    struct err err;

    assert_int_equal(put(bench, "{'name':'tun1','kind':'tun','routes':[{'to':'10.0.0.0/8','type':'blackhole'}]}"),
                     OUTCOME_CREATED);
    assert_int_equal(run(bench,
                         change_of(CHANGE_DEVICE_PUT, "{'name':'tun2','kind':'tun','routes':[{'to':'9.0.0.0/8'},"
                                                      "{'to':'10.0.0.0/8','type':'prohibit'}]}"),
                         &err),
                     OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_DUPLICATE);
    assert_string_equal(err.pointer, "/routes/1");
    assert_int_equal(run(bench,
                         change_of(CHANGE_DEVICE_PUT, "{'name':'tun2','kind':'tun','netns':'blue',"
                                                      "'routes':[{'to':'12.0.0.0/8','type':'prohibit'}]}"),
                         &err),
                     OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_INCOMPATIBLE);

    /* a change of a part is held to the rules of the whole */
    assert_int_equal(put(bench, "{'name':'tun3','kind':'tun','mtu':1000}"), OUTCOME_CREATED);
    assert_int_equal(run(bench, address_change(CHANGE_ADDRESS_PUT, "tun3", "fd00::1/64"), &err), OUTCOME_FAILED);
    assert_true(err.pointer[0] == '/');
}

static void test_foreign_device(void **state)
{
    struct bench *bench = *state;
    struct kernel_fake *fake = bench_lock(bench);
    size_t applied = fake->applied;
    struct err err;

    fake->state.links = calloc(1, sizeof(*fake->state.links));
    fake->state.link_count = fake->state.link_capacity = 1;
    strcpy(fake->state.links[0].name, "tun0");
    fake->state.links[0].kind = OBSERVED_TUN;
    bench_unlock(bench);
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_PUT, full), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_FOREIGN_DEVICE);
    assert_int_equal(bench_applied(bench), applied);
    CLEANUP(text_done) char *rows = bench_store_text(bench);
    assert_string_equal(rows, "");
}

/* ---- when something fails: for every step, nothing changed, and then it goes ------------------------------------- */

static void fail_everywhere(struct bench *bench, const char *before, const char *after, enum change_outcome outcome)
{
    for (size_t n = 1;; n++) {
        CLEANUP(text_done) char *kernel_then = NULL;
        CLEANUP(text_done) char *kernel_now = NULL;
        CLEANUP(text_done) char *store_then = NULL;
        CLEANUP(text_done) char *store_now = NULL;
        enum change_kind kind = after ? CHANGE_DEVICE_PUT : CHANGE_DEVICE_DELETE;
        struct kernel_fake *fake;
        enum change_outcome came;
        struct err err;
        size_t left;

        if (before)
            assert_int_equal(put(bench, before), OUTCOME_CREATED);
        kernel_then = bench_kernel_text(bench);
        store_then = bench_store_text(bench);
        fake = bench_lock(bench);
        fake->fail_at = n;
        fake->fail_errno = ENOBUFS;
        bench_unlock(bench);
        came = run(bench, change_of(kind, after ? after : "tun0"), &err);
        fake = bench_lock(bench);
        left = fake->fail_at;
        fake->fail_at = 0;
        bench_unlock(bench);
        if (left == 0) {
            assert_int_equal(came, OUTCOME_FAILED);
            assert_int_equal(err.sys_errno, ENOBUFS);
            kernel_now = bench_kernel_text(bench);
            store_now = bench_store_text(bench);
            assert_string_equal(kernel_then, kernel_now);
            assert_string_equal(store_then, store_now);
            came = run(bench, change_of(kind, after ? after : "tun0"), NULL);
        }
        assert_int_equal(came, outcome);
        if (after)
            assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun0"), NULL), OUTCOME_DELETED);
        if (left > 0) {
            assert_true(n > 1);
            return; /* there were not so many steps */
        }
    }
}

static void test_failing_create(void **state)
{
    fail_everywhere(*state, NULL, full, OUTCOME_CREATED);
}

static void test_failing_replace(void **state)
{
    fail_everywhere(*state, full, other, OUTCOME_CHANGED);
    fail_everywhere(*state, other, full, OUTCOME_CHANGED);
}

static void test_failing_delete(void **state)
{
    fail_everywhere(*state, full, NULL, OUTCOME_DELETED);
}

static void test_failing_queues(void **state)
{
    fail_everywhere(*state, "{'name':'tun0','kind':'tun','queues':2,'worker':{'type':'monitor'}}",
                    "{'name':'tun0','kind':'tun','queues':3,'worker':{'type':'monitor'}}", OUTCOME_CHANGED);
}

/* A full disk: the kernel is as it was, readers are told, and when there is room again it goes on by itself. */
static void test_failing_store(void **state)
{
    struct bench *bench = *state;
    const struct snapshot *snapshot;
    struct err err;
    sqlite3 *tool;

    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    CLEANUP(text_done) char *then = bench_kernel_text(bench);

    /* a reader that holds the commit back */
    assert_int_equal(sqlite3_open(bench->path, &tool), SQLITE_OK);
    assert_int_equal(sqlite3_exec(tool, "BEGIN; SELECT * FROM device", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_PUT, other), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
    CLEANUP(text_done) char *now = bench_kernel_text(bench);
    assert_string_equal(then, now);
    snapshot = engine_snapshot(bench->engine);
    assert_false(snapshot->store_writable);
    assert_int_equal(snapshot->device_count, 1);
    assert_int_equal(snapshot->devices[0].stored.device->kind, DEVICE_TUN);
    snapshot_release(snapshot);

    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun0"), &err), OUTCOME_FAILED);
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_PUT, "{'name':'tun1','kind':'tun'}"), &err), OUTCOME_FAILED);
    CLEANUP(text_done) char *again = bench_kernel_text(bench);
    assert_string_equal(then, again);
    sqlite3_close(tool);
    assert_int_equal(put(bench, other), OUTCOME_CHANGED);
    snapshot = engine_snapshot(bench->engine);
    assert_true(snapshot->store_writable);
    snapshot_release(snapshot);
}

static void test_netd_away(void **state)
{
    struct bench *bench = *state;
    struct err err;

    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    CLEANUP(text_done) char *store_then = bench_store_text(bench);
    bench_lock(bench)->disconnected = true;
    bench_unlock(bench);
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_PUT, other), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NETD_UNAVAILABLE);
    wait_for(bench, "tun0", is_cut_off);
    CLEANUP(text_done) char *store_now = bench_store_text(bench);
    assert_string_equal(store_then, store_now);
    bench_lock(bench)->disconnected = false;
    bench_unlock(bench);
    assert_int_equal(put(bench, other), OUTCOME_CHANGED);
    wait_for(bench, "tun0", is_ready);
}

/* netd dies in the middle of a change: when it is back, the kernel becomes what it was before, by itself. */
static void vanish_everywhere(struct bench *bench, const char *before, const char *after, bool carried_out)
{
    for (size_t n = 1;; n++) {
        CLEANUP(text_done) char *then = NULL;
        enum change_kind kind = after ? CHANGE_DEVICE_PUT : CHANGE_DEVICE_DELETE;
        enum change_outcome came;
        struct err err;
        size_t left;

        if (before)
            assert_int_equal(put(bench, before), OUTCOME_CREATED);
        then = bench_kernel_text(bench);
        bench_lock(bench);
        bench->kernel->vanish_at = n;
        bench->kernel->vanish_after = carried_out;
        bench_unlock(bench);
        came = run(bench, change_of(kind, after ? after : "tun0"), &err);
        bench_lock(bench)->disconnected = false;
        left = bench->kernel->vanish_at;
        bench->kernel->vanish_at = 0;
        bench_unlock(bench);
        if (left == 0) {
            assert_int_equal(came, OUTCOME_FAILED);
            assert_int_equal(err.code, ERR_NETD_UNAVAILABLE);
            if (n % 2) /* every other time, somebody asks for something else before the engine got round to it */
                wait_for_kernel(bench, then);
            assert_int_equal(run(bench, change_of(CHANGE_DEVICE_CREATE, "{'name':'tun1','kind':'tun'}"), NULL),
                             OUTCOME_CREATED);
            assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun1"), NULL), OUTCOME_DELETED);
            came = run(bench, change_of(kind, after ? after : "tun0"), NULL);
        }
        assert_int_not_equal(came, OUTCOME_FAILED);
        if (after)
            assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun0"), NULL), OUTCOME_DELETED);
        wait_for_kernel(bench, "");
        if (left > 0)
            return;
    }
}

static void test_netd_dies(void **state)
{
    for (int carried_out = 0; carried_out < 2; carried_out++) {
        vanish_everywhere(*state, NULL, full, carried_out);
        vanish_everywhere(*state, full, other, carried_out);
        vanish_everywhere(*state, full, NULL, carried_out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BENCH(test_outcomes),           TEST_ON_BENCH(test_generation_and_snapshot),
        TEST_ON_BENCH(test_names_with_numbers), TEST_ON_BENCH(test_refusals_between_devices),
        TEST_ON_BENCH(test_foreign_device),     TEST_ON_BENCH(test_failing_create),
        TEST_ON_BENCH(test_failing_replace),    TEST_ON_BENCH(test_failing_delete),
        TEST_ON_BENCH(test_failing_queues),     TEST_ON_BENCH(test_failing_store),
        TEST_ON_BENCH(test_netd_away),          TEST_ON_BENCH(test_netd_dies),
    };

    log_open("test_engine", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

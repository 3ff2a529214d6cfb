/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that are taken over and let go: whatever fails, they are there afterwards, as they were, and whose they were. */
#include "engine_bench.h"

/* Somebody's device, as ip(8) would leave it. */
static void make_foreign(struct bench *bench)
{
    struct kernel_fake *fake = bench_lock(bench);
    struct observed_link *link;

    observed_done(&fake->state);
    fake->state.links = calloc(4, sizeof(*fake->state.links));
    fake->state.link_count = 1;
    fake->state.link_capacity = 4;
    link = &fake->state.links[0];
    strcpy(link->name, "vpn0");
    link->ifindex = 70;
    link->kind = OBSERVED_TUN;
    link->persistent = true;
    link->up = true;
    link->mtu = 1420;
    link->txqueuelen = 500;
    link->owner = link->group = OWNER_NONE;
    link->addresses = calloc(1, sizeof(*link->addresses));
    link->address_count = 1;
    assert_int_equal(ip_prefix_parse("10.8.0.1/24", &link->addresses[0].prefix), 0);
    bench_event(bench);
    bench_unlock(bench);
}

static struct change *adopt(const char *patch)
{
    struct change *change = change_of(CHANGE_DEVICE_ADOPT, "vpn0");

    if (patch) {
        change->text = strdup(patch);
        change->text_length = strlen(patch);
    }
    return change;
}

static const char patch[] =
    "{\"mtu\":1380,\"addresses\":[\"10.8.0.1/24\",\"10.9.0.1/24\"],\"worker\":{\"type\":\"echo\"},"
    "\"routes\":[{\"to\":\"10.11.0.0/16\",\"type\":\"blackhole\"}]}";

static void assert_no_devices(struct bench *bench)
{
    CLEANUP(text_done) char *rows = bench_store_text(bench);

    assert_string_equal(rows, "");
}

static void test_there_and_back(void **state)
{
    struct bench *bench = *state;
    CLEANUP(text_done) char *foreign = NULL;
    const struct snapshot *snapshot;
    const struct snapshot_device *device;
    struct change *change;
    struct err err;

    assert_int_equal(run(bench, adopt(NULL), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    make_foreign(bench);
    foreign = bench_kernel_text(bench);
    change = adopt(NULL);
    change->dry_run = true;
    assert_int_equal(submit_keep(bench, change), OUTCOME_CREATED);
    assert_int_equal(change->plan.count, 1);
    assert_non_null(strstr(change->differences, "adopted"));
    change_empty(change);
    free(change);
    assert_true(kernel_is(bench, foreign));

    assert_int_equal(run(bench, adopt(NULL), NULL), OUTCOME_CREATED);
    snapshot = engine_snapshot(bench->engine);
    device = snapshot_device_find(snapshot, "vpn0");
    assert_int_equal(device->state, STATE_READY);
    assert_int_equal(device->stored.device->mtu, 1420);
    assert_int_equal(device->stored.device->address_count, 1);
    assert_int_equal(device->ifindex, 70);
    snapshot_release(snapshot);
    assert_int_equal(run(bench, adopt(NULL), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_ALREADY_EXISTS);

    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_RELEASE, "vpn0"), NULL), OUTCOME_DELETED);
    wait_for_kernel(bench, foreign);
    wait_until_quiet(bench);
    assert_true(kernel_is(bench, foreign)); /* no resync wants it away */
    assert_no_devices(bench);
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_RELEASE, "vpn0"), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND);

    /* what it was found with is as good as ours: it goes where the patch takes it out */
    assert_int_equal(run(bench, adopt("{\"addresses\":[]}"), NULL), OUTCOME_CREATED);
    assert_int_equal(observed_link_find(&bench_lock(bench)->state, "", "vpn0")->address_count, 0);
    bench_unlock(bench);
}

/* ---- each step refused, netd dying over each step, and the store refusing at the end ----------------------------- */

enum resistance { REFUSED, NETD_DIES_BEFORE, NETD_DIES_AFTER, RESISTANCE_N };

static void resist(struct bench *bench, enum resistance how, size_t n)
{
    struct kernel_fake *fake = bench_lock(bench);

    if (how == REFUSED) {
        fake->fail_at = n;
        fake->fail_errno = ENOBUFS;
    } else {
        bench->kernel->vanish_at = n;
        bench->kernel->vanish_after = how == NETD_DIES_AFTER;
    }
    bench_unlock(bench);
}

/* Whether it did not come to that. */
static bool resist_no_more(struct bench *bench)
{
    struct kernel_fake *fake = bench_lock(bench);
    bool left = fake->fail_at > 0 || bench->kernel->vanish_at > 0;

    fake->fail_at = bench->kernel->vanish_at = 0;
    fake->disconnected = false;
    bench_unlock(bench);
    return left;
}

static void test_adoption_fails(void **state)
{
    struct bench *bench = *state;

    for (int how = 0; how < RESISTANCE_N; how++) {
        bool left = false;

        for (size_t n = 1; !left; n++) {
            CLEANUP(text_done) char *foreign = NULL;
            enum change_outcome came;
            struct err err;

            make_foreign(bench);
            wait_until_quiet(bench);
            foreign = bench_kernel_text(bench);
            resist(bench, how, n);
            came = run(bench, adopt(patch), &err);
            left = resist_no_more(bench);
            if (!left) {
                assert_int_equal(came, OUTCOME_FAILED);
                wait_for_kernel(bench, foreign);
                assert_no_devices(bench);
                if (how != REFUSED)
                    wait_for(bench, "", is_connected);
                came = run(bench, adopt(patch), NULL);
            }
            assert_int_equal(came, OUTCOME_CREATED);
            assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "vpn0"), NULL), OUTCOME_DELETED);
        }
    }
}

static void test_release_fails(void **state)
{
    struct bench *bench = *state;

    for (int how = 0; how < RESISTANCE_N; how++) {
        bool left = false;

        for (size_t n = 1; !left; n++) {
            CLEANUP(text_done) char *ours = NULL;
            enum change_outcome came;
            struct err err;

            make_foreign(bench);
            assert_int_equal(run(bench, adopt(patch), NULL), OUTCOME_CREATED);
            ours = bench_kernel_text(bench);
            resist(bench, how, n);
            came = run(bench, change_of(CHANGE_DEVICE_RELEASE, "vpn0"), &err);
            left = resist_no_more(bench);
            if (!left) {
                assert_int_equal(came, OUTCOME_FAILED);
                wait_for_kernel(bench, ours);
                wait_for(bench, "vpn0", is_ready);
                came = run(bench, change_of(CHANGE_DEVICE_RELEASE, "vpn0"), NULL);
            }
            assert_int_equal(came, OUTCOME_DELETED);
            assert_no_devices(bench);
        }
    }
}

static void test_store_fails(void **state)
{
    struct bench *bench = *state;
    CLEANUP(text_done) char *foreign = NULL;
    CLEANUP(text_done) char *ours = NULL;

    make_foreign(bench);
    foreign = bench_kernel_text(bench);
    bench_store_run(bench, "CREATE TRIGGER trap BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no'); END");
    assert_int_equal(run(bench, adopt(patch), &(struct err){0}), OUTCOME_FAILED); /* when all is done but the commit */
    assert_true(kernel_is(bench, foreign));
    bench_store_run(bench, "DROP TRIGGER trap");
    assert_int_equal(run(bench, adopt(patch), NULL), OUTCOME_CREATED);
    ours = bench_kernel_text(bench);
    bench_store_run(bench, "CREATE TRIGGER trap BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no'); END");
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_RELEASE, "vpn0"), &(struct err){0}), OUTCOME_FAILED);
    assert_true(kernel_is(bench, ours));
    bench_store_run(bench, "DROP TRIGGER trap");
}

/* ---- a crash between the mark and the commit --------------------------------------------------------------------- */

static struct observed_link *link_of(struct kernel_fake *fake)
{
    return (struct observed_link *)(uintptr_t)observed_link_find(&fake->state, "", "vpn0");
}

/* The kernel is where the adoption led it, the store where it began: the announced row is all there is. */
static void test_crash_of_adoption(void **state)
{
    struct bench *bench = *state;
    CLEANUP(text_done) char *foreign = NULL;

    make_foreign(bench);
    foreign = bench_kernel_text(bench);
    bench_store_run(bench, "CREATE TABLE saved (uuid, name, document, adopts);"
                           "CREATE TRIGGER save AFTER INSERT ON attempt BEGIN"
                           " INSERT INTO saved VALUES (NEW.uuid, NEW.name, NEW.document, NEW.adopts); END");
    assert_int_equal(run(bench, adopt(patch), NULL), OUTCOME_CREATED);
    bench_end(bench);
    bench_store_run(bench,
                    "DROP TRIGGER save; DELETE FROM device;"
                    "INSERT INTO attempt (uuid, name, document, adopts) SELECT uuid, name, document, adopts FROM saved;"
                    "DROP TABLE saved");
    bench_begin(bench);
    wait_for_kernel(bench, foreign);
    wait_until_quiet(bench);
    assert_true(kernel_is(bench, foreign));
    assert_no_devices(bench);
}

static void test_crash_of_release(void **state)
{
    struct bench *bench = *state;
    CLEANUP(text_done) char *ours = NULL;

    for (int rebooted = 0; rebooted < 2; rebooted++) {
        struct kernel_fake *fake;

        make_foreign(bench);
        assert_int_equal(run(bench, adopt(patch), NULL), OUTCOME_CREATED);
        text_done(&ours);
        ours = bench_kernel_text(bench);
        bench_end(bench);
        bench_store_run(
            bench, "INSERT INTO attempt (uuid, name, document, adopts) SELECT uuid, name, document, 1 FROM device");
        fake = bench_lock(bench);
        if (rebooted) {
            observed_done(&fake->state);
        } else {
            link_of(fake)->ours = link_of(fake)->has_alias = false;
            memset(&link_of(fake)->uuid, 0, sizeof(struct uuid));
        }
        bench_unlock(bench);
        bench_begin(bench);
        wait_for(bench, "vpn0", is_ready);
        if (!rebooted)
            wait_for_kernel(bench, ours);
        assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "vpn0"), NULL), OUTCOME_DELETED);
        wait_for_kernel(bench, "");
    }
}

/* ---- undone when nobody confirms --------------------------------------------------------------------------------- */

static bool is_not_pending(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)device;
    return !snapshot->is_pending;
}

static void revert(struct bench *bench, int how)
{
    struct change *change = calloc(1, sizeof(*change));

    change->kind = CHANGE_REVERT;
    if (how == 0) {
        assert_int_equal(run(bench, change, NULL), OUTCOME_CHANGED);
        return;
    }
    free(change);
    bench_end(bench);
    bench_store_run(bench, "UPDATE pending SET deadline_ns = 0");
    bench_begin(bench);
    wait_for(bench, "", is_not_pending);
}

static void test_not_confirmed(void **state)
{
    struct bench *bench = *state;

    for (int how = 0; how < 2; how++) { /* by hand; after a restart */
        CLEANUP(text_done) char *foreign = NULL;
        CLEANUP(text_done) char *ours = NULL;
        struct change *change;

        make_foreign(bench);
        wait_until_quiet(bench);
        foreign = bench_kernel_text(bench);
        change = adopt(patch);
        change->confirm_s = 60;
        assert_int_equal(run(bench, change, NULL), OUTCOME_CREATED);
        revert(bench, how);
        wait_for_kernel(bench, foreign);
        wait_until_quiet(bench);
        assert_true(kernel_is(bench, foreign));
        assert_no_devices(bench);

        assert_int_equal(run(bench, adopt(patch), NULL), OUTCOME_CREATED);
        ours = bench_kernel_text(bench);
        change = change_of(CHANGE_DEVICE_RELEASE, "vpn0");
        change->confirm_s = 60;
        assert_int_equal(run(bench, change, NULL), OUTCOME_DELETED);
        revert(bench, how);
        wait_for_kernel(bench, ours);
        wait_for(bench, "vpn0", is_ready);
        assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "vpn0"), NULL), OUTCOME_DELETED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BENCH(test_there_and_back), TEST_ON_BENCH(test_adoption_fails),    TEST_ON_BENCH(test_release_fails),
        TEST_ON_BENCH(test_store_fails),    TEST_ON_BENCH(test_crash_of_adoption), TEST_ON_BENCH(test_crash_of_release),
        TEST_ON_BENCH(test_not_confirmed),
    };

    log_open("test_handover", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

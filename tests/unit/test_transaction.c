/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of several devices at once: all of it or nothing, whichever step fails, and whatever moves between them. */
#include "transaction_scenes.h"

/* ---- each step refused in turn ----------------------------------------------------------------------------------- */

static void test_each_step_refused(void **state)
{
    struct bench *bench = *state;

    for (size_t s = 0; s < ARRAY_SIZE(scenes); s++) {
        size_t left = 0;

        for (size_t n = 1; left == 0; n++) {
            CLEANUP(world_done) struct world then = {0};
            enum change_outcome came;
            struct kernel_fake *fake;
            struct err err;

            scene_begin(bench, &scenes[s]);
            then = world_of(bench);
            fake = bench_lock(bench);
            fake->fail_at = n;
            fake->fail_errno = ENOBUFS;
            bench_unlock(bench);
            came = run(bench, scene_change(scenes[s].after), &err);
            fake = bench_lock(bench);
            left = fake->fail_at;
            fake->fail_at = 0;
            bench_unlock(bench);
            if (left == 0) {
                assert_int_equal(came, OUTCOME_FAILED);
                assert_int_equal(err.sys_errno, ENOBUFS);
                assert_same_world(bench, &then);
                scene_set(bench, scenes[s].after);
            } else {
                assert_true(n > 1);
                assert_int_equal(came, OUTCOME_CHANGED);
            }
            assert_complete(bench, scenes[s].after);
        }
    }
}

/* netd dies over each step in turn, having done it or not. When it is back, all is as it was. */
static void test_netd_dies_over_each_step(void **state)
{
    struct bench *bench = *state;

    for (size_t s = 0; s < ARRAY_SIZE(scenes) * 2; s++) {
        const struct scene *scene = &scenes[s / 2];
        size_t left = 0;

        for (size_t n = 1; left == 0; n++) {
            CLEANUP(world_done) struct world then = {0};
            CLEANUP(text_done) char *store_now = NULL;
            enum change_outcome came;
            struct err err;

            scene_begin(bench, scene);
            then = world_of(bench);
            bench_lock(bench);
            bench->kernel->vanish_at = n;
            bench->kernel->vanish_after = s % 2;
            bench_unlock(bench);
            came = run(bench, scene_change(scene->after), &err);
            bench_lock(bench)->disconnected = false;
            left = bench->kernel->vanish_at;
            bench->kernel->vanish_at = 0;
            bench_unlock(bench);
            if (left == 0) {
                assert_int_equal(came, OUTCOME_FAILED);
                assert_int_equal(err.code, ERR_NETD_UNAVAILABLE);
                if (n % 2) { /* every other time, somebody is quicker than the engine */
                    wait_for_kernel(bench, then.kernel);
                    wait_for(bench, "", is_connected);
                    CLEANUP(text_done) char *now = snapshot_text(bench);
                    assert_string_equal(then.snapshot, now);
                }
                scene_set(bench, scene->after);
            }
            assert_complete(bench, scene->after);
        }
    }
}

/* ---- the store refuses ------------------------------------------------------------------------------------------- */

static void test_store_refuses(void **state)
{
    static const char *const traps[] = {
        "BEFORE INSERT ON device WHEN NEW.name = 'tun2'",
        "BEFORE DELETE ON device WHEN OLD.name = 'tun0'",
        "BEFORE UPDATE OF revision ON installation",
        "BEFORE INSERT ON audit",
        "BEFORE INSERT ON pending",
        "BEFORE INSERT ON event",
        "BEFORE INSERT ON attempt",
    };
    struct bench *bench = *state;
    sqlite3 *tool;

    scene_begin(bench, &scenes[0]);
    CLEANUP(world_done) struct world then = world_of(bench);
    for (size_t i = 0; i < ARRAY_SIZE(traps); i++) {
        CLEANUP(text_done) char *sql = NULL;
        struct change *change = scene_change(scenes[0].after);

        assert_true(asprintf(&sql, "CREATE TRIGGER trap %s BEGIN SELECT RAISE(ABORT, 'no'); END", traps[i]) > 0);
        bench_store_run(bench, sql);
        change->confirm_s = 60;
        assert_int_equal(run(bench, change, &(struct err){0}), OUTCOME_FAILED);
        bench_store_run(bench, "DROP TRIGGER trap");
        assert_same_world(bench, &then);
    }

    assert_int_equal(sqlite3_open(bench->path, &tool), SQLITE_OK); /* a reader that holds the commit back */
    sqlite3_busy_timeout(tool, 5000);                              /* the engine may be writing events */
    assert_int_equal(sqlite3_exec(tool, "BEGIN; SELECT * FROM device", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(run(bench, scene_change(scenes[0].after), &(struct err){0}), OUTCOME_FAILED);
    sqlite3_close(tool);
    assert_same_world(bench, &then);
    assert_int_equal(sqlite3_open(bench->path, &tool), SQLITE_OK); /* a writer that keeps it from beginning */
    sqlite3_busy_timeout(tool, 5000);
    assert_int_equal(sqlite3_exec(tool, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(run(bench, scene_change(scenes[0].after), &(struct err){0}), OUTCOME_FAILED);
    sqlite3_close(tool);
    assert_same_world(bench, &then);
    scene_set(bench, scenes[0].after);
    assert_complete(bench, scenes[0].after);
}

/* ---- rules and pointers ------------------------------------------------------------------------------------------ */

static void test_pointers(void **state)
{
    static const char *const twins[] = {
        "{'name':'tun0','kind':'tun'}",
        "{'name':'tun1','kind':'tun','routes':[{'to':'10.0.0.0/8','type':'blackhole'}]}",
        "{'name':'tun2','kind':'tun','routes':[{'to':'9.0.0.0/8'},"
        "{'to':'10.0.0.0/8','type':'prohibit'}]}"};
    static const char *const away[] = {"{'name':'tun0','kind':'tun'}",
                                       "{'name':'tun1','kind':'tun','netns':'blue',"
                                       "'routes':[{'to':'10.0.0.0/8','type':'blackhole'}]}"};
    struct bench *bench = *state;
    struct err err;

    assert_int_equal(run(bench, config_change(CHANGE_CONFIG_PUT, twins, 3), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_DUPLICATE);
    assert_string_equal(err.pointer, "/devices/2/routes/1");
    assert_int_equal(run(bench, config_change(CHANGE_CONFIG_PUT, away, 2), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_INCOMPATIBLE);
    assert_string_equal(err.pointer, "/devices/1/routes/0");

    struct kernel_fake *fake = bench_lock(bench);
    fake->state.links = calloc(1, sizeof(*fake->state.links));
    fake->state.link_count = fake->state.link_capacity = 1;
    strcpy(fake->state.links[0].name, "tun1"); /* somebody else's */
    fake->state.links[0].kind = OBSERVED_TUN;
    bench_unlock(bench);
    assert_int_equal(run(bench, config_change(CHANGE_CONFIG_PUT, twins, 2), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_FOREIGN_DEVICE);
    assert_string_equal(err.pointer, "/devices/1/name");
}

static void test_merge(void **state)
{
    static const char *const first[] = {"{'name':'tun0','kind':'tun'}", "{'name':'tun1','kind':'tun','mtu':1400}"};
    struct bench *bench = *state;
    struct change *change;
    const struct snapshot *snapshot;

    assert_int_equal(put(bench, "{'name':'tun5','kind':'tun'}"), OUTCOME_CREATED);
    assert_int_equal(run(bench, config_change(CHANGE_CONFIG_MERGE, first, 2), NULL), OUTCOME_CHANGED);
    change = config_change(CHANGE_CONFIG_MERGE, first, 1);
    change->config.absent = calloc(2, sizeof(*change->config.absent));
    change->config.absent_count = 2;
    strcpy(change->config.absent[0], "tun1");
    strcpy(change->config.absent[1], "tun9"); /* is not there: good */
    strcpy(change->file, "10-site.json");
    change->file_digest[0] = 1;
    assert_int_equal(run(bench, change, NULL), OUTCOME_CHANGED);
    snapshot = engine_snapshot(bench->engine);
    assert_int_equal(snapshot->device_count, 2);
    assert_non_null(snapshot_device_find(snapshot, "tun0"));
    assert_non_null(snapshot_device_find(snapshot, "tun5"));
    snapshot_release(snapshot);

    /* once for each content: what was changed since then stays */
    assert_int_equal(put(bench, "{'name':'tun0','kind':'tun','mtu':1300}"), OUTCOME_CHANGED);
    CLEANUP(world_done) struct world then = world_of(bench);
    change = config_change(CHANGE_CONFIG_MERGE, first, 1);
    strcpy(change->file, "10-site.json");
    change->file_digest[0] = 1;
    assert_int_equal(run(bench, change, NULL), OUTCOME_UNCHANGED);
    assert_same_world(bench, &then);
    change = config_change(CHANGE_CONFIG_MERGE, first, 1);
    strcpy(change->file, "10-site.json");
    change->file_digest[0] = 2;
    assert_int_equal(run(bench, change, NULL), OUTCOME_CHANGED);
}

/* A file that could not be read comes with its faults, and is told of. */
static void test_unreadable_file(void **state)
{
    struct bench *bench = *state;
    struct change *change = config_change(CHANGE_CONFIG_MERGE, NULL, 0);
    struct event events[4];
    uint64_t newest;
    struct err err;

    strcpy(change->file, "10-site.json");
    err_list_add(&change->errors, ERR_INVALID_JSON, "", "not JSON");
    assert_int_equal(run(bench, change, &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_INVALID_JSON);
    assert_int_equal(engine_events(bench->engine, 0, events, ARRAY_SIZE(events), NULL, &newest), 1);
    assert_int_equal(events[0].type, EVENT_FILE_FAILED);
    assert_non_null(strstr(events[0].detail, "10-site.json"));
    assert_non_null(strstr(events[0].detail, "not JSON"));
}

/* ---- workers that take each other's addresses -------------------------------------------------------------------- */

static void test_workers_swap(void **state)
{
    static const char *const old[] = {"{'name':'tun0','kind':'tun','worker':{'type':'udp','local':'10.0.0.1:5000',"
                                      "'remote':'10.0.0.2:5000'}}",
                                      "{'name':'tun1','kind':'tun','worker':{'type':'udp','local':'10.0.0.1:5001',"
                                      "'remote':'10.0.0.2:5001'}}",
                                      "{'name':'tun2','kind':'tun','worker':{'type':'udp','local':'10.0.0.1:5002',"
                                      "'remote':'10.0.0.2:5002'}}"};
    static const char *const new[] = {"{'name':'tun0','kind':'tun','worker':{'type':'udp','local':'10.0.0.1:5001',"
                                      "'remote':'10.0.0.2:5000'}}",
                                      "{'name':'tun1','kind':'tun','worker':{'type':'udp','local':'10.0.0.1:5000',"
                                      "'remote':'10.0.0.2:5001'}}",
                                      "{'name':'tun2','kind':'tun','worker':{'type':'udp','local':'10.0.0.1:5009',"
                                      "'remote':'10.0.0.2:5002'}}"};
    static const enum step_kind steps[] = {STEP_WORKER_STOP, STEP_WORKER_STOP, STEP_WORKER_START, STEP_WORKER_START,
                                           STEP_WORKER_CONFIGURE};
    struct bench *bench = *state;
    struct kernel_fake *fake;
    size_t done;

    assert_int_equal(run(bench, config_change(CHANGE_CONFIG_PUT, old, 3), NULL), OUTCOME_CHANGED);
    done = bench_lock(bench)->log_count;
    bench_unlock(bench);
    assert_int_equal(run(bench, config_change(CHANGE_CONFIG_PUT, new, 3), NULL), OUTCOME_CHANGED);
    fake = bench_lock(bench);
    assert_int_equal(fake->log_count, done + ARRAY_SIZE(steps));
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
        assert_int_equal(fake->log[done + i].kind, steps[i]);
    assert_string_equal(fake->log[done + 4].device.name, "tun2"); /* whose address nobody wants lives on */
    bench_unlock(bench);
}

/* With several queues they are ranges of ports: an overlap is enough. */
static void test_workers_take_ports(void **state)
{
    static const char *const old[] = {
        "{'name':'tun0','kind':'tun','queues':4,'worker':{'type':'udp','local':'10.0.0.1:5000',"
        "'remote':'10.0.0.2:5000'}}",
        "{'name':'tun1','kind':'tun','queues':4,'worker':{'type':'udp','local':'10.0.0.1:5004',"
        "'remote':'10.0.0.2:5004'}}",
        "{'name':'tun2','kind':'tun','queues':4,'worker':{'type':'udp','local':'10.0.0.1:5008',"
        "'remote':'10.0.0.2:5008'}}"};
    static const char *const new[] = {
        "{'name':'tun0','kind':'tun','queues':4,'worker':{'type':'udp','local':'10.0.0.1:5003',"
        "'remote':'10.0.0.2:5000'}}",
        "{'name':'tun1','kind':'tun','queues':4,'worker':{'type':'udp','local':'10.0.0.1:5020',"
        "'remote':'10.0.0.2:5004'}}",
        "{'name':'tun2','kind':'tun','queues':4,'worker':{'type':'udp','local':'10.0.0.1:5012',"
        "'remote':'10.0.0.2:5008'}}"};
    static const enum step_kind steps[] = {STEP_WORKER_STOP, STEP_WORKER_START, STEP_WORKER_CONFIGURE,
                                           STEP_WORKER_CONFIGURE};
    struct bench *bench = *state;
    struct kernel_fake *fake;
    size_t done;

    assert_int_equal(run(bench, config_change(CHANGE_CONFIG_PUT, old, 3), NULL), OUTCOME_CHANGED);
    done = bench_lock(bench)->log_count;
    bench_unlock(bench);
    assert_int_equal(run(bench, config_change(CHANGE_CONFIG_PUT, new, 3), NULL), OUTCOME_CHANGED);
    fake = bench_lock(bench);
    if (fake->log_count != done + ARRAY_SIZE(steps))
        fail_msg("%zu steps", fake->log_count - done);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
        assert_int_equal(fake->log[done + i].kind, steps[i]);
    assert_string_equal(fake->log[done].device.name, "tun1"); /* only its ports are wanted by another */
    bench_unlock(bench);
}

/* Every address, and one of them: of another device, of the same one, there and back. IPv6 is apart. */
static void test_workers_take_all_addresses(void **state)
{
    static const struct {
        const char *local[2][2];
        enum step_kind steps[4];
    } rows[] = {
        {{{"0.0.0.0:5000", "10.0.0.1:5001"}, {"10.0.0.1:5009", "10.0.0.1:5000"}},
         {STEP_WORKER_STOP, STEP_WORKER_START, STEP_WORKER_CONFIGURE}},
        {{{"10.0.0.1:5000", "10.0.0.1:5001"}, {"10.0.0.1:5009", "0.0.0.0:5000"}},
         {STEP_WORKER_STOP, STEP_WORKER_START, STEP_WORKER_CONFIGURE}},
        {{{"[::]:5000", "[fd00::1]:5001"}, {"[::]:5009", "[fd00::1]:5000"}},
         {STEP_WORKER_STOP, STEP_WORKER_START, STEP_WORKER_CONFIGURE}},
        {{{"[::]:5000", "10.0.0.1:5001"}, {"[::]:5009", "10.0.0.1:5000"}},
         {STEP_WORKER_CONFIGURE, STEP_WORKER_CONFIGURE}},
        {{{"0.0.0.0:5000", "10.0.0.1:5001"}, {"10.0.0.1:5000", "10.0.0.1:5001"}},
         {STEP_WORKER_STOP, STEP_WORKER_START}},
        {{{"10.0.0.1:5000", "10.0.0.1:5001"}, {"0.0.0.0:5000", "10.0.0.1:5001"}},
         {STEP_WORKER_STOP, STEP_WORKER_START}},
        {{{"0.0.0.0:5000", "10.0.0.1:5001"}, {"10.0.0.1:5007", "10.0.0.1:5001"}}, {STEP_WORKER_CONFIGURE}},
    };
    struct bench *bench = *state;

    for (size_t row = 0; row < ARRAY_SIZE(rows); row++) {
        size_t done = 0;

        for (int when = 0; when < 2; when++) {
            char texts[2][160];
            const char *const documents[] = {texts[0], texts[1]};

            for (int i = 0; i < 2; i++)
                snprintf(texts[i], sizeof(texts[i]),
                         "{'name':'tun%d','kind':'tun','worker':{'type':'udp','local':'%s','remote':'%s:5000'}}", i,
                         rows[row].local[when][i], rows[row].local[when][i][0] == '[' ? "[fd00::2]" : "10.0.0.2");
            done = bench_lock(bench)->log_count;
            bench_unlock(bench);
            if (run(bench, config_change(CHANGE_CONFIG_PUT, documents, 2), NULL) != OUTCOME_CHANGED)
                fail_msg("row %zu: it fails", row);
        }
        const struct kernel_fake *fake = bench_lock(bench);
        for (size_t i = 0; i < ARRAY_SIZE(rows[row].steps); i++) {
            enum step_kind kind = done + i < fake->log_count ? fake->log[done + i].kind : 0;
            if (kind != rows[row].steps[i])
                fail_msg("row %zu: step %zu is %s", row, i, kind ? step_kind_name(kind) : "none");
        }
        bench_unlock(bench);
        run(bench, config_change(CHANGE_CONFIG_PUT, NULL, 0), NULL);
    }
}

/* ---- dry runs ---------------------------------------------------------------------------------------------------- */

static void test_dry_run(void **state)
{
    struct bench *bench = *state;
    struct change *change;
    struct err err;

    for (size_t s = 0; s < ARRAY_SIZE(scenes); s++) {
        CLEANUP(world_done) struct world then = {0};
        size_t applied, published;

        scene_begin(bench, &scenes[s]);
        wait_until_quiet(bench);
        then = world_of(bench);
        applied = bench_applied(bench);
        published = bench->published;
        change = scene_change(scenes[s].after);
        change->dry_run = true;
        assert_int_equal(submit_keep(bench, change), OUTCOME_CHANGED);
        assert_true(change->plan.count > 0);
        assert_non_null(change->differences);
        assert_same_world(bench, &then);
        assert_int_equal(bench_applied(bench), applied);
        assert_int_equal(bench->published, published);
        change_empty(change);
        free(change);
    }
    scene_begin(bench, &scenes[4]);
    change = change_of(CHANGE_DEVICE_CREATE, "{'name':'tun%d','kind':'tun'}");
    change->dry_run = true;
    assert_int_equal(submit_keep(bench, change), OUTCOME_CREATED);
    assert_string_equal(change->name, "tun0");
    assert_non_null(strstr(change->differences, "\"tun0\""));
    assert_string_equal(change->plan.steps[0].device.name, "tun0");
    change_empty(change);
    free(change);

    change = change_of(CHANGE_DEVICE_DELETE, "tun0");
    change->dry_run = true;
    assert_int_equal(run(bench, change, &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    change = change_of(CHANGE_DEVICE_PUT, full);
    change->dry_run = true;
    assert_int_equal(submit_keep(bench, change), OUTCOME_UNCHANGED);
    assert_int_equal(change->plan.count, 0);
    assert_null(change->differences);
    change_empty(change);
    free(change);
}

/* ---- selectors --------------------------------------------------------------------------------------------------- */

static struct change *selected(struct change *change, const char *selector)
{
    assert_int_equal(selector_parse(selector, &change->selector, NULL), 0);
    return change;
}

static void test_selectors(void **state)
{
    static const char *const one[] = {"{'name':'tun0','kind':'tun','labels':{'site':'berlin'}}"};
    struct bench *bench = *state;
    struct err err;

    assert_int_equal(put(bench, one[0]), OUTCOME_CREATED);
    assert_int_equal(put(bench, "{'name':'tun1','kind':'tun','routes':[{'to':'10.0.0.0/8','type':'blackhole'}]}"),
                     OUTCOME_CREATED);

    assert_int_equal(run(bench, selected(change_of(CHANGE_DEVICE_DELETE, "tun1"), "site=berlin"), &err),
                     OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(
        run(bench, selected(change_of(CHANGE_DEVICE_PUT, "{'name':'tun1','kind':'tun'}"), "site=berlin"), &err),
        OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(
        run(bench, selected(change_of(CHANGE_DEVICE_PUT, "{'name':'tun0','kind':'tun'}"), "site=berlin"), &err),
        OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_FORBIDDEN);
    assert_string_equal(err.pointer, "/labels");
    assert_int_equal(
        run(bench, selected(change_of(CHANGE_DEVICE_CREATE, "{'name':'tun2','kind':'tun'}"), "site=berlin"), &err),
        OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_FORBIDDEN);
    assert_int_equal(run(bench,
                         selected(change_of(CHANGE_DEVICE_CREATE, "{'name':'tun2','kind':'tun',"
                                                                  "'labels':{'site':'berlin'},'routes':"
                                                                  "[{'to':'10.0.0.0/8','type':'blackhole'}]}"),
                                  "site=berlin"),
                         &err),
                     OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_DUPLICATE);
    assert_null(strstr(err.message, "tun1")); /* it is not spoken of */
    assert_int_equal(
        run(bench, selected(address_change(CHANGE_ADDRESS_PUT, "tun0", "10.0.0.1/24"), "site=berlin"), NULL),
        OUTCOME_CREATED);
    assert_int_equal(run(bench, selected(config_change(CHANGE_CONFIG_PUT, one, 1), "site=berlin"), &err),
                     OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_FORBIDDEN);
    assert_int_equal(run(bench, selected(change_of(CHANGE_DEVICE_ADOPT, "tun9"), "!site"), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_FORBIDDEN);
}

/* That a name is taken cannot be hidden from who asks for it. What has it can. */
static void test_taken_names(void **state)
{
    static const char document[] = "{'name':'tun1','kind':'tun','labels':{'site':'berlin'}}";
    struct bench *bench = *state;
    struct change *change;
    struct err err;

    assert_int_equal(put(bench, "{'name':'tun1','kind':'tun'}"), OUTCOME_CREATED);
    for (int i = 0; i < 3; i++) {
        change = selected(change_of(CHANGE_DEVICE_CREATE, document), "site=berlin");
        change->precondition.match.is_present = i == 1;
        change->precondition.none_match.is_present = change->precondition.none_match.any = i == 2;
        assert_int_equal(run(bench, change, &err), OUTCOME_FAILED);
        assert_int_equal(err.code, ERR_ALREADY_EXISTS);
    }
}

/* It could not confirm, and everybody else would have to wait. */
static void test_selector_and_confirmation(void **state)
{
    struct bench *bench = *state;
    struct change *change = change_of(CHANGE_DEVICE_PUT, "{'name':'tun0','kind':'tun','labels':{'site':'berlin'}}");
    struct err err;

    change->confirm_s = 60;
    assert_int_equal(run(bench, selected(change, "site=berlin"), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_FORBIDDEN);
    assert_int_equal(put(bench, "{'name':'tun0','kind':'tun'}"), OUTCOME_CREATED);
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

static void test_a_thousand(void **state)
{
    enum { COUNT = 1000 };
    struct bench *bench = *state;
    char *documents[COUNT];
    struct change *change;
    int64_t begun_ns;
    size_t published;

    for (int i = 0; i < COUNT; i++)
        assert_true(asprintf(&documents[i],
                             "{'name':'tun%04d','kind':'tun','addresses':['10.%d.%d.1/24'],"
                             "'routes':[{'to':'172.16.0.0/12','metric':%d}]}",
                             i, i / 250, i % 250, i + 1) > 0);
    change = config_change(CHANGE_CONFIG_PUT, (const char *const *)documents, COUNT);
    assert_int_equal(run(bench, change, NULL), OUTCOME_CHANGED);
    wait_until_quiet(bench);
    published = bench->published;
    change = config_change(CHANGE_CONFIG_PUT, (const char *const *)documents, COUNT);
    begun_ns = clock_monotonic_ns();
    assert_int_equal(run(bench, change, NULL), OUTCOME_UNCHANGED);
    assert_true(clock_monotonic_ns() - begun_ns < 500 * NSEC_PER_MSEC); /* with sanitizers; a few ms without */
    assert_int_equal(bench->published, published);
    for (int i = 0; i < COUNT; i++)
        free(documents[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BENCH(test_each_step_refused),
        TEST_ON_BENCH(test_netd_dies_over_each_step),
        TEST_ON_BENCH(test_store_refuses),
        TEST_ON_BENCH(test_pointers),
        TEST_ON_BENCH(test_merge),
        TEST_ON_BENCH(test_unreadable_file),
        TEST_ON_BENCH(test_workers_swap),
        TEST_ON_BENCH(test_workers_take_all_addresses),
        TEST_ON_BENCH(test_workers_take_ports),
        TEST_ON_BENCH(test_dry_run),
        TEST_ON_BENCH(test_selectors),
        TEST_ON_BENCH(test_taken_names),
        TEST_ON_BENCH(test_selector_and_confirmation),
        TEST_ON_BENCH(test_a_thousand),
    };

    log_open("test_transaction", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

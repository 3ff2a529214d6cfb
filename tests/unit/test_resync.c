/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine does by itself: starting, drift, workers, events, and with many threads at its door. */
#include "engine/state.h"
#include "engine_bench.h"

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static void test_adoption(void **state)
{
    struct bench *bench = *state;
    const struct snapshot *snapshot;
    size_t applied;

    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    assert_int_equal(put(bench, "{'name':'tap0','kind':'tap','netns':'blue','worker':{'type':'echo'}}"),
                     OUTCOME_CREATED);
    CLEANUP(text_done) char *then = bench_kernel_text(bench);
    bench_end(bench);
    applied = bench_applied(bench);
    bench_begin(bench);
    bench_wait_settled(bench);
    assert_int_equal(bench_applied(bench), applied);
    snapshot = engine_snapshot(bench->engine);
    assert_int_equal(snapshot->device_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(snapshot->devices[i].state, STATE_READY);
        assert_int_equal(snapshot->devices[i].stored.generation, 1);
        assert_int_equal(snapshot->devices[i].observed_generation, 1);
        assert_non_null(snapshot->devices[i].counters);
    }
    snapshot_release(snapshot);
    bench_end(bench);

    observed_done(&bench_lock(bench)->state); /* a reboot: the kernel is empty */
    bench_unlock(bench);
    bench_begin(bench);
    wait_for(bench, "tun0", is_ready);
    wait_for(bench, "tap0", is_ready);
    CLEANUP(text_done) char *now = bench_kernel_text(bench);
    assert_string_equal(then, now);
}

static void test_orphans(void **state)
{
    struct bench *bench = *state;
    struct kernel_fake *fake;
    struct observed_link *links;

    assert_int_equal(put(bench, "{'name':'tun0','kind':'tun'}"), OUTCOME_CREATED);
    assert_int_equal(put(bench, "{'name':'tun1','kind':'tun','worker':{'type':'monitor'}}"), OUTCOME_CREATED);
    bench_end(bench);
    fake = bench_lock(bench);
    links = fake->state.links;
    assert_int_equal(fake->state.link_count, 2);
    links[0].uuid.bytes[15] ^= 1; /* killed before the commit: ours, and in no document */
    assert_string_equal(links[0].name, "tun0");
    fake->state.links = calloc(4, sizeof(*links));
    memcpy(fake->state.links, links, 2 * sizeof(*links));
    free(links);
    links = fake->state.links;
    fake->state.link_count = 3;
    fake->state.link_capacity = 4;
    links[2] = links[1];
    links[2].addresses = NULL;
    links[2].address_count = 0;
    links[2].routes = NULL;
    links[2].route_count = 0;
    strcpy(links[2].name, "tun9");
    links[2].uuid.bytes[0] ^= 1; /* another daemon's */
    bench_unlock(bench);
    bench_begin(bench);
    wait_for(bench, "tun0", is_ready);
    fake = bench_lock(bench);
    assert_int_equal(fake->state.link_count, 3);
    assert_non_null(observed_link_find(&fake->state, "", "tun9"));
    bench_unlock(bench);
}

static void test_start_without_netd(void **state)
{
    struct bench *bench = *state;
    const struct snapshot *snapshot;

    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    bench_end(bench);
    bench_lock(bench)->disconnected = true;
    bench_unlock(bench);
    bench_begin(bench);
    wait_for(bench, "tun0", is_cut_off);
    snapshot = engine_snapshot(bench->engine);
    assert_false(snapshot->settled);
    assert_int_equal(snapshot->devices[0].state, STATE_PENDING);
    snapshot_release(snapshot);
    bench_lock(bench)->disconnected = false;
    bench_unlock(bench);
    wait_for(bench, "tun0", is_ready);
}

/* ---- drift ------------------------------------------------------------------------------------------------------- */

static struct observed_link *link_of(struct kernel_fake *fake, const char *name)
{
    return (struct observed_link *)(uintptr_t)observed_link_find(&fake->state, "", name);
}

static void test_drift_repaired(void **state)
{
    struct bench *bench = *state;
    struct kernel_fake *fake;
    size_t published;

    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    wait_for(bench, "tun0", is_ready);
    CLEANUP(text_done) char *then = bench_kernel_text(bench);
    for (int i = 0; i < 3; i++) {
        fake = bench_lock(bench);
        link_of(fake, "tun0")->mtu = 600 + (uint32_t)i;
        link_of(fake, "tun0")->address_count = 0;
        bench_event(bench);
        bench_unlock(bench);
        wait_for_kernel(bench, then);
    }
    wait_for(bench, "tun0", is_ready);
    /* where all is right, nothing is published */
    poll(NULL, 0, 200);
    published = bench->published;
    bench_lock(bench);
    bench_event(bench);
    bench_unlock(bench);
    poll(NULL, 0, 200);
    assert_int_equal(bench->published, published);
}

static void test_drift_reported(void **state)
{
    struct bench *bench = *state;
    static const char document[] = "{'name':'tun0','kind':'tun','mtu':1400,'drift':'report'}";
    const struct snapshot *snapshot;
    struct kernel_fake *fake;
    size_t applied;

    assert_int_equal(put(bench, document), OUTCOME_CREATED);
    wait_for(bench, "tun0", is_ready);
    applied = bench_applied(bench);
    fake = bench_lock(bench);
    link_of(fake, "tun0")->mtu = 600;
    bench_event(bench);
    bench_unlock(bench);
    wait_for(bench, "tun0", is_degraded);
    assert_int_equal(bench_applied(bench), applied);
    snapshot = engine_snapshot(bench->engine);
    assert_int_equal(snapshot->devices[0].mtu, 600);
    assert_non_null(strstr(snapshot->devices[0].reason.message, "link_set"));
    snapshot_release(snapshot);
    assert_int_equal(put(bench, document), OUTCOME_UNCHANGED); /* asked for, it is repaired */
    assert_int_equal(bench_applied(bench), applied + 1);
    wait_for(bench, "tun0", is_ready);
}

static bool is_contested(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    return is_in_conflict(snapshot, device) && device->reason.code == ERR_CONTESTED;
}

/* Somebody undoes each repair: after the third the device is only looked at, and says what for. */
static void test_contested(void **state)
{
    struct bench *bench = *state;
    const struct snapshot *snapshot;
    size_t applied;

    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    wait_for(bench, "tun0", is_ready);
    CLEANUP(text_done) char *then = bench_kernel_text(bench);
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < 3; i++) {
            link_of(bench_lock(bench), "tun0")->mtu = 600 + (uint32_t)i;
            bench_event(bench);
            bench_unlock(bench);
            wait_for_kernel(bench, then);
            wait_for(bench, "tun0", is_ready);
            poll(NULL, 0, 100); /* our own repair is an event, too */
        }
        applied = bench_applied(bench);
        link_of(bench_lock(bench), "tun0")->mtu = 700;
        bench_event(bench);
        bench_unlock(bench);
        wait_for(bench, "tun0", is_contested);
        snapshot = engine_snapshot(bench->engine);
        assert_string_equal(snapshot->devices[0].reason.operation, "link_set");
        assert_string_equal(snapshot->devices[0].reason.pointer, "/mtu");
        assert_int_equal(snapshot->devices[0].deviation_count, 1);
        assert_string_equal(snapshot->devices[0].deviations[0].pointer, "/mtu");
        assert_string_equal(snapshot->devices[0].deviations[0].found, "700");
        snapshot_release(snapshot);
        link_of(bench_lock(bench), "tun0")->mtu = 701;
        bench_event(bench);
        bench_unlock(bench);
        poll(NULL, 0, 200);
        assert_int_equal(bench_applied(bench), applied);
        /* whoever asks for it gets it, and the count begins anew; and so it does where the other one gives in */
        if (again) {
            link_of(bench_lock(bench), "tun0")->mtu = 1400;
            bench_event(bench);
            bench_unlock(bench);
        } else {
            assert_int_equal(put(bench, full), OUTCOME_UNCHANGED);
        }
        wait_for(bench, "tun0", is_ready);
        wait_for_kernel(bench, then);
        snapshot = engine_snapshot(bench->engine);
        assert_int_equal(snapshot->devices[0].deviation_count, 0);
        assert_null(snapshot->devices[0].deviations);
        snapshot_release(snapshot);
    }
}

/* When a contested device is looked at only, and when it is tried again. */
static void test_contest_times(void **state)
{
    struct device *device = device_of("{'name':'tun0','kind':'tun'}");
    struct uuid uuid = uuid_of(1);
    struct tracked *tracked = tracked_new(&uuid, document_new(device), 1, 0, 0);
    struct converge_item item = {.mended = STEP_ROUTE_ADD, .mended_pointer = "/routes/3"};
    struct err reason = {0};
    const int64_t second = NSEC_PER_SEC;

    (void)state;
    assert_non_null(tracked);
    assert_false(contest_holds(tracked, 1 * second));
    contest_repaired(tracked, &item, 100 * second);
    contest_repaired(tracked, &item, 130 * second);
    assert_false(contest_holds(tracked, 131 * second));
    contest_repaired(tracked, &item, 161 * second); /* the first is out of the minute */
    assert_false(contest_holds(tracked, 162 * second));
    contest_repaired(tracked, &item, 170 * second);
    assert_true(contest_holds(tracked, 171 * second));
    assert_false(contest_holds(tracked, 190 * second)); /* so far apart it is no fight */
    contest_begin(tracked, 171 * second);
    assert_true(contest_holds(tracked, 200 * second));
    assert_int_equal(contest_due_ns(tracked), 231 * second);
    tracked->deviated_ns = 200 * second; /* the other one goes on */
    assert_true(contest_holds(tracked, 231 * second));
    assert_false(contest_holds(tracked, 260 * second));
    contest_reason(tracked, &reason);
    assert_int_equal(reason.code, ERR_CONTESTED);
    assert_string_equal(reason.operation, "route_add");
    assert_string_equal(reason.pointer, "/routes/3");
    contest_end(tracked);
    assert_false(contest_holds(tracked, 201 * second));
    tracked_free(tracked);
}

/* A device that failed for want of its bridge does not wait for its next try once the bridge is there. */
static void test_cause_is_gone(void **state)
{
    static const struct observed_link br0 = {.name = "br0", .ifindex = 77, .kind = OBSERVED_OTHER};
    struct bench *bench = *state;
    struct kernel_fake *fake = bench_lock(bench);
    void *links = fake->state.links;

    assert_int_equal(array_grow(&links, &fake->state.link_capacity, fake->state.link_count, sizeof(br0)), 0);
    fake->state.links = links;
    fake->state.links[fake->state.link_count++] = br0;
    bench_unlock(bench);
    assert_int_equal(put(bench, "{'name':'tap0','kind':'tap','master':'br0'}"), OUTCOME_CREATED);
    wait_for(bench, "tap0", is_ready);
    fake = bench_lock(bench);
    memcpy(link_of(fake, "br0")->name, "brX", 4);
    link_of(fake, "tap0")->master[0] = '\0';
    bench_event(bench);
    bench_unlock(bench);
    wait_for(bench, "tap0", is_failed);
    poll(NULL, 0, 2500); /* the next tries are two and four seconds away by now */
    fake = bench_lock(bench);
    memcpy(link_of(fake, "brX")->name, "br0", 4);
    bench_event(bench);
    int64_t then_ns = clock_monotonic_ns();
    bench_unlock(bench);
    wait_for(bench, "tap0", is_ready);
    assert_true(clock_monotonic_ns() - then_ns < NSEC_PER_SEC);
}

static void test_failure_is_retried(void **state)
{
    struct bench *bench = *state;
    struct kernel_fake *fake;

    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    assert_int_equal(put(bench, "{'name':'tun1','kind':'tun'}"), OUTCOME_CREATED);
    CLEANUP(text_done) char *then = bench_kernel_text(bench);
    fake = bench_lock(bench);
    link_of(fake, "tun0")->mtu = 600;
    fake->fail_at = 1;
    fake->fail_errno = EBUSY;
    bench_event(bench);
    bench_unlock(bench);
    wait_for(bench, "tun0", is_failed);
    wait_for(bench, "tun1", is_ready);
    wait_for(bench, "tun0", is_ready); /* by itself, after the back-off */
    assert_true(kernel_is(bench, then));
}

/* Somebody took the name while we were not there; once it is free, the device comes back. */
static void test_name_taken(void **state)
{
    struct bench *bench = *state;
    struct kernel_fake *fake;
    struct err err;

    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    fake = bench_lock(bench);
    link_of(fake, "tun0")->ours = false;
    bench_event(bench);
    bench_unlock(bench);
    wait_for(bench, "tun0", is_in_conflict);
    /* no step was taken, so there is nothing to roll back: the refusal says one thing only */
    assert_int_equal(run(bench, address_change(CHANGE_ADDRESS_PUT, "tun0", "10.0.0.1/24"), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_FOREIGN_DEVICE);
    wait_for(bench, "tun0", is_in_conflict);
    fake = bench_lock(bench);
    link_of(fake, "tun0")->address_count = link_of(fake, "tun0")->route_count = 0;
    strcpy(link_of(fake, "tun0")->name, "other");
    bench_event(bench);
    bench_unlock(bench);
    wait_for(bench, "tun0", is_ready);
}

/* ---- workers ----------------------------------------------------------------------------------------------------- */

static bool has_restarted(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)snapshot;
    return device->worker_restarts == 3 && device->worker_status != NULL;
}

static bool has_no_status(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)snapshot;
    return device->worker_restarts == 4 && device->worker_status == NULL;
}

static void worker_say(struct bench *bench, enum worker_state state, uint32_t restarts, const char *status)
{
    struct kernel_fake *fake = bench_lock(bench);
    struct observed_worker *worker = &fake->state.workers[0];

    worker->state = state;
    worker->restarts = restarts;
    strcpy(worker->detail, state == WORKER_RUNNING ? "" : "exited with 1");
    free(worker->status);
    worker->status = strdup(status);
    bench_event(bench);
    bench_unlock(bench);
}

static void test_worker_states(void **state)
{
    static const char *const bad[] = {"",       "[1]",   "{\"a\":1",           "{\"a\":1,\"a\":2}",
                                      "\"{}\"", "{} {}", "{\"a\":\"\\ud800\"}"};
    struct bench *bench = *state;
    const struct snapshot *snapshot;
    struct counter_mapping *mapping;
    struct counters counters;
    size_t applied;

    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    applied = bench_applied(bench);
    snapshot = engine_snapshot(bench->engine);
    mapping = snapshot->devices[0].counters;
    engine_counters(bench->engine, &snapshot->devices[0], &counters);
    assert_true(counters.has_kernel && counters.has_worker);
    assert_true(counters.since_ns > 0 && counters.time_ns >= counters.since_ns);
    assert_int_equal(counters.worker.wire_in.packets, 0);
    snapshot_release(snapshot);

    worker_say(bench, WORKER_RESTARTING, 2, "{}");
    wait_for(bench, "tun0", is_degraded);
    snapshot = engine_snapshot(bench->engine);
    assert_int_equal(snapshot->devices[0].reason.code, ERR_WORKER_FAILED);
    assert_non_null(strstr(snapshot->devices[0].reason.message, "exited with 1"));
    snapshot_release(snapshot);
    worker_say(bench, WORKER_RUNNING, 3, " {\"peer\":\"10.33.0.1:5000\"}\n");
    wait_for(bench, "tun0", has_restarted);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        worker_say(bench, WORKER_RUNNING, 4, bad[i]);
        wait_for(bench, "tun0", has_no_status);
        worker_say(bench, WORKER_RUNNING, 3, "{}");
        wait_for(bench, "tun0", has_restarted);
    }
    assert_int_equal(bench_applied(bench), applied);

    snapshot = engine_snapshot(bench->engine); /* one worker, one page, however often it was restarted */
    assert_true(snapshot->devices[0].counters == mapping);
    assert_int_equal(run(bench, change_of(CHANGE_WORKER_DELETE, "tun0"), NULL), OUTCOME_DELETED);
    assert_int_equal(run(bench, worker_change("tun0", WORKER_MONITOR), NULL), OUTCOME_CREATED);
    const struct snapshot *after = engine_snapshot(bench->engine);
    assert_non_null(after->devices[0].counters);
    assert_true(after->devices[0].counters != mapping);
    snapshot_release(after);
    snapshot_release(snapshot);

    worker_say(bench, WORKER_FAILED, 9, "");
    wait_for(bench, "tun0", is_ready);
}

/* The daemon was killed when two workers had just changed places: neither can be told to go back to an address that the
 * other one has. One that waits for nobody's address lives on. */
static void test_workers_swapped(void **state)
{
    static const char *const documents[] = {"{'name':'tun0','kind':'tun','worker':{'type':'udp','local':"
                                            "'10.0.0.1:5000','remote':'10.0.0.2:5000'}}",
                                            "{'name':'tun1','kind':'tun','worker':{'type':'udp','local':"
                                            "'10.0.0.1:5001','remote':'10.0.0.2:5001'}}",
                                            "{'name':'tun2','kind':'tun','worker':{'type':'udp','local':"
                                            "'10.0.0.1:5002','remote':'10.0.0.2:5002'}}"};
    static const enum step_kind steps[] = {STEP_WORKER_CONFIGURE, STEP_WORKER_STOP, STEP_WORKER_STOP, STEP_WORKER_START,
                                           STEP_WORKER_START};
    struct bench *bench = *state;
    struct kernel_fake *fake;
    size_t done;

    assert_int_equal(run(bench, config_change(CHANGE_CONFIG_PUT, documents, 3), NULL), OUTCOME_CHANGED);
    bench_end(bench);
    bench_store_run(bench, "UPDATE device SET document = replace(document, '10.0.0.1:5000', '10.0.0.1:5099');"
                           "UPDATE device SET document = replace(document, '10.0.0.1:5001', '10.0.0.1:5000');"
                           "UPDATE device SET document = replace(document, '10.0.0.1:5099', '10.0.0.1:5001');"
                           "UPDATE device SET document = replace(document, '10.0.0.1:5002', '10.0.0.1:5003')");
    done = bench_lock(bench)->log_count;
    bench_unlock(bench);
    bench_begin(bench);
    for (int i = 0; i < 3; i++)
        wait_for(bench, (const char *const[]){"tun0", "tun1", "tun2"}[i], is_ready);
    fake = bench_lock(bench);
    assert_int_equal(fake->log_count, done + ARRAY_SIZE(steps));
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
        assert_int_equal(fake->log[done + i].kind, steps[i]);
    assert_string_equal(fake->log[done].device.name, "tun2");
    assert_int_equal(fake->log[done + 3].worker.sockets[0].local.port, 5001);
    assert_int_equal(fake->log[done + 4].worker.sockets[0].local.port, 5000);
    bench_unlock(bench);
}

static bool is_running_again(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)snapshot;
    return device->has_worker && device->worker_state == WORKER_RUNNING && device->worker_restarts == 0 &&
           device->state == STATE_READY;
}

static void test_worker_failed(void **state)
{
    struct bench *bench = *state;
    const struct snapshot *before, *after;

    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    before = engine_snapshot(bench->engine);
    worker_say(bench, WORKER_FAILED, 9, "");
    int64_t until = clock_monotonic_ns() + WAIT_NS;
    do { /* it is stopped and started anew: another page */
        assert_true(clock_monotonic_ns() < until);
        wait_for(bench, "tun0", is_running_again);
        after = engine_snapshot(bench->engine);
        bool remapped = after->devices[0].counters && after->devices[0].counters != before->devices[0].counters;
        snapshot_release(after);
        if (remapped)
            break;
        poll(NULL, 0, 2);
    } while (true);
    snapshot_release(before);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void test_events(void **state)
{
    static const enum event_type expected[] = {EVENT_DEVICE_CREATED, EVENT_WORKER_STATE,   EVENT_DEVICE_STATE,
                                               EVENT_DEVICE_CHANGED, EVENT_DEVICE_CHANGED, EVENT_WORKER_STATE,
                                               EVENT_DEVICE_DELETED};
    struct bench *bench = *state;
    struct event events[16];
    uint64_t newest = 77;
    struct err err;

    assert_int_equal(engine_events(bench->engine, 0, events, 16, NULL, &newest), 0);
    assert_int_equal(newest, 0);
    assert_int_equal(put(bench, full), OUTCOME_CREATED);
    assert_int_equal(run(bench, address_change(CHANGE_ADDRESS_PUT, "tun0", "10.1.0.1/24"), NULL), OUTCOME_CREATED);
    assert_int_equal(put(bench, full), OUTCOME_CHANGED);
    assert_int_equal(put(bench, full), OUTCOME_UNCHANGED);
    assert_int_equal(run(bench, change_of(CHANGE_ROUTE_DELETE, "tun0"), &err), OUTCOME_FAILED);
    /* of what was rolled back nothing is told */
    assert_int_equal(run(bench, route_change(CHANGE_ROUTE_PUT, "tun0", "10.30.0.0/16", 0, "9.9.9.9"), &err),
                     OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_KERNEL_REFUSED);
    assert_string_equal(err.pointer, "/routes/3");
    assert_int_equal(engine_events(bench->engine, 0, events, 16, NULL, &newest), 5);
    assert_int_equal(run(bench, change_of(CHANGE_WORKER_DELETE, "tun0"), NULL), OUTCOME_DELETED);
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun0"), NULL), OUTCOME_DELETED);
    /* created, worker, state; changed; changed; changed, worker; deleted */
    assert_int_equal(engine_events(bench->engine, 0, events, 16, NULL, &newest), 8);
    assert_int_equal(newest, 8);
    for (size_t i = 0; i < 8; i++) {
        size_t row = i < 5 ? i : i == 5 ? 4 : i - 1;

        assert_int_equal(events[i].sequence, i + 1);
        assert_string_equal(events[i].device, "tun0");
        assert_int_equal(events[i].type, expected[row]);
    }
    assert_string_equal(events[1].detail, "running");
    assert_string_equal(events[2].detail, "ready");
    assert_string_equal(events[6].detail, "none");
    assert_int_equal(engine_events(bench->engine, 6, events, 16, NULL, &newest), 2);
    assert_int_equal(events[0].sequence, 7);
    assert_int_equal(engine_events(bench->engine, 0, events, 2, NULL, &newest), 2);
    assert_int_equal(events[0].sequence, 1);
    assert_int_equal(engine_events(bench->engine, 100, events, 2, NULL, &newest), 0);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

/* A thread answers NULL, or with its complaint. */
static char went_back[] = "a snapshot went back", missing[] = "an event is missing", failed[] = "a change failed";

static void *reader_main(void *argument)
{
    struct bench *bench = argument;
    struct event events[8];
    uint64_t after = 0, newest, sequence = 0;

    for (int i = 0; i < 300; i++) {
        const struct snapshot *snapshot = engine_snapshot(bench->engine);
        struct counters counters;

        if (snapshot->sequence < sequence)
            return went_back;
        sequence = snapshot->sequence;
        for (size_t j = 0; j < snapshot->device_count; j++)
            engine_counters(bench->engine, &snapshot->devices[j], &counters);
        snapshot_release(snapshot);
        size_t count = engine_events(bench->engine, after, events, ARRAY_SIZE(events), NULL, &newest);
        for (size_t j = 0; j < count; j++) {
            if (events[j].sequence != after + 1)
                return missing;
            after = events[j].sequence;
        }
    }
    return NULL;
}

struct writer {
    struct bench *bench;
    unsigned number;
};

static void *writer_main(void *argument)
{
    struct writer *writer = argument;
    char document[160];

    for (unsigned i = 0; i < 20; i++) {
        snprintf(document, sizeof(document),
                 "{'name':'tun%u','kind':'tun','mtu':%u,'addresses':['10.%u.0.1/24'],"
                 "'worker':{'type':'monitor'}}",
                 writer->number, 1300 + i, writer->number);
        if (run(writer->bench, change_of(CHANGE_DEVICE_PUT, document), NULL) == OUTCOME_FAILED)
            return failed;
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct bench *bench = *state;
    struct writer writers[3];
    pthread_t threads[6];
    void *complaint;

    for (unsigned i = 0; i < 3; i++) {
        writers[i] = (struct writer){bench, i};
        assert_int_equal(pthread_create(&threads[i], NULL, writer_main, &writers[i]), 0);
        assert_int_equal(pthread_create(&threads[3 + i], NULL, reader_main, bench), 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        pthread_join(threads[i], &complaint);
        if (complaint)
            fail_msg("%s", (const char *)complaint);
    }
    const struct snapshot *snapshot = engine_snapshot(bench->engine);
    assert_int_equal(snapshot->device_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(snapshot->devices[i].stored.generation, 20);
    snapshot_release(snapshot);
}

static void test_stop_refuses_what_waits(void **state)
{
    struct bench *bench = *state;
    enum { WAITING = 50 };
    struct change *changes[WAITING];
    sem_t finished;
    size_t refused = 0;

    assert_int_equal(sem_init(&finished, 0, 0), 0);
    for (unsigned i = 0; i < WAITING; i++) {
        char document[64];

        snprintf(document, sizeof(document), "{'name':'tun%u','kind':'tun'}", i);
        changes[i] = change_of(CHANGE_DEVICE_PUT, document);
        changes[i]->done = change_done;
        changes[i]->context = &finished;
        engine_submit(bench->engine, changes[i]);
    }
    bench_end(bench);
    for (unsigned i = 0; i < WAITING; i++) {
        assert_int_equal(sem_trywait(&finished), 0); /* each was answered before the engine was gone */
        if (changes[i]->outcome == OUTCOME_FAILED) {
            assert_int_equal(changes[i]->errors.items[0].code, ERR_INTERNAL);
            refused++;
        } else {
            snapshot_release(changes[i]->after);
        }
        device_free(changes[i]->device);
        free(changes[i]->differences);
        free(changes[i]);
    }
    sem_destroy(&finished);
    bench_begin(bench);
    bench_wait_settled(bench);
    const struct snapshot *snapshot = engine_snapshot(bench->engine);
    assert_int_equal(snapshot->device_count, WAITING - refused);
    snapshot_release(snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BENCH(test_adoption),
        TEST_ON_BENCH(test_orphans),
        TEST_ON_BENCH(test_start_without_netd),
        TEST_ON_BENCH(test_drift_repaired),
        TEST_ON_BENCH(test_drift_reported),
        TEST_ON_BENCH(test_contested),
        cmocka_unit_test(test_contest_times),
        TEST_ON_BENCH(test_cause_is_gone),
        TEST_ON_BENCH(test_failure_is_retried),
        TEST_ON_BENCH(test_name_taken),
        TEST_ON_BENCH(test_worker_states),
        TEST_ON_BENCH(test_worker_failed),
        TEST_ON_BENCH(test_workers_swapped),
        TEST_ON_BENCH(test_events),
        TEST_ON_BENCH(test_threads),
        TEST_ON_BENCH(test_stop_refuses_what_waits),
    };

    log_open("test_resync", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

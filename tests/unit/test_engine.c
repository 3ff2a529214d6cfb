/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine with its thread, on a store in a file and a kernel in memory. The fake belongs to one thread: a lock
 * around it lets the test look and sabotage while the engine runs.
 */
#include "engine_fixture.h"
#include "store/database.h"
#include "tunwright/engine.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_NS (20 * NSEC_PER_SEC) /* for a condition; reached only where something is broken */

/* ---- a kernel that two threads may use --------------------------------------------------------------------------- */

struct shared_kernel {
    struct kernel kernel;
    pthread_mutex_t lock;
    struct kernel_fake *fake;
    size_t vanish_at;  /* netd dies of the n-th step from now (0: it lives) … */
    bool vanish_after; /* … having carried it out */
};

static struct kernel_fake *shared_lock(struct kernel *kernel)
{
    struct shared_kernel *shared = (struct shared_kernel *)kernel;

    pthread_mutex_lock(&shared->lock);
    return shared->fake;
}

static void shared_unlock(struct kernel *kernel)
{
    pthread_mutex_unlock(&((struct shared_kernel *)kernel)->lock);
}

static int shared_observe(struct kernel *kernel, const char *const *netns, size_t count, struct observed *ret_observed,
                          struct err *ret_err)
{
    struct kernel_fake *fake = shared_lock(kernel);
    int r = fake->kernel.ops->observe(&fake->kernel, netns, count, ret_observed, ret_err);

    shared_unlock(kernel);
    return r;
}

static int shared_apply(struct kernel *kernel, const struct step *step, struct err *ret_err)
{
    struct shared_kernel *shared = (struct shared_kernel *)kernel;
    struct kernel_fake *fake = shared_lock(kernel);
    bool dies = shared->vanish_at > 0 && --shared->vanish_at == 0;
    int r = 0;

    if (!dies || shared->vanish_after)
        r = fake->kernel.ops->apply(&fake->kernel, step, ret_err);
    if (dies) {
        fake->disconnected = true;
        r = -ENOTCONN;
    }
    shared_unlock(kernel);
    return r;
}

static int shared_page(struct kernel *kernel, const struct uuid *uuid, const struct counter_page **ret_page,
                       struct err *ret_err)
{
    struct kernel_fake *fake = shared_lock(kernel);
    int r = fake->kernel.ops->page(&fake->kernel, uuid, ret_page, ret_err);

    shared_unlock(kernel);
    return r;
}

static int shared_stats(struct kernel *kernel, const char *netns, uint32_t ifindex, struct link_stats *ret_stats)
{
    struct kernel_fake *fake = shared_lock(kernel);
    int r = fake->kernel.ops->stats(&fake->kernel, netns, ifindex, ret_stats);

    shared_unlock(kernel);
    return r;
}

static int shared_event_fd(struct kernel *kernel)
{
    return ((struct shared_kernel *)kernel)->fake->event_fd; /* never changes */
}

static bool shared_event_drain(struct kernel *kernel)
{
    struct kernel_fake *fake = shared_lock(kernel);
    bool any = fake->kernel.ops->event_drain(&fake->kernel);

    shared_unlock(kernel);
    return any;
}

static bool shared_connected(struct kernel *kernel)
{
    struct kernel_fake *fake = shared_lock(kernel);
    bool connected = fake->kernel.ops->connected(&fake->kernel);

    shared_unlock(kernel);
    return connected;
}

static void shared_close(struct kernel *kernel)
{
    struct shared_kernel *shared = (struct shared_kernel *)kernel;

    shared->fake->kernel.ops->close(&shared->fake->kernel);
    pthread_mutex_destroy(&shared->lock);
    free(shared);
}

static const struct kernel_ops shared_ops = {
    .observe = shared_observe,
    .apply = shared_apply,
    .page = shared_page,
    .stats = shared_stats,
    .event_fd = shared_event_fd,
    .event_drain = shared_event_drain,
    .connected = shared_connected,
    .close = shared_close,
};

/* ---- the bench: a store, a kernel and the engine between them ---------------------------------------------------- */

struct bench {
    char directory[64], path[96];
    struct store *store;
    struct shared_kernel *kernel;
    struct engine *engine;
    atomic_uint published;
};

static void on_publish(void *context)
{
    ((struct bench *)context)->published++;
}

static struct kernel_fake *bench_lock(struct bench *bench)
{
    return shared_lock(&bench->kernel->kernel);
}

static void bench_unlock(struct bench *bench)
{
    shared_unlock(&bench->kernel->kernel);
}

/* Tells the engine that something happened. The kernel must be locked. */
static void bench_event(struct bench *bench)
{
    uint64_t one = 1;

    assert_int_equal(write(bench->kernel->fake->event_fd, &one, sizeof(one)), sizeof(one));
}

static void bench_begin(struct bench *bench)
{
    struct engine_options options = {.on_publish = on_publish, .context = bench};
    struct err err = {0};

    if (store_open(bench->path, &bench->store, &err) < 0)
        fail_msg("%s", err.message);
    options.store = bench->store;
    options.kernel = &bench->kernel->kernel;
    if (engine_start(&options, &bench->engine, &err) < 0)
        fail_msg("%s", err.message);
}

static void bench_end(struct bench *bench)
{
    engine_stop(bench->engine);
    bench->engine = NULL;
    store_close(bench->store);
    bench->store = NULL;
}

static void bench_wait_settled(struct bench *bench)
{
    int64_t until = clock_monotonic_ns() + WAIT_NS;

    for (;;) {
        const struct snapshot *snapshot = engine_snapshot(bench->engine);
        bool settled = snapshot->settled;

        snapshot_release(snapshot);
        if (settled)
            return;
        assert_true(clock_monotonic_ns() < until);
        poll(NULL, 0, 1);
    }
}

static int bench_make(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct shared_kernel *shared = calloc(1, sizeof(*shared));

    strcpy(bench->directory, "/tmp/test_engine.XXXXXX");
    assert_non_null(mkdtemp(bench->directory));
    snprintf(bench->path, sizeof(bench->path), "%s/tunwright.db", bench->directory);
    shared->kernel.ops = &shared_ops;
    pthread_mutex_init(&shared->lock, NULL);
    shared->fake = kernel_fake_new();
    assert_non_null(shared->fake);
    bench->kernel = shared;
    bench_begin(bench);
    bench_wait_settled(bench);
    *state = bench;
    return 0;
}

static int bench_remove(void **state)
{
    struct bench *bench = *state;
    char journal[128];

    if (bench->engine)
        bench_end(bench);
    bench->kernel->kernel.ops->close(&bench->kernel->kernel);
    snprintf(journal, sizeof(journal), "%s-journal", bench->path);
    unlink(journal);
    unlink(bench->path);
    assert_int_equal(rmdir(bench->directory), 0);
    free(bench);
    return 0;
}

static char *bench_kernel_text(struct bench *bench)
{
    char *text = kernel_text(&bench_lock(bench)->state);

    bench_unlock(bench);
    return text;
}

static size_t bench_applied(struct bench *bench)
{
    size_t applied = bench_lock(bench)->applied;

    bench_unlock(bench);
    return applied;
}

/* The store's rows as text, by way of a second connection. Owned. */
static char *bench_store_text(struct bench *bench)
{
    struct buf out = {0};
    sqlite3_stmt *rows;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(bench->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT name || uuid || generation || document FROM device ORDER BY name",
                                        -1, &rows, NULL),
                     SQLITE_OK);
    while (sqlite3_step(rows) == SQLITE_ROW)
        buf_printf(&out, "%s\n", (const char *)sqlite3_column_text(rows, 0));
    sqlite3_finalize(rows);
    sqlite3_close(db);
    buf_add_text(&out, "");
    return buf_take(&out);
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

static void change_done(struct change *change)
{
    assert_int_equal(sem_post(change->context), 0);
}

/* Submits and waits. Releases what the change holds, but not its errors. */
static enum change_outcome submit(struct bench *bench, struct change *change)
{
    sem_t finished;
    struct timespec until;

    assert_int_equal(sem_init(&finished, 0, 0), 0);
    change->done = change_done;
    change->context = &finished;
    engine_submit(bench->engine, change);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_NS / NSEC_PER_SEC;
    assert_int_equal(sem_timedwait(&finished, &until), 0);
    sem_destroy(&finished);
    device_free(change->device);
    change->device = NULL;
    assert_true((change->outcome == OUTCOME_FAILED) == (change->after == NULL));
    assert_true((change->outcome == OUTCOME_FAILED) == (change->errors.count > 0));
    if (change->after && change->outcome != OUTCOME_DELETED)
        assert_non_null(snapshot_device_find(change->after, change->name));
    if (change->after)
        snapshot_release(change->after);
    change->after = NULL;
    return change->outcome;
}

static struct change *change_of(enum change_kind kind, const char *text)
{
    struct change *change = calloc(1, sizeof(*change));

    change->kind = kind;
    if (kind == CHANGE_DEVICE_CREATE || kind == CHANGE_DEVICE_PUT) {
        change->device = device_of(text);
        strcpy(change->name, change->device->name);
    } else {
        strcpy(change->name, text);
    }
    return change;
}

/* Runs one change to its end and says what came of it; the first error, where the caller wants to see it. */
static enum change_outcome run(struct bench *bench, struct change *change, struct err *ret_err)
{
    enum change_outcome outcome = submit(bench, change);

    if (ret_err)
        *ret_err = change->errors.items[0];
    else if (outcome == OUTCOME_FAILED)
        print_message("%s %s\n", change->errors.items[0].pointer, change->errors.items[0].message);
    free(change);
    return outcome;
}

static enum change_outcome put(struct bench *bench, const char *document)
{
    return run(bench, change_of(CHANGE_DEVICE_PUT, document), NULL);
}

static struct change *address_change(enum change_kind kind, const char *name, const char *address)
{
    struct change *change = change_of(kind, name);

    assert_int_equal(ip_prefix_parse(address, &change->address), 0);
    return change;
}

static struct change *route_change(enum change_kind kind, const char *name, const char *to, uint32_t metric,
                                   const char *via)
{
    struct change *change = change_of(kind, name);

    assert_int_equal(ip_prefix_parse(to, &change->route.to), 0);
    change->route.metric = metric;
    change->route.table = 254;
    if (via)
        assert_int_equal(ip_addr_parse(via, &change->route.via), 0);
    return change;
}

static struct change *worker_change(const char *name, enum worker_type type)
{
    struct change *change = change_of(CHANGE_WORKER_PUT, name);

    change->worker.type = type;
    return change;
}

/* Waits until the newest snapshot shows the device like that. */
static void wait_for(struct bench *bench, const char *name,
                     bool (*is_so)(const struct snapshot *, const struct snapshot_device *))
{
    int64_t until = clock_monotonic_ns() + WAIT_NS;

    for (;;) {
        const struct snapshot *snapshot = engine_snapshot(bench->engine);
        bool so = is_so(snapshot, snapshot_device_find(snapshot, name));

        snapshot_release(snapshot);
        if (so)
            return;
        assert_true(clock_monotonic_ns() < until);
        poll(NULL, 0, 2);
    }
}

static bool kernel_is(struct bench *bench, const char *text)
{
    char *now = bench_kernel_text(bench);
    bool same = strcmp(now, text) == 0;

    free(now);
    return same;
}

static void wait_for_kernel(struct bench *bench, const char *text)
{
    int64_t until = clock_monotonic_ns() + WAIT_NS;

    while (!kernel_is(bench, text)) {
        assert_true(clock_monotonic_ns() < until);
        poll(NULL, 0, 2);
    }
}

static bool is_ready(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    return snapshot->settled && device && device->state == STATE_READY;
}

static bool is_degraded(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)snapshot;
    return device && device->state == STATE_DEGRADED;
}

static bool is_failed(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)snapshot;
    return device && device->state == STATE_FAILED;
}

static bool is_in_conflict(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)snapshot;
    return device && device->state == STATE_CONFLICT;
}

static bool is_cut_off(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)device;
    return !snapshot->netd_connected;
}

static const char full[] = "{'name':'tun0','kind':'tun','mtu':1400,'addresses':['192.168.3.11/24','fd00:3::11/64'],"
                           "'routes':[{'to':'10.9.0.0/16','via':'192.168.3.1','metric':100},{'to':'10.10.0.0/16'},"
                           "{'to':'10.11.0.0/16','type':'blackhole'}],"
                           "'worker':{'type':'udp','local':'10.32.0.11:5000','remote':'10.33.0.1:5000'}}";

/* As different from the first as can be. */
static const char other[] =
    "{'name':'tun0','kind':'tap','mtu':1300,'queues':2,'addresses':['192.168.4.11/24','192.168.3.11/24'],"
    "'routes':[{'to':'10.9.0.0/16','via':'192.168.4.1'},{'to':'10.12.0.0/16','type':'prohibit'}],"
    "'worker':{'type':'echo'}}";

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

    assert_int_equal(engine_events(bench->engine, 0, events, 16, &newest), 0);
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
    assert_int_equal(engine_events(bench->engine, 0, events, 16, &newest), 5);
    assert_int_equal(run(bench, change_of(CHANGE_WORKER_DELETE, "tun0"), NULL), OUTCOME_DELETED);
    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun0"), NULL), OUTCOME_DELETED);
    /* created, worker, state; changed; changed; changed, worker; deleted */
    assert_int_equal(engine_events(bench->engine, 0, events, 16, &newest), 8);
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
    assert_int_equal(engine_events(bench->engine, 6, events, 16, &newest), 2);
    assert_int_equal(events[0].sequence, 7);
    assert_int_equal(engine_events(bench->engine, 0, events, 2, &newest), 2);
    assert_int_equal(events[0].sequence, 1);
    assert_int_equal(engine_events(bench->engine, 100, events, 2, &newest), 0);

    for (unsigned i = 0; i < 600; i++) /* more than are kept */
        assert_int_equal(put(bench, i % 2 ? "{'name':'tun0','kind':'tun'}" : "{'name':'tun0','kind':'tun','mtu':1400}"),
                         i ? OUTCOME_CHANGED : OUTCOME_CREATED);
    for (unsigned i = 0; i < 600; i++)
        assert_int_equal(put(bench, i % 2 ? "{'name':'tun0','kind':'tun'}" : "{'name':'tun0','kind':'tun','mtu':1400}"),
                         OUTCOME_CHANGED);
    assert_int_equal(engine_events(bench->engine, 0, events, 1, &newest), 1);
    assert_true(newest > ENGINE_EVENTS_KEPT);
    assert_int_equal(events[0].sequence, newest - ENGINE_EVENTS_KEPT + 1);
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
        size_t count = engine_events(bench->engine, after, events, ARRAY_SIZE(events), &newest);
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
        free(changes[i]);
    }
    sem_destroy(&finished);
    bench_begin(bench);
    bench_wait_settled(bench);
    const struct snapshot *snapshot = engine_snapshot(bench->engine);
    assert_int_equal(snapshot->device_count, WAITING - refused);
    snapshot_release(snapshot);
}

#define TEST_ON_BENCH(test) cmocka_unit_test_setup_teardown(test, bench_make, bench_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BENCH(test_outcomes),
        TEST_ON_BENCH(test_generation_and_snapshot),
        TEST_ON_BENCH(test_names_with_numbers),
        TEST_ON_BENCH(test_refusals_between_devices),
        TEST_ON_BENCH(test_foreign_device),
        TEST_ON_BENCH(test_failing_create),
        TEST_ON_BENCH(test_failing_replace),
        TEST_ON_BENCH(test_failing_delete),
        TEST_ON_BENCH(test_failing_queues),
        TEST_ON_BENCH(test_failing_store),
        TEST_ON_BENCH(test_netd_away),
        TEST_ON_BENCH(test_netd_dies),
        TEST_ON_BENCH(test_adoption),
        TEST_ON_BENCH(test_orphans),
        TEST_ON_BENCH(test_start_without_netd),
        TEST_ON_BENCH(test_drift_repaired),
        TEST_ON_BENCH(test_drift_reported),
        TEST_ON_BENCH(test_failure_is_retried),
        TEST_ON_BENCH(test_name_taken),
        TEST_ON_BENCH(test_worker_states),
        TEST_ON_BENCH(test_worker_failed),
        TEST_ON_BENCH(test_events),
        TEST_ON_BENCH(test_threads),
        TEST_ON_BENCH(test_stop_refuses_what_waits),
    };

    log_open("test_engine", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

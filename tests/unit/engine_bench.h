/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine with its thread, on a store in a file and a kernel in memory. The fake belongs to one thread: a lock
 * around it lets the test look and sabotage while the engine runs.
 */
#ifndef TUNWRIGHT_TEST_ENGINE_BENCH_H
#define TUNWRIGHT_TEST_ENGINE_BENCH_H

#include "engine_fixture.h"
#include "store/database.h"
#include "tunwright/engine.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
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

static inline struct kernel_fake *shared_lock(struct kernel *kernel)
{
    struct shared_kernel *shared = (struct shared_kernel *)kernel;

    pthread_mutex_lock(&shared->lock);
    return shared->fake;
}

static inline void shared_unlock(struct kernel *kernel)
{
    pthread_mutex_unlock(&((struct shared_kernel *)kernel)->lock);
}

static inline int shared_observe(struct kernel *kernel, const char *const *netns, size_t count,
                                 struct observed *ret_observed, struct err *ret_err)
{
    struct kernel_fake *fake = shared_lock(kernel);
    int r = fake->kernel.ops->observe(&fake->kernel, netns, count, ret_observed, ret_err);

    shared_unlock(kernel);
    return r;
}

static inline int shared_apply(struct kernel *kernel, const struct step *step, struct err *ret_err)
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

static inline void shared_apply_run(struct kernel *kernel, const struct step *steps, size_t count,
                                    struct step_result *ret_results)
{
    for (size_t i = 0; i < count; i++) {
        ret_results[i] = (struct step_result){0};
        ret_results[i].error = shared_apply(kernel, &steps[i], &ret_results[i].err);
    }
}

static inline int shared_page(struct kernel *kernel, const struct uuid *uuid, const struct counter_page **ret_page,
                              struct err *ret_err)
{
    struct kernel_fake *fake = shared_lock(kernel);
    int r = fake->kernel.ops->page(&fake->kernel, uuid, ret_page, ret_err);

    shared_unlock(kernel);
    return r;
}

static inline int shared_stats(struct kernel *kernel, const char *netns, uint32_t ifindex, struct link_stats *ret_stats)
{
    struct kernel_fake *fake = shared_lock(kernel);
    int r = fake->kernel.ops->stats(&fake->kernel, netns, ifindex, ret_stats);

    shared_unlock(kernel);
    return r;
}

static inline int shared_event_fd(struct kernel *kernel)
{
    return ((struct shared_kernel *)kernel)->fake->event_fd; /* never changes */
}

static inline bool shared_event_drain(struct kernel *kernel)
{
    struct kernel_fake *fake = shared_lock(kernel);
    bool any = fake->kernel.ops->event_drain(&fake->kernel);

    shared_unlock(kernel);
    return any;
}

static inline bool shared_connected(struct kernel *kernel)
{
    struct kernel_fake *fake = shared_lock(kernel);
    bool connected = fake->kernel.ops->connected(&fake->kernel);

    shared_unlock(kernel);
    return connected;
}

static inline void shared_close(struct kernel *kernel)
{
    struct shared_kernel *shared = (struct shared_kernel *)kernel;

    shared->fake->kernel.ops->close(&shared->fake->kernel);
    pthread_mutex_destroy(&shared->lock);
    free(shared);
}

static const struct kernel_ops shared_ops = {
    .observe = shared_observe,
    .apply = shared_apply,
    .apply_run = shared_apply_run,
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

static inline void on_publish(void *context)
{
    ((struct bench *)context)->published++;
}

static inline struct kernel_fake *bench_lock(struct bench *bench)
{
    return shared_lock(&bench->kernel->kernel);
}

static inline void bench_unlock(struct bench *bench)
{
    shared_unlock(&bench->kernel->kernel);
}

/* Tells the engine that something happened. The kernel must be locked. */
static inline void bench_event(struct bench *bench)
{
    uint64_t one = 1;

    assert_int_equal(write(bench->kernel->fake->event_fd, &one, sizeof(one)), sizeof(one));
}

static inline void bench_begin(struct bench *bench)
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

static inline void bench_end(struct bench *bench)
{
    engine_stop(bench->engine);
    bench->engine = NULL;
    store_close(bench->store);
    bench->store = NULL;
}

static inline void bench_wait_settled(struct bench *bench)
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

static inline int bench_make(void **state)
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

static inline int bench_remove(void **state)
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

static inline char *bench_kernel_text(struct bench *bench)
{
    char *text = kernel_text(&bench_lock(bench)->state);

    bench_unlock(bench);
    return text;
}

static inline size_t bench_applied(struct bench *bench)
{
    size_t applied = bench_lock(bench)->applied;

    bench_unlock(bench);
    return applied;
}

/* Does something to the database behind the engine's back. */
static inline void bench_store_run(struct bench *bench, const char *sql)
{
    sqlite3 *tool;

    assert_int_equal(sqlite3_open(bench->path, &tool), SQLITE_OK);
    sqlite3_busy_timeout(tool, 5000);
    assert_int_equal(sqlite3_exec(tool, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(tool);
}

/* The store's rows as text, by way of a second connection. Owned. */
static inline char *bench_store_text(struct bench *bench)
{
    struct buf out = {0};
    sqlite3_stmt *rows;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(bench->path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
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

static inline void change_done(struct change *change)
{
    assert_int_equal(sem_post(change->context), 0);
}

/* Submits and waits. */
static inline enum change_outcome submit_keep(struct bench *bench, struct change *change)
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
    assert_true((change->outcome == OUTCOME_FAILED) == (change->after == NULL));
    assert_true((change->outcome == OUTCOME_FAILED) == (change->errors.count > 0));
    return change->outcome;
}

/* What the change holds, but not its errors. */
static inline void change_empty(struct change *change)
{
    device_free(change->device);
    change->device = NULL;
    device_set_done(&change->config);
    free(change->text);
    change->text = NULL;
    free(change->differences);
    change->differences = NULL;
    plan_done(&change->plan);
    if (change->after)
        snapshot_release(change->after);
    change->after = NULL;
}

static inline enum change_outcome submit(struct bench *bench, struct change *change)
{
    bool of_device = change->kind <= CHANGE_DEVICE_ADOPT;

    submit_keep(bench, change);
    if (change->after && change->outcome != OUTCOME_DELETED && of_device && !change->dry_run)
        assert_non_null(snapshot_device_find(change->after, change->name));
    change_empty(change);
    return change->outcome;
}

static inline struct change *change_of(enum change_kind kind, const char *text)
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
static inline enum change_outcome run(struct bench *bench, struct change *change, struct err *ret_err)
{
    enum change_outcome outcome = submit(bench, change);

    if (ret_err)
        *ret_err = change->errors.items[0];
    else if (outcome == OUTCOME_FAILED)
        print_message("%s %s\n", change->errors.items[0].pointer, change->errors.items[0].message);
    free(change);
    return outcome;
}

static inline enum change_outcome put(struct bench *bench, const char *document)
{
    return run(bench, change_of(CHANGE_DEVICE_PUT, document), NULL);
}

/* A change of the whole configuration, by documents; `kind` may be CHANGE_CONFIG_MERGE, too. */
static inline struct change *config_change(enum change_kind kind, const char *const *documents, size_t count)
{
    struct change *change = calloc(1, sizeof(*change));

    change->kind = kind;
    change->config.devices = calloc(count + 1, sizeof(*change->config.devices));
    for (size_t i = 0; i < count; i++)
        change->config.devices[change->config.count++] = device_of(documents[i]);
    return change;
}

static inline struct change *address_change(enum change_kind kind, const char *name, const char *address)
{
    struct change *change = change_of(kind, name);

    assert_int_equal(ip_prefix_parse(address, &change->address), 0);
    return change;
}

static inline struct change *route_change(enum change_kind kind, const char *name, const char *to, uint32_t metric,
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

static inline struct change *worker_change(const char *name, enum worker_type type)
{
    struct change *change = change_of(CHANGE_WORKER_PUT, name);

    change->worker.type = type;
    return change;
}

/* Waits until the newest snapshot shows the device like that. */
static inline void wait_for(struct bench *bench, const char *name,
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

static inline bool kernel_is(struct bench *bench, const char *text)
{
    char *now = bench_kernel_text(bench);
    bool same = strcmp(now, text) == 0;

    free(now);
    return same;
}

static inline void wait_for_kernel(struct bench *bench, const char *text)
{
    int64_t until = clock_monotonic_ns() + WAIT_NS;

    while (!kernel_is(bench, text)) {
        assert_true(clock_monotonic_ns() < until);
        poll(NULL, 0, 2);
    }
}

static inline bool is_ready(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    return snapshot->settled && device && device->state == STATE_READY;
}

static inline bool is_degraded(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)snapshot;
    return device && device->state == STATE_DEGRADED;
}

static inline bool is_failed(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)snapshot;
    return device && device->state == STATE_FAILED;
}

static inline bool is_in_conflict(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)snapshot;
    return device && device->state == STATE_CONFLICT;
}

static inline bool is_cut_off(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)device;
    return !snapshot->netd_connected;
}

static inline bool is_connected(const struct snapshot *snapshot, const struct snapshot_device *device)
{
    (void)device;
    return snapshot->netd_connected;
}

/* Until nothing was published for a while. */
static inline void wait_until_quiet(struct bench *bench)
{
    size_t published;

    do {
        published = bench->published;
        poll(NULL, 0, 150);
    } while (bench->published != published);
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

#define TEST_ON_BENCH(test) cmocka_unit_test_setup_teardown(test, bench_make, bench_remove)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that reads, and what it shares with those who ask. The list of devices follows the engine's snapshot, in
 * its order; the thread alone changes it, under the mutex, so it may look at it without. Who asks takes a reference to
 * one device's rings under the mutex, and copies from them without.
 */
#include "tunwright/history.h"

#include "history_file.h"

#include "tunwright/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RETRY_S 30 /* of a device whose file could not be had */

struct recorded {
    atomic_size_t references;
    struct history *history;
    struct uuid uuid;
    char name[DEVICE_NAME_SIZE];
    struct rings rings; /* its file is NULL where there is none; then it is tried again at … */
    int64_t retry_s;    /* … this time */
    bool is_listed;     /* the thread's: in the list that is being made */
};

struct history {
    struct engine *engine;
    struct history_directory directory;
    pthread_t thread;
    struct rate_limit complaints;
    uint64_t sequence; /* the snapshot that the list follows; 0: none yet */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake;
    bool ends;
    struct recorded **list; /* by name, one reference each */
    size_t count;
};

static int64_t boottime_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

/* ---- one device -------------------------------------------------------------------------------------------------- */

static void recorded_release(struct recorded *recorded)
{
    if (!recorded || atomic_fetch_sub_explicit(&recorded->references, 1, memory_order_acq_rel) != 1)
        return;
    history_file_close(recorded->rings.file);
    free(recorded);
}

static void complain(struct history *history, const struct err *err)
{
    if (rate_limit_permits(&history->complaints, clock_monotonic_ns()))
        log_warning("history: %s", err->message);
}

static int recorded_make_room(void *context, size_t page)
{
    struct recorded *recorded = context;
    int error = history_file_make_room(&recorded->history->directory, &recorded->uuid, page);
    if (error) {
        struct err err;
        (void)err_set_kernel(&err, error, "fallocate", "there is no room for what %s counts", recorded->name);
        complain(recorded->history, &err);
    }
    return error;
}

static void recorded_open(struct recorded *recorded, int64_t now_s)
{
    struct history *history = recorded->history;
    struct rings_file *file = NULL;
    struct err err;
    if (now_s < recorded->retry_s)
        return;
    if (history_file_open(&history->directory, &recorded->uuid, now_s, &file, &err)) {
        recorded->retry_s = now_s + RETRY_S;
        complain(history, &err);
        return;
    }
    pthread_mutex_lock(&history->mutex); /* who asks looks at it */
    recorded->rings.file = file;
    pthread_mutex_unlock(&history->mutex);
}

static struct recorded *recorded_new(struct history *history, const struct snapshot_device *device)
{
    struct recorded *recorded = calloc(1, sizeof *recorded);
    if (!recorded)
        return NULL;
    atomic_init(&recorded->references, 1);
    recorded->history = history;
    recorded->uuid = device->stored.uuid;
    (void)text_copy(recorded->name, sizeof recorded->name, device->stored.device->name);
    recorded->rings.make_room = recorded_make_room;
    recorded->rings.context = recorded;
    return recorded;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static bool is_same(const struct recorded *recorded, const struct snapshot_device *device)
{
    return uuid_equal(&recorded->uuid, &device->stored.uuid);
}

static bool is_listed(void *context, const struct uuid *uuid)
{
    const struct history *history = context;
    for (size_t i = 0; i < history->count; i++)
        if (uuid_equal(&history->list[i]->uuid, uuid))
            return true;
    return false;
}

static bool list_fits(const struct history *history, const struct snapshot *snapshot)
{
    if (history->count != snapshot->device_count)
        return false;
    for (size_t i = 0; i < history->count; i++)
        if (!is_same(history->list[i], &snapshot->devices[i]))
            return false;
    return true;
}

/* The devices of the snapshot, with the rings that there are. NULL: no memory. */
static struct recorded **list_make(struct history *history, const struct snapshot *snapshot)
{
    struct recorded **list = calloc(snapshot->device_count + 1, sizeof(struct recorded *));
    size_t at = 0, made = 0;
    for (; list && made < snapshot->device_count; made++) {
        const struct snapshot_device *device = &snapshot->devices[made];
        while (at < history->count && strcmp(history->list[at]->name, device->stored.device->name) < 0)
            at++;
        if (at < history->count && is_same(history->list[at], device)) {
            list[made] = history->list[at];
            atomic_fetch_add_explicit(&list[made]->references, 1, memory_order_relaxed);
        } else {
            list[made] = recorded_new(history, device);
        }
        if (!list[made])
            break;
    }
    if (list && made == snapshot->device_count)
        return list;
    for (size_t i = 0; i < made; i++)
        recorded_release(list[i]);
    free(list);
    return NULL;
}

/* Makes the list follow the snapshot. Files of devices that are gone go, too. */
static void list_follow(struct history *history, const struct snapshot *snapshot)
{
    bool is_first = history->sequence == 0;
    if (history->sequence == snapshot->sequence)
        return;
    if (!list_fits(history, snapshot)) {
        struct recorded **list = list_make(history, snapshot);
        if (!list)
            return; /* with the next reading */
        struct recorded **old = history->list;
        size_t old_count = history->count;
        pthread_mutex_lock(&history->mutex);
        history->list = list;
        history->count = snapshot->device_count;
        pthread_mutex_unlock(&history->mutex);
        for (size_t i = 0; i < old_count; i++)
            old[i]->is_listed = false;
        for (size_t i = 0; i < history->count; i++)
            list[i]->is_listed = true;
        for (size_t i = 0; i < old_count; i++) {
            if (!old[i]->is_listed)
                history_file_remove(&history->directory, &old[i]->uuid);
            recorded_release(old[i]);
        }
        free(old);
    }
    history->sequence = snapshot->sequence;
    if (is_first)
        history_directory_sweep(&history->directory, is_listed, history);
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static struct rings_reading reading_of(const struct snapshot_device *device, const struct counters *counters)
{
    const struct link_stats *kernel = &counters->kernel;
    const struct counter_slot *worker = &counters->worker;
    struct rings_reading reading = {.ifindex = counters->has_kernel ? device->ifindex : 0,
                                    .since_ns = counters->has_worker ? counters->since_ns : 0};
    if (counters->has_kernel) {
        reading.values[HISTORY_KERNEL_RX_PACKETS] = kernel->rx_packets;
        reading.values[HISTORY_KERNEL_RX_BYTES] = kernel->rx_bytes;
        reading.values[HISTORY_KERNEL_TX_PACKETS] = kernel->tx_packets;
        reading.values[HISTORY_KERNEL_TX_BYTES] = kernel->tx_bytes;
        reading.values[HISTORY_KERNEL_DROPPED] = kernel->rx_dropped + kernel->tx_dropped;
    }
    if (counters->has_worker) {
        reading.values[HISTORY_WORKER_DEVICE_IN_PACKETS] = worker->device_in.packets;
        reading.values[HISTORY_WORKER_DEVICE_IN_BYTES] = worker->device_in.bytes;
        reading.values[HISTORY_WORKER_DEVICE_OUT_PACKETS] = worker->device_out.packets;
        reading.values[HISTORY_WORKER_DEVICE_OUT_BYTES] = worker->device_out.bytes;
        reading.values[HISTORY_WORKER_WIRE_IN_PACKETS] = worker->wire_in.packets;
        reading.values[HISTORY_WORKER_WIRE_IN_BYTES] = worker->wire_in.bytes;
        reading.values[HISTORY_WORKER_WIRE_OUT_PACKETS] = worker->wire_out.packets;
        reading.values[HISTORY_WORKER_WIRE_OUT_BYTES] = worker->wire_out.bytes;
        for (size_t reason = 0; reason < DROP_REASON_N; reason++)
            reading.values[HISTORY_WORKER_DROPS] += worker->drops[reason];
    }
    return reading;
}

/* So that what an earlier run left can be read from the start. */
static void history_open(struct history *history)
{
    const struct snapshot *snapshot = engine_snapshot(history->engine);
    list_follow(history, snapshot);
    for (size_t i = 0; i < history->count; i++)
        recorded_open(history->list[i], boottime_ns() / NSEC_PER_SEC);
    snapshot_release(snapshot);
}

/* Each device's time is its own: a round over many takes a while. */
static void history_round(struct history *history)
{
    const struct snapshot *snapshot = engine_snapshot(history->engine);
    list_follow(history, snapshot);
    /* without memory for a new list, the old one is of another snapshot */
    for (size_t i = 0; i < history->count && history->sequence == snapshot->sequence; i++) {
        struct recorded *recorded = history->list[i];
        int64_t now_ns = boottime_ns();
        struct counters counters;
        if (!recorded->rings.file)
            recorded_open(recorded, now_ns / NSEC_PER_SEC);
        if (!recorded->rings.file)
            continue;
        engine_counters(history->engine, &snapshot->devices[i], &counters);
        struct rings_reading reading = reading_of(&snapshot->devices[i], &counters);
        rings_sample(&recorded->rings, now_ns, &reading);
    }
    snapshot_release(snapshot);
}

/* True: it ends. The wait is on a clock that stands still while the machine sleeps: a second more then does no harm. */
static bool wait_for_boundary(struct history *history)
{
    int64_t left_ns = NSEC_PER_SEC - boottime_ns() % NSEC_PER_SEC;
    int64_t until_ns = clock_monotonic_ns() + left_ns;
    struct timespec until = {.tv_sec = until_ns / NSEC_PER_SEC, .tv_nsec = until_ns % NSEC_PER_SEC};
    pthread_mutex_lock(&history->mutex);
    while (!history->ends && pthread_cond_timedwait(&history->wake, &history->mutex, &until) != ETIMEDOUT)
        ;
    bool ends = history->ends;
    pthread_mutex_unlock(&history->mutex);
    return ends;
}

static void *history_main(void *context)
{
    struct history *history = context;
    while (!wait_for_boundary(history))
        history_round(history);
    return NULL;
}

/* ---- the start and the end --------------------------------------------------------------------------------------- */

static void history_free(struct history *history)
{
    for (size_t i = 0; i < history->count; i++)
        recorded_release(history->list[i]);
    free(history->list);
    history_directory_close(&history->directory);
    pthread_cond_destroy(&history->wake);
    pthread_mutex_destroy(&history->mutex);
    free(history);
}

int history_start(struct engine *engine, const char *path, struct history **ret_history, struct err *ret_err)
{
    struct history *history = calloc(1, sizeof *history);
    if (!history)
        return err_no_memory(ret_err);
    history->engine = engine;
    history->directory.fd = -1;
    history->complaints = (struct rate_limit){.rate = 1.0 / 60, .burst = 3};
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&history->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&history->mutex, NULL);
    int error = history_directory_open(path, &history->directory, ret_err);
    if (!error) {
        history_open(history);
        error = -pthread_create(&history->thread, NULL, history_main, history);
        if (error)
            (void)err_set_kernel(ret_err, error, "pthread_create", "cannot start a thread");
    }
    if (error) {
        history_free(history);
        return error;
    }
    *ret_history = history;
    return 0;
}

void history_stop(struct history *history)
{
    if (!history)
        return;
    pthread_mutex_lock(&history->mutex);
    history->ends = true;
    pthread_cond_signal(&history->wake);
    pthread_mutex_unlock(&history->mutex);
    pthread_join(history->thread, NULL);
    history_free(history);
}

/* ---- who asks ---------------------------------------------------------------------------------------------------- */

void history_view_done(struct history_view *view)
{
    free(view->steps);
    *view = (struct history_view){.count = 0};
}

/* A reference to one that has rings, or NULL. */
static struct recorded *recorded_find(struct history *history, const struct snapshot_device *device)
{
    struct recorded *found = NULL;
    pthread_mutex_lock(&history->mutex);
    size_t low = 0, high = history->count;
    while (low < high && !found) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(history->list[middle]->name, device->stored.device->name);
        if (!order)
            found = history->list[middle];
        else if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (found && (!is_same(found, device) || !found->rings.file))
        found = NULL;
    if (found)
        atomic_fetch_add_explicit(&found->references, 1, memory_order_relaxed);
    pthread_mutex_unlock(&history->mutex);
    return found;
}

int history_read(struct history *history, const struct snapshot_device *device, enum history_scale scale, size_t count,
                 struct history_view *ret_view)
{
    struct history_view view = {.count = count};
    if (view.count > history_scale_sizes[scale].steps)
        view.count = history_scale_sizes[scale].steps;
    view.steps = calloc(view.count + 1, sizeof *view.steps);
    if (!view.steps)
        return -ENOMEM;
    struct recorded *recorded = history ? recorded_find(history, device) : NULL;
    int64_t end_s = recorded ? rings_read(&recorded->rings, scale, view.count, view.steps) : 0;
    recorded_release(recorded);
    int64_t now_ns = boottime_ns();
    if (!end_s)
        end_s = now_ns / NSEC_PER_SEC / history_scale_sizes[scale].step_s * history_scale_sizes[scale].step_s;
    view.end_ns = clock_realtime_ns() - (now_ns - end_s * NSEC_PER_SEC);
    *ret_view = view;
    return 0;
}

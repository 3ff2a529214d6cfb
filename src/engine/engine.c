/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread, and the door to it. Other threads do four things: put a change into the queue, take a reference to the
 * newest snapshot, copy events, and read counters. Everything else happens on the engine's thread, one thing after the
 * other.
 */
#include "handover.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool engine_find(const struct engine *engine, const char *name, size_t *ret_place)
{
    size_t low = 0, high = engine->device_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(tracked_name(engine->devices[middle]), name);

        if (order == 0) {
            *ret_place = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_place = low;
    return false;
}

/* ---- publishing -------------------------------------------------------------------------------------------------- */

void engine_publish(struct engine *engine, const struct snapshot *snapshot)
{
    const struct snapshot *old;

    pthread_mutex_lock(&engine->lock);
    old = engine->snapshot;
    engine->snapshot = snapshot;
    journal_committed(engine, snapshot);
    pthread_mutex_unlock(&engine->lock);
    engine->sequence = snapshot->sequence;
    engine->dirty = false;
    snapshot_release(old);
    if (engine->options.on_publish)
        engine->options.on_publish(engine->options.context);
}

void engine_note_store(struct engine *engine, const struct err *err)
{
    if (err->code != ERR_STORE_FULL && err->code != ERR_STORE_UNAVAILABLE)
        return;
    if (engine->store_writable) {
        log_warning("the store cannot be written: %s", err->message);
        engine_resync_by(engine, clock_monotonic_ns() + NSEC_PER_SEC); /* asks it again, and goes on asking */
        engine->dirty = true;
    }
    engine->store_writable = false;
}

void engine_publish_if_dirty(struct engine *engine)
{
    struct snapshot *snapshot;
    bool stored = false;
    struct err err = {0};

    if (!engine->dirty && !journal_is_due(engine))
        return;
    snapshot = snapshot_new(engine);
    if (!snapshot) {
        engine_resync_by(engine, clock_monotonic_ns() + NSEC_PER_SEC);
        return;
    }
    if (journal_flush(engine, snapshot, &stored, &err) < 0)
        engine_note_store(engine, &err);
    else if (stored)
        engine->store_writable = true;
    snapshot->store_writable = engine->store_writable;
    engine_publish(engine, snapshot);
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

/* The next change, or NULL. */
static struct change *queue_take(struct engine *engine, bool *ret_stopping)
{
    struct change *change;

    pthread_mutex_lock(&engine->lock);
    *ret_stopping = engine->stopping;
    change = engine->first;
    if (change) {
        engine->first = change->next;
        if (!engine->first)
            engine->last = NULL;
        change->next = NULL;
    } else if (engine->stopping) {
        engine->closed = true; /* whoever comes now is refused at the door */
    }
    pthread_mutex_unlock(&engine->lock);
    return change;
}

static void refuse_for_shutdown(struct change *change)
{
    struct err err;

    (void)err_set(&err, -ESHUTDOWN, ERR_INTERNAL, "", "the daemon is shutting down");
    change_refuse(change, &err);
}

static int timeout_of(int64_t due_ns, int64_t now_ns)
{
    int64_t left_ms = due_ns > now_ns ? (due_ns - now_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC : 0;

    return left_ms > 60000 ? 60000 : (int)left_ms;
}

/* Sleeps until there is something to do. The kernel's events come in flocks, and our own doings cause some: one look a
 * little later sees them all, and a look that takes long must not become all that is done. */
static void engine_wait(struct engine *engine)
{
    struct kernel *kernel = engine->kernel;
    struct pollfd fds[2] = {
        {.fd = engine->wake_fd, .events = POLLIN},
        {.fd = kernel->ops->event_fd(kernel), .events = POLLIN},
    };
    int64_t now_ns = clock_monotonic_ns(), due_ns, look_ns;
    uint64_t count;

    due_ns = pending_next_ns(engine) < engine->resync_due_ns ? pending_next_ns(engine) : engine->resync_due_ns;
    if (poll(fds, ARRAY_SIZE(fds), timeout_of(due_ns, now_ns)) < 0)
        return;
    if (fds[0].revents & POLLIN)
        (void)!read(engine->wake_fd, &count, sizeof(count));
    if (fds[1].revents == 0)
        return;
    if (kernel->ops->event_drain(kernel)) {
        now_ns = clock_monotonic_ns();
        look_ns = engine->resync_ended_ns + 4 * engine->resync_took_ns;
        engine_resync_by(engine, look_ns > now_ns + RESYNC_DEBOUNCE_NS ? look_ns : now_ns + RESYNC_DEBOUNCE_NS);
    }
}

static void engine_carry_out(struct engine *engine, struct change *change)
{
    switch (change->kind) {
    case CHANGE_TOKEN_CREATE:
    case CHANGE_TOKEN_DELETE:
        tokens_change(engine, change);
        break;
    case CHANGE_AUDIT_READ:
        journal_answer(engine, change);
        break;
    default:
        engine_change(engine, change);
        break;
    }
}

static void *engine_main(void *argument)
{
    struct engine *engine = argument;

    for (;;) {
        struct change *change;
        bool stopping;

        if (engine->resync_due_ns <= clock_monotonic_ns())
            engine_resync(engine);
        pending_tick(engine);
        change = queue_take(engine, &stopping);
        if (change && stopping)
            refuse_for_shutdown(change);
        else if (change)
            engine_carry_out(engine, change);
        else if (stopping)
            return NULL;
        else
            engine_wait(engine);
    }
}

static void engine_wake(struct engine *engine)
{
    uint64_t one = 1;

    (void)!write(engine->wake_fd, &one, sizeof(one)); /* can only fail when it is awake already */
}

/* ---- the start and the end --------------------------------------------------------------------------------------- */

static void engine_free(struct engine *engine)
{
    for (size_t i = 0; i < engine->device_count; i++)
        tracked_free(engine->devices[i]);
    for (size_t i = 0; i < engine->ghost_count; i++)
        ghost_done(&engine->ghosts[i]);
    free(engine->devices);
    free(engine->ghosts);
    pending_free(engine->pending);
    snapshot_release(engine->snapshot);
    journal_done(&engine->journal);
    tokens_release(engine->tokens);
    event_ring_done(&engine->events);
    fd_done(&engine->wake_fd);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

/* Takes the documents out of `stored`. */
static int engine_load(struct engine *engine, struct stored_device *stored, size_t count, struct err *ret_err)
{
    engine->devices = calloc(count + 1, sizeof(*engine->devices));
    if (!engine->devices)
        return err_no_memory(ret_err);
    engine->device_capacity = count + 1;
    for (size_t i = 0; i < count; i++) {
        struct document *document = document_new(stored[i].device);
        struct tracked *tracked;

        stored[i].device = NULL;
        if (!document)
            return err_no_memory(ret_err);
        tracked =
            tracked_new(&stored[i].uuid, document, stored[i].generation, stored[i].created_ns, stored[i].changed_ns);
        if (!tracked)
            return err_no_memory(ret_err);
        engine->devices[engine->device_count++] = tracked;
    }
    return 0;
}

/* One change that a crash broke off: of a device that is there, or of one that never came to be. Takes the document out
 * of `attempt`. */
static int engine_load_attempt(struct engine *engine, struct stored_device *attempt, struct err *ret_err)
{
    void *ghosts = engine->ghosts;
    struct document *tried = document_new(attempt->device), *found = NULL;

    attempt->device = NULL;
    if (!tried)
        return err_no_memory(ret_err);
    for (size_t i = 0; i < engine->device_count; i++) {
        if (uuid_equal(&engine->devices[i]->view.stored.uuid, &attempt->uuid)) {
            engine->devices[i]->tried = tried;
            engine->devices[i]->adopts = attempt->adopts;
            return 0;
        }
    }
    if (attempt->adopts)
        found = handover_found(tried->device);
    if ((attempt->adopts && !found) ||
        array_grow(&ghosts, &engine->ghost_capacity, engine->ghost_count, sizeof(*engine->ghosts)) < 0) {
        document_release(tried);
        document_release(found);
        return err_no_memory(ret_err);
    }
    engine->ghosts = ghosts;
    engine->ghosts[engine->ghost_count++] = (struct ghost){.uuid = attempt->uuid, .tried = tried, .found = found};
    return 0;
}

static int engine_load_attempts(struct engine *engine, struct err *ret_err)
{
    struct stored_device *attempts = NULL;
    size_t count = 0;
    int r = store_attempts_load(engine->store, &attempts, &count, ret_err);

    for (size_t i = 0; r == 0 && i < count; i++) {
        log_warning("%s: the daemon was killed during a change of it", attempts[i].device->name);
        r = engine_load_attempt(engine, &attempts[i], ret_err);
    }
    for (size_t i = 0; i < count; i++)
        stored_device_done(&attempts[i]);
    free(attempts);
    return r;
}

static int engine_load_stored(struct engine *engine, struct err *ret_err)
{
    struct stored_device *stored = NULL;
    size_t count = 0;
    int r = store_devices_load(engine->store, &stored, &count, ret_err);

    if (r < 0)
        return r;
    r = engine_load(engine, stored, count, ret_err);
    for (size_t i = 0; i < count; i++)
        stored_device_done(&stored[i]);
    free(stored);
    if (r == 0)
        r = engine_load_attempts(engine, ret_err);
    if (r == 0) {
        engine->snapshot = snapshot_new(engine);
        if (!engine->snapshot)
            return err_no_memory(ret_err);
        engine->sequence = engine->snapshot->sequence;
        r = journal_begin(engine, ret_err);
    }
    return r;
}

static int engine_begin(struct engine *engine, struct err *ret_err)
{
    int r;

    engine->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (engine->wake_fd < 0)
        return err_set_kernel(ret_err, -errno, "eventfd", "the engine cannot start");
    r = pending_load(engine, ret_err);
    engine->revision = store_revision(engine->store);
    if (r == 0)
        r = journal_load(engine, ret_err);
    if (r == 0)
        r = tokens_load(engine, ret_err);
    if (r == 0)
        r = engine_load_stored(engine, ret_err);
    if (r < 0)
        return r;
    r = pthread_create(&engine->thread, NULL, engine_main, engine);
    return r == 0 ? 0 : err_set_kernel(ret_err, -r, "pthread_create", "the engine cannot start");
}

int engine_start(const struct engine_options *options, struct engine **ret_engine, struct err *ret_err)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    int r;

    if (!engine)
        return err_no_memory(ret_err);
    engine->options = *options;
    engine->store = options->store;
    engine->kernel = options->kernel;
    engine->store_writable = true;
    engine->netd_connected = options->kernel->ops->connected(options->kernel);
    engine->wake_fd = -1;
    store_installation(engine->store, engine->installation);
    pthread_mutex_init(&engine->lock, NULL);
    r = engine_begin(engine, ret_err);
    if (r < 0) {
        engine_free(engine);
        return r;
    }
    *ret_engine = engine;
    return 0;
}

void engine_stop(struct engine *engine)
{
    if (!engine)
        return;
    pthread_mutex_lock(&engine->lock);
    engine->stopping = true;
    pthread_mutex_unlock(&engine->lock);
    engine_wake(engine);
    pthread_join(engine->thread, NULL);
    engine_free(engine);
}

/* ---- from any thread --------------------------------------------------------------------------------------------- */

void engine_submit(struct engine *engine, struct change *change)
{
    bool closed;

    change->next = NULL;
    pthread_mutex_lock(&engine->lock);
    closed = engine->closed;
    if (!closed) {
        if (engine->last)
            engine->last->next = change;
        else
            engine->first = change;
        engine->last = change;
    }
    pthread_mutex_unlock(&engine->lock);
    if (closed)
        refuse_for_shutdown(change); /* the thread has left its loop */
    else
        engine_wake(engine);
}

const struct snapshot *engine_snapshot(struct engine *engine)
{
    const struct snapshot *snapshot;

    pthread_mutex_lock(&engine->lock);
    snapshot = snapshot_share(engine->snapshot);
    pthread_mutex_unlock(&engine->lock);
    return snapshot;
}

size_t engine_events(struct engine *engine, uint64_t after, struct event *ret_events, size_t room, uint64_t *ret_oldest,
                     uint64_t *ret_newest)
{
    size_t count;

    pthread_mutex_lock(&engine->lock);
    count = event_ring_copy(&engine->events, after, ret_events, room, ret_oldest, ret_newest);
    pthread_mutex_unlock(&engine->lock);
    return count;
}

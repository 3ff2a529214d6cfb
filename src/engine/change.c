/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One change, from the request to its answer. The order is what keeps the promise that anything but a success changed
 * nothing: all that can be refused cheaply comes first, the store holds its transaction open while the kernel is
 * changed, the snapshot is made before the commit, and after the commit nothing can fail any more. Each failure takes
 * the same way back: the kernel converges to the document of before, and the transaction is rolled back.
 *
 * Where even that fails, because netd died meanwhile, what may have been left behind is remembered: as `tried` of the
 * device, or as a ghost where there is no device. The next resync deals with it. A crash of ours is the same case: what
 * could not be found by its mark then is written down before the first step (attempt_announce).
 */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct attempt {
    struct engine *engine;
    struct change *change;
    size_t place;              /* of the device in the engine's list, or where it belongs */
    struct tracked *current;   /* borrowed; NULL: there is none yet */
    struct document *next;     /* one reference; NULL: the device goes */
    struct tracked *candidate; /* owned until the commit; NULL: it goes, or its document stays as it is */
    enum change_outcome outcome;
    bool writes; /* the document differs: there is something to commit */
    struct uuid uuid;
    struct converge_item item;
    struct observed look;
};

static void attempt_done(struct attempt *attempt)
{
    document_release(attempt->next);
    tracked_free(attempt->candidate);
    observed_done(&attempt->look);
}

static int attempt_fail(struct attempt *attempt, int error, const struct err *err)
{
    err_list_add_err(&attempt->change->errors, err);
    return error;
}

static int attempt_no_memory(struct attempt *attempt)
{
    struct err err;
    int r = err_no_memory(&err);

    return attempt_fail(attempt, r, &err);
}

/* ---- what it is about -------------------------------------------------------------------------------------------- */

/* RFC 9562, version 8: the installation's id, and the rest is random. */
static int uuid_make(const struct engine *engine, struct uuid *ret_uuid)
{
    struct uuid uuid;
    int r = random_bytes(uuid.bytes, sizeof(uuid.bytes));

    if (r < 0)
        return r;
    memcpy(uuid.bytes, engine->installation, sizeof(engine->installation));
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x80);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    *ret_uuid = uuid;
    return 0;
}

static void attempt_aim(struct attempt *attempt, const struct device *next)
{
    const struct device *current = attempt->current ? attempt->current->document->device : NULL;
    const struct device *named = next ? next : current;

    attempt->item.wanted = (struct wanted){
        .uuid = attempt->uuid,
        .name = named->name,
        .netns = current ? current->netns : named->netns,
        .now = next,
        .before = current,
    };
}

static int attempt_validate(struct attempt *attempt, const struct device *next)
{
    struct err_list *errors = &attempt->change->errors;
    int r = device_validate(next, errors);
    int rules = edit_check(attempt->engine, next, errors);

    if (r < 0 && errors->count == 0)
        return attempt_no_memory(attempt);
    return r < 0 ? r : rules;
}

/* A look at the kernel, and with it the name of a device that has none yet. */
static int attempt_look(struct attempt *attempt, struct device *next)
{
    struct engine *engine = attempt->engine;
    struct err err = {0};
    int r;

    attempt_aim(attempt, next);
    r = converge_look(engine->kernel, &attempt->item, 1, &attempt->look, &err);
    if (r == 0) {
        engine_note_connection(engine, true);
        if (attempt->change->kind == CHANGE_DEVICE_CREATE)
            r = edit_number(engine, &attempt->look, next, &err);
    } else if (error_is_absence(r, &err)) {
        engine_note_connection(engine, false);
    }
    return r < 0 ? attempt_fail(attempt, r, &err) : 0;
}

/* Everything that a success will need is made here, while failing still costs nothing. */
static int attempt_prepare(struct attempt *attempt)
{
    struct engine *engine = attempt->engine;
    void *devices = engine->devices, *ghosts = engine->ghosts;
    int64_t now_ns = clock_realtime_ns();

    if (array_grow(&devices, &engine->device_capacity, engine->device_count, sizeof(*engine->devices)) < 0)
        return attempt_no_memory(attempt);
    engine->devices = devices;
    if (array_grow(&ghosts, &engine->ghost_capacity, engine->ghost_count, sizeof(*engine->ghosts)) < 0)
        return attempt_no_memory(attempt);
    engine->ghosts = ghosts;
    if (!attempt->writes || !attempt->next)
        return 0;
    if (attempt->current)
        attempt->candidate = tracked_change(attempt->current, document_share(attempt->next), now_ns);
    else
        attempt->candidate = tracked_new(&attempt->uuid, document_share(attempt->next), 1, now_ns, now_ns);
    return attempt->candidate ? 0 : attempt_no_memory(attempt);
}

static const char *change_name(const struct change *change)
{
    return change->device ? change->device->name : change->name;
}

static int attempt_begin(struct attempt *attempt)
{
    struct engine *engine = attempt->engine;
    const char *name = change_name(attempt->change);
    struct edit edit = {0};
    struct err err = {0};
    int r;

    if (engine_find(engine, name, &attempt->place))
        attempt->current = engine->devices[attempt->place];
    r = edit_make(attempt->change, attempt->current ? attempt->current->document->device : NULL, &edit);
    if (r < 0)
        return r;
    attempt->outcome = edit.outcome;
    attempt->writes = edit.outcome != OUTCOME_UNCHANGED;
    if (attempt->current)
        attempt->uuid = attempt->current->view.stored.uuid;
    else
        r = uuid_make(engine, &attempt->uuid);
    if (r < 0)
        err_list_add(&attempt->change->errors, ERR_INTERNAL, "", "the kernel gave no random bytes");
    if (r == 0 && edit.next && attempt->writes)
        r = attempt_validate(attempt, edit.next);
    if (r == 0) {
        r = engine_settle(engine, edit.next ? edit.next->name : name, &err);
        if (r < 0)
            attempt_fail(attempt, r, &err);
    }
    if (r == 0)
        r = attempt_look(attempt, edit.next);
    if (r < 0) {
        device_free(edit.next);
        return r;
    }
    if (edit.next) {
        attempt->next = document_new(edit.next);
        if (!attempt->next)
            return attempt_no_memory(attempt);
        (void)engine_find(engine, attempt->next->device->name, &attempt->place); /* a number has come into the name */
    }
    attempt_aim(attempt, attempt->next ? attempt->next->device : NULL);
    return attempt_prepare(attempt);
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static int attempt_store_failed(struct attempt *attempt, int error, const struct err *err)
{
    struct engine *engine = attempt->engine;

    if (err->code == ERR_STORE_FULL || err->code == ERR_STORE_UNAVAILABLE) {
        if (engine->store_writable)
            log_warning("the store cannot be written: %s", err->message);
        engine->dirty |= engine->store_writable;
        engine->store_writable = false;
        engine_resync_by(engine, clock_monotonic_ns() + NSEC_PER_SEC);
    }
    return attempt_fail(attempt, error, err);
}

/* Whether it adds a route that belongs to no device. Devices carry our mark, and take their own routes and addresses
 * with them; such a route could not be told from anybody else's after a crash. */
static bool attempt_adds_unattached(const struct attempt *attempt)
{
    const struct device *next = attempt->next ? attempt->next->device : NULL;
    const struct device *current = attempt->current ? attempt->current->document->device : NULL;

    for (size_t i = 0; next && i < next->route_count; i++) {
        bool known = !route_is_unattached(&next->routes[i]);

        for (size_t j = 0; current && !known && j < current->route_count; j++)
            known = route_equal(&next->routes[i], &current->routes[j]);
        if (!known)
            return true;
    }
    return false;
}

/* Says what is going to be done before it is, in a transaction of its own: whoever starts after a crash reads it. */
static int attempt_announce(struct attempt *attempt)
{
    struct store *store = attempt->engine->store;
    struct err err = {0};
    int r;

    if (!attempt_adds_unattached(attempt))
        return 0;
    r = store_begin(store, &err);
    if (r == 0)
        r = store_attempt_put(store, &attempt->uuid, attempt->next->device, false, &err);
    if (r == 0)
        r = store_commit(store, &err);
    if (r < 0) {
        store_rollback(store);
        return attempt_store_failed(attempt, r, &err);
    }
    return 0;
}

static int attempt_store(struct attempt *attempt)
{
    struct store *store = attempt->engine->store;
    struct err err = {0};
    int r;

    if (!attempt->writes)
        return 0;
    r = attempt_announce(attempt);
    if (r < 0)
        return r;
    r = store_begin(store, &err);
    if (r == 0 && attempt->candidate)
        r = store_device_put(store, &attempt->candidate->view.stored, &err);
    else if (r == 0)
        r = store_device_delete(store, tracked_name(attempt->current), &err);
    if (r == 0)
        r = store_attempt_delete(store, &attempt->uuid, &err);
    if (r < 0) {
        store_rollback(store);
        engine_forget_attempt(attempt->engine, &attempt->uuid); /* nothing of it was begun */
        return attempt_store_failed(attempt, r, &err);
    }
    return 0;
}

/* ---- the way back ------------------------------------------------------------------------------------------------ */

static void remember_remains(struct attempt *attempt)
{
    struct engine *engine = attempt->engine;

    if (!attempt->next)
        return; /* the document of before says all there is to know */
    if (attempt->current) {
        document_release(attempt->current->tried);
        attempt->current->tried = document_share(attempt->next);
    } else {
        engine->ghosts[engine->ghost_count++] =
            (struct ghost){.uuid = attempt->uuid, .tried = document_share(attempt->next)};
    }
    engine_resync_by(engine, clock_monotonic_ns() + RETRY_FIRST_NS);
}

/* Whether a step was carried out, or may have been: netd died over it. */
static bool attempt_touched_kernel(const struct attempt *attempt)
{
    return attempt->item.applied > 0 || error_is_absence(attempt->item.error, &attempt->item.err);
}

/* The kernel as it was before, as well as that goes. The same plan in the other direction. */
static void attempt_roll_back(struct attempt *attempt)
{
    struct engine *engine = attempt->engine;
    const struct device *current = attempt->current ? attempt->current->document->device : NULL;
    const struct device *next = attempt->next ? attempt->next->device : current;
    CLEANUP(plan_index_done) struct plan_index index = {0};
    struct device tried = *next;
    struct converge_item back = {
        .wanted = {.uuid = attempt->uuid, .name = next->name, .netns = next->netns, .now = current, .before = &tried},
        .worker_replaced = attempt->item.worker_replaced,
    };
    bool touched = attempt_touched_kernel(attempt);
    struct err err = {0};
    int r = 0;

    if (current && !attempt->item.recreated)
        tried.queues = current->queues; /* not even begun: the device is the one it was */
    if (touched)
        r = converge_look(engine->kernel, &back, 1, &attempt->look, &err);
    if (touched && r == 0)
        r = converge(engine->kernel, &back, 1, CONVERGE_ATOMIC, &attempt->look, &err);
    if (r < 0) {
        remember_remains(attempt);
        log_warning("%s: a failed change could not be rolled back: %s", next->name, err.message);
        err_list_add(&attempt->change->errors, err.code, err.pointer, "rolling back failed as well: %s", err.message);
        if (error_is_absence(r, &err))
            engine_note_connection(engine, false);
    } else {
        engine_forget_attempt(engine, &attempt->uuid);
    }
    if (!attempt->current)
        return;
    if (!touched || (r < 0 && back.error == 0) || plan_index_build(&attempt->look, &index) < 0)
        engine_finish_unseen(engine, attempt->current, &back);
    else
        engine_finish(engine, attempt->current, &back, &index);
    engine_resync_by(engine, clock_monotonic_ns() + RESYNC_DEBOUNCE_NS);
}

/* ---- the way there ----------------------------------------------------------------------------------------------- */

static int attempt_converge(struct attempt *attempt)
{
    struct engine *engine = attempt->engine;
    struct err err = {0};
    int r = converge(engine->kernel, &attempt->item, 1, CONVERGE_ATOMIC, &attempt->look, &err);

    if (r < 0) {
        attempt_fail(attempt, r, &err);
        if (error_is_absence(r, &err))
            engine_note_connection(engine, false);
    }
    return r;
}

/* Puts the candidate into the list, or the device of before back. */
static void list_exchange(struct attempt *attempt, struct tracked *out, struct tracked *in)
{
    struct engine *engine = attempt->engine;
    struct tracked **slot = &engine->devices[attempt->place];
    size_t behind = engine->device_count - attempt->place;

    if (out && in) {
        *slot = in;
    } else if (in) {
        memmove(slot + 1, slot, behind * sizeof(*slot));
        *slot = in;
        engine->device_count++;
    } else if (out) {
        memmove(slot, slot + 1, (behind - 1) * sizeof(*slot));
        engine->device_count--;
    }
}

/* The snapshot that readers will see if the commit succeeds; NULL: no memory. */
static struct snapshot *attempt_show(struct attempt *attempt)
{
    struct engine *engine = attempt->engine;
    CLEANUP(plan_index_done) struct plan_index index = {0};

    if (plan_index_build(&attempt->look, &index) < 0)
        return NULL;
    if (attempt->candidate)
        (void)tracked_observe(attempt->candidate, engine->kernel, &index, &attempt->item);
    return snapshot_new(engine);
}

static int attempt_commit(struct attempt *attempt)
{
    struct engine *engine = attempt->engine;
    bool was_writable = engine->store_writable;
    struct snapshot *snapshot;
    struct err err = {0};
    int r;

    list_exchange(attempt, attempt->current, attempt->candidate);
    engine->store_writable = true;
    snapshot = attempt_show(attempt);
    r = snapshot ? store_commit(engine->store, &err) : err_no_memory(&err);
    if (r < 0) {
        list_exchange(attempt, attempt->candidate, attempt->current);
        snapshot_release(snapshot);
        engine->store_writable = was_writable;
        return attempt_store_failed(attempt, r, &err);
    }
    tracked_free(attempt->current);
    attempt->current = NULL;
    attempt->candidate = NULL;
    engine_publish(engine, snapshot);
    return 0;
}

/* Nothing to commit: but what was seen and repaired on the way is worth showing. */
static void attempt_finish_unchanged(struct attempt *attempt, int error)
{
    struct engine *engine = attempt->engine;
    CLEANUP(plan_index_done) struct plan_index index = {0};

    if ((error < 0 && attempt->item.error == 0) || plan_index_build(&attempt->look, &index) < 0)
        engine_finish_unseen(engine, attempt->current, &attempt->item);
    else
        engine_finish(engine, attempt->current, &attempt->item, &index);
}

static int attempt_run(struct attempt *attempt)
{
    int r = attempt_begin(attempt);

    if (r == 0)
        r = attempt_store(attempt);
    if (r < 0)
        return r;
    r = attempt_converge(attempt);
    if (!attempt->writes) {
        attempt_finish_unchanged(attempt, r);
        return r;
    }
    if (r == 0)
        r = attempt_commit(attempt);
    if (r < 0) {
        store_rollback(attempt->engine->store);
        attempt_roll_back(attempt);
    }
    return r;
}

void change_refuse(struct change *change, const struct err *err)
{
    change->outcome = OUTCOME_FAILED;
    change->errors.count = 0;
    err_list_add_err(&change->errors, err);
    change->done(change);
}

void engine_change(struct engine *engine, struct change *change)
{
    struct attempt attempt = {.engine = engine, .change = change};
    int r;

    change->outcome = OUTCOME_FAILED;
    change->errors.count = 0;
    change->after = NULL;
    r = attempt_run(&attempt);
    engine_publish_if_dirty(engine);
    if (r == 0) {
        change->outcome = attempt.outcome;
        change->after = snapshot_share(engine->snapshot); /* only this thread replaces it */
        if (attempt.next)
            (void)text_copy(change->name, sizeof(change->name), attempt.next->device->name);
    }
    attempt_done(&attempt);
    change->done(change);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a transaction does, once nothing speaks against it: announce in the store what may outlive a crash, open the
 * store's transaction and put everything into it, lead the kernel there, and commit what it came to.
 */
#include "transaction.h"

#include <errno.h>

static int transaction_store_failed(const struct transaction *t, int error, const struct err *err)
{
    engine_note_store(t->engine, err);
    return transaction_fail(t, NULL, error, err);
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

/* Whether it adds a route that belongs to no device. Devices carry our mark, and take their own routes and addresses
 * with them; such a route could not be told from anybody else's after a crash. */
static bool part_adds_unattached(const struct part *part)
{
    const struct device *next = part->next ? part->next->device : NULL;
    const struct device *current = part->current ? part->current->document->device : NULL;

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
static int transaction_announce(struct transaction *t)
{
    struct store *store = t->engine->store;
    struct err err = {0};
    bool any = false;
    int r;

    for (size_t i = 0; i < t->count; i++) {
        struct part *part = &t->parts[i];

        part->announced = part->writes && (part->adopts || part->releases || part_adds_unattached(part));
        any = any || part->announced;
    }
    if (!any)
        return 0;
    r = store_begin(store, &err);
    for (size_t i = 0; r == 0 && i < t->count; i++) {
        const struct part *part = &t->parts[i];
        const struct document *document = part->tried ? part->tried : part->current->document;

        if (part->announced)
            r = store_attempt_put(store, &part->uuid, document->device, part->adopts || part->releases, &err);
    }
    if (r == 0)
        r = store_commit(store, &err);
    if (r < 0) {
        store_rollback(store);
        return transaction_store_failed(t, r, &err);
    }
    return 0;
}

/* A forced one leaves word of what is in the kernel: whoever converges to the new document has to undo it. */
static int part_store(const struct transaction *t, const struct part *part, struct err *ret_err)
{
    struct store *store = t->engine->store;
    int r;

    if (part->candidate)
        r = store_device_put(store, &part->candidate->view.stored, ret_err);
    else
        r = store_device_delete(store, tracked_name(part->current), ret_err);
    if (r < 0)
        return r;
    if (t->forced && part->found)
        return store_attempt_put(store, &part->uuid, part->tried->device, true, ret_err);
    if (t->forced && part->current)
        return store_attempt_put(store, &part->uuid, part->current->document->device, false, ret_err);
    return store_attempt_delete(store, &part->uuid, ret_err);
}

static int transaction_store(struct transaction *t)
{
    struct engine *engine = t->engine;
    struct store *store = engine->store;
    bool writes = transaction_writes(t);
    struct err err = {0};
    int r;

    if (!t->forced && transaction_announce(t) < 0)
        return -EIO;
    r = store_begin(store, &err);
    for (size_t i = 0; r == 0 && i < t->count; i++)
        if (t->parts[i].writes)
            r = part_store(t, &t->parts[i], &err);
    if (r == 0 && writes)
        r = store_revision_bump(store, &err);
    if (r == 0 && t->file)
        r = store_file_put(store, t->file, t->file_digest, clock_realtime_ns(), &err);
    if (r == 0 && t->ends_pending)
        r = store_pending_delete(store, &err);
    if (r == 0 && (writes || t->ends_pending))
        r = journal_audit(engine, t->actor, t->differences, &err);
    if (r < 0) {
        store_rollback(store);
        journal_rolled_back(engine);
        transaction_forget(t); /* nothing of it was begun */
        return transaction_store_failed(t, r, &err);
    }
    return 0;
}

/* ---- the way there ----------------------------------------------------------------------------------------------- */

static int transaction_converge(struct transaction *t)
{
    struct engine *engine = t->engine;
    struct err err = {0};
    int r;

    if (t->forced || t->count == 0)
        return 0;
    r = converge_telling(engine->kernel, t->items, t->count, CONVERGE_ATOMIC, &t->look, &t->progress, &err);
    if (r < 0) {
        (void)transaction_fail(t, transaction_culprit(t), r, &err);
        if (error_is_absence(r, &err))
            engine_note_connection(engine, false);
    }
    return r;
}

/* The engine as it will be, and once more: as it was. */
static void transaction_exchange(struct transaction *t)
{
    struct engine *engine = t->engine;
    struct tracked **list = engine->devices;
    struct pending *pending = engine->pending;
    size_t count = engine->device_count, capacity = engine->device_capacity;

    engine->devices = t->list;
    engine->device_count = t->list_count;
    engine->device_capacity = t->list_capacity;
    t->list = list;
    t->list_count = count;
    t->list_capacity = capacity;
    if (t->confirm_s || t->ends_pending) {
        engine->pending = t->pending;
        t->pending = pending;
    }
}

/* What was seen in the end, of each device. */
static int transaction_observe(struct transaction *t)
{
    struct engine *engine = t->engine;
    CLEANUP(plan_index_done) struct plan_index index = {0};

    if (t->forced || t->count == 0)
        return 0;
    if (plan_index_build(&t->look, &index) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < t->count; i++) {
        struct part *part = &t->parts[i];

        if (part->candidate)
            (void)tracked_observe(part->candidate, engine->kernel, &index, &t->items[i]);
        else if (!part->writes)
            engine_finish(engine, part->current, &t->items[i], &index);
    }
    return 0;
}

static void transaction_stage(const struct transaction *t)
{
    struct engine *engine = t->engine;
    char until[CLOCK_TEXT_SIZE];

    if (t->file && transaction_writes(t))
        journal_stage(engine, EVENT_FILE_APPLIED, "", "%s", t->file);
    if (t->pending)
        journal_stage(engine, EVENT_CONFIRMATION_PENDING, "", "until %s, by %s: %s",
                      clock_print(t->pending->stored.deadline_ns, until), t->actor->name, t->actor->operation);
    if (t->ends_pending && !t->reverts)
        journal_stage(engine, EVENT_CONFIG_CONFIRMED, "", "by %s", t->actor->name);
    else if (t->ends_pending)
        journal_stage(engine, EVENT_CONFIG_REVERTED, "", "%s%s%s",
                      engine->pending->is_over ? "it was not confirmed in time" : "by ",
                      engine->pending->is_over ? "" : t->actor->name,
                      t->forced ? "; the kernel does not follow yet" : "");
}

static int transaction_write_last(const struct transaction *t, const struct snapshot *snapshot, struct err *ret_err)
{
    struct store *store = t->engine->store;
    int r = 0;

    if (t->confirm_s && t->engine->pending)
        r = store_pending_put(store, &t->engine->pending->stored, ret_err);
    if (r == 0)
        r = journal_write(t->engine, snapshot, ret_err);
    return r == 0 ? store_commit(store, ret_err) : r;
}

/* A forced one leaves to the resync what was in the kernel of devices that are in no document any more. */
static void transaction_leave_ghosts(struct transaction *t)
{
    struct engine *engine = t->engine;

    for (size_t i = 0; i < t->count; i++) {
        const struct part *part = &t->parts[i];

        for (size_t j = engine->ghost_count; j > 0; j--) {
            struct ghost *ghost = &engine->ghosts[j - 1];

            if (!uuid_equal(&ghost->uuid, &part->uuid))
                continue;
            ghost_done(ghost); /* it has a document again, or is said again below */
            *ghost = engine->ghosts[--engine->ghost_count];
        }
        if (part->writes && !part->next)
            engine->ghosts[engine->ghost_count++] = (struct ghost){
                .uuid = part->uuid,
                .tried = document_share(part->found ? part->tried : part->current->document),
                .found = part->found ? document_share(part->found) : NULL,
            };
    }
    engine_resync_by(engine, clock_monotonic_ns());
}

static int transaction_commit(struct transaction *t)
{
    struct engine *engine = t->engine;
    bool was_writable = engine->store_writable, writes = transaction_writes(t);
    struct snapshot *snapshot = NULL;
    struct err err = {0};
    int r = transaction_observe(t);

    if (t->pending)
        pending_start(t->pending);
    transaction_stage(t);
    transaction_exchange(t);
    engine->store_writable = true;
    engine->revision += writes;
    if (r == 0)
        snapshot = snapshot_new(engine);
    r = snapshot ? transaction_write_last(t, snapshot, &err) : err_no_memory(&err);
    if (r < 0) {
        transaction_exchange(t);
        snapshot_release(snapshot);
        engine->store_writable = was_writable;
        engine->revision -= writes;
        return transaction_store_failed(t, r, &err);
    }
    if (t->forced)
        transaction_leave_ghosts(t);
    for (size_t i = 0; i < t->count; i++) {
        if (t->parts[i].writes)
            tracked_free(t->parts[i].current);
        t->parts[i].current = NULL;
        t->parts[i].candidate = NULL;
    }
    engine_publish(engine, snapshot);
    return 0;
}

/* Nothing to commit: but what was seen and repaired on the way is worth showing. */
static void transaction_finish_unchanged(struct transaction *t, int error)
{
    struct engine *engine = t->engine;
    CLEANUP(plan_index_done) struct plan_index index = {0};
    bool seen = t->count > 0 && plan_index_build(&t->look, &index) == 0;

    for (size_t i = 0; i < t->count; i++) {
        if (!seen || (error < 0 && t->items[i].error == 0))
            engine_finish_unseen(engine, t->parts[i].current, &t->items[i]);
        else
            engine_finish(engine, t->parts[i].current, &t->items[i], &index);
    }
}

int transaction_carry_out(struct transaction *t)
{
    bool stores = transaction_writes(t) || t->ends_pending || t->file;
    int r = stores ? transaction_store(t) : 0;

    if (r < 0)
        return r;
    r = transaction_converge(t);
    if (!stores) {
        transaction_finish_unchanged(t, r);
        return r;
    }
    if (r == 0)
        r = transaction_commit(t);
    if (r < 0) {
        store_rollback(t->engine->store);
        journal_rolled_back(t->engine);
        transaction_roll_back(t);
    }
    return r;
}

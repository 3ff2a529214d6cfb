/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All devices at once, each as well as it goes: at the start, when the kernel says that something changed, when a
 * failed device is due for another try, and every minute besides. Where all is right this is one look and nothing else.
 */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void engine_resync_by(struct engine *engine, int64_t due_ns)
{
    if (due_ns < engine->resync_due_ns)
        engine->resync_due_ns = due_ns;
}

void engine_note_connection(struct engine *engine, bool connected)
{
    if (!connected)
        engine_resync_by(engine, clock_monotonic_ns() + ABSENCE_RETRY_NS);
    if (engine->netd_connected == connected)
        return;
    engine->netd_connected = connected;
    engine->dirty = true;
    if (connected)
        log_info("tunwright-netd is there");
    else
        log_warning("tunwright-netd is away: tunnels go on, changes have to wait");
}

static void engine_back_off(struct engine *engine, struct tracked *tracked)
{
    tracked->backoff_ns = tracked->backoff_ns ? tracked->backoff_ns * 2 : RETRY_FIRST_NS;
    if (tracked->backoff_ns > RETRY_MOST_NS)
        tracked->backoff_ns = RETRY_MOST_NS;
    tracked->retry_ns = clock_monotonic_ns() + tracked->backoff_ns;
    engine_resync_by(engine, tracked->retry_ns);
}

/* ---- what failed changes and crashes left behind ----------------------------------------------------------------- */

struct converge_item ghost_item(const struct ghost *ghost)
{
    return (struct converge_item){
        .wanted =
            {
                .uuid = ghost->uuid,
                .name = ghost->tried->device->name,
                .netns = ghost->tried->device->netns,
                .now = ghost->found ? ghost->found->device : NULL,
                .before = ghost->tried->device,
                .releases = ghost->found != NULL,
            },
    };
}

void ghost_done(struct ghost *ghost)
{
    document_release(ghost->tried);
    document_release(ghost->found);
    memset(ghost, 0, sizeof(*ghost));
}

/* What a change of that device was about to do is done, or undone. No transaction may be open. Where this fails, the row
 * says after the next start what is no longer so, and one look finds nothing to do. */
static void attempt_forget(struct engine *engine, const struct uuid *uuid)
{
    if (store_begin(engine->store, NULL) < 0)
        return;
    if (store_attempt_delete(engine->store, uuid, NULL) < 0 || store_commit(engine->store, NULL) < 0)
        store_rollback(engine->store);
}

static void tried_drop(struct engine *engine, struct tracked *tracked)
{
    if (!tracked->tried)
        return;
    attempt_forget(engine, &tracked->view.stored.uuid);
    document_release(tracked->tried);
    tracked->tried = NULL;
}

static void ghost_drop(struct engine *engine, size_t place)
{
    attempt_forget(engine, &engine->ghosts[place].uuid);
    ghost_done(&engine->ghosts[place]);
    engine->ghosts[place] = engine->ghosts[--engine->ghost_count];
}

static int uuids_in_order(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

/* Appends an item for each device that carries our installation's mark and is in no document: a daemon was killed
 * between making it and committing it. `known` is sorted. */
static size_t orphans_add(const struct engine *engine, const struct observed *look, const struct uuid *known,
                          size_t known_count, struct converge_item *items)
{
    size_t count = 0;

    for (size_t i = 0; i < look->link_count; i++) {
        const struct observed_link *link = &look->links[i];

        if (!link->ours || link->kind == OBSERVED_OTHER ||
            memcmp(link->uuid.bytes, engine->installation, sizeof(engine->installation)) != 0)
            continue;
        if (known_count > 0 && bsearch(&link->uuid, known, known_count, sizeof(*known), uuids_in_order))
            continue;
        log_warning("%s is ours and in no document: it goes", link->name);
        /* the look moves on while the item is in use: these must be the item's own */
        items[count++] =
            (struct converge_item){.wanted = {.uuid = link->uuid, .name = link->name, .netns = link->netns}};
    }
    return count;
}

/* ---- the items --------------------------------------------------------------------------------------------------- */

/* All devices of the configuration, then ghosts, then orphans. */
struct resync {
    struct converge_item *items;
    size_t count;
    struct observed look;  /* the last one */
    struct observed first; /* holds the names of the orphans */
};

static void resync_done(struct resync *resync)
{
    free(resync->items);
    observed_done(&resync->look);
    observed_done(&resync->first);
}

/* What it failed for is no longer so. Others than these are tried again when their time has come. */
static bool tracked_cause_is_gone(const struct tracked *tracked, const struct observed *look)
{
    const struct device *device = tracked->document->device;
    const struct err *reason = &tracked->view.reason;

    if (reason->code == ERR_FOREIGN_DEVICE)
        return true; /* whether a name has become free is seen by planning alone: that need not wait */
    if (reason->sys_errno != ENODEV && reason->sys_errno != ENOENT)
        return false;
    if (strcmp(reason->pointer, "/master") == 0)
        return observed_link_find(look, device->netns, device->master);
    if (strcmp(reason->pointer, "/netns") == 0)
        return observed_link_find(look, device->netns, "lo");
    return false;
}

static bool tracked_is_held(const struct tracked *tracked, const struct observed *look, int64_t now_ns)
{
    const struct snapshot_device *view = &tracked->view;

    if (tracked->retry_ns != 0)
        return tracked->retry_ns > now_ns && !tracked_cause_is_gone(tracked, look);
    if (tracked->tried || view->observed_generation != view->stored.generation)
        return false;
    /* it was right once: what differs now is somebody else's doing, which this document does not want undone, or which
     * is done again and again */
    return tracked->document->device->drift == DRIFT_REPORT || contest_holds(tracked, now_ns);
}

static bool tracked_lacks_address(const struct tracked *tracked)
{
    return tracked->retry_ns != 0 && tracked->view.reason.code == ERR_ADDRESS_IN_USE;
}

/*
 * A daemon was killed while workers changed places: each has an address that another of them is to have, and none can
 * be told to leave its own for the next one's. A change sees that in the documents of before and after; here, that two
 * or more failed of it is all there is to see. They are tried together, and those that run stop first.
 */
static void resync_untangle(const struct engine *engine, struct resync *resync)
{
    size_t lacking = 0, due = 0;

    for (size_t i = 0; i < engine->device_count; i++) {
        bool lacks = tracked_lacks_address(engine->devices[i]);

        lacking += lacks;
        due += lacks && !resync->items[i].held;
    }
    for (size_t i = 0; lacking > 1 && due > 0 && i < engine->device_count; i++) {
        if (!tracked_lacks_address(engine->devices[i]))
            continue;
        resync->items[i].held = false;
        resync->items[i].wanted.yields = true;
    }
}

static int resync_begin(struct engine *engine, struct resync *resync, struct err *ret_err)
{
    size_t known_count = engine->device_count + engine->ghost_count;
    struct uuid *known = calloc(known_count + 1, sizeof(*known));
    int64_t now_ns = clock_monotonic_ns();
    void *grown;
    int r;

    resync->items = calloc(known_count + 1, sizeof(*resync->items));
    if (!known || !resync->items) {
        free(known);
        return err_no_memory(ret_err);
    }
    for (size_t i = 0; i < engine->device_count; i++)
        resync->items[i] = tracked_item(engine->devices[i]);
    for (size_t i = 0; i < engine->ghost_count; i++)
        resync->items[engine->device_count + i] = ghost_item(&engine->ghosts[i]);
    for (size_t i = 0; i < known_count; i++)
        known[i] = resync->items[i].wanted.uuid;
    qsort(known, known_count, sizeof(*known), uuids_in_order);
    resync->count = known_count;
    r = converge_look(engine->kernel, resync->items, resync->count, &resync->look, ret_err);
    for (size_t i = 0; r == 0 && i < engine->device_count; i++)
        resync->items[i].held = tracked_is_held(engine->devices[i], &resync->look, now_ns);
    resync_untangle(engine, resync);
    if (r == 0) {
        grown = realloc(resync->items, (known_count + resync->look.link_count + 1) * sizeof(*resync->items));
        if (grown) {
            resync->items = grown;
            resync->count += orphans_add(engine, &resync->look, known, known_count, resync->items + known_count);
        } else {
            r = err_no_memory(ret_err);
        }
    }
    free(known);
    return r;
}

/* The orphans' names are those of the first look, which therefore has to last as long as the items. */
static int resync_converge(struct engine *engine, struct resync *resync, struct err *ret_err)
{
    int r;

    if (resync->count > engine->device_count + engine->ghost_count) {
        resync->first = resync->look;
        memset(&resync->look, 0, sizeof(resync->look));
        r = converge_look(engine->kernel, resync->items, resync->count, &resync->look, ret_err);
        if (r < 0)
            return r;
    }
    return converge(engine->kernel, resync->items, resync->count, CONVERGE_BEST_EFFORT, &resync->look, ret_err);
}

/* ---- what it came to --------------------------------------------------------------------------------------------- */

static void tracked_finish(struct engine *engine, struct tracked *tracked, const struct converge_item *item,
                           const struct plan_index *index)
{
    bool was_failed = tracked->view.state == STATE_FAILED || tracked->view.state == STATE_CONFLICT;

    if (item->error == 0 && !item->differs) {
        tracked->retry_ns = tracked->backoff_ns = 0;
        tracked->adopts = false;
        tried_drop(engine, tracked);
    } else if (item->error < 0 && !item->held) {
        if (item->err.code == ERR_NOT_FOUND)
            tracked->adopts = false; /* it is not there at all: next time it is made */
        engine_back_off(engine, tracked);
        if (!was_failed)
            log_warning("%s: %s", tracked_name(tracked), item->err.message);
    } else if (tracked->retry_ns != 0) {
        engine_resync_by(engine, tracked->retry_ns);
    }
    engine->dirty |= tracked_observe(tracked, engine->kernel, index, item);
}

/* Of a change: whoever asked for it asked for this, too, that we try again. */
void engine_finish(struct engine *engine, struct tracked *tracked, const struct converge_item *item,
                   const struct plan_index *index)
{
    contest_end(tracked);
    tracked_finish(engine, tracked, item, index);
}

/* Of a look at all of them: what differed was somebody else's doing, or is. */
static void resync_finish_device(struct engine *engine, struct tracked *tracked, const struct converge_item *item,
                                 const struct plan_index *index)
{
    bool was_ready = tracked->view.state == STATE_READY;
    bool in_order = item->error == 0 && !item->differs;
    int64_t now_ns = clock_monotonic_ns();

    if (item->held && item->differs && tracked->retry_ns == 0 && tracked->document->device->drift != DRIFT_REPORT)
        contest_begin(tracked, now_ns);
    else if (tracked->contested && (in_order || !item->held))
        contest_end(tracked);
    else if (in_order && item->applied > 0 && was_ready)
        contest_repaired(tracked, item, now_ns);
    tracked_finish(engine, tracked, item, index);
    if (tracked->contested)
        engine_resync_by(engine, contest_due_ns(tracked));
}

void engine_finish_unseen(struct engine *engine, struct tracked *tracked, const struct converge_item *item)
{
    if (item->worker_replaced && tracked->view.counters) {
        counter_mapping_release(tracked->view.counters);
        tracked->view.counters = NULL;
        engine->dirty = true;
    }
}

static void resync_finish(struct engine *engine, struct resync *resync)
{
    CLEANUP(plan_index_done) struct plan_index index = {0};

    if (plan_index_build(&resync->look, &index) < 0) {
        engine_resync_by(engine, clock_monotonic_ns() + NSEC_PER_SEC);
        return;
    }
    for (size_t i = 0; i < engine->device_count; i++)
        resync_finish_device(engine, engine->devices[i], &resync->items[i], &index);
    for (size_t i = engine->ghost_count; i > 0; i--)
        if (resync->items[engine->device_count + i - 1].error == 0)
            ghost_drop(engine, i - 1);
    if (engine->ghost_count > 0)
        engine_resync_by(engine, clock_monotonic_ns() + NSEC_PER_SEC);
}

/* The kernel could not be seen to the end. Nothing is known to be wrong: what was ready stays so. */
static void resync_fail(struct engine *engine, const struct resync *resync, int error, const struct err *err)
{
    if (error_is_absence(error, err))
        engine_note_connection(engine, false);
    else
        engine_resync_by(engine, clock_monotonic_ns() + NSEC_PER_SEC);
    for (size_t i = 0; i < engine->device_count; i++) {
        if (i < resync->count)
            engine_finish_unseen(engine, engine->devices[i], &resync->items[i]);
        if (engine->devices[i]->view.state == STATE_PENDING)
            engine->dirty |= tracked_set_state(engine->devices[i], STATE_PENDING, err);
    }
}

/* A store that refused to be written says so only when it is asked again. Where events wait to be written, they are the
 * question, and come after this. */
static void engine_probe_store(struct engine *engine)
{
    if (!engine->journal.is_behind && store_probe(engine->store, NULL) == 0) {
        engine->store_writable = true;
        engine->dirty = true;
    }
}

void engine_resync(struct engine *engine)
{
    CLEANUP(resync_done) struct resync resync = {0};
    int64_t begun_ns = clock_monotonic_ns();
    struct err err = {0};
    int r;

    engine->resync_due_ns = begun_ns + RESYNC_INTERVAL_NS;
    r = resync_begin(engine, &resync, &err);
    if (r == 0) {
        engine_note_connection(engine, true);
        r = resync_converge(engine, &resync, &err);
    }
    if (r < 0) {
        resync_fail(engine, &resync, r, &err);
    } else {
        resync_finish(engine, &resync);
        if (!engine->settled)
            engine->dirty = true;
        engine->settled = true;
    }
    if (!engine->store_writable) {
        engine_probe_store(engine);
        engine_resync_by(engine, begun_ns + 5 * NSEC_PER_SEC);
    }
    engine_publish_if_dirty(engine);
    engine->resync_ended_ns = clock_monotonic_ns();
    engine->resync_took_ns = engine->resync_ended_ns - begun_ns;
}

/* ---- before a change --------------------------------------------------------------------------------------------- */

static bool engine_has_remains(const struct engine *engine, const char *name)
{
    size_t place;

    for (size_t i = 0; i < engine->ghost_count; i++)
        if (strcmp(engine->ghosts[i].tried->device->name, name) == 0)
            return true;
    return engine_find(engine, name, &place) && engine->devices[place]->tried;
}

/* Ghosts, then devices. */
static size_t remains_collect(const struct engine *engine, struct converge_item *items)
{
    size_t count = engine->ghost_count;

    for (size_t i = 0; i < engine->ghost_count; i++)
        items[i] = ghost_item(&engine->ghosts[i]);
    for (size_t i = 0; i < engine->device_count; i++)
        if (engine->devices[i]->tried)
            items[count++] = tracked_item(engine->devices[i]);
    return count;
}

static int err_pass(const struct converge_item *item, struct err *ret_err)
{
    *ret_err = item->err;
    return item->error;
}

/* The error of the item of that name, if it has one. The items' names may be gone with their ghosts afterwards. */
static int remains_finish(struct engine *engine, const char *name, const struct converge_item *items,
                          struct err *ret_err)
{
    size_t at = engine->ghost_count;
    int r = 0;

    for (size_t i = 0; i < engine->device_count; i++) {
        struct tracked *tracked = engine->devices[i];

        if (!tracked->tried)
            continue;
        engine_finish_unseen(engine, tracked, &items[at]);
        if (items[at].error == 0)
            tried_drop(engine, tracked);
        else if (strcmp(tracked_name(tracked), name) == 0)
            r = err_pass(&items[at], ret_err);
        at++;
    }
    for (size_t i = engine->ghost_count; i > 0; i--) {
        if (items[i - 1].error == 0)
            ghost_drop(engine, i - 1);
        else if (strcmp(engine->ghosts[i - 1].tried->device->name, name) == 0)
            r = err_pass(&items[i - 1], ret_err);
    }
    return r;
}

/* All that is remembered is dealt with together: what one device was left with may be what another lacks. */
int engine_settle(struct engine *engine, const char *name, struct err *ret_err)
{
    struct converge_item *items;
    struct observed look = {0};
    size_t count;
    int r;

    if (!engine_has_remains(engine, name))
        return 0;
    items = calloc(engine->ghost_count + engine->device_count, sizeof(*items));
    if (!items)
        return err_no_memory(ret_err);
    count = remains_collect(engine, items);
    r = converge_look(engine->kernel, items, count, &look, ret_err);
    if (r == 0)
        r = converge(engine->kernel, items, count, CONVERGE_BEST_EFFORT, &look, ret_err);
    if (r == 0)
        r = remains_finish(engine, name, items, ret_err);
    else if (error_is_absence(r, ret_err))
        engine_note_connection(engine, false);
    observed_done(&look);
    free(items);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way back of a transaction that failed: the kernel converges to the documents of before, by the same plan in the
 * other direction. One device that cannot be led back does not hold up the others.
 *
 * Where it fails, because netd died meanwhile, what may have been left behind is remembered: as `tried` of the device,
 * or as a ghost where there is no device. The next resync deals with it. A crash of ours is the same case: what could
 * not be found by its mark then was written down before the first step (transaction_announce).
 */
#include "transaction.h"

/* Whether a step was carried out, or may have been: netd died over it. */
static bool item_touched_kernel(const struct converge_item *item)
{
    return item->applied > 0 || error_is_absence(item->error, &item->err);
}

void transaction_forget(struct transaction *t)
{
    struct store *store = t->engine->store;
    bool any = false;
    int r = 0;

    for (size_t i = 0; i < t->count; i++)
        any = any || (t->parts[i].announced && !t->parts[i].remembered);
    if (!any || store_begin(store, NULL) < 0)
        return;
    for (size_t i = 0; r == 0 && i < t->count; i++)
        if (t->parts[i].announced && !t->parts[i].remembered)
            r = store_attempt_delete(store, &t->parts[i].uuid, NULL);
    if (r < 0 || store_commit(store, NULL) < 0)
        store_rollback(
            store); /* the rows say after the next start what is no longer so: one look finds nothing to do */
}

static void part_remember(struct engine *engine, struct part *part)
{
    if (part->next && part->current) {
        document_release(part->current->tried);
        part->current->tried = document_share(part->tried);
    } else if (part->next) {
        engine->ghosts[engine->ghost_count++] = (struct ghost){
            .uuid = part->uuid,
            .tried = document_share(part->tried),
            .found = part->found ? document_share(part->found) : NULL,
        };
    } else if (part->releases) {
        document_release(part->current->tried);
        part->current->tried = document_share(part->current->document);
        part->current->adopts = true;
    } /* else the document of before says all there is to know */
    part->remembered = true;
    engine_resync_by(engine, clock_monotonic_ns() + RETRY_FIRST_NS);
}

/* The item that undoes a part, and what it was about to become. */
static struct converge_item part_way_back(const struct part *part, const struct converge_item *item,
                                          struct device *ret_tried)
{
    const struct device *current = part->current ? part->current->document->device : NULL;
    const struct device *next = part->next ? part->next->device : current;

    *ret_tried = part->tried ? *part->tried->device : *current;
    if (current && !item->recreated)
        ret_tried->queues = current->queues; /* not even begun: the device is the one it was */
    return (struct converge_item){
        .wanted =
            {
                .uuid = part->uuid,
                .name = next->name,
                .netns = next->netns,
                .now = part->adopts ? part->found->device : current,
                .before = ret_tried,
                .adopts = part->releases,
                .releases = part->adopts,
                .yields = part->yields_back,
            },
        .worker_replaced = item->worker_replaced,
    };
}

/* Those that touched the kernel, one behind the other. */
static size_t transaction_turn_round(struct transaction *t)
{
    size_t count = 0;

    for (size_t i = 0; i < t->count; i++) {
        t->parts[i].touched = item_touched_kernel(&t->items[i]);
        if (t->parts[i].touched) {
            t->back[count] = part_way_back(&t->parts[i], &t->items[i], &t->tried[count]);
            count++;
        }
    }
    return count;
}

static void part_blame_rollback(const struct transaction *t, const struct part *part, const struct err *err)
{
    struct err told = *err;

    log_warning("%s: a failed change could not be rolled back: %s", part_name(part), err->message);
    (void)err_set(&told, 0, err->code, err->pointer, "rolling back failed as well: %s", err->message);
    (void)transaction_fail(t, part, 0, &told);
}

/* What became of each device. */
static void transaction_finish_back(struct transaction *t, int error, const struct err *err)
{
    struct engine *engine = t->engine;
    CLEANUP(plan_index_done) struct plan_index index = {0};
    bool seen = plan_index_build(&t->look, &index) == 0, told = false;

    for (size_t i = 0, at = 0; i < t->count; i++) {
        struct part *part = &t->parts[i];
        struct converge_item *item = part->touched ? &t->back[at++] : &t->items[i];
        bool failed = part->touched && (error < 0 || item->error < 0);

        if (failed) {
            part_remember(engine, part);
            if (!told)
                part_blame_rollback(t, part, item->error < 0 ? &item->err : err);
            told = true;
        }
        if (!part->current)
            continue;
        if (!part->touched || !seen || (error < 0 && item->error == 0))
            engine_finish_unseen(engine, part->current, item);
        else
            engine_finish(engine, part->current, item, &index);
    }
}

void transaction_roll_back(struct transaction *t)
{
    struct engine *engine = t->engine;
    size_t count = transaction_turn_round(t);
    struct err err = {0};
    int r = 0;

    if (count > 0)
        r = converge_look(engine->kernel, t->back, count, &t->look, &err);
    if (count > 0 && r == 0)
        r = converge_telling(engine->kernel, t->back, count, CONVERGE_BEST_EFFORT, &t->look, &t->progress, &err);
    if (r < 0 && error_is_absence(r, &err))
        engine_note_connection(engine, false);
    transaction_finish_back(t, r, &err);
    transaction_forget(t);
    engine_resync_by(engine, clock_monotonic_ns() + RESYNC_DEBOUNCE_NS);
}

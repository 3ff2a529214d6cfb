/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a transaction, over as many devices as it has. The order is what keeps the promise that anything but a
 * success changed nothing: all that can be refused cheaply comes first (here), the store holds its transaction open
 * while the kernel is changed, everything that a success will need is made before the commit, and after the commit
 * nothing can fail any more (commit.c). Each failure takes the same way back (rollback.c).
 */
#include "transaction.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void transaction_done(struct transaction *t)
{
    for (size_t i = 0; i < t->count; i++) {
        document_release(t->parts[i].next);
        document_release(t->parts[i].before);
        document_release(t->parts[i].tried);
        document_release(t->parts[i].found);
        tracked_free(t->parts[i].candidate);
    }
    free(t->parts);
    free(t->items);
    free(t->back);
    free(t->tried);
    free(t->list);
    pending_free(t->pending);
    text_done(&t->differences);
    plan_done(&t->plan);
    observed_done(&t->look);
    memset(t, 0, sizeof(*t));
}

int transaction_add(struct transaction *t, struct tracked *current, struct document *next, struct part **ret_part)
{
    struct part *part;

    if (array_grow(&t->parts, &t->capacity, t->count, sizeof(*t->parts)) < 0) {
        document_release(next);
        return -ENOMEM;
    }
    part = &t->parts[t->count++];
    *part = (struct part){.current = current, .next = next, .place = PLACE_NONE};
    *ret_part = part;
    return 0;
}

bool transaction_writes(const struct transaction *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->parts[i].writes)
            return true;
    return false;
}

const char *part_name(const struct part *part)
{
    return part->next ? part->next->device->name : tracked_name(part->current);
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

int transaction_fail(const struct transaction *t, const struct part *part, int error, const struct err *err)
{
    struct err placed = *err;

    if (part && t->whole) {
        (void)snprintf(placed.message, sizeof(placed.message), "%s: %.300s", part_name(part), err->message);
        placed.pointer[0] = '\0';
        if (part->place != PLACE_NONE)
            (void)snprintf(placed.pointer, sizeof(placed.pointer), "/devices/%zu%.120s", part->place, err->pointer);
    }
    err_list_add_err(t->errors, &placed);
    return error;
}

static int transaction_no_memory(const struct transaction *t)
{
    struct err err;
    int r = err_no_memory(&err);

    return transaction_fail(t, NULL, r, &err);
}

/* ---- what it is about -------------------------------------------------------------------------------------------- */

static int parts_in_order(const void *a, const void *b)
{
    return strcmp(part_name(a), part_name(b));
}

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

static int transaction_name_uuids(struct transaction *t)
{
    for (size_t i = 0; i < t->count; i++) {
        struct part *part = &t->parts[i];
        struct err err;

        if (part->current) {
            part->uuid = part->current->view.stored.uuid;
        } else if (uuid_is_zero(&part->uuid) && uuid_make(t->engine, &part->uuid) < 0) {
            (void)err_set(&err, -EIO, ERR_INTERNAL, "", "the kernel gave no random bytes");
            return transaction_fail(t, NULL, -EIO, &err);
        }
    }
    return 0;
}

static int transaction_validate(const struct transaction *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct part *part = &t->parts[i];
        struct err_list faults = {0};
        int r = part->writes && part->next ? device_validate(part->next->device, &faults) : 0;

        if (r < 0 && faults.count == 0)
            return transaction_no_memory(t);
        for (size_t j = 0; j < faults.count; j++)
            (void)transaction_fail(t, part, r, &faults.items[j]);
    }
    if (t->errors->count > 0)
        return -EINVAL;
    return transaction_check_rules(t);
}

static struct converge_item part_item(const struct part *part)
{
    const struct tracked *current = part->current;
    const struct device *now = part->next ? part->next->device : NULL;
    const struct device *was = current ? current->document->device : NULL;
    const struct device *found = part->found ? part->found->device : NULL;

    return (struct converge_item){
        .wanted =
            {
                .uuid = part->uuid,
                .name = now ? now->name : was->name,
                .netns = was ? was->netns : now->netns,
                .now = now ? now : found,
                .before = part->before ? part->before->device : NULL,
                .takes_unmarked = !current || !current->tried,
                .adopts = part->adopts,
                .releases = part->releases,
                .yields = part->yields,
            },
    };
}

/* All memory that is needed later on, with some for what failed changes left under these names. */
static int transaction_make_room(struct transaction *t)
{
    struct engine *engine = t->engine;
    size_t ghosts = engine->ghost_count + t->count;
    struct ghost *grown;

    t->items = calloc(t->count + engine->ghost_count + 1, sizeof(*t->items));
    t->back = calloc(t->count + 1, sizeof(*t->back));
    t->tried = calloc(t->count + 1, sizeof(*t->tried));
    t->list_capacity = engine->device_count + t->count + 1;
    t->list = calloc(t->list_capacity, sizeof(*t->list));
    if (!t->items || !t->back || !t->tried || !t->list)
        return transaction_no_memory(t);
    if (ghosts > engine->ghost_capacity) {
        grown = realloc(engine->ghosts, ghosts * sizeof(*grown));
        if (!grown)
            return transaction_no_memory(t);
        engine->ghosts = grown;
        engine->ghost_capacity = ghosts;
    }
    return 0;
}

/* What failed changes left behind goes first; a dry run only looks at it. */
static int transaction_settle(struct transaction *t)
{
    for (size_t i = 0; i < t->count && !t->dry_run; i++) {
        const struct part *part = &t->parts[i];
        struct err err = {0};
        int r = engine_settle(t->engine, part_name(part), &err);

        if (r < 0)
            return transaction_fail(t, part, r, &err);
    }
    return 0;
}

/* What was let go, and is to come back, may be gone since, with the machine's power: then it is made. */
static void transaction_make_what_is_gone(struct transaction *t)
{
    for (size_t i = 0; t->reverts && i < t->count; i++) {
        struct part *part = &t->parts[i];
        const struct device *next = part->next ? part->next->device : NULL;

        if (part->adopts && next && !observed_link_find(&t->look, next->netns, next->name))
            part->adopts = t->items[i].wanted.adopts = false;
    }
}

/* A look at the kernel, and with it the name of a device that has none yet. */
static int transaction_look(struct transaction *t)
{
    struct engine *engine = t->engine;
    struct err err = {0};
    int r;

    for (size_t i = 0; i < t->count; i++)
        t->items[i] = part_item(&t->parts[i]);
    r = converge_look(engine->kernel, t->items, t->count, &t->look, &err);
    if (r == 0) {
        engine_note_connection(engine, true);
        transaction_make_what_is_gone(t);
        if (t->numbered)
            r = edit_number(engine, &t->look, t->parts[0].next->device, &err);
        if (r < 0)
            return transaction_fail(t, &t->parts[0], r, &err);
    } else if (error_is_absence(r, &err)) {
        engine_note_connection(engine, false);
    }
    return r < 0 ? transaction_fail(t, NULL, r, &err) : 0;
}

/* ---- everything that a success will need ------------------------------------------------------------------------- */

static struct tracked *part_candidate(const struct transaction *t, const struct part *part, int64_t now_ns)
{
    struct document *document = document_share(part->next);
    struct tracked *candidate = part->current ? tracked_change(part->current, document, now_ns)
                                              : tracked_new(&part->uuid, document, 1, now_ns, now_ns);

    if (!candidate)
        return NULL;
    if (part->generation)
        candidate->view.stored.generation = part->generation;
    if (part->created_ns)
        candidate->view.stored.created_ns = part->created_ns;
    if (t->forced && (part->current || part->adopts))
        candidate->tried = document_share(part->current ? part->current->document : part->tried);
    candidate->adopts = t->forced && part->adopts;
    return candidate;
}

/* The list of all devices as they will be: those of the engine, with this transaction's in their places. */
static void transaction_list(struct transaction *t)
{
    const struct engine *engine = t->engine;
    size_t i = 0, j = 0;

    t->list_count = 0;
    while (i < engine->device_count || j < t->count) {
        const struct part *part = j < t->count ? &t->parts[j] : NULL;
        int order = !part                       ? -1
                    : i == engine->device_count ? 1
                                                : strcmp(tracked_name(engine->devices[i]), part_name(part));

        if (order < 0)
            t->list[t->list_count++] = engine->devices[i];
        else if (!part->writes)
            t->list[t->list_count++] = part->current;
        else if (part->candidate)
            t->list[t->list_count++] = part->candidate;
        i += order <= 0;
        j += order >= 0;
    }
}

static struct difference part_difference(const struct part *part)
{
    return (struct difference){
        .action = part->adopts     ? DIFFERENCE_ADOPTED
                  : part->releases ? DIFFERENCE_RELEASED
                  : !part->current ? DIFFERENCE_CREATED
                  : part->next     ? DIFFERENCE_CHANGED
                                   : DIFFERENCE_DELETED,
        .before = part->current ? part->current->document->device : NULL,
        .after = part->next ? part->next->device : NULL,
    };
}

static int transaction_describe(struct transaction *t)
{
    struct difference *differences = calloc(t->count + 1, sizeof(*differences));
    size_t count = 0;

    if (!differences)
        return transaction_no_memory(t);
    for (size_t i = 0; i < t->count; i++)
        if (t->parts[i].writes)
            differences[count++] = part_difference(&t->parts[i]);
    t->differences = differences_print(differences, count);
    free(differences);
    return t->differences ? 0 : transaction_no_memory(t);
}

static int transaction_prepare(struct transaction *t)
{
    int64_t now_ns = clock_realtime_ns();

    for (size_t i = 0; i < t->count; i++) {
        struct part *part = &t->parts[i];

        if (!part->writes || !part->next)
            continue;
        part->candidate = part_candidate(t, part, now_ns);
        if (!part->candidate)
            return transaction_no_memory(t);
    }
    transaction_list(t);
    if (t->confirm_s && transaction_writes(t)) {
        t->pending = pending_new(t);
        if (!t->pending)
            return transaction_no_memory(t);
    }
    return 0;
}

/* ---- a dry run --------------------------------------------------------------------------------------------------- */

/* What failed changes left under these names would go as well. */
static size_t transaction_ghosts(const struct transaction *t, struct converge_item *items)
{
    const struct engine *engine = t->engine;
    size_t count = 0;

    for (size_t i = 0; i < engine->ghost_count; i++)
        for (size_t j = 0; j < t->count; j++)
            if (strcmp(engine->ghosts[i].tried->device->name, part_name(&t->parts[j])) == 0)
                items[count++] = ghost_item(&engine->ghosts[i]);
    return count;
}

const struct part *transaction_culprit(const struct transaction *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->items[i].error < 0)
            return &t->parts[i];
    return NULL;
}

static int transaction_plan(struct transaction *t)
{
    size_t ghosts = transaction_ghosts(t, t->items + t->count);
    struct err err = {0};
    const struct step *step = NULL;
    int r = converge_plan(t->items, t->count + ghosts, &t->look, &t->plan, &err);

    if (r < 0)
        return transaction_fail(t, transaction_culprit(t), r, &err);
    r = plan_foresee(&t->plan, &t->look, &step, &err);
    for (size_t i = 0; r < 0 && i < t->count; i++)
        if (uuid_equal(&t->parts[i].uuid, &step->device.uuid))
            return transaction_fail(t, &t->parts[i], r, &err);
    return r < 0 ? transaction_fail(t, NULL, r, &err) : 0;
}

int transaction_run(struct transaction *t)
{
    int r;

    if (t->count > 1)
        qsort(t->parts, t->count, sizeof(*t->parts), parts_in_order);
    r = transaction_name_uuids(t);
    if (r == 0)
        r = transaction_validate(t);
    if (r == 0 && !t->forced)
        r = transaction_settle(t);
    if (r == 0)
        r = transaction_check_hands(t);
    if (r == 0)
        r = transaction_make_room(t);
    if (r == 0 && !t->forced && t->count > 0)
        r = transaction_look(t);
    if (r == 0 && (transaction_writes(t) || t->ends_pending))
        r = transaction_describe(t);
    if (r == 0 && t->dry_run)
        return transaction_plan(t);
    if (r == 0)
        r = transaction_prepare(t);
    if (r < 0)
        return r;
    progress_begin(&t->progress, &t->engine->options, t->actor, clock_monotonic_ns());
    r = transaction_carry_out(t);
    progress_end(&t->progress);
    return r;
}

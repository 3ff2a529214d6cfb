/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One change, from the request to its answer: whether it may be made at all, which devices it is about and what they
 * shall be. How that comes to pass, and how nothing of it does where it fails, is the transaction's business.
 */
#include "handover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static int refuse(struct change *change, int error, enum err_code code, const char *pointer, const char *message)
{
    err_list_add(&change->errors, code, pointer, "%s", message);
    return error;
}

static int refuse_err(struct change *change, int error, const struct err *err)
{
    err_list_add_err(&change->errors, err);
    return error;
}

static int refuse_no_memory(struct change *change)
{
    struct err err;
    int r = err_no_memory(&err);

    return refuse_err(change, r, &err);
}

static int refuse_missing(struct change *change)
{
    err_list_add(&change->errors, ERR_NOT_FOUND, "", "there is no device %s", change->name);
    return -ENOENT;
}

void change_refuse(struct change *change, const struct err *err)
{
    change->outcome = OUTCOME_FAILED;
    change->errors.count = 0;
    err_list_add_err(&change->errors, err);
    change->done(change);
}

/* ---- whether it may be made at all ------------------------------------------------------------------------------- */

static bool kind_is_whole(enum change_kind kind)
{
    return kind == CHANGE_CONFIG_PUT || kind == CHANGE_CONFIG_MERGE || kind == CHANGE_CONFIRM || kind == CHANGE_REVERT;
}

static bool kind_ends_pending(enum change_kind kind)
{
    return kind == CHANGE_CONFIRM || kind == CHANGE_REVERT;
}

static int admit_pending(const struct engine *engine, struct change *change)
{
    const struct pending *pending = engine->pending;
    char until[CLOCK_TEXT_SIZE];

    if (kind_ends_pending(change->kind)) {
        if (!pending)
            return refuse(change, -ENOENT, ERR_NOTHING_PENDING, "", "no change waits for its confirmation");
        if (change->kind == CHANGE_CONFIRM && pending->is_over)
            return refuse(change, -EBUSY, ERR_CONFIRMATION_PENDING, "",
                          "the time for confirming is over: the change is being undone");
        return 0;
    }
    if (!pending || change->dry_run)
        return 0;
    err_list_add(
        &change->errors, ERR_CONFIRMATION_PENDING, "",
        "a change by %s waits until %s: POST /v1/config/confirm keeps it, POST /v1/config/revert takes it back",
        pending->stored.actor.name, clock_print(pending->stored.deadline_ns, until));
    return -EBUSY;
}

static int admit(const struct engine *engine, struct change *change)
{
    char etag[ETAG_SIZE];
    struct err err;
    int r;

    if (change->dry_run && change->confirm_s)
        return refuse(change, -EINVAL, ERR_INVALID_QUERY, "", "a dry run changes nothing that could be confirmed");
    if (change->confirm_s > CONFIRM_MAX_S)
        return refuse(change, -EINVAL, ERR_INVALID_QUERY, "", "confirm_s is at most 86400");
    if (change->selector.count > 0 && change->confirm_s)
        return refuse(change, -EPERM, ERR_FORBIDDEN, "",
                      "a token with a selector may not confirm, and a change that waits holds up all others: leave "
                      "confirm_s out");
    if (change->selector.count > 0 && change->kind == CHANGE_DEVICE_ADOPT)
        return refuse(change, -EPERM, ERR_FORBIDDEN, "",
                      "a token with a selector may not take devices over: none has labels before it is managed");
    if (!kind_is_whole(change->kind))
        return admit_pending(engine, change);
    if (change->selector.count > 0)
        return refuse(change, -EPERM, ERR_FORBIDDEN, "",
                      "a token with a selector may not change the configuration as a whole");
    r = admit_pending(engine, change);
    if (r < 0)
        return r;
    r = precondition_check(&change->precondition, etag_of_config(engine->snapshot, etag), &err);
    return r < 0 ? refuse_err(change, r, &err) : 0;
}

/* ---- of one device ----------------------------------------------------------------------------------------------- */

static bool kind_brings_document(enum change_kind kind)
{
    return kind == CHANGE_DEVICE_CREATE || kind == CHANGE_DEVICE_PUT;
}

static int single_edit(struct change *change, const struct tracked *current, struct edit *ret_edit)
{
    const struct device *device = current ? current->document->device : NULL;
    char etag[ETAG_SIZE];
    struct err err;
    int r;

    if (device && !selector_matches(&change->selector, device)) {
        if (change->kind != CHANGE_DEVICE_CREATE)
            return refuse_missing(change);
        err_list_add(&change->errors, ERR_ALREADY_EXISTS, "/name", "the name %s is taken", change->name);
        return -EEXIST; /* and nothing of its version, which a precondition would tell */
    }
    if (!device && !kind_brings_document(change->kind))
        return refuse_missing(change);
    r = precondition_check(&change->precondition, current ? etag_of_device(&current->view.stored, etag) : NULL, &err);
    if (r < 0)
        return refuse_err(change, r, &err);
    r = edit_make(change, device, ret_edit);
    if (r == 0 && ret_edit->next && !selector_matches(&change->selector, ret_edit->next)) {
        device_done(&ret_edit->next);
        return refuse(change, -EPERM, ERR_FORBIDDEN, "/labels",
                      "the device would not be among those that this token may change");
    }
    return r;
}

static int adopt_collect(struct change *change, struct transaction *t, const struct tracked *current,
                         enum change_outcome *ret_outcome)
{
    struct err err;
    int r;

    if (current)
        return refuse(change, -EEXIST, ERR_ALREADY_EXISTS, "", "the device is managed already");
    r = precondition_check(&change->precondition, NULL, &err);
    if (r < 0)
        return refuse_err(change, r, &err);
    *ret_outcome = OUTCOME_CREATED;
    return handover_collect(change, t);
}

static int single_collect(struct change *change, struct transaction *t, enum change_outcome *ret_outcome)
{
    struct engine *engine = t->engine;
    struct tracked *current = NULL;
    struct document *next = NULL;
    struct edit edit = {0};
    struct part *part;
    size_t place;
    int r;

    if (change->device)
        (void)text_copy(change->name, sizeof(change->name), change->device->name);
    if (engine_find(engine, change->name, &place))
        current = engine->devices[place];
    if (change->kind == CHANGE_DEVICE_ADOPT)
        return adopt_collect(change, t, current, ret_outcome);
    r = single_edit(change, current, &edit);
    if (r < 0)
        return r;
    if (edit.next) {
        next = document_new(edit.next);
        if (!next)
            return refuse_no_memory(change);
    }
    if (transaction_add(t, current, next, &part) < 0)
        return refuse_no_memory(change);
    part->writes = edit.outcome != OUTCOME_UNCHANGED;
    part->releases = change->kind == CHANGE_DEVICE_RELEASE;
    t->numbered = change->kind == CHANGE_DEVICE_CREATE;
    *ret_outcome = edit.outcome;
    return 0;
}

/* ---- of the configuration ---------------------------------------------------------------------------------------- */

/* A device that is as asked for, and was seen to be so in the kernel, needs no other look. */
static bool needs_no_look(const struct engine *engine, const struct tracked *tracked)
{
    return engine->netd_connected && engine->settled && tracked->view.state == STATE_READY && !tracked->tried;
}

static int config_add(struct change *change, struct transaction *t, size_t at)
{
    struct device **device = &change->config.devices[at];
    struct tracked *current = NULL;
    struct document *next;
    struct part *part;
    bool writes = true;
    size_t place;

    if (engine_find(t->engine, (*device)->name, &place)) {
        current = t->engine->devices[place];
        writes = !device_equal(current->document->device, *device);
        if (!writes && needs_no_look(t->engine, current))
            return 0;
    }
    next = document_new(*device);
    *device = NULL;
    if (!next || transaction_add(t, current, next, &part) < 0)
        return refuse_no_memory(change);
    part->writes = writes;
    part->place = change->config.places ? change->config.places[at] : at;
    return 0;
}

static int config_remove(struct change *change, struct transaction *t, struct tracked *tracked)
{
    struct part *part;

    if (transaction_add(t, tracked, NULL, &part) < 0)
        return refuse_no_memory(change);
    part->writes = true;
    return 0;
}

/* Those that the configuration does not name. Both lists are in order. */
static int config_remove_others(struct change *change, struct transaction *t, const bool *named)
{
    int r = 0;

    for (size_t i = 0; i < t->engine->device_count && r == 0; i++)
        if (!named[i])
            r = config_remove(change, t, t->engine->devices[i]);
    return r;
}

static int config_collect(struct change *change, struct transaction *t, enum change_outcome *ret_outcome)
{
    const struct engine *engine = t->engine;
    const struct device_set *config = &change->config;
    bool *named = calloc(engine->device_count + 1, sizeof(*named));
    size_t place;
    int r = 0;

    if (!named)
        return refuse_no_memory(change);
    for (size_t i = 0; i < config->count; i++)
        if (engine_find(engine, config->devices[i]->name, &place))
            named[place] = true;
    for (size_t i = 0; i < config->count && r == 0; i++)
        r = config_add(change, t, i);
    if (r == 0 && change->kind == CHANGE_CONFIG_PUT)
        r = config_remove_others(change, t, named);
    for (size_t i = 0; i < config->absent_count && r == 0 && change->kind == CHANGE_CONFIG_MERGE; i++)
        if (engine_find(engine, config->absent[i], &place))
            r = config_remove(change, t, engine->devices[place]);
    free(named);
    *ret_outcome = transaction_writes(t) ? OUTCOME_CHANGED : OUTCOME_UNCHANGED;
    return r;
}

static int pending_collect(struct change *change, struct transaction *t, enum change_outcome *ret_outcome)
{
    *ret_outcome = OUTCOME_CHANGED;
    if (change->kind == CHANGE_REVERT)
        return pending_restore(t);
    t->ends_pending = true;
    return 0;
}

/* ---- all kinds --------------------------------------------------------------------------------------------------- */

/* Each file is applied once with each content. */
static int file_is_applied(const struct engine *engine, struct change *change, bool *ret_applied)
{
    struct err err;
    int r;

    *ret_applied = false;
    if (change->kind != CHANGE_CONFIG_MERGE || !change->file[0])
        return 0;
    r = store_file_is_applied(engine->store, change->file, change->file_digest, ret_applied, &err);
    return r < 0 ? refuse_err(change, r, &err) : 0;
}

static int collect(struct change *change, struct transaction *t, enum change_outcome *ret_outcome)
{
    if (kind_ends_pending(change->kind))
        return pending_collect(change, t, ret_outcome);
    if (kind_is_whole(change->kind))
        return config_collect(change, t, ret_outcome);
    return single_collect(change, t, ret_outcome);
}

static int change_run(struct engine *engine, struct change *change, struct transaction *t,
                      enum change_outcome *ret_outcome)
{
    bool applied;
    int r = change->errors.count > 0 ? -EINVAL : file_is_applied(engine, change, &applied);

    *ret_outcome = OUTCOME_UNCHANGED;
    if (r < 0 || applied)
        return r;
    r = admit(engine, change);
    if (r == 0)
        r = collect(change, t, ret_outcome);
    if (r < 0 || (t->count == 0 && !t->ends_pending && !t->file))
        return r;
    return transaction_run(t);
}

/* It is told, but not where whoever submitted it tries again by itself. */
static void file_failed(struct engine *engine, const struct change *change)
{
    const struct err *first = &change->errors.items[0];

    if (first->code == ERR_NETD_UNAVAILABLE || first->code == ERR_CONFIRMATION_PENDING)
        return;
    journal_stage(engine, EVENT_FILE_FAILED, "", "%s: %s%s%s", change->file, first->pointer,
                  first->pointer[0] ? ": " : "", first->message);
}

void engine_change(struct engine *engine, struct change *change)
{
    struct transaction t = {
        .engine = engine,
        .errors = &change->errors,
        .actor = &change->actor,
        .selector = &change->selector,
        .whole = kind_is_whole(change->kind),
        .dry_run = change->dry_run,
        .confirm_s = change->confirm_s,
        .file = change->kind == CHANGE_CONFIG_MERGE && change->file[0] ? change->file : NULL,
        .file_digest = change->file_digest,
    };
    enum change_outcome outcome;
    int r;

    change->outcome = OUTCOME_FAILED;
    if (!t.file)
        change->errors.count = 0;
    change->after = NULL;
    change->differences = NULL;
    memset(&change->plan, 0, sizeof(change->plan));
    r = change_run(engine, change, &t, &outcome);
    if (r < 0 && t.file && !change->dry_run)
        file_failed(engine, change);
    engine_publish_if_dirty(engine);
    if (r == 0) {
        change->outcome = outcome;
        change->after = snapshot_share(engine->snapshot); /* only this thread replaces it */
        change->plan = t.plan;
        change->differences = t.differences;
        t.differences = NULL;
        memset(&t.plan, 0, sizeof(t.plan));
        if (t.count == 1 && !t.whole && t.parts[0].next)
            (void)text_copy(change->name, sizeof(change->name), part_name(&t.parts[0]));
    }
    transaction_done(&t);
    change->done(change);
}

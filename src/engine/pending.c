/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The change that waits for its confirmation: the devices as they were before it, kept in the store by its own
 * transaction, so that they come back at the deadline even where the daemon was killed, or the machine, in between.
 *
 * While the daemon runs, the deadline is kept by CLOCK_BOOTTIME: setting the clock neither hastens nor delays it, and
 * sleep counts. Over a restart there is only the wall clock, whose answer is held to what is possible.
 *
 * At the deadline it is undone like any change: atomically. While netd is away that is tried again each second; where
 * the kernel refuses, the documents go back all the same, and the resync does what it can.
 */
#include "handover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REVERT_RETRY_NS NSEC_PER_SEC
#define REVERT_LOOK_NS  NSEC_PER_SEC /* a timeout of poll(2) does not count sleep: look at the clock this often */

static int64_t clock_boottime_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

void pending_free(struct pending *pending)
{
    if (!pending)
        return;
    stored_pending_done(&pending->stored);
    free(pending);
}

/* ---- a new one --------------------------------------------------------------------------------------------------- */

static int pending_add(struct pending *pending, const struct part *part)
{
    struct pending_device *device = &pending->stored.devices[pending->stored.device_count++];

    (void)text_copy(device->name, sizeof(device->name), part_name(part));
    if (part->current)
        device->before = part->current->view.stored;
    else
        device->before = (struct stored_device){.uuid = part->uuid, .generation = 1};
    device->before.adopts = part->adopts || part->releases;
    device->before.device = NULL;
    if (part->current || part->found) {
        device->before.device = device_copy(part->current ? part->current->document->device : part->found->device);
        return device->before.device ? 0 : -ENOMEM;
    }
    return 0;
}

struct pending *pending_new(const struct transaction *t)
{
    struct pending *pending = calloc(1, sizeof(*pending));

    if (!pending)
        return NULL;
    pending->stored.confirm_s = t->confirm_s;
    pending->stored.actor = *t->actor;
    memset(pending->stored.actor.address, 0, sizeof(pending->stored.actor.address));
    pending->stored.devices = calloc(t->count + 1, sizeof(*pending->stored.devices));
    for (size_t i = 0; pending->stored.devices && i < t->count; i++)
        if (t->parts[i].writes && pending_add(pending, &t->parts[i]) < 0) {
            pending_free(pending);
            return NULL;
        }
    if (pending->stored.devices)
        return pending;
    pending_free(pending);
    return NULL;
}

void pending_start(struct pending *pending)
{
    int64_t time_ns = pending->stored.confirm_s * NSEC_PER_SEC;

    pending->stored.deadline_ns = clock_realtime_ns() + time_ns;
    pending->due_ns = clock_boottime_ns() + time_ns;
}

/* ---- its end ----------------------------------------------------------------------------------------------------- */

int64_t pending_next_ns(const struct engine *engine)
{
    const struct pending *pending = engine->pending;
    int64_t left_ns;

    if (!pending)
        return INT64_MAX;
    if (pending->is_over)
        return pending->retry_ns;
    left_ns = pending->due_ns - clock_boottime_ns();
    return clock_monotonic_ns() + (left_ns < REVERT_LOOK_NS ? left_ns : REVERT_LOOK_NS);
}

static int part_restore(struct transaction *t, const struct pending_device *was)
{
    struct engine *engine = t->engine;
    struct tracked *current = NULL;
    struct document *document = NULL;
    struct part *part;
    bool goes_back;
    size_t place;

    if (engine_find(engine, was->name, &place))
        current = engine->devices[place];
    if (!was->before.device && !current)
        return 0;
    if (was->before.device) {
        document = document_new(device_copy(was->before.device));
        if (!document)
            return -ENOMEM;
    }
    goes_back = was->before.adopts && current; /* it was taken over */
    if (transaction_add(t, current, goes_back ? NULL : document, &part) < 0) {
        if (goes_back)
            document_release(document);
        return -ENOMEM;
    }
    part->writes = true;
    part->releases = goes_back;
    part->adopts = was->before.adopts && !current; /* it was let go */
    if (was->before.adopts)
        part->found = goes_back ? document : document_share(document);
    if (!part->next)
        return 0;
    part->uuid = was->before.uuid;
    part->generation = was->before.generation + 1;
    part->created_ns = was->before.created_ns;
    if (current && current->view.stored.generation >= part->generation)
        part->generation = current->view.stored.generation + 1;
    return 0;
}

int pending_restore(struct transaction *t)
{
    const struct pending *pending = t->engine->pending;

    t->whole = t->ends_pending = t->reverts = true;
    for (size_t i = 0; i < pending->stored.device_count; i++) {
        struct err err;

        if (part_restore(t, &pending->stored.devices[i]) < 0)
            return transaction_fail(t, NULL, err_no_memory(&err), &err);
    }
    return 0;
}

static const struct actor system_actor = {.name = "system", .operation = "revert what was not confirmed in time"};

static int revert(struct engine *engine, bool forced, struct err_list *errors)
{
    static const struct selector all;
    struct transaction t = {
        .engine = engine, .errors = errors, .actor = &system_actor, .selector = &all, .forced = forced};
    int r = pending_restore(&t);

    if (r == 0)
        r = transaction_run(&t);
    transaction_done(&t);
    return r;
}

static bool is_refusal(const struct err_list *errors)
{
    enum err_code code = errors->count ? errors->items[0].code : ERR_INTERNAL;

    return code != ERR_NETD_UNAVAILABLE && code != ERR_STORE_UNAVAILABLE && code != ERR_STORE_FULL &&
           code != ERR_OUT_OF_MEMORY;
}

void pending_tick(struct engine *engine)
{
    struct pending *pending = engine->pending;
    struct err_list errors = {0};
    bool first;

    if (!pending || pending->due_ns > clock_boottime_ns() ||
        (pending->is_over && pending->retry_ns > clock_monotonic_ns()))
        return;
    first = !pending->is_over;
    pending->is_over = true;
    if (first)
        log_warning("%s by %s was not confirmed in time: it is undone", pending->stored.actor.operation,
                    pending->stored.actor.name);
    if (revert(engine, false, &errors) < 0 && is_refusal(&errors)) {
        log_warning("the kernel refuses to go back at once (%s %s): the documents do, and the rest follows as it can",
                    errors.items[0].pointer, errors.items[0].message);
        errors.count = 0;
        (void)revert(engine, true, &errors);
    }
    if (engine->pending) {
        pending->retry_ns = clock_monotonic_ns() + REVERT_RETRY_NS;
        if (first)
            log_warning("undoing has to wait: %s", errors.items[0].message);
    }
    engine_publish_if_dirty(engine);
}

/* ---- at the start ------------------------------------------------------------------------------------------------ */

static struct stored_device *stored_find(struct stored_device *stored, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(stored[i].device->name, name) == 0)
            return &stored[i];
    return NULL;
}

static int event_tell(struct store *store, enum event_type type, const char *device, const char *detail,
                      struct err *ret_err)
{
    struct event event = {.time_ns = clock_realtime_ns(), .type = type};
    int r = store_event_newest(store, &event.sequence, ret_err);

    if (r < 0)
        return r;
    event.sequence++;
    (void)text_copy(event.device, sizeof(event.device), device);
    (void)text_copy(event.detail, sizeof(event.detail), detail);
    return store_event_put(store, &event, ret_err);
}

/* It was taken over, and goes back; or it was let go, and is taken over again. */
static int stored_hand_over(struct store *store, const struct stored_device *was, const struct stored_device *current,
                            struct err *ret_err)
{
    CLEANUP(device_done) struct device *merged = NULL;

    if (current && handover_merge(was->device, current->device, &merged) < 0)
        return err_no_memory(ret_err);
    return store_attempt_put(store, &was->uuid, merged ? merged : was->device, true, ret_err);
}

/* One device, in the store only. What is in the kernel is left word of, as of a change that was broken off. */
static int stored_revert(struct store *store, const struct pending_device *was, const struct stored_device *current,
                         struct difference *ret_difference, struct err *ret_err)
{
    struct stored_device next = was->before;
    char detail[64];
    int r = 0;

    *ret_difference = (struct difference){
        .action = next.adopts   ? (current ? DIFFERENCE_RELEASED : DIFFERENCE_ADOPTED)
                  : !current    ? DIFFERENCE_CREATED
                  : next.device ? DIFFERENCE_CHANGED
                                : DIFFERENCE_DELETED,
        .before = current ? current->device : NULL,
        .after = next.adopts && current ? NULL : next.device,
    };
    if (next.adopts)
        r = stored_hand_over(store, &next, current, ret_err);
    else if (current)
        r = store_attempt_put(store, &current->uuid, current->device, false, ret_err);
    if (r == 0 && !ret_difference->after) {
        r = store_device_delete(store, was->name, ret_err);
        return r < 0 ? r : event_tell(store, EVENT_DEVICE_DELETED, was->name, "", ret_err);
    }
    if (r < 0)
        return r;
    next.generation++;
    if (current && current->generation >= next.generation)
        next.generation = current->generation + 1;
    next.changed_ns = clock_realtime_ns();
    (void)snprintf(detail, sizeof(detail), "generation %" PRIu64, next.generation);
    r = store_device_put(store, &next, ret_err);
    return r < 0 ? r
                 : event_tell(store, current ? EVENT_DEVICE_CHANGED : EVENT_DEVICE_CREATED, was->name, detail, ret_err);
}

static int pending_revert_stored(struct store *store, const struct stored_pending *pending,
                                 struct stored_device *stored, size_t count, struct err *ret_err)
{
    struct difference *differences = calloc(pending->device_count + 1, sizeof(*differences));
    CLEANUP(text_done) char *changes = NULL;
    size_t changed = 0;
    int r;

    if (!differences)
        return err_no_memory(ret_err);
    r = store_begin(store, ret_err);
    for (size_t i = 0; r == 0 && i < pending->device_count; i++) {
        const struct pending_device *was = &pending->devices[i];
        const struct stored_device *current = stored_find(stored, count, was->name);

        if (current || was->before.device)
            r = stored_revert(store, was, current, &differences[changed++], ret_err);
    }
    if (r == 0) {
        changes = differences_print(differences, changed);
        r = changes ? store_audit_put(store, clock_realtime_ns(), &system_actor, changes, ret_err)
                    : err_no_memory(ret_err);
    }
    if (r == 0)
        r = event_tell(store, EVENT_CONFIG_REVERTED, "", "it was not confirmed in time", ret_err);
    if (r == 0)
        r = store_revision_bump(store, ret_err);
    if (r == 0)
        r = store_pending_delete(store, ret_err);
    if (r == 0)
        r = store_commit(store, ret_err);
    if (r < 0)
        store_rollback(store);
    free(differences);
    return r;
}

/* Where the store cannot be written, it is tried again once the engine runs. */
static int pending_end_stored(struct engine *engine, struct err *ret_err)
{
    struct stored_device *stored = NULL;
    struct err err = {0};
    size_t count = 0;
    int r = store_devices_load(engine->store, &stored, &count, ret_err);

    if (r < 0)
        return r;
    log_warning("%s by %s was not confirmed in time: it is undone", engine->pending->stored.actor.operation,
                engine->pending->stored.actor.name);
    if (pending_revert_stored(engine->store, &engine->pending->stored, stored, count, &err) < 0) {
        log_warning("undoing has to wait: %s", err.message);
    } else {
        pending_free(engine->pending);
        engine->pending = NULL;
    }
    for (size_t i = 0; i < count; i++)
        stored_device_done(&stored[i]);
    free(stored);
    return 0;
}

int pending_load(struct engine *engine, struct err *ret_err)
{
    struct pending *pending = calloc(1, sizeof(*pending));
    int64_t left_ns, most_ns;
    bool found = false;
    int r;

    if (!pending)
        return err_no_memory(ret_err);
    r = store_pending_load(engine->store, &found, &pending->stored, ret_err);
    if (r < 0 || !found) {
        free(pending);
        return r;
    }
    left_ns = pending->stored.deadline_ns - clock_realtime_ns();
    most_ns = pending->stored.confirm_s * NSEC_PER_SEC;
    left_ns = left_ns < 0 ? 0 : left_ns > most_ns ? most_ns : left_ns;
    pending->due_ns = clock_boottime_ns() + left_ns;
    engine->pending = pending;
    return left_ns > 0 ? 0 : pending_end_stored(engine, ret_err);
}

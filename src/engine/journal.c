/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written beside a change: events and audit entries.
 *
 * An event gets its number and its row in the transaction of what it tells of, and readers see it when that is
 * committed and published: what they saw survives a power cut, and no number is given twice. The base of the comparison
 * is `told`, the snapshot that was told last. It stays behind where the store refuses: what is still so when it takes
 * rows again is told then.
 *
 * A start is no event. What the devices were like when the daemon went is told by the events that are kept: their words
 * become the base, and only what differs from them is told. A device of which none is kept counts as pending.
 */
#include "state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGED_MAX         1024 /* while the store refuses */
#define EVENTS_SLACK       256  /* rows too many before some are deleted: not with each event */
#define AUDIT_TRIM_ENTRIES 256
#define AUDIT_TRIM_BYTES   65536U /* count as an entry more */
#define TRIM_INTERVAL_NS   (3600 * NSEC_PER_SEC)
#define DAY_NS             (86400 * NSEC_PER_SEC)

/* ---- the start and the end --------------------------------------------------------------------------------------- */

int journal_load(struct engine *engine, struct err *ret_err)
{
    struct journal *journal = &engine->journal;
    struct event_ring *ring = &engine->events;
    struct event *events = NULL;
    uint64_t newest = 0;
    size_t count = 0;
    int r = event_ring_init(ring);

    if (r < 0)
        return err_no_memory(ret_err);
    r = store_event_newest(engine->store, &newest, ret_err);
    if (r == 0)
        r = store_events_load(engine->store, ENGINE_EVENTS_KEPT, &events, &count, ret_err);
    if (r < 0)
        return r;
    if (count > 0)
        ring->oldest = events[0].sequence;
    for (size_t i = 0; i < count; i++)
        event_ring_add(ring, &events[i]);
    if (ring->newest < newest) { /* of a type that this program does not know: its number is taken all the same */
        ring->newest = newest;
        if (newest - ring->oldest >= ENGINE_EVENTS_KEPT)
            ring->oldest = newest - ENGINE_EVENTS_KEPT + 1;
    }
    free(events);
    journal->rows_from = 1; /* whatever there is: the first trim finds out */
    journal->audits_untrimmed = AUDIT_TRIM_ENTRIES;
    return 0;
}

/* What was told last of each device, into the base. */
static void base_recall(struct snapshot *base, const struct event_ring *ring)
{
    for (uint64_t s = ring->oldest; s <= ring->newest; s++) {
        const struct event *event = event_ring_at(ring, s);
        const struct snapshot_device *found =
            event && event->device[0] ? snapshot_device_find(base, event->device) : NULL;
        struct snapshot_device *device = found ? &base->devices[found - base->devices] : NULL;

        if (!device)
            continue;
        if (event->type == EVENT_DEVICE_CREATED || event->type == EVENT_DEVICE_DELETED) {
            memset(&device->reason, 0, sizeof(device->reason));
            device->worker_restarts = 0;
            device->worker_detail[0] = '\0';
        }
        snapshot_device_set_told(device, event->type, event->detail);
    }
}

int journal_begin(struct engine *engine, struct err *ret_err)
{
    struct snapshot *base = snapshot_new(engine);

    if (!base)
        return err_no_memory(ret_err);
    base_recall(base, &engine->events);
    engine->journal.told = base;
    return 0;
}

void journal_done(struct journal *journal)
{
    snapshot_release(journal->told);
    snapshot_release(journal->after);
    event_list_done(&journal->staged);
    event_list_done(&journal->written);
    memset(journal, 0, sizeof(*journal));
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

void journal_stage(struct engine *engine, enum event_type type, const char *device, const char *format, ...)
{
    struct event_list *staged = &engine->journal.staged;
    struct event *event = NULL;
    va_list arguments;

    if (staged->count < STAGED_MAX)
        event = event_list_add(staged, type, clock_realtime_ns(), device);
    staged->failed = false; /* that one is lost, and no other */
    if (!event)
        return;
    va_start(arguments, format);
    (void)vsnprintf(event->detail, sizeof(event->detail), format, arguments);
    va_end(arguments);
    event_detail_clean(event->detail);
}

static void journal_forget(struct journal *journal)
{
    snapshot_release(journal->after);
    journal->after = NULL;
    journal->is_written = false;
    journal->written.count = 0;
    journal->written.failed = false;
}

static void staged_write(struct journal *journal, size_t first, size_t end, int64_t time_ns)
{
    for (size_t i = first; i < end; i++) {
        struct event *event = event_list_add(&journal->written, EVENT_TYPE_N, 0, "");

        if (!event)
            return;
        *event = journal->staged.items[i];
        if (time_ns)
            event->time_ns = time_ns;
    }
}

/* How far the events may be forgotten, and whether it is worth a DELETE now. */
static void journal_plan_trim(struct engine *engine, uint64_t newest, int64_t time_ns)
{
    struct journal *journal = &engine->journal;
    const struct event_ring *ring = &engine->events;
    uint64_t through = ring->oldest - 1;

    if (newest > ENGINE_EVENTS_KEPT && newest - ENGINE_EVENTS_KEPT > through)
        through = newest - ENGINE_EVENTS_KEPT;
    journal->is_trim_due = newest - journal->rows_from >= ENGINE_EVENTS_KEPT + EVENTS_SLACK;
    if (clock_monotonic_ns() >= journal->trim_ns) {
        journal->is_trim_due = true;
        for (; through + 1 < newest && through < ring->newest; through++) {
            const struct event *event = event_ring_at(ring, through + 1);

            if (event && event->time_ns >= time_ns - ENGINE_EVENTS_DAYS * DAY_NS)
                break;
        }
    }
    journal->trim_through = through;
}

/* Numbers what there is to be told: what happened before this change, what differs, what was staged with it. */
static int journal_prepare(struct engine *engine, const struct snapshot *after, struct err *ret_err)
{
    struct journal *journal = &engine->journal;
    struct event_list *written = &journal->written;
    int64_t time_ns = after ? after->time_ns : clock_realtime_ns();

    journal_forget(journal);
    staged_write(journal, 0, journal->staged_kept, 0);
    if (after && journal->told)
        event_list_compare(written, journal->told, after);
    staged_write(journal, journal->staged_kept, journal->staged.count, time_ns);
    if (written->failed)
        return err_no_memory(ret_err);
    for (size_t i = 0; i < written->count; i++)
        written->items[i].sequence = engine->events.newest + i + 1;
    journal->staged_written = journal->staged.count;
    journal_plan_trim(engine, engine->events.newest + written->count, time_ns);
    return 0;
}

static int audit_trim(struct engine *engine, struct err *ret_err)
{
    int64_t before_ns = clock_realtime_ns() - ENGINE_AUDIT_DAYS * DAY_NS;
    int r = store_audit_trim(engine->store, ENGINE_AUDIT_KEPT, ENGINE_AUDIT_BYTES, before_ns, ret_err);

    if (r == 0)
        engine->journal.audits_untrimmed = 0;
    return r;
}

static int journal_store(struct engine *engine, const struct snapshot *after, struct err *ret_err)
{
    struct journal *journal = &engine->journal;
    int r = 0;

    for (size_t i = 0; r == 0 && i < journal->written.count; i++)
        r = store_event_put(engine->store, &journal->written.items[i], ret_err);
    if (r == 0 && journal->is_trim_due)
        r = store_events_trim(engine->store, journal->trim_through, INT64_MIN, ret_err);
    if (r == 0 && journal->is_trim_due)
        r = audit_trim(engine, ret_err);
    if (r < 0) {
        journal_forget(journal);
        return r;
    }
    journal->after = after ? snapshot_share(after) : NULL;
    journal->is_written = true;
    return 0;
}

int journal_write(struct engine *engine, const struct snapshot *after, struct err *ret_err)
{
    int r = journal_prepare(engine, after, ret_err);

    return r < 0 ? r : journal_store(engine, after, ret_err);
}

void journal_committed(struct engine *engine, const struct snapshot *after)
{
    struct journal *journal = &engine->journal;
    struct event_list *staged = &journal->staged;

    if (!journal->is_written || journal->after != after) {
        journal->is_behind = true; /* it is shown now, and told later */
        return;
    }
    for (size_t i = 0; i < journal->written.count; i++)
        event_ring_add(&engine->events, &journal->written.items[i]);
    if (journal->is_trim_due) {
        if (engine->events.oldest <= journal->trim_through)
            engine->events.oldest = journal->trim_through + 1;
        journal->rows_from = engine->events.oldest;
        if (clock_monotonic_ns() >= journal->trim_ns)
            journal->trim_ns = clock_monotonic_ns() + TRIM_INTERVAL_NS;
    }
    staged->count -= journal->staged_written;
    if (staged->count > 0)
        memmove(staged->items, staged->items + journal->staged_written, staged->count * sizeof(*staged->items));
    journal->staged_kept = staged->count;
    if (after) {
        snapshot_release(journal->told);
        journal->told = snapshot_share(after);
    }
    journal_forget(journal);
    if (journal->written.capacity > ENGINE_EVENTS_KEPT / 10)
        event_list_done(&journal->written); /* a flood's room */
}

void journal_rolled_back(struct engine *engine)
{
    struct journal *journal = &engine->journal;

    journal_forget(journal);
    if (journal->staged.count > journal->staged_kept)
        journal->staged.count = journal->staged_kept;
}

/* ---- outside of a change ----------------------------------------------------------------------------------------- */

bool journal_is_due(const struct engine *engine)
{
    const struct journal *journal = &engine->journal;

    return journal->staged.count > 0 || journal->is_behind || clock_monotonic_ns() >= journal->trim_ns;
}

int journal_flush(struct engine *engine, const struct snapshot *after, bool *ret_stored, struct err *ret_err)
{
    struct journal *journal = &engine->journal;
    int r = journal_prepare(engine, after, ret_err);

    *ret_stored = false;
    if (r == 0 && journal->written.count == 0 && !journal->is_trim_due) {
        journal->after = snapshot_share(after);
        journal->is_written = true;
        journal->is_behind = false;
        return 0;
    }
    if (r == 0)
        r = store_begin(engine->store, ret_err);
    if (r == 0) {
        r = journal_store(engine, after, ret_err);
        if (r == 0)
            r = store_commit(engine->store, ret_err);
        if (r < 0)
            store_rollback(engine->store);
    }
    if (r < 0)
        journal_forget(journal);
    journal->staged_kept = journal->staged.count; /* they happened, whatever becomes of the next change */
    journal->is_behind = r < 0;
    *ret_stored = r == 0;
    return r;
}

/* ---- audit ------------------------------------------------------------------------------------------------------- */

int journal_audit(struct engine *engine, const struct actor *actor, const char *changes, struct err *ret_err)
{
    struct journal *journal = &engine->journal;
    int r = store_audit_put(engine->store, clock_realtime_ns(), actor, changes, ret_err);

    if (r < 0)
        return r;
    journal->audits_untrimmed += 1 + strlen(changes) / AUDIT_TRIM_BYTES;
    if (journal->audits_untrimmed <= AUDIT_TRIM_ENTRIES)
        return 0;
    return audit_trim(engine, ret_err);
}

void journal_answer(struct engine *engine, struct change *change)
{
    size_t bytes = 0;
    struct err err = {0};
    int r = 0;

    change->outcome = OUTCOME_FAILED;
    change->errors.count = 0;
    change->after = NULL;
    if (change->selector.count > 0)
        r = err_set(&err, -EACCES, ERR_FORBIDDEN, "", "the audit log is about all devices");
    if (r == 0)
        r = store_audit_list(engine->store, change->audit_after, change->audit_most, &change->audit,
                             &change->audit_count, &err);
    if (r < 0) {
        err_list_add_err(&change->errors, &err);
    } else {
        for (size_t i = 0; i < change->audit_count; i++)
            bytes += strlen(change->audit[i].changes);
        change->audit_is_cut = bytes > AUDIT_LIST_BYTES;
        change->outcome = OUTCOME_UNCHANGED;
        change->after = snapshot_share(engine->snapshot);
    }
    change->done(change);
}

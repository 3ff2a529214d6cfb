/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state: what the engine's files share. Private to the engine.
 *
 * Who may touch what: everything in struct engine belongs to the engine's thread, but what stands below `lock`.
 * Documents, mappings and snapshots do not change once they are made; they are shared by reference count.
 */
#ifndef TUNWRIGHT_ENGINE_STATE_H
#define TUNWRIGHT_ENGINE_STATE_H

#include "converge.h"

#include <pthread.h>
#include <stdatomic.h>

#define RESYNC_INTERVAL_NS (60 * NSEC_PER_SEC)
#define RESYNC_DEBOUNCE_NS (50 * NSEC_PER_MSEC)  /* after the kernel's first event: they come in flocks */
#define ABSENCE_RETRY_NS   (250 * NSEC_PER_MSEC) /* while netd is away */
#define RETRY_FIRST_NS     (250 * NSEC_PER_MSEC) /* of a device that failed, doubling … */
#define RETRY_MOST_NS      (60 * NSEC_PER_SEC)   /* … up to this */

/* ---- a device's document, shared by the engine and its snapshots ------------------------------------------------- */

struct document {
    atomic_uint references;
    struct device *device; /* owned */
};
/* Takes the device, on failure too. NULL: no memory. */
struct document *document_new(struct device *device);
struct document *document_share(struct document *document);
void document_release(struct document *document);

/* ---- a worker's counter page, mapped ----------------------------------------------------------------------------- */

struct counter_mapping {
    atomic_uint references;
    const struct counter_page *page;
};
/* NULL where it cannot be had. */
struct counter_mapping *counter_mapping_new(struct kernel *kernel, const struct uuid *uuid);
struct counter_mapping *counter_mapping_share(struct counter_mapping *mapping);
void counter_mapping_release(struct counter_mapping *mapping);

/* ---- a device of the configuration ------------------------------------------------------------------------------- */

#define CONTEST_REPAIRS 3 /* so many repairs in a minute are a fight */

struct tracked {
    struct snapshot_device view; /* as the next snapshot shall show it; its stored.device is the document's */
    struct document *document;
    struct document *tried; /* a change failed and could not be rolled back: what may be in the kernel. Else NULL */
    bool adopts;            /* it may be without our mark: a release of it was begun, and not committed */
    int64_t retry_ns;       /* CLOCK_MONOTONIC, 0: nothing failed */
    int64_t backoff_ns;

    int64_t deviated_ns;                  /* CLOCK_MONOTONIC: since when its deviations are what they are */
    int64_t repairs_ns[CONTEST_REPAIRS];  /* of the last ones of a device that was ready, the oldest first; 0: none */
    char mended[ERR_OPERATION_MAX];       /* the last one's first step, … */
    char mended_pointer[ERR_POINTER_MAX]; /* … and where it belongs */
    bool contested;                       /* it is only looked at */
};
/* Takes the document's reference, on failure too. NULL: no memory. */
struct tracked *tracked_new(const struct uuid *uuid, struct document *document, uint64_t generation, int64_t created_ns,
                            int64_t changed_ns);
/* The same device with another document and the next generation. Takes the document's reference, on failure too. */
struct tracked *tracked_change(const struct tracked *tracked, struct document *document, int64_t changed_ns);
void tracked_free(struct tracked *tracked);
const char *tracked_name(const struct tracked *tracked);
/* The item that leads it to its document. Borrows. */
struct converge_item tracked_item(const struct tracked *tracked);
/* Takes what was seen, and what the convergence came to, into the view. True where a reader sees a difference. */
bool tracked_observe(struct tracked *tracked, struct kernel *kernel, const struct plan_index *index,
                     const struct converge_item *item);
/* Only its state. */
bool tracked_set_state(struct tracked *tracked, enum device_state state, const struct err *reason);

/*
 * contest.c: whether somebody undoes what we do. Whether it is only to be looked at now; what was seen there; that there
 * is peace; that it was repaired; when it is tried again; what status says.
 */
bool contest_holds(const struct tracked *tracked, int64_t now_ns);
void contest_begin(struct tracked *tracked, int64_t now_ns);
void contest_end(struct tracked *tracked);
void contest_repaired(struct tracked *tracked, const struct converge_item *item, int64_t now_ns);
int64_t contest_due_ns(const struct tracked *tracked);
void contest_reason(const struct tracked *tracked, struct err *ret_reason);

/* A device that a failed change left in the kernel, perhaps: it is in no document. */
struct ghost {
    struct uuid uuid;
    struct document *tried;
    struct document *found; /* it was to be taken over: what it is to be again, without our mark. Else NULL */
};
/* The item that undoes it. Borrows. */
struct converge_item ghost_item(const struct ghost *ghost);
void ghost_done(struct ghost *ghost);

/* ---- snapshots and events ---------------------------------------------------------------------------------------- */

struct engine;

/* The devices as they are now, with one reference. NULL: no memory. */
struct snapshot *snapshot_new(const struct engine *engine);
const struct snapshot *snapshot_share(const struct snapshot *snapshot);

/* Events that have no number yet. `failed`: memory ran out, and some are missing. */
struct event_list {
    struct event *items; /* owned */
    size_t count, capacity;
    bool failed;
};
void event_list_done(struct event_list *list);
/* The new event, its detail still empty; NULL: no memory. */
struct event *event_list_add(struct event_list *list, enum event_type type, int64_t time_ns, const char *device);
/* Makes it UTF-8 without control characters, whatever was put into it. */
void event_detail_clean(char detail[static ERR_MESSAGE_MAX]);
/* Appends what happened between two snapshots. */
void event_list_compare(struct event_list *list, const struct snapshot *before, const struct snapshot *after);
/* Makes a device of a `before` be what an event of an earlier run said of its state, or its worker's. */
void snapshot_device_set_told(struct snapshot_device *device, enum event_type type, const char *detail);

/* The newest events, in memory: no more of them are on disk, but for some that are about to be trimmed. */
struct event_ring {
    uint64_t oldest, newest; /* sequences; newest 0: none yet */
    struct event *items;     /* ENGINE_EVENTS_KEPT of them; sequence s is at (s - 1) % ENGINE_EVENTS_KEPT */
};
int event_ring_init(struct event_ring *ring);
void event_ring_done(struct event_ring *ring);
void event_ring_add(struct event_ring *ring, const struct event *event);
/* One that is kept; NULL: an older program cannot say what it was. */
const struct event *event_ring_at(const struct event_ring *ring, uint64_t sequence);
size_t event_ring_copy(const struct event_ring *ring, uint64_t after, struct event *ret_events, size_t room,
                       uint64_t *ret_oldest, uint64_t *ret_newest);

struct journal {
    const struct snapshot *told;  /* the base of the next comparison, with one reference */
    struct event_list staged;     /* those beside the comparison, of which … */
    size_t staged_kept;           /* … so many happened outside of the change in hand */
    const struct snapshot *after; /* what was written leads there; one reference */
    struct event_list written;    /* in the open transaction, with their numbers */
    size_t staged_written;        /* so many of them were staged */
    bool is_written;              /* and nothing but the commit is missing */
    bool is_behind;               /* readers see what was not told yet */
    bool is_trim_due;             /* with what is written, up to … */
    uint64_t trim_through;
    uint64_t rows_from; /* the first event on disk */
    int64_t trim_ns;    /* CLOCK_MONOTONIC, when the next look for what is too old is due */
    size_t audits_untrimmed;
};

/* ---- the engine -------------------------------------------------------------------------------------------------- */

struct engine {
    struct engine_options options;
    struct store *store;
    struct kernel *kernel;
    uint8_t installation[6];
    struct tracked **devices; /* by name */
    size_t device_count, device_capacity;
    struct ghost *ghosts;
    size_t ghost_count, ghost_capacity;
    uint64_t sequence; /* of the newest snapshot */
    uint64_t revision;
    struct journal journal;
    struct shared_tokens *tokens; /* one reference */
    struct pending *pending;      /* owned: the change that waits for its confirmation; NULL: none */
    bool settled, netd_connected, store_writable;
    bool dirty;            /* a reader would see something else than the newest snapshot */
    int64_t resync_due_ns; /* CLOCK_MONOTONIC */
    int64_t resync_ended_ns, resync_took_ns;

    pthread_t thread;
    int wake_fd; /* eventfd: something was queued, or stop */
    pthread_mutex_t lock;
    /* under `lock` */
    struct change *first, *last; /* the queue */
    bool stopping, closed;
    const struct snapshot *snapshot;
    struct event_ring events;
};

/* Where it is, or belongs: *ret_place is the index. */
bool engine_find(const struct engine *engine, const char *name, size_t *ret_place);
/* A reference is taken over: readers see it from now on. */
void engine_publish(struct engine *engine, const struct snapshot *snapshot);
/* Publishes where something is dirty, or to be told, and stays dirty where there is no memory for it. No transaction
 * may be open. Where the store refuses, the events come later. */
void engine_publish_if_dirty(struct engine *engine);
/* Takes note where an error says that the store cannot be written. */
void engine_note_store(struct engine *engine, const struct err *err);
/* A resync no later than that. */
void engine_resync_by(struct engine *engine, int64_t due_ns);

/* resync.c: all devices, best effort. */
void engine_resync(struct engine *engine);
/* netd went away, or came back. */
void engine_note_connection(struct engine *engine, bool connected);
/* Takes over what became of a device of the configuration, and puts off its next try where it failed. */
void engine_finish(struct engine *engine, struct tracked *tracked, const struct converge_item *item,
                   const struct plan_index *index);
/* The same where the kernel could not be seen to the end: only what is certain. */
void engine_finish_unseen(struct engine *engine, struct tracked *tracked, const struct converge_item *item);
/* Undoes what failed changes left in the kernel under this name. */
int engine_settle(struct engine *engine, const char *name, struct err *ret_err);

/*
 * journal.c: what is written beside a change, in its transaction.
 *
 * Events are the differences between two snapshots, and what was staged besides. They are numbered and stored in the
 * open transaction (journal_write), and readers see them once that is committed (journal_committed, which engine_publish
 * calls under `lock`). While the store refuses, the comparison still begins at the snapshot that was told last: nothing
 * is lost but what happened in between and passed.
 */
int journal_write(struct engine *engine, const struct snapshot *after, struct err *ret_err); /* NULL: what is staged */
void journal_stage(struct engine *engine, enum event_type type, const char *device, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* A snapshot that journal_write was not called with is told later. */
void journal_committed(struct engine *engine, const struct snapshot *after);
void journal_rolled_back(struct engine *engine); /* what was staged meanwhile is forgotten as well */
int journal_audit(struct engine *engine, const struct actor *actor, const char *changes, struct err *ret_err);
/* Outside of a change: whether there is something to write though nothing is dirty; and writes, in a transaction of its
 * own where one is needed (*ret_stored: it was, so the store takes rows). journal_committed belongs after it. */
bool journal_is_due(const struct engine *engine);
int journal_flush(struct engine *engine, const struct snapshot *after, bool *ret_stored, struct err *ret_err);
/* At the start, before anything is staged: the events that are kept; and when the devices are loaded: the base. */
int journal_load(struct engine *engine, struct err *ret_err);
int journal_begin(struct engine *engine, struct err *ret_err);
void journal_done(struct journal *journal);
/* CHANGE_AUDIT_READ, from beginning to end. */
void journal_answer(struct engine *engine, struct change *change);

/* tokens.c: the tokens as the next snapshot shows them, and the changes of them, from beginning to end. */
struct shared_tokens {
    struct token_set set; /* its tokens are owned */
    atomic_uint references;
};
struct shared_tokens *tokens_share(struct shared_tokens *tokens);
void tokens_release(struct shared_tokens *tokens);
int tokens_load(struct engine *engine, struct err *ret_err);
void tokens_change(struct engine *engine, struct change *change);

/* pending.c: the change that waits for its confirmation. */
struct pending {
    struct stored_pending stored; /* owned */
    int64_t due_ns;               /* CLOCK_BOOTTIME: it is undone from then on */
    int64_t retry_ns;             /* CLOCK_MONOTONIC: not tried again before */
    bool is_over;                 /* its time is; nobody can confirm it any more */
};
void pending_free(struct pending *pending);
int pending_load(struct engine *engine, struct err *ret_err); /* at the start, before the devices are loaded: one whose
                                                                 time is over is undone in the store there and then */
void pending_tick(struct engine *engine);                     /* reverts what is due */
/* CLOCK_MONOTONIC, when pending_tick wants to be called again; INT64_MAX: not at all. */
int64_t pending_next_ns(const struct engine *engine);

/* change.c: carries out one change and calls its `done`. */
void engine_change(struct engine *engine, struct change *change);
/* Without trying: calls its `done`. */
void change_refuse(struct change *change, const struct err *err);

/* edit.c: what a change makes of a document. */
struct edit {
    struct device *next;         /* owned: the document as it shall be; NULL: the device goes */
    enum change_outcome outcome; /* if it succeeds; UNCHANGED: `next` equals what is stored */
};
/* `current`: the document that the change's name has now, NULL: none. Fills the change's errors on failure. */
int edit_make(struct change *change, const struct device *current, struct edit *ret_edit);
/* "tun%d" becomes the lowest number that neither the configuration nor the kernel has. */
int edit_number(const struct engine *engine, const struct observed *look, struct device *device, struct err *ret_err);

#endif

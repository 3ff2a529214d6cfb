/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine: the brain. One thread owns the desired state and is its only writer:
 *
 *     change ─> edit copies of the documents ─> validate ─> observe ─> store_begin, put ─> plan ─> apply ─> verify
 *            ─> write events and the audit entry ─> store_commit ─> publish a new snapshot ─> done
 *
 * Create, update, delete, roll-back, start-up and drift repair are all observe → plan → apply with other arguments.
 */
#ifndef TUNWRIGHT_ENGINE_H
#define TUNWRIGHT_ENGINE_H

#include "tunwright/base.h"
#include "tunwright/model.h"
#include "tunwright/net.h"
#include "tunwright/store.h"

/* ---- plan -------------------------------------------------------------------------------------------------------- */

/* Steps in the order in which they are carried out: plan.h. */
struct plan {
    struct step *steps;
    size_t count, capacity;
};
void plan_done(struct plan *plan);

/* ---- what readers see -------------------------------------------------------------------------------------------- */

enum device_state { STATE_PENDING, STATE_READY, STATE_DEGRADED, STATE_CONFLICT, STATE_FAILED, DEVICE_STATE_N };
const char *device_state_name(enum device_state state);

/* One difference between a document and the kernel, as status shows it. */
#define DEVIATION_TEXT_SIZE 256
struct deviation {
    char pointer[ERR_POINTER_MAX];     /* into the document: "/mtu", "/addresses/0"; "/addresses" for one too many */
    char wanted[DEVIATION_TEXT_SIZE];  /* JSON text: "1400", "\"10.0.0.1/24\"", "null" */
    char found[DEVIATION_TEXT_SIZE];   /* JSON text */
    char operation[ERR_OPERATION_MAX]; /* the step that would mend it: step_kind_name */
};
#define DEVIATIONS_MAX 64 /* shown of a device */

struct snapshot_device {
    struct stored_device stored; /* owned: the document, uuid, generation */
    enum device_state state;
    struct err reason;            /* code ERR_NONE where there is none */
    uint64_t observed_generation; /* the last generation that was wholly in the kernel */
    struct deviation *deviations; /* owned: where the kernel differs now, in the document's order; NULL: nowhere */
    size_t deviation_count;
    bool present; /* there is a device, and `link` is what was seen of it */
    uint32_t ifindex;
    bool carrier;
    uint32_t mtu;
    uint8_t mac[6];
    enum worker_state worker_state; /* where has_worker */
    bool has_worker;
    int32_t worker_pid;
    uint32_t worker_restarts;
    int64_t worker_started_ns;
    char worker_detail[ERR_MESSAGE_MAX];
    char *worker_status;              /* owned JSON object text that passed json_check, or NULL */
    struct counter_mapping *counters; /* its worker's counter page, or NULL; shared between snapshots */
};

/* Immutable, ordered by name, shared by reference count. */
struct snapshot {
    uint64_t sequence; /* one more with each */
    int64_t time_ns;
    bool netd_connected, store_writable;
    bool settled;                /* the first convergence after the start has been tried */
    uint64_t revision;           /* how many changes of the configuration there were */
    uint8_t installation[6];     /* the database's */
    bool is_pending;             /* a change waits for its confirmation, until … */
    int64_t pending_deadline_ns; /* CLOCK_REALTIME */
    struct actor pending_actor;
    const struct token_set *tokens; /* never NULL; lives as long as the snapshot */
    size_t device_count;
    struct snapshot_device *devices;
};
/* Immutable, shared between snapshots. */
struct token_set {
    size_t count;
    const struct token *tokens; /* by name */
};
const struct snapshot_device *snapshot_device_find(const struct snapshot *snapshot, const char *name);

/* ---- preconditions (RFC 9110, 13) ------------------------------------------------------------------------------- */

/*
 * A strong entity tag names a configuration, not what the kernel makes of it: `status` may differ under one tag. A
 * device's changes with its generation, and is another one after it was deleted and made again.
 */
#define ETAG_SIZE 48 /* with its quotes */
const char *etag_of_device(const struct stored_device *device, char out[static ETAG_SIZE]);
const char *etag_of_config(const struct snapshot *snapshot, char out[static ETAG_SIZE]);

#define PRECONDITION_TAGS_MAX 8
struct etag_list {
    bool is_present; /* the field was there */
    bool any;        /* "*" */
    size_t count;
    char tags[PRECONDITION_TAGS_MAX][ETAG_SIZE]; /* with their quotes, and none that is weak */
};
struct precondition {
    struct etag_list match, none_match;
};
/* `etag`: of what is there, NULL: nothing is. 0, or -ECANCELED with ERR_PRECONDITION_FAILED. */
int precondition_check(const struct precondition *precondition, const char *etag, struct err *ret_err);

/* ---- changes ----------------------------------------------------------------------------------------------------- */

enum change_kind {
    CHANGE_DEVICE_CREATE, /* device; its name may end in %d; -EEXIST where it is there already */
    CHANGE_DEVICE_PUT,    /* device: create or replace */
    CHANGE_DEVICE_DELETE, /* name */
    CHANGE_ADDRESS_PUT,   /* name, address */
    CHANGE_ADDRESS_DELETE,
    CHANGE_ROUTE_PUT,     /* name, route */
    CHANGE_ROUTE_DELETE,  /* name, route's key */
    CHANGE_WORKER_PUT,    /* name, worker */
    CHANGE_WORKER_DELETE, /* name */
    CHANGE_DEVICE_PATCH,  /* name, text: RFC 7396 */
    CHANGE_DEVICE_ADOPT, /* name, netns, text (or NULL): a merge patch on the document that the device is found to have */
    CHANGE_DEVICE_RELEASE, /* name */
    CHANGE_CONFIG_PUT,     /* config: these devices and no others */
    CHANGE_CONFIG_MERGE,   /* config: these as they are there, those `absent` not; with `file`, once for each content */
    CHANGE_CONFIRM,        /* the pending change stays */
    CHANGE_REVERT,         /* it is undone now */
    CHANGE_TOKEN_CREATE,   /* token, with its digest */
    CHANGE_TOKEN_DELETE,   /* token.name */
    CHANGE_AUDIT_READ,     /* changes nothing: audit_after, audit_most → audit */
    CHANGE_KIND_N
};
enum change_outcome { OUTCOME_FAILED, OUTCOME_UNCHANGED, OUTCOME_CHANGED, OUTCOME_CREATED, OUTCOME_DELETED };

#define CONFIRM_MAX_S 86400

/* The caller fills the first part and owns the whole again once `done` was called (once, on the engine's thread). */
struct change {
    enum change_kind kind;
    char name[DEVICE_NAME_SIZE];
    struct device *device; /* owned by the change: device_free it in the end; the engine may take it (NULL then) */
    struct ip_prefix address;
    struct route route;
    struct worker_config worker;
    char netns[NETNS_NAME_SIZE];
    char *text; /* owned by the change */
    size_t text_length;
    struct device_set config; /* owned by the change; the engine may take devices out of it */
    struct token token;
    /* "": none; else the start-up file that this is, … One that comes with `errors` could not be read: it fails with them,
     * and is told like any other. */
    char file[STARTUP_FILE_NAME_SIZE];
    uint8_t file_digest[32]; /* … and its content */
    uint64_t audit_after;
    size_t audit_most;

    struct actor actor;
    struct selector selector; /* the devices that the actor may see and change: others are ERR_NOT_FOUND to it, and to
                                 leave the selection is ERR_FORBIDDEN at /labels. Where it is not empty, config_put,
                                 config_merge, confirm, revert and device_adopt are ERR_FORBIDDEN, and so is
                                 confirm_s */
    struct precondition precondition; /* of the device, or of the whole configuration */
    bool dry_run;                     /* plan it, and change nothing */
    uint32_t confirm_s;               /* not 0: reverted after so many seconds unless confirmed; up to CONFIRM_MAX_S */
    void (*done)(struct change *change);
    void *context;

    enum change_outcome outcome;
    struct err_list errors;       /* where it failed: the first is the problem */
    const struct snapshot *after; /* where it did not: snapshot_release it. Holds the device, unless it was deleted; of
                                     a dry run: as it is */
    struct plan plan;             /* of a dry run: plan_done it */
    char *differences;            /* owned by the change: of a success or a dry run, differences_print; NULL: none */
    struct audit_entry *audit;    /* owned by the change, as its entries */
    size_t audit_count;
    bool audit_is_cut;   /* there are more than these, though they are fewer than audit_most */
    struct change *next; /* the engine's queue */
};

/* How far a change is that has many steps, or takes long. */
struct change_progress {
    char operation[ACTOR_OPERATION_SIZE], actor[ACTOR_NAME_SIZE]; /* as struct actor has them */
    size_t done, total; /* steps; `total` may grow, where more turns out to be to do, or it has to be taken back */
    bool finished;      /* one way or the other: the last that is told of it */
};

struct engine;
struct engine_options {
    struct store *store;   /* borrowed; used on the engine's thread only, from engine_start to engine_stop */
    struct kernel *kernel; /* borrowed */
    void (*on_publish)(void *context); /* after a new snapshot or event, on the engine's thread; may be NULL */
    /* Likewise, while a change is carried out, up to five times a second; never of one that is quick. May be NULL. */
    void (*on_progress)(void *context, const struct change_progress *progress);
    void *context;
};

/* Loads the desired state, starts the thread, which observes and converges. Returns before that is done. */
int engine_start(const struct engine_options *options, struct engine **ret_engine, struct err *ret_err);
/* Finishes the change in hand, fails those that wait with ERR_INTERNAL ("shutting down"), joins the thread. Leaves the
 * kernel as it is. */
void engine_stop(struct engine *engine);

/* From any thread. */
void engine_submit(struct engine *engine, struct change *change);
const struct snapshot *engine_snapshot(struct engine *engine); /* a reference: release it */
void snapshot_release(const struct snapshot *snapshot);
/* Events are kept on disk and in memory, both bounded: the newest ENGINE_EVENTS_KEPT of the last ENGINE_EVENTS_DAYS. An
 * event can be read once it is on disk. Copies those after `after`, oldest first; *ret_newest is the newest sequence
 * there is (0: none), *ret_oldest (may be NULL) the oldest that is kept. */
#define ENGINE_EVENTS_KEPT 10000
#define ENGINE_EVENTS_DAYS 30
#define ENGINE_AUDIT_KEPT  100000
#define ENGINE_AUDIT_DAYS  400
#define ENGINE_AUDIT_BYTES (256U << 20) /* of all entries' changes together */
size_t engine_events(struct engine *engine, uint64_t after, struct event *ret_events, size_t room, uint64_t *ret_oldest,
                     uint64_t *ret_newest);

/* A device's counters, now: the kernel's by netlink, the worker's from its page. */
struct counters {
    int64_t time_ns; /* CLOCK_REALTIME of the reading */
    bool has_kernel; /* false: the device is not there */
    struct link_stats kernel;
    bool has_worker;
    int64_t since_ns; /* when the worker's counters were zero */
    struct counter_slot worker;
};
void engine_counters(struct engine *engine, const struct snapshot_device *device, struct counters *ret_counters);

/* Has the device's worker capture packets: see kernel_ops.capture. From any thread. -EOPNOTSUPP with ERR_WORKER_FAILED where
 * the device has no worker, or one that cannot. */
int engine_capture(struct engine *engine, const struct snapshot_device *device, const struct capture_order *order,
                   int *ret_area, int *ret_hold, struct err *ret_err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine: the brain. One thread owns the desired state and is its only writer:
 *
 *     change ─> edit a copy of the document ─> validate ─> store_begin, put ─> observe ─> plan ─> apply ─> verify
 *            ─> store_commit ─> publish a new snapshot ─> done
 *
 * Create, update, delete, roll-back, start-up and drift repair are all observe → plan → apply with other arguments.
 */
#ifndef TUNWRIGHT_ENGINE_H
#define TUNWRIGHT_ENGINE_H

#include "tunwright/base.h"
#include "tunwright/model.h"
#include "tunwright/net.h"
#include "tunwright/store.h"

#include <pthread.h>

/* ---- plan: a pure function --------------------------------------------------------------------------------------- */

/* One device that the plan is about. */
struct wanted {
    struct uuid uuid;
    const char *name;            /* its name */
    const char *netns;           /* where it is, or was */
    const struct device *now;    /* as it shall be; NULL: gone */
    const struct device *before; /* as it was last committed; NULL: new. Its routes without a device are the only ones
                                    of their kind that a plan may take away */
};

struct plan {
    struct step *steps;
    size_t count, capacity;
};
void plan_done(struct plan *plan);

/*
 * What leads from `observed` to `wanted`, removals first, nothing where they are equal. Devices that are not in
 * `wanted` are not touched. A device whose kind, queues (single or multi) or netns differ is deleted and created.
 * Routes are wanted only of a device that is up. Addresses made by the kernel, and those not ours, are left alone.
 * -ENOMEM; -EEXIST with ERR_FOREIGN_DEVICE where a wanted name is taken by what is not ours.
 */
int plan_build(const struct wanted *wanted, size_t count, const struct observed *observed, struct plan *ret_plan,
               struct err *ret_err);

/* ---- what readers see -------------------------------------------------------------------------------------------- */

enum device_state { STATE_PENDING, STATE_READY, STATE_DEGRADED, STATE_CONFLICT, STATE_FAILED, DEVICE_STATE_N };
const char *device_state_name(enum device_state state);

struct snapshot_device {
    struct stored_device stored; /* owned: the document, uuid, generation */
    enum device_state state;
    struct err reason;            /* code ERR_NONE where there is none */
    uint64_t observed_generation; /* the last generation that was wholly in the kernel */
    bool present;                 /* there is a device, and `link` is what was seen of it */
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
    bool settled; /* the first convergence after the start has been tried */
    size_t device_count;
    struct snapshot_device *devices;
};
const struct snapshot_device *snapshot_device_find(const struct snapshot *snapshot, const char *name);

/* ---- events ------------------------------------------------------------------------------------------------------ */

enum event_type {
    EVENT_DEVICE_CREATED,
    EVENT_DEVICE_CHANGED,
    EVENT_DEVICE_DELETED,
    EVENT_DEVICE_STATE, /* detail: the new state and its reason */
    EVENT_WORKER_STATE, /* detail: the new state and its reason */
    EVENT_TYPE_N
};
const char *event_type_name(enum event_type type); /* "device_created", … */

struct event {
    uint64_t sequence; /* from 1, without gaps */
    int64_t time_ns;
    enum event_type type;
    char device[DEVICE_NAME_SIZE];
    char detail[ERR_MESSAGE_MAX];
};
#define ENGINE_EVENTS_KEPT 1024

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
    CHANGE_KIND_N
};
enum change_outcome { OUTCOME_FAILED, OUTCOME_UNCHANGED, OUTCOME_CHANGED, OUTCOME_CREATED, OUTCOME_DELETED };

/* The caller fills the first part and owns the whole again once `done` was called (once, on the engine's thread). */
struct change {
    enum change_kind kind;
    char name[DEVICE_NAME_SIZE];
    struct device *device; /* owned by the change: device_free it in the end; the engine may take it (NULL then) */
    struct ip_prefix address;
    struct route route;
    struct worker_config worker;
    void (*done)(struct change *change);
    void *context;

    enum change_outcome outcome;
    struct err_list errors;       /* where it failed: the first is the problem */
    const struct snapshot *after; /* where it did not: snapshot_release it. Holds the device, unless it was deleted */
    struct change *next;          /* the engine's queue */
};

struct engine;
struct engine_options {
    struct store *store;   /* borrowed; used on the engine's thread only, from engine_start to engine_stop */
    struct kernel *kernel; /* borrowed */
    void (*on_publish)(void *context); /* after a new snapshot or event, on the engine's thread; may be NULL */
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
/* Copies events after `after`, oldest first; *ret_newest is the newest sequence there is (0: none). */
size_t engine_events(struct engine *engine, uint64_t after, struct event *ret_events, size_t room,
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

#endif

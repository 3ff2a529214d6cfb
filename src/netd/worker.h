/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker: the supervision of one device's worker, by one enum with a table of legal moves (worker.c).
 *
 *     start ─> STARTING ─ready─> RUNNING ─configure─> CONFIGURING ─ready or failed─> RUNNING
 *                  │                │ exit                 │ exit
 *                  │ failed,        v                      v
 *                  │ exit,       WAITING ─back-off─> RESTARTING ─ready─> RUNNING
 *                  │ time-out       ^ exit                 │ failed, time-out
 *                  v                └────── REPLACING <────┘
 *              STOPPING ─exit─> gone
 *
 * A `worker` is freed in one place, worker_gone: when its process has been seen to end, or when it is stopped while it
 * has none.
 */
#ifndef NETD_WORKER_H
#define NETD_WORKER_H

#include "devices.h"
#include "dispatch.h"
#include "sockets.h"
#include "worker_message.h"

enum worker_phase {
    PHASE_NEW,
    PHASE_STARTING, /* the first `configure` was sent; `starter` waits */
    PHASE_RUNNING,
    PHASE_CONFIGURING, /* a later one (`next`) was sent; `starter` waits */
    PHASE_WAITING,     /* no process; the next one starts at the deadline */
    PHASE_RESTARTING,  /* a process that has not said `ready` yet; nobody waits */
    PHASE_REPLACING,   /* a process that is to end; another one follows */
    PHASE_STOPPING,    /* a process that is to end; none follows */
    PHASE_N
};

/* What a worker is told and given: replaced as a whole. The queues are the device's first `head.queues`. */
struct worker_set {
    struct configure_head head;
    struct socket_set sockets;
    char *config; /* owned; NULL: there is no set */
    size_t config_length;
};
void worker_set_done(struct worker_set *set);
/* The same for one that did not come into force. */
void worker_set_drop(struct worker_set *set);
/* From a checked request; sockets that `held` (may be NULL) has are kept. */
int worker_set_build(const struct ipc_worker_start *start, const char *config, const struct worker_set *held,
                     struct worker_set *ret_set, struct err *ret_err);

struct netd_worker {
    struct netd *netd;
    struct netd_device *device;
    enum worker_phase phase;
    int64_t deadline_ns; /* of the phase; 0: none */
    int page;
    struct worker_set set, next;
    bool next_alone; /* CONFIGURING: the process never had `set` */

    /* the process; pid 0: there is none */
    pid_t pid;
    struct watch process; /* its pidfd */
    struct watch control;
    int64_t started_ns; /* CLOCK_REALTIME */
    int64_t ready_ns;   /* CLOCK_MONOTONIC of its first `ready`; 0: not yet */
    uint32_t restarts;
    int64_t back_off_ms;
    bool failed; /* the last one said `failed`, or nothing in time */
    char detail[ERR_MESSAGE_MAX];

    int capture;             /* a capture area; -1: nobody captures */
    uint64_t capture_client; /* who does */

    char *status; /* owned; NULL: it has said nothing */
    size_t status_length;
    struct rate_limit messages, status_events;
    int64_t resume_ns; /* when to listen to it again; 0: is listened to */
    int64_t event_ns;  /* when to tell the subscribers of its status; 0: they know */

    struct waiter *starter; /* of a START or CONFIGURE */
    int starter_error;      /* STOPPING: what the starter is told when the process has ended */
    struct err starter_err;
    struct waiter *stoppers; /* requests that go on when it has gone */
};

/* worker.c. On success the worker belongs to the device, and the starter will be answered. Takes the set, on failure
 * too; takes the starter on success. */
int worker_start(struct netd_device *device, struct worker_set *set, struct waiter *starter, struct err *ret_err);
int worker_configure(struct netd_worker *worker, struct worker_set *set, struct waiter *starter, struct err *ret_err);
/* An earlier request is not done with it: worker_configure has to wait. */
bool worker_is_busy(const struct netd_worker *worker);
/* It has a process that is to end. */
bool worker_ends(const struct netd_worker *worker);
/* One that runs already, found by a new netd. Takes the set, the page and all of `found`, on failure too. */
struct spawned;
int worker_adopt(struct netd_device *device, struct worker_set *set, int page, const struct spawned *found,
                 struct err *ret_err);
/* Asks it to end, later forces it. Takes `stopper` (may be NULL), which goes on when the worker has gone: that may be
 * before this returns. */
void worker_stop(struct netd_worker *worker, struct waiter *stopper);
/* Lets go of it, without a word to it. */
void worker_release(struct netd_worker *worker);

int64_t worker_due(const struct netd_worker *worker);
/* Sets one of its times; 0: none. */
void worker_due_by(struct netd_worker *worker, int64_t *time_ns, int64_t at_ns);
void worker_tick(struct netd_worker *worker, int64_t now_ns);
/* *ret_text is the last status (borrowed, not terminated). */
void worker_describe(const struct netd_worker *worker, struct ipc_worker_info *ret_info, const char **ret_text,
                     uint32_t *ret_text_length);

/* ---- between worker.c and process.c ------------------------------------------------------------------------------ */
void worker_heard(struct netd_worker *worker, const struct worker_message *message);
void worker_ended(struct netd_worker *worker, const char *how);
/* A process with `set`: spawned, and configured. */
int process_start(struct netd_worker *worker, const struct worker_set *set, struct err *ret_err);
int process_watch(struct netd_worker *worker, const struct spawned *found, struct err *ret_err);
int process_configure(struct netd_worker *worker, const struct worker_set *set, struct err *ret_err);
/* What is to be captured into, by a new process, too; nothing, where there is no area. */
void process_capture(struct netd_worker *worker);
void process_ask_to_stop(struct netd_worker *worker);
void process_kill(struct netd_worker *worker);
void process_listen(struct netd_worker *worker, bool on);
void process_forget(struct netd_worker *worker);

#endif

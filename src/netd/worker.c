/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include "page.h"
#include "sockets.h"
#include "spawn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STOP_TIMEOUT_NS   NSEC_PER_SEC       /* from `stop` to SIGKILL */
#define KILL_TIMEOUT_NS   (5 * NSEC_PER_SEC) /* from SIGKILL to giving up */
#define READY_TIMEOUT_NS  (WORKER_READY_TIMEOUT_MS * NSEC_PER_MSEC)
#define LIFE_TOO_SHORT_NS NSEC_PER_SEC
#define BACK_OFF_FIRST_MS 100
#define BACK_OFF_LAST_MS  10000

#define TO(phase) (1U << PHASE_##phase)
static const unsigned legal_moves[PHASE_N] = {
    [PHASE_NEW] = TO(STARTING) | TO(RUNNING),
    [PHASE_STARTING] = TO(RUNNING) | TO(STOPPING),
    [PHASE_RUNNING] = TO(CONFIGURING) | TO(WAITING) | TO(REPLACING) | TO(STOPPING),
    [PHASE_CONFIGURING] = TO(RUNNING) | TO(WAITING) | TO(REPLACING) | TO(STOPPING),
    [PHASE_WAITING] = TO(RESTARTING) | TO(CONFIGURING) | TO(WAITING),
    [PHASE_RESTARTING] = TO(RUNNING) | TO(WAITING) | TO(REPLACING) | TO(STOPPING),
    [PHASE_REPLACING] = TO(WAITING) | TO(STOPPING),
    [PHASE_STOPPING] = 0,
};

void worker_due_by(struct netd_worker *worker, int64_t *time_ns, int64_t at_ns)
{
    *time_ns = at_ns;
    if (at_ns != 0)
        devices_due_by(worker->netd, at_ns);
}

/* The one function that writes the phase. */
static void worker_move(struct netd_worker *worker, enum worker_phase phase, int64_t timeout_ns)
{
    if (!(legal_moves[worker->phase] & 1U << phase))
        log_error("%s: worker went from phase %d to %d", worker->device->key.name, worker->phase, phase);
    bool told = worker->phase != PHASE_NEW;
    worker->phase = phase;
    worker_due_by(worker, &worker->deadline_ns, timeout_ns < 0 ? 0 : clock_monotonic_ns() + timeout_ns);
    if (told)
        dispatch_event(worker->netd);
}

static const char *device_name(const struct netd_worker *worker)
{
    return worker->device->key.name;
}

static void starter_answer(struct netd_worker *worker, int error, const struct err *err)
{
    struct waiter *starter = worker->starter;
    worker->starter = NULL;
    waiter_answer(worker->netd, starter, error, err);
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static int worker_new(struct netd_device *device, struct worker_set *set, int page, struct netd_worker **ret_worker,
                      struct err *ret_err)
{
    struct netd_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return err_no_memory(ret_err);
    *worker = (struct netd_worker){.netd = device->netd,
                                   .device = device,
                                   .page = page,
                                   .set = *set,
                                   .process.fd = -1,
                                   .control.fd = -1,
                                   .capture = -1,
                                   .status_events = {.rate = 1, .burst = 3}};
    *set = (struct worker_set){0};
    *ret_worker = worker;
    return 0;
}

static void worker_free(struct netd_worker *worker)
{
    process_forget(worker);
    worker_set_done(&worker->set);
    worker_set_done(&worker->next);
    fd_done(&worker->page);
    fd_done(&worker->capture);
    free(worker->status);
    free(worker);
}

/* The process has ended, or there was none: all that waited goes on. */
static void worker_gone(struct netd_worker *worker)
{
    struct netd *netd = worker->netd;
    struct netd_device *device = worker->device;
    struct waiter *stoppers = worker->stoppers;

    starter_answer(worker, worker->starter_error, &worker->starter_err);
    worker_socket_remove(netd, &device->key.uuid);
    if (worker->capture >= 0)
        dispatch_end_client(netd, worker->capture_client);
    device->worker = NULL;
    worker_free(worker);
    if (device->doomed)
        device_remove(device);
    dispatch_event(netd);
    while (stoppers) {
        struct waiter *stopper = stoppers;
        stoppers = stopper->next;
        waiter_again(netd, stopper);
    }
}

/* A first start that came to nothing: the starter hears of it when the process is gone, and the address free again. */
static void start_fail(struct netd_worker *worker, int error, const char *why)
{
    text_copy_printable(worker->detail, sizeof worker->detail, why, strlen(why));
    worker->failed = true;
    worker->starter_error = err_set(&worker->starter_err, error, ERR_WORKER_FAILED, "", "%s", worker->detail);
    process_kill(worker);
    worker_move(worker, PHASE_STOPPING, KILL_TIMEOUT_NS);
}

int worker_start(struct netd_device *device, struct worker_set *set, struct waiter *starter, struct err *ret_err)
{
    struct netd_worker *worker;
    struct err why = {0};
    int page = -1;
    int result = page_create(&page, ret_err);
    if (result == 0)
        result = worker_new(device, set, page, &worker, ret_err);
    if (result < 0) {
        fd_done(&page);
        worker_set_done(set);
        return result;
    }
    result = process_start(worker, &worker->set, &why);
    if (result < 0 && worker->pid == 0) {
        if (ret_err)
            *ret_err = why;
        worker_socket_remove(device->netd, &device->key.uuid);
        worker_free(worker);
        return result;
    }
    device->worker = worker;
    worker->starter = starter;
    worker_move(worker, PHASE_STARTING, READY_TIMEOUT_NS);
    if (result < 0) /* a process that could not be told its configuration */
        start_fail(worker, result, why.message);
    return 0;
}

int worker_adopt(struct netd_device *device, struct worker_set *set, int page_taken, const struct spawned *found,
                 struct err *ret_err)
{
    struct netd_worker *worker;
    int page CLEANUP(fd_done) = page_taken;
    int pidfd CLEANUP(fd_done) = found->pidfd, control CLEANUP(fd_done) = found->control;
    int result = worker_new(device, set, page, &worker, ret_err);
    if (result < 0) {
        worker_set_done(set);
        return result;
    }
    page = pidfd = control = -1;
    result = process_watch(worker, found, ret_err);
    if (result < 0) {
        worker_free(worker);
        return result;
    }
    device->worker = worker;
    worker->ready_ns = 1; /* long ago */
    worker_move(worker, PHASE_RUNNING, -1);
    return 0;
}

void worker_release(struct netd_worker *worker)
{
    struct waiter *next;
    free(worker->starter);
    for (struct waiter *stopper = worker->stoppers; stopper; stopper = next) {
        next = stopper->next;
        free(stopper);
    }
    worker->device->worker = NULL;
    worker_free(worker);
}

/* ---- configuration in force, and the next one -------------------------------------------------------------------- */

static void next_commit(struct netd_worker *worker)
{
    worker_set_done(&worker->set);
    worker->set = worker->next;
    worker->next = (struct worker_set){0};
    worker->next_alone = false;
    device_queues_trim(worker->device, worker->set.head.queues);
}

static void next_drop(struct netd_worker *worker, int error, const struct err *err)
{
    worker_set_drop(&worker->next);
    worker->next_alone = false;
    starter_answer(worker, error, err);
}

/* Other queues than these can only be opened when nobody holds the device. */
static int queues_reopen(struct netd_worker *worker, uint32_t count, struct err *ret_err)
{
    struct netd_device *device = worker->device;
    struct target target;
    uint32_t ifindex;
    if (count <= device->queue_count)
        return 0;
    int result = target_open(worker->netd, &device->key, &target, ret_err);
    if (result < 0)
        return result;
    uint32_t before = device->queue_count;
    for (uint32_t i = 0; i < before; i++)
        fd_done(&device->queues[i]);
    device->queue_count = 0;
    result = net_tun_attach(target.ns, &device->key, count, device->queues, &ifindex, ret_err);
    if (result == 0) {
        device->queue_count = count;
    } else if (net_tun_attach(target.ns, &device->key, before, device->queues, &ifindex, NULL) == 0) {
        device->queue_count = before;
    }
    target_done(&target);
    return result;
}

bool worker_ends(const struct netd_worker *worker)
{
    return worker->phase == PHASE_STOPPING || worker->phase == PHASE_REPLACING;
}

bool worker_is_busy(const struct netd_worker *worker)
{
    return worker->starter || worker->next.config || worker_ends(worker) || worker->phase == PHASE_STARTING;
}

int worker_configure(struct netd_worker *worker, struct worker_set *set, struct waiter *starter, struct err *ret_err)
{
    int result = 0;
    bool direct = worker->phase == PHASE_RUNNING && set->head.queues <= worker->device->queue_count;
    if (strcmp(set->head.program, worker->set.head.program) != 0)
        result = err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "another program is not another configuration");
    else if (direct)
        result = process_configure(worker, set, ret_err);
    if (result < 0) {
        worker_set_drop(set);
        return result;
    }
    worker->next = *set;
    *set = (struct worker_set){0};
    worker->starter = starter;
    if (direct) {
        worker_move(worker, PHASE_CONFIGURING, READY_TIMEOUT_NS);
    } else if (worker->phase == PHASE_WAITING) {
        /* no need to wait any longer: worker_tick starts it */
        worker_due_by(worker, &worker->deadline_ns, clock_monotonic_ns());
    } else {
        process_ask_to_stop(worker);
        worker_move(worker, PHASE_REPLACING, STOP_TIMEOUT_NS);
    }
    return 0;
}

/* ---- stopping, ending, starting again ---------------------------------------------------------------------------- */

void worker_stop(struct netd_worker *worker, struct waiter *stopper)
{
    if (stopper) {
        stopper->next = worker->stoppers;
        worker->stoppers = stopper;
    }
    if (worker->phase == PHASE_STOPPING)
        return;
    if (worker->starter) {
        struct err err = {0};
        err_set(&err, -ECANCELED, ERR_WORKER_FAILED, "", "the worker was stopped");
        starter_answer(worker, -ECANCELED, &err);
    }
    if (worker->pid == 0) {
        worker_gone(worker);
        return;
    }
    process_ask_to_stop(worker);
    worker_move(worker, PHASE_STOPPING, STOP_TIMEOUT_NS);
}

/* The next process, after as long a pause as the last one's life deserves. */
static void worker_wait(struct netd_worker *worker)
{
    int64_t now_ns = clock_monotonic_ns();
    bool lived = worker->ready_ns != 0 && now_ns - worker->ready_ns >= LIFE_TOO_SHORT_NS;
    if (lived)
        worker->back_off_ms = 0;
    else if (worker->back_off_ms == 0)
        worker->back_off_ms = BACK_OFF_FIRST_MS;
    else if (worker->back_off_ms < BACK_OFF_LAST_MS / 2)
        worker->back_off_ms *= 2;
    else
        worker->back_off_ms = BACK_OFF_LAST_MS;
    worker_move(worker, PHASE_WAITING, worker->back_off_ms * NSEC_PER_MSEC);
}

void worker_ended(struct netd_worker *worker, const char *how)
{
    struct err err = {0};
    if (!worker->failed || !worker->detail[0])
        text_copy_printable(worker->detail, sizeof worker->detail, how, strlen(how));
    switch (worker->phase) {
    case PHASE_STARTING:
        worker->starter_error =
            err_set(&worker->starter_err, -ECHILD, ERR_WORKER_FAILED, "", "the worker %s before it was ready", how);
        worker_gone(worker);
        return;
    case PHASE_STOPPING:
        worker_gone(worker);
        return;
    case PHASE_CONFIGURING:
        err_set(&err, -ECHILD, ERR_WORKER_FAILED, "", "the worker %s before it was ready", how);
        next_drop(worker, -ECHILD, &err);
        break;
    case PHASE_REPLACING:
        if (worker->next.config) { /* it ended for this */
            worker->back_off_ms = 0;
            worker_move(worker, PHASE_WAITING, 0);
            return;
        }
        break;
    default:
        break;
    }
    worker_wait(worker);
}

/* From WAITING: with the next configuration, where one waits for that, else with the one in force. */
static void worker_restart(struct netd_worker *worker)
{
    struct err err = {0};
    bool with_next = worker->next.config;
    struct worker_set *set = with_next ? &worker->next : &worker->set;
    if (device_is_stale(worker->device)) {
        log_warning("%s: the device has gone", device_name(worker));
        device_abandon(worker->device);
        return;
    }
    worker->restarts++;
    worker->failed = false;
    int result = queues_reopen(worker, set->head.queues, &err);
    if (result == 0)
        result = process_start(worker, set, &err);
    if (result < 0 && worker->pid == 0) {
        log_error("%s: cannot start its worker: %s", device_name(worker), err.message);
        text_copy_printable(worker->detail, sizeof worker->detail, err.message, strlen(err.message));
        worker->failed = true;
        worker->ready_ns = 0;
        if (with_next)
            next_drop(worker, result, &err);
        worker_wait(worker);
        return;
    }
    worker->next_alone = with_next;
    worker_move(worker, with_next ? PHASE_CONFIGURING : PHASE_RESTARTING, READY_TIMEOUT_NS);
}

/* ---- what it says ------------------------------------------------------------------------------------------------ */

static void status_keep(struct netd_worker *worker, const struct worker_message *message)
{
    if (message->body_length > WORKER_STATUS_MAX || memchr(message->body, '\0', message->body_length)) {
        if (netd_may_log(worker->netd))
            log_warning("%s: its worker's status is too long, or no text", device_name(worker));
        return;
    }
    if (message->body_length == 0 || (worker->status && worker->status_length == message->body_length &&
                                      memcmp(worker->status, message->body, message->body_length) == 0))
        return;
    char *status = malloc(message->body_length);
    if (!status)
        return;
    memcpy(status, message->body, message->body_length);
    free(worker->status);
    worker->status = status;
    worker->status_length = message->body_length;
    if (worker->event_ns == 0) {
        int64_t now_ns = clock_monotonic_ns();
        bool now = rate_limit_permits(&worker->status_events, now_ns);
        worker_due_by(worker, &worker->event_ns, now ? now_ns : now_ns + NSEC_PER_SEC);
    }
}

static void ready_heard(struct netd_worker *worker)
{
    if (worker->ready_ns == 0)
        worker->ready_ns = clock_monotonic_ns();
    switch (worker->phase) {
    case PHASE_CONFIGURING:
        next_commit(worker);
        break;
    case PHASE_STARTING:
    case PHASE_RESTARTING:
        break;
    default:
        return;
    }
    worker->failed = false;
    worker->detail[0] = '\0';
    worker_move(worker, PHASE_RUNNING, -1);
    starter_answer(worker, 0, NULL);
    if (worker->capture >= 0) /* a process that is there already has heard of it, and goes on */
        process_capture(worker);
}

static void failed_heard(struct netd_worker *worker, const struct worker_message *message)
{
    char why[ERR_MESSAGE_MAX];
    struct err err = {0};
    text_copy_printable(why, sizeof why, message->body, message->body_length);
    if (netd_may_log(worker->netd))
        log_warning("%s: its worker failed: %s", device_name(worker), why);
    err_set(&err, -EINVAL, ERR_WORKER_FAILED, "", "%s", why[0] ? why : "the worker gave no reason");
    switch (worker->phase) {
    case PHASE_STARTING:
        start_fail(worker, -EINVAL, err.message);
        break;
    case PHASE_CONFIGURING:
        if (!worker->next_alone) {
            next_drop(worker, -EINVAL, &err);
            worker_move(worker, PHASE_RUNNING, -1); /* the earlier one is in force still */
            break;
        }
        next_drop(worker, -EINVAL, &err); /* this process has no earlier one: another, that has it */
        process_kill(worker);
        worker_move(worker, PHASE_REPLACING, KILL_TIMEOUT_NS);
        break;
    case PHASE_RESTARTING:
        text_copy(worker->detail, sizeof worker->detail, err.message);
        worker->failed = true;
        process_kill(worker);
        worker_move(worker, PHASE_REPLACING, KILL_TIMEOUT_NS);
        break;
    case PHASE_RUNNING: /* nobody asked: for people to read */
        text_copy(worker->detail, sizeof worker->detail, err.message);
        break;
    default:
        break;
    }
}

void worker_heard(struct netd_worker *worker, const struct worker_message *message)
{
    switch (message->verb) {
    case VERB_READY:
        status_keep(worker, message);
        ready_heard(worker);
        break;
    case VERB_FAILED:
        failed_heard(worker, message);
        break;
    case VERB_STATUS:
        status_keep(worker, message);
        break;
    case VERB_ATTACHED:
    case VERB_UNKNOWN:
        break;
    }
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static int64_t earlier(int64_t a_ns, int64_t b_ns)
{
    return b_ns != 0 && b_ns < a_ns ? b_ns : a_ns;
}

int64_t worker_due(const struct netd_worker *worker)
{
    return earlier(earlier(earlier(INT64_MAX, worker->deadline_ns), worker->resume_ns), worker->event_ns);
}

/* The phase took longer than it may. */
static void deadline_passed(struct netd_worker *worker)
{
    static const char late[] = "the worker did not say that it is ready in time";
    struct err err = {0};
    worker->deadline_ns = 0;
    switch (worker->phase) {
    case PHASE_WAITING:
        worker_restart(worker);
        break;
    case PHASE_STARTING:
        start_fail(worker, -ETIMEDOUT, late);
        break;
    case PHASE_CONFIGURING:
        /* it may still take the new one, one day: only another process is certain to have the old one */
        err_set(&err, -ETIMEDOUT, ERR_WORKER_FAILED, "", "%s", late);
        next_drop(worker, -ETIMEDOUT, &err);
        process_kill(worker);
        worker_move(worker, PHASE_REPLACING, KILL_TIMEOUT_NS);
        break;
    case PHASE_RESTARTING:
        text_copy(worker->detail, sizeof worker->detail, late);
        worker->failed = true;
        process_kill(worker);
        worker_move(worker, PHASE_REPLACING, KILL_TIMEOUT_NS);
        break;
    case PHASE_RUNNING: /* it has closed fd 3, and lives */
        log_warning("%s: worker %d has closed its control socket", device_name(worker), (int)worker->pid);
        process_kill(worker);
        worker_move(worker, PHASE_REPLACING, KILL_TIMEOUT_NS);
        break;
    case PHASE_REPLACING:
    case PHASE_STOPPING:
        process_kill(worker);
        worker_due_by(worker, &worker->deadline_ns, clock_monotonic_ns() + KILL_TIMEOUT_NS);
        break;
    default:
        break;
    }
}

void worker_tick(struct netd_worker *worker, int64_t now_ns)
{
    if (worker->resume_ns && worker->resume_ns <= now_ns)
        process_listen(worker, true);
    if (worker->event_ns && worker->event_ns <= now_ns) {
        worker->event_ns = 0;
        dispatch_event(worker->netd);
    }
    if (worker->deadline_ns && worker->deadline_ns <= now_ns)
        deadline_passed(worker); /* may free it */
}

/* ---- describing -------------------------------------------------------------------------------------------------- */

static enum worker_state worker_state_of(const struct netd_worker *worker)
{
    switch (worker->phase) {
    case PHASE_NEW:
    case PHASE_STARTING:
        return WORKER_STARTING;
    case PHASE_RUNNING:
        return WORKER_RUNNING;
    case PHASE_CONFIGURING:
        return worker->next_alone ? WORKER_RESTARTING : WORKER_RUNNING;
    default:
        return worker->failed ? WORKER_FAILED : WORKER_RESTARTING;
    }
}

void worker_describe(const struct netd_worker *worker, struct ipc_worker_info *ret_info, const char **ret_text,
                     uint32_t *ret_text_length)
{
    ret_info->uuid = worker->device->key.uuid;
    ret_info->state = worker_state_of(worker);
    ret_info->pid = (int32_t)worker->pid;
    ret_info->restarts = worker->restarts;
    ret_info->started_ns = worker->started_ns;
    ret_info->tag = worker->set.head.tag;
    memcpy(ret_info->program, worker->set.head.program, sizeof ret_info->program);
    memcpy(ret_info->detail, worker->detail, sizeof ret_info->detail);
    *ret_text = worker->status;
    *ret_text_length = worker->status ? (uint32_t)worker->status_length : 0;
}

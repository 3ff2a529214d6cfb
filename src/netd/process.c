/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's process, as netd sees it: a pidfd that says when it ends, and a control socket that says the rest. */
#include "spawn.h"
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#define MESSAGES_LEFT_MAX 64 /* what is still read from one that has ended */

/* One message; false where there is none (any more). */
static bool control_read(struct netd_worker *worker)
{
    static char packet[WORKER_MESSAGE_MAX];
    struct worker_message message;
    size_t length = 0;
    /* it has no descriptors to bring: those of `attached` are read before it comes here */
    int result = seqpacket_receive(worker->control.fd, packet, sizeof packet, &length, NULL, NULL, MSG_DONTWAIT);
    if (result == -EAGAIN)
        return false;
    if (result == 0 && length == 0) {
        /* it has closed fd 3. Mostly that is its end, and the pidfd will say so; if not, worker_tick ends it */
        watch_close(worker->netd, &worker->control);
        return false;
    }
    if (result < 0) {
        /* -EMSGSIZE: too long, or with descriptors. No worker in its right mind says more, and each costs us time */
        watch_close(worker->netd, &worker->control);
        return false;
    }
    if (worker_message_parse(packet, length, &message) < 0) {
        if (netd_may_log(worker->netd))
            log_warning("%s: its worker said what cannot be understood", worker->device->key.name);
        return true;
    }
    worker_heard(worker, &message);
    return true;
}

static void control_ready(void *context, uint32_t events)
{
    struct netd_worker *worker = context;
    (void)events;
    if (worker->resume_ns) /* it has hung up, and what it said before that waits like all the rest */
        return;
    if (!rate_limit_permits(&worker->messages, clock_monotonic_ns())) {
        process_listen(worker, false); /* it talks too much: let it wait */
        return;
    }
    control_read(worker);
    if (worker->control.fd < 0 && worker->pid && worker->deadline_ns == 0)
        worker_due_by(worker, &worker->deadline_ns, clock_monotonic_ns() + NSEC_PER_SEC);
}

void process_listen(struct netd_worker *worker, bool on)
{
    worker_due_by(worker, &worker->resume_ns, on ? 0 : clock_monotonic_ns() + 100 * NSEC_PER_MSEC);
    /* a hang-up is told even to whom asks for nothing: once, and not all the time */
    watch_set(worker->netd, &worker->control, on ? EPOLLIN : EPOLLONESHOT);
}

/* "exited with status 1", "was killed by signal 9 (Killed)" */
static void process_reap(const struct netd_worker *worker, char *how, size_t size)
{
    siginfo_t info = {0};
    if (waitid((idtype_t)P_PIDFD, (id_t)worker->process.fd, &info, WEXITED | WNOHANG) < 0)
        snprintf(how, size, "ended"); /* it was started by another netd, and is not our child */
    else if (info.si_code == CLD_EXITED)
        snprintf(how, size, "exited with status %d", info.si_status);
    else
        snprintf(how, size, "was killed by signal %d (%s)", info.si_status, strsignal(info.si_status));
}

static void process_ready(void *context, uint32_t events)
{
    struct netd_worker *worker = context;
    char how[96];
    (void)events;
    /* its last words first: why it failed */
    for (int i = 0; i < MESSAGES_LEFT_MAX && worker->control.fd >= 0 && control_read(worker); i++)
        ;
    process_reap(worker, how, sizeof how);
    log_info("%s: worker %d %s", worker->device->key.name, (int)worker->pid, how);
    process_forget(worker);
    worker_ended(worker, how); /* may free it */
}

void process_forget(struct netd_worker *worker)
{
    watch_close(worker->netd, &worker->control);
    watch_close(worker->netd, &worker->process);
    worker->pid = 0;
    worker->resume_ns = 0;
}

/* Takes what was found. */
int process_watch(struct netd_worker *worker, const struct spawned *found, struct err *ret_err)
{
    int pidfd CLEANUP(fd_done) = found->pidfd, control CLEANUP(fd_done) = found->control;
    int result = watch_add(worker->netd, &worker->process, pidfd, EPOLLIN, process_ready, worker);
    if (result == 0) {
        pidfd = -1;
        result = watch_add(worker->netd, &worker->control, control, EPOLLIN, control_ready, worker);
    }
    if (result < 0) {
        watch_close(worker->netd, &worker->process);
        return err_set_kernel(ret_err, result, "epoll_ctl", "cannot watch a worker");
    }
    control = -1;
    worker->pid = found->pid;
    worker->started_ns = clock_realtime_ns();
    worker->ready_ns = 0;
    worker->messages = (struct rate_limit){.rate = 200, .burst = 100};
    return 0;
}

int process_configure(struct netd_worker *worker, const struct worker_set *set, struct err *ret_err)
{
    char head[CONFIGURE_HEAD_SIZE];
    int fds[1 + DEVICE_QUEUES_MAX + WORKER_SOCKETS_MAX];
    size_t count = 0;
    _Static_assert(ARRAY_SIZE(fds) <= IPC_FDS_MAX && IPC_FDS_MAX <= WORKER_FDS_MAX, "all descriptors fit one packet");
    fds[count++] = worker->page;
    for (uint32_t i = 0; i < set->head.queues; i++)
        fds[count++] = worker->device->queues[i];
    for (uint32_t i = 0; i < set->head.sockets; i++)
        fds[count++] = set->sockets.fds[i];
    size_t length = configure_head_print(&set->head, head);
    int result = worker->control.fd < 0 ? -EPIPE
                                        : seqpacket_send(worker->control.fd, head, length, set->config,
                                                         set->config_length, fds, count, MSG_DONTWAIT);
    if (result < 0)
        return err_set(ret_err, result, ERR_WORKER_FAILED, "", "the worker does not take its configuration: %s",
                       strerror(-result));
    worker->messages.tokens += 1; /* its answer is asked for, and no chatter */
    return 0;
}

int process_start(struct netd_worker *worker, const struct worker_set *set, struct err *ret_err)
{
    struct spawned spawned;
    struct netd_device *device = worker->device;
    int result = net_tun_plain(device->queues[0], device->key.name, ret_err);
    if (result == 0)
        result = spawn_worker(worker->netd, set->head.program, &device->key.uuid, &spawned, ret_err);
    if (result < 0)
        return result;
    pid_t pid = spawned.pid;
    result = process_watch(worker, &spawned, ret_err);
    if (result < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return result;
    }
    log_info("%s: worker %d started (%s)", device->key.name, (int)pid, set->head.program);
    /* a child that failed already is heard of by its message; here only a packet that cannot be sent is an error */
    result = process_configure(worker, set, ret_err);
    if (result == -EPIPE || result == -ECONNRESET)
        result = 0;
    return result;
}

void process_capture(struct netd_worker *worker)
{
    static const char verb[] = "capture\n";
    if (worker->control.fd >= 0 && seqpacket_send(worker->control.fd, verb, sizeof verb - 1, NULL, 0, &worker->capture,
                                                  worker->capture >= 0, MSG_DONTWAIT) < 0)
        log_warning("%s: its worker does not hear of a capture", worker->device->key.name);
}

void process_ask_to_stop(struct netd_worker *worker)
{
    static const char stop[] = "stop\n";
    if (worker->control.fd < 0 ||
        seqpacket_send(worker->control.fd, stop, sizeof stop - 1, NULL, 0, NULL, 0, MSG_DONTWAIT) < 0)
        pidfd_send_signal(worker->process.fd, SIGTERM, NULL, 0);
}

void process_kill(struct netd_worker *worker)
{
    if (pidfd_send_signal(worker->process.fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        log_error("%s: cannot kill worker %d: %s", worker->device->key.name, (int)worker->pid, strerror(errno));
}

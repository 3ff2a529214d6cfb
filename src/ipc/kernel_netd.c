/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_netd: the real provider of `struct kernel`.
 *
 * Looking needs no privilege: dumps go over netlink sockets of this process. The socket of a named netns is opened by
 * netd, for that takes CAP_SYS_ADMIN, and kept for as long as the name means the same netns. Changes go to netd.
 *
 * Two connections to netd: one for requests, on which one request or one run of steps (run.c) is in hand at a time, and
 * one that hears events and,
 * by its end of file, that netd has gone. Both are made and lost together. What wakes the engine is one epoll
 * descriptor over the events connection, the netlink event sockets and the timer of the next attempt to reconnect.
 *
 * `stats` comes from any thread: it has a lock and sockets of its own (netns.c), and shares nothing with the rest but
 * the path.
 */
#include "client.h"
#include "netns.h"
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define RECONNECT_MS     250
#define STATS_TIMEOUT_MS 500
#define STATS_RETRY_NS   NSEC_PER_SEC

struct kernel_netd {
    struct kernel kernel; /* first: a kernel of ours is a kernel_netd */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int epoll_fd;
    int timer_fd;
    struct ipc_client requests;
    struct ipc_client events;
    struct net_ns *own_ns;
    int own_events;
    int names;                 /* hears of network namespaces being named (inotify); the directory may come later */
    struct netns_cache spaces; /* the engine thread's */

    pthread_mutex_t stats_lock; /* guards the rest */
    struct net_ns *stats_own_ns;
    struct netns_cache stats_spaces;
    int64_t stats_retry_ns; /* no attempt to reach netd before (CLOCK_MONOTONIC) */
};

static struct kernel_netd *netd_of(struct kernel *kernel)
{
    return (struct kernel_netd *)kernel;
}

/* ---- the connection ---------------------------------------------------------------------------------------------- */

static void timer_arm(struct kernel_netd *netd, bool on)
{
    struct timespec period = {.tv_nsec = on ? RECONNECT_MS * NSEC_PER_MSEC : 0};
    struct itimerspec setting = {.it_interval = period, .it_value = period};
    timerfd_settime(netd->timer_fd, 0, &setting, NULL);
}

static int epoll_watch(struct kernel_netd *netd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(netd->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void disconnect(struct kernel_netd *netd)
{
    ipc_client_close(&netd->requests);
    ipc_client_close(&netd->events); /* leaves the epoll set by itself: nobody else holds it */
    timer_arm(netd, true);
}

/* No netlink event tells of a namespace that is not there yet. Asked for again and again, it is one watch; where the
 * directory is another one by now, that is watched, too. */
static void names_watch(struct kernel_netd *netd)
{
    if (netd->names >= 0)
        (void)inotify_add_watch(netd->names, "/run/netns", IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR);
}

static bool names_drain(struct kernel_netd *netd)
{
    alignas(struct inotify_event) char events[4096];
    bool any = false;
    while (read(netd->names, events, sizeof events) > 0)
        any = true;
    return any;
}

static bool is_connected(const struct kernel_netd *netd)
{
    return netd->requests.fd >= 0 && netd->events.fd >= 0;
}

static int events_connect(struct kernel_netd *netd, struct err *ret_err)
{
    struct ipc_request subscribe;
    struct ipc_answer answer;
    ipc_request_init(&subscribe, IPC_SUBSCRIBE);
    int result = ipc_client_connect(&netd->events, netd->path, IPC_HELLO_TIMEOUT_MS, ret_err);
    if (result < 0)
        return result;
    result = ipc_client_call(&netd->events, &subscribe, NULL, IPC_HELLO_TIMEOUT_MS, &answer, ret_err);
    ipc_answer_done(&answer);
    if (result == 0 && epoll_watch(netd, netd->events.fd) < 0)
        result = err_no_memory(ret_err);
    return result;
}

/* 0 when there is a connection now, made new where the old one has died. */
static int connect_if_needed(struct kernel_netd *netd, struct err *ret_err)
{
    if (is_connected(netd) && ipc_client_is_alive(&netd->requests))
        return 0;
    disconnect(netd);
    int result = ipc_client_connect(&netd->requests, netd->path, IPC_HELLO_TIMEOUT_MS, ret_err);
    if (result == 0)
        result = events_connect(netd, ret_err);
    if (result < 0) {
        disconnect(netd);
        return result;
    }
    timer_arm(netd, false);
    return 0;
}

/* Sends a request that netd has not seen yet: so a connection that turns out dead is worth one more attempt. */
static int request_send(struct kernel_netd *netd, struct ipc_request *request, const char *text, int64_t deadline_ns,
                        struct err *ret_err)
{
    int result = connect_if_needed(netd, ret_err);
    if (result < 0)
        return result;
    result = ipc_client_send(&netd->requests, request, text, deadline_ns, ret_err);
    if (result == -ENOTCONN) {
        result = connect_if_needed(netd, ret_err);
        if (result == 0)
            result = ipc_client_send(&netd->requests, request, text, deadline_ns, ret_err);
    }
    if (!is_connected(netd))
        disconnect(netd);
    return result;
}

static int answer_receive(struct kernel_netd *netd, int64_t deadline_ns, struct ipc_answer *ret_answer,
                          struct err *ret_err)
{
    int result = ipc_client_receive(&netd->requests, deadline_ns, ret_answer, ret_err);
    if (!is_connected(netd))
        disconnect(netd);
    return result;
}

static int request_call(struct kernel_netd *netd, struct ipc_request *request, const char *text,
                        struct ipc_answer *ret_answer, struct err *ret_err)
{
    int64_t deadline_ns = clock_monotonic_ns() + IPC_CALL_TIMEOUT_MS * NSEC_PER_MSEC;
    ret_answer->fd_count = 0;
    int result = request_send(netd, request, text, deadline_ns, ret_err);
    return result < 0 ? result : answer_receive(netd, deadline_ns, ret_answer, ret_err);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

/* What a worker says is {"detail": "…"}, and netd, which reads no JSON, passes it on as it is. Picks the sentence out,
 * in place; anything else stays as it is. */
static void detail_unwrap(char *text)
{
    static const char member[] = "\"detail\"";
    char *from = text[0] == '{' ? strstr(text, member) : NULL;
    if (!from)
        return;
    from += sizeof member - 1;
    from += strspn(from, " :");
    if (*from++ != '"')
        return;
    char *to = text;
    while (*from && *from != '"') {
        if (from[0] == '\\' && from[1])
            from++;
        *to++ = *from++;
    }
    *to = '\0';
}

static int worker_add(struct observed *observed, const struct ipc_answer *answer, struct err *ret_err)
{
    const struct ipc_worker_info *info = &answer->reply.worker;
    void *items = observed->workers;
    if (array_grow(&items, &observed->worker_capacity, observed->worker_count, sizeof *observed->workers) < 0)
        return err_no_memory(ret_err);
    observed->workers = items;
    char *status = strdup(answer->text);
    if (!status)
        return err_no_memory(ret_err);
    struct observed_worker *worker = &observed->workers[observed->worker_count++];
    *worker = (struct observed_worker){.uuid = info->uuid,
                                       .state = (enum worker_state)info->state,
                                       .pid = info->pid,
                                       .restarts = info->restarts,
                                       .started_ns = info->started_ns,
                                       .tag = info->tag,
                                       .status = status};
    memcpy(worker->program, info->program, sizeof worker->program);
    memcpy(worker->detail, info->detail, sizeof worker->detail);
    detail_unwrap(worker->detail);
    return 0;
}

static int workers_observe(struct kernel_netd *netd, struct observed *observed, struct err *ret_err)
{
    int64_t deadline_ns = clock_monotonic_ns() + IPC_CALL_TIMEOUT_MS * NSEC_PER_MSEC;
    struct ipc_request list;
    ipc_request_init(&list, IPC_WORKER_LIST);
    int result = request_send(netd, &list, NULL, deadline_ns, ret_err);
    for (bool more = true; result == 0 && more;) {
        struct ipc_answer answer;
        result = answer_receive(netd, deadline_ns, &answer, ret_err);
        more = result == 0 && answer.reply.more;
        if (more)
            result = worker_add(observed, &answer, ret_err);
        ipc_answer_done(&answer);
    }
    /* what is left of a list that was not read to its end must not be waited through: begin anew */
    if (result < 0)
        disconnect(netd);
    return result;
}

static int space_observe(struct kernel_netd *netd, const char *name, struct observed *observed, struct err *ret_err)
{
    struct netns_space *space = netns_cache_find(&netd->spaces, name);
    if (!space) {
        int result = connect_if_needed(netd, ret_err);
        if (result == 0)
            result = netns_cache_open(&netd->spaces, &netd->requests, name, IPC_CALL_TIMEOUT_MS, &space, ret_err);
        if (!is_connected(netd))
            disconnect(netd);
        if (result == -ENOENT)
            return 0;
        if (result < 0)
            return result;
        if (epoll_watch(netd, space->events) < 0) {
            netns_cache_drop(&netd->spaces, name);
            return err_no_memory(ret_err);
        }
    }
    int result = net_observe(space->ns, observed, ret_err);
    if (result < 0 && result != -EAGAIN && result != -ENOMEM)
        netns_cache_drop(&netd->spaces, name);
    return result;
}

static int kernel_netd_observe(struct kernel *kernel, const char *const *netns, size_t netns_count,
                               struct observed *ret_observed, struct err *ret_err)
{
    struct kernel_netd *netd = netd_of(kernel);
    int result = connect_if_needed(netd, ret_err);
    if (result < 0)
        return result;

    names_watch(netd); /* before looking: what comes after it is heard of */
    /* a socket keeps its netns alive: hold none of a name that is not asked for any more */
    netns_cache_prune(&netd->spaces, netns, netns_count);
    pthread_mutex_lock(&netd->stats_lock);
    netns_cache_prune(&netd->stats_spaces, netns, netns_count);
    pthread_mutex_unlock(&netd->stats_lock);

    struct observed observed = {0};
    result = net_observe(netd->own_ns, &observed, ret_err);
    for (size_t i = 0; i < netns_count && result == 0; i++)
        if (netns[i][0])
            result = space_observe(netd, netns[i], &observed, ret_err);
    if (result == 0)
        result = workers_observe(netd, &observed, ret_err);
    if (result < 0) {
        observed_done(&observed);
        return result;
    }
    *ret_observed = observed;
    return 0;
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

static int kernel_netd_apply(struct kernel *kernel, const struct step *step, struct err *ret_err)
{
    struct ipc_request request;
    struct ipc_answer answer;
    bool has_text = step->kind == STEP_WORKER_START || step->kind == STEP_WORKER_CONFIGURE;
    ipc_request_from_step(step, 0, &request);
    int result = request_call(netd_of(kernel), &request, has_text ? step->worker.config : NULL, &answer, ret_err);
    ipc_answer_done(&answer);
    /* whatever arrives late belongs to this request: on a new connection it cannot arrive at all */
    if (result == -ETIMEDOUT && netd_of(kernel)->requests.fd < 0)
        disconnect(netd_of(kernel));
    if (result < 0 && ret_err && ret_err->code == ERR_WORKER_FAILED)
        detail_unwrap(ret_err->message);
    return result;
}

static void kernel_netd_apply_run(struct kernel *kernel, const struct step *steps, size_t count,
                                  struct step_result *ret_results)
{
    struct kernel_netd *netd = netd_of(kernel);
    struct err err = {0};
    int result = connect_if_needed(netd, &err);
    if (result < 0) {
        for (size_t i = 0; i < count; i++)
            ret_results[i] = (struct step_result){.error = result, .err = err};
        return;
    }
    ipc_run(&netd->requests, steps, count, ret_results);
    if (!is_connected(netd))
        disconnect(netd);
    for (size_t i = 0; i < count; i++)
        if (ret_results[i].err.code == ERR_WORKER_FAILED)
            detail_unwrap(ret_results[i].err.message);
}

/* Maps what netd handed out, once it is certain that nobody can shrink it under the reader. */
static int page_map(int fd, const struct counter_page **ret_page, struct err *ret_err)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &status) < 0 || status.st_size < COUNTER_PAGE_SIZE)
        return err_set(ret_err, -EPROTO, ERR_INTERNAL, "", "tunwright-netd sent what is no counter page");
    void *page = mmap(NULL, COUNTER_PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return err_set_kernel(ret_err, -errno, "mmap", "cannot map a counter page");
    *ret_page = page;
    return 0;
}

static int kernel_netd_page(struct kernel *kernel, const struct uuid *device, const struct counter_page **ret_page,
                            struct err *ret_err)
{
    struct ipc_request request;
    struct ipc_answer answer;
    ipc_request_init(&request, IPC_WORKER_PAGE);
    request.device.uuid = *device;
    int result = request_call(netd_of(kernel), &request, NULL, &answer, ret_err);
    if (result == 0 && answer.fd_count != 1)
        result = err_set(ret_err, -EPROTO, ERR_INTERNAL, "", "tunwright-netd sent no counter page");
    if (result == 0)
        result = page_map(answer.fds[0], ret_page, ret_err);
    ipc_answer_done(&answer);
    return result;
}

/* ---- counters, from any thread ----------------------------------------------------------------------------------- */

/* Under stats_lock. A connection to netd for this one question: the sockets are kept, it is not. */
static int stats_space_open(struct kernel_netd *netd, const char *name, struct netns_space **ret_space)
{
    int64_t now_ns = clock_monotonic_ns();
    if (now_ns < netd->stats_retry_ns)
        return -ENOTCONN;
    struct ipc_client client = {.fd = -1};
    int result = ipc_client_connect(&client, netd->path, STATS_TIMEOUT_MS, NULL);
    if (result == 0)
        result = netns_cache_open(&netd->stats_spaces, &client, name, STATS_TIMEOUT_MS, ret_space, NULL);
    if (result == -ENOTCONN || result == -ETIMEDOUT)
        netd->stats_retry_ns = clock_monotonic_ns() + STATS_RETRY_NS;
    ipc_client_close(&client);
    return result;
}

/* Under stats_lock. */
static int stats_ns(struct kernel_netd *netd, const char *name, struct net_ns **ret_ns)
{
    if (!name[0]) {
        if (!netd->stats_own_ns) {
            int result = net_ns_open("", &netd->stats_own_ns, NULL);
            if (result < 0)
                return result;
        }
        *ret_ns = netd->stats_own_ns;
        return 0;
    }
    struct netns_space *space = netns_cache_find(&netd->stats_spaces, name);
    int result = space ? 0 : stats_space_open(netd, name, &space);
    if (result < 0)
        return result == -ENOENT ? -ENODEV : result;
    *ret_ns = space->ns;
    return 0;
}

static int kernel_netd_stats(struct kernel *kernel, const char *netns, uint32_t ifindex, struct link_stats *ret_stats)
{
    struct kernel_netd *netd = netd_of(kernel);
    struct net_ns *ns;
    pthread_mutex_lock(&netd->stats_lock);
    int result = stats_ns(netd, netns, &ns);
    if (result == 0)
        result = net_link_stats(ns, ifindex, ret_stats);
    pthread_mutex_unlock(&netd->stats_lock);
    return result;
}

/* ---- captures, from any thread ------------------------------------------------------------------------------------ */

static bool area_is_sound(int fd)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) && fstat(fd, &status) == 0 && status.st_size == CAPTURE_AREA_SIZE;
}

/* On a connection of its own: as long as that is there, so is the capture. */
static int kernel_netd_capture(struct kernel *kernel, const struct uuid *device, const struct capture_order *order,
                               int *ret_area, int *ret_hold, struct err *ret_err)
{
    struct ipc_client client = {.fd = -1};
    struct ipc_request request;
    struct ipc_answer answer;
    int result = ipc_client_connect(&client, netd_of(kernel)->path, STATS_TIMEOUT_MS, ret_err);
    if (result < 0)
        return result;
    ipc_request_init(&request, IPC_WORKER_CAPTURE);
    request.device.uuid = *device;
    request.capture.snaplen = order->snaplen;
    request.capture.program_length = order->program_length;
    result = ipc_client_call(&client, &request, (const char *)order->program, STATS_TIMEOUT_MS, &answer, ret_err);
    if (result == 0 && (answer.fd_count != 1 || !area_is_sound(answer.fds[0])))
        result = err_set(ret_err, -EPROTO, ERR_INTERNAL, "", "tunwright-netd sent no capture area");
    if (result == 0) {
        *ret_area = answer.fds[0];
        *ret_hold = client.fd;
        return 0;
    }
    ipc_answer_done(&answer);
    ipc_client_close(&client);
    return result;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static int kernel_netd_event_fd(struct kernel *kernel)
{
    return netd_of(kernel)->epoll_fd;
}

/* Reads all that netd has said; false where it has gone. */
static bool events_read(struct kernel_netd *netd)
{
    for (;;) {
        alignas(struct ipc_reply) char packet[sizeof(struct ipc_reply) + WORKER_STATUS_MAX];
        size_t length = 0;
        int result = seqpacket_receive(netd->events.fd, packet, sizeof packet, &length, NULL, NULL, MSG_DONTWAIT);
        if (result == -EAGAIN)
            return true;
        if (result < 0 || length == 0)
            return false;
    }
}

static bool event_handle(struct kernel_netd *netd, int fd)
{
    if (fd == netd->timer_fd) {
        uint64_t expirations;
        if (read(netd->timer_fd, &expirations, sizeof expirations) < 0)
            return false;
        return !is_connected(netd) && connect_if_needed(netd, NULL) == 0;
    }
    if (fd == netd->names)
        return names_drain(netd);
    if (fd == netd->events.fd) {
        if (!events_read(netd))
            disconnect(netd);
        return true;
    }
    return net_events_drain(fd);
}

static bool kernel_netd_event_drain(struct kernel *kernel)
{
    struct kernel_netd *netd = netd_of(kernel);
    struct epoll_event events[16];
    bool again = false;
    int count = epoll_wait(netd->epoll_fd, events, (int)ARRAY_SIZE(events), 0);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        /* the handler of an earlier event may have closed it, and another may have got its number: harmless, for each
         * handler takes an idle descriptor */
        again |= event_handle(netd, fd);
    }
    return again;
}

static bool kernel_netd_connected(struct kernel *kernel)
{
    return is_connected(netd_of(kernel));
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

static void kernel_netd_close(struct kernel *kernel)
{
    struct kernel_netd *netd = netd_of(kernel);
    ipc_client_close(&netd->requests);
    ipc_client_close(&netd->events);
    netns_cache_done(&netd->spaces);
    netns_cache_done(&netd->stats_spaces);
    net_ns_close(netd->own_ns);
    net_ns_close(netd->stats_own_ns);
    fd_done(&netd->own_events);
    fd_done(&netd->names);
    fd_done(&netd->timer_fd);
    fd_done(&netd->epoll_fd);
    pthread_mutex_destroy(&netd->stats_lock);
    free(netd);
}

static const struct kernel_ops kernel_netd_ops = {
    .observe = kernel_netd_observe,
    .apply = kernel_netd_apply,
    .apply_run = kernel_netd_apply_run,
    .page = kernel_netd_page,
    .stats = kernel_netd_stats,
    .capture = kernel_netd_capture,
    .event_fd = kernel_netd_event_fd,
    .event_drain = kernel_netd_event_drain,
    .connected = kernel_netd_connected,
    .close = kernel_netd_close,
};

static int kernel_netd_prepare(struct kernel_netd *netd, const char *path, struct err *ret_err)
{
    if (text_copy(netd->path, sizeof netd->path, path) < 0)
        return err_set(ret_err, -ENAMETOOLONG, ERR_INVALID_VALUE, "", "too long for a socket's name: %.100s…", path);
    netd->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    netd->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (netd->epoll_fd < 0 || netd->timer_fd < 0)
        return err_set_kernel(ret_err, -errno, "epoll_create1", "cannot make the event descriptor");
    netd->names = inotify_init1(IN_CLOEXEC | IN_NONBLOCK); /* a user has a limited number: without, it takes longer */
    int result = net_ns_open("", &netd->own_ns, ret_err);
    if (result == 0)
        result = net_events_open("", &netd->own_events, ret_err);
    if (result < 0)
        return result;
    if (epoll_watch(netd, netd->own_events) < 0 || (netd->names >= 0 && epoll_watch(netd, netd->names) < 0) ||
        epoll_watch(netd, netd->timer_fd) < 0)
        return err_no_memory(ret_err);
    return 0;
}

int kernel_netd_open(const char *netd_socket, struct kernel **ret_kernel, struct err *ret_err)
{
    struct kernel_netd *netd = calloc(1, sizeof *netd);
    if (!netd)
        return err_no_memory(ret_err);
    netd->kernel.ops = &kernel_netd_ops;
    netd->epoll_fd = netd->timer_fd = netd->own_events = netd->names = -1;
    netd->requests.fd = netd->events.fd = -1;
    pthread_mutex_init(&netd->stats_lock, NULL);

    int result = kernel_netd_prepare(netd, netd_socket, ret_err);
    if (result < 0) {
        kernel_netd_close(&netd->kernel);
        return result;
    }
    connect_if_needed(netd, NULL); /* where netd is away, the timer runs from now on */
    *ret_kernel = &netd->kernel;
    return 0;
}

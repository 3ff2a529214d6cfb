/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a new netd finds the workers of an earlier one, and why it may believe what they say.
 *
 * A socket in the workers directory was put there by a netd: nobody else may enter it. Whoever answers on it is known
 * by its peer credentials, which are those of the process that called listen(2): the worker, after it had become the
 * worker's user. It hands back the descriptors and the configuration that it was given. It is unprivileged, and may
 * have been taken over by whoever sends it packets; so each thing is checked for being what it must be:
 *
 *   the page      by its seals and its size
 *   the queues    by being /dev/net/tun, and leading to a device whose alias holds the uuid of the socket's name
 *   the sockets   by being bound UDP sockets
 *   the head      by the strict parser; the program in it is looked up anew before it is started
 *
 * What it can still lie about harms only its own device.
 */
#include "attach.h"

#include "devices.h"
#include "leftover.h"
#include "page.h"
#include "sockets.h"
#include "spawn.h"
#include "worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

struct candidate {
    struct uuid uuid;
    struct spawned process;
};

/* ---- who answers ------------------------------------------------------------------------------------------------- */

/* "<uuid>.sock" */
static int socket_name_parse(const char *name, struct uuid *ret_uuid)
{
    char text[UUID_TEXT_SIZE];
    if (strlen(name) != UUID_TEXT_SIZE - 1 + strlen(".sock") || strcmp(name + UUID_TEXT_SIZE - 1, ".sock") != 0)
        return -EINVAL;
    memcpy(text, name, UUID_TEXT_SIZE - 1);
    text[UUID_TEXT_SIZE - 1] = '\0';
    return uuid_parse(text, ret_uuid);
}

/* Before SO_PEERPIDFD: the number may have been given to another process between the worker's end and our look. So the
 * process must also be of the worker's user. */
static int pidfd_of(const struct netd *netd, pid_t pid)
{
    char path[32];
    struct stat status;
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0)
        return -errno;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    if (stat(path, &status) < 0 || status.st_uid != netd->worker_user.uid) {
        close(pidfd);
        return -ESRCH;
    }
    return pidfd;
}

static int peer_find(const struct netd *netd, int control, struct spawned *ret_process)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(control, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return -errno;
    if (peer.uid != netd->worker_user.uid || peer.pid <= 0)
        return -EPERM;
    int pidfd = -1;
    size = sizeof pidfd;
    if (getsockopt(control, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0)
        pidfd = errno == ENOPROTOOPT ? pidfd_of(netd, peer.pid) : -errno;
    if (pidfd < 0)
        return pidfd;
    *ret_process = (struct spawned){.pid = peer.pid, .pidfd = pidfd, .control = control};
    return 0;
}

static int worker_connect(const struct netd *netd, const char *name, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%.60s", netd->workers_fd, name);
    int fd CLEANUP(fd_done) = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* Connects and asks. Returns whether there is a candidate now. */
static bool candidate_open(const struct netd *netd, const char *name, struct candidate *ret_candidate)
{
    static const char attach[] = "attach\n";
    int control CLEANUP(fd_done) = -1;
    if (socket_name_parse(name, &ret_candidate->uuid) < 0)
        return false;
    int result = worker_connect(netd, name, &control);
    if (result == 0)
        result = peer_find(netd, control, &ret_candidate->process);
    if (result < 0) {
        if (result != -ECONNREFUSED)
            log_warning("%s: not a worker of ours: %s", name, strerror(-result));
        unlinkat(netd->workers_fd, name, 0);
        return false;
    }
    control = -1; /* the candidate's */
    seqpacket_send(ret_candidate->process.control, attach, sizeof attach - 1, NULL, 0, NULL, 0, MSG_DONTWAIT);
    return true;
}

static void candidate_end(struct netd *netd, struct candidate *candidate, const char *why)
{
    char text[UUID_TEXT_SIZE];
    log_warning("worker %d of %s is ended: %s", (int)candidate->process.pid, uuid_print(&candidate->uuid, text), why);
    pidfd_send_signal(candidate->process.pidfd, SIGKILL, NULL, 0);
    worker_socket_remove(netd, &candidate->uuid);
    leftover_add(netd, &candidate->uuid, candidate->process.pidfd);
    candidate->process.pidfd = -1;
    fd_done(&candidate->process.control);
}

/* ---- what it hands over ------------------------------------------------------------------------------------------ */

/* All queues lead to one device, whose alias holds the uuid. Fills in the rest of the key. */
static int queues_check(struct netd *netd, const int *queues, size_t count, struct device_key *key,
                        uint32_t *ret_ifindex, struct err *ret_err)
{
    struct target target;
    for (size_t i = 0; i < count; i++) {
        struct device_key its = {.uuid = key->uuid};
        if (queue_locate(queues[i], &its) < 0)
            return err_set(ret_err, -EBADFD, ERR_WORKER_FAILED, "", "its queues lead to no device");
        if (i == 0)
            *key = its;
        else if (strcmp(key->name, its.name) != 0 || strcmp(key->netns, its.netns) != 0)
            return err_set(ret_err, -EBADFD, ERR_WORKER_FAILED, "", "its queues lead to several devices");
    }
    int result = target_open(netd, key, &target, ret_err);
    if (result < 0)
        return result;
    *ret_ifindex = target.link.ifindex;
    target_done(&target);
    return 0;
}

static int descriptors_check(const struct worker_message *message, const int *fds, size_t count, struct err *ret_err)
{
    if (count != 1 + message->head.queues + message->head.sockets)
        return err_set(ret_err, -EPROTO, ERR_WORKER_FAILED, "", "it did not hand over what it was given");
    if (!page_is_sound(fds[0]))
        return err_set(ret_err, -EPROTO, ERR_WORKER_FAILED, "", "its counter page is none of ours");
    for (size_t i = 1 + message->head.queues; i < count; i++)
        if (!socket_is_sound(fds[i]) || fd_set_nonblocking(fds[i]) < 0)
            return err_set(ret_err, -EPROTO, ERR_WORKER_FAILED, "", "its sockets are no bound UDP sockets");
    return 0;
}

/* CLOCK_REALTIME of a process's start, by /proc/<pid>/stat; now where that cannot be read. */
static int64_t process_started_ns(pid_t pid)
{
    char path[32], text[1024];
    unsigned long long ticks;
    struct timespec up;
    int64_t now_ns = clock_realtime_ns();
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd CLEANUP(fd_done) = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length <= 0 || clock_gettime(CLOCK_BOOTTIME, &up) < 0)
        return now_ns;
    text[length] = '\0';
    const char *rest = strrchr(text, ')'); /* the second field is a name, and may hold anything */
    if (!rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                        &ticks) != 1)
        return now_ns;
    int64_t since_boot_ns = (int64_t)ticks * (NSEC_PER_SEC / sysconf(_SC_CLK_TCK));
    return now_ns - ((int64_t)up.tv_sec * NSEC_PER_SEC + up.tv_nsec) + since_boot_ns;
}

/* Takes the descriptors and the candidate's own where it succeeds; on failure they are all closed but the candidate's.
 */
static int candidate_adopt(struct netd *netd, struct candidate *candidate, const struct worker_message *message,
                           const int *fds, size_t count, struct err *ret_err)
{
    struct device_key key = {.uuid = candidate->uuid};
    struct worker_set set = {.head = message->head, .config_length = message->config_length};
    struct netd_device *device = NULL;
    uint32_t ifindex = 0;
    uint32_t queues = message->head.queues;

    int result = descriptors_check(message, fds, count, ret_err);
    if (result == 0)
        result = queues_check(netd, fds + 1, queues, &key, &ifindex, ret_err);
    if (result == 0 && !(set.config = malloc(message->config_length)))
        result = err_no_memory(ret_err);
    if (result < 0) {
        for (size_t i = 0; i < count; i++)
            close(fds[i]);
        return result;
    }
    memcpy(set.config, message->config, message->config_length);
    set.sockets.count = message->head.sockets;
    memcpy(set.sockets.fds, fds + 1 + queues, message->head.sockets * sizeof(int));
    result = devices_add(netd, &key, ifindex, fds + 1, queues, &device, ret_err);
    if (result < 0) {
        close(fds[0]);
        worker_set_done(&set);
        return result;
    }
    struct spawned process = candidate->process;
    process.pidfd = fcntl(candidate->process.pidfd, F_DUPFD_CLOEXEC, 0);
    process.control = fcntl(candidate->process.control, F_DUPFD_CLOEXEC, 0);
    result = worker_adopt(device, &set, fds[0], &process, ret_err);
    if (result < 0) {
        device_remove(device);
        return result;
    }
    device->worker->started_ns = process_started_ns(process.pid);
    fd_done(&candidate->process.pidfd);
    fd_done(&candidate->process.control);
    log_info("%s: worker %d goes on (%s)", key.name, (int)process.pid, message->head.program);
    return 0;
}

/* One packet of a candidate. 0: it is done with; -EAGAIN: it has not said the word yet. */
static int candidate_read(struct netd *netd, struct candidate *candidate)
{
    static char packet[WORKER_MESSAGE_MAX];
    struct worker_message message;
    struct err err = {.message = "it does not speak our language"};
    int fds[WORKER_FDS_MAX];
    size_t length = 0, count = WORKER_FDS_MAX;
    int result =
        seqpacket_receive(candidate->process.control, packet, sizeof packet, &length, fds, &count, MSG_DONTWAIT);
    if (result == -EAGAIN)
        return -EAGAIN;
    if (result == 0 && length > 0 && worker_message_parse(packet, length, &message) == 0) {
        if (message.verb == VERB_ATTACHED) {
            if (candidate_adopt(netd, candidate, &message, fds, count, &err) < 0)
                candidate_end(netd, candidate, err.message);
            return 0;
        }
        for (size_t i = 0; i < count; i++)
            close(fds[i]);
        return -EAGAIN; /* a status, on its way already */
    }
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    candidate_end(netd, candidate, err.message);
    return 0;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static void candidates_remove(struct candidate *candidates, size_t *count, size_t index)
{
    candidates[index] = candidates[--*count];
}

static void candidates_wait(struct netd *netd, struct candidate *candidates, size_t *count)
{
    int64_t deadline_ns = clock_monotonic_ns() + WORKER_READY_TIMEOUT_MS * NSEC_PER_MSEC;
    struct pollfd *ready = calloc(*count ? *count : 1, sizeof *ready);
    while (ready && *count > 0) {
        int64_t left_ms = (deadline_ns - clock_monotonic_ns()) / NSEC_PER_MSEC;
        for (size_t i = 0; i < *count; i++)
            ready[i] = (struct pollfd){.fd = candidates[i].process.control, .events = POLLIN};
        int answers = left_ms <= 0 ? 0 : poll(ready, *count, (int)left_ms);
        if (answers < 0 && errno == EINTR) /* loop_hurry */
            continue;
        if (answers <= 0)
            break;
        for (size_t i = *count; i-- > 0;)
            if (ready[i].revents && candidate_read(netd, &candidates[i]) == 0)
                candidates_remove(candidates, count, i);
    }
    free(ready);
    while (*count > 0)
        candidate_end(netd, &candidates[--*count], "it did not answer in time");
}

void workers_attach(struct netd *netd)
{
    struct candidate *candidates = NULL;
    size_t count = 0, capacity = 0;
    int fd = openat(netd->workers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) {
        fd_done(&fd);
        log_error("cannot look for workers: %s", strerror(errno));
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory));) {
        void *items = candidates;
        if (entry->d_name[0] == '.')
            continue;
        if (array_grow(&items, &capacity, count, sizeof *candidates) < 0)
            break;
        candidates = items;
        if (candidate_open(netd, entry->d_name, &candidates[count]))
            count++;
    }
    closedir(directory);
    if (candidates)
        candidates_wait(netd, candidates, &count);
    free(candidates);
}

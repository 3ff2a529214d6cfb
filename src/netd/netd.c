/* SPDX-License-Identifier: Apache-2.0 */
/* The way up and down: directories, the adoption of workers, the door. */
#include "netd.h"

#include "attach.h"
#include "devices.h"
#include "dispatch.h"
#include "leftover.h"
#include "worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/un.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- directories ------------------------------------------------------------------------------------------------- */

/* The run directory belongs to tunwrightd's user, who binds its own socket there: so in it we trust no name but what we
 * have open. */
static int run_dir_open(const struct netd *netd, const char *path, int *ret_fd, struct err *ret_err)
{
    bool made = mkdir(path, 0755) == 0;
    if (!made && errno != EEXIST)
        return err_set_kernel(ret_err, -errno, "mkdir", "%s", path);
    int fd CLEANUP(fd_done) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "open", "%s", path);
    if (made && (fchown(fd, netd->user.uid, netd->user.gid) < 0 || fchmod(fd, 0755) < 0))
        return err_set_kernel(ret_err, -errno, "chown", "%s", path);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* Whoever could enter it could pass for a worker. The lock keeps a second netd out. */
static int workers_dir_open(int run_fd, int *ret_fd, struct err *ret_err)
{
    struct stat status;
    if (mkdirat(run_fd, "workers", 0700) < 0 && errno != EEXIST)
        return err_set_kernel(ret_err, -errno, "mkdir", "workers");
    int fd CLEANUP(fd_done) = openat(run_fd, "workers", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        return err_set_kernel(ret_err, -errno, "open", "workers");
    if (status.st_uid != geteuid() || status.st_mode & 077)
        return err_set(ret_err, -EACCES, ERR_INTERNAL, "", "the directory \"workers\" is open to others than us");
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(ret_err, -EBUSY, ERR_INTERNAL, "", "another tunwright-netd works in this directory");
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int worker_dir_open(struct netd *netd, const char *path, struct err *ret_err)
{
    if (!realpath(path, netd->worker_dir))
        return err_set_kernel(ret_err, -errno, "open", "%s", path);
    netd->worker_dir_fd = open(netd->worker_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return netd->worker_dir_fd < 0 ? err_set_kernel(ret_err, -errno, "open", "%s", path) : 0;
}

/* The socket becomes tunwrightd's. By its inode, from the kernel: the name may stand for something else by now. */
static int socket_give(int socket_fd, const struct service_user *user)
{
    int fd CLEANUP(fd_done) = ioctl(socket_fd, SIOCUNIXFILE);
    return fd < 0 || fchownat(fd, "", user->uid, user->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int door_open(struct netd *netd, int run_fd, struct err *ret_err)
{
    char path[64];
    int fd CLEANUP(fd_done) = -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d/netd.sock", run_fd);
    int result = seqpacket_listen(path, 0600, &fd, ret_err);
    if (result < 0)
        return result;
    result = socket_give(fd, &netd->user);
    if (result < 0)
        return err_set_kernel(ret_err, result, "chown", "netd.sock");
    result = fd_set_nonblocking(fd);
    if (result == 0)
        result = dispatch_listen(netd, fd);
    if (result < 0)
        return err_set_kernel(ret_err, result, "epoll_ctl", "cannot watch netd.sock");
    fd = -1;
    return 0;
}

/* ---- the rest of the loop ---------------------------------------------------------------------------------------- */

static void signals_ready(void *context, uint32_t events)
{
    struct netd *netd = context;
    struct signalfd_siginfo info;
    (void)events;
    if (read(netd->signals.fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    log_info("ending: %s. Devices and workers go on", strsignal((int)info.ssi_signo));
    netd->quit = true;
}

/* SIGALRM does nothing but end a wait: see loop_hurry. */
static void alarm_ignore(int signal_number)
{
    (void)signal_number;
}

static int signals_open(struct netd *netd, struct err *ret_err)
{
    static const struct sigaction alarm = {.sa_handler = alarm_ignore}; /* without SA_RESTART */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (sigaction(SIGALRM, &alarm, NULL) < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return err_set_kernel(ret_err, -errno, "sigprocmask", "cannot set up signals");
    int fd CLEANUP(fd_done) = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "signalfd", "cannot set up signals");
    int result = watch_add(netd, &netd->signals, fd, EPOLLIN, signals_ready, netd);
    if (result < 0)
        return err_set_kernel(ret_err, result, "epoll_ctl", "cannot set up signals");
    fd = -1;
    return 0;
}

static void links_ready(void *context, uint32_t events)
{
    struct netd *netd = context;
    (void)events;
    if (net_events_drain(netd->links.fd) && netd->device_count > 0)
        devices_sweep_soon(netd);
}

static int links_open(struct netd *netd, struct err *ret_err)
{
    int fd CLEANUP(fd_done) = -1;
    int result = net_ns_open("", &netd->own_ns, ret_err);
    if (result == 0)
        result = net_events_open("", &fd, ret_err);
    if (result < 0)
        return result;
    result = watch_add(netd, &netd->links, fd, EPOLLIN, links_ready, netd);
    if (result < 0)
        return err_set_kernel(ret_err, result, "epoll_ctl", "cannot watch the network");
    fd = -1;
    return 0;
}

/* Where an earlier netd was killed while it deleted devices, those that it did not get to have a group's number on them
 * still. A namespace that cannot be entered is none of ours. */
static void groups_clean(struct netd *netd)
{
    DIR *directory = opendir("/run/netns");
    net_links_ungroup(netd->own_ns, NULL);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        struct net_ns *ns = NULL;
        if (!netns_name_is_valid(entry->d_name) || net_ns_open(entry->d_name, &ns, NULL) < 0)
            continue;
        net_links_ungroup(ns, NULL);
        net_ns_close(ns);
    }
    if (directory)
        closedir(directory);
}

/* Some six descriptors for each device: as many as we may. The workers keep what was ours. */
static void files_raise(struct netd *netd)
{
    if (getrlimit(RLIMIT_NOFILE, &netd->worker_files) < 0) {
        netd->worker_files = (struct rlimit){1024, 1024};
        return;
    }
    struct rlimit most = {netd->worker_files.rlim_max, netd->worker_files.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &most) < 0)
        log_warning("no more than %llu descriptors", (unsigned long long)netd->worker_files.rlim_cur);
}

int netd_open(struct netd *netd, const struct netd_options *options, struct err *ret_err)
{
    int run_fd CLEANUP(fd_done) = -1;
    *netd = (struct netd){.signals.fd = -1,
                          .listener.fd = -1,
                          .spare_fd = -1,
                          .links.fd = -1,
                          .workers_fd = -1,
                          .worker_dir_fd = -1,
                          .due_ns = INT64_MAX,
                          .refusals = {.rate = 5, .burst = 20}};
    umask(077);
    files_raise(netd);
    netd->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (netd->epoll_fd < 0)
        return err_set_kernel(ret_err, -errno, "epoll_create1", "cannot make the loop");
    int result = service_user_find(options->user, &netd->user, ret_err);
    if (result == 0)
        result = service_user_find(options->worker_user, &netd->worker_user, ret_err);
    if (result == 0)
        result = run_dir_open(netd, options->run_dir, &run_fd, ret_err);
    if (result == 0)
        result = workers_dir_open(run_fd, &netd->workers_fd, ret_err);
    if (result == 0)
        result = worker_dir_open(netd, options->worker_dir, ret_err);
    if (result == 0)
        result = signals_open(netd, ret_err);
    if (result == 0)
        result = links_open(netd, ret_err);
    if (result < 0)
        return result;
    /* whoever connects shall find the workers already there */
    loop_hurry(true);
    workers_attach(netd);
    groups_clean(netd);
    loop_hurry(false);
    return door_open(netd, run_fd, ret_err);
}

void netd_close(struct netd *netd)
{
    loop_hurry(true);
    dispatch_close(netd);
    for (size_t i = netd->device_count; i-- > 0;) {
        if (netd->devices[i]->worker)
            worker_release(netd->devices[i]->worker);
        device_remove(netd->devices[i]);
    }
    free(netd->devices);
    leftovers_forget(netd);
    watch_close(netd, &netd->signals);
    watch_close(netd, &netd->links);
    net_ns_close(netd->own_ns);
    fd_done(&netd->spare_fd);
    fd_done(&netd->workers_fd);
    fd_done(&netd->worker_dir_fd);
    fd_done(&netd->epoll_fd);
}

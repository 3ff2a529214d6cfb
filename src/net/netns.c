/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces, and the netlink socket that lives in one.
 *
 * A socket (and an open /dev/net/tun) belongs to the netns that its opener was in at that moment, for ever. So the
 * thread enters the netns for one call and comes back. If it could not come back, everything it did from then on would
 * happen to the wrong network: it aborts.
 */
#include "netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

#define NETNS_DIRECTORY      "/run/netns"
#define NETNS_HERE           "/proc/thread-self/ns/net"
#define RECEIVE_TIMEOUT_S    10
#define RECEIVE_BUFFER_BYTES (1 << 20)

/* Enters the netns of an open nsfs file. */
static int netns_enter_fd(int fd, int *ret_back, struct err *ret_err)
{
    CLEANUP(fd_done) int back = open(NETNS_HERE, O_RDONLY | O_CLOEXEC);
    if (back < 0)
        return err_set_kernel(ret_err, -errno, "open", "cannot open " NETNS_HERE);
    if (setns(fd, CLONE_NEWNET) < 0)
        return err_set_kernel(ret_err, -errno, "setns", "cannot enter the network namespace");
    *ret_back = back;
    back = -1;
    return 0;
}

int netns_enter(const char *name, int *ret_back, struct err *ret_err)
{
    if (!netns_name_is_valid(name))
        return err_set(ret_err, -EINVAL, ERR_INVALID_NAME, "/netns", "not a name that a network namespace can have");
    char path[sizeof NETNS_DIRECTORY + 1 + NETNS_NAME_SIZE];
    snprintf(path, sizeof path, NETNS_DIRECTORY "/%s", name);
    CLEANUP(fd_done) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "open", "cannot open the network namespace %s", name);
    int error = netns_enter_fd(fd, ret_back, ret_err);
    /* a plain file: what is left when a netns was unmounted by other means than ip(8) */
    if (error == -EINVAL)
        return err_set_kernel(ret_err, -ENOENT, "setns", "%s is not a network namespace", path);
    return error;
}

int netns_enter_of(const struct net_ns *ns, int *ret_back, struct err *ret_err)
{
    if (ns->own) {
        *ret_back = -1;
        return 0;
    }
    CLEANUP(fd_done) int fd = ioctl(ns->fd, SIOCGSKNS);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "SIOCGSKNS", "cannot tell the network namespace %s", ns->name);
    struct stat there, here;
    if (fstat(fd, &there) == 0 && stat(NETNS_HERE, &here) == 0 && there.st_dev == here.st_dev &&
        there.st_ino == here.st_ino) {
        *ret_back = -1;
        return 0;
    }
    return netns_enter_fd(fd, ret_back, ret_err);
}

void netns_leave(int back)
{
    if (back < 0)
        return;
    if (setns(back, CLONE_NEWNET) < 0) {
        static const char text[] = "no way back from a network namespace\n";
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
        abort();
    }
    close(back);
}

/* Makes a bound socket of ours from a NETLINK_ROUTE socket; takes it. */
static int net_ns_make(int fd_taken, const char *name, bool own, struct net_ns **ret_ns, struct err *ret_err)
{
    CLEANUP(fd_done) int fd = fd_taken;
    int domain = 0, protocol = 0;
    socklen_t size = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
        return err_set_kernel(ret_err, -errno, "getsockopt", "not a netlink socket");
    size = sizeof protocol;
    if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0)
        return err_set_kernel(ret_err, -errno, "getsockopt", "not a netlink socket");
    if (domain != AF_NETLINK || protocol != NETLINK_ROUTE)
        return err_set_kernel(ret_err, -EINVAL, "getsockopt", "not a netlink socket");

    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size) == 0 && address.nl_pid == 0) {
        address = (struct sockaddr_nl){.nl_family = AF_NETLINK};
        size = sizeof address;
        if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &size) < 0)
            return err_set_kernel(ret_err, -errno, "bind", "cannot bind a netlink socket");
    }

    int on = 1, bytes = RECEIVE_BUFFER_BYTES;
    struct timeval timeout = {.tv_sec = RECEIVE_TIMEOUT_S};
    int status = fcntl(fd, F_GETFL);
    if (status < 0 || fcntl(fd, F_SETFL, status & ~O_NONBLOCK) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0)
        return err_set_kernel(ret_err, -errno, "setsockopt", "cannot set up a netlink socket");
    /* each of these makes answers better, and none of them is needed: older kernels lack the last ones */
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);

    struct net_ns *ns = calloc(1, sizeof *ns);
    if (!ns)
        return err_no_memory(ret_err);
    if (text_copy(ns->name, sizeof ns->name, name)) {
        free(ns);
        return err_set(ret_err, -EINVAL, ERR_INVALID_NAME, "/netns", "not a name that a network namespace can have");
    }
    ns->fd = fd;
    ns->port = address.nl_pid;
    ns->own = own;
    /* a socket that was passed on may have been used before: start where its replies cannot be mistaken for ours */
    if (random_bytes(&ns->sequence, sizeof ns->sequence))
        ns->sequence = (uint32_t)clock_monotonic_ns();
    fd = -1;
    *ret_ns = ns;
    return 0;
}

int net_ns_open(const char *name, struct net_ns **ret_ns, struct err *ret_err)
{
    int back = -1;
    if (name[0]) {
        int error = netns_enter(name, &back, ret_err);
        if (error)
            return error;
    }
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    int error = fd < 0 ? -errno : 0;
    netns_leave(back);
    if (error)
        return err_set_kernel(ret_err, error, "socket", "cannot open a netlink socket");
    return net_ns_make(fd, name, !name[0], ret_ns, ret_err);
}

int net_ns_adopt(int fd, const char *name, struct net_ns **ret_ns, struct err *ret_err)
{
    return net_ns_make(fd, name, false, ret_ns, ret_err);
}

void net_ns_close(struct net_ns *ns)
{
    if (!ns)
        return;
    close(ns->fd);
    free(ns);
}

int net_ns_fd(const struct net_ns *ns)
{
    return ns->fd;
}

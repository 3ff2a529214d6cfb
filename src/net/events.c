/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hearing that something changed. What exactly is not read: an event only says "look again", so that one that was lost
 * (ENOBUFS) means no more than one that was not.
 */
#include "netlink.h"

#include <errno.h>
#include <sys/socket.h>

#define EVENTS_BUFFER_BYTES (8 << 20)
#define EVENTS_AT_ONCE      4096 /* under a flood the caller gets its turn all the same; the socket stays readable */

int net_events_open(const char *netns, int *ret_fd, struct err *ret_err)
{
    static const int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                                 RTNLGRP_IPV6_ROUTE};
    int back = -1;
    if (netns[0]) {
        int error = netns_enter(netns, &back, ret_err);
        if (error)
            return error;
    }
    CLEANUP(fd_done) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    int error = fd < 0 ? -errno : 0;
    netns_leave(back);
    if (error)
        return err_set_kernel(ret_err, error, "socket", "cannot open a netlink socket");

    int bytes = EVENTS_BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0) /* takes CAP_NET_ADMIN */
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return err_set_kernel(ret_err, -errno, "bind", "cannot bind a netlink socket");
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof groups[i]) < 0)
            return err_set_kernel(ret_err, -errno, "NETLINK_ADD_MEMBERSHIP", "cannot hear of changes");
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

bool net_events_drain(int fd)
{
    bool any = false;
    for (int i = 0; i < EVENTS_AT_ONCE; i++) {
        char byte;
        if (recv(fd, &byte, sizeof byte, MSG_DONTWAIT) < 0) {
            if (errno == EINTR)
                continue;
            if (errno != ENOBUFS) /* ENOBUFS: events were lost, and what is queued comes after it */
                return any;
        }
        any = true;
    }
    return any;
}

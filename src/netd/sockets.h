/* SPDX-License-Identifier: Apache-2.0 */
/* sockets: a worker's sockets on the wire side, opened in our own network namespace. */
#ifndef NETD_SOCKETS_H
#define NETD_SOCKETS_H

#include "tunwright/model.h"

/* A socket that was kept, and that went another way before: what it takes to undo that. */
struct socket_way {
    bool changed;
    uint32_t mark;
    int ifindex; /* 0: any */
};
struct socket_set {
    uint32_t count;
    int fds[WORKER_SOCKETS_MAX];
    struct socket_way before[WORKER_SOCKETS_MAX];
};

/* As many descriptors as the specs ask for, in their order: another one of the same open socket where one of `held` (may
 * be NULL) has that address, else a new one. The mark and the interface are set on those that were kept, too, at once.
 * -EADDRINUSE is ERR_ADDRESS_IN_USE; an address or an interface that cannot be had is told with its pointer. On failure
 * none is left, and all that were kept are as they were. */
int sockets_open(const struct socket_spec *specs, size_t spec_count, const struct socket_set *held,
                 struct socket_set *ret_sockets, struct err *ret_err);
/* For a set that does not come into force: those that were kept go the way they went. */
void sockets_undo(struct socket_set *sockets);
void sockets_close(struct socket_set *sockets);
/* Whether a descriptor of unknown origin is a bound UDP socket. */
bool socket_is_sound(int fd);

#endif

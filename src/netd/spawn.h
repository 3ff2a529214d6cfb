/* SPDX-License-Identifier: Apache-2.0 */
/* spawn: a worker's process: its program, its two sockets, its user. */
#ifndef NETD_SPAWN_H
#define NETD_SPAWN_H

#include "netd.h"

#include <sys/types.h>

struct spawned {
    pid_t pid;
    int pidfd;
    int control; /* our end of the worker's fd 3, non-blocking */
};

/*
 * Starts a program of the worker directory. What goes wrong before fork(2) is an error here; what goes wrong after it
 * arrives as a `failed` message from the child, for netd must not wait for an execve(2).
 */
int spawn_worker(struct netd *netd, const char *program, const struct uuid *uuid, struct spawned *ret_spawned,
                 struct err *ret_err);

/* Its name in the workers directory, "<uuid>.sock". */
void worker_socket_remove(const struct netd *netd, const struct uuid *uuid);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "leftover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct leftover {
    struct netd *netd;
    struct uuid uuid;
    struct watch process; /* its pidfd: ready when all that it had open is closed */
    struct leftover *next;
};

static void leftover_free(struct leftover *leftover)
{
    watch_close(leftover->netd, &leftover->process);
    free(leftover);
}

static void leftover_gone(void *context, uint32_t events)
{
    struct leftover *leftover = context, **at = &leftover->netd->leftovers;
    (void)events;
    while (*at != leftover)
        at = &(*at)->next;
    *at = leftover->next;
    leftover_free(leftover);
}

void leftover_add(struct netd *netd, const struct uuid *uuid, int pidfd)
{
    struct leftover *leftover = calloc(1, sizeof *leftover);
    int result = leftover ? watch_add(netd, &leftover->process, pidfd, EPOLLIN, leftover_gone, leftover) : -ENOMEM;
    if (result < 0) { /* a start that comes too early fails then, and the daemon tries again in its own time */
        log_warning("cannot wait for a killed worker: %s", strerror(-result));
        fd_done(&pidfd);
        free(leftover);
        return;
    }
    leftover->netd = netd;
    leftover->uuid = *uuid;
    leftover->next = netd->leftovers;
    netd->leftovers = leftover;
}

bool leftover_of(const struct netd *netd, const struct uuid *uuid)
{
    const struct leftover *leftover = netd->leftovers;
    while (leftover && !uuid_equal(&leftover->uuid, uuid))
        leftover = leftover->next;
    return leftover;
}

void leftovers_forget(struct netd *netd)
{
    while (netd->leftovers) {
        struct leftover *leftover = netd->leftovers;
        netd->leftovers = leftover->next;
        leftover_free(leftover);
    }
}

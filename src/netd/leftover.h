/* SPDX-License-Identifier: Apache-2.0 */
/* leftover: the process of an earlier netd's worker that was killed here, and is no device's worker any more. Until it
 * has gone, what it held is taken: its queues, its addresses. */
#ifndef NETD_LEFTOVER_H
#define NETD_LEFTOVER_H

#include "netd.h"

/* Takes the pidfd, and watches it until the process has gone. */
void leftover_add(struct netd *netd, const struct uuid *uuid, int pidfd);
/* Whether there is one that was the worker of this device. */
bool leftover_of(const struct netd *netd, const struct uuid *uuid);
void leftovers_forget(struct netd *netd);

#endif

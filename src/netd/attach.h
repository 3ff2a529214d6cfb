/* SPDX-License-Identifier: Apache-2.0 */
/* attach: the workers that were here before this netd. */
#ifndef NETD_ATTACH_H
#define NETD_ATTACH_H

#include "netd.h"

/* Adopts every worker that answers in the workers directory, and can prove what it is. Bounded by
 * WORKER_READY_TIMEOUT_MS for all of them together; one that does not answer is ended, for nobody could supervise it.
 */
void workers_attach(struct netd *netd);

#endif

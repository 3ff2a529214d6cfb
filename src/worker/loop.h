/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop: a worker's main thread.
 */
#ifndef WORKER_LOOP_H
#define WORKER_LOOP_H

#include "tunwright/base.h"

/* Speaks the worker contract on these two descriptors until it is told to stop, or SIGTERM comes (which the caller has
 * blocked). `listen_fd` may be one that does not work: then there is no re-attaching. 0, or what stopped it. */
int loop_run(int control_fd, int listen_fd, struct err *ret_err);

#endif

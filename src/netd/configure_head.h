/* SPDX-License-Identifier: Apache-2.0 */
/*
 * configure_head: the head of the worker contract's `configure` message. netd prints it, and gets it back from a worker
 * that was there before netd was: from an unprivileged program that reads untrusted packets.
 */
#ifndef NETD_CONFIGURE_HEAD_H
#define NETD_CONFIGURE_HEAD_H

#include "tunwright/model.h"
#include "tunwright/worker.h"

struct configure_head {
    uint32_t queues;  /* 1 to DEVICE_QUEUES_MAX */
    uint32_t sockets; /* 0 to WORKER_SOCKETS_MAX */
    uint64_t tag;
    char program[WORKER_PROGRAM_SIZE];
};

#define CONFIGURE_HEAD_SIZE 192

/* With its '\n'; returns its length. */
size_t configure_head_print(const struct configure_head *head, char out[static CONFIGURE_HEAD_SIZE]);
/* `text` is one line without its '\n': the verb, then each of the four words once, and nothing else. -EINVAL. */
int configure_head_parse(const char *text, size_t length, struct configure_head *ret_head);

#endif

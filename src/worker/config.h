/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: what a `configure` message says: its head, and the JSON after it.
 */
#ifndef WORKER_CONFIG_H
#define WORKER_CONFIG_H

#include "tunwright/model.h"
#include "tunwright/worker.h"

#define CONFIG_VERB_SIZE 16

/* The head of any message. Words that are not known are passed over. */
struct config_head {
    char verb[CONFIG_VERB_SIZE];
    uint32_t queues, sockets; /* 0 where they are not there */
    size_t body_offset;       /* of what follows the line */
};
/* -EINVAL: no line, an over-long verb, a NUL, or a count that is no number up to WORKER_FDS_MAX. */
int config_head_parse(const char *packet, size_t length, struct config_head *ret_head, struct err *ret_err);

struct config {
    char device[DEVICE_NAME_SIZE];
    enum device_kind kind;
    struct worker_config worker;
};
/* {"device": {"name", "kind"}, "worker": {…}}, nothing missing and nothing else. -EINVAL, -ENOMEM. */
int config_parse(const char *text, size_t length, struct config *ret_config, struct err *ret_err);

#endif

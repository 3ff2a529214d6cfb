/* SPDX-License-Identifier: Apache-2.0 */
/* worker_message: what an untrusted worker says to netd, taken apart. */
#ifndef NETD_WORKER_MESSAGE_H
#define NETD_WORKER_MESSAGE_H

#include "configure_head.h"

enum worker_verb { VERB_READY, VERB_FAILED, VERB_STATUS, VERB_ATTACHED, VERB_UNKNOWN };

struct worker_message {
    enum worker_verb verb;
    const char *body; /* in the packet; not terminated */
    size_t body_length;
    /* `attached` only: the configuration that it brings back */
    struct configure_head head;
    const char *config;
    size_t config_length;
};

/* 0, or -EINVAL for what is no message, or an `attached` that cannot be used. A verb of a later version is
 * VERB_UNKNOWN. */
int worker_message_parse(const char *packet, size_t length, struct worker_message *ret_message);

#endif

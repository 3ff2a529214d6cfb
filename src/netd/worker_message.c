/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_message.h"

#include <errno.h>
#include <string.h>

static const char *const verb_names[] = {
    [VERB_READY] = "ready",
    [VERB_FAILED] = "failed",
    [VERB_STATUS] = "status",
    [VERB_ATTACHED] = "attached",
};

static enum worker_verb verb_of(const char *line, size_t length)
{
    const char *blank = memchr(line, ' ', length);
    size_t verb_length = blank ? (size_t)(blank - line) : length;
    for (unsigned i = 0; i < VERB_UNKNOWN; i++)
        if (strlen(verb_names[i]) == verb_length && memcmp(verb_names[i], line, verb_length) == 0)
            return (enum worker_verb)i;
    return VERB_UNKNOWN;
}

int worker_message_parse(const char *packet, size_t length, struct worker_message *ret_message)
{
    if (length == 0 || length > WORKER_MESSAGE_MAX)
        return -EINVAL;
    const char *end = memchr(packet, '\n', length);
    if (!end)
        return -EINVAL;
    struct worker_message message = {.verb = verb_of(packet, (size_t)(end - packet)),
                                     .body = end + 1,
                                     .body_length = length - (size_t)(end + 1 - packet)};
    if (message.verb == VERB_ATTACHED) {
        const char *head_end = message.body_length > 0 ? memchr(message.body, '\n', message.body_length) : NULL;
        if (!head_end || configure_head_parse(message.body, (size_t)(head_end - message.body), &message.head) < 0)
            return -EINVAL;
        message.config = head_end + 1;
        message.config_length = message.body_length - (size_t)(message.config - message.body);
        if (message.config_length == 0 || message.config_length > WORKER_CONFIG_MAX)
            return -EINVAL;
    }
    *ret_message = message;
    return 0;
}

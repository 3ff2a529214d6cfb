/* SPDX-License-Identifier: Apache-2.0 */
/* What an untrusted worker says to netd: an `attached` that is taken prints to a head that parses to the same. */
#include "netd/netd.h"
#include "netd/worker_message.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct worker_message message;
    struct configure_head again;
    char line[CONFIGURE_HEAD_SIZE], text[ERR_MESSAGE_MAX];
    if (worker_message_parse((const char *)data, size, &message) < 0)
        return 0;
    MUST(message.body + message.body_length == (const char *)data + size);
    text_copy_printable(text, sizeof text, message.body, message.body_length);
    MUST(utf8_is_valid(text, strlen(text)));
    if (message.verb != VERB_ATTACHED)
        return 0;
    MUST(message.head.queues >= 1 && message.head.queues <= DEVICE_QUEUES_MAX);
    MUST(message.head.sockets <= WORKER_SOCKETS_MAX && !strchr(message.head.program, '/'));
    MUST(message.config + message.config_length == (const char *)data + size);
    size_t length = configure_head_print(&message.head, line);
    MUST(length < sizeof line && configure_head_parse(line, length - 1, &again) == 0);
    MUST(memcmp(&again, &message.head, sizeof again) == 0);
    return 0;
}

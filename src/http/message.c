/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include <stdlib.h>
#include <string.h>

struct message *message_new(struct buf *text)
{
    struct message *message = text->failed ? NULL : malloc(sizeof *message + text->length);
    if (message) {
        atomic_init(&message->references, 1);
        message->length = text->length;
        if (text->length)
            memcpy(message->text, text->data, text->length);
    }
    buf_done(text);
    return message;
}

struct message *message_share(struct message *message)
{
    if (message)
        atomic_fetch_add_explicit(&message->references, 1, memory_order_relaxed);
    return message;
}

void message_release(struct message *message)
{
    if (message && atomic_fetch_sub_explicit(&message->references, 1, memory_order_acq_rel) == 1)
        free(message);
}

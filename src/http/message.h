/* SPDX-License-Identifier: Apache-2.0 */
/* message: text on its way to one stream or to several; from any thread. */
#ifndef TUNWRIGHT_HTTP_MESSAGE_H
#define TUNWRIGHT_HTTP_MESSAGE_H

#include "tunwright/base.h"

#include <stdatomic.h>

struct message {
    atomic_size_t references;
    size_t length;
    char text[];
};
/* Empties the text. One reference; NULL when memory ran out. */
struct message *message_new(struct buf *text);
struct message *message_share(struct message *message);
void message_release(struct message *message);

#endif

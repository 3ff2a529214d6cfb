/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sse: a stream of server-sent events, cut into messages. It comes in pieces of any size; a message that is longer than
 * SSE_MESSAGE_MAX ends it.
 */
#ifndef TUNWRIGHT_CLI_SSE_H
#define TUNWRIGHT_CLI_SSE_H

#include "tunwright/base.h"

#define SSE_MESSAGE_MAX (16U << 20)
#define SSE_WORD_SIZE   64

struct sse_message {
    const char *event; /* "message" where none was named */
    const char *id;    /* the last that was told, "" before the first */
    const char *data;  /* without its last line feed; NUL-terminated */
    size_t length;
};

/* Zero-initialised: at its beginning. */
struct sse {
    struct buf line, data;
    char event[SSE_WORD_SIZE], id[SSE_WORD_SIZE];
    bool has_data, after_return; /* a CR was the last byte: a LF after it ends nothing */
    bool begun;                  /* past the byte order mark, if there was one */
};
void sse_done(struct sse *sse);

/* Borrows the message. Other than 0 ends sse_feed with that. */
typedef int (*sse_take)(void *context, const struct sse_message *message);
/* 0, what `take` returned, -EMSGSIZE or -ENOMEM. After other than 0 the stream is to be given up (sse_done). */
int sse_feed(struct sse *sse, const char *data, size_t length, sse_take take, void *context);

#endif

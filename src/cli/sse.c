/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sse.h"

#include <errno.h>
#include <string.h>

void sse_done(struct sse *sse)
{
    buf_done(&sse->line);
    buf_done(&sse->data);
    *sse = (struct sse){0};
}

/* One that does not fit, or holds what the text of one cannot, is as if it were not there. */
static void keep_word(char out[static SSE_WORD_SIZE], const char *value, size_t length)
{
    if (length >= SSE_WORD_SIZE || memchr(value, '\0', length))
        return;
    memcpy(out, value, length);
    out[length] = '\0';
}

static void take_field(struct sse *sse, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    size_t name = colon ? (size_t)(colon - line) : length;
    const char *value = colon ? colon + 1 : line + length;
    size_t rest = (size_t)(line + length - value);

    if (rest && *value == ' ') {
        value++;
        rest--;
    }
    if (name == 4 && !memcmp(line, "data", 4)) {
        if (sse->has_data)
            buf_add(&sse->data, "\n", 1);
        buf_add(&sse->data, value, rest);
        sse->has_data = true;
    } else if (name == 5 && !memcmp(line, "event", 5)) {
        sse->event[0] = '\0';
        keep_word(sse->event, value, rest);
    } else if (name == 2 && !memcmp(line, "id", 2)) {
        keep_word(sse->id, value, rest);
    }
}

static int take_line(struct sse *sse, sse_take take, void *context)
{
    const char *line = sse->line.length ? sse->line.data : "";
    size_t length = sse->line.length;
    int error = 0;

    if (!sse->begun && length >= 3 && !memcmp(line, "\xef\xbb\xbf", 3)) {
        line += 3;
        length -= 3;
    }
    sse->begun = true;
    if (length && *line != ':') {
        take_field(sse, line, length);
    } else if (!length) {
        if (sse->has_data) {
            buf_add(&sse->data, "", 0);
            const struct sse_message message = {*sse->event ? sse->event : "message", sse->id,
                                                sse->data.length ? sse->data.data : "", sse->data.length};
            if (!sse->data.failed)
                error = take(context, &message);
        }
        sse->data.length = 0;
        sse->has_data = false;
        sse->event[0] = '\0';
    }
    sse->line.length = 0;
    return error;
}

int sse_feed(struct sse *sse, const char *data, size_t length, sse_take take, void *context)
{
    const char *end = data + length;

    while (data < end) {
        if (sse->after_return && *data == '\n') {
            sse->after_return = false;
            data++;
            continue;
        }
        sse->after_return = false;
        const char *at = data;
        while (at < end && *at != '\n' && *at != '\r')
            at++;
        size_t piece = (size_t)(at - data);
        if (piece + sse->line.length + sse->data.length > SSE_MESSAGE_MAX)
            return -EMSGSIZE;
        buf_add(&sse->line, data, piece);
        data = at;
        if (at < end) {
            sse->after_return = *at == '\r';
            data++;
            int error = take_line(sse, take, context);
            if (error)
                return error;
        }
        if (sse->line.failed || sse->data.failed)
            return -ENOMEM;
    }
    return 0;
}

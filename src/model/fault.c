/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct pointer {
    char *text; /* ERR_POINTER_MAX bytes */
    size_t length;
    bool full; /* something was cut: nothing may follow it */
};

static void pointer_add(struct pointer *pointer, const char *piece, size_t length)
{
    if (pointer->full || length >= ERR_POINTER_MAX - pointer->length) {
        pointer->full = true;
        return;
    }
    memcpy(pointer->text + pointer->length, piece, length);
    pointer->length += length;
    pointer->text[pointer->length] = '\0';
}

/* The length of the UTF-8 character at `text`, which was checked already: its first byte and what continues it. */
static size_t character_length(const char *text)
{
    size_t length = 1;
    while (((unsigned char)text[length] & 0xc0) == 0x80)
        length++;
    return length;
}

static void pointer_add_path(struct pointer *pointer, const struct fault_path *path)
{
    if (!path)
        return;
    pointer_add_path(pointer, path->parent);
    pointer_add(pointer, "/", 1);
    if (!path->name) {
        char digits[24];
        int length = snprintf(digits, sizeof(digits), "%zu", path->index);
        pointer_add(pointer, digits, (size_t)length);
        return;
    }
    for (const char *at = path->name; *at != '\0';) {
        size_t length = character_length(at);
        if (*at == '~')
            pointer_add(pointer, "~0", 2);
        else if (*at == '/')
            pointer_add(pointer, "~1", 2);
        else
            pointer_add(pointer, at, length);
        at += length;
    }
}

/* The JSON Pointer, cut at a whole character where it does not fit. */
static const char *fault_path_print(const struct fault_path *path, char out[static ERR_POINTER_MAX])
{
    struct pointer pointer = {.text = out};
    out[0] = '\0';
    pointer_add_path(&pointer, path);
    return out;
}

int fault_add(struct err_list *errors, const struct fault_path *parent, const char *member, enum err_code code,
              const char *format, ...)
{
    struct fault_path below = {.parent = parent, .name = member};
    char pointer[ERR_POINTER_MAX];
    char message[ERR_MESSAGE_MAX];
    va_list args;

    if (errors->count == ERR_LIST_MAX) /* a text can have a hundred thousand faults: the rest is not even worded */
        return -EINVAL;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    fault_path_print(member ? &below : parent, pointer);
    err_list_add(errors, code, pointer, "%s", message);
    return -EINVAL;
}

const char *fault_text(const char *text, char out[static FAULT_TEXT_SIZE])
{
    /* Room for the closing dots, quote and NUL is kept from the start. */
    const size_t most = FAULT_TEXT_SIZE - sizeof("...\"");
    size_t length = 0;

    out[length++] = '"';
    for (const char *at = text; *at != '\0'; at += character_length(at)) {
        if (length >= most) {
            memcpy(out + length, "...", 3);
            length += 3;
            break;
        }
        out[length++] = *at >= ' ' && *at <= '~' ? *at : '?';
    }
    out[length++] = '"';
    out[length] = '\0';
    return out;
}

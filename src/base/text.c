/* SPDX-License-Identifier: Apache-2.0 */
#include "tunwright/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int text_copy(char *out, size_t size, const char *text)
{
    size_t length = strlen(text);
    if (length >= size) {
        out[0] = '\0';
        return -ENAMETOOLONG;
    }
    memcpy(out, text, length + 1);
    return 0;
}

int text_to_u64(const char *text, uint64_t most, uint64_t *ret_value)
{
    if (!*text || (text[0] == '0' && text[1]))
        return -EINVAL;
    uint64_t value = 0;
    bool over = false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        unsigned digit = (unsigned)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10)
            over = true;
        else
            value = value * 10 + digit;
    }
    if (over || value > most)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

/* RFC 3629: no overlong forms, no surrogates, nothing over U+10FFFF. */
bool utf8_is_valid(const char *text, size_t length)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + length;
    while (at < end) {
        unsigned char first = *at++;
        if (first < 0x80)
            continue;
        unsigned char low = 0x80, high = 0xbf; /* the range of the second byte */
        size_t more;
        if (first >= 0xc2 && first <= 0xdf) {
            more = 1;
        } else if (first >= 0xe0 && first <= 0xef) {
            more = 2;
            if (first == 0xe0)
                low = 0xa0;
            if (first == 0xed)
                high = 0x9f;
        } else if (first >= 0xf0 && first <= 0xf4) {
            more = 3;
            if (first == 0xf0)
                low = 0x90;
            if (first == 0xf4)
                high = 0x8f;
        } else {
            return false;
        }
        if ((size_t)(end - at) < more || at[0] < low || at[0] > high)
            return false;
        for (size_t i = 1; i < more; i++)
            if (at[i] < 0x80 || at[i] > 0xbf)
                return false;
        at += more;
    }
    return true;
}

uint64_t fnv1a(uint64_t hash, const void *data, size_t length)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
    return hash;
}

void buf_done(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

/* Room for `more` bytes and the NUL. */
static bool buf_room(struct buf *b, size_t more)
{
    if (b->failed)
        return false;
    if (more >= SIZE_MAX / 4 - b->length) {
        b->failed = true;
        return false;
    }
    size_t needed = b->length + more + 1;
    if (needed <= b->capacity)
        return true;
    size_t capacity = b->capacity ? b->capacity : 256;
    while (capacity < needed)
        capacity *= 2;
    char *data = realloc(b->data, capacity);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

void buf_add(struct buf *b, const void *data, size_t length)
{
    if (!buf_room(b, length))
        return;
    if (length)
        memcpy(b->data + b->length, data, length);
    b->length += length;
    b->data[b->length] = '\0';
}

void buf_add_text(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_add_u64(struct buf *b, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    buf_add(b, digits + at, sizeof digits - at);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length >= 0 && buf_room(b, (size_t)length)) {
        vsnprintf(b->data + b->length, (size_t)length + 1, format, again);
        b->length += (size_t)length;
    }
    va_end(again);
}

char *buf_take(struct buf *b)
{
    char *text = NULL;
    buf_add(b, "", 0);
    if (!b->failed) {
        text = b->data;
        b->data = NULL;
    }
    buf_done(b);
    return text;
}

int array_grow(void *items_at, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return 0;
    size_t wanted = *capacity ? *capacity * 2 : 8;
    void *items;
    memcpy(&items, items_at, sizeof items);
    items = reallocarray(items, wanted, size);
    if (!items)
        return -ENOMEM;
    memcpy(items_at, &items, sizeof items);
    *capacity = wanted;
    return 0;
}

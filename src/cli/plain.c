/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plain.h"

#include <string.h>
#include <wchar.h>

/* One character of UTF-8: its bytes, or 0 where it is none. */
static size_t decode(const unsigned char *at, size_t length, unsigned *ret_point)
{
    size_t bytes = *at < 0x80 ? 1 : *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : 2;

    if (bytes > length || !utf8_is_valid((const char *)at, bytes))
        return 0;
    unsigned point = bytes == 1 ? *at : *at & (0xffU >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++)
        point = point << 6 | (at[i] & 0x3fU);
    *ret_point = point;
    return bytes;
}

static bool is_harmless(unsigned point)
{
    return !(point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x061c ||
             (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
             (point >= 0x2060 && point <= 0x206f) || point == 0xfeff || (point >= 0xfff0 && point <= 0xfffb) ||
             point >= 0xe0000);
}

void plain_add(struct buf *out, const char *text, size_t length, enum plain_keep keep)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + length, *start = at;

    while (at < end) {
        unsigned point = *at;
        size_t bytes = decode(at, (size_t)(end - at), &point);
        if (bytes && (is_harmless(point) || (point == '\n' && keep == PLAIN_LINES))) {
            at += bytes;
            continue;
        }
        buf_add(out, start, (size_t)(at - start));
        if (point > 0xffff)
            buf_printf(out, "\\u%04x\\u%04x", 0xd7c0 + (point >> 10), 0xdc00 + (point & 0x3ff));
        else
            buf_printf(out, "\\u%04x", point);
        at += bytes ? bytes : 1;
        start = at;
    }
    buf_add(out, start, (size_t)(at - start));
}

static size_t columns_of(unsigned point)
{
    int width = wcwidth((wchar_t)point);
    return width < 0 ? 1 : (size_t)width;
}

size_t plain_cut(const char *text, size_t columns)
{
    size_t length = strlen(text), at = 0, taken = 0;

    while (at < length) {
        unsigned point = 0;
        size_t bytes = decode((const unsigned char *)text + at, length - at, &point);
        size_t width = bytes ? columns_of(point) : 1;
        if (taken + width > columns)
            break;
        taken += width;
        at += bytes ? bytes : 1;
    }
    return at;
}

size_t plain_width(const char *text)
{
    size_t length = strlen(text), width = 0;

    for (size_t at = 0; at < length;) {
        unsigned point = 0;
        size_t bytes = decode((const unsigned char *)text + at, length - at, &point);
        width += bytes ? columns_of(point) : 1;
        at += bytes ? bytes : 1;
    }
    return width;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict pre-scan. cJSON is lenient where two readers of one text could see two documents: it takes duplicate
 * members, cuts strings at \u0000, accepts bytes that are not UTF-8, and numbers as strtod(3) likes them. So nothing
 * reaches it that has not passed here.
 *
 * One pass over the text, one C frame for each open array or object, which JSON_DEPTH_MAX bounds. The member names of
 * all open objects are kept, unescaped, on one stack; when an object closes, its own are on top of it: they are sorted,
 * searched for twins, and popped. That makes O(n log n) for the whole.
 */
#include "tunwright/model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* cJSON reads a number from a buffer of 64 bytes, and what does not fit as something else. */
#define JSON_NUMBER_MAX 63
/* Of all open objects together: their names take memory until they are closed. */
#define JSON_MEMBERS_MAX 65536

struct member_name {
    size_t start, length; /* its unescaped text in scan.names */
    size_t offset;        /* where it stands in the document */
};

struct scan {
    const char *text;
    size_t length, at;
    unsigned depth;
    struct buf names;
    struct member_name *members;
    size_t member_count, member_capacity;
    struct err *err;
};

static int scan_value(struct scan *scan);

static int scan_refuse(const struct scan *scan, size_t offset, const char *what)
{
    return err_set(scan->err, -EINVAL, ERR_INVALID_JSON, "", "not acceptable as JSON at byte %zu: %s", offset, what);
}

/* The byte at the scan's place, or -1 at the end. */
static int scan_peek(const struct scan *scan)
{
    return scan->at < scan->length ? (unsigned char)scan->text[scan->at] : -1;
}

static bool scan_take(struct scan *scan, char c)
{
    if (scan_peek(scan) != (unsigned char)c)
        return false;
    scan->at++;
    return true;
}

static void scan_blanks(struct scan *scan)
{
    while (scan->at < scan->length && strchr(" \t\n\r", scan->text[scan->at]) && scan->text[scan->at] != '\0')
        scan->at++;
}

static size_t scan_digits(struct scan *scan)
{
    size_t start = scan->at;
    while (scan_peek(scan) >= '0' && scan_peek(scan) <= '9')
        scan->at++;
    return scan->at - start;
}

static int scan_number(struct scan *scan)
{
    char number[JSON_NUMBER_MAX + 1];
    size_t start = scan->at;

    scan_take(scan, '-');
    if (!scan_take(scan, '0') && scan_digits(scan) == 0)
        return scan_refuse(scan, scan->at, "a number needs a digit here");
    if (scan_peek(scan) >= '0' && scan_peek(scan) <= '9')
        return scan_refuse(scan, scan->at, "a number does not begin with 0");
    if (scan_take(scan, '.') && scan_digits(scan) == 0)
        return scan_refuse(scan, scan->at, "a number needs a digit after its point");
    if (scan_take(scan, 'e') || scan_take(scan, 'E')) {
        if (!scan_take(scan, '+'))
            scan_take(scan, '-');
        if (scan_digits(scan) == 0)
            return scan_refuse(scan, scan->at, "a number needs a digit in its exponent");
    }
    size_t length = scan->at - start;
    if (length > JSON_NUMBER_MAX)
        return scan_refuse(scan, start, "a number of more than 63 characters");
    memcpy(number, scan->text + start, length);
    number[length] = '\0';
    if (!isfinite(strtod(number, NULL)))
        return scan_refuse(scan, start, "a number that is too large");
    return 0;
}

static int scan_hex4(struct scan *scan, unsigned *ret_unit)
{
    unsigned unit = 0;
    for (int i = 0; i < 4; i++) {
        int c = scan_peek(scan);
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (unsigned)c - 'A' + 10;
        else
            return scan_refuse(scan, scan->at, "\\u needs four hexadecimal digits");
        unit = unit << 4 | digit;
        scan->at++;
    }
    *ret_unit = unit;
    return 0;
}

static void utf8_add(struct buf *name, unsigned point)
{
    char bytes[4];
    size_t length;

    if (point < 0x80) {
        bytes[0] = (char)point;
        length = 1;
    } else if (point < 0x800) {
        bytes[0] = (char)(0xc0 | point >> 6);
        bytes[1] = (char)(0x80 | (point & 0x3f));
        length = 2;
    } else if (point < 0x10000) {
        bytes[0] = (char)(0xe0 | point >> 12);
        bytes[1] = (char)(0x80 | (point >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (point & 0x3f));
        length = 3;
    } else {
        bytes[0] = (char)(0xf0 | point >> 18);
        bytes[1] = (char)(0x80 | (point >> 12 & 0x3f));
        bytes[2] = (char)(0x80 | (point >> 6 & 0x3f));
        bytes[3] = (char)(0x80 | (point & 0x3f));
        length = 4;
    }
    buf_add(name, bytes, length);
}

/* What follows "\u". */
static int scan_unicode(struct scan *scan, struct buf *name)
{
    size_t start = scan->at - 2;
    unsigned high = 0, low = 0;

    int result = scan_hex4(scan, &high);
    if (result < 0)
        return result;
    if (high == 0)
        return scan_refuse(scan, start, "the character NUL");
    if (high >= 0xdc00 && high <= 0xdfff)
        return scan_refuse(scan, start, "half a surrogate pair");
    if (high >= 0xd800 && high <= 0xdbff) {
        if (!scan_take(scan, '\\') || !scan_take(scan, 'u'))
            return scan_refuse(scan, start, "half a surrogate pair");
        result = scan_hex4(scan, &low);
        if (result < 0)
            return result;
        if (low < 0xdc00 || low > 0xdfff)
            return scan_refuse(scan, start, "half a surrogate pair");
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
    if (name)
        utf8_add(name, high);
    return 0;
}

static int scan_escape(struct scan *scan, struct buf *name)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";

    int c = scan_peek(scan);
    if (c == 'u') {
        scan->at++;
        return scan_unicode(scan, name);
    }
    const char *escape = c > 0 ? strchr(escapes, c) : NULL;
    if (!escape)
        return scan_refuse(scan, scan->at, "an unknown escape");
    if (name)
        buf_add(name, &meanings[escape - escapes], 1);
    scan->at++;
    return 0;
}

/* `name`, where it is not NULL, receives what the string means. UTF-8 was checked for the whole text. */
static int scan_string(struct scan *scan, struct buf *name)
{
    size_t start = scan->at;

    scan->at++;
    for (;;) {
        size_t run = scan->at;
        while (scan_peek(scan) >= ' ' && scan_peek(scan) != '"' && scan_peek(scan) != '\\')
            scan->at++;
        if (name && scan->at > run)
            buf_add(name, scan->text + run, scan->at - run);
        if (scan_take(scan, '"'))
            return 0;
        if (!scan_take(scan, '\\')) {
            return scan_peek(scan) < 0 ? scan_refuse(scan, start, "a string that does not end")
                                       : scan_refuse(scan, scan->at, "a control character in a string");
        }
        int result = scan_escape(scan, name);
        if (result < 0)
            return result;
    }
}

/* By text, then by place. */
static int member_compare(const void *a, const void *b, void *names)
{
    const struct member_name *left = a, *right = b;
    size_t common = left->length < right->length ? left->length : right->length;

    int order = common > 0 ? memcmp((const char *)names + left->start, (const char *)names + right->start, common) : 0;
    if (order != 0)
        return order;
    if (left->length != right->length)
        return left->length < right->length ? -1 : 1;
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

static bool member_same(const struct scan *scan, const struct member_name *a, const struct member_name *b)
{
    return a->length == b->length &&
           (a->length == 0 || memcmp(scan->names.data + a->start, scan->names.data + b->start, a->length) == 0);
}

/* Looks for twins among the members from `first` on, and forgets them. */
static int scan_members_close(struct scan *scan, size_t first)
{
    struct member_name *members = scan->members + first;
    size_t count = scan->member_count - first;

    if (count == 0)
        return 0;
    scan->member_count = first;
    scan->names.length = members[0].start;
    if (count == 1)
        return 0;
    qsort_r(members, count, sizeof(*members), member_compare, scan->names.data);
    for (size_t i = 1; i < count; i++) {
        if (member_same(scan, &members[i - 1], &members[i]))
            return scan_refuse(scan, members[i].offset, "a member of this name stands in the object already");
    }
    return 0;
}

static int scan_member_name(struct scan *scan)
{
    if (scan_peek(scan) != '"')
        return scan_refuse(scan, scan->at, "a member's name, in double quotes, belongs here");
    if (scan->member_count == JSON_MEMBERS_MAX)
        return scan_refuse(scan, scan->at, "too many members");
    void *members = scan->members;
    if (array_grow(&members, &scan->member_capacity, scan->member_count, sizeof(*scan->members)) < 0)
        return err_no_memory(scan->err);
    scan->members = members;
    struct member_name *member = &scan->members[scan->member_count];
    *member = (struct member_name){.start = scan->names.length, .offset = scan->at};
    int result = scan_string(scan, &scan->names);
    if (result < 0)
        return result;
    if (scan->names.failed)
        return err_no_memory(scan->err);
    member->length = scan->names.length - member->start;
    scan->member_count++;
    return 0;
}

static int scan_object(struct scan *scan)
{
    size_t first = scan->member_count;

    scan->at++;
    scan_blanks(scan);
    if (scan_take(scan, '}'))
        return 0;
    for (;;) {
        int result = scan_member_name(scan);
        if (result < 0)
            return result;
        scan_blanks(scan);
        if (!scan_take(scan, ':'))
            return scan_refuse(scan, scan->at, "a ':' belongs here");
        result = scan_value(scan);
        if (result < 0)
            return result;
        if (scan_take(scan, '}'))
            return scan_members_close(scan, first);
        if (!scan_take(scan, ','))
            return scan_refuse(scan, scan->at, "a ',' or '}' belongs here");
        scan_blanks(scan);
    }
}

static int scan_array(struct scan *scan)
{
    scan->at++;
    scan_blanks(scan);
    if (scan_take(scan, ']'))
        return 0;
    for (;;) {
        int result = scan_value(scan);
        if (result < 0)
            return result;
        if (scan_take(scan, ']'))
            return 0;
        if (!scan_take(scan, ','))
            return scan_refuse(scan, scan->at, "a ',' or ']' belongs here");
    }
}

static int scan_word(struct scan *scan)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        size_t length = strlen(words[i]);
        if (scan->length - scan->at >= length && memcmp(scan->text + scan->at, words[i], length) == 0) {
            scan->at += length;
            return 0;
        }
    }
    return scan_refuse(scan, scan->at, scan_peek(scan) < 0 ? "it ends where a value belongs" : "a value belongs here");
}

/* A value with the blanks around it. */
static int scan_value(struct scan *scan)
{
    int result;

    scan_blanks(scan);
    int c = scan_peek(scan);
    if (c == '{' || c == '[') {
        if (scan->depth == JSON_DEPTH_MAX)
            return scan_refuse(scan, scan->at, "nested too deeply");
        scan->depth++;
        result = c == '{' ? scan_object(scan) : scan_array(scan);
        scan->depth--;
    } else if (c == '"') {
        result = scan_string(scan, NULL);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        result = scan_number(scan);
    } else {
        result = scan_word(scan);
    }
    scan_blanks(scan);
    return result;
}

int json_check(const char *text, size_t length, struct err *ret_err)
{
    struct scan scan = {.text = text, .length = length, .err = ret_err};

    if (length == 0)
        return scan_refuse(&scan, 0, "it is empty");
    if (!utf8_is_valid(text, length))
        return err_set(ret_err, -EINVAL, ERR_INVALID_JSON, "", "not acceptable as JSON: it is not UTF-8");
    int result = scan_value(&scan);
    if (result == 0 && scan.at < length)
        result = scan_refuse(&scan, scan.at, "there is more after the end");
    buf_done(&scan.names);
    free(scan.members);
    return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "target.h"

#include <errno.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* As forms have it, and `curl --data-urlencode`. */
static void pluses_to_blanks(char *query)
{
    for (; *query; query++)
        if (*query == '+')
            *query = ' ';
}

/* In place. What comes out is text that may stand in a message: UTF-8, no control character. */
static int decode(char *piece)
{
    char *out = piece;
    for (const char *at = piece; *at; at++) {
        char c = *at;
        if (c == '%') {
            int high = hex_digit(at[1]), low = high < 0 ? -1 : hex_digit(at[2]);
            if (low < 0)
                return -EINVAL;
            c = (char)(high << 4 | low);
            at += 2;
        }
        if ((unsigned char)c < 0x20 || (unsigned char)c == 0x7f)
            return -EINVAL;
        *out++ = c;
    }
    *out = '\0';
    return utf8_is_valid(piece, (size_t)(out - piece)) ? 0 : -EINVAL;
}

static int parse_path(char *path, struct target *target, struct err *ret_err)
{
    char *rest = path + 1;
    for (char *segment; (segment = strsep(&rest, "/"));) {
        if (target->segment_count == TARGET_SEGMENTS_MAX)
            return err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "", "there is nothing at this path");
        if (decode(segment))
            return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "",
                           "the path has a percent-encoding in it that is broken, or that hides a control character or "
                           "what is not UTF-8");
        target->segments[target->segment_count++] = segment;
    }
    return 0;
}

static int parse_query(char *query, struct target *target, struct err *ret_err)
{
    char *rest = query;
    pluses_to_blanks(query);
    for (char *key; (key = strsep(&rest, "&"));) {
        if (!*key)
            continue;
        char *value = strchr(key, '=');
        if (value)
            *value++ = '\0';
        else
            value = key + strlen(key);
        if (decode(key) || decode(value))
            return err_set(
                ret_err, -EINVAL, ERR_INVALID_QUERY, "",
                "the query has a percent-encoding in it that is broken, or that hides a control character or "
                "what is not UTF-8");
        if (target_query_find(target, key))
            return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "the query says \"%s\" twice", key);
        if (target->query_count == TARGET_QUERY_MAX)
            return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "the query has more than %d parameters",
                           TARGET_QUERY_MAX);
        target->query[target->query_count++] = (struct target_query){key, value};
    }
    return 0;
}

int target_parse(const char *raw, struct target *ret_target, struct err *ret_err)
{
    size_t length = strlen(raw);
    ret_target->segment_count = ret_target->query_count = 0;
    if (length > TARGET_LENGTH_MAX)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "the path and query are longer than %d bytes",
                       TARGET_LENGTH_MAX);
    if (raw[0] != '/')
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "",
                       "the request's target must be a path that begins with /");
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)raw[i] <= ' ' || (unsigned char)raw[i] >= 0x7f || strchr("#\"<>\\^`{|}", raw[i]))
            return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "",
                           "the request's target has a character in it that must be percent-encoded");
    memcpy(ret_target->text, raw, length + 1);
    char *query = strchr(ret_target->text, '?');
    if (query)
        *query++ = '\0';
    int error = parse_path(ret_target->text, ret_target, ret_err);
    if (!error && query)
        error = parse_query(query, ret_target, ret_err);
    if (error)
        ret_target->segment_count = ret_target->query_count = 0;
    return error;
}

const char *target_query_find(const struct target *target, const char *key)
{
    for (size_t i = 0; i < target->query_count; i++)
        if (!strcmp(target->query[i].key, key))
            return target->query[i].value;
    return NULL;
}

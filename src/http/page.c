/* SPDX-License-Identifier: Apache-2.0 */
#include "page.h"

#include <errno.h>
#include <string.h>

int page_limit(const struct target *target, size_t otherwise, size_t *ret_limit, struct err *ret_err)
{
    const char *text = target_query_find(target, "limit");
    uint64_t limit = otherwise;
    if (text && (text_to_u64(text, PAGE_LIMIT_MAX, &limit) || !limit))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "limit is a number from 1 to %d", PAGE_LIMIT_MAX);
    *ret_limit = (size_t)limit;
    return 0;
}

int page_after(const struct target *target, uint64_t *ret_after, struct err *ret_err)
{
    const char *text = target_query_find(target, "after");
    uint64_t after = 0;
    if (text && text_to_u64(text, INT64_MAX, &after))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "",
                       "after is a sequence number, as the items before have them");
    *ret_after = after;
    return 0;
}

/* Encodes what target_parse does not take, what has a meaning where it stands, and no more: a link to the next page
 * must not outgrow what a target may be. */
static void add_encoded(struct buf *out, const char *text, const char *meaning)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c <= ' ' || c >= 0x7f || strchr("#\"<>\\^`{|}%", c) || strchr(meaning, c))
            buf_printf(out, "%%%02X", c);
        else
            buf_add(out, text, 1);
    }
}

static void add_parameter(struct buf *out, char separator, const char *key, const char *value)
{
    buf_add(out, &separator, 1);
    add_encoded(out, key, "&=+");
    buf_add_text(out, "=");
    add_encoded(out, value, "&+");
}

char *page_next(const struct target *target, const char *key, const char *value)
{
    struct buf out = {0};
    char separator = '?';
    for (size_t i = 0; i < target->segment_count; i++) {
        buf_add_text(&out, "/");
        add_encoded(&out, target->segments[i], "/?");
    }
    for (size_t i = 0; i < target->query_count; i++) {
        if (!strcmp(target->query[i].key, key))
            continue;
        add_parameter(&out, separator, target->query[i].key, target->query[i].value);
        separator = '&';
    }
    add_parameter(&out, separator, key, value);
    return buf_take(&out);
}

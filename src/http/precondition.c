/* SPDX-License-Identifier: Apache-2.0 */
#include "precondition.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* RFC 9110, 8.8.3: what may stand between a tag's quotes. */
static bool is_tag_character(unsigned char c)
{
    return c == 0x21 || (c >= 0x23 && c <= 0x7e) || c >= 0x80;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

static bool list_has(const struct etag_list *list, const char *tag, size_t length)
{
    for (size_t i = 0; i < list->count; i++)
        if (strlen(list->tags[i]) == length && !memcmp(list->tags[i], tag, length))
            return true;
    return false;
}

/* -E2BIG where it is full. */
static int list_add(struct etag_list *list, const char *tag, size_t length)
{
    if (length >= ETAG_SIZE || list_has(list, tag, length))
        return 0;
    if (list->count == PRECONDITION_TAGS_MAX)
        return -E2BIG;
    memcpy(list->tags[list->count], tag, length);
    list->tags[list->count++][length] = '\0';
    return 0;
}

struct list_reader {
    const char *at, *end;
    bool takes_weak;
    size_t elements; /* of all field lines */
};

static int read_element(struct list_reader *reader, struct etag_list *list)
{
    if (*reader->at == '*') {
        reader->at++;
        list->any = true;
        return 0;
    }
    bool weak = reader->end - reader->at > 2 && !memcmp(reader->at, "W/", 2);
    const char *tag = reader->at + (weak ? 2 : 0), *close = tag + 1;
    if (tag >= reader->end || *tag != '"')
        return -EINVAL;
    while (close < reader->end && is_tag_character((unsigned char)*close))
        close++;
    if (close >= reader->end || *close != '"')
        return -EINVAL;
    reader->at = close + 1;
    return weak && !reader->takes_weak ? 0 : list_add(list, tag, (size_t)(reader->at - tag));
}

/* One field line. Empty elements are nothing, as RFC 9110, 5.6.1.2 has it. */
static int read_line(struct list_reader *reader, struct etag_list *list)
{
    for (;;) {
        reader->at = skip_blanks(reader->at, reader->end);
        if (reader->at < reader->end && *reader->at != ',') {
            int error = read_element(reader, list);
            if (error)
                return error;
            reader->elements++;
            reader->at = skip_blanks(reader->at, reader->end);
        }
        if (reader->at == reader->end)
            return 0;
        if (*reader->at++ != ',')
            return -EINVAL;
    }
}

static int read_list(const struct head *head, const char *name, bool takes_weak, struct etag_list *ret_list,
                     struct err *ret_err)
{
    struct etag_list list = {.count = 0};
    struct list_reader reader = {.takes_weak = takes_weak};
    int error = 0;
    for (size_t i = 0; i < head->field_count && !error; i++) {
        const struct head_field *field = &head->fields[i];
        if (field->name_length != strlen(name) || strncasecmp(field->name, name, field->name_length) != 0)
            continue;
        list.is_present = true;
        reader.at = field->value;
        reader.end = field->value + field->value_length;
        error = read_line(&reader, &list);
    }
    if (error == -E2BIG)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "%s has more than %d entity tags", name,
                       PRECONDITION_TAGS_MAX);
    if (error || (list.is_present && !reader.elements) || (list.any && reader.elements > 1))
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "",
                       "%s must be * or a list of entity tags in double quotes, as the field ETag has them", name);
    *ret_list = list;
    return 0;
}

int precondition_read(const struct head *head, struct precondition *ret_precondition, struct err *ret_err)
{
    struct precondition precondition;
    int error = read_list(head, "If-Match", false, &precondition.match, ret_err);
    if (!error)
        error = read_list(head, "If-None-Match", true, &precondition.none_match, ret_err);
    if (!error)
        *ret_precondition = precondition;
    return error;
}

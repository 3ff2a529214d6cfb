/* SPDX-License-Identifier: Apache-2.0 */
#include "word.h"

#include "tunwright/model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const device_kinds[] = {[DEVICE_TUN] = "tun", [DEVICE_TAP] = "tap"};
static const char *const route_types[] = {
    [ROUTE_UNICAST] = "unicast",
    [ROUTE_BLACKHOLE] = "blackhole",
    [ROUTE_UNREACHABLE] = "unreachable",
    [ROUTE_PROHIBIT] = "prohibit",
};
static const char *const worker_types[] = {
    [WORKER_NONE] = "none",
    [WORKER_MONITOR] = "monitor",
    [WORKER_ECHO] = "echo",
    [WORKER_UDP] = "udp",
};
static const char *const drift_policies[] = {[DRIFT_REPAIR] = "repair", [DRIFT_REPORT] = "report"};
static const char *const udp_headers[] = {[UDP_HEADER_NONE] = "none", [UDP_HEADER_GUE] = "gue"};
static const char *const roles[] = {
    [ROLE_NOBODY] = "nobody",
    [ROLE_READER] = "reader",
    [ROLE_OPERATOR] = "operator",
    [ROLE_ADMIN] = "admin",
};
static const char *const token_kinds[] = {[TOKEN_BEARER] = "bearer", [TOKEN_CERTIFICATE] = "certificate"};

_Static_assert(ARRAY_SIZE(device_kinds) == DEVICE_KIND_N, "a word for each kind");
_Static_assert(ARRAY_SIZE(route_types) == ROUTE_TYPE_N, "a word for each type");
_Static_assert(ARRAY_SIZE(worker_types) == WORKER_TYPE_N, "a word for each type");
_Static_assert(ARRAY_SIZE(drift_policies) == DRIFT_POLICY_N, "a word for each policy");
_Static_assert(ARRAY_SIZE(udp_headers) == UDP_HEADER_N, "a word for each header");
_Static_assert(ARRAY_SIZE(roles) == ROLE_N, "a word for each role");
_Static_assert(ARRAY_SIZE(token_kinds) == TOKEN_KIND_N, "a word for each kind");

const struct word_list device_kind_words = {device_kinds, ARRAY_SIZE(device_kinds), 0};
const struct word_list route_type_words = {route_types, ARRAY_SIZE(route_types), 0};
const struct word_list worker_type_words = {worker_types, ARRAY_SIZE(worker_types), WORKER_MONITOR};
const struct word_list drift_policy_words = {drift_policies, ARRAY_SIZE(drift_policies), 0};
const struct word_list udp_header_words = {udp_headers, ARRAY_SIZE(udp_headers), 0};
const struct word_list role_words = {roles, ARRAY_SIZE(roles), ROLE_READER};
const struct word_list token_kind_words = {token_kinds, ARRAY_SIZE(token_kinds), 0};

const char *word_name(const struct word_list *list, unsigned value)
{
    return value < list->count ? list->words[value] : "unknown";
}

int word_parse(const struct word_list *list, const char *text, unsigned *ret_value)
{
    for (size_t i = list->first; i < list->count; i++) {
        if (strcmp(list->words[i], text) == 0) {
            *ret_value = (unsigned)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *word_list_print(const struct word_list *list, char out[static WORD_LIST_TEXT_SIZE])
{
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = list->first; i < list->count && length < WORD_LIST_TEXT_SIZE; i++) {
        int more = snprintf(out + length, WORD_LIST_TEXT_SIZE - length, "%s%s", length > 0 ? ", " : "", list->words[i]);
        length += (size_t)more;
    }
    return out;
}

const char *device_kind_name(enum device_kind kind)
{
    return word_name(&device_kind_words, (unsigned)kind);
}

int device_kind_parse(const char *text, enum device_kind *ret_kind)
{
    unsigned value;
    int result = word_parse(&device_kind_words, text, &value);
    if (result == 0)
        *ret_kind = (enum device_kind)value;
    return result;
}

const char *route_type_name(enum route_type type)
{
    return word_name(&route_type_words, (unsigned)type);
}

int route_type_parse(const char *text, enum route_type *ret_type)
{
    unsigned value;
    int result = word_parse(&route_type_words, text, &value);
    if (result == 0)
        *ret_type = (enum route_type)value;
    return result;
}

const char *worker_type_name(enum worker_type type)
{
    return word_name(&worker_type_words, (unsigned)type);
}

int worker_type_parse(const char *text, enum worker_type *ret_type)
{
    unsigned value;
    int result = word_parse(&worker_type_words, text, &value);
    if (result == 0)
        *ret_type = (enum worker_type)value;
    return result;
}

const char *drift_policy_name(enum drift_policy policy)
{
    return word_name(&drift_policy_words, (unsigned)policy);
}

int drift_policy_parse(const char *text, enum drift_policy *ret_policy)
{
    unsigned value;
    int result = word_parse(&drift_policy_words, text, &value);
    if (result == 0)
        *ret_policy = (enum drift_policy)value;
    return result;
}

const char *udp_header_name(enum udp_header header)
{
    return word_name(&udp_header_words, (unsigned)header);
}

int udp_header_parse(const char *text, enum udp_header *ret_header)
{
    unsigned value;
    int result = word_parse(&udp_header_words, text, &value);
    if (result == 0)
        *ret_header = (enum udp_header)value;
    return result;
}

const char *role_name(enum role role)
{
    return word_name(&role_words, (unsigned)role);
}

int role_parse(const char *text, enum role *ret_role)
{
    unsigned value;
    int result = word_parse(&role_words, text, &value);
    if (result == 0)
        *ret_role = (enum role)value;
    return result;
}

const char *token_kind_name(enum token_kind kind)
{
    return word_name(&token_kind_words, (unsigned)kind);
}

int token_kind_parse(const char *text, enum token_kind *ret_kind)
{
    unsigned value;
    int result = word_parse(&token_kind_words, text, &value);
    if (result == 0)
        *ret_kind = (enum token_kind)value;
    return result;
}

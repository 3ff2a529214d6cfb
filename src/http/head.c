/* SPDX-License-Identifier: Apache-2.0 */
#include "head.h"

#include "tunwright/model.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* RFC 9110, 5.6.2 */
static bool is_token_character(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_token_character((unsigned char)text[i]))
            return false;
    return length > 0;
}

static bool has_control_character(const struct head_field *field)
{
    for (size_t i = 0; i < field->value_length; i++) {
        unsigned char c = (unsigned char)field->value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

static bool name_is(const struct head_field *field, const char *name)
{
    return field->name_length == strlen(name) && !strncasecmp(field->name, name, field->name_length);
}

bool head_value_is(const struct head_field *field, const char *text)
{
    return field->value_length == strlen(text) && !strncasecmp(field->value, text, field->value_length);
}

/* Digits only: neither "+5" nor "5, 5" nor "5 " is a length. */
static int parse_length(const struct head_field *field, uint64_t *ret_length)
{
    char text[24];
    if (field->value_length == 0 || field->value_length >= sizeof text)
        return -EINVAL;
    memcpy(text, field->value, field->value_length);
    text[field->value_length] = '\0';
    return text_to_u64(text, INT64_MAX, ret_length);
}

/* uri-host [":" port], and nothing that could end a name or begin a path. */
static bool is_host(const struct head_field *field)
{
    for (size_t i = 0; i < field->value_length; i++) {
        unsigned char c = (unsigned char)field->value[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (c && strchr("-._~!$&'()*+;=:[]%", c))))
            return false;
    }
    return field->value_length <= 255;
}

/* A field that decides something, so it may not come twice. */
struct wanted_field {
    const char *name;
    const struct head_field **place;
};

static int fields_sort(const struct head *head, const struct wanted_field *once, size_t once_count, struct err *ret_err)
{
    for (size_t i = 0; i < head->field_count; i++) {
        const struct head_field *field = &head->fields[i];
        if (!is_token(field->name, field->name_length))
            return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "",
                           "the name of header field %zu has a character in it that none may have", i + 1);
        if (has_control_character(field))
            return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "",
                           "the value of header field %zu has a control character in it", i + 1);
        for (size_t j = 0; j < once_count; j++) {
            if (!name_is(field, once[j].name))
                continue;
            if (*once[j].place)
                return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "the request has two %s fields",
                               once[j].name);
            *once[j].place = field;
        }
    }
    return 0;
}

/* How long the body is (RFC 9112, 6). What two readers might answer differently is refused. */
static int check_body(const struct head *head, const struct head_field *length, const struct head_field *encoding,
                      struct head_facts *facts, struct err *ret_err)
{
    if (length && encoding)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "",
                       "the request has both Content-Length and Transfer-Encoding");
    if (encoding) {
        if (!head_value_is(encoding, "chunked"))
            return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "the only Transfer-Encoding taken is chunked");
        if (strcmp(head->version, "HTTP/1.1"))
            return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "Transfer-Encoding is not for HTTP/1.0");
        facts->has_body = true;
        facts->length_is_known = false;
    }
    if (length) {
        if (parse_length(length, &facts->body_length))
            return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "Content-Length is not a number");
        facts->has_body = facts->body_length > 0;
    }
    return 0;
}

int head_check(const struct head *head, struct head_facts *ret_facts, struct err *ret_err)
{
    struct head_facts facts = {.length_is_known = true};
    const struct head_field *length = NULL, *encoding = NULL, *expect = NULL;
    const struct wanted_field once[] = {
        {"host", &facts.host},
        {"content-length", &length},
        {"transfer-encoding", &encoding},
        {"content-type", &facts.content_type},
        {"content-encoding", &facts.content_encoding},
        {"authorization", &facts.authorization},
        {"cookie", &facts.cookie},
        {"origin", &facts.origin},
        {"sec-fetch-site", &facts.fetch_site},
        {"expect", &expect},
    };

    if (head->overflow)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "the request has more than %d header fields",
                       HEAD_FIELDS_MAX);
    if (!is_token(head->method, strlen(head->method)))
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "the request's method is not a word");
    if (strcmp(head->version, "HTTP/1.1") && strcmp(head->version, "HTTP/1.0"))
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "this server speaks HTTP/1.1 and HTTP/1.0");
    int error = fields_sort(head, once, ARRAY_SIZE(once), ret_err);
    if (error)
        return error;
    if (!facts.host)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "the request has no Host field");
    if (!is_host(facts.host))
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "the Host field is not a host");
    error = check_body(head, length, encoding, &facts, ret_err);
    if (error)
        return error;
    facts.expects_continue = expect && head_value_is(expect, "100-continue");
    *ret_facts = facts;
    return 0;
}

/* Steps over CR LF, which are two NULs now. */
static bool step_over_end(uintptr_t *at, uintptr_t end)
{
    if (*at > end || end - *at < 2 || memcmp((const char *)*at, "\0", 2) != 0)
        return false;
    *at += 2;
    return true;
}

bool head_is_contiguous(const struct head *head, size_t length)
{
    uintptr_t at = (uintptr_t)head->method, end = at + length;
    at += strlen(head->method) + 1;
    if ((uintptr_t)head->target != at)
        return false;
    at += head->target_length + 1;
    if ((uintptr_t)head->version != at)
        return false;
    at += strlen(head->version);
    if (!step_over_end(&at, end))
        return false;
    for (size_t i = 0; i < head->field_count; i++) {
        const struct head_field *field = &head->fields[i];
        if ((uintptr_t)field->name != at || (uintptr_t)field->value < at + field->name_length + 1)
            return false;
        at = (uintptr_t)field->value + field->value_length;
        if (!step_over_end(&at, end))
            return false;
    }
    return step_over_end(&at, end) && at == end;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool head_media_type_is(const struct head_field *content_type, const char *type)
{
    const char *at = content_type->value, *end = at + content_type->value_length;
    const size_t type_length = strlen(type);
    if (content_type->value_length < type_length || strncasecmp(at, type, type_length) != 0)
        return false;
    at += type_length;
    while (at < end && is_blank(*at))
        at++;
    if (at == end)
        return true;
    if (*at++ != ';')
        return false;
    while (at < end && is_blank(*at))
        at++;
    while (end > at && is_blank(end[-1]))
        end--;
    struct head_field parameter = {.value = at, .value_length = (size_t)(end - at)};
    return head_value_is(&parameter, "charset=utf-8") || head_value_is(&parameter, "charset=\"utf-8\"");
}

bool head_is_cross_site(const struct head_facts *facts, bool with_tls)
{
    const char *scheme = with_tls ? "https://" : "http://";
    const size_t scheme_length = strlen(scheme);
    if (facts->fetch_site && !head_value_is(facts->fetch_site, "same-origin") &&
        !head_value_is(facts->fetch_site, "none"))
        return true;
    const struct head_field *origin = facts->origin;
    if (!origin)
        return false;
    return origin->value_length != scheme_length + facts->host->value_length ||
           strncasecmp(origin->value, scheme, scheme_length) != 0 ||
           strncasecmp(origin->value + scheme_length, facts->host->value, facts->host->value_length) != 0;
}

#define HOST_TEXT_SIZE 256
struct host {
    char text[HOST_TEXT_SIZE];
    const char *name; /* leads into text: without the port, and without brackets */
    bool has_brackets;
};

static int host_parse(const struct head_field *field, struct host *ret_host)
{
    if (field->value_length >= sizeof ret_host->text)
        return -EINVAL;
    memcpy(ret_host->text, field->value, field->value_length);
    ret_host->text[field->value_length] = '\0';
    char *name = ret_host->text, *port;
    ret_host->has_brackets = *name == '[';
    if (ret_host->has_brackets) {
        char *bracket = strchr(++name, ']');
        if (!bracket)
            return -EINVAL;
        *bracket = '\0';
        port = bracket + 1;
        if (*port && *port != ':')
            return -EINVAL;
    } else {
        port = strchr(name, ':');
    }
    if (port && *port) {
        uint64_t number;
        *port = '\0';
        if (text_to_u64(port + 1, UINT16_MAX, &number))
            return -EINVAL;
    }
    ret_host->name = name;
    return 0;
}

static bool host_is_name(const struct host *host, const char *name)
{
    return !host->has_brackets && !strcasecmp(host->name, name);
}

static bool host_is_address(const struct host *host, struct ip_addr *ret_addr)
{
    return !ip_addr_parse(host->name, ret_addr) && (ret_addr->family == AF_INET6) == host->has_brackets;
}

bool head_host_is_loopback(const struct head_field *field)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    struct host host;
    struct ip_addr addr;
    if (host_parse(field, &host))
        return false;
    if (host_is_name(&host, "localhost"))
        return true;
    if (!host_is_address(&host, &addr))
        return false;
    return addr.family == AF_INET ? addr.bytes[0] == 127 : !memcmp(addr.bytes, loopback6, sizeof loopback6);
}

bool head_host_is_known(const struct head_field *field, const struct option_list *names)
{
    struct host host;
    struct ip_addr addr;
    if (host_parse(field, &host))
        return false;
    for (size_t i = 0; names && i < names->count; i++)
        if (host_is_name(&host, names->items[i]))
            return true;
    return host_is_name(&host, "localhost") || host_is_address(&host, &addr);
}

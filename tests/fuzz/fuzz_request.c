/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's head, cut up as leniently as libmicrohttpd 0.9 does it, and then judged by us. What we accept, a strict
 * reader must read in the same way: the test has one of its own, which looks at the untouched bytes.
 */
#include "http/auth.h"
#include "http/head.h"
#include "http/precondition.h"
#include "http/route_table.h"
#include "http/target.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the library's way ------------------------------------------------------------------------------------------- */

struct cutter {
    char *at, *end;
};

/* Ends the line with NULs, as the library does; a bare LF ends one, too. */
static char *cut_line(struct cutter *cutter)
{
    char *line = cutter->at;
    for (char *c = line; c < cutter->end; c++) {
        bool crlf = c[0] == '\r' && c + 1 < cutter->end && c[1] == '\n';
        if (!crlf && c[0] != '\n')
            continue;
        c[0] = '\0';
        if (crlf)
            c[1] = '\0';
        cutter->at = c + (crlf ? 2 : 1);
        return line;
    }
    return NULL;
}

static bool cut_first(struct cutter *cutter, struct head *head)
{
    char *line = cut_line(cutter);
    char *target = line ? strchr(line, ' ') : NULL;
    if (!target)
        return false;
    *target++ = '\0';
    while (*target == ' ')
        target++;
    char *line_end = cutter->at;
    while (line_end > target && !line_end[-1])
        line_end--;
    char *version = line_end;
    while (version > target && version[-1] != ' ')
        version--;
    if (version == target)
        return false;
    version[-1] = '\0';
    *head = (struct head){.method = line, .target = target, .version = version, .target_length = strlen(target)};
    return true;
}

/* Where a line is folded, the library puts the name and what follows together elsewhere: `elsewhere` has room. */
static bool cut_fields(struct cutter *cutter, struct head *head, char *elsewhere)
{
    for (char *line; (line = cut_line(cutter));) {
        if (!*line)
            return true;
        struct head_field *last = head->field_count ? &head->fields[head->field_count - 1] : NULL;
        if ((*line == ' ' || *line == '\t') && last) {
            size_t more = strlen(line + strspn(line, " \t"));
            memmove(elsewhere, last->name, last->name_length);
            memcpy(elsewhere + last->name_length, line + strspn(line, " \t"), more + 1);
            last->name = elsewhere;
            last->name_length += more;
            elsewhere += last->name_length + 1;
            continue;
        }
        char *colon = strchr(line, ':');
        if (!colon)
            return false;
        *colon++ = '\0';
        colon += strspn(colon, " \t");
        head->overflow = head->field_count == HEAD_FIELDS_MAX;
        if (head->overflow)
            return true;
        head->fields[head->field_count++] = (struct head_field){line, colon, strlen(line), strlen(colon)};
    }
    return false;
}

/* ---- the strict way ---------------------------------------------------------------------------------------------- */

static bool line_is(const char *line, size_t length, const char *name)
{
    return length >= strlen(name) && !strncasecmp(line, name, strlen(name));
}

static void read_strictly(const char *at, const char *end)
{
    size_t hosts = 0, lengths = 0, encodings = 0;
    bool first = true;
    while (at < end) {
        const char *cr = memchr(at, '\r', (size_t)(end - at));
        MUST(cr && cr + 1 < end && cr[1] == '\n');
        MUST(!memchr(at, '\n', (size_t)(cr - at)) && !memchr(at, '\0', (size_t)(cr - at)));
        size_t length = (size_t)(cr - at);
        const char *colon = memchr(at, ':', length);
        if (first) {
            const char *blank = memchr(at, ' ', length), *second = memchr(blank + 1, ' ', (size_t)(cr - blank - 1));
            MUST(second && cr - second == 9 && !memcmp(second, " HTTP/1.", 8));
        } else if (length) {
            MUST(*at != ' ' && *at != '\t' && colon && colon > at && colon[-1] != ' ' && colon[-1] != '\t');
        } else {
            MUST(cr + 2 == end);
        }
        hosts += !first && line_is(at, length, "host:");
        lengths += !first && line_is(at, length, "content-length:");
        encodings += !first && line_is(at, length, "transfer-encoding:");
        first = false;
        at = cr + 2;
    }
    MUST(hosts == 1 && lengths + encodings <= 1);
}

/* A NUL beside an end of line is lost in the cutting: with a bare LF it looks like CR LF. */
static bool has_lost_nul(const uint8_t *data, size_t length)
{
    for (size_t i = 0; i + 1 < length; i++)
        if ((!data[i] && (data[i + 1] == '\r' || data[i + 1] == '\n')) || (data[i] == '\n' && !data[i + 1]))
            return true;
    return false;
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

static bool judge_target(const char *method, const char *raw)
{
    struct target target;
    struct err e = {0};
    const char *variables[REQUEST_VARIABLES_MAX] = {0};
    char allow[ROUTE_ALLOW_SIZE];
    if (target_parse(raw, &target, &e)) {
        MUST(e.code != ERR_NONE && *e.message && !target.segment_count && !target.query_count);
        return false;
    }
    MUST(target.segment_count > 0);
    for (size_t i = 0; i < target.segment_count; i++)
        MUST(utf8_is_valid(target.segments[i], strlen(target.segments[i])) && !strpbrk(target.segments[i], "\r\n\x7f"));
    const struct route_row *row = route_table_find(method, &target, variables, allow);
    if (row) {
        const char *unknown = route_table_unknown_query(row, &target);
        MUST(!unknown || target_query_find(&target, unknown));
    }
    return true;
}

/* What is kept of a list is whole: a tag with its quotes. */
static void judge_precondition(const struct head *head)
{
    struct precondition precondition;
    struct err e = {0};
    if (precondition_read(head, &precondition, &e)) {
        MUST(e.code == ERR_INVALID_REQUEST && *e.message);
        return;
    }
    const struct etag_list *lists[] = {&precondition.match, &precondition.none_match};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        MUST(lists[i]->count <= PRECONDITION_TAGS_MAX && (lists[i]->is_present || !lists[i]->count));
        MUST(!lists[i]->any || !lists[i]->count);
        for (size_t j = 0; j < lists[i]->count; j++) {
            const char *tag = lists[i]->tags[j];
            size_t length = strlen(tag);
            MUST(length >= 2 && length < ETAG_SIZE && tag[0] == '"' && strchr(tag + 1, '"') == tag + length - 1);
        }
    }
}

/* What is taken for a token stands inside of the field: it is wiped there. */
static void judge_authorization(const struct head_field *field)
{
    const char *token;
    size_t length;
    if (!auth_bearer(field, &token, &length))
        return;
    MUST(token > field->value && token + length <= field->value + field->value_length);
    MUST(!length || (*token != ' ' && token[length - 1] != ' '));
}

/* Likewise of a cookie; its name is made of the Host field as it came. */
static void judge_cookie(const struct head_facts *facts)
{
    char host[64] = "", name[AUTH_COOKIE_NAME_SIZE];
    const char *token;
    size_t length;
    if (facts->host->value_length < sizeof host)
        memcpy(host, facts->host->value, facts->host->value_length);
    auth_cookie_name(host, name);
    MUST(!strncmp(name, "tunwright", 9) && strspn(name + 9, "-0123456789") == strlen(name + 9));
    if (!auth_cookie(facts->cookie, name, &token, &length))
        return;
    MUST(token > facts->cookie->value && token + length <= facts->cookie->value + facts->cookie->value_length);
    MUST(token[-1] == '=' && !memchr(token, ';', length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size + 1), *elsewhere = malloc(2 * size * (HEAD_FIELDS_MAX + 1) + 1);
    MUST(bytes && elsewhere);
    if (size)
        memcpy(bytes, data, size);
    bytes[size] = '\0';
    struct cutter cutter = {bytes, bytes + size};
    struct head head;
    struct head_facts facts;
    struct err e = {0};
    bool cut = cut_first(&cutter, &head), target_is_good = cut && judge_target(head.method, head.target);
    if (cut && cut_fields(&cutter, &head, elsewhere)) {
        size_t length = (size_t)(cutter.at - bytes);
        if (head_check(&head, &facts, &e) == 0) {
            MUST(facts.host && (facts.has_body || facts.body_length == 0));
            (void)head_host_is_loopback(facts.host);
            (void)head_host_is_known(facts.host, NULL);
            judge_authorization(facts.authorization);
            judge_cookie(&facts);
            (void)head_is_cross_site(&facts, false);
            judge_precondition(&head);
            if (facts.content_type)
                (void)head_media_type_is(facts.content_type, "application/json");
            if (target_is_good && head_is_contiguous(&head, length) && !has_lost_nul(data, length))
                read_strictly((const char *)data, (const char *)data + length);
        } else {
            MUST(e.code == ERR_INVALID_REQUEST && *e.message);
        }
    }
    free(bytes);
    free(elsewhere);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"
#include "document.h"
#include "word.h"

#include <errno.h>

/* Of a token, "" stands for all devices. Nobody may say so by a variable that happens to be empty. */
static int selector_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                           struct err_list *errors)
{
    struct token *token = object;
    struct selector selector;
    struct err e;

    (void)field;
    if (!cJSON_IsString(value))
        return field_wrong_type(value, "a string", path, errors);
    if (value->valuestring[0] == '\0')
        return fault_add(errors, path, NULL, ERR_INVALID_VALUE, "an empty selector: for all devices, say null");
    if (selector_parse(value->valuestring, &selector, &e) < 0)
        return fault_add(errors, path, NULL, e.code, "%s", e.message);
    return text_copy(token->selector, sizeof(token->selector), value->valuestring);
}

static cJSON *selector_encode(const struct field *field, const void *object)
{
    const struct token *token = object;

    (void)field;
    return token->selector[0] != '\0' ? cJSON_CreateString(token->selector) : cJSON_CreateNull();
}

static const struct field_type field_selector = {selector_decode, selector_encode};

static int time_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                       struct err_list *errors)
{
    struct token *token = object;
    char shown[FAULT_TEXT_SIZE];
    int64_t time_ns = 0;

    (void)field;
    if (!cJSON_IsString(value))
        return field_wrong_type(value, "a string", path, errors);
    int result = clock_parse(value->valuestring, &time_ns);
    if (result == -ERANGE || (result == 0 && time_ns < NSEC_PER_MSEC)) {
        return fault_add(errors, path, NULL, ERR_OUT_OF_RANGE, "%s: this must be a time from 1970 to 2261",
                         fault_text(value->valuestring, shown));
    }
    if (result < 0) {
        return fault_add(errors, path, NULL, ERR_INVALID_VALUE,
                         "%s is not a time as RFC 3339 has it, such as 2026-01-02T03:04:05Z",
                         fault_text(value->valuestring, shown));
    }
    token->expires_ns = time_ns - time_ns % NSEC_PER_MSEC; /* as it is printed */
    return 0;
}

static cJSON *time_encode(const struct field *field, const void *object)
{
    int64_t time_ns = *(const int64_t *)((const char *)object + field->offset);
    char text[CLOCK_TEXT_SIZE];

    return time_ns != 0 ? cJSON_CreateString(clock_print(time_ns, text)) : cJSON_CreateNull();
}

static const struct field_type field_time = {time_decode, time_encode};

static const struct field_text_rules token_name_rules = {
    TOKEN_NAME_SIZE, label_key_is_valid,
    "a token's name: 1 to 63 of A-Z a-z 0-9 _ . - that begin with a letter or digit"};

_Static_assert(sizeof(enum role) == sizeof(unsigned) && sizeof(enum token_kind) == sizeof(unsigned),
               "word_decode writes enums as unsigned");

#define TOKEN(member) offsetof(struct token, member)
/* clang-format off */
#define TOKEN_ROWS                                                                                                     \
    {"name", &field_name, TOKEN(name), FIELD_REQUIRED, &token_name_rules},                                             \
    {"kind", &field_word, TOKEN(kind), 0, &token_kind_words},                                                          \
    {"role", &field_word, TOKEN(role), FIELD_REQUIRED, &role_words},                                                   \
    {"selector", &field_selector, 0, FIELD_NULLABLE, NULL}
#define TOKEN_EXPIRES {"expires", &field_time, TOKEN(expires_ns), FIELD_NULLABLE, NULL}
/* clang-format on */
static const struct field request_fields[] = {TOKEN_ROWS, TOKEN_EXPIRES};
static const struct field answer_fields[] = {
    TOKEN_ROWS,
    {"created", &field_time, TOKEN(created_ns), 0, NULL},
    TOKEN_EXPIRES,
};
static const struct field change_fields[] = {
    {"kind", &field_word, TOKEN(kind), 0, &token_kind_words},
    {"role", &field_word, TOKEN(role), 0, &role_words},
    {"selector", &field_selector, 0, FIELD_NULLABLE, NULL},
    TOKEN_EXPIRES,
};
static const struct field_table request_table = {.rows = request_fields, .count = ARRAY_SIZE(request_fields)};
static const struct field_table answer_table = {.rows = answer_fields, .count = ARRAY_SIZE(answer_fields)};
static const struct field_table change_table = {.rows = change_fields, .count = ARRAY_SIZE(change_fields)};

int token_parse(const char *text, size_t length, struct token *ret_token, struct err_list *errors)
{
    CLEANUP(document_done) cJSON *json = NULL;
    struct token token = {.kind = TOKEN_BEARER};

    int result = document_read(text, length, &json, errors);
    if (result < 0)
        return result;
    result = fields_decode(&request_table, json, NULL, &token, errors);
    if (result == 0)
        *ret_token = token;
    return document_result(result, errors);
}

struct cJSON *token_to_json(const struct token *token)
{
    return fields_encode(&answer_table, token);
}

char *token_change_print(const struct token *token, bool created)
{
    CLEANUP(document_done) cJSON *list = cJSON_CreateArray();
    CLEANUP(document_done) cJSON *fields = fields_encode(&change_table, token);
    cJSON *change = cJSON_CreateObject(), *member;

    if (!list || !change || !cJSON_AddItemToArray(list, change)) {
        cJSON_Delete(change);
        return NULL;
    }
    if (!fields || !cJSON_AddStringToObject(change, "token", token->name) ||
        !cJSON_AddStringToObject(change, "action", created ? "created" : "deleted"))
        return NULL;
    while ((member = fields->child))
        cJSON_AddItemToArray(change, cJSON_DetachItemViaPointer(fields, member)); /* with the name that it has */
    return cJSON_PrintUnformatted(list);
}

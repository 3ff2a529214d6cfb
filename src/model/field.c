/* SPDX-License-Identifier: Apache-2.0 */
#include "field.h"

#include "word.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static const struct field *fields_find(const struct field_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->rows[i].name, name) == 0)
            return &table->rows[i];
    }
    return NULL;
}

static int fields_unknown(const struct field_table *table, const char *name, const struct fault_path *path,
                          struct err_list *errors)
{
    char known[200], shown[FAULT_TEXT_SIZE];
    size_t length = 0;

    if (errors->count == ERR_LIST_MAX)
        return -EINVAL;
    for (size_t i = 0; i < table->count && length < sizeof(known); i++) {
        int more = snprintf(known + length, sizeof(known) - length, "%s%s", i > 0 ? ", " : "", table->rows[i].name);
        length += (size_t)more;
    }
    return fault_add(errors, path, name, ERR_UNKNOWN_FIELD, "there is no field %s here: there are %s",
                     fault_text(name, shown), known);
}

int fields_decode(const struct field_table *table, const cJSON *json, const struct fault_path *path, void *object,
                  struct err_list *errors)
{
    const cJSON *member;
    uint32_t seen = 0;
    int result = 0;

    if (!cJSON_IsObject(json))
        return field_wrong_type(json, "an object", path, errors);
    cJSON_ArrayForEach (member, json) {
        struct fault_path here = {.parent = path, .name = member->string};
        const struct field *field = fields_find(table, member->string);
        if (!field) {
            bool ignored = table->open || (table->ignored && strcmp(table->ignored, member->string) == 0);
            if (!ignored)
                result = fields_unknown(table, member->string, path, errors);
            continue;
        }
        seen |= UINT32_C(1) << (field - table->rows);
        if (cJSON_IsNull(member) && (field->flags & FIELD_NULLABLE))
            continue;
        int decoded = field->type->decode(field, member, &here, object, errors);
        if (decoded == -ENOMEM)
            return decoded;
        if (decoded < 0)
            result = decoded;
    }
    for (size_t i = 0; i < table->count; i++) {
        const struct field *field = &table->rows[i];
        if ((field->flags & FIELD_REQUIRED) && !(seen & UINT32_C(1) << i))
            result = fault_add(errors, path, field->name, ERR_MISSING_FIELD, "\"%s\" is required", field->name);
    }
    return result;
}

cJSON *fields_encode(const struct field_table *table, const void *object)
{
    cJSON *json = cJSON_CreateObject();
    for (size_t i = 0; json && i < table->count; i++) {
        const struct field *field = &table->rows[i];
        if (!field_add(json, field->name, field->type->encode(field, object))) {
            cJSON_Delete(json);
            return NULL;
        }
    }
    return json;
}

int field_wrong_type(const cJSON *value, const char *expected, const struct fault_path *path, struct err_list *errors)
{
    const char *given = "null";
    if (cJSON_IsBool(value))
        given = cJSON_IsTrue(value) ? "true" : "false";
    else if (cJSON_IsNumber(value))
        given = "a number";
    else if (cJSON_IsString(value))
        given = "a string";
    else if (cJSON_IsArray(value))
        given = "an array";
    else if (cJSON_IsObject(value))
        given = "an object";
    return fault_add(errors, path, NULL, ERR_WRONG_TYPE, "this must be %s, not %s", expected, given);
}

bool field_add(cJSON *to, const char *name, cJSON *item)
{
    bool added = item && (name ? cJSON_AddItemToObjectCS(to, name, item) : cJSON_AddItemToArray(to, item));
    if (!added)
        cJSON_Delete(item);
    return added;
}

static void *field_at(const struct field *field, void *object)
{
    return (char *)object + field->offset;
}

static const void *field_from(const struct field *field, const void *object)
{
    return (const char *)object + field->offset;
}

/* ---- plain types ------------------------------------------------------------------------------------------------- */

static int bool_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                       struct err_list *errors)
{
    if (!cJSON_IsBool(value))
        return field_wrong_type(value, "true or false", path, errors);
    *(bool *)field_at(field, object) = cJSON_IsTrue(value);
    return 0;
}

static cJSON *bool_encode(const struct field *field, const void *object)
{
    return cJSON_CreateBool(*(const bool *)field_from(field, object));
}

const struct field_type field_bool = {bool_decode, bool_encode};

/* cJSON hands numbers over as double, which holds each integer up to 2^53: so the range is checked before the cast. */
static int u32_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                      struct err_list *errors)
{
    const struct field_range *range = field->rules;
    double number = value->valuedouble;

    if (!cJSON_IsNumber(value))
        return field_wrong_type(value, "an integer", path, errors);
    if (!(number >= range->least && number <= range->most)) {
        return fault_add(errors, path, NULL, ERR_OUT_OF_RANGE, "%.15g: this must be an integer from %u to %u", number,
                         (unsigned)range->least, (unsigned)range->most);
    }
    uint32_t integer = (uint32_t)number;
    if ((double)integer < number || (double)integer > number) {
        return fault_add(errors, path, NULL, ERR_WRONG_TYPE, "%.15g: this must be an integer from %u to %u", number,
                         (unsigned)range->least, (unsigned)range->most);
    }
    *(uint32_t *)field_at(field, object) = integer;
    return 0;
}

static cJSON *u32_encode(const struct field *field, const void *object)
{
    const struct field_range *range = field->rules;
    uint32_t value = *(const uint32_t *)field_from(field, object);
    return value >= range->least && value <= range->most ? cJSON_CreateNumber(value) : cJSON_CreateNull();
}

const struct field_type field_u32 = {u32_decode, u32_encode};

_Static_assert(sizeof(enum device_kind) == sizeof(unsigned) && sizeof(enum route_type) == sizeof(unsigned) &&
                   sizeof(enum worker_type) == sizeof(unsigned) && sizeof(enum drift_policy) == sizeof(unsigned) &&
                   sizeof(enum udp_header) == sizeof(unsigned),
               "word_decode writes enums as unsigned");

static int word_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                       struct err_list *errors)
{
    const struct word_list *list = field->rules;
    char known[WORD_LIST_TEXT_SIZE], shown[FAULT_TEXT_SIZE];

    if (!cJSON_IsString(value))
        return field_wrong_type(value, "a string", path, errors);
    if (word_parse(list, value->valuestring, field_at(field, object)) < 0) {
        return fault_add(errors, path, NULL, ERR_INVALID_VALUE, "%s is not known here: this is one of %s",
                         fault_text(value->valuestring, shown), word_list_print(list, known));
    }
    return 0;
}

static cJSON *word_encode(const struct field *field, const void *object)
{
    return cJSON_CreateString(word_name(field->rules, *(const unsigned *)field_from(field, object)));
}

const struct field_type field_word = {word_decode, word_encode};

static int name_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                       struct err_list *errors)
{
    const struct field_text_rules *rules = field->rules;
    char shown[FAULT_TEXT_SIZE];

    if (!cJSON_IsString(value))
        return field_wrong_type(value, "a string", path, errors);
    if (!rules->is_valid(value->valuestring) ||
        text_copy(field_at(field, object), rules->size, value->valuestring) < 0) {
        return fault_add(errors, path, NULL, ERR_INVALID_NAME, "%s is not %s", fault_text(value->valuestring, shown),
                         rules->allowed);
    }
    return 0;
}

static cJSON *name_encode(const struct field *field, const void *object)
{
    const char *text = field_from(field, object);
    return text[0] != '\0' ? cJSON_CreateString(text) : cJSON_CreateNull();
}

const struct field_type field_name = {name_decode, name_encode};

static int object_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                         struct err_list *errors)
{
    return fields_decode(field->rules, value, path, field_at(field, object), errors);
}

static cJSON *object_encode(const struct field *field, const void *object)
{
    return fields_encode(field->rules, field_from(field, object));
}

const struct field_type field_object = {object_decode, object_encode};

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static int ip_addr_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                          struct err_list *errors)
{
    char shown[FAULT_TEXT_SIZE];

    if (!cJSON_IsString(value))
        return field_wrong_type(value, "a string", path, errors);
    if (ip_addr_parse(value->valuestring, field_at(field, object)) < 0) {
        return fault_add(errors, path, NULL, ERR_INVALID_ADDRESS,
                         "%s is not an IP address, such as 10.0.0.1 or 2001:db8::1",
                         fault_text(value->valuestring, shown));
    }
    return 0;
}

static cJSON *ip_addr_encode(const struct field *field, const void *object)
{
    const struct ip_addr *addr = field_from(field, object);
    char text[IP_ADDR_TEXT_SIZE];
    return addr->family != 0 ? cJSON_CreateString(ip_addr_print(addr, text)) : cJSON_CreateNull();
}

const struct field_type field_ip_addr = {ip_addr_decode, ip_addr_encode};

int ip_prefix_decode(const cJSON *value, const struct fault_path *path, struct ip_prefix *ret_prefix,
                     struct err_list *errors)
{
    char shown[FAULT_TEXT_SIZE];

    if (!cJSON_IsString(value))
        return field_wrong_type(value, "a string", path, errors);
    if (ip_prefix_parse(value->valuestring, ret_prefix) < 0) {
        return fault_add(errors, path, NULL, ERR_INVALID_ADDRESS,
                         "%s is not an IP address with a prefix length, such as 10.0.0.0/8 or 2001:db8::/32",
                         fault_text(value->valuestring, shown));
    }
    return 0;
}

cJSON *ip_prefix_encode(const struct ip_prefix *prefix)
{
    char text[IP_PREFIX_TEXT_SIZE];
    return cJSON_CreateString(ip_prefix_print(prefix, text));
}

static int ip_prefix_field_decode(const struct field *field, const cJSON *value, const struct fault_path *path,
                                  void *object, struct err_list *errors)
{
    return ip_prefix_decode(value, path, field_at(field, object), errors);
}

static cJSON *ip_prefix_field_encode(const struct field *field, const void *object)
{
    return ip_prefix_encode(field_from(field, object));
}

const struct field_type field_ip_prefix = {ip_prefix_field_decode, ip_prefix_field_encode};

static int endpoint_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                           struct err_list *errors)
{
    char shown[FAULT_TEXT_SIZE];

    if (!cJSON_IsString(value))
        return field_wrong_type(value, "a string", path, errors);
    if (endpoint_parse(value->valuestring, field_at(field, object)) < 0) {
        return fault_add(errors, path, NULL, ERR_INVALID_ADDRESS,
                         "%s is not an IP address with a port, such as 10.0.0.1:5000 or [2001:db8::1]:5000",
                         fault_text(value->valuestring, shown));
    }
    return 0;
}

static cJSON *endpoint_encode(const struct field *field, const void *object)
{
    char text[ENDPOINT_TEXT_SIZE];
    return cJSON_CreateString(endpoint_print(field_from(field, object), text));
}

const struct field_type field_endpoint = {endpoint_decode, endpoint_encode};

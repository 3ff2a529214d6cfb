/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of documents. A tree of the whole text could be forty times as large as the text, so there is none: json_check
 * goes over it once, and then it is cut at its known places, and each document has a tree of its own for a moment.
 */
#include "device.h"
#include "document.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENT_TEXT_MAX (4U << 20) /* bytes: DEVICE_ROUTES_MAX routes, each field written out, fit */

void device_set_done(struct device_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        device_free(set->devices[i]);
    free(set->devices);
    free(set->places);
    free(set->absent);
    memset(set, 0, sizeof(*set));
}

/* ---- cutting text that json_check has passed --------------------------------------------------------------------- */

struct cut {
    const char *at, *end;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static char cut_peek(struct cut *cut)
{
    while (cut->at < cut->end && is_blank(*cut->at))
        cut->at++;
    return cut->at < cut->end ? *cut->at : '\0';
}

static void cut_string(struct cut *cut)
{
    for (cut->at++; cut->at < cut->end && *cut->at != '"'; cut->at++)
        cut->at += *cut->at == '\\';
    cut->at++;
}

/* The next value as it stands. */
static struct cut cut_value(struct cut *cut)
{
    struct cut value = {.at = (cut_peek(cut), cut->at)};
    size_t depth = 0;

    do {
        char c = *cut->at;
        if (c == '"') {
            cut_string(cut);
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        cut->at++;
        if (depth == 0 && c != '}' && c != ']') { /* a number or a word: to its end */
            while (cut->at < cut->end && !is_blank(*cut->at) && !strchr(",]}", *cut->at))
                cut->at++;
        }
    } while (depth > 0 && cut->at < cut->end);
    value.end = cut->at;
    return value;
}

/* Past what opens an array or object: whether there is something in it. */
static bool cut_open(struct cut *cut)
{
    (void)cut_peek(cut);
    cut->at++;
    return cut_peek(cut) != ']' && cut_peek(cut) != '}';
}

/* After an element or member: whether there is another. */
static bool cut_next(struct cut *cut)
{
    bool more = cut_peek(cut) == ',';

    cut->at++;
    return more;
}

/* For a text that is too long to become a tree only to be refused. */
static int cut_wrong_type(struct cut cut, const char *expected, const struct fault_path *path, struct err_list *errors)
{
    static const struct {
        char first;
        int type;
    } types[] = {{'{', cJSON_Object}, {'[', cJSON_Array}, {'"', cJSON_String},
                 {'t', cJSON_True},   {'f', cJSON_False}, {'n', cJSON_NULL}};
    cJSON value = {.type = cJSON_Number};
    char first = cut_peek(&cut);

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (types[i].first == first)
            value.type = types[i].type;
    }
    return field_wrong_type(&value, expected, path, errors);
}

/* NULL: no memory. */
static cJSON *cut_read(struct cut cut)
{
    return cJSON_ParseWithLength(cut.at, (size_t)(cut.end - cut.at));
}

/* ---- the object's two members ------------------------------------------------------------------------------------ */

struct parts {
    struct cut devices, absent; /* `at` NULL: not there */
    bool absent_is_known;
};

/* Members that are not known are reported where `errors` is not NULL. */
static int parts_find(struct cut text, struct parts *parts, struct err_list *errors)
{
    char shown[FAULT_TEXT_SIZE];
    int result = 0;

    for (bool more = cut_open(&text); more; more = cut_next(&text)) {
        CLEANUP(document_done) cJSON *name = cut_read(cut_value(&text));
        if (!name)
            return -ENOMEM;
        (void)cut_peek(&text);
        text.at++; /* the colon */
        struct cut value = cut_value(&text);
        if (strcmp(name->valuestring, "devices") == 0)
            parts->devices = value;
        else if (parts->absent_is_known && strcmp(name->valuestring, "absent") == 0)
            parts->absent = value;
        else if (errors)
            result = fault_add(errors, NULL, name->valuestring, ERR_UNKNOWN_FIELD,
                               "there is no field %s here: there %s", fault_text(name->valuestring, shown),
                               parts->absent_is_known ? "are devices, absent" : "is devices");
        if (errors && errors->count == ERR_LIST_MAX)
            break;
    }
    return result;
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

struct entry {
    struct device *device; /* owned until it is in the set */
    size_t place;
};

struct entries {
    struct entry *items;
    size_t count, capacity;
};

static void entries_done(struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++)
        device_free(entries->items[i].device);
    free(entries->items);
}

static int entry_compare(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    int order = strcmp(left->device->name, right->device->name);

    return order != 0 ? order : left->place < right->place ? -1 : left->place > right->place;
}

/* A place in a long list says little to whoever made it from names. */
static void entry_name_faults(const cJSON *json, struct err_list *errors, size_t first)
{
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "name"));

    for (size_t i = first; name && device_name_is_valid(name) && i < errors->count; i++) {
        struct err named = errors->items[i];
        (void)snprintf(named.message, sizeof(named.message), "%s: %.300s", name, errors->items[i].message);
        errors->items[i] = named;
    }
}

/* `path`: NULL for a document by itself. */
static int entry_read(struct cut text, const struct fault_path *path, struct entries *entries, struct err_list *errors)
{
    CLEANUP(document_done) cJSON *json = NULL;
    struct entry entry = {.place = path ? path->index : 0};
    size_t faults = errors->count;

    if ((size_t)(text.end - text.at) > DOCUMENT_TEXT_MAX) {
        return fault_add(errors, path, NULL, ERR_LIMIT_EXCEEDED, "a document of %zu bytes: it can have %u at most",
                         (size_t)(text.end - text.at), DOCUMENT_TEXT_MAX);
    }
    json = cut_read(text);
    if (!json || array_grow(&entries->items, &entries->capacity, entries->count, sizeof(entry)) < 0)
        return document_result(-ENOMEM, errors);
    int result = device_decode(json, NULL, false, path, &entry.device, errors);
    if (result == 0)
        entries->items[entries->count++] = entry;
    else if (path)
        entry_name_faults(json, errors, faults);
    return result;
}

static int entries_read(struct cut text, struct entries *entries, struct err_list *errors)
{
    const struct fault_path devices = {.name = "devices"};
    struct fault_path path = {.parent = &devices};
    int result = 0;

    if (cut_peek(&text) != '[')
        return cut_wrong_type(text, "an array", &devices, errors);
    for (bool more = cut_open(&text); more; more = cut_next(&text)) {
        if (path.index == DEVICE_SET_MAX) {
            return fault_add(errors, &devices, NULL, ERR_LIMIT_EXCEEDED, "there can be %d devices at most",
                             DEVICE_SET_MAX);
        }
        int read = entry_read(cut_value(&text), &path, entries, errors);
        if (read == -ENOMEM || errors->count == ERR_LIST_MAX)
            return read < 0 ? read : -EINVAL;
        if (read < 0)
            result = read;
        path.index++;
    }
    return result;
}

/* By name into the set, which takes them. */
static int entries_settle(struct entries *entries, struct device_set *set, struct err_list *errors)
{
    const struct fault_path devices = {.name = "devices"};
    int result = 0;

    set->devices = calloc(entries->count + 1, sizeof(struct device *));
    set->places = calloc(entries->count + 1, sizeof(*set->places));
    if (!set->devices || !set->places)
        return document_result(-ENOMEM, errors);
    if (entries->count > 1)
        qsort(entries->items, entries->count, sizeof(*entries->items), entry_compare);
    for (size_t i = 1; i < entries->count; i++) {
        const struct entry *entry = &entries->items[i], *twin = entry - 1;
        struct fault_path path = {.parent = &devices, .index = entry->place};
        if (strcmp(entry->device->name, twin->device->name) == 0) {
            result = fault_add(errors, &path, "name", ERR_DUPLICATE, "%s is the name of /devices/%zu, too",
                               entry->device->name, twin->place);
        }
    }
    for (size_t i = 0; i < entries->count; i++) {
        set->places[set->count] = entries->items[i].place;
        set->devices[set->count++] = entries->items[i].device;
        entries->items[i].device = NULL;
    }
    return result;
}

/* ---- names that shall not be there ------------------------------------------------------------------------------- */

static bool set_has(const struct device_set *set, const char *name)
{
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(set->devices[middle]->name, name);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static int absent_read_one(struct cut text, const struct fault_path *path, struct device_set *set,
                           struct err_list *errors)
{
    CLEANUP(document_done) cJSON *name = NULL;
    char shown[FAULT_TEXT_SIZE];

    if (cut_peek(&text) != '"')
        return cut_wrong_type(text, "a string", path, errors);
    name = cut_read(text);
    if (!name)
        return document_result(-ENOMEM, errors);
    if (!device_name_is_valid(name->valuestring)) {
        return fault_add(errors, path, NULL, ERR_INVALID_NAME, "%s is not a device's name",
                         fault_text(name->valuestring, shown));
    }
    if (set_has(set, name->valuestring)) {
        return fault_add(errors, path, NULL, ERR_INCOMPATIBLE, "%s is in /devices, too", name->valuestring);
    }
    (void)text_copy(set->absent[set->absent_count++], DEVICE_NAME_SIZE, name->valuestring);
    return 0;
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int absent_read(struct cut text, struct device_set *set, struct err_list *errors)
{
    const struct fault_path absent = {.name = "absent"};
    struct fault_path path = {.parent = &absent};
    size_t capacity = 0, kept = 0;
    int result = 0;

    if (cut_peek(&text) != '[')
        return cut_wrong_type(text, "an array", &absent, errors);
    for (bool more = cut_open(&text); more; more = cut_next(&text)) {
        if (path.index == DEVICE_SET_MAX)
            return fault_add(errors, &absent, NULL, ERR_LIMIT_EXCEEDED, "there can be %d names at most",
                             DEVICE_SET_MAX);
        if (array_grow(&set->absent, &capacity, set->absent_count, sizeof(*set->absent)) < 0)
            return document_result(-ENOMEM, errors);
        int read = absent_read_one(cut_value(&text), &path, set, errors);
        if (read == -ENOMEM || errors->count == ERR_LIST_MAX)
            return read < 0 ? read : -EINVAL;
        if (read < 0)
            result = read;
        path.index++;
    }
    /* to say a name twice says nothing else */
    if (set->absent_count > 1)
        qsort(set->absent, set->absent_count, sizeof(*set->absent), name_compare);
    for (size_t i = 0; i < set->absent_count; i++) {
        if (i == 0 || strcmp(set->absent[i], set->absent[kept - 1]) != 0)
            memmove(set->absent[kept++], set->absent[i], sizeof(*set->absent));
    }
    set->absent_count = kept;
    return result;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int set_read(struct cut text, bool may_be_part, struct device_set *set, struct err_list *errors)
{
    CLEANUP(entries_done) struct entries entries = {0};
    struct parts parts = {.absent_is_known = may_be_part};
    int result, read;

    if (cut_peek(&text) != '{')
        return cut_wrong_type(text, "an object", NULL, errors);
    if (parts_find(text, &parts, NULL) == -ENOMEM)
        return document_result(-ENOMEM, errors);
    if (may_be_part && !parts.devices.at && !parts.absent.at) {
        result = entry_read(text, NULL, &entries, errors);
        return result < 0 ? result : entries_settle(&entries, set, errors);
    }
    result = parts_find(text, &parts, errors);
    if (result == -ENOMEM)
        return document_result(result, errors);
    if (!parts.devices.at && !may_be_part)
        result = fault_add(errors, NULL, "devices", ERR_MISSING_FIELD, "\"devices\" is required");
    read = parts.devices.at ? entries_read(parts.devices, &entries, errors) : 0;
    if (read == 0)
        read = entries_settle(&entries, set, errors);
    if (read == 0 && parts.absent.at)
        read = absent_read(parts.absent, set, errors);
    return read < 0 ? read : result;
}

int device_set_parse(const char *text, size_t length, bool may_be_part, struct device_set *ret_set,
                     struct err_list *errors)
{
    struct device_set set = {0};
    struct err e;

    int result = json_check(text, length, &e);
    if (result < 0) {
        err_list_add_err(errors, &e);
        return result;
    }
    result = set_read((struct cut){text, text + length}, may_be_part, &set, errors);
    if (result < 0)
        device_set_done(&set);
    else
        *ret_set = set;
    return result;
}

struct cJSON *device_set_to_json(const struct device *const *devices, size_t count)
{
    CLEANUP(document_done) cJSON *json = cJSON_CreateObject();
    cJSON *items = json ? cJSON_AddArrayToObject(json, "devices") : NULL;

    if (!items)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (!field_add(items, NULL, device_to_json(devices[i])))
            return NULL;
    }
    cJSON *made = json;
    json = NULL;
    return made;
}

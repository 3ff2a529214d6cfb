/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/expression.h"

#include "tunwright/model.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Fields whose values are text also where they look like something else. */
static const char *const text_fields[] = {"name", "mac", "netns", "master", "worker.interface"};

static int refuse(struct err *ret_err, const char *text, const char *what)
{
    return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "%.160s: %s", text, what);
}

bool expression_is_one(const char *text)
{
    return strchr(text, '=') != NULL;
}

enum expression_kind expression_kind(const char *text)
{
    const char *equal = strchr(text, '=');

    if (!equal || equal == text)
        return EXPRESSION_SET;
    return equal[-1] == '+' ? EXPRESSION_ADD : equal[-1] == '-' ? EXPRESSION_REMOVE : EXPRESSION_SET;
}

/* ---- values ------------------------------------------------------------------------------------------------------- */

/* Takes what is to be added, and frees it where it cannot be. */
static int add_member(cJSON *object, const char *key, cJSON *value, struct err *ret_err)
{
    if (value && cJSON_AddItemToObject(object, key, value))
        return 0;
    cJSON_Delete(value);
    return err_no_memory(ret_err);
}

static int add_item(cJSON *list, cJSON *value, struct err *ret_err)
{
    if (value && cJSON_AddItemToArray(list, value))
        return 0;
    cJSON_Delete(value);
    return err_no_memory(ret_err);
}

static bool is_text_field(const char *field)
{
    if (!strncmp(field, "labels.", 7))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(text_fields); i++)
        if (!strcmp(field, text_fields[i]))
            return true;
    return false;
}

static int addresses_value(const char *text, cJSON **ret_value, struct err *ret_err)
{
    cJSON *list = cJSON_CreateArray();
    char *copy = strdup(text);
    int error = list && copy ? 0 : err_no_memory(ret_err);

    if (!error && *copy)
        for (char *rest = copy, *item; !error && (item = strsep(&rest, ","));)
            error = add_item(list, cJSON_CreateString(item), ret_err);
    free(copy);
    if (error)
        cJSON_Delete(list);
    else
        *ret_value = list;
    return error;
}

static int routes_value(const char *text, cJSON **ret_value, struct err *ret_err)
{
    cJSON *list = cJSON_CreateArray(), *route = NULL;
    int error = list ? 0 : err_no_memory(ret_err);

    if (!error && *text)
        error = expression_route(text, &route, ret_err);
    if (!error && route)
        error = add_item(list, route, ret_err);
    if (error)
        cJSON_Delete(list);
    else
        *ret_value = list;
    return error;
}

/* `field` is where it stands in the device's document, with dots. */
static int value_of(const char *field, const char *text, cJSON **ret_value, struct err *ret_err)
{
    cJSON *json = NULL;
    int error = json_read(text, strlen(text), &json, NULL);

    if (error == -ENOMEM)
        return err_no_memory(ret_err);
    bool is_whole = !strcmp(field, "addresses") || !strcmp(field, "routes") || !strcmp(field, "worker");
    if (!json && is_whole && (*text == '{' || *text == '['))
        return refuse(ret_err, text, "this begins as JSON and is none");
    if (is_text_field(field)) {
        if (json && (cJSON_IsNull(json) || cJSON_IsString(json))) {
            *ret_value = json;
            return 0;
        }
        cJSON_Delete(json);
        json = NULL;
    } else if (!json && !strcmp(field, "addresses")) {
        return addresses_value(text, ret_value, ret_err);
    } else if (!json && !strcmp(field, "routes")) {
        return routes_value(text, ret_value, ret_err);
    } else if (!json && !strcmp(field, "worker")) {
        return expression_worker(text, ret_value, ret_err);
    }
    if (!json)
        json = cJSON_CreateString(text);
    if (!json)
        return err_no_memory(ret_err);
    *ret_value = json;
    return 0;
}

/* ---- merge patches ------------------------------------------------------------------------------------------------ */

/* A field that begins with labels. has one dot that counts: keys of labels may have dots. Cuts `rest`. */
static char *next_key(char **rest, unsigned depth, bool labels)
{
    if (labels && depth == 1) {
        char *key = *rest;
        *rest = NULL;
        return key;
    }
    return strsep(rest, ".");
}

int expression_set_field(cJSON *patch, const char *field, const char *value, struct err *ret_err)
{
    bool labels = !strncmp(field, "labels.", 7);
    char *copy = strdup(field), *rest = copy;
    cJSON *at = patch, *json = NULL;
    unsigned depth = 0;
    int error = copy ? 0 : err_no_memory(ret_err);

    while (!error && rest) {
        char *key = next_key(&rest, depth++, labels);
        cJSON *there = cJSON_GetObjectItemCaseSensitive(at, key);
        if (!*key || depth > EXPRESSION_DEPTH_MAX) {
            error = refuse(ret_err, field, "this names no field");
        } else if (!rest) {
            if (there)
                error = refuse(ret_err, field, "this is given twice");
            else if (!(error = value_of(field, value, &json, ret_err)))
                error = add_member(at, key, json, ret_err);
        } else if (there) {
            at = there;
            if (!cJSON_IsObject(there))
                error = refuse(ret_err, field, "this goes into what another argument sets as a whole");
        } else {
            cJSON *made = cJSON_CreateObject();
            error = add_member(at, key, made, ret_err);
            at = made;
        }
    }
    free(copy);
    return error;
}

int expression_set(cJSON *patch, const char *text, struct err *ret_err)
{
    const char *equal = strchr(text, '=');

    if (!equal || equal == text)
        return refuse(ret_err, text, "this must be FIELD=VALUE");
    char *field = strndup(text, (size_t)(equal - text));
    if (!field)
        return err_no_memory(ret_err);
    int error = expression_set_field(patch, field, equal + 1, ret_err);
    free(field);
    return error;
}

/* ---- lists of a document that was read ---------------------------------------------------------------------------- */

static double number_or(const cJSON *object, const char *key, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static bool same_text(const cJSON *a, const cJSON *b)
{
    return cJSON_IsString(a) && cJSON_IsString(b) && !strcmp(a->valuestring, b->valuestring);
}

/* As the daemon tells routes apart, as far as both say it: by where they lead, table and metric. */
static bool same_item(const cJSON *there, const cJSON *wanted)
{
    if (!cJSON_IsObject(wanted))
        return same_text(there, wanted);
    return same_text(cJSON_GetObjectItemCaseSensitive(there, "to"), cJSON_GetObjectItemCaseSensitive(wanted, "to")) &&
           number_or(there, "table", 254) >= number_or(wanted, "table", 254) &&
           number_or(there, "table", 254) <= number_or(wanted, "table", 254) &&
           (!cJSON_GetObjectItemCaseSensitive(wanted, "metric") ||
            cJSON_Compare(cJSON_GetObjectItemCaseSensitive(there, "metric"),
                          cJSON_GetObjectItemCaseSensitive(wanted, "metric"), true));
}

static int edit_list(cJSON *list, const cJSON *wanted, bool add, const char *text, struct err *ret_err)
{
    int at = -1, count = cJSON_GetArraySize(list);

    for (int i = 0; i < count; i++) {
        if (!same_item(cJSON_GetArrayItem(list, i), wanted))
            continue;
        if (at >= 0 && !add)
            return refuse(ret_err, text, "there are several: say which by metric=");
        at = i;
    }
    if (!add) {
        if (at < 0)
            return err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "", "%.160s: there is no such entry", text);
        cJSON_DeleteItemFromArray(list, at);
        return 0;
    }
    cJSON *copy = cJSON_Duplicate(wanted, true);
    if (at < 0 || !copy)
        return add_item(list, copy, ret_err);
    cJSON_ReplaceItemInArray(list, at, copy); /* a route with the rest of it new; an address stays as it is */
    return 0;
}

int expression_edit(cJSON *document, const char *text, struct err *ret_err)
{
    const char *equal = strchr(text, '=');
    enum expression_kind kind = expression_kind(text);
    const char *fields[] = {"addresses", "routes"};
    cJSON *wanted = NULL, *list = NULL;
    const char *field = NULL;
    const cJSON *item;

    if (!equal || kind == EXPRESSION_SET)
        return refuse(ret_err, text, "this must be FIELD+=VALUE or FIELD-=VALUE");
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if ((size_t)(equal - 1 - text) == strlen(fields[i]) && !strncmp(text, fields[i], strlen(fields[i])))
            field = fields[i];
    if (!field)
        return refuse(ret_err, text, "only addresses and routes are lists");
    int error = value_of(field, equal + 1, &wanted, ret_err);
    if (error)
        return error;
    list = cJSON_GetObjectItemCaseSensitive(document, field);
    if (!list) {
        list = cJSON_CreateArray();
        error = add_member(document, field, list, ret_err);
    }
    if (!error && (!cJSON_IsArray(wanted) || !cJSON_IsArray(list) || !wanted->child))
        error = refuse(ret_err, text, "this takes what a list may hold");
    for (item = wanted->child; item && !error; item = item->next)
        error = edit_list(list, item, kind == EXPRESSION_ADD, text, ret_err);
    cJSON_Delete(wanted);
    return error;
}

/* ---- short forms -------------------------------------------------------------------------------------------------- */

/* `FIRST,key=value,…` → {first_key: FIRST, key: value, …}; `below` is where it stands in the device. */
static int short_form(const char *text, const char *first_key, const char *below, cJSON **ret_object,
                      struct err *ret_err)
{
    cJSON *object = cJSON_CreateObject();
    char *copy = strdup(text), *rest = copy;
    int error = object && copy ? 0 : err_no_memory(ret_err);

    for (bool first = true; !error && rest; first = false) {
        char *item = strsep(&rest, ",");
        char *equal = strchr(item, '=');
        if (first) {
            error = *item && !equal
                        ? add_member(object, first_key, cJSON_CreateString(item), ret_err)
                        : refuse(ret_err, text,
                                 !strcmp(first_key, "to") ? "a route begins with where it leads: 10.9.0.0/16,via=…"
                                                          : "a worker begins with its type: udp,local=…,remote=…");
        } else if (!equal || equal == item) {
            error = refuse(ret_err, text, "behind the first comma come KEY=VALUE, with commas between");
        } else {
            /* in place of the document's own prefix, so that the table of text fields serves here, too */
            struct buf field = {0};
            cJSON *value = NULL;
            *equal = '\0';
            buf_printf(&field, "%s.%s", below, item);
            error = field.failed ? err_no_memory(ret_err) : value_of(field.data, equal + 1, &value, ret_err);
            buf_done(&field);
            cJSON *at = object;
            unsigned depth = 0;
            for (char *keys = item, *key; !error && (key = strsep(&keys, "."));) {
                cJSON *there = cJSON_GetObjectItemCaseSensitive(at, key);
                if (!*key || ++depth > EXPRESSION_DEPTH_MAX || (there && (!keys || !cJSON_IsObject(there)))) {
                    error = refuse(ret_err, text, "a key is empty, or there twice");
                } else if (!keys) {
                    error = add_member(at, key, value, ret_err);
                    value = NULL;
                } else if (there) {
                    at = there;
                } else {
                    cJSON *made = cJSON_CreateObject();
                    error = add_member(at, key, made, ret_err);
                    at = made;
                }
            }
            cJSON_Delete(value);
        }
    }
    free(copy);
    if (error)
        cJSON_Delete(object);
    else
        *ret_object = object;
    return error;
}

int expression_route(const char *text, cJSON **ret_route, struct err *ret_err)
{
    return short_form(text, "to", "routes", ret_route, ret_err);
}

int expression_worker(const char *text, cJSON **ret_worker, struct err *ret_err)
{
    if (strcmp(text, "none") != 0)
        return short_form(text, "type", "worker", ret_worker, ret_err);
    cJSON *null = cJSON_CreateNull();
    if (!null)
        return err_no_memory(ret_err);
    *ret_worker = null;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes of a device. Two may lead to one prefix, in different tables or with different metrics: the query tells
 * them apart, ?metric=100&table=254.
 */
#include "answer.h"
#include "change_wait.h"
#include "handlers.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define METRIC_DEFAULT_IPV6 1024U /* what 0 means there (IP6_RT_PRIO_USER) */

void device_routes_list(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = NULL;
    const struct snapshot_device *entry = devices_find(request, &snapshot);
    if (!entry || devices_is_unchanged(request, entry))
        return;
    const struct device *device = entry->stored.device;
    cJSON *items = cJSON_CreateArray();
    for (size_t i = 0; items && i < device->route_count; i++) {
        answer_item_add(&items, route_to_json(&device->routes[i]));
    }
    answer_items(request, items);
    devices_tag(request, entry);
}

/* What the path and the query say about a route. */
struct route_words {
    struct ip_prefix to;
    bool has_metric, has_table;
    uint32_t metric, table;
};

static int number_read(const struct request *request, const char *key, bool *ret_is_there, uint32_t *ret_number,
                       struct err *ret_err)
{
    const char *text = request_query(request, key);
    uint64_t number = 0;
    if (text && text_to_u64(text, UINT32_MAX, &number))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "%s in the query must be a number from 0 to %" PRIu32,
                       key, UINT32_MAX);
    *ret_is_there = text;
    *ret_number = (uint32_t)number;
    return 0;
}

static int route_words_read(const struct request *request, struct route_words *ret_words, struct err *ret_err)
{
    char text[IP_PREFIX_TEXT_SIZE];
    int length = snprintf(text, sizeof text, "%s/%s", request->variables[1], request->variables[2]);
    if (length >= (int)sizeof text || ip_prefix_parse(text, &ret_words->to))
        return err_set(ret_err, -EINVAL, ERR_INVALID_ADDRESS, "",
                       "the path must end in a prefix and its length, like /10.9.0.0/16 or /fd00:9::/48");
    if (ip_prefix_has_host_bits(&ret_words->to)) {
        struct ip_prefix network = ip_prefix_network(&ret_words->to);
        ip_prefix_print(&network, text);
        return err_set(ret_err, -EINVAL, ERR_HOST_BITS_SET, "",
                       "the prefix in the path has host bits set; did you mean %s?", text);
    }
    int error = number_read(request, "metric", &ret_words->has_metric, &ret_words->metric, ret_err);
    if (!error)
        error = number_read(request, "table", &ret_words->has_table, &ret_words->table, ret_err);
    if (!error && ret_words->has_metric && !ret_words->metric && ret_words->to.addr.family == AF_INET6)
        ret_words->metric = METRIC_DEFAULT_IPV6;
    return error;
}

/* ---- PUT --------------------------------------------------------------------------------------------------------- */

/* Puts a number from the query into the body that lacks it. Whether they contradict each other is seen when both are
 * read: `metric` has two ways to say the same. */
static bool add_missing(cJSON *body, const char *name, bool is_there, uint32_t number)
{
    char text[16];
    snprintf(text, sizeof text, "%" PRIu32, number);
    return !is_there || cJSON_GetObjectItemCaseSensitive(body, name) || cJSON_AddRawToObject(body, name, text);
}

/* The body as the route's text, with what the query adds. Owned; NULL with a fault. */
static char *route_text(const struct request *request, const struct route_words *words, struct err_list *errors)
{
    const struct buf *body = &request->body;
    struct err e;
    cJSON *json = NULL;
    char *text = NULL;
    if (json_read(body->length ? body->data : "{}", body->length ? body->length : 2, &json, &e)) {
        err_list_add_err(errors, &e);
        return NULL;
    }
    bool whole = !cJSON_IsObject(json) || (add_missing(json, "metric", words->has_metric, words->metric) &&
                                           add_missing(json, "table", words->has_table, words->table));
    if (whole)
        text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (!text) {
        err_no_memory(&e);
        err_list_add_err(errors, &e);
    }
    return text;
}

static void route_read(const struct request *request, struct route *ret_route, struct err_list *errors)
{
    struct route_words words;
    struct err e;
    if (route_words_read(request, &words, &e)) {
        err_list_add_err(errors, &e);
        return;
    }
    const struct buf *body = &request->body;
    if (body->length && !words.has_metric && !words.has_table) {
        route_parse(body->data, body->length, &words.to, ret_route, errors);
        return;
    }
    char *text = route_text(request, &words, errors);
    if (!text)
        return;
    if (!route_parse(text, strlen(text), &words.to, ret_route, errors) &&
        ((words.has_metric && words.metric != ret_route->metric) ||
         (words.has_table && words.table != ret_route->table)))
        err_list_add(errors, ERR_INVALID_QUERY, "",
                     "the query and the body say different things about metric or table");
    cJSON_free(text);
}

void device_routes_put(struct request *request)
{
    struct err_list errors = {.count = 0};
    struct route route;
    route_read(request, &route, &errors);
    if (errors.count) {
        answer_problems(request, &errors);
        return;
    }
    struct change *change = change_wait_of_device(request, CHANGE_ROUTE_PUT);
    if (!change)
        return;
    change->route = route;
    change_wait_submit(request);
}

/* ---- DELETE ------------------------------------------------------------------------------------------------------ */

/* The one route that is meant. */
static int route_choose(const struct device *device, const struct route_words *words, struct route *ret_route,
                        struct err *ret_err)
{
    char text[IP_PREFIX_TEXT_SIZE];
    size_t found = 0;
    for (size_t i = 0; i < device->route_count; i++) {
        const struct route *route = &device->routes[i];
        if (!ip_prefix_equal(&route->to, &words->to) || (words->has_metric && route->metric != words->metric) ||
            (words->has_table && route->table != words->table))
            continue;
        if (!found++)
            *ret_route = *route;
    }
    if (!found)
        return err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "", "device \"%s\" has no such route to %s", device->name,
                       ip_prefix_print(&words->to, text));
    if (found > 1)
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "",
                       "device \"%s\" has %zu such routes to %s: say metric and table, like ?metric=100&table=254",
                       device->name, found, ip_prefix_print(&words->to, text));
    return 0;
}

void device_routes_delete(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = NULL;
    const struct snapshot_device *entry = devices_find(request, &snapshot);
    if (!entry)
        return;
    struct route_words words;
    struct route route;
    struct err e;
    if (route_words_read(request, &words, &e) || route_choose(entry->stored.device, &words, &route, &e)) {
        answer_problem(request, &e);
        return;
    }
    struct change *change = change_wait_of_device(request, CHANGE_ROUTE_DELETE);
    if (!change)
        return;
    change->route = route;
    request->wait->answer = change_wait_gone;
    change_wait_submit(request);
}

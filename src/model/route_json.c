/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"
#include "document.h"
#include "word.h"

#include <errno.h>

/* What no table may hold is a fault with a better message in route_validate. */
static const struct field_range route_number = {0, UINT32_MAX};

#define ROUTE(member) offsetof(struct route, member)
static const struct field route_fields[] = {
    {"to", &field_ip_prefix, ROUTE(to), 0, NULL}, /* required, unless the path says it: route_decode */
    {"via", &field_ip_addr, ROUTE(via), FIELD_NULLABLE, NULL},
    {"metric", &field_u32, ROUTE(metric), FIELD_NULLABLE, &route_number},
    {"table", &field_u32, ROUTE(table), 0, &route_number},
    {"type", &field_word, ROUTE(type), 0, &route_type_words},
    {"source", &field_ip_addr, ROUTE(source), FIELD_NULLABLE, NULL},
};
static const struct field_table route_table = {.rows = route_fields, .count = ARRAY_SIZE(route_fields)};

/* `to` stands in the document, in the path, or in both alike. */
static int route_to_decode(const cJSON *json, const struct ip_prefix *to, const struct fault_path *path,
                           struct route *route, struct err_list *errors)
{
    char given[IP_PREFIX_TEXT_SIZE], known[IP_PREFIX_TEXT_SIZE];
    bool present = cJSON_GetObjectItemCaseSensitive(json, "to") != NULL;

    if (!present && !to)
        return fault_add(errors, path, "to", ERR_MISSING_FIELD,
                         "\"to\" is required: the prefix that the route leads to");
    if (to && route->to.addr.family != 0 && !ip_prefix_equal(&route->to, to)) {
        return fault_add(errors, path, "to", ERR_INCOMPATIBLE, "the body says %s, and the path %s",
                         ip_prefix_print(&route->to, given), ip_prefix_print(to, known));
    }
    if (!present)
        route->to = *to;
    return 0;
}

int route_decode(const cJSON *json, const struct ip_prefix *to, const struct fault_path *path, struct route *ret_route,
                 struct err_list *errors)
{
    struct route route = {.table = ROUTE_TABLE_MAIN, .type = ROUTE_UNICAST};

    *ret_route = (struct route){0};
    int result = fields_decode(&route_table, json, path, &route, errors);
    if (result == -ENOMEM || !cJSON_IsObject(json))
        return result;
    if (route_to_decode(json, to, path, &route, errors) < 0)
        result = -EINVAL;
    if (route_validate(&route, path, errors) < 0)
        result = -EINVAL;
    if (result < 0)
        return result;
    route_normalise(&route);
    *ret_route = route;
    return 0;
}

int route_parse(const char *text, size_t length, const struct ip_prefix *to, struct route *ret_route,
                struct err_list *errors)
{
    CLEANUP(document_done) cJSON *json = NULL;
    struct route route;

    int result = document_read(text, length, &json, errors);
    if (result < 0)
        return result;
    result = route_decode(json, to, NULL, &route, errors);
    if (result == 0)
        *ret_route = route;
    return document_result(result, errors);
}

struct cJSON *route_to_json(const struct route *route)
{
    return fields_encode(&route_table, route);
}

char *route_print(const struct route *route)
{
    CLEANUP(document_done) cJSON *json = route_to_json(route);

    return json ? cJSON_PrintUnformatted(json) : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "route_table.h"

#include "device_list.h"
#include "handlers.h"

#include <stdio.h>
#include <string.h>

#define DEVICE_BODY  (1U << 20)
#define CONFIG_BODY  (32U << 20)
#define PART_BODY    (64U << 10)
#define ADDRESS_PATH "/v1/devices/{name}/addresses/{ip}/{length}"
#define ROUTE_PATH   "/v1/devices/{name}/routes/{prefix}/{length}"

static const struct route_row rows[] = {
    {"GET", "/healthz", ROLE_NOBODY, 0, 0, meta_health, {0}},
    {"GET", "/readyz", ROLE_NOBODY, 0, 0, meta_ready, {0}},
    {"GET", "/", ROLE_NOBODY, ROUTE_CONDITIONAL, 0, assets_get_page, {0}},
    {"GET", "/assets/{name}", ROLE_NOBODY, ROUTE_CONDITIONAL, 0, assets_get, {0}},
    {"GET", "/v1/session", ROLE_READER, 0, 0, session_get, {0}},
    {"POST", "/v1/session", ROLE_NOBODY, 0, PART_BODY, session_post, {0}},
    {"DELETE", "/v1/session", ROLE_NOBODY, 0, 0, session_delete, {0}},
    {"GET", "/metrics", ROLE_READER, 0, 0, metrics_get, {0}},
    {"GET", "/v1/version", ROLE_READER, 0, 0, meta_version, {0}},
    {"GET", "/v1/openapi.json", ROLE_READER, 0, 0, openapi_get, {0}},
    {"GET", "/v1/devices", ROLE_READER, 0, 0, devices_list, {DEVICE_LIST_QUERY}},
    {"POST", "/v1/devices", ROLE_OPERATOR, ROUTE_MUTATION, DEVICE_BODY, devices_post, {0}},
    {"GET", "/v1/devices/{name}", ROLE_READER, ROUTE_CONDITIONAL, 0, devices_get, {0}},
    {"PUT", "/v1/devices/{name}", ROLE_OPERATOR, ROUTE_MUTATION, DEVICE_BODY, devices_put, {0}},
    {"PATCH", "/v1/devices/{name}", ROLE_OPERATOR, ROUTE_PATCH, DEVICE_BODY, devices_patch, {0}},
    {"DELETE", "/v1/devices/{name}", ROLE_OPERATOR, ROUTE_MUTATION, 0, devices_delete, {0}},
    {"POST", "/v1/devices/{name}/adopt", ROLE_OPERATOR, ROUTE_PATCH, DEVICE_BODY, devices_adopt, {"netns"}},
    {"POST", "/v1/devices/{name}/release", ROLE_OPERATOR, ROUTE_MUTATION, PART_BODY, devices_release, {0}},
    {"GET", "/v1/devices/{name}/addresses", ROLE_READER, ROUTE_CONDITIONAL, 0, addresses_list, {0}},
    {"PUT", ADDRESS_PATH, ROLE_OPERATOR, ROUTE_MUTATION, PART_BODY, addresses_put, {0}},
    {"DELETE", ADDRESS_PATH, ROLE_OPERATOR, ROUTE_MUTATION, 0, addresses_delete, {0}},
    {"GET", "/v1/devices/{name}/routes", ROLE_READER, ROUTE_CONDITIONAL, 0, device_routes_list, {0}},
    {"PUT", ROUTE_PATH, ROLE_OPERATOR, ROUTE_MUTATION, PART_BODY, device_routes_put, {"metric", "table"}},
    {"DELETE", ROUTE_PATH, ROLE_OPERATOR, ROUTE_MUTATION, 0, device_routes_delete, {"metric", "table"}},
    {"GET", "/v1/devices/{name}/worker", ROLE_READER, ROUTE_CONDITIONAL, 0, workers_get, {0}},
    {"PUT", "/v1/devices/{name}/worker", ROLE_OPERATOR, ROUTE_MUTATION, PART_BODY, workers_put, {0}},
    {"DELETE", "/v1/devices/{name}/worker", ROLE_OPERATOR, ROUTE_MUTATION, 0, workers_delete, {0}},
    {"GET", "/v1/devices/{name}/counters", ROLE_READER, 0, 0, counters_get, {0}},
    {"GET", "/v1/devices/{name}/history", ROLE_READER, 0, 0, device_history_get, {"step_s", "limit"}},
    {"GET", "/v1/devices/{name}/capture", ROLE_OPERATOR, 0, 0, capture_get, {"filter", "snaplen", "count", "seconds"}},
    {"GET", "/v1/counters", ROLE_READER, 0, 0, counters_list, {DEVICE_LIST_QUERY}},
    {"GET", "/v1/config", ROLE_READER, ROUTE_CONDITIONAL, 0, config_get, {0}},
    {"PUT", "/v1/config", ROLE_OPERATOR, ROUTE_MUTATION, CONFIG_BODY, config_put, {0}},
    {"GET", "/v1/config/confirm", ROLE_READER, 0, 0, config_get_pending, {0}},
    {"POST", "/v1/config/confirm", ROLE_OPERATOR, 0, PART_BODY, config_confirm, {0}},
    {"POST", "/v1/config/revert", ROLE_OPERATOR, ROUTE_CHANGES, PART_BODY, config_revert, {0}},
    {"GET", "/v1/events", ROLE_READER, 0, 0, event_log_list, {"after", "limit", "device"}},
    {"GET", "/v1/audit", ROLE_ADMIN, 0, 0, event_log_audit, {"after", "limit"}},
    {"GET", "/v1/tokens", ROLE_ADMIN, 0, 0, tokens_list, {0}},
    {"POST", "/v1/tokens", ROLE_ADMIN, ROUTE_CHANGES, PART_BODY, tokens_post, {0}},
    {"DELETE", "/v1/tokens/{name}", ROLE_ADMIN, ROUTE_CHANGES, 0, tokens_delete, {0}},
    {"GET", "/v1/watch", ROLE_READER, 0, 0, watch_get, {"topics", "device", "selector", "interval_ms", "after"}},
};

static bool pattern_matches(const char *pattern, const struct target *target,
                            const char *ret_variables[static REQUEST_VARIABLES_MAX])
{
    size_t variable = 0;
    const char *at = pattern;
    for (size_t i = 0; i < target->segment_count; i++) {
        if (*at++ != '/')
            return false;
        const char *segment = target->segments[i];
        if (*at == '{') {
            if (!*segment || variable == REQUEST_VARIABLES_MAX)
                return false;
            ret_variables[variable++] = segment;
            while (*at && *at != '/')
                at++;
            continue;
        }
        while (*segment && *segment == *at && *at != '/')
            segment++, at++;
        if (*segment || (*at && *at != '/'))
            return false;
    }
    return !*at;
}

static void allow_add(char allow[static ROUTE_ALLOW_SIZE], const char *method)
{
    size_t used = strlen(allow);
    snprintf(allow + used, ROUTE_ALLOW_SIZE - used, "%s%s", used ? ", " : "", method);
}

const struct route_row *route_table_find(const char *method, const struct target *target,
                                         const char *ret_variables[static REQUEST_VARIABLES_MAX],
                                         char ret_allow[static ROUTE_ALLOW_SIZE])
{
    const char *wanted = strcmp(method, "HEAD") ? method : "GET";
    ret_allow[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (!pattern_matches(rows[i].pattern, target, ret_variables))
            continue;
        if (!strcmp(rows[i].method, wanted))
            return &rows[i];
        allow_add(ret_allow, rows[i].method);
        if (!strcmp(rows[i].method, "GET"))
            allow_add(ret_allow, "HEAD");
    }
    return NULL;
}

const char *route_table_unknown_query(const struct route_row *row, const struct target *target)
{
    for (size_t i = 0; i < target->query_count; i++) {
        const char *key = target->query[i].key;
        bool known = ((row->flags & ROUTE_CHANGES) && !strcmp(key, "dry_run")) ||
                     ((row->flags & ROUTE_CONFIRMABLE) && !strcmp(key, "confirm_s"));
        for (size_t j = 0; j < ROUTE_QUERY_MAX && row->query[j]; j++)
            known = known || !strcmp(key, row->query[j]);
        if (!known)
            return key;
    }
    return NULL;
}

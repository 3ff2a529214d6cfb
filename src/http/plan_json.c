/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_json.h"

#include "json_add.h"

#include <cjson/cJSON.h>

/* ---- what a step concerns ---------------------------------------------------------------------------------------- */

static bool add_address(cJSON *json, const struct step *step)
{
    char text[IP_PREFIX_TEXT_SIZE];
    return cJSON_AddStringToObject(json, "address", ip_prefix_print(&step->address, text));
}

static bool add_route(cJSON *json, const struct step *step)
{
    cJSON *route = route_to_json(&step->route);
    if (route && cJSON_AddItemToObject(json, "route", route))
        return true;
    cJSON_Delete(route);
    return false;
}

static bool add_create(cJSON *json, const struct step *step)
{
    const struct device_create *create = &step->create;
    cJSON *object = cJSON_AddObjectToObject(json, "create");
    return object && cJSON_AddStringToObject(object, "kind", device_kind_name(create->kind)) &&
           json_add_u64(object, "queues", create->queues) &&
           json_add_mac_or_null(object, "mac", create->has_mac, create->mac) &&
           json_add_u64_or_null(object, "owner", create->owner != OWNER_NONE, create->owner) &&
           json_add_u64_or_null(object, "group", create->group != OWNER_NONE, create->group);
}

static bool add_link(cJSON *json, const struct step *step)
{
    const struct link_settings *link = &step->link;
    const uint32_t set = link->set;
    cJSON *object = cJSON_AddObjectToObject(json, "link");
    return object && (!(set & LINK_MTU) || json_add_u64(object, "mtu", link->mtu)) &&
           (!(set & LINK_TXQUEUELEN) || json_add_u64(object, "txqueuelen", link->txqueuelen)) &&
           (!(set & LINK_MAC) || json_add_mac_or_null(object, "mac", true, link->mac)) &&
           (!(set & LINK_OWNER) || json_add_u64_or_null(object, "owner", link->owner != OWNER_NONE, link->owner)) &&
           (!(set & LINK_GROUP) || json_add_u64_or_null(object, "group", link->group != OWNER_NONE, link->group)) &&
           (!(set & LINK_MASTER) || json_add_text_or_null(object, "master", link->master)) &&
           (!(set & LINK_UP) || cJSON_AddBoolToObject(object, "up", link->up));
}

static bool add_worker(cJSON *json, const struct step *step)
{
    cJSON *config = step->worker.config ? cJSON_Parse(step->worker.config) : NULL;
    const cJSON *worker = cJSON_GetObjectItemCaseSensitive(config, "worker");
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(worker, "type"));
    cJSON *object = cJSON_AddObjectToObject(json, "worker");
    bool added = object && json_add_text_or_null(object, "type", type);
    cJSON_Delete(config);
    return added;
}

static bool (*const concerns[STEP_KIND_N])(cJSON *json, const struct step *step) = {
    [STEP_ROUTE_DELETE] = add_route,     [STEP_ROUTE_ADD] = add_route,         [STEP_ADDRESS_ADD] = add_address,
    [STEP_ADDRESS_DELETE] = add_address, [STEP_DEVICE_CREATE] = add_create,    [STEP_LINK_SET] = add_link,
    [STEP_WORKER_START] = add_worker,    [STEP_WORKER_CONFIGURE] = add_worker,
};

/* ---- the answer -------------------------------------------------------------------------------------------------- */

static bool add_step(cJSON *steps, const struct step *step)
{
    cJSON *json = cJSON_CreateObject();
    if (!json || !cJSON_AddItemToArray(steps, json)) {
        cJSON_Delete(json);
        return false;
    }
    return cJSON_AddStringToObject(json, "device", step->device.name) &&
           json_add_text_or_null(json, "netns", step->device.netns) &&
           cJSON_AddStringToObject(json, "operation", step_kind_name(step->kind)) &&
           cJSON_AddStringToObject(json, "disturbs", disturbance_name(step->disturbs)) &&
           (!concerns[step->kind] || concerns[step->kind](json, step));
}

cJSON *plan_to_json(const struct plan *plan, bool changed, const char *differences)
{
    enum disturbance worst = DISTURBS_NONE;
    for (size_t i = 0; i < plan->count; i++)
        if (plan->steps[i].disturbs > worst)
            worst = plan->steps[i].disturbs;

    cJSON *json = cJSON_CreateObject(), *steps = NULL;
    bool whole = json && cJSON_AddBoolToObject(json, "changed", changed) &&
                 cJSON_AddStringToObject(json, "disturbs", disturbance_name(worst)) &&
                 (steps = cJSON_AddArrayToObject(json, "steps"));
    for (size_t i = 0; whole && i < plan->count; i++)
        whole = add_step(steps, &plan->steps[i]);
    if (whole && cJSON_AddRawToObject(json, "differences", differences ? differences : "[]"))
        return json;
    cJSON_Delete(json);
    return NULL;
}

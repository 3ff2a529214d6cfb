/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "body.h"
#include "change_wait.h"
#include "handlers.h"

#include <cjson/cJSON.h>
#include <stdio.h>

void addresses_list(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = NULL;
    const struct snapshot_device *entry = devices_find(request, &snapshot);
    if (!entry || devices_is_unchanged(request, entry))
        return;
    const struct device *device = entry->stored.device;
    cJSON *items = cJSON_CreateArray();
    for (size_t i = 0; items && i < device->address_count; i++) {
        char text[IP_PREFIX_TEXT_SIZE];
        answer_item_add(&items, cJSON_CreateString(ip_prefix_print(&device->addresses[i], text)));
    }
    answer_items(request, items);
    devices_tag(request, entry);
}

/* NULL: the answer is given. */
static struct change *address_change(struct request *request, enum change_kind kind)
{
    struct err_list errors = {.count = 0};
    struct ip_prefix address;
    char text[IP_PREFIX_TEXT_SIZE];
    int length = snprintf(text, sizeof text, "%s/%s", request->variables[1], request->variables[2]);
    if (length >= (int)sizeof text || ip_prefix_parse(text, &address))
        err_list_add(&errors, ERR_INVALID_ADDRESS, "",
                     "the path must end in an address and its prefix length, like /192.168.3.11/24 or /fd00:3::11/64");
    else
        body_check_empty(&request->body, "the address stands in the path", &errors);
    if (errors.count) {
        answer_problems(request, &errors);
        return NULL;
    }
    struct change *change = change_wait_of_device(request, kind);
    if (change)
        change->address = address;
    return change;
}

void addresses_put(struct request *request)
{
    if (address_change(request, CHANGE_ADDRESS_PUT))
        change_wait_submit(request);
}

void addresses_delete(struct request *request)
{
    if (!address_change(request, CHANGE_ADDRESS_DELETE))
        return;
    request->wait->answer = change_wait_gone;
    change_wait_submit(request);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "adopt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int adopt_check(const struct observed_link *link, struct err *ret_err)
{
    if (link->kind == OBSERVED_OTHER)
        return err_set_kernel(ret_err, -EINVAL, "adopt", "%s is no TUN or TAP device", link->name);
    if (!link->persistent)
        return err_set_kernel(ret_err, -EINVAL, "adopt",
                              "the device %s is not persistent: it goes with the program that made it", link->name);
    if (link->has_alias)
        return err_set(ret_err, -EEXIST, ERR_FOREIGN_DEVICE, "/name",
                       link->ours ? "the device %s is a Tunwright's already"
                                  : "the device %s carries somebody's alias: that has to be taken off first",
                       link->name);
    if (!device_name_is_valid(link->name))
        return err_set(ret_err, -EINVAL, ERR_INVALID_NAME, "/name", "%s is no name that a document can have",
                       link->name);
    return 0;
}

/* Numbers that the kernel allows and a document does not. */
static int adopt_check_ranges(const struct observed_link *link, struct err *ret_err)
{
    if (link->queue_count > DEVICE_QUEUES_MAX)
        return err_set(ret_err, -EINVAL, ERR_OUT_OF_RANGE, "/queues", "%s has %u queues, a document at most %d",
                       link->name, link->queue_count, DEVICE_QUEUES_MAX);
    if (link->txqueuelen < 1 || link->txqueuelen > 1000000)
        return err_set(ret_err, -EINVAL, ERR_OUT_OF_RANGE, "/txqueuelen",
                       "%s has a txqueuelen of %u, a document 1 to 1000000", link->name, link->txqueuelen);
    return 0;
}

/* The kernel says how many queues there are only where somebody holds them. */
static uint32_t queues_of(const struct observed_link *link)
{
    if (!link->multi_queue)
        return 1;
    return link->queue_count > 2 ? link->queue_count : 2;
}

static int adopt_addresses(const struct observed_link *link, struct device *device, struct err *ret_err)
{
    char text[IP_PREFIX_TEXT_SIZE], pointer[ERR_POINTER_MAX];
    bool changed;

    for (size_t i = 0; i < link->address_count; i++) {
        const struct observed_address *seen = &link->addresses[i];

        if (seen->by_kernel)
            continue;
        if (seen->has_peer) {
            (void)snprintf(pointer, sizeof(pointer), "/addresses/%zu", device->address_count);
            return err_set(ret_err, -EINVAL, ERR_INVALID_ADDRESS, pointer,
                           "%s has a peer's address, which a document cannot say",
                           ip_prefix_print(&seen->prefix, text));
        }
        if (device_address_add(device, &seen->prefix, &changed) < 0)
            return err_no_memory(ret_err);
    }
    return 0;
}

static int adopt_routes(const struct observed_link *link, struct device *device, struct err *ret_err)
{
    bool changed;
    int r = 0;

    if (link->route_count + link->foreign_route_count > DEVICE_ROUTES_MAX)
        return err_set(ret_err, -EINVAL, ERR_LIMIT_EXCEEDED, "/routes", "a document has at most %d routes",
                       DEVICE_ROUTES_MAX);
    for (size_t i = 0; i < link->route_count && r == 0; i++)
        r = device_route_add(device, &link->routes[i], &changed);
    for (size_t i = 0; i < link->foreign_route_count && r == 0; i++)
        r = device_route_add(device, &link->foreign_routes[i].route, &changed);
    return r < 0 ? err_no_memory(ret_err) : 0;
}

/* What the document's own reader makes of it: all ranges and rules, and the form that everything else has. */
static int adopt_normalise(const struct device *device, struct device **ret_device, struct err *ret_err)
{
    struct err_list *errors = calloc(1, sizeof(*errors));
    char *text = device_print(device);
    int r = -ENOMEM;

    if (errors && text)
        r = device_parse(text, strlen(text), NULL, false, ret_device, errors);
    if (r < 0 && errors && errors->count > 0 && ret_err)
        *ret_err = errors->items[0];
    else if (r < 0)
        (void)err_no_memory(ret_err);
    free(errors);
    free(text);
    return r;
}

int adopt_document(const struct observed_link *link, struct device **ret_device, struct err *ret_err)
{
    CLEANUP(device_done) struct device *device = NULL;
    int r = adopt_check(link, ret_err);

    if (r == 0)
        r = adopt_check_ranges(link, ret_err);
    if (r < 0)
        return r;
    device = calloc(1, sizeof(*device));
    if (!device)
        return err_no_memory(ret_err);
    *device = (struct device){
        .kind = link->kind == OBSERVED_TAP ? DEVICE_TAP : DEVICE_TUN,
        .up = link->up,
        .mtu = link->mtu,
        .txqueuelen = link->txqueuelen,
        .queues = queues_of(link),
        .has_mac = link->kind == OBSERVED_TAP,
        .owner = link->owner,
        .group = link->group,
        .drift = DRIFT_REPORT,
    };
    if (device->has_mac)
        memcpy(device->mac, link->mac, sizeof(device->mac));
    (void)text_copy(device->name, sizeof(device->name), link->name);
    (void)text_copy(device->netns, sizeof(device->netns), link->netns);
    (void)text_copy(device->master, sizeof(device->master), link->master);
    r = adopt_addresses(link, device, ret_err);
    if (r == 0)
        r = adopt_routes(link, device, ret_err);
    return r < 0 ? r : adopt_normalise(device, ret_device, ret_err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void device_free(struct device *device)
{
    if (!device)
        return;
    free(device->labels);
    free(device->addresses);
    free(device->routes);
    free(device);
}

void device_done(struct device **device)
{
    device_free(*device);
    *device = NULL;
}

/* Copies an array into *ret_items, NULL for an empty one. */
static int items_copy(void *ret_items, const void *items, size_t count, size_t size)
{
    void *copy = NULL;
    if (count > 0) {
        copy = malloc(count * size);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, items, count * size);
    }
    memcpy(ret_items, &copy, sizeof(copy));
    return 0;
}

struct device *device_copy(const struct device *device)
{
    struct device *copy = malloc(sizeof(*copy));
    if (!copy)
        return NULL;
    *copy = *device;
    copy->labels = NULL;
    copy->addresses = NULL;
    copy->routes = NULL;
    if (items_copy(&copy->labels, device->labels, device->label_count, sizeof(*device->labels)) < 0 ||
        items_copy(&copy->addresses, device->addresses, device->address_count, sizeof(*device->addresses)) < 0 ||
        items_copy(&copy->routes, device->routes, device->route_count, sizeof(*device->routes)) < 0) {
        device_free(copy);
        return NULL;
    }
    return copy;
}

bool route_is_unattached(const struct route *route)
{
    return route->type != ROUTE_UNICAST;
}

bool route_key_equal(const struct route *a, const struct route *b)
{
    return ip_prefix_equal(&a->to, &b->to) && a->table == b->table && a->metric == b->metric;
}

bool route_equal(const struct route *a, const struct route *b)
{
    return route_key_equal(a, b) && a->type == b->type && ip_addr_equal(&a->via, &b->via) &&
           ip_addr_equal(&a->source, &b->source);
}

static int compare_u32(uint32_t a, uint32_t b)
{
    return a < b ? -1 : a > b;
}

int route_key_compare(const struct route *a, const struct route *b)
{
    int order = compare_u32(a->table, b->table);
    if (order == 0)
        order = compare_u32(a->to.addr.family, b->to.addr.family);
    if (order == 0)
        order = memcmp(a->to.addr.bytes, b->to.addr.bytes, sizeof(a->to.addr.bytes));
    if (order == 0)
        order = compare_u32(a->to.length, b->to.length);
    if (order == 0)
        order = compare_u32(a->metric, b->metric);
    return order;
}

/* The document's order. The kernel takes a gateway only where a route without one leads to it: those come first. */
static int route_compare(const struct route *a, const struct route *b)
{
    bool a_gateway = a->via.family != 0, b_gateway = b->via.family != 0;
    return a_gateway != b_gateway ? a_gateway - b_gateway : route_key_compare(a, b);
}

static int route_compare_items(const void *a, const void *b)
{
    return route_compare(a, b);
}

void device_routes_sort(struct device *device)
{
    if (device->route_count > 1)
        qsort(device->routes, device->route_count, sizeof(*device->routes), route_compare_items);
}

void route_normalise(struct route *route)
{
    if (route->to.addr.family == AF_INET6 && route->metric == 0)
        route->metric = ROUTE_METRIC_IPV6;
}

static bool udp_offload_equal(const struct udp_offload *a, const struct udp_offload *b)
{
    return a->tso == b->tso && a->uso == b->uso && a->merge == b->merge && a->udp_segment == b->udp_segment &&
           a->udp_gro == b->udp_gro && a->checksum == b->checksum;
}

bool worker_config_equal(const struct worker_config *a, const struct worker_config *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case WORKER_MONITOR:
        return a->monitor.log_rate == b->monitor.log_rate;
    case WORKER_UDP:
        return endpoint_equal(&a->udp.local, &b->udp.local) && endpoint_equal(&a->udp.remote, &b->udp.remote) &&
               a->udp.header == b->udp.header && a->udp.mark == b->udp.mark &&
               strcmp(a->udp.interface, b->udp.interface) == 0 && udp_offload_equal(&a->udp.offload, &b->udp.offload);
    case WORKER_NONE:
    case WORKER_ECHO:
    case WORKER_TYPE_N:
        break;
    }
    return true;
}

static bool labels_equal(const struct device *a, const struct device *b)
{
    if (a->label_count != b->label_count)
        return false;
    for (size_t i = 0; i < a->label_count; i++) {
        if (strcmp(a->labels[i].key, b->labels[i].key) != 0 || strcmp(a->labels[i].value, b->labels[i].value) != 0)
            return false;
    }
    return true;
}

static bool addresses_equal(const struct device *a, const struct device *b)
{
    if (a->address_count != b->address_count)
        return false;
    for (size_t i = 0; i < a->address_count; i++) {
        if (!ip_prefix_equal(&a->addresses[i], &b->addresses[i]))
            return false;
    }
    return true;
}

static bool routes_equal(const struct device *a, const struct device *b)
{
    if (a->route_count != b->route_count)
        return false;
    for (size_t i = 0; i < a->route_count; i++) {
        if (!route_equal(&a->routes[i], &b->routes[i]))
            return false;
    }
    return true;
}

bool device_equal(const struct device *a, const struct device *b)
{
    return strcmp(a->name, b->name) == 0 && a->kind == b->kind && a->up == b->up && a->mtu == b->mtu &&
           a->txqueuelen == b->txqueuelen && a->queues == b->queues && a->has_mac == b->has_mac &&
           (!a->has_mac || memcmp(a->mac, b->mac, sizeof(a->mac)) == 0) && a->owner == b->owner &&
           a->group == b->group && strcmp(a->netns, b->netns) == 0 && strcmp(a->master, b->master) == 0 &&
           a->drift == b->drift && labels_equal(a, b) && addresses_equal(a, b) && routes_equal(a, b) &&
           worker_config_equal(&a->worker, &b->worker);
}

uint32_t device_default_mtu(enum device_kind kind, const struct worker_config *worker)
{
    enum {
        WIRE_MTU = 1500,
        IPV4_HEADER = 20,
        IPV6_HEADER = 40,
        UDP_HEADER = 8,
        GUE_HEADER = 12, /* 4, the private flags, and the field of the remote checksum offload */
        ETHERNET_HEADER = 14,
    };

    if (worker->type != WORKER_UDP)
        return WIRE_MTU;
    uint32_t outer = UDP_HEADER + (worker->udp.remote.addr.family == AF_INET6 ? IPV6_HEADER : IPV4_HEADER);
    if (worker->udp.header == UDP_HEADER_GUE)
        outer += GUE_HEADER;
    return WIRE_MTU - outer - (kind == DEVICE_TAP ? ETHERNET_HEADER : 0);
}

void device_derived_mac(const struct uuid *uuid, uint8_t ret_mac[static 6])
{
    memcpy(ret_mac, uuid->bytes + sizeof(uuid->bytes) - 6, 6);
    ret_mac[0] = (uint8_t)((ret_mac[0] & 0xfc) | 0x02);
}

/* Puts one more of `size` bytes at `index`; returns the array, which may have moved, or NULL when memory ran out (and
 * then it is as it was). The arrays have no spare capacity: edits are rare and small. */
static void *items_insert(void *items, size_t *count, size_t index, size_t size, const void *item)
{
    char *grown = realloc(items, (*count + 1) * size);
    if (!grown)
        return NULL;
    memmove(grown + (index + 1) * size, grown + index * size, (*count - index) * size);
    memcpy(grown + index * size, item, size);
    (*count)++;
    return grown;
}

static void items_remove(void *items, size_t *count, size_t index, size_t size)
{
    char *bytes = items;
    memmove(bytes + index * size, bytes + (index + 1) * size, (*count - index - 1) * size);
    (*count)--;
}

int device_address_add(struct device *device, const struct ip_prefix *address, bool *ret_changed)
{
    for (size_t i = 0; i < device->address_count; i++) {
        if (ip_prefix_equal(&device->addresses[i], address)) {
            *ret_changed = false;
            return 0;
        }
    }
    struct ip_prefix *addresses =
        items_insert(device->addresses, &device->address_count, device->address_count, sizeof(*address), address);
    if (!addresses)
        return -ENOMEM;
    device->addresses = addresses;
    *ret_changed = true;
    return 0;
}

int device_address_remove(struct device *device, const struct ip_prefix *address)
{
    for (size_t i = 0; i < device->address_count; i++) {
        if (ip_prefix_equal(&device->addresses[i], address)) {
            items_remove(device->addresses, &device->address_count, i, sizeof(*address));
            return 0;
        }
    }
    return -ENOENT;
}

/* route_count where there is none. */
static size_t device_route_index(const struct device *device, const struct route *key)
{
    size_t i = 0;
    while (i < device->route_count && !route_key_equal(&device->routes[i], key))
        i++;
    return i;
}

int device_route_add(struct device *device, const struct route *route, bool *ret_changed)
{
    struct route wanted = *route;
    route_normalise(&wanted);

    size_t index = device_route_index(device, &wanted);
    if (index < device->route_count) {
        *ret_changed = !route_equal(&device->routes[index], &wanted);
        device->routes[index] = wanted;
        device_routes_sort(device);
        return 0;
    }
    for (index = 0; index < device->route_count && route_compare(&device->routes[index], &wanted) < 0;)
        index++;
    struct route *routes = items_insert(device->routes, &device->route_count, index, sizeof(wanted), &wanted);
    if (!routes)
        return -ENOMEM;
    device->routes = routes;
    *ret_changed = true;
    return 0;
}

int device_route_remove(struct device *device, const struct route *key)
{
    struct route wanted = *key;
    route_normalise(&wanted);

    size_t index = device_route_index(device, &wanted);
    if (index == device->route_count)
        return -ENOENT;
    items_remove(device->routes, &device->route_count, index, sizeof(wanted));
    return 0;
}

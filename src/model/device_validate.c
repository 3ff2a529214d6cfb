/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the document, on structs. Two layers: the rules of one entry by itself (`…_validate`), which whoever
 * reads one entry from JSON applies at once, and the rules between entries and fields (device_validate_between). After
 * an edit device_validate applies both.
 */
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IPV6_MTU_MIN 1280 /* RFC 8200, section 5; below it the kernel takes IPv6 away from the device */

static const char *family_name(const struct ip_addr *addr)
{
    return addr->family == AF_INET6 ? "IPv6" : "IPv4";
}

static bool ip_addr_is_limited_broadcast(const struct ip_addr *addr)
{
    static const uint8_t ones[4] = {0xff, 0xff, 0xff, 0xff};
    return addr->family == AF_INET && memcmp(addr->bytes, ones, sizeof(ones)) == 0;
}

static bool ip_addr_is_link_local_ipv6(const struct ip_addr *addr)
{
    return addr->family == AF_INET6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

/* What keeps an address from belonging to one host, as it stands in a message; NULL where nothing does. */
static const char *ip_addr_obstacle(const struct ip_addr *addr)
{
    if (ip_addr_is_any(addr))
        return "is the unspecified address";
    if (ip_addr_is_multicast(addr))
        return "is a multicast address";
    if (ip_addr_is_limited_broadcast(addr))
        return "is the broadcast address";
    return NULL;
}

/* ---- one entry by itself ----------------------------------------------------------------------------------------- */

int address_validate(const struct ip_prefix *address, const struct fault_path *path, struct err_list *errors)
{
    char text[IP_PREFIX_TEXT_SIZE];

    if (address->addr.family == 0)
        return 0;
    const char *obstacle = ip_addr_obstacle(&address->addr);
    if (obstacle) {
        return fault_add(errors, path, NULL, ERR_INVALID_ADDRESS, "%s %s: a device takes a unicast address",
                         ip_prefix_print(address, text), obstacle);
    }
    if (address->length == 0) {
        return fault_add(errors, path, NULL, ERR_INVALID_ADDRESS, "%s: the prefix length must be 1 to %u",
                         ip_prefix_print(address, text), address->addr.family == AF_INET ? 32U : 128U);
    }
    return 0;
}

/* `via` or `source` of a route. */
static int route_addr_validate(const struct route *route, const struct ip_addr *addr, const char *member,
                               const struct fault_path *path, struct err_list *errors)
{
    char text[IP_ADDR_TEXT_SIZE];

    if (addr->family == 0)
        return 0;
    if (route_is_unattached(route)) {
        return fault_add(errors, path, member, ERR_INCOMPATIBLE, "a route of type %s leads nowhere: it has no %s",
                         route_type_name(route->type), member);
    }
    const char *obstacle = ip_addr_obstacle(addr);
    if (obstacle) {
        return fault_add(errors, path, member, ERR_INVALID_ADDRESS, "%s %s: this must be a unicast address",
                         ip_addr_print(addr, text), obstacle);
    }
    if (route->to.addr.family != 0 && addr->family != route->to.addr.family) {
        return fault_add(errors, path, member, ERR_INCOMPATIBLE,
                         "%s is an %s address, and the route is to an %s prefix", ip_addr_print(addr, text),
                         family_name(addr), family_name(&route->to.addr));
    }
    return 0;
}

int route_validate(const struct route *route, const struct fault_path *path, struct err_list *errors)
{
    int result = 0;

    if (route->to.addr.family != 0 && ip_prefix_has_host_bits(&route->to)) {
        char given[IP_PREFIX_TEXT_SIZE], meant[IP_PREFIX_TEXT_SIZE];
        struct ip_prefix network = ip_prefix_network(&route->to);
        result =
            fault_add(errors, path, "to", ERR_HOST_BITS_SET, "%s has bits set beyond its length: the network is %s",
                      ip_prefix_print(&route->to, given), ip_prefix_print(&network, meant));
    }
    if (route->table == 0 || route->table == ROUTE_TABLE_LOCAL) {
        result = fault_add(errors, path, "table", ERR_OUT_OF_RANGE,
                           "table %u is the kernel's own: 1 to 4294967295 without 255 are free, 254 is the main table",
                           (unsigned)route->table);
    }
    if (route_addr_validate(route, &route->via, "via", path, errors) < 0)
        result = -EINVAL;
    if (route_addr_validate(route, &route->source, "source", path, errors) < 0)
        result = -EINVAL;
    return result;
}

static int worker_endpoint_validate(const struct endpoint *endpoint, const char *member, bool may_be_any,
                                    const struct fault_path *path, struct err_list *errors)
{
    char text[ENDPOINT_TEXT_SIZE];
    const struct ip_addr *addr = &endpoint->addr;

    if (addr->family == 0)
        return 0;
    const char *obstacle = ip_addr_obstacle(addr);
    if (may_be_any && ip_addr_is_any(addr))
        obstacle = NULL;
    if (ip_addr_is_link_local_ipv6(addr))
        obstacle = "is a link-local address, which means nothing without an interface";
    if (obstacle) {
        return fault_add(errors, path, member, ERR_INVALID_ADDRESS, "%s %s: \"%s\" must be a unicast address%s",
                         endpoint_print(endpoint, text), obstacle, member, may_be_any ? ", or 0.0.0.0 or [::]" : "");
    }
    return 0;
}

static int worker_udp_validate(const struct worker_config *worker, const struct fault_path *path,
                               struct err_list *errors)
{
    const struct endpoint *local = &worker->udp.local, *remote = &worker->udp.remote;
    char text[ENDPOINT_TEXT_SIZE];
    int result = 0;

    if (worker_endpoint_validate(local, "local", true, path, errors) < 0)
        result = -EINVAL;
    if (worker_endpoint_validate(remote, "remote", false, path, errors) < 0)
        result = -EINVAL;
    if (local->addr.family == 0 || remote->addr.family == 0)
        return result;
    if (local->addr.family != remote->addr.family) {
        return fault_add(errors, path, "remote", ERR_INCOMPATIBLE, "%s is an %s address, and \"local\" an %s one",
                         endpoint_print(remote, text), family_name(&remote->addr), family_name(&local->addr));
    }
    if (endpoint_equal(local, remote)) {
        return fault_add(errors, path, "remote", ERR_INCOMPATIBLE, "%s is \"local\" too: a tunnel has two ends",
                         endpoint_print(remote, text));
    }
    return result;
}

/* The last port of a worker with so many queues. */
static int worker_ports_validate(const struct endpoint *endpoint, const char *member, uint32_t queues,
                                 const struct fault_path *path, struct err_list *errors)
{
    char text[ENDPOINT_TEXT_SIZE];

    if (endpoint->addr.family == 0 || queues == 0 || endpoint->port + queues - 1 <= UINT16_MAX)
        return 0;
    return fault_add(errors, path, member, ERR_OUT_OF_RANGE,
                     "%s: %u queues take as many ports from there on, and the last there is is 65535",
                     endpoint_print(endpoint, text), (unsigned)queues);
}

int worker_validate(const struct worker_config *worker, const struct fault_path *path, struct err_list *errors)
{
    return worker->type == WORKER_UDP ? worker_udp_validate(worker, path, errors) : 0;
}

/* ---- between fields and entries ---------------------------------------------------------------------------------- */

static int device_kind_validate(const struct device *device, const struct fault_path *path, struct err_list *errors)
{
    uint32_t mtu_max = device->kind == DEVICE_TAP ? DEVICE_MTU_MAX_TAP : DEVICE_MTU_MAX_TUN;
    int result = 0;

    if (device->mtu < DEVICE_MTU_MIN || device->mtu > mtu_max) {
        result = fault_add(errors, path, "mtu", ERR_OUT_OF_RANGE, "%u: the mtu of a %s device is %u to %u bytes",
                           (unsigned)device->mtu, device_kind_name(device->kind), DEVICE_MTU_MIN, (unsigned)mtu_max);
    }
    if (device->kind == DEVICE_TAP)
        return result;
    if (device->has_mac) {
        result = fault_add(errors, path, "mac", ERR_INCOMPATIBLE,
                           "a tun device carries IP packets and has no Ethernet address: only tap has a mac");
    }
    if (device->master[0] != '\0') {
        result = fault_add(errors, path, "master", ERR_INCOMPATIBLE,
                           "a tun device carries IP packets and cannot be bridged: only tap has a master");
    }
    return result;
}

static int device_master_validate(const struct device *device, const struct fault_path *path, struct err_list *errors)
{
    if (device->master[0] == '\0' || strcmp(device->master, device->name) != 0)
        return 0;
    return fault_add(errors, path, "master", ERR_INCOMPATIBLE, "a device cannot be its own master");
}

/* One fault for each entry that is IPv6: whoever raises the mtu or drops the entries must know them all. */
static int device_ipv6_validate(const struct device *device, const struct fault_path *path, struct err_list *errors)
{
    struct fault_path addresses = {.parent = path, .name = "addresses"}, routes = {.parent = path, .name = "routes"};
    int result = 0;

    if (device->mtu >= IPV6_MTU_MIN)
        return 0;
    for (size_t i = 0; i < device->address_count; i++) {
        struct fault_path entry = {.parent = &addresses, .index = i};
        if (device->addresses[i].addr.family == AF_INET6) {
            result = fault_add(errors, &entry, NULL, ERR_INCOMPATIBLE, "IPv6 needs an mtu of at least %d, and it is %u",
                               IPV6_MTU_MIN, (unsigned)device->mtu);
        }
    }
    for (size_t i = 0; i < device->route_count; i++) {
        struct fault_path entry = {.parent = &routes, .index = i};
        if (device->routes[i].to.addr.family == AF_INET6 && !route_is_unattached(&device->routes[i])) {
            result = fault_add(errors, &entry, NULL, ERR_INCOMPATIBLE, "IPv6 needs an mtu of at least %d, and it is %u",
                               IPV6_MTU_MIN, (unsigned)device->mtu);
        }
    }
    return result;
}

static int device_count_validate(size_t count, size_t most, const struct fault_path *path, const char *member,
                                 struct err_list *errors)
{
    if (count <= most)
        return 0;
    return fault_add(errors, path, member, ERR_LIMIT_EXCEEDED, "%zu entries: there can be %zu at most", count, most);
}

/* The kernel keeps an IPv4 address once for each prefix length, an IPv6 address once. */
static bool address_same(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->addr.family != 0 && ip_addr_equal(&a->addr, &b->addr) &&
           (a->addr.family == AF_INET6 || a->length == b->length);
}

static int device_addresses_validate(const struct device *device, const struct fault_path *path,
                                     struct err_list *errors)
{
    struct fault_path addresses = {.parent = path, .name = "addresses"};
    char text[IP_PREFIX_TEXT_SIZE];

    int result = device_count_validate(device->address_count, DEVICE_ADDRESSES_MAX, path, "addresses", errors);
    if (result < 0)
        return result;
    for (size_t i = 1; i < device->address_count; i++) {
        struct fault_path entry = {.parent = &addresses, .index = i};
        size_t twin = 0;
        while (twin < i && !address_same(&device->addresses[twin], &device->addresses[i]))
            twin++;
        if (twin < i) {
            result = fault_add(errors, &entry, NULL, ERR_DUPLICATE, "%s is the same address as /addresses/%zu",
                               ip_prefix_print(&device->addresses[i], text), twin);
        }
    }
    return result;
}

/* Indexes into the routes (`context`), by key, then by place. */
static int route_index_compare(const void *a, const void *b, void *context)
{
    const struct route *routes = context;
    size_t left = *(const size_t *)a, right = *(const size_t *)b;

    int order = route_key_compare(&routes[left], &routes[right]);
    if (order == 0)
        order = left < right ? -1 : left > right;
    return order;
}

static int device_routes_validate(const struct device *device, const struct fault_path *path, struct err_list *errors)
{
    struct fault_path routes = {.parent = path, .name = "routes"};

    int result = device_count_validate(device->route_count, DEVICE_ROUTES_MAX, path, "routes", errors);
    if (result < 0 || device->route_count < 2)
        return result;
    size_t *order = calloc(device->route_count, sizeof(*order));
    if (!order) {
        struct err e;
        result = err_no_memory(&e);
        err_list_add_err(errors, &e);
        return result;
    }
    for (size_t i = 0; i < device->route_count; i++)
        order[i] = i;
    qsort_r(order, device->route_count, sizeof(*order), route_index_compare, device->routes);
    for (size_t i = 1; i < device->route_count; i++) {
        struct fault_path entry = {.parent = &routes, .index = order[i]};
        const struct route *route = &device->routes[order[i]];
        char text[IP_PREFIX_TEXT_SIZE];
        if (route->to.addr.family != 0 && route_key_equal(&device->routes[order[i - 1]], route)) {
            result = fault_add(
                errors, &entry, NULL, ERR_DUPLICATE, "%s in table %u with metric %u stands in /routes/%zu already",
                ip_prefix_print(&route->to, text), (unsigned)route->table, (unsigned)route->metric, order[i - 1]);
        }
    }
    free(order);
    return result;
}

/* The udp worker with the device around it. */
static int device_udp_validate(const struct device *device, const struct fault_path *path, struct err_list *errors)
{
    struct fault_path worker = {.parent = path, .name = "worker"};
    const struct endpoint *local = &device->worker.udp.local, *remote = &device->worker.udp.remote;
    const char *interface = device->worker.udp.interface;
    char text[ENDPOINT_TEXT_SIZE];
    int result = 0;

    if (worker_ports_validate(local, "local", device->queues, &worker, errors) < 0)
        result = -EINVAL;
    if (worker_ports_validate(remote, "remote", device->queues, &worker, errors) < 0)
        result = -EINVAL;
    int apart = abs(local->port - remote->port);
    if (apart != 0 && (uint32_t)apart < device->queues && ip_addr_equal(&local->addr, &remote->addr)) {
        result = fault_add(errors, &worker, "remote", ERR_INCOMPATIBLE,
                           "%s: with %u queues some of its ports are those of \"local\" too",
                           endpoint_print(remote, text), (unsigned)device->queues);
    }
    if (device->worker.udp.header == UDP_HEADER_GUE && device->kind == DEVICE_TAP) {
        result = fault_add(errors, &worker, "header", ERR_INCOMPATIBLE,
                           "the header gue is for IP packets: a tap device carries Ethernet frames");
    }
    if (interface[0] != '\0' && device->netns[0] == '\0' && strcmp(interface, device->name) == 0) {
        result = fault_add(errors, &worker, "interface", ERR_INCOMPATIBLE,
                           "%s is the device itself: its packets would go round for ever", interface);
    }
    return result;
}

int device_validate_between(const struct device *device, const struct fault_path *path, struct err_list *errors)
{
    int result = 0;

    if (device->kind != DEVICE_KIND_N && device_kind_validate(device, path, errors) < 0)
        result = -EINVAL;
    if (device_master_validate(device, path, errors) < 0)
        result = -EINVAL;
    if (device->worker.type == WORKER_UDP && device_udp_validate(device, path, errors) < 0)
        result = -EINVAL;
    if (device_ipv6_validate(device, path, errors) < 0)
        result = -EINVAL;
    if (device_count_validate(device->label_count, DEVICE_LABELS_MAX, path, "labels", errors) < 0)
        result = -EINVAL;
    if (device_addresses_validate(device, path, errors) < 0)
        result = -EINVAL;
    int routes_result = device_routes_validate(device, path, errors);
    return routes_result < 0 ? routes_result : result;
}

int device_validate(const struct device *device, struct err_list *errors)
{
    struct fault_path addresses = {.name = "addresses"}, routes = {.name = "routes"}, worker = {.name = "worker"};
    int result = 0;

    for (size_t i = 0; i < device->address_count; i++) {
        struct fault_path entry = {.parent = &addresses, .index = i};
        if (address_validate(&device->addresses[i], &entry, errors) < 0)
            result = -EINVAL;
    }
    for (size_t i = 0; i < device->route_count; i++) {
        struct fault_path entry = {.parent = &routes, .index = i};
        if (route_validate(&device->routes[i], &entry, errors) < 0)
            result = -EINVAL;
    }
    if (worker_validate(&device->worker, &worker, errors) < 0)
        result = -EINVAL;
    int between_result = device_validate_between(device, NULL, errors);
    return between_result < 0 ? between_result : result;
}

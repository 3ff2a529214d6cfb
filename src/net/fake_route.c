/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake kernel's routes. Unlike the real one it knows no routing rules, and makes nobody wait for duplicate address
 * detection: the real one refuses a route whose source is an IPv6 address that is still tentative (see net_route_add).
 */
#include "fake.h"
#include "fake_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TABLE_MAIN            254
#define METRIC_CONNECTED_IPV6 256

static bool prefix_contains(const struct ip_prefix *prefix, const struct ip_addr *addr)
{
    if (prefix->addr.family != addr->family)
        return false;
    struct ip_prefix of_addr = {.addr = *addr, .length = prefix->length};
    struct ip_prefix a = ip_prefix_network(prefix), b = ip_prefix_network(&of_addr);
    return ip_prefix_equal(&a, &b);
}

static bool addr_is_link_local6(const struct ip_addr *addr)
{
    return addr->family == AF_INET6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

static bool addr_is_local(const struct kernel_fake *fake, const struct observed_link *on, const struct ip_addr *addr)
{
    for (size_t i = 0; i < fake->state.link_count; i++) {
        const struct observed_link *link = &fake->state.links[i];
        /* a link-local address means something on its own link only */
        if (strcmp(link->netns, on->netns) != 0 || (addr_is_link_local6(addr) && link != on))
            continue;
        for (size_t k = 0; k < link->address_count; k++) {
            if (ip_addr_equal(&link->addresses[k].prefix.addr, addr))
                return true;
        }
    }
    return false;
}

/* Whether a gateway can be reached directly: it is in a subnet of the device, or behind a route of its without a
 * gateway. */
static bool addr_is_on_link(const struct observed_link *link, const struct ip_addr *addr, uint32_t table)
{
    for (size_t i = 0; link->up && i < link->address_count; i++) {
        if (prefix_contains(&link->addresses[i].prefix, addr))
            return true;
    }
    for (size_t i = 0; i < link->route_count; i++) {
        const struct route *route = &link->routes[i];
        if (route->via.family == 0 && (route->table == TABLE_MAIN || route->table == table) &&
            prefix_contains(&route->to, addr))
            return true;
    }
    return false;
}

static int next_hop_check(const struct kernel_fake *fake, const struct observed_link *link, const struct route *route)
{
    bool ipv6 = route->to.addr.family == AF_INET6;
    if (ipv6 && route->via.family == AF_INET6) {
        if (addr_is_local(fake, link, &route->via))
            return -EINVAL;
        if (!addr_is_link_local6(&route->via) && !addr_is_on_link(link, &route->via, route->table))
            return -EHOSTUNREACH;
    }
    if (ipv6 && link->mtu < FAKE_MTU_MIN_IPV6)
        return -ENODEV;
    if (route->via.family == AF_INET && !addr_is_on_link(link, &route->via, route->table))
        return -ENETUNREACH;
    return link->up ? 0 : -ENETDOWN;
}

/* The kernel's own routes, which are not shown, and still in the way. */
static bool route_is_connected(const struct observed_link *link, const struct route *route)
{
    bool ipv4 = route->to.addr.family == AF_INET;
    if (!link->up || route->table != TABLE_MAIN || route->metric != (ipv4 ? 0 : METRIC_CONNECTED_IPV6))
        return false;
    for (size_t i = 0; i < link->address_count; i++) {
        struct ip_prefix subnet = ip_prefix_network(&link->addresses[i].prefix);
        if (ip_prefix_equal(&subnet, &route->to) && !(ipv4 && subnet.length == 32))
            return true;
    }
    return false;
}

static bool route_is_taken(const struct kernel_fake *fake, const char *netns, const struct route *route)
{
    for (size_t i = 0; i < fake->state.link_count; i++) {
        const struct observed_link *link = &fake->state.links[i];
        if (strcmp(link->netns, netns) != 0)
            continue;
        if (route_is_connected(link, route))
            return true;
        for (size_t k = 0; k < link->route_count; k++) {
            if (route_key_equal(&link->routes[k], route))
                return true;
        }
        for (size_t k = 0; k < link->foreign_route_count; k++) {
            if (route_key_equal(&link->foreign_routes[k].route, route))
                return true;
        }
    }
    for (size_t i = 0; !netns[0] && i < fake->state.unattached_count; i++) {
        if (route_key_equal(&fake->state.unattached[i], route))
            return true;
    }
    return false;
}

static int route_append(struct kernel_fake *fake, struct observed_link *link, const struct route *route)
{
    struct observed *state = &fake->state;
    if (!link) {
        int error = array_grow((void **)&state->unattached, &state->unattached_capacity, state->unattached_count,
                               sizeof *state->unattached);
        if (!error)
            state->unattached[state->unattached_count++] = *route;
        return error;
    }
    struct route *grown = realloc(link->routes, (link->route_count + 1) * sizeof *link->routes);
    if (!grown)
        return -ENOMEM;
    link->routes = grown;
    link->routes[link->route_count++] = *route;
    return 0;
}

void fake_routes_drop(struct observed_link *link, int family)
{
    size_t kept = 0;
    for (size_t i = 0; i < link->route_count; i++) {
        if (family && link->routes[i].to.addr.family != family)
            link->routes[kept++] = link->routes[i];
    }
    link->route_count = kept;
    kept = 0;
    for (size_t i = 0; i < link->foreign_route_count; i++) {
        if (family && link->foreign_routes[i].route.to.addr.family != family)
            link->foreign_routes[kept++] = link->foreign_routes[i];
    }
    link->foreign_route_count = kept;
}

int fake_route_add(struct kernel_fake *fake, const struct device_key *key, const struct route *route,
                   struct err *ret_err)
{
    char text[IP_PREFIX_TEXT_SIZE];
    struct observed_link *link = fake_link_find(fake, key, ret_err);
    if (!link)
        return -ENODEV;
    bool unattached = route_is_unattached(route);
    int error = unattached ? 0 : next_hop_check(fake, link, route);
    if (!error && route->source.family && !addr_is_local(fake, link, &route->source))
        error = -EINVAL;
    if (!error && route_is_taken(fake, key->netns, route))
        error = -EEXIST;
    if (error)
        return err_set_kernel(ret_err, error, "RTM_NEWROUTE", "cannot add the route to %s",
                              ip_prefix_print(&route->to, text));
    return route_append(fake, unattached ? NULL : link, route) ? err_no_memory(ret_err) : 0;
}

/* One that somebody else made, through a device of ours. */
static int foreign_route_delete(struct observed_link *link, const struct route *route, uint8_t protocol)
{
    for (size_t i = 0; i < link->foreign_route_count; i++) {
        struct foreign_route *other = &link->foreign_routes[i];
        if (other->protocol != protocol || !route_key_equal(&other->route, route))
            continue;
        memmove(other, other + 1, (link->foreign_route_count - i - 1) * sizeof *other);
        link->foreign_route_count--;
        return 0;
    }
    return -ESRCH;
}

int fake_route_delete(struct kernel_fake *fake, const struct device_key *key, const struct route *route,
                      uint8_t protocol, struct err *ret_err)
{
    char text[IP_PREFIX_TEXT_SIZE];
    struct observed_link *link = NULL;
    /* one without a device may outlive the device that it came with */
    if (!route_is_unattached(route)) {
        link = fake_link_find(fake, key, ret_err);
        if (!link)
            return -ENODEV;
        if (protocol != NET_PROTOCOL && foreign_route_delete(link, route, protocol) == 0)
            return 0;
    }
    if (protocol != NET_PROTOCOL)
        return err_set_kernel(ret_err, -ESRCH, "RTM_DELROUTE", "cannot delete the route to %s",
                              ip_prefix_print(&route->to, text));
    struct route *routes = link ? link->routes : fake->state.unattached;
    size_t *count = link ? &link->route_count : &fake->state.unattached_count;
    size_t found = *count;
    /* IPv4 takes a metric of 0 for any, and the lowest first */
    for (size_t i = 0; i < *count; i++) {
        const struct route *other = &routes[i];
        bool any_metric = route->metric == 0 && route->to.addr.family == AF_INET;
        if (ip_prefix_equal(&other->to, &route->to) && other->table == route->table && other->type == route->type &&
            (any_metric || other->metric == route->metric) && (found == *count || other->metric < routes[found].metric))
            found = i;
    }
    if (found == *count)
        return err_set_kernel(ret_err, -ESRCH, "RTM_DELROUTE", "cannot delete the route to %s",
                              ip_prefix_print(&route->to, text));
    memmove(&routes[found], &routes[found + 1], (*count - found - 1) * sizeof *routes);
    --*count;
    return 0;
}

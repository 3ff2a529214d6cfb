/* SPDX-License-Identifier: Apache-2.0 */
/* The fake kernel's addresses. promote_secondaries is on, as net_tun_create leaves it. */
#include "fake.h"
#include "fake_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int address_append(struct observed_link *link, const struct observed_address *address)
{
    struct observed_address *grown = realloc(link->addresses, (link->address_count + 1) * sizeof *link->addresses);
    if (!grown)
        return -ENOMEM;
    link->addresses = grown;
    link->addresses[link->address_count++] = *address;
    return 0;
}

int fake_link_local_add(struct observed_link *link)
{
    struct observed_address address = {.prefix = {.addr = {.family = AF_INET6, .bytes = {0xfe, 0x80}}, .length = 64},
                                       .by_kernel = true};
    uint8_t *bytes = address.prefix.addr.bytes;
    for (unsigned i = 0; i < 4; i++)
        bytes[15 - i] = (uint8_t)(link->ifindex >> 8 * i);
    for (size_t i = 0; i < link->address_count; i++) {
        if (ip_addr_equal(&link->addresses[i].prefix.addr, &address.prefix.addr))
            return 0;
    }
    return address_append(link, &address);
}

static bool address_is_local(const struct kernel_fake *fake, const char *netns, const struct ip_addr *addr)
{
    for (size_t i = 0; i < fake->state.link_count; i++) {
        const struct observed_link *link = &fake->state.links[i];
        for (size_t k = 0; strcmp(link->netns, netns) == 0 && k < link->address_count; k++) {
            if (ip_addr_equal(&link->addresses[k].prefix.addr, addr))
                return true;
        }
    }
    return false;
}

/* An address is nowhere any more: an IPv4 route that has it as its source goes, through whichever device; an IPv6 one
 * stays and loses its source (on older kernels only one through the device that had the address). */
static void source_gone(struct kernel_fake *fake, const struct observed_link *from, const struct ip_addr *addr)
{
    if (address_is_local(fake, from->netns, addr))
        return;
    for (size_t i = 0; i < fake->state.link_count; i++) {
        struct observed_link *link = &fake->state.links[i];
        size_t kept = 0;
        if (strcmp(link->netns, from->netns) != 0)
            continue;
        for (size_t k = 0; k < link->route_count; k++) {
            struct route *route = &link->routes[k];
            bool has = ip_addr_equal(&route->source, addr);
            if (has && addr->family == AF_INET)
                continue;
            if (has)
                route->source = (struct ip_addr){.family = 0};
            link->routes[kept++] = *route;
        }
        link->route_count = kept;
    }
}

static void address_remove(struct kernel_fake *fake, struct observed_link *link, size_t index)
{
    struct observed_address gone = link->addresses[index];
    int family = gone.prefix.addr.family;
    memmove(&link->addresses[index], &link->addresses[index + 1],
            (link->address_count - index - 1) * sizeof *link->addresses);
    link->address_count--;
    bool last = true, promoted = false;
    for (size_t i = 0; i < link->address_count; i++) {
        struct observed_address *address = &link->addresses[i];
        if (address->prefix.addr.family != family)
            continue;
        last = false;
        if (!gone.secondary && !promoted && address->secondary &&
            ip_prefix_same_network(&address->prefix, &gone.prefix)) {
            address->secondary = false;
            promoted = true;
        }
    }
    source_gone(fake, link, &gone.prefix.addr);
    /* with the last IPv4 address, IPv4 as a whole leaves the device (net/ipv4: fib_disable_ip) */
    if (family == AF_INET && last)
        fake_routes_drop(link, AF_INET);
}

void fake_addresses_drop(struct kernel_fake *fake, struct observed_link *link, int family)
{
    for (size_t i = link->address_count; i-- > 0;) {
        if (link->addresses[i].prefix.addr.family == family)
            address_remove(fake, link, i);
    }
}

int fake_address_add(struct kernel_fake *fake, const struct device_key *key, const struct ip_prefix *address,
                     struct err *ret_err)
{
    char text[IP_PREFIX_TEXT_SIZE];
    struct observed_link *link = fake_link_find(fake, key, ret_err);
    if (!link)
        return -ENODEV;
    struct observed_address added = {.prefix = *address, .ours = true};
    bool ipv4 = address->addr.family == AF_INET;
    int error = !ipv4 && link->mtu < FAKE_MTU_MIN_IPV6 ? -EINVAL : 0;
    for (size_t i = 0; !error && i < link->address_count; i++) {
        const struct ip_prefix *other = &link->addresses[i].prefix;
        /* IPv4 takes the same address once for each length */
        if (ip_addr_equal(&other->addr, &address->addr) && (!ipv4 || other->length == address->length))
            error = -EEXIST;
        else if (ipv4 && other->addr.family == AF_INET && ip_prefix_same_network(other, address))
            added.secondary = true;
    }
    if (error)
        return err_set_kernel(ret_err, error, "RTM_NEWADDR", "cannot add the address %s",
                              ip_prefix_print(address, text));
    return address_append(link, &added) ? err_no_memory(ret_err) : 0;
}

int fake_address_delete(struct kernel_fake *fake, const struct device_key *key, const struct ip_prefix *address,
                        struct err *ret_err)
{
    char text[IP_PREFIX_TEXT_SIZE];
    struct observed_link *link = fake_link_find(fake, key, ret_err);
    if (!link)
        return -ENODEV;
    for (size_t i = 0; i < link->address_count; i++) {
        if (ip_prefix_equal(&link->addresses[i].prefix, address)) {
            address_remove(fake, link, i);
            return 0;
        }
    }
    return err_set_kernel(ret_err, -EADDRNOTAVAIL, "RTM_DELADDR", "cannot delete the address %s",
                          ip_prefix_print(address, text));
}

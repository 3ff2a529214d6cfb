/* SPDX-License-Identifier: Apache-2.0 */
#include "planning.h"

#include <errno.h>

static const struct observed_address *address_seen(const struct observed_link *link, const struct ip_prefix *prefix)
{
    for (size_t i = 0; i < link->address_count; i++)
        if (ip_prefix_equal(&link->addresses[i].prefix, prefix))
            return &link->addresses[i];
    return NULL;
}

static bool address_wanted(const struct device *device, const struct ip_prefix *prefix)
{
    for (size_t i = 0; i < device->address_count; i++)
        if (ip_prefix_equal(&device->addresses[i], prefix))
            return true;
    return false;
}

/* Whether it is ours to delete. */
static bool address_is_managed(const struct wanted *wanted, const struct observed_address *seen)
{
    return !seen->by_kernel &&
           (seen->ours || (wanted->takes_unmarked && wanted->before && address_wanted(wanted->before, &seen->prefix)));
}

/*
 * IPv4 gives the first address of a subnet a role: it is the one that packets get as their source. Where another wanted
 * one of ours holds it, all of that subnet but the rightful one go and come back in the document's order.
 */
static bool address_displaced(const struct planning *p, const struct ip_prefix *prefix)
{
    const struct device *now = p->wanted->now;
    const struct observed_link *link = p->link;
    const struct ip_prefix *first = NULL;

    if (prefix->addr.family != AF_INET || now->address_count < 2)
        return false;
    for (size_t i = 0; i < now->address_count && !first; i++)
        if (ip_prefix_same_network(&now->addresses[i], prefix))
            first = &now->addresses[i];
    if (!first || ip_prefix_equal(first, prefix))
        return false;
    for (size_t i = 0; i < link->address_count; i++) {
        const struct observed_address *seen = &link->addresses[i];

        if (!seen->secondary && ip_prefix_same_network(&seen->prefix, prefix))
            return address_is_managed(p->wanted, seen) && !ip_prefix_equal(&seen->prefix, first) &&
                   address_wanted(now, &seen->prefix);
    }
    return false;
}

/* An address that has no place any more, as opposed to one that goes to come back behind another. */
static bool address_leaves(const struct planning *p, const struct observed_address *seen)
{
    return address_is_managed(p->wanted, seen) && !address_wanted(p->wanted->now, &seen->prefix);
}

/*
 * With its last IPv4 address a device loses all its IPv4 routes (net/ipv4/fib_frontend.c:fib_disable_ip). Where none of
 * those there stays and others come, the old ones therefore wait for the new.
 */
static bool ipv4_is_relayed(const struct planning *p)
{
    const struct device *now = p->wanted->now;
    bool comes = false;

    for (size_t i = 0; i < p->link->address_count; i++) {
        const struct observed_address *seen = &p->link->addresses[i];

        if (seen->prefix.addr.family == AF_INET && !address_leaves(p, seen))
            return false;
    }
    for (size_t i = 0; i < now->address_count; i++)
        comes = comes || now->addresses[i].addr.family == AF_INET;
    return comes;
}

static int addresses_delete(struct planning *p, bool secondary)
{
    const struct device *now = p->wanted->now;
    bool relayed = ipv4_is_relayed(p);

    for (size_t i = 0; i < p->link->address_count; i++) {
        const struct observed_address *seen = &p->link->addresses[i];
        struct step *step;

        if (!address_is_managed(p->wanted, seen) || seen->secondary != secondary)
            continue;
        if (address_wanted(now, &seen->prefix) && !address_displaced(p, &seen->prefix))
            continue;
        step = planning_take_away(p, STEP_ADDRESS_DELETE);
        if (!step)
            return -ENOMEM;
        step->address = seen->prefix;
        step->late = relayed && seen->prefix.addr.family == AF_INET;
    }
    return 0;
}

/* Secondaries first: deleting a primary may take them with it, and deleting them again would be refused. */
int plan_addresses_delete(struct planning *p)
{
    int r = addresses_delete(p, true);

    return r == 0 ? addresses_delete(p, false) : r;
}

int plan_addresses_add(struct planning *p)
{
    const struct device *now = p->wanted->now;

    for (size_t i = 0; i < now->address_count; i++) {
        const struct ip_prefix *prefix = &now->addresses[i];
        const struct observed_address *seen = p->keep ? address_seen(p->link, prefix) : NULL;
        struct step *step;

        if (seen && (!address_is_managed(p->wanted, seen) || !address_displaced(p, prefix)))
            continue;
        step = planning_add(p, STEP_ADDRESS_ADD);
        if (!step)
            return -ENOMEM;
        step->address = *prefix;
    }
    return 0;
}

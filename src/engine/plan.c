/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: what leads from what is seen to what is wanted. It knows nothing of what was done before, so that creating,
 * changing, rolling back, starting up and repairing are the same function.
 *
 * What is ours to take away is told by its mark: the device's alias, the protocol of a route or an address. A device
 * that was taken over comes with addresses and routes without one. Where the document lists them, they are as good as
 * marked: they count as there, and go when they leave the document. What is in no document is left alone.
 *
 * Each device appends its steps; in the end they are put in the order of enum step_kind over all devices. What goes
 * comes before what comes: a name, an address or a route that moves from one device to another is free by the time it
 * is taken. Routes through a gateway are added after those on link, and deleted before them, because one may be reached
 * by the other.
 */
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void plan_cleanup(struct plan *plan)
{
    plan_done(plan);
}

void plan_truncate(struct plan *plan, size_t count)
{
    while (plan->count > count)
        step_done(&plan->steps[--plan->count]);
}

void plan_done(struct plan *plan)
{
    plan_truncate(plan, 0);
    free(plan->steps);
    memset(plan, 0, sizeof(*plan));
}

static struct step *step_add(struct plan *plan, enum step_kind kind, const char *netns, const char *name,
                             const struct uuid *uuid)
{
    void *steps = plan->steps;
    struct step *step;

    if (array_grow(&steps, &plan->capacity, plan->count, sizeof(*plan->steps)) < 0)
        return NULL;
    plan->steps = steps;
    step = &plan->steps[plan->count++];
    memset(step, 0, sizeof(*step));
    step->kind = kind;
    (void)text_copy(step->device.netns, sizeof(step->device.netns), netns);
    (void)text_copy(step->device.name, sizeof(step->device.name), name);
    step->device.uuid = *uuid;
    return step;
}

/* Two steps of one kind whose order matters although the kind is the same. */
static size_t step_bucket(const struct step *step)
{
    bool via = (step->kind == STEP_ROUTE_ADD || step->kind == STEP_ROUTE_DELETE) && step->route.via.family != 0;
    bool late = step->kind == STEP_ROUTE_DELETE ? !via : via;

    if (step->late)
        return (size_t)STEP_ADDRESS_ADD * 2 + 1;
    return (size_t)step->kind * 2 + late;
}

int plan_order(struct plan *plan)
{
    size_t starts[STEP_KIND_N * 2 + 1] = {0};
    struct step *ordered;

    if (plan->count < 2)
        return 0;
    ordered = malloc(plan->count * sizeof(*ordered));
    if (!ordered)
        return -ENOMEM;
    for (size_t i = 0; i < plan->count; i++)
        starts[step_bucket(&plan->steps[i]) + 1]++;
    for (size_t i = 1; i < ARRAY_SIZE(starts); i++)
        starts[i] += starts[i - 1];
    for (size_t i = 0; i < plan->count; i++)
        ordered[starts[step_bucket(&plan->steps[i])]++] = plan->steps[i];
    free(plan->steps);
    plan->steps = ordered;
    plan->capacity = plan->count;
    return 0;
}

/* ---- one device -------------------------------------------------------------------------------------------------- */

/* What is known about the device whose steps are being made. */
struct planning {
    struct plan *plan;
    const struct wanted *wanted;
    const struct plan_index *index;
    const struct observed_link *link;     /* its device, NULL: none */
    const struct observed_worker *worker; /* its worker, NULL: none */
    bool keep;                            /* the device that is there will do */
};

static struct step *planning_add(struct planning *p, enum step_kind kind)
{
    const struct wanted *wanted = p->wanted;

    return step_add(p->plan, kind, wanted->now ? wanted->now->netns : wanted->netns,
                    wanted->now ? wanted->now->name : wanted->name, &wanted->uuid);
}

/* As planning_add, about the device as it is now and where it is now. */
static struct step *planning_take_away(struct planning *p, enum step_kind kind)
{
    if (p->link)
        return step_add(p->plan, kind, p->link->netns, p->link->name, &p->wanted->uuid);
    return step_add(p->plan, kind, p->wanted->netns, p->wanted->name, &p->wanted->uuid);
}

/* Whether the device can become the wanted one. Its kind, its place and its queues are settled when it is made. */
static bool link_will_do(const struct observed_link *link, const struct wanted *wanted)
{
    const struct device *now = wanted->now;

    if (link->kind != (now->kind == DEVICE_TAP ? OBSERVED_TAP : OBSERVED_TUN))
        return false;
    if (link->multi_queue != (now->queues > 1) || (wanted->before && wanted->before->queues != now->queues))
        return false;
    return strcmp(link->netns, now->netns) == 0 && strcmp(link->name, now->name) == 0;
}

static void wanted_mac(const struct wanted *wanted, uint8_t ret_mac[static 6])
{
    if (wanted->now->has_mac)
        memcpy(ret_mac, wanted->now->mac, sizeof(wanted->now->mac));
    else
        device_derived_mac(&wanted->uuid, ret_mac);
}

static int plan_create(struct planning *p)
{
    const struct device *now = p->wanted->now;
    struct step *step = planning_add(p, STEP_DEVICE_CREATE);

    if (!step)
        return -ENOMEM;
    step->disturbs = p->link ? DISTURBS_RECREATE : DISTURBS_NONE; /* the one that was there is deleted before */
    step->create = (struct device_create){
        .kind = now->kind,
        .queues = now->queues,
        .owner = now->owner,
        .group = now->group,
        .has_mac = now->kind == DEVICE_TAP,
    };
    if (now->kind == DEVICE_TAP)
        wanted_mac(p->wanted, step->create.mac);
    return 0;
}

/* Which settings differ; of a device that is still to be made: which its making does not settle. */
static uint32_t link_differences(const struct planning *p, const uint8_t mac[static 6])
{
    const struct device *now = p->wanted->now;
    const struct observed_link *link = p->keep ? p->link : NULL;
    uint32_t set = 0;

    if (!link)
        return LINK_MTU | LINK_TXQUEUELEN | (now->master[0] ? LINK_MASTER : 0U) | (now->up ? LINK_UP : 0U);
    if (link->mtu != now->mtu)
        set |= LINK_MTU;
    if (link->txqueuelen != now->txqueuelen)
        set |= LINK_TXQUEUELEN;
    if (now->kind == DEVICE_TAP && memcmp(link->mac, mac, sizeof(link->mac)) != 0)
        set |= LINK_MAC;
    if (link->owner != now->owner)
        set |= LINK_OWNER;
    if (link->group != now->group)
        set |= LINK_GROUP;
    if (strcmp(link->master, now->master) != 0)
        set |= LINK_MASTER;
    if (link->up != now->up)
        set |= LINK_UP;
    return set;
}

/*
 * What a setting costs the packets of a device that is up. Linux sets the mtu and the owners without a gap, but
 *   - throws away what is queued when the length of the queue changes (net/core/dev.c:dev_qdisc_change_tx_queue_len,
 *     drivers/net/tun.c:tun_queue_resize),
 *   - takes the frames to a former mac for somebody else's until the neighbours have learnt the new one,
 *   - takes a port with all that it has learnt out of one bridge before it puts it into the next.
 */
static enum disturbance link_disturbance(const struct planning *p, uint32_t set)
{
    const uint32_t losing = LINK_TXQUEUELEN | LINK_MAC | LINK_MASTER | LINK_UP;

    return p->keep && p->link->up && (set & losing) ? DISTURBS_FLAP : DISTURBS_NONE;
}

static int plan_link(struct planning *p)
{
    const struct device *now = p->wanted->now;
    uint8_t mac[6] = {0};
    struct step *step;
    uint32_t set;

    if (now->kind == DEVICE_TAP)
        wanted_mac(p->wanted, mac);
    set = link_differences(p, mac);
    if (set == 0)
        return 0;
    step = planning_add(p, STEP_LINK_SET);
    if (!step)
        return -ENOMEM;
    step->disturbs = link_disturbance(p, set);
    step->link = (struct link_settings){
        .set = set,
        .mtu = now->mtu,
        .txqueuelen = now->txqueuelen,
        .owner = now->owner,
        .group = now->group,
        .up = now->up,
    };
    memcpy(step->link.mac, mac, sizeof(mac));
    (void)text_copy(step->link.master, sizeof(step->link.master), now->master);
    return 0;
}

/* ---- taking over and letting go ---------------------------------------------------------------------------------- */

/* A device of the wanted name that carries no alias becomes this one. */
static int planning_adopt(struct planning *p, struct err *ret_err)
{
    const struct device *now = p->wanted->now;
    const struct observed_link *link = plan_index_name(p->index, now->netns, now->name);
    struct step *step;

    if (!link)
        return err_set(ret_err, -ENODEV, ERR_NOT_FOUND, "/name", "there is no device %s%s%s to take over", now->name,
                       now->netns[0] ? " in the network namespace " : "", now->netns);
    if (link->has_alias)
        return err_set(ret_err, -EEXIST, ERR_FOREIGN_DEVICE, "/name",
                       "the device %s carries somebody's alias: that has to be taken off first", now->name);
    if (link->kind != (now->kind == DEVICE_TAP ? OBSERVED_TAP : OBSERVED_TUN))
        return err_set(ret_err, -EINVAL, ERR_INCOMPATIBLE, "/kind", "%s is no %s device", now->name,
                       device_kind_name(now->kind));
    if (link->multi_queue != (now->queues > 1))
        return err_set(ret_err, -EINVAL, ERR_INCOMPATIBLE, "/queues",
                       "%s was made for %s: that cannot be changed while it is taken over", now->name,
                       link->multi_queue ? "several queues" : "a single queue");
    step = planning_add(p, STEP_DEVICE_ADOPT);
    if (!step)
        return err_no_memory(ret_err);
    step->adopt.kind = now->kind;
    step->adopt.queues = now->worker.type != WORKER_NONE ? now->queues : 0;
    p->link = link;
    p->keep = true;
    return 0;
}

static int plan_release(struct planning *p)
{
    struct step *step;

    if (p->worker) {
        step = planning_take_away(p, STEP_WORKER_STOP);
        if (!step)
            return -ENOMEM;
        step->disturbs = DISTURBS_FLAP;
    }
    return p->link && !planning_take_away(p, STEP_DEVICE_RELEASE) ? -ENOMEM : 0;
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

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

static bool same_subnet(const struct ip_prefix *a, const struct ip_prefix *b)
{
    struct ip_prefix left, right;

    if (a->addr.family != b->addr.family || a->length != b->length)
        return false;
    left = ip_prefix_network(a);
    right = ip_prefix_network(b);
    return ip_prefix_equal(&left, &right);
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
        if (same_subnet(&now->addresses[i], prefix))
            first = &now->addresses[i];
    if (!first || ip_prefix_equal(first, prefix))
        return false;
    for (size_t i = 0; i < link->address_count; i++) {
        const struct observed_address *seen = &link->addresses[i];

        if (!seen->secondary && same_subnet(&seen->prefix, prefix))
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

/* Secondaries first: deleting a primary may take them with it, and deleting them again would be refused. */
static int plan_addresses_delete(struct planning *p, bool secondary)
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

static int plan_addresses_add(struct planning *p)
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

/* ---- routes ------------------------------------------------------------------------------------------------------ */

static int routes_in_order(const void *a, const void *b)
{
    return route_compare(*(const struct route *const *)a, *(const struct route *const *)b);
}

static bool route_among(const struct route *const *sorted, size_t count, const struct route *route)
{
    return count > 0 && bsearch(&route, sorted, count, sizeof(*sorted), routes_in_order) != NULL;
}

/* Sorted pointers to those routes of a list that have a device, or have none; *ret_sorted is owned and never NULL. */
static int routes_sort(const struct route *routes, size_t count, bool unattached, const struct route ***ret_sorted,
                       size_t *ret_count)
{
    const struct route **sorted = calloc(count + 1, sizeof(*sorted));
    size_t n = 0;

    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (route_is_unattached(&routes[i]) == unattached)
            sorted[n++] = &routes[i];
    qsort(sorted, n, sizeof(*sorted), routes_in_order);
    *ret_sorted = sorted;
    *ret_count = n;
    return 0;
}

static void sorted_done(const struct route ***sorted)
{
    free(*sorted);
}

static int step_route(struct step *step, const struct route *route)
{
    if (!step)
        return -ENOMEM;
    step->route = *route;
    return 0;
}

static int step_route_delete(struct step *step, const struct route *route, uint8_t protocol)
{
    if (step)
        step->protocol = protocol;
    return step_route(step, route);
}

/* The routes that shall be there: those of a device that is up. */
static size_t routes_wanted(const struct wanted *wanted)
{
    return wanted->now && wanted->now->up ? wanted->now->route_count : 0;
}

/* Steps for what is in `seen` and not wanted, if `remove`, or for what is wanted and not seen. */
static int plan_routes(struct planning *p, const struct route *const *seen, size_t seen_count, bool unattached,
                       bool remove)
{
    const struct device *now = p->wanted->now;
    size_t wanted_count = routes_wanted(p->wanted), count = 0;
    CLEANUP(sorted_done) const struct route **wanted = NULL;
    int r = 0;

    if (!remove) {
        for (size_t i = 0; i < wanted_count && r == 0; i++)
            if (route_is_unattached(&now->routes[i]) == unattached && !route_among(seen, seen_count, &now->routes[i]))
                r = step_route(planning_add(p, STEP_ROUTE_ADD), &now->routes[i]);
        return r;
    }
    r = routes_sort(now ? now->routes : NULL, wanted_count, unattached, &wanted, &count);
    for (size_t i = 0; i < seen_count && r == 0; i++)
        if (!route_among(wanted, count, seen[i]))
            r = step_route_delete(planning_take_away(p, STEP_ROUTE_DELETE), seen[i], NET_PROTOCOL);
    return r;
}

static int routes_by_key(const void *a, const void *b)
{
    const struct route *left = *(const struct route *const *)a, *right = *(const struct route *const *)b;

    return route_key_equal(left, right) ? 0 : route_compare(left, right); /* a key comes first in that order */
}

static bool route_key_among(const struct route *const *sorted, size_t count, const struct route *route)
{
    return count > 0 && bsearch(&route, sorted, count, sizeof(*sorted), routes_by_key) != NULL;
}

/* Routes of the device itself that shall go. They go with it, so there is nothing to take away from one that is
 * deleted. */
static int plan_routes_marked_delete(struct planning *p)
{
    CLEANUP(sorted_done) const struct route **seen = NULL;
    size_t count = 0;
    int r = routes_sort(p->link->routes, p->link->route_count, false, &seen, &count);

    return r < 0 ? r : plan_routes(p, seen, count, false, true);
}

/* Unmarked ones go where they were in the document and left it, and where they stand in the way of one that was in the
 * document, and is: somebody has replaced it. */
static int plan_routes_unmarked_delete(struct planning *p)
{
    const struct device *now = p->wanted->now, *before = p->wanted->before;
    CLEANUP(sorted_done) const struct route **wanted = NULL;
    CLEANUP(sorted_done) const struct route **listed = NULL;
    size_t wanted_count = 0, listed_count = 0;
    int r;

    if (!before || !p->wanted->takes_unmarked || p->link->foreign_route_count == 0)
        return 0;
    r = routes_sort(now->routes, routes_wanted(p->wanted), false, &wanted, &wanted_count);
    if (r == 0)
        r = routes_sort(before->routes, before->route_count, false, &listed, &listed_count);
    for (size_t i = 0; r == 0 && i < p->link->foreign_route_count; i++) {
        const struct foreign_route *seen = &p->link->foreign_routes[i];

        if (route_among(wanted, wanted_count, &seen->route))
            continue;
        if (route_key_among(wanted, wanted_count, &seen->route) ? route_key_among(listed, listed_count, &seen->route)
                                                                : route_among(listed, listed_count, &seen->route))
            r = step_route_delete(planning_take_away(p, STEP_ROUTE_DELETE), &seen->route, seen->protocol);
    }
    return r;
}

/* And those that shall come: whoever made a route that is there, it is there. */
static int plan_routes_attached_add(struct planning *p)
{
    size_t ours = p->keep ? p->link->route_count : 0, theirs = p->keep ? p->link->foreign_route_count : 0;
    CLEANUP(sorted_done) const struct route **seen = calloc(ours + theirs + 1, sizeof(*seen));

    if (!seen)
        return -ENOMEM;
    for (size_t i = 0; i < ours; i++)
        seen[i] = &p->link->routes[i];
    for (size_t i = 0; i < theirs; i++)
        seen[ours + i] = &p->link->foreign_routes[i].route;
    qsort(seen, ours + theirs, sizeof(*seen), routes_in_order);
    return plan_routes(p, seen, ours + theirs, false, false);
}

/* Routes without a device. Nothing in the kernel says whose they are: only those that the last document had may go. */
static int plan_routes_unattached_delete(struct planning *p)
{
    const struct device *before = p->wanted->before;
    CLEANUP(sorted_done) const struct route **gone = NULL;
    size_t count = 0, kept = 0;
    int r;

    if (!before || before->netns[0])
        return 0;
    r = routes_sort(before->routes, before->route_count, true, &gone, &count);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        if (route_among(p->index->unattached, p->index->observed->unattached_count, gone[i]))
            gone[kept++] = gone[i];
    return plan_routes(p, gone, kept, true, true);
}

/* ---- the worker -------------------------------------------------------------------------------------------------- */

/* Only a change of the program, a failure, or an address that another one waits for costs a worker its life; all else
 * is a matter of configuration. */
static bool worker_must_stop(const struct planning *p, const struct worker_spec *spec)
{
    return p->worker &&
           (!p->keep || !spec || p->worker->state == WORKER_FAILED ||
            (p->wanted->yields && p->worker->tag != spec->tag) || strcmp(p->worker->program, spec->program) != 0);
}

static int plan_worker(struct planning *p)
{
    const struct device *now = p->wanted->now;
    bool wants = now && now->worker.type != WORKER_NONE;
    CLEANUP(worker_spec_done) struct worker_spec spec = {0};
    enum step_kind kind = STEP_WORKER_START;
    struct step *step;
    bool stop;
    int r;

    r = wants ? worker_spec_build(now, &spec) : 0;
    if (r < 0)
        return r;
    stop = worker_must_stop(p, wants ? &spec : NULL);
    if (stop) {
        step = planning_take_away(p, STEP_WORKER_STOP);
        if (!step)
            return -ENOMEM;
        step->disturbs = DISTURBS_FLAP;
    }
    if (!wants)
        return 0;
    if (p->worker && !stop) {
        if (p->worker->tag == spec.tag)
            return 0;
        kind = STEP_WORKER_CONFIGURE;
    }
    step = planning_add(p, kind);
    if (!step)
        return -ENOMEM;
    step->disturbs = stop ? DISTURBS_FLAP : DISTURBS_NONE;
    step->worker = spec;
    memset(&spec, 0, sizeof(spec)); /* the step owns it now */
    return 0;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static int plan_name_check(struct planning *p, struct err *ret_err)
{
    const struct device *now = p->wanted->now;
    const struct observed_link *holder = plan_index_name(p->index, now->netns, now->name);

    if (!holder || holder == p->link || p->index->leaving[holder - p->index->observed->links])
        return 0;
    return err_set(ret_err, -EEXIST, ERR_FOREIGN_DEVICE, "/name",
                   "a device %s exists already%s%s, and it is not this one", now->name,
                   now->netns[0] ? " in the network namespace " : "", now->netns);
}

static int plan_removals(struct planning *p)
{
    int r = plan_routes_unattached_delete(p);

    if (r == 0 && p->link && !p->keep) {
        struct step *step = planning_take_away(p, STEP_DEVICE_DELETE);

        if (!step)
            return -ENOMEM;
        step->disturbs = DISTURBS_RECREATE;
        p->index->leaving[p->link - p->index->observed->links] = true;
        return 0;
    }
    if (r == 0 && p->keep)
        r = plan_routes_marked_delete(p);
    if (r == 0 && p->keep)
        r = plan_routes_unmarked_delete(p);
    if (r == 0 && p->keep)
        r = plan_addresses_delete(p, true);
    if (r == 0 && p->keep)
        r = plan_addresses_delete(p, false);
    return r;
}

static int plan_additions(struct planning *p)
{
    int r = 0;

    if (!p->keep)
        r = plan_create(p);
    if (r == 0)
        r = plan_link(p);
    if (r == 0)
        r = plan_addresses_add(p);
    if (r == 0)
        r = plan_routes_attached_add(p);
    if (r == 0 && !p->wanted->now->netns[0])
        r = plan_routes(p, p->index->unattached, p->index->observed->unattached_count, true, false);
    return r;
}

/* All steps of a device that is not to be let go of. */
static int plan_all(struct planning *p)
{
    int r = plan_removals(p);

    if (r == 0 && p->wanted->now)
        r = plan_additions(p);
    if (r == 0)
        r = plan_worker(p);
    return r;
}

int plan_device(struct plan *plan, const struct wanted *wanted, const struct plan_index *index, struct err *ret_err)
{
    const struct device *now = wanted->now;
    struct planning p = {.plan = plan, .wanted = wanted, .index = index};
    size_t start = plan->count;
    int r = 0;

    p.link = plan_index_device(index, &wanted->uuid, now ? now->netns : wanted->netns, now ? now->name : wanted->name);
    p.worker = plan_index_worker(index, &wanted->uuid);
    p.keep = now && p.link && link_will_do(p.link, wanted);
    if (now && !p.link && wanted->adopts)
        r = planning_adopt(&p, ret_err);
    else if (now && !p.keep && !wanted->releases)
        r = plan_name_check(&p, ret_err);
    if (r < 0)
        return r;
    if (!wanted->releases || p.keep)
        r = plan_all(&p);
    if (r == 0 && wanted->releases && plan->count == start)
        r = plan_release(&p);
    if (r < 0) {
        plan_truncate(plan, start);
        return err_no_memory(ret_err);
    }
    return 0;
}

int plan_build(const struct wanted *wanted, size_t count, const struct observed *observed, struct plan *ret_plan,
               struct err *ret_err)
{
    CLEANUP(plan_cleanup) struct plan plan = {0};
    CLEANUP(plan_index_done) struct plan_index index = {0};
    int r;

    if (plan_index_build(observed, &index) < 0)
        return err_no_memory(ret_err);
    for (int gone = 1; gone >= 0; gone--) {
        for (size_t i = 0; i < count; i++) {
            if ((wanted[i].now == NULL) != gone)
                continue;
            r = plan_device(&plan, &wanted[i], &index, ret_err);
            if (r < 0)
                return r;
        }
    }
    if (plan_order(&plan) < 0)
        return err_no_memory(ret_err);
    *ret_plan = plan;
    memset(&plan, 0, sizeof(plan));
    return 0;
}

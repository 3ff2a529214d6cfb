/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes without a device, between devices: the kernel keeps but one to the same place, and cannot tell whose it is. The
 * rules about them must hold for the configuration as it would be, whichever of its devices a transaction is about. What
 * one device gives up, another may take in the same breath: such a route stays where it is.
 */
#include "handover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A route without a device, and the device whose document asks for it. */
struct claim {
    const struct route *route;
    const struct device *device;
    const struct part *part; /* NULL: the transaction does not change it */
};

struct claims {
    struct claim *items;
    size_t count, capacity;
};

static void claims_done(struct claims *claims)
{
    free(claims->items);
}

static int claims_add(struct claims *claims, const struct device *device, const struct part *part)
{
    for (size_t i = 0; i < device->route_count; i++) {
        if (!route_is_unattached(&device->routes[i]))
            continue;
        if (array_grow(&claims->items, &claims->capacity, claims->count, sizeof(*claims->items)) < 0)
            return -ENOMEM;
        claims->items[claims->count++] =
            (struct claim){.route = &device->routes[i], .device = device, .part = part && part->writes ? part : NULL};
    }
    return 0;
}

/* Of all devices, as they will be. */
static int claims_collect(const struct transaction *t, struct claims *claims)
{
    const struct engine *engine = t->engine;
    size_t i = 0, j = 0;
    int r = 0;

    while (r == 0 && (i < engine->device_count || j < t->count)) {
        const struct part *part = j < t->count ? &t->parts[j] : NULL;
        int order = !part                       ? -1
                    : i == engine->device_count ? 1
                                                : strcmp(tracked_name(engine->devices[i]), part_name(part));

        if (order < 0)
            r = claims_add(claims, engine->devices[i]->document->device, NULL);
        else if (part->next)
            r = claims_add(claims, part->next->device, part);
        i += order <= 0;
        j += order >= 0;
    }
    return r;
}

static int claims_in_order(const void *a, const void *b)
{
    const struct claim *left = a, *right = b;
    int order = route_compare(left->route, right->route);

    return order ? order : strcmp(left->device->name, right->device->name);
}

static void claim_fault(const struct transaction *t, const struct claim *claim, enum err_code code, const char *message)
{
    struct err err = {0};

    (void)err_set(&err, -EINVAL, code, "", "%s", message);
    (void)snprintf(err.pointer, sizeof(err.pointer), "/routes/%zu", (size_t)(claim->route - claim->device->routes));
    (void)transaction_fail(t, claim->part, -EINVAL, &err);
}

static void claim_check_place(const struct transaction *t, const struct claim *claim)
{
    char message[ERR_MESSAGE_MAX];

    (void)snprintf(
        message, sizeof(message),
        "a route of type %s belongs to no device, so it needs a device in the daemon's own network namespace",
        route_type_name(claim->route->type));
    claim_fault(t, claim, ERR_INCOMPATIBLE, message);
}

static void claim_check_holder(const struct transaction *t, const struct claim *claim, const struct claim *holder)
{
    char message[ERR_MESSAGE_MAX];

    if (selector_matches(t->selector, holder->device))
        (void)snprintf(message, sizeof(message), "the device %s has a route of its own to the same place",
                       holder->device->name);
    else
        (void)snprintf(message, sizeof(message), "another device has a route of its own to the same place");
    claim_fault(t, claim, ERR_DUPLICATE, message);
}

static bool any_claim_is_new(const struct transaction *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct device *next = t->parts[i].writes && t->parts[i].next ? t->parts[i].next->device : NULL;

        for (size_t j = 0; next && j < next->route_count; j++)
            if (route_is_unattached(&next->routes[j]))
                return true;
    }
    return false;
}

/* ---- what changes hands ------------------------------------------------------------------------------------------ */

/* Of the devices of the transaction only, as they are or as they will be. A route is in the kernel while its device is
 * up. */
static int claims_collect_parts(const struct transaction *t, bool after, struct claims *claims)
{
    int r = 0;

    for (size_t i = 0; i < t->count && r == 0; i++) {
        const struct part *part = &t->parts[i];
        const struct device *next = part->next ? part->next->device : NULL;
        const struct device *current = part->current ? part->current->document->device : NULL;
        const struct device *device = after ? next : current;

        if (device && device->up)
            r = claims_add(claims, device, NULL);
    }
    if (claims->count > 1)
        qsort(claims->items, claims->count, sizeof(*claims->items), claims_in_order);
    return r;
}

/* Whether another device claims exactly this route. */
static bool route_is_claimed(const struct claims *claims, const struct route *route, const char *by_other_than)
{
    size_t low = 0, high = claims->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (route_compare(claims->items[middle].route, route) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < claims->count && route_key_equal(claims->items[low].route, route); low++)
        if (route_equal(claims->items[low].route, route) && strcmp(claims->items[low].device->name, by_other_than) != 0)
            return true;
    return false;
}

/* The document without those of its routes that another device claims: itself, where there is none. One reference. */
static struct document *document_without(struct document *document, const struct claims *claims)
{
    const struct device *whole = document->device;
    struct device *less = NULL;
    size_t kept = 0;

    for (size_t i = 0; i < whole->route_count; i++) {
        bool goes = route_is_unattached(&whole->routes[i]) && route_is_claimed(claims, &whole->routes[i], whole->name);

        if (goes && !less) {
            less = device_copy(whole);
            if (!less)
                return NULL;
            kept = i;
        }
        if (!goes && less)
            less->routes[kept++] = whole->routes[i];
    }
    if (!less)
        return document_share(document);
    less->route_count = kept;
    return document_new(less);
}

/*
 * An address that a worker is, or will be, bound to. Two cannot have one at the same time, not for a moment. Each stands
 * twice in the order, by its own address and among all: who looks for one address finds the others that have it by it,
 * and those that have every address by that; who looks for every address finds what collides with it among all.
 */
struct binding {
    struct socket_spec socket;
    bool among_all;
    const struct part *part;
};

static int bindings_in_order(const void *a, const void *b)
{
    const struct binding *one = a, *other = b;
    const struct endpoint *left = &one->socket.local, *right = &other->socket.local;
    int order = one->among_all - other->among_all;

    if (order == 0)
        order = left->addr.family - right->addr.family;
    if (order == 0 && !one->among_all)
        order = memcmp(left->addr.bytes, right->addr.bytes, sizeof(left->addr.bytes));
    return order ? order : left->port - right->port;
}

static uint32_t part_sockets(const struct part *part, bool after, struct socket_spec ret_specs[static SOCKET_SPECS_MAX])
{
    const struct document *document = after ? part->next : part->current ? part->current->document : NULL;

    return document ? worker_sockets(document->device, ret_specs) : 0;
}

static struct binding *bindings_collect(const struct transaction *t, bool after, size_t *ret_count)
{
    struct binding *bindings = calloc(t->count * SOCKET_SPECS_MAX * 2 + 1, sizeof(*bindings));

    *ret_count = 0;
    for (size_t i = 0; bindings && i < t->count; i++) {
        struct socket_spec specs[SOCKET_SPECS_MAX];
        uint32_t count = part_sockets(&t->parts[i], after, specs);

        for (uint32_t s = 0; s < count; s++)
            for (int among_all = 0; among_all <= 1; among_all++)
                bindings[(*ret_count)++] =
                    (struct binding){.socket = specs[s], .among_all = among_all, .part = &t->parts[i]};
    }
    if (bindings)
        qsort(bindings, *ret_count, sizeof(*bindings), bindings_in_order);
    return bindings;
}

/* The first in order that is not before `key`; `count` where there is none. */
static size_t bindings_seek(const struct binding *bindings, size_t count, const struct binding *key)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (bindings_in_order(&bindings[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether this part has to let go of the one before it gets the other. What it has at the same address it keeps. */
static bool binding_is_in_the_way(const struct binding *binding, const struct socket_spec *socket,
                                  const struct part *part)
{
    return socket_specs_collide(&binding->socket, socket) &&
           (binding->part != part || !ip_addr_equal(&binding->socket.local.addr, &socket->local.addr));
}

/* Of those in one place, `key` with any port. Whoever has one of these ports begins at most so many ports earlier. */
static bool bindings_hold_at(const struct binding *bindings, size_t count, const struct binding *key,
                             const struct socket_spec *socket, const struct part *part)
{
    struct binding first = *key, last = *key;

    first.socket.local.port =
        (uint16_t)(socket->local.port < WORKER_SOCKETS_MAX ? 0 : socket->local.port - WORKER_SOCKETS_MAX + 1);
    last.socket.local.port = (uint16_t)(socket->local.port + socket->count - 1);
    for (size_t i = bindings_seek(bindings, count, &first); i < count && bindings_in_order(&bindings[i], &last) <= 0;
         i++)
        if (binding_is_in_the_way(&bindings[i], socket, part))
            return true;
    return false;
}

static bool bindings_hold(const struct binding *bindings, size_t count, const struct socket_spec *socket,
                          const struct part *part)
{
    struct binding key = {.socket = *socket};

    if (ip_addr_is_any(&socket->local.addr)) {
        key.among_all = true;
        return bindings_hold_at(bindings, count, &key, socket, part);
    }
    if (bindings_hold_at(bindings, count, &key, socket, part))
        return true;
    memset(key.socket.local.addr.bytes, 0, sizeof(key.socket.local.addr.bytes));
    return bindings_hold_at(bindings, count, &key, socket, part);
}

/* Says of each part whether another one will have an address that it has, or had one that it will have; or whether it
 * will itself, in another way: as one address of every, or as every of one. */
static int transaction_find_yielding(struct transaction *t, bool after)
{
    size_t count;
    struct binding *bindings = bindings_collect(t, after, &count);

    if (!bindings)
        return -ENOMEM;
    for (size_t i = 0; count > 0 && i < t->count; i++) {
        struct part *part = &t->parts[i];
        struct socket_spec specs[SOCKET_SPECS_MAX];
        uint32_t spec_count = part_sockets(part, !after, specs);
        bool *yields = after ? &part->yields : &part->yields_back;

        *yields = false;
        for (uint32_t s = 0; s < spec_count && !*yields; s++)
            *yields = bindings_hold(bindings, count, &specs[s], part);
    }
    free(bindings);
    return 0;
}

/* Of a device that is taken over, or goes back. */
static struct document *document_found(const struct part *part)
{
    const struct device *ours = part->next ? part->next->device : part->current->document->device;
    struct device *merged;

    return handover_merge(part->found->device, ours, &merged) < 0 ? NULL : document_new(merged);
}

int transaction_check_hands(struct transaction *t)
{
    CLEANUP(claims_done) struct claims before = {0};
    CLEANUP(claims_done) struct claims after = {0};
    bool complete = claims_collect_parts(t, false, &before) == 0 && claims_collect_parts(t, true, &after) == 0 &&
                    transaction_find_yielding(t, true) == 0 && transaction_find_yielding(t, false) == 0;

    for (size_t i = 0; complete && i < t->count; i++) {
        struct part *part = &t->parts[i];

        if (part->found)
            part->tried = document_found(part);
        else if (part->next)
            part->tried = document_without(part->next, &before);
        if (part->adopts)
            part->before = document_share(part->found);
        else if (part->current)
            part->before =
                document_without(part->current->tried ? part->current->tried : part->current->document, &after);
        complete = (part->tried || !(part->next || part->found)) && (part->before || !part->current);
    }
    if (!complete) {
        struct err err;

        return transaction_fail(t, NULL, err_no_memory(&err), &err);
    }
    return 0;
}

/* ---- the rules --------------------------------------------------------------------------------------------------- */

/* Of those that ask for the same: who has it keeps it, else the first by name. */
static const struct claim *claims_holder(const struct claim *claims, size_t count)
{
    const struct claim *holder = &claims[0];

    for (size_t i = 1; i < count && holder->part; i++)
        if (!claims[i].part || strcmp(claims[i].device->name, holder->device->name) < 0)
            holder = &claims[i];
    return holder;
}

int transaction_check_rules(const struct transaction *t)
{
    CLEANUP(claims_done) struct claims claims = {0};
    size_t before = t->errors->count, end;

    if (!any_claim_is_new(t))
        return 0;
    if (claims_collect(t, &claims) < 0) {
        struct err err;

        return transaction_fail(t, NULL, err_no_memory(&err), &err);
    }
    qsort(claims.items, claims.count, sizeof(*claims.items), claims_in_order);
    for (size_t i = 0; i < claims.count; i = end) {
        const struct claim *holder;

        for (end = i + 1; end < claims.count && route_key_equal(claims.items[i].route, claims.items[end].route);)
            end++;
        holder = claims_holder(&claims.items[i], end - i);
        for (size_t j = i; j < end; j++) {
            const struct claim *claim = &claims.items[j];

            if (claim->part && claim->device->netns[0])
                claim_check_place(t, claim);
            else if (claim->part && claim != holder)
                claim_check_holder(t, claim, holder);
        }
    }
    return t->errors->count > before ? -EINVAL : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan is what knows of differences; this puts its steps into the words of the document: not what would be done, but
 * what is wanted and what was found. Two steps about one thing (a route that goes and comes back another way, a worker
 * that is stopped and started) are one deviation.
 */
#include "deviation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The document's fields, in its order. */
static const char *const fields[] = {"/name",  "/kind",  "/up",    "/mtu",    "/txqueuelen", "/queues", "/mac",
                                     "/owner", "/group", "/netns", "/master", "/addresses",  "/routes", "/worker"};

static const struct {
    enum link_setting setting;
    const char *pointer;
} settings[] = {
    {LINK_UP, "/up"},       {LINK_MTU, "/mtu"},     {LINK_TXQUEUELEN, "/txqueuelen"}, {LINK_MAC, "/mac"},
    {LINK_OWNER, "/owner"}, {LINK_GROUP, "/group"}, {LINK_MASTER, "/master"},
};

/* ---- where ------------------------------------------------------------------------------------------------------- */

static void route_pointer(const struct route *route, const struct device *device, char out[static ERR_POINTER_MAX])
{
    for (size_t i = 0; device && i < device->route_count; i++) {
        if (route_equal(&device->routes[i], route)) {
            (void)snprintf(out, ERR_POINTER_MAX, "/routes/%zu", i);
            return;
        }
    }
    (void)snprintf(out, ERR_POINTER_MAX, "/routes");
}

static void address_pointer(const struct ip_prefix *address, const struct device *device,
                            char out[static ERR_POINTER_MAX])
{
    for (size_t i = 0; device && i < device->address_count; i++) {
        if (ip_prefix_equal(&device->addresses[i], address)) {
            (void)snprintf(out, ERR_POINTER_MAX, "/addresses/%zu", i);
            return;
        }
    }
    (void)snprintf(out, ERR_POINTER_MAX, "/addresses");
}

void step_pointer(const struct step *step, const struct device *device, char out[static ERR_POINTER_MAX])
{
    out[0] = '\0';
    switch (step->kind) {
    case STEP_ROUTE_ADD:
    case STEP_ROUTE_DELETE:
        route_pointer(&step->route, device, out);
        return;
    case STEP_ADDRESS_ADD:
    case STEP_ADDRESS_DELETE:
        address_pointer(&step->address, device, out);
        return;
    case STEP_WORKER_START:
    case STEP_WORKER_CONFIGURE:
    case STEP_WORKER_STOP:
        (void)snprintf(out, ERR_POINTER_MAX, "/worker");
        return;
    case STEP_LINK_SET:
        for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
            if (step->link.set == (uint32_t)settings[i].setting)
                (void)snprintf(out, ERR_POINTER_MAX, "%s", settings[i].pointer);
        return;
    case STEP_DEVICE_ADOPT:
    case STEP_DEVICE_RELEASE:
    case STEP_DEVICE_DELETE:
    case STEP_DEVICE_CREATE:
    case STEP_KIND_N:
        return;
    }
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

struct deviation_list {
    struct deviation *items; /* owned */
    size_t count, capacity;
    bool failed; /* no memory */
};

/* Texts are written by the caller; one that is not is "null". */
static struct deviation *list_add(struct deviation_list *list, const char *pointer, enum step_kind operation)
{
    static struct deviation nowhere;
    void *items = list->items;
    struct deviation *item;

    if (list->failed || array_grow(&items, &list->capacity, list->count, sizeof(*list->items)) < 0) {
        list->failed = true;
        return &nowhere;
    }
    list->items = items;
    item = &list->items[list->count++];
    memset(item, 0, sizeof(*item));
    (void)text_copy(item->pointer, sizeof(item->pointer), pointer);
    (void)text_copy(item->operation, sizeof(item->operation), step_kind_name(operation));
    memcpy(item->wanted, "null", sizeof("null"));
    memcpy(item->found, "null", sizeof("null"));
    return item;
}

/* Names, addresses and words of ours: none of them has a character that JSON would escape. */
static void put_text(char out[static DEVIATION_TEXT_SIZE], const char *text)
{
    if (text[0])
        (void)snprintf(out, DEVIATION_TEXT_SIZE, "\"%.*s\"", DEVIATION_TEXT_SIZE - 3, text);
}

static void put_number(char out[static DEVIATION_TEXT_SIZE], uint32_t number)
{
    (void)snprintf(out, DEVIATION_TEXT_SIZE, "%u", number);
}

static void put_bool(char out[static DEVIATION_TEXT_SIZE], bool value)
{
    (void)snprintf(out, DEVIATION_TEXT_SIZE, value ? "true" : "false");
}

static void put_owner(char out[static DEVIATION_TEXT_SIZE], uint32_t owner)
{
    if (owner != OWNER_NONE)
        put_number(out, owner);
}

static void put_mac(char out[static DEVIATION_TEXT_SIZE], const uint8_t mac[static 6])
{
    (void)snprintf(out, DEVIATION_TEXT_SIZE, "\"%02x:%02x:%02x:%02x:%02x:%02x\"", mac[0], mac[1], mac[2], mac[3],
                   mac[4], mac[5]);
}

static void put_prefix(char out[static DEVIATION_TEXT_SIZE], const struct ip_prefix *prefix)
{
    char text[IP_PREFIX_TEXT_SIZE];

    put_text(out, ip_prefix_print(prefix, text));
}

static void put_route(char out[static DEVIATION_TEXT_SIZE], const struct route *route)
{
    CLEANUP(text_done) char *text = route_print(route);

    /* it fits: the longest of all is 40 characters shorter */
    if (text)
        (void)text_copy(out, DEVIATION_TEXT_SIZE, text);
}

/* ---- the device itself ------------------------------------------------------------------------------------------- */

static void compare_texts(struct deviation_list *list, const char *pointer, const char *wanted, const char *found)
{
    struct deviation *item;

    if (strcmp(wanted, found) == 0)
        return;
    item = list_add(list, pointer, STEP_DEVICE_CREATE);
    put_text(item->wanted, wanted);
    put_text(item->found, found);
}

static void find_of_device(const struct deviation_sight *sight, struct deviation_list *list)
{
    const struct device *device = sight->device;
    const struct observed_link *link = sight->link;
    size_t before = list->count;

    compare_texts(list, "/name", device->name, link ? link->name : "");
    if (!link)
        return;
    compare_texts(list, "/kind", device_kind_name(device->kind),
                  device_kind_name(link->kind == OBSERVED_TAP ? DEVICE_TAP : DEVICE_TUN));
    compare_texts(list, "/netns", device->netns, link->netns);
    if (link->multi_queue != (device->queues > 1) || list->count == before) {
        struct deviation *item = list_add(list, "/queues", STEP_DEVICE_CREATE);

        put_number(item->wanted, device->queues);
        put_number(item->found, !link->multi_queue ? 1 : link->queue_count > 2 ? link->queue_count : 2);
    }
}

static void put_setting(struct deviation *item, enum link_setting setting, const struct link_settings *wanted,
                        const struct observed_link *found)
{
    switch (setting) {
    case LINK_MTU:
        put_number(item->wanted, wanted->mtu);
        put_number(item->found, found->mtu);
        return;
    case LINK_TXQUEUELEN:
        put_number(item->wanted, wanted->txqueuelen);
        put_number(item->found, found->txqueuelen);
        return;
    case LINK_MAC:
        put_mac(item->wanted, wanted->mac);
        put_mac(item->found, found->mac);
        return;
    case LINK_OWNER:
        put_owner(item->wanted, wanted->owner);
        put_owner(item->found, found->owner);
        return;
    case LINK_GROUP:
        put_owner(item->wanted, wanted->group);
        put_owner(item->found, found->group);
        return;
    case LINK_MASTER:
        put_text(item->wanted, wanted->master);
        put_text(item->found, found->master);
        return;
    case LINK_UP:
        put_bool(item->wanted, wanted->up);
        put_bool(item->found, found->up);
        return;
    }
}

static void find_of_link(const struct deviation_sight *sight, const struct step *step, struct deviation_list *list)
{
    for (size_t i = 0; sight->link && i < ARRAY_SIZE(settings); i++)
        if (step->link.set & settings[i].setting)
            put_setting(list_add(list, settings[i].pointer, STEP_LINK_SET), settings[i].setting, &step->link,
                        sight->link);
}

/* ---- addresses and routes ---------------------------------------------------------------------------------------- */

static bool address_comes_back(const struct deviation_sight *sight, const struct ip_prefix *address)
{
    for (size_t i = 0; i < sight->step_count; i++)
        if (sight->steps[i].kind == STEP_ADDRESS_ADD && ip_prefix_equal(&sight->steps[i].address, address))
            return true;
    return false;
}

/* An address that is there and is to be added goes first: another has its place at the head of the subnet. */
static const struct ip_prefix *address_in_place(const struct observed_link *link, const struct ip_prefix *address)
{
    const struct ip_prefix *first = NULL;
    bool there = false;

    for (size_t i = 0; link && i < link->address_count; i++) {
        const struct ip_prefix *seen = &link->addresses[i].prefix;

        there = there || ip_prefix_equal(seen, address);
        if (!first && !link->addresses[i].secondary && ip_prefix_same_network(seen, address))
            first = seen;
    }
    return there ? first : NULL;
}

static void find_of_address(const struct deviation_sight *sight, const struct step *step, struct deviation_list *list)
{
    char pointer[ERR_POINTER_MAX];
    const struct ip_prefix *found;
    struct deviation *item;

    address_pointer(&step->address, sight->device, pointer);
    if (step->kind == STEP_ADDRESS_ADD) {
        found = address_in_place(sight->link, &step->address);
        item = list_add(list, pointer, step->kind);
        put_prefix(item->wanted, &step->address);
        if (found)
            put_prefix(item->found, found);
    } else if (!address_comes_back(sight, &step->address)) {
        item = list_add(list, pointer, step->kind);
        put_prefix(item->found, &step->address);
    }
}

static bool route_comes_back(const struct deviation_sight *sight, const struct route *route)
{
    for (size_t i = 0; i < sight->step_count; i++)
        if (sight->steps[i].kind == STEP_ROUTE_ADD && route_key_equal(&sight->steps[i].route, route))
            return true;
    return false;
}

/* What is in the place of a route that is to be added. */
static const struct route *route_in_place(const struct observed_link *link, const struct route *route)
{
    for (size_t i = 0; link && i < link->route_count; i++)
        if (route_key_equal(&link->routes[i], route))
            return &link->routes[i];
    for (size_t i = 0; link && i < link->foreign_route_count; i++)
        if (route_key_equal(&link->foreign_routes[i].route, route))
            return &link->foreign_routes[i].route;
    return NULL;
}

static void find_of_route(const struct deviation_sight *sight, const struct step *step, struct deviation_list *list)
{
    char pointer[ERR_POINTER_MAX];
    const struct route *found;
    struct deviation *item;

    route_pointer(&step->route, sight->device, pointer);
    if (step->kind == STEP_ROUTE_ADD) {
        found = route_in_place(sight->link, &step->route);
        item = list_add(list, pointer, step->kind);
        put_route(item->wanted, &step->route);
        if (found)
            put_route(item->found, found);
    } else if (!route_comes_back(sight, &step->route)) {
        item = list_add(list, pointer, step->kind);
        put_route(item->found, &step->route);
    }
}

/* ---- the worker -------------------------------------------------------------------------------------------------- */

/* What netd runs is known by its program and its configuration's fingerprint, not by the document's words. */
static void find_of_worker(const struct deviation_sight *sight, const struct step *step, struct deviation_list *list)
{
    bool wanted = sight->device->worker.type != WORKER_NONE;
    struct deviation *item;

    if (step->kind == STEP_WORKER_STOP && wanted)
        return; /* it is started again */
    item = list_add(list, "/worker", step->kind);
    if (wanted)
        (void)snprintf(item->wanted, sizeof(item->wanted), "{\"type\":\"%s\"}",
                       worker_type_name(sight->device->worker.type));
    if (sight->worker)
        (void)snprintf(item->found, sizeof(item->found), "{\"state\":\"%s\"}", worker_state_name(sight->worker->state));
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static size_t pointer_rank(const char *pointer)
{
    size_t length = strcspn(pointer + (pointer[0] == '/'), "/") + (pointer[0] == '/');

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (strlen(fields[i]) == length && strncmp(fields[i], pointer, length) == 0)
            return i;
    return ARRAY_SIZE(fields);
}

/* Entries by their place; what is one too many comes after them. */
static unsigned long pointer_place(const char *pointer)
{
    const char *last = strrchr(pointer, '/');

    return last && last != pointer ? strtoul(last + 1, NULL, 10) : ~0UL;
}

static int deviations_in_order(const void *a, const void *b)
{
    const struct deviation *left = a, *right = b;
    size_t left_rank = pointer_rank(left->pointer), right_rank = pointer_rank(right->pointer);
    unsigned long left_place = pointer_place(left->pointer), right_place = pointer_place(right->pointer);

    if (left_rank != right_rank)
        return (left_rank > right_rank) - (left_rank < right_rank);
    if (left_place != right_place)
        return (left_place > right_place) - (left_place < right_place);
    return strcmp(left->found, right->found);
}

#define STEPS_READ_MAX 2048 /* many more than are shown: some of them are compared with each other */

static void find_of_step(const struct deviation_sight *sight, const struct step *step, struct deviation_list *list)
{
    switch (step->kind) {
    case STEP_LINK_SET:
        find_of_link(sight, step, list);
        return;
    case STEP_ADDRESS_ADD:
    case STEP_ADDRESS_DELETE:
        find_of_address(sight, step, list);
        return;
    case STEP_ROUTE_ADD:
    case STEP_ROUTE_DELETE:
        find_of_route(sight, step, list);
        return;
    case STEP_WORKER_START:
    case STEP_WORKER_STOP:
    case STEP_WORKER_CONFIGURE:
        find_of_worker(sight, step, list);
        return;
    case STEP_DEVICE_ADOPT:
    case STEP_DEVICE_RELEASE:
    case STEP_DEVICE_DELETE:
    case STEP_DEVICE_CREATE:
    case STEP_KIND_N:
        return;
    }
}

int deviations_find(const struct deviation_sight *sight, struct deviation **ret_deviations, size_t *ret_count)
{
    struct deviation_sight part = *sight;
    struct deviation_list list = {0};
    bool made = !sight->link;

    for (size_t i = 0; i < sight->step_count; i++)
        made = made || sight->steps[i].kind == STEP_DEVICE_CREATE || sight->steps[i].kind == STEP_DEVICE_DELETE;
    if (made)
        find_of_device(sight, &list);
    if (part.step_count > STEPS_READ_MAX)
        part.step_count = STEPS_READ_MAX;
    for (size_t i = 0; !made && i < part.step_count; i++)
        find_of_step(&part, &part.steps[i], &list);
    if (list.failed) {
        free(list.items);
        return -ENOMEM;
    }
    if (list.count > 1)
        qsort(list.items, list.count, sizeof(*list.items), deviations_in_order);
    *ret_deviations = list.items;
    *ret_count = list.count < DEVIATIONS_MAX ? list.count : DEVIATIONS_MAX;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of store, plan and engine share: documents from text, and a kernel's state as text. */
#ifndef TUNWRIGHT_TEST_ENGINE_FIXTURE_H
#define TUNWRIGHT_TEST_ENGINE_FIXTURE_H

#include "tunwright/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A document with single quotes for double ones. */
static inline struct device *device_of(const char *text)
{
    struct err_list *errors = calloc(1, sizeof(*errors));
    char *json = strdup(text);
    struct device *device = NULL;

    assert_non_null(json);
    assert_non_null(errors);
    for (char *c = json; *c; c++)
        if (*c == '\'')
            *c = '"';
    if (device_parse(json, strlen(json), NULL, true, &device, errors) < 0)
        fail_msg("%s: %s %s", text, errors->items[0].pointer, errors->items[0].message);
    free(json);
    free(errors);
    return device;
}

static inline struct uuid uuid_of(unsigned number)
{
    struct uuid uuid = {.bytes = {'T', 'E', 'S', 'T', '!', '!', 0x80, 0, 0x80}};

    uuid.bytes[14] = (uint8_t)(number >> 8);
    uuid.bytes[15] = (uint8_t)number;
    return uuid;
}

/* ---- a kernel's state as text, so that two can be compared and shown --------------------------------------------- */

static inline int texts_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline char *route_text(const struct route *route, const char *device)
{
    char to[IP_PREFIX_TEXT_SIZE], via[IP_ADDR_TEXT_SIZE] = "-", source[IP_ADDR_TEXT_SIZE] = "-", *text = NULL;

    ip_prefix_print(&route->to, to);
    if (route->via.family)
        ip_addr_print(&route->via, via);
    if (route->source.family)
        ip_addr_print(&route->source, source);
    assert_true(asprintf(&text, "%s route %s via %s source %s metric %u table %u %s", device, to, via, source,
                         route->metric, route->table, route_type_name(route->type)) > 0);
    return text;
}

/* One line for each thing there is, in order; without what differs from run to run (ifindex, pid, times). Owned. */
static inline char *kernel_text(const struct observed *state)
{
    char *lines[4096], place[256], prefix[IP_PREFIX_TEXT_SIZE], *text;
    size_t count = 0;
    struct buf out = {0};

    for (size_t i = 0; i < state->link_count; i++) {
        const struct observed_link *link = &state->links[i];

        snprintf(place, sizeof(place), "%s/%s", link->netns, link->name);
        assert_true(asprintf(&lines[count++],
                             "%s kind %d ours %d up %d multi %d mtu %u len %u mac %02x%02x owner %d %d"
                             " master %s",
                             place, link->kind, link->ours, link->up, link->multi_queue, link->mtu, link->txqueuelen,
                             link->mac[0], link->mac[5], (int)link->owner, (int)link->group, link->master) > 0);
        for (size_t j = 0; j < link->address_count; j++)
            if (!link->addresses[j].by_kernel)
                assert_true(asprintf(&lines[count++], "%s address %s ours %d secondary %d", place,
                                     ip_prefix_print(&link->addresses[j].prefix, prefix), link->addresses[j].ours,
                                     link->addresses[j].secondary) > 0);
        for (size_t j = 0; j < link->route_count; j++)
            lines[count++] = route_text(&link->routes[j], place);
        assert_true(count < ARRAY_SIZE(lines) - 600);
    }
    for (size_t i = 0; i < state->unattached_count; i++)
        lines[count++] = route_text(&state->unattached[i], "~");
    for (size_t i = 0; i < state->worker_count; i++) {
        char uuid[UUID_TEXT_SIZE];

        assert_true(asprintf(&lines[count++], "worker %s %s %016llx", uuid_print(&state->workers[i].uuid, uuid) + 24,
                             state->workers[i].program, (unsigned long long)state->workers[i].tag) > 0);
    }
    if (count > 1)
        qsort(lines, count, sizeof(*lines), texts_compare);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&out, "%s\n", lines[i]);
        free(lines[i]);
    }
    buf_add_text(&out, "");
    text = buf_take(&out);
    assert_non_null(text);
    return text;
}

#endif

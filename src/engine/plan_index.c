/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- orders ------------------------------------------------------------------------------------------------------ */

static int number_compare(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int addr_compare(const struct ip_addr *a, const struct ip_addr *b)
{
    int order = number_compare(a->family, b->family);

    return order ? order : memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

int route_compare(const struct route *a, const struct route *b)
{
    int order = addr_compare(&a->to.addr, &b->to.addr);

    if (order == 0)
        order = number_compare(a->to.length, b->to.length);
    if (order == 0)
        order = number_compare(a->table, b->table);
    if (order == 0)
        order = number_compare(a->metric, b->metric);
    if (order == 0)
        order = number_compare(a->type, b->type);
    if (order == 0)
        order = addr_compare(&a->via, &b->via);
    if (order == 0)
        order = addr_compare(&a->source, &b->source);
    return order;
}

static int place_compare(const char *netns_a, const char *name_a, const char *netns_b, const char *name_b)
{
    int order = strcmp(netns_a, netns_b);

    return order ? order : strcmp(name_a, name_b);
}

static int uuid_compare(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static int links_by_name(const void *a, const void *b)
{
    const struct observed_link *left = *(const struct observed_link *const *)a;
    const struct observed_link *right = *(const struct observed_link *const *)b;

    return place_compare(left->netns, left->name, right->netns, right->name);
}

static int links_by_uuid(const void *a, const void *b)
{
    const struct observed_link *left = *(const struct observed_link *const *)a;
    const struct observed_link *right = *(const struct observed_link *const *)b;
    int order = uuid_compare(&left->uuid, &right->uuid);

    return order ? order : place_compare(left->netns, left->name, right->netns, right->name);
}

static int workers_by_uuid(const void *a, const void *b)
{
    const struct observed_worker *left = *(const struct observed_worker *const *)a;
    const struct observed_worker *right = *(const struct observed_worker *const *)b;

    return uuid_compare(&left->uuid, &right->uuid);
}

static int routes_in_order(const void *a, const void *b)
{
    return route_compare(*(const struct route *const *)a, *(const struct route *const *)b);
}

/* ---- the index --------------------------------------------------------------------------------------------------- */

/* One element more than needed, so that a NULL means no memory. */
static void *array_of(size_t count, size_t size)
{
    return calloc(count + 1, size);
}

int plan_index_build(const struct observed *observed, struct plan_index *ret_index)
{
    struct plan_index index = {
        .observed = observed,
        .by_name = array_of(observed->link_count, sizeof(*index.by_name)),
        .by_uuid = array_of(observed->link_count, sizeof(*index.by_uuid)),
        .workers = array_of(observed->worker_count, sizeof(*index.workers)),
        .unattached = array_of(observed->unattached_count, sizeof(*index.unattached)),
        .leaving = array_of(observed->link_count, sizeof(*index.leaving)),
    };

    if (!index.by_name || !index.by_uuid || !index.workers || !index.unattached || !index.leaving) {
        plan_index_done(&index);
        return -ENOMEM;
    }
    for (size_t i = 0; i < observed->link_count; i++) {
        const struct observed_link *link = &observed->links[i];

        index.by_name[i] = link;
        if (link->ours && link->kind != OBSERVED_OTHER)
            index.by_uuid[index.uuid_count++] = link;
    }
    for (size_t i = 0; i < observed->worker_count; i++)
        index.workers[i] = &observed->workers[i];
    for (size_t i = 0; i < observed->unattached_count; i++)
        index.unattached[i] = &observed->unattached[i];
    qsort(index.by_name, observed->link_count, sizeof(*index.by_name), links_by_name);
    qsort(index.by_uuid, index.uuid_count, sizeof(*index.by_uuid), links_by_uuid);
    qsort(index.workers, observed->worker_count, sizeof(*index.workers), workers_by_uuid);
    qsort(index.unattached, observed->unattached_count, sizeof(*index.unattached), routes_in_order);
    *ret_index = index;
    return 0;
}

void plan_index_done(struct plan_index *index)
{
    free(index->by_name);
    free(index->by_uuid);
    free(index->workers);
    free(index->unattached);
    free(index->leaving);
    memset(index, 0, sizeof(*index));
}

const struct observed_link *plan_index_name(const struct plan_index *index, const char *netns, const char *name)
{
    size_t low = 0, high = index->observed->link_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct observed_link *link = index->by_name[middle];
        int order = place_compare(link->netns, link->name, netns, name);

        if (order == 0)
            return link;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct observed_link *plan_index_device(const struct plan_index *index, const struct uuid *uuid,
                                              const char *netns, const char *name)
{
    const struct observed_link *found = NULL;
    size_t low = 0, high = index->uuid_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (uuid_compare(&index->by_uuid[middle]->uuid, uuid) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < index->uuid_count && uuid_equal(&index->by_uuid[low]->uuid, uuid); low++) {
        const struct observed_link *link = index->by_uuid[low];

        if (!found || place_compare(link->netns, link->name, netns, name) == 0)
            found = link;
    }
    return found;
}

const struct observed_worker *plan_index_worker(const struct plan_index *index, const struct uuid *uuid)
{
    size_t low = 0, high = index->observed->worker_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = uuid_compare(&index->workers[middle]->uuid, uuid);

        if (order == 0)
            return index->workers[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

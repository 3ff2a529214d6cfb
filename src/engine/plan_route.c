/* SPDX-License-Identifier: Apache-2.0 */
#include "planning.h"

#include <errno.h>
#include <stdlib.h>

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

static int route_add(struct planning *p, const struct route *route)
{
    struct step *step = planning_add(p, STEP_ROUTE_ADD);

    if (!step)
        return -ENOMEM;
    step->route = *route;
    return 0;
}

static int route_delete(struct planning *p, const struct route *route, uint8_t protocol)
{
    struct step *step = planning_take_away(p, STEP_ROUTE_DELETE);

    if (!step)
        return -ENOMEM;
    step->route = *route;
    step->protocol = protocol;
    return 0;
}

/* The routes that shall be there: those of a device that is up. */
static size_t routes_wanted(const struct wanted *wanted)
{
    return wanted->now && wanted->now->up ? wanted->now->route_count : 0;
}

static int routes_add_missing(struct planning *p, const struct route *const *seen, size_t seen_count, bool unattached)
{
    const struct route *routes = p->wanted->now->routes;
    size_t wanted_count = routes_wanted(p->wanted);
    int r = 0;

    for (size_t i = 0; i < wanted_count && r == 0; i++)
        if (route_is_unattached(&routes[i]) == unattached && !route_among(seen, seen_count, &routes[i]))
            r = route_add(p, &routes[i]);
    return r;
}

static int routes_delete_unwanted(struct planning *p, const struct route *const *seen, size_t seen_count,
                                  bool unattached)
{
    const struct device *now = p->wanted->now;
    CLEANUP(sorted_done) const struct route **wanted = NULL;
    size_t count = 0;
    int r = routes_sort(now ? now->routes : NULL, routes_wanted(p->wanted), unattached, &wanted, &count);

    for (size_t i = 0; i < seen_count && r == 0; i++)
        if (!route_among(wanted, count, seen[i]))
            r = route_delete(p, seen[i], NET_PROTOCOL);
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

static int routes_marked_delete(struct planning *p)
{
    CLEANUP(sorted_done) const struct route **seen = NULL;
    size_t count = 0;
    int r = routes_sort(p->link->routes, p->link->route_count, false, &seen, &count);

    return r < 0 ? r : routes_delete_unwanted(p, seen, count, false);
}

/* Unmarked ones go where they were in the document and left it, and where they stand in the way of one that was in the
 * document, and is: somebody has replaced it. */
static int routes_unmarked_delete(struct planning *p)
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
            r = route_delete(p, &seen->route, seen->protocol);
    }
    return r;
}

int plan_routes_delete(struct planning *p)
{
    int r = routes_marked_delete(p);

    return r == 0 ? routes_unmarked_delete(p) : r;
}

/* Whoever made a route that is there, it is there. */
static int routes_attached_add(struct planning *p)
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
    return routes_add_missing(p, seen, ours + theirs, false);
}

int plan_routes_add(struct planning *p)
{
    int r = routes_attached_add(p);

    if (r < 0 || p->wanted->now->netns[0])
        return r;
    return routes_add_missing(p, p->index->unattached, p->index->observed->unattached_count, true);
}

int plan_routes_unattached_delete(struct planning *p)
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
    return routes_delete_unwanted(p, gone, kept, true);
}

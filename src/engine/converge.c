/* SPDX-License-Identifier: Apache-2.0 */
#include "converge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static int texts_in_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void texts_done(const char ***texts)
{
    free(*texts);
}

/* The named network namespaces that the items are about, each once. Borrows the names; *ret_names is owned. */
static int netns_collect(const struct converge_item *items, size_t count, const char ***ret_names, size_t *ret_count)
{
    const char **names = calloc(count * 3 + 1, sizeof(*names));
    size_t found = 0, kept = 0;

    if (!names)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct wanted *wanted = &items[i].wanted;
        const char *const places[] = {
            wanted->netns,
            wanted->now ? wanted->now->netns : "",
            wanted->before ? wanted->before->netns : "",
        };

        for (size_t j = 0; j < ARRAY_SIZE(places); j++)
            if (places[j] && places[j][0])
                names[found++] = places[j];
    }
    qsort(names, found, sizeof(*names), texts_in_order);
    for (size_t i = 0; i < found; i++)
        if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0)
            names[kept++] = names[i];
    *ret_names = names;
    *ret_count = kept;
    return 0;
}

int converge_look(struct kernel *kernel, const struct converge_item *items, size_t count, struct observed *look,
                  struct err *ret_err)
{
    CLEANUP(texts_done) const char **names = NULL;
    struct observed seen = {0};
    struct err err = {0};
    size_t name_count = 0;
    int r;

    if (netns_collect(items, count, &names, &name_count) < 0)
        return err_no_memory(ret_err);
    r = kernel->ops->observe(kernel, names, name_count, &seen, &err);
    if (r < 0) {
        observed_done(&seen);
        if (error_is_absence(r, &err) && err.code != ERR_NETD_UNAVAILABLE)
            (void)err_set(&err, r, ERR_NETD_UNAVAILABLE, "", "tunwright-netd cannot be reached");
        else if (err.code == ERR_NONE)
            (void)err_set_kernel(&err, r, "observe", "the kernel could not be read");
        if (ret_err)
            *ret_err = err;
        return r;
    }
    observed_done(look);
    *look = seen;
    return 0;
}

/* ---- planning ---------------------------------------------------------------------------------------------------- */

/* Appends the item's steps, unless it is held, and says in the item whether it had any. */
static int item_plan(struct converge_item *item, unsigned round, struct plan *plan, struct plan_index *index)
{
    struct wanted wanted = item->wanted;
    struct device before;
    size_t start = plan->count;
    int r;

    if (round > 0 && wanted.before && wanted.now) {
        /* the kernel does not tell how many queues a device has: only the first plan goes by the documents */
        before = *wanted.before;
        before.queues = wanted.now->queues;
        wanted.before = &before;
    }
    r = plan_device(plan, &wanted, index, &item->err);
    if (r < 0) {
        item->error = r;
        item->differs = true;
        return r;
    }
    item->differs = plan->count > start;
    (void)snprintf(item->first, sizeof(item->first), "%s",
                   item->differs ? step_kind_name(plan->steps[start].kind) : "");
    if (item->held)
        plan_truncate(plan, start);
    return 0;
}

/* What is going comes first, so that its names are known to be free. Later rounds ask only those that had something to
 * do. */
static int round_plan(struct converge_item *items, size_t count, enum converge_mode mode, unsigned round,
                      const struct observed *look, struct plan *plan, struct err *ret_err)
{
    struct plan_index index = {0};
    int r = 0;

    if (plan_index_build(look, &index) < 0)
        return err_no_memory(ret_err);
    for (int gone = 1; gone >= 0 && r == 0; gone--) {
        for (size_t i = 0; i < count && r == 0; i++) {
            struct converge_item *item = &items[i];

            if ((item->wanted.now == NULL) != gone || item->error < 0 || (round > 0 && (item->held || !item->differs)))
                continue;
            r = item_plan(item, round, plan, &index);
            if (r < 0 && mode == CONVERGE_ATOMIC && ret_err)
                *ret_err = item->err;
            if (mode == CONVERGE_BEST_EFFORT)
                r = 0;
        }
    }
    plan_index_done(&index);
    if (r == 0 && plan_order(plan) < 0)
        r = err_no_memory(ret_err);
    return r;
}

int converge_plan(struct converge_item *items, size_t count, const struct observed *look, struct plan *plan,
                  struct err *ret_err)
{
    return round_plan(items, count, CONVERGE_ATOMIC, 0, look, plan, ret_err);
}

/* The rounds are used up and the kernel still differs: something in it works against us. */
static int items_give_up(struct converge_item *items, size_t count, enum converge_mode mode, struct err *ret_err)
{
    int r = 0;

    for (size_t i = 0; i < count; i++) {
        struct converge_item *item = &items[i];

        if (item->held || !item->differs || item->error < 0)
            continue;
        item->error = err_set(&item->err, -EAGAIN, ERR_KERNEL_REFUSED, "",
                              "the kernel did not keep what was asked of it: after %d rounds %s is still to be done",
                              CONVERGE_ROUNDS, item->first);
        (void)text_copy(item->err.operation, sizeof(item->err.operation), item->first);
        if (r == 0 && mode == CONVERGE_ATOMIC) {
            r = item->error;
            if (ret_err)
                *ret_err = item->err;
        }
    }
    return r;
}

int converge(struct kernel *kernel, struct converge_item *items, size_t count, enum converge_mode mode,
             struct observed *look, struct err *ret_err)
{
    return converge_telling(kernel, items, count, mode, look, NULL, ret_err);
}

int converge_telling(struct kernel *kernel, struct converge_item *items, size_t count, enum converge_mode mode,
                     struct observed *look, struct progress *progress, struct err *ret_err)
{
    for (unsigned round = 0;; round++) {
        struct plan plan = {0};
        int r = round_plan(items, count, mode, round, look, &plan, ret_err);
        bool done = plan.count == 0;

        if (r == 0 && !done && round < CONVERGE_ROUNDS)
            r = plan_apply(kernel, &plan, items, count, mode, progress, ret_err);
        plan_done(&plan);
        if (r < 0 || done)
            return r;
        if (round == CONVERGE_ROUNDS)
            return items_give_up(items, count, mode, ret_err);
        r = converge_look(kernel, items, count, look, ret_err);
        if (r < 0)
            return r;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* plan: the parts of plan_build, for those who plan many devices and want to know of each. Private to the engine and
 * its tests. */
#ifndef TUNWRIGHT_ENGINE_PLAN_H
#define TUNWRIGHT_ENGINE_PLAN_H

#include "tunwright/engine.h"

/* A look at the kernel, sorted for searching. Borrows the observed, which must not move meanwhile. */
struct plan_index {
    const struct observed *observed;
    const struct observed_link **by_name;   /* all of them, by netns and name */
    const struct observed_link **by_uuid;   /* our TUN and TAP devices */
    const struct observed_worker **workers; /* by uuid */
    const struct route **unattached;
    size_t uuid_count;
    bool *leaving; /* by the link's place: a plan deletes it. Written by plan_device */
};
int plan_index_build(const struct observed *observed, struct plan_index *ret_index);
void plan_index_done(struct plan_index *index);
const struct observed_link *plan_index_name(const struct plan_index *index, const char *netns, const char *name);
/* The device of that uuid. Where several carry it (an alias can be copied by hand), the one of that netns and name. */
const struct observed_link *plan_index_device(const struct plan_index *index, const struct uuid *uuid,
                                              const char *netns, const char *name);
const struct observed_worker *plan_index_worker(const struct plan_index *index, const struct uuid *uuid);

/* Appends the steps of one device, not yet in the order of a plan. What goes should be planned before what comes, so
 * that its name is known to be free. On failure the plan is as it was. */
int plan_device(struct plan *plan, const struct wanted *wanted, const struct plan_index *index, struct err *ret_err);
/* Drops all steps from `count` on. */
void plan_truncate(struct plan *plan, size_t count);
/* Puts the steps in the order of enum step_kind, and in the given order within a kind. */
int plan_order(struct plan *plan);

/* A total order over all fields of a route, its key first. */
int route_compare(const struct route *a, const struct route *b);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: what leads from what is seen to what is wanted, a pure function. Private to the engine and its tests.
 *
 * Devices that are not wanted are not touched. A device whose kind, queues (single or multi) or netns differ is deleted
 * and created. Routes are wanted only of a device that is up. Addresses made by the kernel, and those not ours, are left
 * alone.
 */
#ifndef TUNWRIGHT_ENGINE_PLAN_H
#define TUNWRIGHT_ENGINE_PLAN_H

#include "tunwright/engine.h"

/* One device that the plan is about. */
struct wanted {
    struct uuid uuid;
    const char *name;            /* its name */
    const char *netns;           /* where it is, or was */
    const struct device *now;    /* as it shall be; NULL: gone */
    const struct device *before; /* as it was last committed; NULL: new. Its routes without a device are the only ones
                                    of their kind that a plan may take away */
    bool takes_unmarked; /* `before` is the committed document (not what a failed change tried), or the one that the
                            device was found to have: what it lists may be deleted although it carries no mark */
    bool adopts;         /* `now`: a TUN/TAP of that name and kind without an alias is taken over, not a conflict */
    bool releases; /* the device loses our mark and its worker, and stays as it is otherwise; with a `now` it is led
                      there first */
    bool yields;   /* another device's worker takes, or may wait for, the address of its worker, or its own takes it
                      anew (0.0.0.0 after 10.0.0.1): that stops before it gets another one */
};

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

/* Appends the steps of one device, not yet in the order of a plan: none where nothing differs. What goes should be
 * planned before what comes, so that its name is known to be free. -ENOMEM; -EEXIST with ERR_FOREIGN_DEVICE where the
 * wanted name is taken by what is not ours; what stands in the way of taking a device over. Then the plan is as it was. */
int plan_device(struct plan *plan, const struct wanted *wanted, const struct plan_index *index, struct err *ret_err);
/* Drops all steps from `count` on. */
void plan_truncate(struct plan *plan, size_t count);
/* Puts the steps in the order of enum step_kind, and in the given order within a kind. */
int plan_order(struct plan *plan);

/* A total order over all fields of a route, its key first. */
int route_compare(const struct route *a, const struct route *b);

#endif

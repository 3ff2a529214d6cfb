/* SPDX-License-Identifier: Apache-2.0 */
/* planning: the parts of plan_device, one for each thing that a device has. Private to the plan. */
#ifndef TUNWRIGHT_ENGINE_PLANNING_H
#define TUNWRIGHT_ENGINE_PLANNING_H

#include "plan.h"

/* What is known about the device whose steps are being made. */
struct planning {
    struct plan *plan;
    const struct wanted *wanted;
    const struct plan_index *index;
    const struct observed_link *link;     /* its device, NULL: none */
    const struct observed_worker *worker; /* its worker, NULL: none */
    bool keep;                            /* the device that is there will do */
};

/* A new step at the plan's end, about the wanted device. NULL: no memory. */
struct step *planning_add(struct planning *p, enum step_kind kind);
/* As planning_add, about the device as it is now and where it is now. */
struct step *planning_take_away(struct planning *p, enum step_kind kind);

/* These append their steps. Without a comment: 0 or -ENOMEM. */

/* Whether the device can become the wanted one. Its kind, its place and its queues are settled when it is made. */
bool plan_link_will_do(const struct observed_link *link, const struct wanted *wanted);
int plan_link_create(struct planning *p);
int plan_link_set(struct planning *p);
/* A device of the wanted name that carries no alias becomes this one. Fills the error, whatever it is. */
int plan_link_adopt(struct planning *p, struct err *ret_err);
int plan_link_release(struct planning *p);

int plan_addresses_delete(struct planning *p);
int plan_addresses_add(struct planning *p);

/* Routes of the device itself that shall go. They go with it, so there is nothing to take away from one that is
 * deleted. */
int plan_routes_delete(struct planning *p);
/* Routes without a device. Nothing in the kernel says whose they are: only those that the last document had may go. */
int plan_routes_unattached_delete(struct planning *p);
int plan_routes_add(struct planning *p);

#endif

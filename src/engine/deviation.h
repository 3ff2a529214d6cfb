/* SPDX-License-Identifier: Apache-2.0 */
/* deviation: what status says of where the kernel differs from a document. Private to the engine and its tests. */
#ifndef TUNWRIGHT_ENGINE_DEVIATION_H
#define TUNWRIGHT_ENGINE_DEVIATION_H

#include "plan.h"

/* What there is to say it from. All borrowed. */
struct deviation_sight {
    const struct device *device;          /* the document */
    const struct observed_link *link;     /* NULL: there is no such device */
    const struct observed_worker *worker; /* NULL: it has none */
    const struct step *steps;             /* those that a plan has for this device */
    size_t step_count;
};

/*
 * One for each thing that a step would mend, in the document's order, at most DEVIATIONS_MAX. Where the device is to be
 * made, or made anew, only what that is for: all else follows from it. *ret_deviations is owned, and NULL where there is
 * none. -ENOMEM.
 */
int deviations_find(const struct deviation_sight *sight, struct deviation **ret_deviations, size_t *ret_count);

/* Where in the document a step belongs: "/mtu", "/routes/3"; "/routes" for a route that is in no document, "" for
 * several settings at once. `device` may be NULL. */
void step_pointer(const struct step *step, const struct device *device, char out[static ERR_POINTER_MAX]);

#endif

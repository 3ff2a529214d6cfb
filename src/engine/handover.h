/* SPDX-License-Identifier: Apache-2.0 */
/* handover: devices that are taken over from somebody, or let go. Private to the engine. */
#ifndef TUNWRIGHT_ENGINE_HANDOVER_H
#define TUNWRIGHT_ENGINE_HANDOVER_H

#include "transaction.h"

/* CHANGE_DEVICE_ADOPT: looks for the device, and adds it as it was found, with the change's patch on it. */
int handover_collect(struct change *change, struct transaction *transaction);

/*
 * What is kept while a device is taken over: the document of what was found, which the way back leads to, with those
 * routes of `next` that belong to no device, which nothing else would tell to be ours. *ret_device is owned. -ENOMEM.
 */
int handover_merge(const struct device *found, const struct device *next, struct device **ret_device);
/* What was found, out of what handover_merge made. NULL: no memory. */
struct document *handover_found(const struct device *merged);

#endif

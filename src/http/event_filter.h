/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event_filter: which devices, and which events, one client is shown: what it asks for, and what it may see.
 */
#ifndef TUNWRIGHT_HTTP_EVENT_FILTER_H
#define TUNWRIGHT_HTTP_EVENT_FILTER_H

#include "tunwright/engine.h"

#include <stdatomic.h>

struct request;

/* Shared by streams: it is large. */
struct event_filter {
    atomic_size_t references;
    char device[DEVICE_NAME_SIZE]; /* "": all */
    struct selector wanted;        /* by the query */
    struct selector own;           /* of who asks: nothing else exists for it */
    bool sees_tokens;              /* who has which is the admins' business */
};

/* One reference, and nothing asked for, by nobody of importance; NULL: no memory. */
struct event_filter *event_filter_new(void);
/* What the query asks for by `device` and `selector`, and what who asks may see. -EINVAL with ERR_INVALID_QUERY. */
int event_filter_read(struct event_filter *filter, const struct request *request, struct err *ret_err);
struct event_filter *event_filter_share(struct event_filter *filter);
void event_filter_release(struct event_filter *filter);
/* Whether one can stand in for the other. */
bool event_filter_equal(const struct event_filter *a, const struct event_filter *b);
bool event_filter_takes_device(const struct event_filter *filter, const struct device *device);

/*
 * By the labels that the device has in the snapshot. Of a device that is gone nobody knows the labels any more: who may
 * see all devices is told of the deletion, who may not is told nothing, nor later of what had that name before. What is about no device is shown only where
 * nothing is asked for but everything.
 */
bool event_filter_takes(const struct event_filter *filter, const struct snapshot *snapshot, const struct event *event);

#endif

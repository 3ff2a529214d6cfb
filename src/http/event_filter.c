/* SPDX-License-Identifier: Apache-2.0 */
#include "event_filter.h"

#include "request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct event_filter *event_filter_new(void)
{
    struct event_filter *filter = calloc(1, sizeof *filter);
    if (filter)
        atomic_init(&filter->references, 1);
    return filter;
}

struct event_filter *event_filter_share(struct event_filter *filter)
{
    atomic_fetch_add_explicit(&filter->references, 1, memory_order_relaxed);
    return filter;
}

void event_filter_release(struct event_filter *filter)
{
    if (filter && atomic_fetch_sub_explicit(&filter->references, 1, memory_order_acq_rel) == 1)
        free(filter);
}

int event_filter_read(struct event_filter *filter, const struct request *request, struct err *ret_err)
{
    const char *device = request_query(request, "device"), *selector = request_query(request, "selector");
    if (device && (!device_name_is_valid(device) || text_copy(filter->device, sizeof filter->device, device)))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "\"%.64s\" cannot be a device's name", device);
    struct err e;
    if (selector && selector_parse(selector, &filter->wanted, &e))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "selector: %.250s", e.message);
    filter->own = request->identity.selector;
    filter->sees_tokens = request->identity.role >= ROLE_ADMIN;
    return 0;
}

static bool selector_equal(const struct selector *a, const struct selector *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct selector_term *x = &a->terms[i], *y = &b->terms[i];
        bool has_value = x->op == SELECTOR_EQUAL || x->op == SELECTOR_NOT_EQUAL;
        if (x->op != y->op || strcmp(x->label.key, y->label.key) != 0 ||
            (has_value && strcmp(x->label.value, y->label.value) != 0))
            return false;
    }
    return true;
}

bool event_filter_equal(const struct event_filter *a, const struct event_filter *b)
{
    return a->sees_tokens == b->sees_tokens && !strcmp(a->device, b->device) &&
           selector_equal(&a->wanted, &b->wanted) && selector_equal(&a->own, &b->own);
}

bool event_filter_takes_device(const struct event_filter *filter, const struct device *device)
{
    return (!*filter->device || !strcmp(filter->device, device->name)) &&
           (!filter->wanted.count || selector_matches(&filter->wanted, device)) &&
           (!filter->own.count || selector_matches(&filter->own, device));
}

static bool is_about_token(const struct event *event)
{
    return event->type == EVENT_TOKEN_CREATED || event->type == EVENT_TOKEN_DELETED;
}

bool event_filter_takes(const struct event_filter *filter, const struct snapshot *snapshot, const struct event *event)
{
    if (is_about_token(event) && !filter->sees_tokens)
        return false;
    if (!*event->device)
        return !*filter->device && !filter->wanted.count && !filter->own.count;
    if (*filter->device && strcmp(filter->device, event->device) != 0)
        return false;
    if (!filter->wanted.count && !filter->own.count)
        return true;
    const struct snapshot_device *device = snapshot_device_find(snapshot, event->device);
    if (!device)
        return !filter->own.count && event->type == EVENT_DEVICE_DELETED;
    /* one of that name that was there before may have had other labels */
    if (filter->own.count && event->time_ns < device->stored.created_ns)
        return false;
    return event_filter_takes_device(filter, device->stored.device);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "device_list.h"

#include "answer.h"
#include "handlers.h"
#include "page.h"
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct filter {
    struct selector selector;
    const char *cursor; /* the last name of the page before */
    size_t limit;       /* 0: all */
};

static int filter_read(const struct target *target, struct filter *ret_filter, struct err *ret_err)
{
    const char *selector = target_query_find(target, "selector");
    struct filter filter = {.cursor = target_query_find(target, "cursor")};
    struct err e = {0};
    if (selector && selector_parse(selector, &filter.selector, &e))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "%s", e.message);
    if (filter.cursor && !device_name_is_valid(filter.cursor))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "cursor is none that a page before led to");
    int error = page_limit(target, 0, &filter.limit, ret_err);
    if (!error)
        *ret_filter = filter;
    return error;
}

static bool is_listed(const struct request *request, const struct filter *filter, const struct snapshot_device *device)
{
    return (!filter->cursor || strcmp(device->stored.device->name, filter->cursor) > 0) &&
           devices_visible(request, device) && selector_matches(&filter->selector, device->stored.device);
}

static int list_fill(const struct request *request, const struct filter *filter, struct device_list *list)
{
    const struct snapshot *snapshot = list->snapshot;
    list->devices = calloc(snapshot->device_count + 1, sizeof(const struct snapshot_device *));
    if (!list->devices)
        return -ENOMEM;
    for (size_t i = 0; i < snapshot->device_count; i++) {
        const struct snapshot_device *device = &snapshot->devices[i];
        if (!is_listed(request, filter, device))
            continue;
        if (filter->limit && list->count == filter->limit) {
            list->next = page_next(&request->target, "cursor", list->devices[list->count - 1]->stored.device->name);
            return list->next ? 0 : -ENOMEM;
        }
        list->devices[list->count++] = device;
    }
    return 0;
}

bool device_list_make(struct request *request, struct device_list *ret_list)
{
    struct filter filter;
    struct err e;
    if (filter_read(&request->target, &filter, &e)) {
        answer_problem(request, &e);
        return false;
    }
    struct device_list list = {.snapshot = engine_snapshot(request->server->engine)};
    if (list_fill(request, &filter, &list)) {
        device_list_done(&list);
        answer_no_memory(request);
        return false;
    }
    *ret_list = list;
    return true;
}

void device_list_done(struct device_list *list)
{
    free(list->next);
    free(list->devices);
    if (list->snapshot)
        snapshot_release(list->snapshot);
    *list = (struct device_list){.count = 0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The change that waits for its confirmation, and the devices as they were before it. */
#include "query.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void stored_pending_done(struct stored_pending *pending)
{
    for (size_t i = 0; i < pending->device_count; i++)
        stored_device_done(&pending->devices[i].before);
    free(pending->devices);
    memset(pending, 0, sizeof(*pending));
}

static int pending_device_put(struct store *store, const struct pending_device *device, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_PENDING_DEVICE_PUT, "store what to revert to");
    const struct stored_device *before = &device->before;
    CLEANUP(text_done) char *document = before->device ? device_print(before->device) : NULL;
    char uuid[UUID_TEXT_SIZE];

    if (before->device && !document)
        return err_no_memory(ret_err);
    query_bind_text(&query, device->name);
    query_bind_text(&query, uuid_print(&before->uuid, uuid));
    query_bind_int(&query, before->generation > 0 ? (int64_t)before->generation : 1);
    query_bind_int(&query, before->created_ns);
    query_bind_int(&query, before->changed_ns);
    query_bind_text(&query, document);
    query_bind_int(&query, before->adopts);
    return query_run(&query, ret_err);
}

int store_pending_put(struct store *store, const struct stored_pending *pending, struct err *ret_err)
{
    struct query query;
    int r = store_pending_delete(store, ret_err);

    if (r < 0)
        return r;
    query = query_begin(store, STATEMENT_PENDING_PUT, "store what waits for its confirmation");
    query_bind_int(&query, pending->deadline_ns);
    query_bind_int(&query, pending->confirm_s);
    query_bind_text(&query, pending->actor.name);
    query_bind_text(&query, pending->actor.operation);
    r = query_run(&query, ret_err);
    for (size_t i = 0; r == 0 && i < pending->device_count; i++)
        r = pending_device_put(store, &pending->devices[i], ret_err);
    return r;
}

int store_pending_delete(struct store *store, struct err *ret_err)
{
    struct query pending = query_begin(store, STATEMENT_PENDING_DELETE, "forget what waited for its confirmation");
    struct query devices = query_begin(store, STATEMENT_PENDING_DEVICES_DELETE, "forget what to revert to");
    int r = query_run(&pending, ret_err);

    return r < 0 ? r : query_run(&devices, ret_err);
}

static int pending_device_read(const struct query *query, struct pending_device *ret_device, struct err *ret_err)
{
    struct pending_device device = {0};
    int r = query_read_device(query, true, &device.before, ret_err);

    if (r < 0)
        return r;
    if (!query_copy_text(query, 0, device.name, sizeof(device.name))) {
        stored_device_done(&device.before);
        return err_set(ret_err, -EUCLEAN, ERR_STORE_UNAVAILABLE, "", "a stored device has no valid name");
    }
    *ret_device = device;
    return 0;
}

static int pending_devices_load(struct store *store, struct stored_pending *pending, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_PENDING_DEVICES, "read what to revert to");
    size_t capacity = 0;
    int r = 0, ended;

    while (r == 0 && query_next(&query)) {
        r = array_grow(&pending->devices, &capacity, pending->device_count, sizeof(*pending->devices));
        if (r < 0)
            r = err_no_memory(ret_err);
        else
            r = pending_device_read(&query, &pending->devices[pending->device_count], ret_err);
        pending->device_count += r == 0;
    }
    ended = query_end(&query, r == 0 ? ret_err : NULL);
    return r < 0 ? r : ended;
}

int store_pending_load(struct store *store, bool *ret_found, struct stored_pending *ret_pending, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_PENDING, "read what waits for its confirmation");
    struct stored_pending pending = {0};
    bool found = query_next(&query);
    int r;

    if (found) {
        pending.deadline_ns = query_int(&query, 0);
        pending.confirm_s = (uint32_t)query_int(&query, 1);
        (void)query_copy_text(&query, 2, pending.actor.name, sizeof(pending.actor.name));
        (void)query_copy_text(&query, 3, pending.actor.operation, sizeof(pending.actor.operation));
    }
    r = query_end(&query, ret_err);
    if (r == 0 && found)
        r = pending_devices_load(store, &pending, ret_err);
    if (r < 0) {
        stored_pending_done(&pending);
        return r;
    }
    if (found)
        *ret_pending = pending;
    *ret_found = found;
    return 0;
}

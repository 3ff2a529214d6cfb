/* SPDX-License-Identifier: Apache-2.0 */
/* The devices' rows, those of changes under way, and the transaction around a change of them. */
#include "query.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void stored_device_done(struct stored_device *stored)
{
    device_free(stored->device);
    memset(stored, 0, sizeof(*stored));
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int document_read(const char *name, const char *text, struct device **ret_device, struct err *ret_err)
{
    struct err_list *faults = calloc(1, sizeof(*faults));
    int r;

    if (!faults)
        return err_no_memory(ret_err);
    r = device_parse(text, strlen(text), name, false, ret_device, faults);
    if (r == -ENOMEM)
        r = err_no_memory(ret_err);
    else if (r < 0)
        r = err_set(ret_err, -EUCLEAN, ERR_STORE_UNAVAILABLE, "", "the stored device %s is no longer valid: %s%s%s",
                    name, faults->count > 0 ? faults->items[0].pointer : "", faults->count > 0 ? " " : "",
                    faults->count > 0 ? faults->items[0].message : "?");
    free(faults);
    return r;
}

int query_read_device(const struct query *query, bool may_be_empty, struct stored_device *ret_stored,
                      struct err *ret_err)
{
    const char *name = query_text(query, 0), *uuid = query_text(query, 1), *document = query_text(query, 5);
    struct stored_device stored = {
        .generation = (uint64_t)query_int(query, 2),
        .created_ns = query_int(query, 3),
        .changed_ns = query_int(query, 4),
        .adopts = query_int(query, 6) != 0,
    };
    int r = 0;

    if (!name || !uuid || (!document && !may_be_empty))
        return err_no_memory(ret_err); /* NOT NULL columns: only the conversion can have failed */
    if (uuid_parse(uuid, &stored.uuid) < 0)
        return err_set(ret_err, -EUCLEAN, ERR_STORE_UNAVAILABLE, "", "the stored device %s has no valid uuid", name);
    if (document)
        r = document_read(name, document, &stored.device, ret_err);
    if (r == 0)
        *ret_stored = stored;
    return r;
}

static int rows_load(struct store *store, enum store_statement which, struct stored_device **ret_devices,
                     size_t *ret_count, struct err *ret_err)
{
    struct query query = query_begin(store, which, "read the devices");
    struct stored_device *devices = NULL;
    size_t count = 0, capacity = 0;
    int r = 0, ended;

    while (r == 0 && query_next(&query)) {
        r = array_grow(&devices, &capacity, count, sizeof(*devices));
        if (r < 0)
            r = err_no_memory(ret_err);
        else
            r = query_read_device(&query, false, &devices[count], ret_err);
        count += r == 0;
    }
    ended = query_end(&query, r == 0 ? ret_err : NULL);
    if (r == 0)
        r = ended;
    if (r < 0) {
        while (count > 0)
            stored_device_done(&devices[--count]);
        free(devices);
        return r;
    }
    *ret_devices = devices;
    *ret_count = count;
    return 0;
}

int store_devices_load(struct store *store, struct stored_device **ret_devices, size_t *ret_count, struct err *ret_err)
{
    return rows_load(store, STATEMENT_DEVICES, ret_devices, ret_count, ret_err);
}

int store_attempts_load(struct store *store, struct stored_device **ret_attempts, size_t *ret_count,
                        struct err *ret_err)
{
    return rows_load(store, STATEMENT_ATTEMPTS, ret_attempts, ret_count, ret_err);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

int store_device_put(struct store *store, const struct stored_device *device, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_DEVICE_PUT, "store the device");
    CLEANUP(text_done) char *document = device_print(device->device);
    char uuid[UUID_TEXT_SIZE];

    if (!document)
        return err_no_memory(ret_err);
    query_bind_text(&query, device->device->name);
    query_bind_text(&query, uuid_print(&device->uuid, uuid));
    query_bind_int(&query, (int64_t)device->generation);
    query_bind_int(&query, device->created_ns);
    query_bind_int(&query, device->changed_ns);
    query_bind_text(&query, document);
    return query_run(&query, ret_err);
}

int store_device_delete(struct store *store, const char *name, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_DEVICE_DELETE, "delete the device");
    int r;

    query_bind_text(&query, name);
    r = query_run(&query, ret_err);
    if (r == 0 && sqlite3_changes(store->db) == 0)
        r = err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "", "there is no stored device %s", name);
    return r;
}

int store_attempt_put(struct store *store, const struct uuid *uuid, const struct device *device, bool adopts,
                      struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_ATTEMPT_PUT, "store what is about to be done");
    CLEANUP(text_done) char *document = device_print(device);
    char text[UUID_TEXT_SIZE];

    if (!document)
        return err_no_memory(ret_err);
    query_bind_text(&query, uuid_print(uuid, text));
    query_bind_text(&query, device->name);
    query_bind_text(&query, document);
    query_bind_int(&query, adopts);
    return query_run(&query, ret_err);
}

int store_attempt_delete(struct store *store, const struct uuid *uuid, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_ATTEMPT_DELETE, "forget what was done");
    char text[UUID_TEXT_SIZE];

    query_bind_text(&query, uuid_print(uuid, text));
    return query_run(&query, ret_err);
}

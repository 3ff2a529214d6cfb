/* SPDX-License-Identifier: Apache-2.0 */
/* The devices' rows, and the transaction around a change of them. */
#include "database.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void stored_device_done(struct stored_device *stored)
{
    device_free(stored->device);
    memset(stored, 0, sizeof(*stored));
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int row_read(sqlite3_stmt *row, struct stored_device *ret_stored, struct err *ret_err)
{
    const char *name = (const char *)sqlite3_column_text(row, 0);
    const char *uuid = (const char *)sqlite3_column_text(row, 1);
    const char *document = (const char *)sqlite3_column_text(row, 5);
    struct stored_device stored = {
        .generation = (uint64_t)sqlite3_column_int64(row, 2),
        .created_ns = sqlite3_column_int64(row, 3),
        .changed_ns = sqlite3_column_int64(row, 4),
        .adopts = sqlite3_column_int(row, 6) != 0,
    };
    struct err_list *faults;
    int r;

    if (!name || !uuid || !document)
        return err_no_memory(ret_err); /* NOT NULL columns: only the conversion can have failed */
    if (uuid_parse(uuid, &stored.uuid) < 0)
        return err_set(ret_err, -EUCLEAN, ERR_STORE_UNAVAILABLE, "", "the stored device %s has no valid uuid", name);
    faults = calloc(1, sizeof(*faults));
    if (!faults)
        return err_no_memory(ret_err);
    r = device_parse(document, (size_t)sqlite3_column_bytes(row, 5), name, false, &stored.device, faults);
    if (r == -ENOMEM)
        r = err_no_memory(ret_err);
    else if (r < 0)
        r = err_set(ret_err, -EUCLEAN, ERR_STORE_UNAVAILABLE, "", "the stored device %s is no longer valid: %s%s%s",
                    name, faults->count > 0 ? faults->items[0].pointer : "", faults->count > 0 ? " " : "",
                    faults->count > 0 ? faults->items[0].message : "?");
    free(faults);
    if (r == 0)
        *ret_stored = stored;
    return r;
}

static int rows_load(struct store *store, enum store_statement which, struct stored_device **ret_devices,
                     size_t *ret_count, struct err *ret_err)
{
    sqlite3_stmt *rows = store->statements[which];
    struct stored_device *devices = NULL;
    size_t count = 0, capacity = 0;
    int result, r = 0;

    while ((result = sqlite3_step(rows)) == SQLITE_ROW) {
        void *items = devices;

        r = array_grow(&items, &capacity, count, sizeof(*devices));
        if (r < 0) {
            r = err_no_memory(ret_err);
            break;
        }
        devices = items;
        r = row_read(rows, &devices[count], ret_err);
        if (r < 0)
            break;
        count++;
    }
    if (r == 0 && result != SQLITE_DONE)
        r = database_error(store->db, result, ret_err, "read the devices");
    sqlite3_reset(rows);
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

/* SQLite ends a transaction itself where the disk is full or broken; what comes after must not be written alone. */
static int transaction_require(const struct store *store, struct err *ret_err)
{
    if (!sqlite3_get_autocommit(store->db))
        return 0;
    return err_set(ret_err, -EIO, ERR_STORE_UNAVAILABLE, "", "the database has no transaction open");
}

int store_begin(struct store *store, struct err *ret_err)
{
    return database_step(store, STATEMENT_BEGIN, ret_err, "begin a change of the database");
}

static int device_bind(sqlite3_stmt *statement, const struct stored_device *device, const char *uuid,
                       const char *document)
{
    int result = sqlite3_bind_text(statement, 1, device->device->name, -1, SQLITE_STATIC);

    if (result == SQLITE_OK)
        result = sqlite3_bind_text(statement, 2, uuid, -1, SQLITE_STATIC);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(statement, 3, (sqlite3_int64)device->generation);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(statement, 4, device->created_ns);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(statement, 5, device->changed_ns);
    if (result == SQLITE_OK)
        result = sqlite3_bind_text(statement, 6, document, -1, SQLITE_STATIC);
    return result;
}

int store_device_put(struct store *store, const struct stored_device *device, struct err *ret_err)
{
    sqlite3_stmt *statement = store->statements[STATEMENT_DEVICE_PUT];
    CLEANUP(text_done) char *document = NULL;
    char uuid[UUID_TEXT_SIZE];
    int result, r;

    r = transaction_require(store, ret_err);
    if (r < 0)
        return r;
    document = device_print(device->device);
    if (!document)
        return err_no_memory(ret_err);
    uuid_print(&device->uuid, uuid);
    result = device_bind(statement, device, uuid, document);
    if (result == SQLITE_OK)
        r = database_step(store, STATEMENT_DEVICE_PUT, ret_err, "store the device");
    else
        r = database_error(store->db, result, ret_err, "store the device");
    sqlite3_clear_bindings(statement);
    return r;
}

int store_device_delete(struct store *store, const char *name, struct err *ret_err)
{
    sqlite3_stmt *statement = store->statements[STATEMENT_DEVICE_DELETE];
    int result, r;

    r = transaction_require(store, ret_err);
    if (r < 0)
        return r;
    result = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    if (result == SQLITE_OK)
        r = database_step(store, STATEMENT_DEVICE_DELETE, ret_err, "delete the device");
    else
        r = database_error(store->db, result, ret_err, "delete the device");
    sqlite3_clear_bindings(statement);
    if (r == 0 && sqlite3_changes(store->db) == 0)
        r = err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "", "there is no stored device %s", name);
    return r;
}

int store_attempt_put(struct store *store, const struct uuid *uuid, const struct device *device, bool adopts,
                      struct err *ret_err)
{
    sqlite3_stmt *statement = store->statements[STATEMENT_ATTEMPT_PUT];
    CLEANUP(text_done) char *document = NULL;
    char text[UUID_TEXT_SIZE];
    int result, r;

    r = transaction_require(store, ret_err);
    if (r < 0)
        return r;
    document = device_print(device);
    if (!document)
        return err_no_memory(ret_err);
    result = sqlite3_bind_text(statement, 1, uuid_print(uuid, text), -1, SQLITE_STATIC);
    if (result == SQLITE_OK)
        result = sqlite3_bind_text(statement, 2, device->name, -1, SQLITE_STATIC);
    if (result == SQLITE_OK)
        result = sqlite3_bind_text(statement, 3, document, -1, SQLITE_STATIC);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int(statement, 4, adopts);
    if (result == SQLITE_OK)
        r = database_step(store, STATEMENT_ATTEMPT_PUT, ret_err, "store what is about to be done");
    else
        r = database_error(store->db, result, ret_err, "store what is about to be done");
    sqlite3_clear_bindings(statement);
    return r;
}

int store_attempt_delete(struct store *store, const struct uuid *uuid, struct err *ret_err)
{
    sqlite3_stmt *statement = store->statements[STATEMENT_ATTEMPT_DELETE];
    char text[UUID_TEXT_SIZE];
    int result, r;

    r = transaction_require(store, ret_err);
    if (r < 0)
        return r;
    result = sqlite3_bind_text(statement, 1, uuid_print(uuid, text), -1, SQLITE_STATIC);
    if (result == SQLITE_OK)
        r = database_step(store, STATEMENT_ATTEMPT_DELETE, ret_err, "forget what was done");
    else
        r = database_error(store->db, result, ret_err, "forget what was done");
    sqlite3_clear_bindings(statement);
    return r;
}

int store_commit(struct store *store, struct err *ret_err)
{
    int r = transaction_require(store, ret_err);

    if (r == 0)
        r = database_step(store, STATEMENT_COMMIT, ret_err, "commit the change");
    if (r < 0)
        store_rollback(store);
    return r;
}

void store_rollback(struct store *store)
{
    if (!sqlite3_get_autocommit(store->db))
        (void)database_step(store, STATEMENT_ROLLBACK, NULL, "roll back the change");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: the desired state, on disk. SQLite behind it, with journal_mode=TRUNCATE and synchronous=FULL: what
 * store_commit acknowledged survives a power cut. One connection, used by one thread.
 */
#ifndef TUNWRIGHT_STORE_H
#define TUNWRIGHT_STORE_H

#include "tunwright/base.h"
#include "tunwright/model.h"

struct store;

/* A device as it is kept. */
struct stored_device {
    struct uuid uuid;               /* made by the engine at creation; never changes */
    uint64_t generation;            /* 1 at creation, one more with each change */
    int64_t created_ns, changed_ns; /* CLOCK_REALTIME */
    struct device *device;          /* owned */
};
void stored_device_done(struct stored_device *stored);

/*
 * Opens or makes the database, runs quick_check and the numbered migrations that it lacks (in one transaction, after a
 * backup `<path>.before-<version>`). A damaged file is -EUCLEAN and stays as it is; one of another application, or
 * newer than this program, is -EPROTO.
 */
int store_open(const char *path, struct store **ret_store, struct err *ret_err);
void store_close(struct store *store);

/* 48 random bits made with the database: they begin the uuid of each of its devices, so that a device without a row can
 * be told from another daemon's. */
void store_installation(const struct store *store, uint8_t ret_id[static 6]);
int store_schema_version(const struct store *store);

/* All devices, ordered by name; owned by the caller. A row that no longer validates is -EUCLEAN. */
int store_devices_load(struct store *store, struct stored_device **ret_devices, size_t *ret_count, struct err *ret_err);

/* One change: begin, puts and deletes, then commit or roll back. -ENOSPC (ERR_STORE_FULL) and -EIO, -EROFS, …
 * (ERR_STORE_UNAVAILABLE) leave the state before. */
int store_begin(struct store *store, struct err *ret_err);
int store_device_put(struct store *store, const struct stored_device *device, struct err *ret_err);
int store_device_delete(struct store *store, const char *name, struct err *ret_err);
/* A change that is about to begin, kept by its device's uuid until it is committed or undone: what it adds may outlive
 * a crash without anything in the kernel that says whose it is. Both belong between store_begin and store_commit;
 * deleting what is not there is 0. */
int store_attempt_put(struct store *store, const struct uuid *uuid, const struct device *device, struct err *ret_err);
int store_attempt_delete(struct store *store, const struct uuid *uuid, struct err *ret_err);
/* Those that a crash left: of each, uuid and device. As store_devices_load otherwise. */
int store_attempts_load(struct store *store, struct stored_device **ret_attempts, size_t *ret_count,
                        struct err *ret_err);
int store_commit(struct store *store, struct err *ret_err);
void store_rollback(struct store *store);

#endif

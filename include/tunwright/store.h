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
    bool adopts;                    /* of an attempt: see store_attempt_put; of what waits: see below */
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
 * a crash without anything in the kernel that says whose it is. `adopts`: the change takes over a device that was there,
 * or lets go of one, so that its remains are to be released or adopted again, never deleted. Both belong between
 * store_begin and store_commit; deleting what is not there is 0. */
int store_attempt_put(struct store *store, const struct uuid *uuid, const struct device *device, bool adopts,
                      struct err *ret_err);
int store_attempt_delete(struct store *store, const struct uuid *uuid, struct err *ret_err);
/* Those that a crash left: of each, uuid and device. As store_devices_load otherwise. */
int store_attempts_load(struct store *store, struct stored_device **ret_attempts, size_t *ret_count,
                        struct err *ret_err);
int store_commit(struct store *store, struct err *ret_err);
void store_rollback(struct store *store);
/* Whether it takes a commit: writes what is there already. No transaction may be open. */
int store_probe(struct store *store, struct err *ret_err);

/* All `put`, `delete`, `bump` and `trim` below belong between store_begin and store_commit, like those above. Deleting
 * what is not there is -ENOENT with ERR_NOT_FOUND where it says so, else 0. */

/* ---- revision: how many changes of the configuration there were -------------------------------------------------- */

uint64_t store_revision(const struct store *store); /* as committed */
int store_revision_bump(struct store *store, struct err *ret_err);

/* ---- events ------------------------------------------------------------------------------------------------------ */

enum event_type {
    EVENT_DEVICE_CREATED,
    EVENT_DEVICE_CHANGED,
    EVENT_DEVICE_DELETED,
    EVENT_DEVICE_STATE,         /* detail: the new state and its reason */
    EVENT_WORKER_STATE,         /* detail: the new state and its reason */
    EVENT_CONFIRMATION_PENDING, /* detail: until when, and whose change */
    EVENT_CONFIG_CONFIRMED,
    EVENT_CONFIG_REVERTED, /* detail: by whom, or that the time was over */
    EVENT_FILE_APPLIED,    /* detail: the start-up file's name */
    EVENT_FILE_FAILED,     /* detail: its name, and what is wrong */
    EVENT_TOKEN_CREATED,   /* detail: the token's name */
    EVENT_TOKEN_DELETED,
    EVENT_TYPE_N
};
const char *event_type_name(enum event_type type); /* "device_created", … */

struct event {
    uint64_t sequence; /* from 1; durable, so never given twice */
    int64_t time_ns;   /* CLOCK_REALTIME */
    enum event_type type;
    char device[DEVICE_NAME_SIZE]; /* "": it is about none */
    char detail[ERR_MESSAGE_MAX];
};
int store_event_put(struct store *store, const struct event *event, struct err *ret_err);
/* The newest `most`, oldest first; owned by the caller. An event of a type that this program does not know is left
 * out. */
int store_events_load(struct store *store, size_t most, struct event **ret_events, size_t *ret_count,
                      struct err *ret_err);
/* Of the newest, of whatever type; 0: there was none yet. */
int store_event_newest(struct store *store, uint64_t *ret_sequence, struct err *ret_err);
/* Deletes those up to `through`, and those before the first that is not older than `before_ns`, but never the newest. */
int store_events_trim(struct store *store, uint64_t through, int64_t before_ns, struct err *ret_err);

/* ---- audit ------------------------------------------------------------------------------------------------------- */

#define ACTOR_NAME_SIZE      80
#define ACTOR_ADDRESS_SIZE   72
#define ACTOR_OPERATION_SIZE 128
/* Who asked for a change, and how. All text is UTF-8 without control characters. */
struct actor {
    char name[ACTOR_NAME_SIZE];           /* "uid:0", "token:ci", "certificate:prom", "file:10-site.json", "system" */
    char address[ACTOR_ADDRESS_SIZE];     /* "unix", "192.0.2.1:40112", "[2001:db8::1]:40112", "" for system */
    char operation[ACTOR_OPERATION_SIZE]; /* "PUT /v1/devices/tun0", without the query */
};
struct audit_entry {
    uint64_t sequence; /* from 1 */
    int64_t time_ns;
    struct actor actor;
    char *changes; /* owned: a JSON array, see differences_print, or token_change_print */
};
void audit_entry_done(struct audit_entry *entry);
/* The sequence is given by the store. `changes` is borrowed. */
int store_audit_put(struct store *store, int64_t time_ns, const struct actor *actor, const char *changes,
                    struct err *ret_err);
/* At most `most` entries with a sequence above `after`, oldest first; fewer, but one at least, where their changes have
 * more than AUDIT_LIST_BYTES. Outside of a transaction, too. */
#define AUDIT_LIST_BYTES (16U << 20)
int store_audit_list(struct store *store, uint64_t after, size_t most, struct audit_entry **ret_entries,
                     size_t *ret_count, struct err *ret_err);
/* Keeps the newest `kept` whose changes have `kept_bytes` at most, and of those the ones from the first on that is not
 * older than `before_ns`; always the newest. */
int store_audit_trim(struct store *store, size_t kept, uint64_t kept_bytes, int64_t before_ns, struct err *ret_err);

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

/* -EEXIST with ERR_ALREADY_EXISTS, pointer "/name". */
int store_token_add(struct store *store, const struct token *token, struct err *ret_err);
int store_token_delete(struct store *store, const char *name, struct err *ret_err); /* -ENOENT */
/* By name; owned by the caller. */
int store_tokens_load(struct store *store, struct token **ret_tokens, size_t *ret_count, struct err *ret_err);
/* Whether the token for provisioning was made once. */
int store_token_made(struct store *store, bool *ret_made, struct err *ret_err);
/* All at once, in a transaction of its own: adds that token, notes that it was made, and leaves the audit entry. */
int store_token_provision(struct store *store, const struct token *token, const char *changes, struct err *ret_err);

/* ---- a change that waits for its confirmation -------------------------------------------------------------------- */

struct stored_pending {
    int64_t deadline_ns; /* CLOCK_REALTIME: reverted from then on */
    uint32_t confirm_s;  /* as it was asked for */
    struct actor actor;  /* without the address */
    struct pending_device {
        char name[DEVICE_NAME_SIZE];
        struct stored_device before; /* its device is NULL: there was none of that name; else owned. `adopts`: the
                                        change took it over, as the document says that it was found, or let go of it */
    } * devices;                     /* owned */
    size_t device_count;
};
void stored_pending_done(struct stored_pending *pending);
/* Replaces what is there. */
int store_pending_put(struct store *store, const struct stored_pending *pending, struct err *ret_err);
int store_pending_delete(struct store *store, struct err *ret_err);
/* *ret_found says whether there is one. */
int store_pending_load(struct store *store, bool *ret_found, struct stored_pending *ret_pending, struct err *ret_err);

/* ---- start-up files ---------------------------------------------------------------------------------------------- */

#define STARTUP_FILE_NAME_SIZE 256
/* Whether the file was last applied with this content (SHA-256). */
int store_file_is_applied(struct store *store, const char *name, const uint8_t digest[static 32], bool *ret_applied,
                          struct err *ret_err);
int store_file_put(struct store *store, const char *name, const uint8_t digest[static 32], int64_t applied_ns,
                   struct err *ret_err);

#endif

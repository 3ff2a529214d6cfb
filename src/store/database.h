/* SPDX-License-Identifier: Apache-2.0 */
/* database: the SQLite connection under the store, and how its errors become ours. Private to the module and its tests.
 */
#ifndef TUNWRIGHT_STORE_DATABASE_H
#define TUNWRIGHT_STORE_DATABASE_H

#include "migrations.h"
#include "tunwright/store.h"

#include <sqlite3.h>

#define STORE_APPLICATION_ID 0x54574442 /* "TWDB" */

enum store_statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_DEVICES,
    STATEMENT_DEVICE_PUT,
    STATEMENT_DEVICE_DELETE,
    STATEMENT_ATTEMPTS,
    STATEMENT_ATTEMPT_PUT,
    STATEMENT_ATTEMPT_DELETE,
    STATEMENT_REVISION_SET,
    STATEMENT_EVENT_PUT,
    STATEMENT_EVENTS,
    STATEMENT_EVENT_NEWEST,
    STATEMENT_EVENTS_TRIM,
    STATEMENT_AUDIT_PUT,
    STATEMENT_AUDIT,
    STATEMENT_AUDIT_TRIM,
    STATEMENT_TOKEN_ADD,
    STATEMENT_TOKEN_DELETE,
    STATEMENT_TOKENS,
    STATEMENT_TOKEN_MADE,
    STATEMENT_TOKEN_SET_MADE,
    STATEMENT_PENDING_PUT,
    STATEMENT_PENDING_DELETE,
    STATEMENT_PENDING,
    STATEMENT_PENDING_DEVICE_PUT,
    STATEMENT_PENDING_DEVICES_DELETE,
    STATEMENT_PENDING_DEVICES,
    STATEMENT_FILE_PUT,
    STATEMENT_FILE,
    STATEMENT_N
};

struct store {
    sqlite3 *db;
    int lock_fd; /* the database file: flock(2) keeps a second daemon out */
    int schema_version;
    uint8_t installation[6];
    uint64_t revision, revision_next; /* as committed, and as the open transaction makes it */
    uint8_t counter[4];               /* of commits, in the file, when the open transaction began … */
    bool has_counter;                 /* … where it could be read */
    bool is_probing;
    sqlite3_stmt *statements[STATEMENT_N];
};

/* store_open with migrations of the caller's choice: for tests. */
int store_open_migrated(const char *path, const struct migration *list, unsigned count, struct store **ret_store,
                        struct err *ret_err);

/* The one place where a result code of SQLite becomes an errno and an err. `doing` completes "Could not …". */
int database_error(sqlite3 *db, int result, struct err *ret_err, const char *doing);
int database_run(sqlite3 *db, const char *sql, struct err *ret_err, const char *doing);
/* The first column of the first row. */
int database_read_int(sqlite3 *db, const char *sql, int64_t *ret_value, struct err *ret_err, const char *doing);
/* statement.c: makes all of them ready. */
int statements_prepare(struct store *store, struct err *ret_err);

/* Leads the schema from `version` to `count` in one transaction, after a backup where there is something to lose. */
int database_migrate(sqlite3 *db, const char *path, int version, const struct migration *list, unsigned count,
                     struct err *ret_err);

#endif

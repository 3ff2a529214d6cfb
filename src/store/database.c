/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening. The order matters: nothing is written before the file has proved to be ours and whole, so that a damaged or
 * foreign file stays as it is. journal_mode=TRUNCATE with synchronous=FULL is the pair that loses no acknowledged
 * commit in a power cut and needs neither a second file that must be kept together with the first nor shared memory.
 */
#include "database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_TIMEOUT_MS 1000 /* somebody reads with the sqlite3 tool */

/* ---- errors ------------------------------------------------------------------------------------------------------ */

int database_error(sqlite3 *db, int result, struct err *ret_err, const char *doing)
{
    int system_errno = db ? sqlite3_system_errno(db) : 0;
    enum err_code code = ERR_STORE_UNAVAILABLE;
    int error;

    switch (result & 0xff) {
    case SQLITE_FULL:
        error = -ENOSPC;
        break;
    case SQLITE_IOERR:
        error = result == SQLITE_IOERR_NOMEM ? -ENOMEM : -EIO;
        break;
    case SQLITE_NOMEM:
        error = -ENOMEM;
        break;
    case SQLITE_READONLY:
        error = -EROFS;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        error = -EUCLEAN;
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        error = -EBUSY;
        break;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        error = -EACCES;
        break;
    case SQLITE_CANTOPEN:
        error = system_errno > 0 ? -system_errno : -EIO;
        break;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
        error = -EINVAL;
        code = ERR_INTERNAL;
        break;
    default:
        error = -EIO;
        break;
    }
    /* a full disk also shows itself as a failed fsync, or a journal that cannot be made */
    if ((error == -EIO && (system_errno == ENOSPC || system_errno == EDQUOT)) || error == -EDQUOT)
        error = -ENOSPC;
    if (error == -ENOSPC)
        code = ERR_STORE_FULL;
    if (error == -ENOMEM)
        return err_no_memory(ret_err);
    return err_set(ret_err, error, code, "", "could not %s: %s", doing,
                   db && (sqlite3_errcode(db) & 0xff) == (result & 0xff) ? sqlite3_errmsg(db) : sqlite3_errstr(result));
}

int database_run(sqlite3 *db, const char *sql, struct err *ret_err, const char *doing)
{
    int result = sqlite3_exec(db, sql, NULL, NULL, NULL);

    return result == SQLITE_OK ? 0 : database_error(db, result, ret_err, doing);
}

int database_read_int(sqlite3 *db, const char *sql, int64_t *ret_value, struct err *ret_err, const char *doing)
{
    sqlite3_stmt *statement = NULL;
    int64_t value = 0;
    int result = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    if (result == SQLITE_OK) {
        result = sqlite3_step(statement);
        if (result == SQLITE_ROW) {
            value = sqlite3_column_int64(statement, 0);
            result = SQLITE_OK;
        } else if (result == SQLITE_DONE) {
            result = SQLITE_CORRUPT; /* each of our questions has an answer */
        }
    }
    sqlite3_finalize(statement);
    if (result != SQLITE_OK)
        return database_error(db, result, ret_err, doing);
    *ret_value = value;
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Makes the file where there is none, readable by nobody else, and takes it for this process. */
static int file_take(const char *path, int *ret_fd, struct err *ret_err)
{
    CLEANUP(fd_done) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    struct stat status;

    if (fd < 0 && (errno == EROFS || errno == EACCES))
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY); /* it can still be read */
    if (fd < 0 || fstat(fd, &status) < 0)
        return err_set(ret_err, -errno, ERR_STORE_UNAVAILABLE, "", "could not open %s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return err_set(ret_err, -EINVAL, ERR_STORE_UNAVAILABLE, "", "%s is not a regular file", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return err_set(ret_err, -EBUSY, ERR_STORE_UNAVAILABLE, "", "%s is in use by another process", path);
        return err_set(ret_err, -errno, ERR_STORE_UNAVAILABLE, "", "could not lock %s: %s", path, strerror(errno));
    }
    if ((status.st_mode & 077) != 0)
        (void)fchmod(fd, 0600); /* not ours to change: then its owner wants it so */
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* What a connection needs before it reads the first page. Writes nothing. */
static int connection_harden(sqlite3 *db, struct err *ret_err)
{
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
    return database_run(db,
                        "PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON;"
                        "PRAGMA temp_store = MEMORY; PRAGMA synchronous = FULL",
                        ret_err, "set up the database connection");
}

static int database_check(sqlite3 *db, const char *path, struct err *ret_err)
{
    sqlite3_stmt *statement = NULL;
    int r = 0;
    int result = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &statement, NULL);

    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    if (result != SQLITE_ROW) {
        r = database_error(db, result == SQLITE_DONE ? SQLITE_CORRUPT : result, ret_err, "check the database");
    } else {
        const char *text = (const char *)sqlite3_column_text(statement, 0);

        if (!text || strcmp(text, "ok") != 0)
            r = err_set(ret_err, -EUCLEAN, ERR_STORE_UNAVAILABLE, "", "%s is damaged: %s", path, text ? text : "?");
    }
    sqlite3_finalize(statement);
    return r;
}

/* Whose database it is, and which version of the schema; 0 for one that is empty. */
static int database_identify(sqlite3 *db, const char *path, unsigned newest, int *ret_version, struct err *ret_err)
{
    int64_t application, version, objects;
    int r;

    r = database_read_int(db, "PRAGMA application_id", &application, ret_err, "read the database");
    if (r == 0)
        r = database_read_int(db, "PRAGMA user_version", &version, ret_err, "read the database");
    if (r == 0)
        r = database_read_int(db, "SELECT count(*) FROM sqlite_schema", &objects, ret_err, "read the database");
    if (r < 0)
        return r;
    if (application == 0 && version == 0 && objects == 0) {
        *ret_version = 0;
        return 0;
    }
    if (application != STORE_APPLICATION_ID)
        return err_set(ret_err, -EPROTO, ERR_STORE_UNAVAILABLE, "", "%s is the database of another application", path);
    if (version < 1)
        return err_set(ret_err, -EUCLEAN, ERR_STORE_UNAVAILABLE, "", "%s has no schema version", path);
    if (version > (int64_t)newest)
        return err_set(ret_err, -EPROTO, ERR_STORE_UNAVAILABLE, "",
                       "%s has schema version %lld, this program knows up to %u", path, (long long)version, newest);
    *ret_version = (int)version;
    return 0;
}

static int journal_choose(sqlite3 *db, struct err *ret_err)
{
    sqlite3_stmt *statement = NULL;
    int r = 0;
    int result = sqlite3_prepare_v2(db, "PRAGMA journal_mode = TRUNCATE", -1, &statement, NULL);

    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    if (result != SQLITE_ROW) {
        r = database_error(db, result, ret_err, "choose the database's journal");
    } else {
        const char *mode = (const char *)sqlite3_column_text(statement, 0);

        if (!sqlite3_db_readonly(db, "main") && (!mode || strcmp(mode, "truncate") != 0))
            r = err_set(ret_err, -EIO, ERR_STORE_UNAVAILABLE, "", "the database keeps its journal mode %s",
                        mode ? mode : "?");
    }
    sqlite3_finalize(statement);
    return r;
}

static int installation_read(struct store *store, struct err *ret_err)
{
    sqlite3_stmt *statement = NULL;
    int r = 0;
    int result = sqlite3_prepare_v2(store->db, "SELECT id, revision FROM installation", -1, &statement, NULL);

    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    if (result == SQLITE_ROW && sqlite3_column_bytes(statement, 0) == (int)sizeof(store->installation)) {
        memcpy(store->installation, sqlite3_column_blob(statement, 0), sizeof(store->installation));
        store->revision = (uint64_t)sqlite3_column_int64(statement, 1);
    } else if (result == SQLITE_ROW || result == SQLITE_DONE) {
        r = err_set(ret_err, -EUCLEAN, ERR_STORE_UNAVAILABLE, "", "the database does not say whose it is");
    } else {
        r = database_error(store->db, result, ret_err, "read the database");
    }
    sqlite3_finalize(statement);
    return r;
}

static void store_done(struct store **store)
{
    store_close(*store);
}

int store_open_migrated(const char *path, const struct migration *list, unsigned count, struct store **ret_store,
                        struct err *ret_err)
{
    CLEANUP(store_done) struct store *store = calloc(1, sizeof(*store));
    int result, r;

    if (!store)
        return err_no_memory(ret_err);
    store->lock_fd = -1;
    r = file_take(path, &store->lock_fd, ret_err);
    if (r < 0)
        return r;
    /* one thread at a time uses the connection: no mutexes */
    result = sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK)
        return database_error(store->db, result, ret_err, "open the database");
    r = connection_harden(store->db, ret_err);
    if (r == 0)
        r = database_check(store->db, path, ret_err);
    if (r == 0)
        r = database_identify(store->db, path, count, &store->schema_version, ret_err);
    if (r == 0)
        r = journal_choose(store->db, ret_err);
    if (r == 0 && store->schema_version < (int)count)
        r = database_migrate(store->db, path, store->schema_version, list, count, ret_err);
    if (r < 0)
        return r;
    store->schema_version = (int)count;
    r = installation_read(store, ret_err);
    if (r == 0)
        r = statements_prepare(store, ret_err);
    if (r < 0)
        return r;
    *ret_store = store;
    store = NULL;
    return 0;
}

int store_open(const char *path, struct store **ret_store, struct err *ret_err)
{
    return store_open_migrated(path, migrations, migration_count, ret_store, ret_err);
}

void store_close(struct store *store)
{
    if (!store)
        return;
    for (size_t i = 0; i < STATEMENT_N; i++)
        sqlite3_finalize(store->statements[i]);
    sqlite3_close(store->db);
    fd_done(&store->lock_fd); /* last: closing it also drops the locks that SQLite holds on the file */
    free(store);
}

void store_installation(const struct store *store, uint8_t ret_id[static 6])
{
    memcpy(ret_id, store->installation, sizeof(store->installation));
}

int store_schema_version(const struct store *store)
{
    return store->schema_version;
}

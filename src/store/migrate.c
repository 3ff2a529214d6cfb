/* SPDX-License-Identifier: Apache-2.0 */
#include "database.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Copies the database page by page into a new file of that name. */
static int backup_copy(sqlite3 *db, const char *path, struct err *ret_err)
{
    sqlite3 *copy = NULL;
    int r = 0;
    int result = sqlite3_open_v2(path, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

    if (result == SQLITE_OK) {
        sqlite3_backup *backup = sqlite3_backup_init(copy, "main", db, "main");

        if (backup) {
            (void)sqlite3_backup_step(backup, -1);
            result = sqlite3_backup_finish(backup);
        } else {
            result = sqlite3_extended_errcode(copy);
        }
    }
    if (result != SQLITE_OK)
        r = database_error(copy, result, ret_err, "back up the database before its migration");
    sqlite3_close(copy);
    return r;
}

/* The copy gets its name only once it is whole and on disk. */
static int database_back_up(sqlite3 *db, const char *path, unsigned version, struct err *ret_err)
{
    char name[PATH_MAX], made[PATH_MAX + 8];
    CLEANUP(fd_done) int fd = -1;
    int r;

    if (snprintf(name, sizeof(name), "%s.before-%u", path, version) >= (int)sizeof(name))
        return err_set(ret_err, -ENAMETOOLONG, ERR_STORE_UNAVAILABLE, "", "the path of the database is too long");
    (void)snprintf(made, sizeof(made), "%s.new", name);
    (void)unlink(made);
    fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(ret_err, -errno, errno == ENOSPC ? ERR_STORE_FULL : ERR_STORE_UNAVAILABLE, "",
                       "could not make %s: %s", made, strerror(errno));
    r = backup_copy(db, made, ret_err);
    if (r == 0 && (fsync(fd) < 0 || rename(made, name) < 0))
        r = err_set(ret_err, -errno, ERR_STORE_UNAVAILABLE, "", "could not keep %s: %s", name, strerror(errno));
    if (r < 0)
        (void)unlink(made);
    return r;
}

/* The row that makes this database one of its kind. */
static int installation_make(sqlite3 *db, struct err *ret_err)
{
    sqlite3_stmt *statement = NULL;
    uint8_t id[6];
    int r = random_bytes(id, sizeof(id));
    int result;

    if (r < 0)
        return err_set(ret_err, r, ERR_INTERNAL, "", "the kernel gave no random bytes");
    result =
        sqlite3_prepare_v2(db, "INSERT INTO installation (only, id, created) VALUES (1, ?1, ?2)", -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_bind_blob(statement, 1, id, (int)sizeof(id), SQLITE_TRANSIENT);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(statement, 2, clock_realtime_ns());
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    if (result != SQLITE_DONE)
        r = database_error(db, result, ret_err, "name the installation");
    sqlite3_finalize(statement);
    return r;
}

static int migrations_run(sqlite3 *db, int version, const struct migration *list, unsigned count, struct err *ret_err)
{
    char text[128];
    int r;

    for (unsigned i = (unsigned)version; i < count; i++) {
        (void)snprintf(text, sizeof(text), "carry out the migration %.64s", list[i].name);
        r = database_run(db, list[i].sql, ret_err, text);
        if (r < 0)
            return r;
        if (sqlite3_get_autocommit(db))
            return err_set(ret_err, -EINVAL, ERR_INTERNAL, "", "the migration %s left its transaction", list[i].name);
    }
    if (version == 0) {
        r = installation_make(db, ret_err);
        if (r < 0)
            return r;
    }
    (void)snprintf(text, sizeof(text), "PRAGMA application_id = %d; PRAGMA user_version = %u", STORE_APPLICATION_ID,
                   count);
    return database_run(db, text, ret_err, "set the schema version");
}

int database_migrate(sqlite3 *db, const char *path, int version, const struct migration *list, unsigned count,
                     struct err *ret_err)
{
    int r = 0;

    if (version > 0)
        r = database_back_up(db, path, count, ret_err);
    if (r == 0)
        r = database_run(db, "BEGIN IMMEDIATE", ret_err, "begin the migration");
    if (r < 0)
        return r;
    r = migrations_run(db, version, list, count, ret_err);
    if (r == 0)
        r = database_run(db, "COMMIT", ret_err, "commit the migration");
    if (r < 0 && !sqlite3_get_autocommit(db))
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

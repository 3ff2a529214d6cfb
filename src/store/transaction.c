/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transaction, and the configuration's revision, which is committed or undone with it.
 *
 * A commit is done once the journal is cut to nothing, and the last thing is to sync that. Where this fails, SQLite says
 * that the commit failed, and the file has it nevertheless. Whoever believed SQLite would go on with another state than
 * the file's. So the file is asked: the counter in its header, which each commit raises, and which an unfinished one's
 * journal puts back when the file is read next.
 */
#include "query.h"

#include <string.h>

#define COUNTER_OFFSET 24 /* "file change counter" of the database file format */

static bool counter_read(struct store *store, uint8_t ret_counter[static 4])
{
    sqlite3_file *file = NULL;

    return sqlite3_file_control(store->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK && file &&
           file->pMethods && file->pMethods->xRead(file, ret_counter, 4, COUNTER_OFFSET) == SQLITE_OK;
}

/* Whether a commit that is said to have failed is in the file. */
static bool commit_is_there(struct store *store)
{
    uint8_t counter[4];
    int64_t revision;

    return store->has_counter &&
           database_read_int(store->db, "SELECT revision FROM installation", &revision, NULL, "read the database") ==
               0 &&
           counter_read(store, counter) && memcmp(counter, store->counter, sizeof(counter)) != 0;
}

int store_begin(struct store *store, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_BEGIN, "begin a change of the database");

    (void)query_next(&query);
    store->revision_next = store->revision;
    store->has_counter = query.result == SQLITE_DONE && counter_read(store, store->counter);
    return query_end(&query, ret_err);
}

int store_commit(struct store *store, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_COMMIT, "commit the change");
    uint64_t revision = store->revision_next;
    bool is_open = !sqlite3_get_autocommit(store->db);
    int r = query_run(&query, ret_err);

    if (r < 0) {
        store_rollback(store);
        if (!is_open || !commit_is_there(store))
            return r;
        store->revision = revision;
        if (!store->is_probing) { /* another one's syncs make this one last as well */
            store->is_probing = true;
            (void)store_probe(store, NULL);
            store->is_probing = false;
        }
        return 0;
    }
    store->revision = revision;
    return 0;
}

void store_rollback(struct store *store)
{
    struct query query = query_begin(store, STATEMENT_ROLLBACK, "roll back the change");

    store->revision_next = store->revision;
    if (!sqlite3_get_autocommit(store->db))
        (void)query_run(&query, NULL);
}

uint64_t store_revision(const struct store *store)
{
    return store->revision;
}

int store_revision_bump(struct store *store, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_REVISION_SET, "count the change");
    int r;

    query_bind_int(&query, (int64_t)store->revision_next + 1);
    r = query_run(&query, ret_err);
    if (r == 0)
        store->revision_next++;
    return r;
}

int store_probe(struct store *store, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_REVISION_SET, "write the database");
    int r = store_begin(store, ret_err);

    if (r < 0)
        return r;
    query_bind_int(&query, (int64_t)store->revision);
    r = query_run(&query, ret_err);
    if (r == 0)
        return store_commit(store, ret_err);
    store_rollback(store);
    return r;
}

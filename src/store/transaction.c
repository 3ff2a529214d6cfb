/* SPDX-License-Identifier: Apache-2.0 */
/* The transaction, and the configuration's revision, which is committed or undone with it. */
#include "query.h"

int store_begin(struct store *store, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_BEGIN, "begin a change of the database");

    (void)query_next(&query);
    store->revision_next = store->revision;
    return query_end(&query, ret_err);
}

int store_commit(struct store *store, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_COMMIT, "commit the change");
    int r = query_run(&query, ret_err);

    if (r < 0)
        store_rollback(store);
    else
        store->revision = store->revision_next;
    return r;
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

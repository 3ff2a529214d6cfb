/* SPDX-License-Identifier: Apache-2.0 */
#include "query.h"

#include <errno.h>
#include <string.h>

struct query query_begin(struct store *store, enum store_statement which, const char *doing)
{
    return (struct query){.store = store, .statement = store->statements[which], .doing = doing, .result = SQLITE_OK};
}

void query_bind_text(struct query *query, const char *text)
{
    query->place++;
    if (query->result == SQLITE_OK)
        query->result = sqlite3_bind_text(query->statement, query->place, text, -1, SQLITE_STATIC);
}

void query_bind_int(struct query *query, int64_t value)
{
    query->place++;
    if (query->result == SQLITE_OK)
        query->result = sqlite3_bind_int64(query->statement, query->place, value);
}

void query_bind_blob(struct query *query, const void *data, size_t length)
{
    query->place++;
    if (query->result == SQLITE_OK)
        query->result = sqlite3_bind_blob64(query->statement, query->place, data, length, SQLITE_STATIC);
}

int query_run(struct query *query, struct err *ret_err)
{
    /* SQLite ends a transaction itself where the disk is full or broken; what comes after must not be written alone. */
    if (sqlite3_get_autocommit(query->store->db)) {
        sqlite3_clear_bindings(query->statement);
        return err_set(ret_err, -EIO, ERR_STORE_UNAVAILABLE, "", "the database has no transaction open");
    }
    (void)query_next(query);
    return query_end(query, ret_err);
}

bool query_next(struct query *query)
{
    if (query->result == SQLITE_OK || query->result == SQLITE_ROW)
        query->result = sqlite3_step(query->statement);
    return query->result == SQLITE_ROW;
}

int query_end(struct query *query, struct err *ret_err)
{
    int r = 0;

    /* a reader may stop before the last row */
    if (query->result != SQLITE_DONE && query->result != SQLITE_ROW)
        r = database_error(query->store->db, query->result, ret_err, query->doing);
    sqlite3_reset(query->statement);
    sqlite3_clear_bindings(query->statement);
    return r;
}

const char *query_text(const struct query *query, int column)
{
    return (const char *)sqlite3_column_text(query->statement, column);
}

int64_t query_int(const struct query *query, int column)
{
    return sqlite3_column_int64(query->statement, column);
}

bool query_copy_text(const struct query *query, int column, char *out, size_t size)
{
    const char *text = query_text(query, column);

    return text && text_copy(out, size, text) == 0;
}

bool query_copy_blob(const struct query *query, int column, void *out, size_t length)
{
    const void *data = sqlite3_column_blob(query->statement, column);

    if (!data || sqlite3_column_bytes(query->statement, column) != (int)length)
        return false;
    memcpy(out, data, length);
    return true;
}

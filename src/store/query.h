/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query: one use of a prepared statement. Values are bound in the order of the statement's ?1, ?2, …; the first failure
 * is kept, so that only the end must look. What is bound is borrowed until then.
 */
#ifndef TUNWRIGHT_STORE_QUERY_H
#define TUNWRIGHT_STORE_QUERY_H

#include "database.h"

struct query {
    struct store *store;
    sqlite3_stmt *statement;
    const char *doing; /* completes "Could not …" */
    int place;         /* of the value bound last */
    int result;        /* SQLite's, of the last step or the first failure */
};
struct query query_begin(struct store *store, enum store_statement which, const char *doing);
void query_bind_text(struct query *query, const char *text); /* NULL: null */
void query_bind_int(struct query *query, int64_t value);
void query_bind_blob(struct query *query, const void *data, size_t length);

/* A statement without rows, in an open transaction: runs it and ends the query. */
int query_run(struct query *query, struct err *ret_err);

/* A statement with rows: `while (query_next(&query)) …`, and then query_end, whatever happened. */
bool query_next(struct query *query);
int query_end(struct query *query, struct err *ret_err);

/* Text of the row, NULL where it is null (or memory ran out); until the next step. */
const char *query_text(const struct query *query, int column);
int64_t query_int(const struct query *query, int column);
/* Copies text that must fit; false where it does not, or is null. */
bool query_copy_text(const struct query *query, int column, char *out, size_t size);
/* Copies bytes of just that number. */
bool query_copy_blob(const struct query *query, int column, void *out, size_t length);

/* Rows of a device: name, uuid, generation, created_ns, changed_ns, document, adopts. A row without a document has the
 * device NULL, where that `may_be_empty`. -EUCLEAN where it no longer validates. */
int query_read_device(const struct query *query, bool may_be_empty, struct stored_device *ret_stored,
                      struct err *ret_err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up files as they were applied last. */
#include "query.h"

#include <string.h>

int store_file_is_applied(struct store *store, const char *name, const uint8_t digest[static 32], bool *ret_applied,
                          struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_FILE, "read what was applied");
    uint8_t known[32];
    bool applied;
    int r;

    query_bind_text(&query, name);
    applied = query_next(&query) && query_copy_blob(&query, 0, known, sizeof(known)) &&
              memcmp(known, digest, sizeof(known)) == 0;
    r = query_end(&query, ret_err);
    if (r == 0)
        *ret_applied = applied;
    return r;
}

int store_file_put(struct store *store, const char *name, const uint8_t digest[static 32], int64_t applied_ns,
                   struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_FILE_PUT, "note that the file was applied");

    query_bind_text(&query, name);
    query_bind_blob(&query, digest, 32);
    query_bind_int(&query, applied_ns);
    return query_run(&query, ret_err);
}

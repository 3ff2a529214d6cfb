/* SPDX-License-Identifier: Apache-2.0 */
/* Who asked for what. */
#include "query.h"

#include <stdlib.h>
#include <string.h>

void audit_entry_done(struct audit_entry *entry)
{
    free(entry->changes);
    memset(entry, 0, sizeof(*entry));
}

int store_audit_put(struct store *store, int64_t time_ns, const struct actor *actor, const char *changes,
                    struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_AUDIT_PUT, "store the audit entry");

    query_bind_int(&query, time_ns);
    query_bind_text(&query, actor->name);
    query_bind_text(&query, actor->address);
    query_bind_text(&query, actor->operation);
    query_bind_int(&query, (int64_t)strlen(changes));
    query_bind_text(&query, changes);
    return query_run(&query, ret_err);
}

static int entry_read(const struct query *query, struct audit_entry *ret_entry, struct err *ret_err)
{
    struct audit_entry entry = {.sequence = (uint64_t)query_int(query, 0), .time_ns = query_int(query, 1)};
    const char *changes = query_text(query, 5);

    (void)query_copy_text(query, 2, entry.actor.name, sizeof(entry.actor.name));
    (void)query_copy_text(query, 3, entry.actor.address, sizeof(entry.actor.address));
    (void)query_copy_text(query, 4, entry.actor.operation, sizeof(entry.actor.operation));
    entry.changes = changes ? strdup(changes) : NULL;
    if (!entry.changes)
        return err_no_memory(ret_err);
    *ret_entry = entry;
    return 0;
}

int store_audit_list(struct store *store, uint64_t after, size_t most, struct audit_entry **ret_entries,
                     size_t *ret_count, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_AUDIT, "read the audit log");
    struct audit_entry *entries = NULL;
    size_t count = 0, capacity = 0, bytes = 0;
    int r = 0, ended;

    query_bind_int(&query, after < INT64_MAX ? (int64_t)after : INT64_MAX);
    query_bind_int(&query, most < INT64_MAX ? (int64_t)most : INT64_MAX);
    while (r == 0 && bytes <= AUDIT_LIST_BYTES && query_next(&query)) {
        r = array_grow(&entries, &capacity, count, sizeof(*entries));
        if (r < 0)
            r = err_no_memory(ret_err);
        else
            r = entry_read(&query, &entries[count], ret_err);
        if (r == 0)
            bytes += strlen(entries[count++].changes);
    }
    ended = query_end(&query, r == 0 ? ret_err : NULL);
    if (r == 0)
        r = ended;
    if (r < 0) {
        while (count > 0)
            audit_entry_done(&entries[--count]);
        free(entries);
        return r;
    }
    *ret_entries = entries;
    *ret_count = count;
    return 0;
}

int store_audit_trim(struct store *store, size_t kept, uint64_t kept_bytes, int64_t before_ns, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_AUDIT_TRIM, "forget old audit entries");

    query_bind_int(&query, kept < INT64_MAX ? (int64_t)kept : INT64_MAX);
    query_bind_int(&query, before_ns);
    query_bind_int(&query, kept_bytes < INT64_MAX ? (int64_t)kept_bytes : INT64_MAX);
    return query_run(&query, ret_err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* migrations: what db/ holds, made into a table at build time (cmake/embed_sql.cmake). */
#ifndef TUNWRIGHT_STORE_MIGRATIONS_H
#define TUNWRIGHT_STORE_MIGRATIONS_H

struct migration {
    const char *name; /* "0001_initial" */
    const char *sql;
};

/* The n-th leads to schema version n + 1. */
extern const struct migration migrations[];
extern const unsigned migration_count;

#endif

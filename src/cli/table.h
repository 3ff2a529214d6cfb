/* SPDX-License-Identifier: Apache-2.0 */
/* table: aligned columns. Cells are made plain as they come in, so what strangers wrote cannot move the cursor. */
#ifndef TUNWRIGHT_CLI_TABLE_H
#define TUNWRIGHT_CLI_TABLE_H

#include "tunwright/base.h"

#define TABLE_COLUMNS_MAX 12

enum table_tone { TONE_NONE, TONE_GOOD, TONE_WARN, TONE_BAD, TONE_DIM, TONE_BOLD, TONE_N };

struct table_cell {
    char *text; /* owned */
    enum table_tone tone;
};

struct table {
    size_t columns;
    const char *heads[TABLE_COLUMNS_MAX]; /* one that begins with '>' is aligned at the right */
    struct table_cell *cells;
    size_t count, capacity; /* cells, row by row */
    bool failed;            /* memory ran out */
};

/* Begins an empty table; heads are borrowed. */
void table_begin(struct table *table, const char *const *heads, size_t columns);
void table_done(struct table *table);
/* The next cell; after the last column comes the next row. */
void table_add(struct table *table, enum table_tone tone, const char *format, ...) PRINTF_LIKE(3, 4);
size_t table_rows(const struct table *table);
/* Appends the head and at most `rows` rows, each line at most `width` columns (0: as many as it takes) and ended by `end`. */
void table_print(const struct table *table, bool colour, size_t rows, size_t width, const char *end, struct buf *out);
/* The escape that begins a tone, "" for none. "\033[0m" ends all. */
const char *table_tone_escape(enum table_tone tone);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include "cli/plain.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void table_begin(struct table *table, const char *const *heads, size_t columns)
{
    *table = (struct table){.columns = columns};
    for (size_t i = 0; i < columns; i++)
        table->heads[i] = heads[i];
}

void table_done(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    *table = (struct table){0};
}

void table_add(struct table *table, enum table_tone tone, const char *format, ...)
{
    char small[256];
    char *large = NULL;
    struct buf plain = {0};
    va_list arguments, again;

    if (array_grow(&table->cells, &table->capacity, table->count, sizeof *table->cells) < 0) {
        table->failed = true;
        return;
    }
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(small, sizeof small, format, arguments);
    if (length >= (int)sizeof small && (large = malloc((size_t)length + 1)))
        vsnprintf(large, (size_t)length + 1, format, again);
    va_end(again);
    va_end(arguments);
    const char *text = length < (int)sizeof small ? small : large;
    if (length < 0 || !text) {
        table->failed = true;
        return;
    }
    buf_add_text(&plain, "");
    plain_add(&plain, text, strlen(text), PLAIN_LINE);
    free(large);
    char *taken = buf_take(&plain);
    if (!taken)
        table->failed = true;
    else
        table->cells[table->count++] = (struct table_cell){taken, tone};
}

size_t table_rows(const struct table *table)
{
    return table->columns ? table->count / table->columns : 0;
}

const char *table_tone_escape(enum table_tone tone)
{
    static const char *const escapes[] = {"", "\033[32m", "\033[33m", "\033[31m", "\033[2m", "\033[1m"};
    static_assert(ARRAY_SIZE(escapes) == TONE_N, "one for each tone");
    return escapes[tone];
}

struct line {
    struct buf *out;
    size_t left; /* columns that it may still take */
    bool colour;
};

static void add_blanks(struct line *line, size_t count)
{
    for (count = count < line->left ? count : line->left; count; count--, line->left--)
        buf_add_text(line->out, " ");
}

static void add_cell(struct line *line, const char *text, enum table_tone tone, size_t width, bool right, bool last)
{
    size_t own = plain_width(text), blanks = own < width ? width - own : 0;
    bool coloured = line->colour && tone != TONE_NONE && *text;

    if (right)
        add_blanks(line, blanks);
    size_t length = plain_cut(text, line->left);
    coloured = coloured && length;
    if (coloured)
        buf_add_text(line->out, table_tone_escape(tone));
    buf_add(line->out, text, length);
    if (coloured)
        buf_add_text(line->out, "\033[0m");
    line->left -= length < strlen(text) ? line->left : own;
    if (!last)
        add_blanks(line, (right ? 0 : blanks) + 2);
}

void table_print(const struct table *table, bool colour, size_t rows, size_t width, const char *end, struct buf *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    size_t all = table_rows(table);

    rows = rows < all ? rows : all;
    for (size_t column = 0; column < table->columns; column++) {
        const char *head = table->heads[column];
        widths[column] = strlen(head) - (*head == '>');
        for (size_t row = 0; row < rows; row++) {
            size_t own = plain_width(table->cells[row * table->columns + column].text);
            widths[column] = own > widths[column] ? own : widths[column];
        }
    }
    for (size_t row = 0; row <= rows; row++) { /* row 0: the head */
        struct line line = {out, width ? width : SIZE_MAX, colour};
        for (size_t column = 0; column < table->columns; column++) {
            const char *head = table->heads[column];
            const struct table_cell *cell = row ? &table->cells[(row - 1) * table->columns + column] : NULL;
            add_cell(&line, cell ? cell->text : head + (*head == '>'), cell ? cell->tone : TONE_DIM, widths[column],
                     *head == '>', column + 1 == table->columns);
        }
        while (!out->failed && out->length && out->data[out->length - 1] == ' ')
            out->length--; /* the last cells are empty */
        buf_add_text(out, end);
    }
    if (table->failed)
        out->failed = true;
}

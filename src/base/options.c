/* SPDX-License-Identifier: Apache-2.0 */
#include "tunwright/base.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTION_ROWS_MAX 32

/* "run-dir" → "TUNWRIGHT_RUN_DIR" */
static void environment_name(const char *flag, char out[static 64])
{
    snprintf(out, 64, "TUNWRIGHT_%s", flag);
    for (char *at = out; *at; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
}

static void print_help(const char *program, const char *summary, const struct option_row *rows, size_t count)
{
    printf("%s: %s\n\nusage: %s [OPTION]...\n\n", program, summary, program);
    for (size_t i = 0; i < count; i++) {
        char variable[64], left[64];
        environment_name(rows[i].flag, variable);
        snprintf(left, sizeof left, "--%s%s%s", rows[i].flag, rows[i].argument ? " " : "",
                 rows[i].argument ? rows[i].argument : "");
        printf("  %-24s %s", left, rows[i].help);
        if (rows[i].value && *rows[i].value && **rows[i].value)
            printf(" (default: %s)", *rows[i].value);
        printf("\n  %-24s or %s\n", "", variable);
    }
    printf("  %-24s %s\n  %-24s %s\n", "--help", "print this and exit", "--version", "print the version and exit");
}

static int list_add(struct option_list *list, const char *program, const char *flag, const char *item)
{
    if (list->count == OPTION_LIST_MAX) {
        fprintf(stderr, "%s: --%s: at most %d times\n", program, flag, OPTION_LIST_MAX);
        return -EINVAL;
    }
    list->items[list->count++] = item;
    return 0;
}

static int take(const struct option_row *row, const char *program, const char *text)
{
    if (row->list)
        return list_add(row->list, program, row->flag, text);
    if (row->value)
        *row->value = text;
    else
        *row->on = true;
    return 0;
}

static int take_from_environment(const struct option_row *row, const char *program)
{
    char variable[64];
    environment_name(row->flag, variable);
    char *text = getenv(variable);
    if (!text || !*text)
        return 0;
    if (!row->argument) {
        if (!strcmp(text, "1") || !strcmp(text, "true"))
            return take(row, program, NULL);
        if (!strcmp(text, "0") || !strcmp(text, "false"))
            return 0;
        fprintf(stderr, "%s: %s is a switch: 1 or 0\n", program, variable);
        return -EINVAL;
    }
    if (!row->list)
        return take(row, program, text);
    /* the environment's own text is cut at the commas: it lives as long as the process */
    for (char *rest = text, *item; (item = strsep(&rest, ","));)
        if (*item) {
            int error = list_add(row->list, program, row->flag, item);
            if (error)
                return error;
        }
    return 0;
}

int options_read(int argc, char **argv, const char *program, const char *summary, const struct option_row *rows,
                 size_t count)
{
    struct option longs[OPTION_ROWS_MAX + 3] = {0};
    bool list_from_flags[OPTION_ROWS_MAX] = {0};
    if (count > OPTION_ROWS_MAX)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        longs[i] =
            (struct option){rows[i].flag, rows[i].argument ? required_argument : no_argument, NULL, 256 + (int)i};
        int error = take_from_environment(&rows[i], program);
        if (error)
            return error;
    }
    longs[count] = (struct option){"help", no_argument, NULL, 'h'};
    longs[count + 1] = (struct option){"version", no_argument, NULL, 'v'};

    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'h') {
            print_help(program, summary, rows, count);
            return 1;
        }
        if (c == 'v') {
            printf("%s %s\n", program, TUNWRIGHT_VERSION);
            return 1;
        }
        if (c < 256)
            return -EINVAL; /* getopt said what */
        size_t i = (size_t)(c - 256);
        if (rows[i].list && !list_from_flags[i]) {
            rows[i].list->count = 0; /* the flag wins over the variable */
            list_from_flags[i] = true;
        }
        int error = take(&rows[i], program, optarg);
        if (error)
            return error;
    }
    if (optind < argc) {
        fprintf(stderr, "%s: unexpected argument: %s\n", program, argv[optind]);
        return -EINVAL;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cli: what all commands of tunwright share: where they write to, how they end, and how they say what went wrong. */
#ifndef TUNWRIGHT_CLI_CLI_H
#define TUNWRIGHT_CLI_CLI_H

#include "cli/caller.h"

#include "tunwright/base.h"

#include <stdio.h>

struct cJSON;

/* The exit status is an interface: tunwright(1) lists it. */
enum cli_exit {
    CLI_DONE = 0,
    CLI_REFUSED = 1,     /* the daemon refused (4xx but those below), or a document is wrong */
    CLI_USAGE = 2,       /* the command line is wrong */
    CLI_UNREACHABLE = 3, /* nobody answers there, or not with a certificate that verifies */
    CLI_NOT_FOUND = 4,   /* 404 */
    CLI_CONFLICT = 5,    /* 409, 412 */
    CLI_DIFFERS = 6,     /* diff found differences */
    CLI_TIMEOUT = 7,     /* not within --timeout */
    CLI_FAILED = 8,      /* the daemon failed (5xx) */
    CLI_TROUBLE = 9,     /* trouble here: a file, memory, an answer that is none of tunwrightd */
};

enum cli_format { CLI_TABLE, CLI_JSON, CLI_NAME };

struct cli {
    struct caller_settings settings;
    struct caller *caller; /* owned */
    enum cli_format format;
    bool terminal; /* standard output is one */
    bool colour;
};

void cli_done(struct cli *cli);

/* One line on stderr, after "tunwright: "; control characters are written as what they are, never raw. */
void cli_complain(const char *format, ...) PRINTF_LIKE(1, 2);
/* Says what a failed call came to, and returns the exit status for it. */
enum cli_exit cli_fail(int error, const struct err *e);
enum cli_exit cli_no_memory(void);

/* Makes a call. CLI_DONE: *ret_reply (caller_reply_done) is a 2xx. Otherwise it was said on stderr why, `about` (may be
 * NULL) before each line, and *ret_reply is empty. */
enum cli_exit cli_call(struct cli *cli, const struct caller_call *call, const char *about,
                       struct caller_reply *ret_reply);
/* As cli_call for a GET, with the tree of what came (cJSON_Delete). `reply` may be NULL. */
enum cli_exit cli_get(struct cli *cli, const char *path, struct caller_reply *reply, struct cJSON **ret_json);
/* The tree of an answer; CLI_TROUBLE, said on stderr, where it is no JSON. */
enum cli_exit cli_tree(const struct caller_reply *reply, struct cJSON **ret_json);
/* What a problem document, or another answer that is no 2xx, comes to; says it. */
enum cli_exit cli_problem(const struct caller_reply *reply, const char *about);

/* Writes to stdout. cli_json writes the daemon's own bytes and a newline; on a terminal, control characters in them as
 * \u escapes. CLI_TROUBLE where stdout cannot be written. */
enum cli_exit cli_write(const struct buf *text);
enum cli_exit cli_json(const struct cli *cli, const struct buf *body);
/* printf of text that is ours or was made plain. */
enum cli_exit cli_print(const char *format, ...) PRINTF_LIKE(1, 2);

/* ---- looking into trees that a stranger made: never NULL where text is returned --------------------------------- */

const char *json_text(const struct cJSON *object, const char *key);           /* "" where it is no text */
double json_number(const struct cJSON *object, const char *key);              /* 0 where it is none */
const struct cJSON *json_object(const struct cJSON *object, const char *key); /* NULL where it is none; takes NULL */
const struct cJSON *json_array(const struct cJSON *object, const char *key);  /* likewise */

#endif

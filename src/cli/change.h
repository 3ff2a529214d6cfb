/* SPDX-License-Identifier: Apache-2.0 */
/* change: one call that changes something, with --dry-run, --confirm and --if-match, and how its end is told. */
#ifndef TUNWRIGHT_CLI_CHANGE_H
#define TUNWRIGHT_CLI_CHANGE_H

#include "cli/command.h"

struct change {
    const char *method;
    const char *path;         /* without a query, or with one */
    const struct cJSON *body; /* borrowed, or NULL */
    const char *type;         /* of the body; NULL: application/json */
    const char *if_match;     /* or NULL: what --if-match says */
    const char *name;         /* of what it is about */
    const char *done;         /* in words: "deleted"; NULL: created, changed or unchanged, as the answer has it */
    bool quiet;               /* nothing is printed but faults */
};

/* `?dry_run=true`, `?confirm_s=60` behind a path; -EINVAL. */
int change_query(struct buf *path, const struct arguments *arguments, struct err *ret_err);
/* Makes it. `reply` (may be NULL) gets the answer. */
enum cli_exit change_make(struct cli *cli, const struct arguments *arguments, const struct change *change,
                          struct caller_reply *reply);
/* Says until when a change has to be confirmed, where it has. */
void change_say_pending(const struct caller_reply *reply);
/* Prints a plan that came as an answer. */
enum cli_exit change_print_plan(struct cli *cli, const struct caller_reply *reply);

/* A plan_before that asks the daemon, and keeps the last answer. */
struct change_asked {
    struct cli *cli;
    struct cJSON *document; /* owned */
};
const struct cJSON *change_ask(void *asked, const char *device);

/* "/v1/devices/NAME" with what follows, e.g. "/adopt". */
void change_device_path(struct buf *path, const char *name, const char *rest);

#define MERGE_PATCH "application/merge-patch+json"

#endif

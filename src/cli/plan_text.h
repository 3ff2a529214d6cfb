/* SPDX-License-Identifier: Apache-2.0 */
/* plan_text: the answer to a dry run, in words. */
#ifndef TUNWRIGHT_CLI_PLAN_TEXT_H
#define TUNWRIGHT_CLI_PLAN_TEXT_H

#include "cli/cli.h"

/* What several plans come to together. */
struct plan_tally {
    unsigned created, changed, deleted, others, steps;
    struct buf disturbed; /* "tun0 (flap), tun1 (recreate)" */
    unsigned disturbed_count;
};
void plan_tally_done(struct plan_tally *tally);

/* The document that a device has now; borrowed, NULL where it is not known. */
typedef const struct cJSON *(*plan_before)(void *context, const char *device);

/* Appends the differences of a plan, each device with what it will be in place of what it is, and counts. All of it plain. */
void plan_text_add(struct buf *out, const struct cJSON *plan, plan_before before, void *context, bool colour,
                   struct plan_tally *tally);
/* Appends one line: "plan: 1 to create, …; 7 steps; disturbs tun0 (flap)". */
void plan_text_add_tally(struct buf *out, const struct plan_tally *tally);

#endif

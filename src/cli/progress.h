/* SPDX-License-Identifier: Apache-2.0 */
/* progress: how far long work is, on one line of a terminal that is gone when it is done. Elsewhere, nothing. */
#ifndef TUNWRIGHT_CLI_PROGRESS_H
#define TUNWRIGHT_CLI_PROGRESS_H

#include "cli/cli.h"

/* "120 of 1000" on stderr, where that is a terminal; at most ten times a second. `done` == `total` clears it. */
void progress_show(unsigned long done, unsigned long total);
/* Makes room for a line of something else. */
void progress_clear(void);
/* As caller_call, and shows what the daemon tells of it meanwhile (topic `progress` of /v1/watch), if it does. `operation`
 * is how it calls it: "PUT /v1/config". */
int progress_call(struct cli *cli, const struct caller_call *call, const char *operation,
                  struct caller_reply *ret_reply, struct err *ret_err);

#endif

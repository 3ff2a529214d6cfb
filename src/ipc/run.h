/* SPDX-License-Identifier: Apache-2.0 */
/* run: many steps of one kind over one connection. */
#ifndef IPC_RUN_H
#define IPC_RUN_H

#include "client.h"

/* As kernel_ops.apply_run. Where the connection is lost, it is closed, and all that have no result yet get that. */
void ipc_run(struct ipc_client *client, const struct step *steps, size_t count, struct step_result *ret_results);

#endif

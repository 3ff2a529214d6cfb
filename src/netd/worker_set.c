/* SPDX-License-Identifier: Apache-2.0 */
#include "sockets.h"
#include "worker.h"

#include <stdlib.h>
#include <string.h>

void worker_set_done(struct worker_set *set)
{
    if (set->config)
        sockets_close(&set->sockets);
    free(set->config);
    *set = (struct worker_set){0};
}

void worker_set_drop(struct worker_set *set)
{
    if (set->config)
        sockets_undo(&set->sockets);
    worker_set_done(set);
}

int worker_set_build(const struct ipc_worker_start *start, const char *config, const struct worker_set *held,
                     struct worker_set *ret_set, struct err *ret_err)
{
    struct worker_set set = {.head = {.queues = start->queues, .tag = start->tag},
                             .config_length = start->config_length};
    memcpy(set.head.program, start->program, sizeof set.head.program);
    int result =
        sockets_open(start->sockets, start->socket_spec_count, held ? &held->sockets : NULL, &set.sockets, ret_err);
    if (result < 0)
        return result;
    set.head.sockets = set.sockets.count;
    set.config = malloc(start->config_length);
    if (!set.config) {
        sockets_undo(&set.sockets);
        sockets_close(&set.sockets);
        return err_no_memory(ret_err);
    }
    memcpy(set.config, config, start->config_length);
    *ret_set = set;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "change_wait.h"
#include "handlers.h"

#include <errno.h>

void workers_get(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = NULL;
    const struct snapshot_device *device = devices_find(request, &snapshot);
    if (!device)
        return;
    const struct worker_config *worker = &device->stored.device->worker;
    if (worker->type == WORKER_NONE) {
        struct err e;
        err_set(&e, -ENOENT, ERR_NOT_FOUND, "", "device \"%s\" has no worker", device->stored.device->name);
        answer_problem(request, &e);
    } else if (!devices_is_unchanged(request, device)) {
        answer_json(request, 200, worker_config_to_json(worker));
        devices_tag(request, device);
    }
}

void workers_put(struct request *request)
{
    struct err_list errors = {.count = 0};
    struct worker_config worker;
    if (!request->body.length)
        err_list_add(&errors, ERR_INVALID_JSON, "",
                     "the body is empty; it must be a worker, like {\"type\":\"monitor\"}");
    else
        worker_config_parse(request->body.data, request->body.length, &worker, &errors);
    if (errors.count) {
        answer_problems(request, &errors);
        return;
    }
    struct change *change = change_wait_of_device(request, CHANGE_WORKER_PUT);
    if (!change)
        return;
    change->worker = worker;
    change_wait_submit(request);
}

void workers_delete(struct request *request)
{
    if (!change_wait_of_device(request, CHANGE_WORKER_DELETE))
        return;
    request->wait->answer = change_wait_gone;
    change_wait_submit(request);
}

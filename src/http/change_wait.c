/* SPDX-License-Identifier: Apache-2.0 */
#include "change_wait.h"

#include "answer.h"
#include "handlers.h"
#include "server.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* On the engine's thread. Once the mutex is free again, the request may end at any moment. */
static void change_done(struct change *change)
{
    struct change_wait *wait = change->context;
    struct http_server *server = wait->request->server;
    pthread_mutex_lock(&server->mutex);
    server->changes--;
    MHD_resume_connection(wait->request->connection);
    pthread_cond_signal(&server->idle);
    pthread_mutex_unlock(&server->mutex);
}

struct change *change_wait_new(struct request *request, enum change_kind kind)
{
    struct change_wait *wait = calloc(1, sizeof *wait);
    if (!wait) {
        answer_no_memory(request);
        return NULL;
    }
    *wait = (struct change_wait){.change = {.kind = kind, .done = change_done, .context = wait}, .request = request};
    const char *name = request->variables[0];
    if (name && text_copy(wait->change.name, sizeof wait->change.name, name)) {
        struct err e;
        err_set(&e, -ENOENT, ERR_NOT_FOUND, "", "there is no device \"%s\"", name);
        answer_problem(request, &e);
        free(wait);
        return NULL;
    }
    change_wait_free(request->wait);
    request->wait = wait;
    return &wait->change;
}

void change_wait_submit(struct request *request)
{
    struct http_server *server = request->server;
    struct change *change = &request->wait->change;
    pthread_mutex_lock(&server->mutex);
    bool stopping = server->stopping;
    if (!stopping) {
        server->changes++;
        request->phase = REQUEST_WAITING;
        /* before the engine has the change, for it may be done with it at once */
        MHD_suspend_connection(request->connection);
    }
    pthread_mutex_unlock(&server->mutex);
    if (!stopping) {
        engine_submit(server->engine, change);
        return;
    }
    answer_unavailable(request, ERR_INTERNAL, "the daemon is shutting down; nothing was changed");
}

static bool is_deletion(enum change_kind kind)
{
    return kind == CHANGE_DEVICE_DELETE || kind == CHANGE_ADDRESS_DELETE || kind == CHANGE_ROUTE_DELETE ||
           kind == CHANGE_WORKER_DELETE;
}

void change_wait_answer(struct request *request)
{
    /* pairs with change_done, which gave the change back under the mutex */
    pthread_mutex_lock(&request->server->mutex);
    pthread_mutex_unlock(&request->server->mutex);

    const struct change *change = &request->wait->change;
    if (change->outcome == OUTCOME_FAILED) {
        answer_problems(request, &change->errors);
        return;
    }
    if (is_deletion(change->kind)) {
        answer_empty(request, 204);
    } else {
        const struct snapshot_device *device = change->after ? snapshot_device_find(change->after, change->name) : NULL;
        bool created = change->outcome == OUTCOME_CREATED;
        if (!device) {
            struct err e;
            err_set(&e, -ENOENT, ERR_INTERNAL, "", "the change was made, but the device cannot be shown");
            answer_problem(request, &e);
            return;
        }
        answer_json(request, created ? 201 : 200, devices_document(device));
        if (created && change->kind == CHANGE_DEVICE_CREATE) {
            char location[sizeof "/v1/devices/" + DEVICE_NAME_SIZE];
            snprintf(location, sizeof location, "/v1/devices/%s", change->name);
            answer_header(request, "Location", location);
        }
    }
    answer_header(request, "Tunwright-Changed", change->outcome == OUTCOME_UNCHANGED ? "false" : "true");
}

void change_wait_free(struct change_wait *wait)
{
    if (!wait)
        return;
    device_free(wait->change.device);
    if (wait->change.after)
        snapshot_release(wait->change.after);
    free(wait);
}

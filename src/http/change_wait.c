/* SPDX-License-Identifier: Apache-2.0 */
#include "change_wait.h"

#include "answer.h"
#include "handlers.h"
#include "plan_json.h"
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Who asks, for the audit log. What is too long is cut. */
static struct actor actor_of(const struct request *request)
{
    struct actor actor = {.name = ""};
    text_copy(actor.name, sizeof actor.name, request->identity.name);
    text_copy(actor.address, sizeof actor.address, request->identity.address);
    snprintf(actor.operation, sizeof actor.operation, "%s %s", request->method, request->path);
    return actor;
}

struct change *change_wait_new(struct request *request, enum change_kind kind)
{
    struct change_wait *wait = calloc(1, sizeof *wait);
    if (!wait) {
        answer_no_memory(request);
        return NULL;
    }
    wait->request = request;
    wait->change.kind = kind;
    wait->change.done = change_done;
    wait->change.context = wait;
    wait->change.actor = actor_of(request);
    wait->change.selector = request->identity.selector;
    wait->change.precondition = request->terms.precondition;
    wait->change.dry_run = request->terms.dry_run;
    wait->change.confirm_s = request->terms.confirm_s;
    change_wait_free(request->wait);
    request->wait = wait;
    return &wait->change;
}

struct change *change_wait_of_device(struct request *request, enum change_kind kind)
{
    struct change *change = change_wait_new(request, kind);
    if (!change || !text_copy(change->name, sizeof change->name, request->variables[0]))
        return change;
    devices_not_found(request);
    return NULL;
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

/* ---- what a success says ----------------------------------------------------------------------------------------- */

static void answer_device(struct request *request, const struct change *change)
{
    const struct snapshot_device *device = change->after ? snapshot_device_find(change->after, change->name) : NULL;
    if (!device) {
        struct err e;
        err_set(&e, -ENOENT, ERR_INTERNAL, "", "the change was made, but the device cannot be shown");
        answer_problem(request, &e);
        return;
    }
    bool created = change->outcome == OUTCOME_CREATED;
    answer_json(request, created ? 201 : 200, devices_document(device));
    devices_tag(request, device);
    if (created && (change->kind == CHANGE_DEVICE_CREATE || change->kind == CHANGE_DEVICE_ADOPT)) {
        char location[sizeof "/v1/devices/" + DEVICE_NAME_SIZE];
        snprintf(location, sizeof location, "/v1/devices/%s", change->name);
        answer_header(request, "Location", location);
    }
}

void change_wait_gone(struct request *request, const struct change *change)
{
    const struct snapshot_device *device = change->after ? snapshot_device_find(change->after, change->name) : NULL;
    answer_empty(request, 204);
    if (device)
        devices_tag(request, device);
}

static void success_answer(struct request *request, const struct change *change)
{
    bool changed = change->outcome != OUTCOME_UNCHANGED;
    if (change->dry_run)
        answer_json(request, 200, plan_to_json(&change->plan, changed, change->differences));
    else if (request->wait->answer)
        request->wait->answer(request, change);
    else
        answer_device(request, change);
    if (strcmp(request->method, "GET") && strcmp(request->method, "HEAD"))
        answer_header(request, "Tunwright-Changed", changed && !change->dry_run ? "true" : "false");
    if (change->confirm_s && change->after && change->after->is_pending) {
        char time[CLOCK_TEXT_SIZE];
        answer_header(request, "Tunwright-Confirm-By", clock_print(change->after->pending_deadline_ns, time));
    }
}

void change_wait_answer(struct request *request)
{
    /* pairs with change_done, which gave the change back under the mutex */
    pthread_mutex_lock(&request->server->mutex);
    pthread_mutex_unlock(&request->server->mutex);

    const struct change *change = &request->wait->change;
    if (change->outcome == OUTCOME_FAILED)
        answer_problems(request, &change->errors);
    else
        success_answer(request, change);
}

void change_wait_free(struct change_wait *wait)
{
    if (!wait)
        return;
    struct change *change = &wait->change;
    for (size_t i = 0; i < change->audit_count; i++)
        audit_entry_done(&change->audit[i]);
    free(change->audit);
    free(change->differences);
    free(change->text);
    device_free(change->device);
    device_set_done(&change->config);
    plan_done(&change->plan);
    if (change->after)
        snapshot_release(change->after);
    free(wait);
}

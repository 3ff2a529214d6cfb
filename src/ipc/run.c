/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a run of steps quicker than one step after the other:
 *   - several requests are under way at once (RUN_WINDOW). netd takes up those of one connection in their order, and what
 *     it has to wait for, the end of a worker or the beginning of one, it waits for all together.
 *   - devices are deleted many at a time. Such a request does all or nothing, and does not say of whom it failed: where
 *     it fails, its halves are tried, down to the single one, whose failure is told as it always was.
 */
#include "run.h"

#include <errno.h>
#include <string.h>

/* netd gives up a client that does not read: as many answers must fit the socket's buffer several times. */
#define RUN_WINDOW 16

#define NO_ANSWER 1 /* no errno */

struct run {
    struct ipc_client *client;
    const struct step *steps;
    size_t count;
    struct step_result *results;
};

static int64_t deadline_from_now(void)
{
    return clock_monotonic_ns() + IPC_CALL_TIMEOUT_MS * NSEC_PER_MSEC;
}

static void run_lose(const struct run *run, int error, const struct err *err)
{
    for (size_t i = 0; i < run->count; i++)
        if (run->results[i].error == NO_ANSWER)
            run->results[i] = (struct step_result){.error = error, .err = *err};
}

/* ---- several on their way ---------------------------------------------------------------------------------------- */

static int run_send(const struct run *run, const struct step *step, struct err *ret_err)
{
    struct ipc_request request;
    bool has_text = step->kind == STEP_WORKER_START || step->kind == STEP_WORKER_CONFIGURE;
    ipc_request_from_step(step, 0, &request);
    return ipc_client_send(run->client, &request, has_text ? step->worker.config : NULL, deadline_from_now(), ret_err);
}

/* One answer; `first` is the serial of the run's first request. Negative where there will be none any more. */
static int run_receive(const struct run *run, uint32_t first, size_t *answered, struct err *ret_err)
{
    struct ipc_answer answer;
    struct err err = {0};
    int error = ipc_client_receive_any(run->client, first, deadline_from_now(), &answer, &err);
    if (run->client->fd < 0) {
        *ret_err = err;
        return error;
    }
    ipc_answer_done(&answer);
    struct step_result *result = &run->results[answer.reply.serial - first];
    if (result->error == NO_ANSWER) {
        *result = (struct step_result){.error = error, .err = err};
        (*answered)++;
    }
    return 0;
}

static void run_pipeline(const struct run *run)
{
    uint32_t first = run->client->serial + 1;
    size_t sent = 0, answered = 0;
    struct err err = {0};
    int error = 0;
    while (error == 0 && answered < run->count) {
        while (error == 0 && sent < run->count && sent - answered < RUN_WINDOW)
            error = run_send(run, &run->steps[sent++], &err);
        if (error == 0)
            error = run_receive(run, first, &answered, &err);
    }
    if (error < 0)
        run_lose(run, error, &err);
}

/* ---- many devices at once ---------------------------------------------------------------------------------------- */

/* `which`: indexes of steps, all in one netns. */
static int devices_delete(const struct run *run, const uint16_t *which, size_t count, struct err *ret_err)
{
    struct ipc_device devices[STEP_RUN_MAX];
    struct ipc_request request;
    struct ipc_answer answer;
    ipc_request_init(&request, IPC_DEVICES_DELETE);
    memcpy(request.device.netns, run->steps[which[0]].device.netns, sizeof request.device.netns);
    request.devices.count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const struct device_key *key = &run->steps[which[i]].device;
        memcpy(devices[i].name, key->name, sizeof devices[i].name);
        devices[i].uuid = key->uuid;
    }
    int error = ipc_client_call(run->client, &request, (const char *)devices, IPC_CALL_TIMEOUT_MS, &answer, ret_err);
    ipc_answer_done(&answer);
    return error;
}

static void run_delete(const struct run *run, const uint16_t *which, size_t count)
{
    struct err err = {0};
    if (count == 1) {
        run_pipeline(&(struct run){run->client, &run->steps[which[0]], 1, &run->results[which[0]]});
        return;
    }
    int error = devices_delete(run, which, count, &err);
    if (error == 0)
        for (size_t i = 0; i < count; i++)
            run->results[which[i]].error = 0;
    if (error < 0 && run->client->fd >= 0) {
        run_delete(run, which, count / 2);
        run_delete(run, which + count / 2, count - count / 2);
    } else if (error < 0) {
        for (size_t i = 0; i < count; i++)
            run->results[which[i]] = (struct step_result){.error = error, .err = err};
    }
}

/* Netns by netns: a group is one netns' own. */
static void run_delete_all(const struct run *run)
{
    uint16_t which[STEP_RUN_MAX];
    bool taken[STEP_RUN_MAX] = {false};
    for (size_t i = 0; i < run->count; i++) {
        size_t found = 0;
        for (size_t j = i; j < run->count; j++)
            if (!taken[j] && strcmp(run->steps[j].device.netns, run->steps[i].device.netns) == 0) {
                taken[j] = true;
                which[found++] = (uint16_t)j;
            }
        if (found > 0)
            run_delete(run, which, found);
    }
}

void ipc_run(struct ipc_client *client, const struct step *steps, size_t count, struct step_result *ret_results)
{
    struct run run = {client, steps, count, ret_results};
    for (size_t i = 0; i < count; i++)
        ret_results[i] = (struct step_result){.error = NO_ANSWER};
    if (count > 1 && steps[0].kind == STEP_DEVICE_DELETE)
        run_delete_all(&run);
    else
        run_pipeline(&run);
}

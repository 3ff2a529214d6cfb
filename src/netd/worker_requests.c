/* SPDX-License-Identifier: Apache-2.0 */
/* The requests about workers. */
#include "devices.h"
#include "dispatch.h"
#include "page.h"
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int no_worker(const struct request *request, struct err *ret_err)
{
    return err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "", "%s has no worker",
                   request->packet->device.name[0] ? request->packet->device.name : "the device");
}

/* Who has an address may have been told to end, or be dying: closing a queue alone takes the kernel some 20 ms. Then it
 * is no conflict, but something to wait for. */
static int set_build(const struct request *request, const struct worker_set *held, struct worker_set *ret_set,
                     struct err *ret_err)
{
    int result = worker_set_build(&request->packet->worker, request->text, held, ret_set, ret_err);
    return result == -EADDRINUSE && devices_any_ends(request->netd) ? -EAGAIN : result;
}

static int start(const struct request *request, struct target *target, struct err *ret_err)
{
    const struct ipc_request *packet = request->packet;
    struct netd_device *device;
    struct worker_set set;
    int result = target_hold(request->netd, target, &packet->device, packet->worker.queues, &device, ret_err);
    if (result < 0)
        return result;
    if (device->worker)
        return err_set(ret_err, device->worker->phase == PHASE_STOPPING ? -EAGAIN : -EEXIST, ERR_WORKER_FAILED, "",
                       "%s has a worker already", packet->device.name);
    result = set_build(request, NULL, &set, ret_err);
    if (result < 0)
        return result;
    struct waiter *starter = waiter_new(request);
    if (!starter) {
        worker_set_done(&set);
        return err_no_memory(ret_err);
    }
    result = worker_start(device, &set, starter, ret_err);
    if (result < 0) {
        free(starter);
        return result;
    }
    return ANSWER_LATER;
}

static int configure(const struct request *request, struct target *target, struct err *ret_err)
{
    const struct ipc_request *packet = request->packet;
    struct netd_device *device = devices_find(request->netd, &packet->device.uuid);
    struct worker_set set;
    if (!device || !device->worker || device->doomed || !target_is(target, device, &packet->device))
        return no_worker(request, ret_err);
    /* before a socket is opened: what is under way may hold that address. Whoever asked for it may be dead by now */
    if (worker_is_busy(device->worker))
        return err_set(ret_err, -EAGAIN, ERR_WORKER_FAILED, "", "the worker is busy with an earlier request");
    int result = set_build(request, &device->worker->set, &set, ret_err);
    if (result < 0)
        return result;
    struct waiter *starter = waiter_new(request);
    if (!starter) {
        worker_set_drop(&set);
        return err_no_memory(ret_err);
    }
    result = worker_configure(device->worker, &set, starter, ret_err);
    if (result < 0) {
        free(starter);
        return result;
    }
    return ANSWER_LATER;
}

static int with_target(const struct request *request,
                       int (*handle)(const struct request *, struct target *, struct err *), struct err *ret_err)
{
    struct target target;
    int result = target_open(request->netd, &request->packet->device, &target, ret_err);
    if (result < 0)
        return result;
    result = handle(request, &target, ret_err);
    target_done(&target);
    return result;
}

int handle_worker_start(const struct request *request, struct err *ret_err)
{
    return with_target(request, start, ret_err);
}

int handle_worker_configure(const struct request *request, struct err *ret_err)
{
    return with_target(request, configure, ret_err);
}

/* Needs nothing of the kernel: the worker of a device that has gone is to be stopped all the same. None is as good as
 * stopped. */
int handle_worker_stop(const struct request *request, struct err *ret_err)
{
    const struct netd_device *device = devices_find(request->netd, &request->packet->device.uuid);
    if (!device || !device->worker)
        return 0;
    struct waiter *waiter = waiter_new(request);
    if (!waiter)
        return err_no_memory(ret_err);
    worker_stop(device->worker, waiter);
    return ANSWER_LATER;
}

int handle_worker_page(const struct request *request, struct err *ret_err)
{
    const struct netd_device *device = devices_find(request->netd, &request->packet->device.uuid);
    int fd CLEANUP(fd_done) = -1;
    if (!device || !device->worker)
        return no_worker(request, ret_err);
    int result = page_open_read_only(device->worker->page, &fd, ret_err);
    if (result < 0)
        return result;
    request_answer(request, 0, NULL, &fd, 1);
    return ANSWER_LATER;
}

/* ---- captures ---------------------------------------------------------------------------------------------------- */

static int capture_create(const struct request *request, int *ret_fd, struct err *ret_err)
{
    const struct ipc_capture *wanted = &request->packet->capture;
    struct capture_area *area = calloc(1, sizeof *area);
    if (!area)
        return err_no_memory(ret_err);
    area->magic = CAPTURE_MAGIC;
    area->version = CAPTURE_VERSION;
    area->ring_count = CAPTURE_RINGS;
    area->snaplen = wanted->snaplen;
    area->program_length = wanted->program_length;
    memcpy(area->program, request->text, ipc_request_text_length(request->packet));
    int result = memfd_create_sealed("tunwright-capture", CAPTURE_AREA_SIZE, area, sizeof *area, ret_fd, ret_err);
    free(area);
    return result;
}

int handle_worker_capture(const struct request *request, struct err *ret_err)
{
    const struct netd_device *device = devices_find(request->netd, &request->packet->device.uuid);
    if (!device || !device->worker)
        return no_worker(request, ret_err);
    struct netd_worker *worker = device->worker;
    if (worker->capture >= 0)
        return err_set(ret_err, -EBUSY, ERR_ALREADY_EXISTS, "", "somebody captures there already");
    int result = capture_create(request, &worker->capture, ret_err);
    if (result < 0)
        return result;
    worker->capture_client = request->client;
    process_capture(worker);
    request_answer(request, 0, NULL, &worker->capture, 1);
    return ANSWER_LATER;
}

void worker_captures_end(struct netd *netd, uint64_t client)
{
    for (size_t i = 0; i < netd->device_count; i++) {
        struct netd_worker *worker = netd->devices[i]->worker;
        if (!worker || worker->capture < 0 || worker->capture_client != client)
            continue;
        fd_done(&worker->capture);
        worker->capture = -1;
        process_capture(worker);
    }
}

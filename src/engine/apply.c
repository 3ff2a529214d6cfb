/* SPDX-License-Identifier: Apache-2.0 */
#include "converge.h"
#include "deviation.h"
#include "progress.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TENTATIVE_WAIT_NS (3 * NSEC_PER_SEC) /* one probe, a second, and as much again at random before it */
#define WORKER_WAIT_NS    (WORKER_READY_TIMEOUT_MS * NSEC_PER_MSEC + NSEC_PER_SEC) /* the longest that it can be busy */
#define NOT_NOW_POLL_MS   50

bool error_is_absence(int error, const struct err *err)
{
    return error == -ENOTCONN || err->code == ERR_NETD_UNAVAILABLE;
}

/* ---- where in the document a refusal belongs --------------------------------------------------------------------- */

static void step_blame(const struct step *step, const struct device *device, int error, struct err *err)
{
    char *out = err->pointer;

    if (out[0] == '/')
        return; /* the kernel's side knew better */
    step_pointer(step, device, out);
    switch (step->kind) {
    case STEP_WORKER_START:
    case STEP_WORKER_CONFIGURE:
        if (err->code == ERR_ADDRESS_IN_USE)
            (void)snprintf(out, ERR_POINTER_MAX, "/worker/local");
        return;
    case STEP_LINK_SET: /* several at once: only a master that is not there, or no bridge, gives itself away */
        if (!out[0] && (step->link.set & LINK_MASTER) && step->link.master[0] &&
            (error == -ENODEV || error == -ENOENT || error == -EOPNOTSUPP))
            (void)snprintf(out, ERR_POINTER_MAX, "/master");
        return;
    case STEP_DEVICE_ADOPT:
        (void)snprintf(out, ERR_POINTER_MAX, "%s", error == -EBUSY ? "/worker" : "/name");
        return;
    case STEP_DEVICE_CREATE:
        if (error == -EEXIST) {
            err->code = ERR_FOREIGN_DEVICE; /* somebody was quicker */
            (void)snprintf(out, ERR_POINTER_MAX, "/name");
        } else if (error == -ENOENT && step->device.netns[0]) {
            (void)snprintf(out, ERR_POINTER_MAX, "/netns");
        }
        return;
    default:
        return;
    }
}

/* ---- carrying out ------------------------------------------------------------------------------------------------ */

/* What shall go and has gone by itself is as good as taken away. The look afterwards tells whether that is so. */
static bool step_is_moot(const struct step *step, int error)
{
    switch (step->kind) {
    case STEP_WORKER_STOP:
        return error == -ENOENT || error == -ENODEV || error == -ESRCH;
    case STEP_ROUTE_DELETE:
        return error == -ESRCH || error == -ENODEV;
    case STEP_ADDRESS_DELETE:
        return error == -EADDRNOTAVAIL || error == -ENODEV;
    case STEP_DEVICE_DELETE:
    case STEP_DEVICE_RELEASE:
        return error == -ENODEV;
    default:
        return false;
    }
}

static void item_note(struct converge_item *item, const struct step *step)
{
    if (item->applied++ == 0) {
        item->mended = step->kind;
        step_pointer(step, item->wanted.now, item->mended_pointer);
    }
    if (step->kind == STEP_WORKER_STOP || step->kind == STEP_WORKER_START)
        item->worker_replaced = true;
    if (step->kind == STEP_DEVICE_DELETE || step->kind == STEP_DEVICE_CREATE)
        item->recreated = true;
}

/*
 * What cannot be done now, but soon, is waited for: on a tap IPv6 looks for duplicates of a new address first, and
 * meanwhile refuses it as the source of a route; a worker may be busy with what a daemon asked for that was killed
 * since; and a process that was killed has its queues and its address until the kernel is done with it.
 */
static int step_apply(struct kernel *kernel, const struct step *step, struct err *ret_err)
{
    int64_t until_ns = clock_monotonic_ns() + (step->kind == STEP_ROUTE_ADD ? TENTATIVE_WAIT_NS : WORKER_WAIT_NS);
    int r;

    for (;;) {
        r = kernel->ops->apply(kernel, step, ret_err);
        if (r != -EAGAIN || clock_monotonic_ns() >= until_ns)
            return r;
        (void)poll(NULL, 0, NOT_NOW_POLL_MS);
    }
}

/* Says in the item what became of its step; 0 where that is as good as done. What it failed of first counts. */
static int step_settle(const struct step *step, struct converge_item *item, int r, const struct err *told)
{
    struct err err = *told;

    if (r == 0 || step_is_moot(step, r)) {
        item_note(item, step);
        return 0;
    }
    if (error_is_absence(r, &err) && err.code != ERR_NETD_UNAVAILABLE)
        (void)err_set(&err, r, ERR_NETD_UNAVAILABLE, "", "tunwright-netd cannot be reached");
    else if (err.code == ERR_NONE)
        (void)err_set_kernel(&err, r, step_kind_name(step->kind), "the kernel refused");
    if (!error_is_absence(r, &err))
        step_blame(step, item->wanted.now ? item->wanted.now : item->wanted.before, r, &err);
    if (item->error == 0) {
        item->error = r;
        item->err = err;
    }
    return r;
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

/*
 * Steps of one kind that follow each other are handed over together. A refusal does not hold up those after it in its
 * run: they are done, are noted as done, and are rolled back with all else where the change is an atomic one. So a run
 * is kept short where that saves nothing.
 */
#define RUN_MAX 64

struct run {
    const struct step *steps;
    size_t count;
    struct converge_item *items[STEP_RUN_MAX];
    struct step_result results[STEP_RUN_MAX];
};

static size_t run_max(const struct kernel *kernel, enum step_kind kind)
{
    if (!kernel->ops->apply_run)
        return 1;
    switch (kind) {
    case STEP_DEVICE_DELETE:
        return STEP_RUN_MAX;
    case STEP_WORKER_CONFIGURE: /* one may get the address that the one before it gives up */
        return 1;
    default:
        return RUN_MAX;
    }
}

static void run_carry_out(struct kernel *kernel, struct run *run)
{
    bool waited = false;

    if (run->count > 1)
        kernel->ops->apply_run(kernel, run->steps, run->count, run->results);
    for (size_t i = 0; i < run->count; i++) {
        struct step_result *result = &run->results[i];

        /* what came after a step that has to wait may have failed for want of it */
        if (run->count == 1 || result->error == -EAGAIN ||
            (waited && result->error < 0 && !error_is_absence(result->error, &result->err))) {
            memset(result, 0, sizeof(*result));
            result->error = step_apply(kernel, &run->steps[i], &result->err);
            waited = true;
        }
    }
}

/* The first refusal that ends all of it, if any. */
static int run_settle(const struct run *run, enum converge_mode mode, struct err *ret_err)
{
    int first = 0;

    for (size_t i = 0; i < run->count; i++) {
        struct converge_item *item = run->items[i];
        int r = step_settle(&run->steps[i], item, run->results[i].error, &run->results[i].err);

        if (r == 0 || first < 0 || (mode != CONVERGE_ATOMIC && !error_is_absence(r, &run->results[i].err)))
            continue;
        first = r;
        if (ret_err)
            *ret_err = item->err;
    }
    return first;
}

static int items_by_uuid(const void *a, const void *b)
{
    const struct converge_item *left = *(struct converge_item *const *)a, *right = *(struct converge_item *const *)b;

    return memcmp(left->wanted.uuid.bytes, right->wanted.uuid.bytes, sizeof(left->wanted.uuid.bytes));
}

static struct converge_item *item_of(struct converge_item *const *sorted, size_t count, const struct uuid *uuid)
{
    struct converge_item key = {.wanted.uuid = *uuid};
    const struct converge_item *key_pointer = &key;
    struct converge_item *const *found = bsearch(&key_pointer, sorted, count, sizeof(*sorted), items_by_uuid);

    return found ? *found : NULL;
}

/* The steps from `start` on that go together: of one kind, and of devices whose way has not ended. None: that step is
 * to be left out. */
static void run_gather(const struct kernel *kernel, const struct plan *plan, size_t start,
                       struct converge_item *const *sorted, size_t count, struct run *ret_run)
{
    enum step_kind kind = plan->steps[start].kind;
    size_t most = run_max(kernel, kind), found = 0;

    while (found < most && start + found < plan->count && plan->steps[start + found].kind == kind) {
        struct converge_item *item = item_of(sorted, count, &plan->steps[start + found].device.uuid);

        if (!item || item->error < 0)
            break;
        ret_run->items[found++] = item;
    }
    ret_run->steps = &plan->steps[start];
    ret_run->count = found;
}

int plan_apply(struct kernel *kernel, const struct plan *plan, struct converge_item *items, size_t count,
               enum converge_mode mode, struct progress *progress, struct err *ret_err)
{
    struct converge_item **sorted = calloc(count + 1, sizeof(*sorted));
    struct run *run = malloc(sizeof(*run));
    int r = 0;

    if (!sorted || !run) {
        free(sorted);
        free(run);
        return err_no_memory(ret_err);
    }
    for (size_t i = 0; i < count; i++)
        sorted[i] = &items[i];
    qsort(sorted, count, sizeof(*sorted), items_by_uuid);
    progress_plan(progress, plan->count, clock_monotonic_ns());
    for (size_t i = 0; i < plan->count && r == 0;) {
        run_gather(kernel, plan, i, sorted, count, run);
        run_carry_out(kernel, run);
        r = run_settle(run, mode, ret_err);
        i += run->count > 0 ? run->count : 1;
        progress_step(progress, run->count > 0 ? run->count : 1, clock_monotonic_ns());
    }
    free(run);
    free(sorted);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A device of the configuration, and what is known of it. */
#include "deviation.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>

struct tracked *tracked_new(const struct uuid *uuid, struct document *document, uint64_t generation, int64_t created_ns,
                            int64_t changed_ns)
{
    struct tracked *tracked = calloc(1, sizeof(*tracked));

    if (!tracked) {
        document_release(document);
        return NULL;
    }
    tracked->document = document;
    tracked->view.state = STATE_PENDING;
    tracked->view.stored = (struct stored_device){
        .uuid = *uuid,
        .generation = generation,
        .created_ns = created_ns,
        .changed_ns = changed_ns,
        .device = document->device,
    };
    return tracked;
}

struct tracked *tracked_change(const struct tracked *tracked, struct document *document, int64_t changed_ns)
{
    const struct stored_device *stored = &tracked->view.stored;
    struct tracked *changed =
        tracked_new(&stored->uuid, document, stored->generation + 1, stored->created_ns, changed_ns);
    struct snapshot_device *view;

    if (!changed)
        return NULL;
    view = &changed->view;
    view->observed_generation = tracked->view.observed_generation;
    view->counters = counter_mapping_share(tracked->view.counters);
    return changed;
}

void tracked_free(struct tracked *tracked)
{
    if (!tracked)
        return;
    document_release(tracked->document);
    counter_mapping_release(tracked->view.counters);
    free(tracked->view.worker_status);
    free(tracked->view.deviations);
    document_release(tracked->tried);
    free(tracked);
}

const char *tracked_name(const struct tracked *tracked)
{
    return tracked->document->device->name;
}

struct converge_item tracked_item(const struct tracked *tracked)
{
    const struct device *device = tracked->document->device;

    return (struct converge_item){
        .wanted =
            {
                .uuid = tracked->view.stored.uuid,
                .name = device->name,
                .netns = device->netns,
                .now = device,
                .before = tracked->tried ? tracked->tried->device : device,
                .takes_unmarked = !tracked->tried,
                .adopts = tracked->adopts,
            },
    };
}

bool tracked_set_state(struct tracked *tracked, enum device_state state, const struct err *reason)
{
    struct snapshot_device *view = &tracked->view;
    struct err none = {0};
    bool differs;

    if (!reason)
        reason = &none;
    differs = view->state != state || view->reason.code != reason->code ||
              view->reason.sys_errno != reason->sys_errno || strcmp(view->reason.message, reason->message) != 0;
    view->state = state;
    view->reason = *reason;
    return differs;
}

/* ---- what was seen ----------------------------------------------------------------------------------------------- */

/* A worker may be any program of the user's: what it says goes no further unless it is an object in JSON. Owned or
 * NULL. */
static char *status_take(const char *text)
{
    size_t length = text ? strlen(text) : 0, start = 0;

    while (start < length && strchr(" \t\r\n", text[start]))
        start++;
    if (start == length || text[start] != '{' || json_check(text, length, NULL) < 0)
        return NULL;
    return strdup(text + start);
}

static bool texts_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool tracked_see_link(struct snapshot_device *view, const struct observed_link *link)
{
    struct snapshot_device was = *view;

    view->present = link != NULL;
    view->ifindex = link ? link->ifindex : 0;
    view->carrier = link && link->carrier;
    view->mtu = link ? link->mtu : 0;
    memset(view->mac, 0, sizeof(view->mac));
    if (link)
        memcpy(view->mac, link->mac, sizeof(view->mac));
    return was.present != view->present || was.ifindex != view->ifindex || was.carrier != view->carrier ||
           was.mtu != view->mtu || memcmp(was.mac, view->mac, sizeof(view->mac)) != 0;
}

static bool tracked_see_worker(struct snapshot_device *view, const struct observed_worker *worker)
{
    char *status = status_take(worker ? worker->status : NULL);
    bool differs = view->has_worker != (worker != NULL) || !texts_equal(view->worker_status, status);

    if (worker && !differs)
        differs = view->worker_state != worker->state || view->worker_pid != worker->pid ||
                  view->worker_restarts != worker->restarts || view->worker_started_ns != worker->started_ns ||
                  strcmp(view->worker_detail, worker->detail) != 0;
    view->has_worker = worker != NULL;
    view->worker_state = worker ? worker->state : WORKER_STARTING;
    view->worker_pid = worker ? worker->pid : 0;
    view->worker_restarts = worker ? worker->restarts : 0;
    view->worker_started_ns = worker ? worker->started_ns : 0;
    memset(view->worker_detail, 0, sizeof(view->worker_detail));
    if (worker)
        memcpy(view->worker_detail, worker->detail, sizeof(view->worker_detail) - 1);
    free(view->worker_status);
    view->worker_status = status;
    return differs;
}

/* A page belongs to a worker from its attachment to its end. Whatever lies between two looks was done by us: netd
 * starts no worker of its own accord, it only starts one again, with the same page. */
static bool tracked_map(struct snapshot_device *view, struct kernel *kernel, const struct observed_worker *worker,
                        bool replaced)
{
    struct counter_mapping *was = view->counters;

    if (was && (!worker || replaced)) {
        view->counters = NULL;
        counter_mapping_release(was);
    }
    if (worker && !view->counters)
        view->counters = counter_mapping_new(kernel, &view->stored.uuid);
    return was != view->counters;
}

/* The steps that a plan has for it now, in the words of its document; of a device that has none, nothing. */
static bool tracked_see_deviations(struct tracked *tracked, const struct plan_index *index, bool differs,
                                   const struct observed_link *link, const struct observed_worker *worker)
{
    struct snapshot_device *view = &tracked->view;
    struct wanted wanted = tracked_item(tracked).wanted;
    struct device before = *wanted.before;
    struct deviation *deviations = NULL;
    struct plan plan = {0};
    size_t count = 0;
    bool same;

    before.queues = wanted.now->queues; /* as converge does: the kernel does not tell */
    wanted.before = &before;
    if (differs) {
        (void)plan_device(&plan, &wanted, index, NULL); /* where it cannot be had, the reason says why */
        (void)deviations_find(
            &(struct deviation_sight){
                .device = wanted.now, .link = link, .worker = worker, .steps = plan.steps, .step_count = plan.count},
            &deviations, &count);
        plan_done(&plan);
    }
    same = view->deviation_count == count &&
           (count == 0 || memcmp(view->deviations, deviations, count * sizeof(*deviations)) == 0);
    free(view->deviations);
    view->deviations = deviations;
    view->deviation_count = count;
    if (!same)
        tracked->deviated_ns = clock_monotonic_ns();
    return !same;
}

static bool state_of_worker(struct tracked *tracked, const struct observed_worker *worker)
{
    struct err reason;

    if (!worker || worker->state == WORKER_RUNNING)
        return tracked_set_state(tracked, STATE_READY, NULL);
    memset(&reason, 0, sizeof(reason));
    (void)err_set(&reason, 0, ERR_WORKER_FAILED, "/worker", "the worker is %s%s%.200s",
                  worker_state_name(worker->state), worker->detail[0] ? ": " : "", worker->detail);
    return tracked_set_state(tracked, STATE_DEGRADED, &reason);
}

static bool state_of_item(struct tracked *tracked, const struct converge_item *item,
                          const struct observed_worker *worker)
{
    struct err reason;

    if (item->error < 0)
        return tracked_set_state(tracked, item->err.code == ERR_FOREIGN_DEVICE ? STATE_CONFLICT : STATE_FAILED,
                                 &item->err);
    if (!item->differs)
        return state_of_worker(tracked, worker);
    if (tracked->retry_ns != 0)
        return false; /* failed, and waiting for its next try */
    memset(&reason, 0, sizeof(reason));
    if (tracked->contested) {
        contest_reason(tracked, &reason);
        return tracked_set_state(tracked, STATE_CONFLICT, &reason);
    }
    (void)err_set(&reason, 0, ERR_DRIFTED, "/drift",
                  "the kernel differs from the document (%s would be next), and drift is only to be reported",
                  item->first);
    return tracked_set_state(tracked, STATE_DEGRADED, &reason);
}

bool tracked_observe(struct tracked *tracked, struct kernel *kernel, const struct plan_index *index,
                     const struct converge_item *item)
{
    struct snapshot_device *view = &tracked->view;
    const struct device *device = tracked->document->device;
    const struct observed_link *link = plan_index_device(index, &view->stored.uuid, device->netns, device->name);
    const struct observed_worker *worker = plan_index_worker(index, &view->stored.uuid);
    bool differs = tracked_see_link(view, link);

    differs |= tracked_see_worker(view, worker);
    differs |= tracked_map(view, kernel, worker, item->worker_replaced);
    if (item->error == 0 && !item->differs && view->observed_generation != view->stored.generation) {
        view->observed_generation = view->stored.generation;
        differs = true;
    }
    differs |= tracked_see_deviations(tracked, index, item->differs || item->error < 0, link, worker);
    differs |= state_of_item(tracked, item, worker);
    return differs;
}

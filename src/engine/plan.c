/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: what leads from what is seen to what is wanted. It knows nothing of what was done before, so that creating,
 * changing, rolling back, starting up and repairing are the same function.
 *
 * What is ours to take away is told by its mark: the device's alias, the protocol of a route or an address. A device
 * that was taken over comes with addresses and routes without one. Where the document lists them, they are as good as
 * marked: they count as there, and go when they leave the document. What is in no document is left alone.
 *
 * Each device appends its steps; in the end they are put in the order of enum step_kind over all devices. What goes
 * comes before what comes: a name, an address or a route that moves from one device to another is free by the time it
 * is taken. Routes through a gateway are added after those on link, and deleted before them, because one may be reached
 * by the other.
 */
#include "planning.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void plan_truncate(struct plan *plan, size_t count)
{
    while (plan->count > count)
        step_done(&plan->steps[--plan->count]);
}

void plan_done(struct plan *plan)
{
    plan_truncate(plan, 0);
    free(plan->steps);
    memset(plan, 0, sizeof(*plan));
}

static struct step *step_add(struct plan *plan, enum step_kind kind, const char *netns, const char *name,
                             const struct uuid *uuid)
{
    void *steps = plan->steps;
    struct step *step;

    if (array_grow(&steps, &plan->capacity, plan->count, sizeof(*plan->steps)) < 0)
        return NULL;
    plan->steps = steps;
    step = &plan->steps[plan->count++];
    memset(step, 0, sizeof(*step));
    step->kind = kind;
    (void)text_copy(step->device.netns, sizeof(step->device.netns), netns);
    (void)text_copy(step->device.name, sizeof(step->device.name), name);
    step->device.uuid = *uuid;
    return step;
}

/* Two steps of one kind whose order matters although the kind is the same. */
static size_t step_bucket(const struct step *step)
{
    bool via = (step->kind == STEP_ROUTE_ADD || step->kind == STEP_ROUTE_DELETE) && step->route.via.family != 0;
    bool late = step->kind == STEP_ROUTE_DELETE ? !via : via;

    if (step->late)
        return (size_t)STEP_ADDRESS_ADD * 2 + 1;
    return (size_t)step->kind * 2 + late;
}

int plan_order(struct plan *plan)
{
    size_t starts[STEP_KIND_N * 2 + 1] = {0};
    struct step *ordered;

    if (plan->count < 2)
        return 0;
    ordered = malloc(plan->count * sizeof(*ordered));
    if (!ordered)
        return -ENOMEM;
    for (size_t i = 0; i < plan->count; i++)
        starts[step_bucket(&plan->steps[i]) + 1]++;
    for (size_t i = 1; i < ARRAY_SIZE(starts); i++)
        starts[i] += starts[i - 1];
    for (size_t i = 0; i < plan->count; i++)
        ordered[starts[step_bucket(&plan->steps[i])]++] = plan->steps[i];
    free(plan->steps);
    plan->steps = ordered;
    plan->capacity = plan->count;
    return 0;
}

struct step *planning_add(struct planning *p, enum step_kind kind)
{
    const struct wanted *wanted = p->wanted;

    return step_add(p->plan, kind, wanted->now ? wanted->now->netns : wanted->netns,
                    wanted->now ? wanted->now->name : wanted->name, &wanted->uuid);
}

struct step *planning_take_away(struct planning *p, enum step_kind kind)
{
    if (p->link)
        return step_add(p->plan, kind, p->link->netns, p->link->name, &p->wanted->uuid);
    return step_add(p->plan, kind, p->wanted->netns, p->wanted->name, &p->wanted->uuid);
}

/* ---- the worker -------------------------------------------------------------------------------------------------- */

/* Only a change of the program, a failure, or an address that another one waits for costs a worker its life; all else
 * is a matter of configuration. */
static bool worker_must_stop(const struct planning *p, const struct worker_spec *spec)
{
    return p->worker &&
           (!p->keep || !spec || p->worker->state == WORKER_FAILED ||
            (p->wanted->yields && p->worker->tag != spec->tag) || strcmp(p->worker->program, spec->program) != 0);
}

static int plan_worker(struct planning *p)
{
    const struct device *now = p->wanted->now;
    bool wants = now && now->worker.type != WORKER_NONE;
    CLEANUP(worker_spec_done) struct worker_spec spec = {0};
    enum step_kind kind = STEP_WORKER_START;
    struct step *step;
    bool stop;
    int r;

    r = wants ? worker_spec_build(now, &spec) : 0;
    if (r < 0)
        return r;
    stop = worker_must_stop(p, wants ? &spec : NULL);
    if (stop) {
        step = planning_take_away(p, STEP_WORKER_STOP);
        if (!step)
            return -ENOMEM;
        step->disturbs = DISTURBS_FLAP;
    }
    if (!wants)
        return 0;
    if (p->worker && !stop) {
        if (p->worker->tag == spec.tag)
            return 0;
        kind = STEP_WORKER_CONFIGURE;
    }
    step = planning_add(p, kind);
    if (!step)
        return -ENOMEM;
    step->disturbs = stop ? DISTURBS_FLAP : DISTURBS_NONE;
    step->worker = spec;
    memset(&spec, 0, sizeof(spec)); /* the step owns it now */
    return 0;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static int plan_name_check(struct planning *p, struct err *ret_err)
{
    const struct device *now = p->wanted->now;
    const struct observed_link *holder = plan_index_name(p->index, now->netns, now->name);

    if (!holder || holder == p->link || p->index->leaving[holder - p->index->observed->links])
        return 0;
    return err_set(ret_err, -EEXIST, ERR_FOREIGN_DEVICE, "/name",
                   "a device %s exists already%s%s, and it is not this one", now->name,
                   now->netns[0] ? " in the network namespace " : "", now->netns);
}

static int plan_removals(struct planning *p)
{
    int r = plan_routes_unattached_delete(p);

    if (r == 0 && p->link && !p->keep) {
        struct step *step = planning_take_away(p, STEP_DEVICE_DELETE);

        if (!step)
            return -ENOMEM;
        step->disturbs = DISTURBS_RECREATE;
        p->index->leaving[p->link - p->index->observed->links] = true;
        return 0;
    }
    if (r == 0 && p->keep)
        r = plan_routes_delete(p);
    if (r == 0 && p->keep)
        r = plan_addresses_delete(p);
    return r;
}

static int plan_additions(struct planning *p)
{
    int r = 0;

    if (!p->keep)
        r = plan_link_create(p);
    if (r == 0)
        r = plan_link_set(p);
    if (r == 0)
        r = plan_addresses_add(p);
    if (r == 0)
        r = plan_routes_add(p);
    return r;
}

/* All steps of a device that is not to be let go of. */
static int plan_all(struct planning *p)
{
    int r = plan_removals(p);

    if (r == 0 && p->wanted->now)
        r = plan_additions(p);
    if (r == 0)
        r = plan_worker(p);
    return r;
}

int plan_device(struct plan *plan, const struct wanted *wanted, const struct plan_index *index, struct err *ret_err)
{
    const struct device *now = wanted->now;
    struct planning p = {.plan = plan, .wanted = wanted, .index = index};
    size_t start = plan->count;
    int r = 0;

    p.link = plan_index_device(index, &wanted->uuid, now ? now->netns : wanted->netns, now ? now->name : wanted->name);
    p.worker = plan_index_worker(index, &wanted->uuid);
    p.keep = now && p.link && plan_link_will_do(p.link, wanted);
    if (now && !p.link && wanted->adopts)
        r = plan_link_adopt(&p, ret_err);
    else if (now && !p.keep && !wanted->releases)
        r = plan_name_check(&p, ret_err);
    if (r < 0)
        return r;
    if (!wanted->releases || p.keep)
        r = plan_all(&p);
    if (r == 0 && wanted->releases && plan->count == start)
        r = plan_link_release(&p);
    if (r < 0) {
        plan_truncate(plan, start);
        return err_no_memory(ret_err);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The plain data of this module: names, look-ups, and what empties it. */
#include "tunwright/net.h"

#include <stdlib.h>
#include <string.h>

static const char *const STEP_KINDS[] = {
    [STEP_DEVICE_ADOPT] = "device_adopt",     [STEP_DEVICE_RELEASE] = "device_release",
    [STEP_WORKER_STOP] = "worker_stop",       [STEP_ROUTE_DELETE] = "route_delete",
    [STEP_ADDRESS_DELETE] = "address_delete", [STEP_DEVICE_DELETE] = "device_delete",
    [STEP_DEVICE_CREATE] = "device_create",   [STEP_LINK_SET] = "link_set",
    [STEP_ADDRESS_ADD] = "address_add",       [STEP_ROUTE_ADD] = "route_add",
    [STEP_WORKER_START] = "worker_start",     [STEP_WORKER_CONFIGURE] = "worker_configure",
};
_Static_assert(ARRAY_SIZE(STEP_KINDS) == STEP_KIND_N, "every step has a name");

const char *step_kind_name(enum step_kind kind)
{
    return (unsigned)kind < STEP_KIND_N ? STEP_KINDS[kind] : "unknown";
}

static const char *const DISTURBANCES[] = {
    [DISTURBS_NONE] = "none",
    [DISTURBS_FLAP] = "flap",
    [DISTURBS_RECREATE] = "recreate",
};
_Static_assert(ARRAY_SIZE(DISTURBANCES) == DISTURBANCE_N, "every disturbance has a name");

const char *disturbance_name(enum disturbance disturbance)
{
    return (unsigned)disturbance < DISTURBANCE_N ? DISTURBANCES[disturbance] : "unknown";
}

void step_done(struct step *step)
{
    if (step->kind == STEP_WORKER_START || step->kind == STEP_WORKER_CONFIGURE)
        worker_spec_done(&step->worker);
    memset(step, 0, sizeof *step);
}

static const char *const WORKER_STATES[] = {
    [WORKER_STARTING] = "starting",
    [WORKER_RUNNING] = "running",
    [WORKER_RESTARTING] = "restarting",
    [WORKER_FAILED] = "failed",
};
_Static_assert(ARRAY_SIZE(WORKER_STATES) == WORKER_STATE_N, "every state has a name");

const char *worker_state_name(enum worker_state state)
{
    return (unsigned)state < WORKER_STATE_N ? WORKER_STATES[state] : "unknown";
}

void observed_done(struct observed *observed)
{
    for (size_t i = 0; i < observed->link_count; i++) {
        free(observed->links[i].addresses);
        free(observed->links[i].routes);
        free(observed->links[i].foreign_routes);
    }
    for (size_t i = 0; i < observed->worker_count; i++)
        free(observed->workers[i].status);
    free(observed->links);
    free(observed->unattached);
    free(observed->workers);
    memset(observed, 0, sizeof *observed);
}

const struct observed_link *observed_link_find(const struct observed *observed, const char *netns, const char *name)
{
    for (size_t i = 0; i < observed->link_count; i++) {
        const struct observed_link *link = &observed->links[i];
        if (strcmp(link->name, name) == 0 && strcmp(link->netns, netns) == 0)
            return link;
    }
    return NULL;
}

const struct observed_link *observed_link_of(const struct observed *observed, const struct uuid *uuid)
{
    for (size_t i = 0; i < observed->link_count; i++) {
        const struct observed_link *link = &observed->links[i];
        if (link->ours && uuid_equal(&link->uuid, uuid))
            return link;
    }
    return NULL;
}

const struct observed_worker *observed_worker_of(const struct observed *observed, const struct uuid *uuid)
{
    for (size_t i = 0; i < observed->worker_count; i++) {
        if (uuid_equal(&observed->workers[i].uuid, uuid))
            return &observed->workers[i];
    }
    return NULL;
}

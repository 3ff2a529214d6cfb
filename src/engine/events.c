/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events are the difference between two snapshots that readers could see: nothing else has to remember to report, and
 * what was rolled back never happened.
 */
#include "state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int event_ring_init(struct event_ring *ring)
{
    ring->newest = 0;
    ring->items = calloc(ENGINE_EVENTS_KEPT, sizeof(*ring->items));
    return ring->items ? 0 : -ENOMEM;
}

void event_ring_done(struct event_ring *ring)
{
    free(ring->items);
    memset(ring, 0, sizeof(*ring));
}

/* The new event, its detail still empty. */
static struct event *event_add(struct event_ring *ring, enum event_type type, int64_t time_ns, const char *device)
{
    struct event *event = &ring->items[ring->newest % ENGINE_EVENTS_KEPT];

    memset(event, 0, sizeof(*event));
    event->sequence = ++ring->newest;
    event->time_ns = time_ns;
    event->type = type;
    (void)text_copy(event->device, sizeof(event->device), device);
    return event;
}

static void event_set_detail(struct event *event, const char *state, const char *reason)
{
    (void)snprintf(event->detail, sizeof(event->detail), "%.32s%s%.280s", state, reason[0] ? ": " : "", reason);
}

static bool worker_differs(const struct snapshot_device *a, const struct snapshot_device *b)
{
    if (a->has_worker != b->has_worker)
        return true;
    return b->has_worker && (a->worker_state != b->worker_state || a->worker_restarts != b->worker_restarts);
}

static void device_compare(struct event_ring *ring, const struct snapshot_device *before,
                           const struct snapshot_device *after, int64_t time_ns)
{
    static const struct snapshot_device nothing = {.state = STATE_PENDING};
    const struct snapshot_device *was = before ? before : &nothing;
    const char *name = after->stored.device->name;
    struct event *event;

    if (!before || before->stored.generation != after->stored.generation) {
        event = event_add(ring, before ? EVENT_DEVICE_CHANGED : EVENT_DEVICE_CREATED, time_ns, name);
        (void)snprintf(event->detail, sizeof(event->detail), "generation %llu",
                       (unsigned long long)after->stored.generation);
    }
    if (worker_differs(was, after)) {
        event = event_add(ring, EVENT_WORKER_STATE, time_ns, name);
        if (after->has_worker)
            event_set_detail(event, worker_state_name(after->worker_state), after->worker_detail);
        else
            event_set_detail(event, "none", "");
    }
    if (was->state != after->state || was->reason.code != after->reason.code) {
        event = event_add(ring, EVENT_DEVICE_STATE, time_ns, name);
        event_set_detail(event, device_state_name(after->state), after->reason.code ? after->reason.message : "");
    }
}

void event_ring_compare(struct event_ring *ring, const struct snapshot *before, const struct snapshot *after)
{
    size_t i = 0, j = 0;

    while (i < before->device_count || j < after->device_count) {
        const struct snapshot_device *old = i < before->device_count ? &before->devices[i] : NULL;
        const struct snapshot_device *new = j < after->device_count ? &after->devices[j] : NULL;
        int order = !old ? 1 : !new ? -1 : strcmp(old->stored.device->name, new->stored.device->name);

        if (order < 0 || (order == 0 && !uuid_equal(&old->stored.uuid, &new->stored.uuid))) {
            event_add(ring, EVENT_DEVICE_DELETED, after->time_ns, old->stored.device->name);
            i++;
            continue;
        }
        device_compare(ring, order == 0 ? old : NULL, new, after->time_ns);
        i += order == 0;
        j++;
    }
}

size_t event_ring_copy(const struct event_ring *ring, uint64_t after, struct event *ret_events, size_t room,
                       uint64_t *ret_oldest, uint64_t *ret_newest)
{
    uint64_t oldest = ring->newest > ENGINE_EVENTS_KEPT ? ring->newest - ENGINE_EVENTS_KEPT : 0;
    size_t count = 0;

    for (uint64_t s = after > oldest ? after : oldest; s < ring->newest && count < room; s++)
        ret_events[count++] = ring->items[s % ENGINE_EVENTS_KEPT];
    *ret_newest = ring->newest;
    if (ret_oldest)
        *ret_oldest = ring->newest ? oldest + 1 : 0;
    return count;
}

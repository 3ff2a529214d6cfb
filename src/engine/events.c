/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events are the difference between two snapshots that readers could see: nothing else has to remember to report, and
 * what was rolled back never happened. Here is the comparison, and the memory that readers copy from.
 */
#include "state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists ------------------------------------------------------------------------------------------------------- */

void event_list_done(struct event_list *list)
{
    free(list->items);
    memset(list, 0, sizeof(*list));
}

struct event *event_list_add(struct event_list *list, enum event_type type, int64_t time_ns, const char *device)
{
    struct event *event;

    if (list->failed || array_grow(&list->items, &list->capacity, list->count, sizeof(*list->items)) < 0) {
        list->failed = true;
        return NULL;
    }
    event = &list->items[list->count++];
    memset(event, 0, sizeof(*event));
    event->time_ns = time_ns;
    event->type = type;
    (void)text_copy(event->device, sizeof(event->device), device);
    return event;
}

/* What was cut may have been cut within a character, and what was quoted may be anything: what is left is UTF-8 without
 * control characters. */
void event_detail_clean(char detail[static ERR_MESSAGE_MAX])
{
    size_t length = strlen(detail);
    bool is_utf8 = utf8_is_valid(detail, length);

    for (size_t cut = 1; !is_utf8 && cut <= 3 && cut < length; cut++) {
        is_utf8 = utf8_is_valid(detail, length - cut);
        if (is_utf8)
            detail[length - cut] = '\0';
    }
    for (unsigned char *at = (unsigned char *)detail; *at; at++) {
        if (*at < ' ' || *at == 0x7f || (*at >= 0x80 && !is_utf8))
            *at = '?';
    }
}

/* ---- what happened between two snapshots ------------------------------------------------------------------------- */

static const char *state_text(const struct snapshot_device *device, char out[static ERR_MESSAGE_MAX])
{
    const char *reason = device->reason.code ? device->reason.message : "";

    (void)snprintf(out, ERR_MESSAGE_MAX, "%.32s%s%.280s", device_state_name(device->state), reason[0] ? ": " : "",
                   reason);
    event_detail_clean(out);
    return out;
}

static const char *worker_text(const struct snapshot_device *device, char out[static ERR_MESSAGE_MAX])
{
    const char *detail = device->has_worker ? device->worker_detail : "";

    (void)snprintf(out, ERR_MESSAGE_MAX, "%.32s%s%.280s",
                   device->has_worker ? worker_state_name(device->worker_state) : "none", detail[0] ? ": " : "",
                   detail);
    event_detail_clean(out);
    return out;
}

void snapshot_device_set_told(struct snapshot_device *device, enum event_type type, const char *detail)
{
    if (type == EVENT_DEVICE_STATE) {
        device->reason.code = ERR_CODE_N;
        (void)snprintf(device->reason.message, sizeof(device->reason.message), "%s", detail);
    } else if (type == EVENT_WORKER_STATE) {
        device->worker_restarts = UINT32_MAX;
        (void)snprintf(device->worker_detail, sizeof(device->worker_detail), "%s", detail);
    }
}

/* `before` may be what was told of an earlier run: words, and not the values. */
static bool state_differs(const struct snapshot_device *before, const struct snapshot_device *after)
{
    char text[ERR_MESSAGE_MAX];

    if (before->reason.code == ERR_CODE_N)
        return strcmp(before->reason.message, state_text(after, text)) != 0;
    return before->state != after->state || before->reason.code != after->reason.code;
}

static bool worker_differs(const struct snapshot_device *before, const struct snapshot_device *after)
{
    char text[ERR_MESSAGE_MAX];

    if (before->worker_restarts == UINT32_MAX)
        return strcmp(before->worker_detail, worker_text(after, text)) != 0;
    if (before->has_worker != after->has_worker)
        return true;
    return after->has_worker &&
           (before->worker_state != after->worker_state || before->worker_restarts != after->worker_restarts);
}

static void device_compare(struct event_list *list, const struct snapshot_device *before,
                           const struct snapshot_device *after, int64_t time_ns)
{
    static const struct snapshot_device nothing = {.state = STATE_PENDING};
    const struct snapshot_device *was = before ? before : &nothing;
    const char *name = after->stored.device->name;
    struct event *event;

    if (!before || before->stored.generation != after->stored.generation) {
        event = event_list_add(list, before ? EVENT_DEVICE_CHANGED : EVENT_DEVICE_CREATED, time_ns, name);
        if (event)
            (void)snprintf(event->detail, sizeof(event->detail), "generation %llu",
                           (unsigned long long)after->stored.generation);
    }
    if (worker_differs(was, after)) {
        event = event_list_add(list, EVENT_WORKER_STATE, time_ns, name);
        if (event)
            (void)worker_text(after, event->detail);
    }
    if (state_differs(was, after)) {
        event = event_list_add(list, EVENT_DEVICE_STATE, time_ns, name);
        if (event)
            (void)state_text(after, event->detail);
    }
}

void event_list_compare(struct event_list *list, const struct snapshot *before, const struct snapshot *after)
{
    size_t i = 0, j = 0;

    while (i < before->device_count || j < after->device_count) {
        const struct snapshot_device *old = i < before->device_count ? &before->devices[i] : NULL;
        const struct snapshot_device *new = j < after->device_count ? &after->devices[j] : NULL;
        int order = !old ? 1 : !new ? -1 : strcmp(old->stored.device->name, new->stored.device->name);

        if (order < 0 || (order == 0 && !uuid_equal(&old->stored.uuid, &new->stored.uuid))) {
            event_list_add(list, EVENT_DEVICE_DELETED, after->time_ns, old->stored.device->name);
            i++;
            continue;
        }
        device_compare(list, order == 0 ? old : NULL, new, after->time_ns);
        i += order == 0;
        j++;
    }
}

/* ---- the ring ---------------------------------------------------------------------------------------------------- */

int event_ring_init(struct event_ring *ring)
{
    ring->newest = 0;
    ring->oldest = 1;
    ring->items = calloc(ENGINE_EVENTS_KEPT, sizeof(*ring->items)); /* pages that nobody wrote take no memory */
    return ring->items ? 0 : -ENOMEM;
}

void event_ring_done(struct event_ring *ring)
{
    free(ring->items);
    memset(ring, 0, sizeof(*ring));
}

void event_ring_add(struct event_ring *ring, const struct event *event)
{
    ring->items[(event->sequence - 1) % ENGINE_EVENTS_KEPT] = *event;
    ring->newest = event->sequence;
    if (ring->newest - ring->oldest >= ENGINE_EVENTS_KEPT)
        ring->oldest = ring->newest - ENGINE_EVENTS_KEPT + 1;
}

const struct event *event_ring_at(const struct event_ring *ring, uint64_t sequence)
{
    const struct event *event = &ring->items[(sequence - 1) % ENGINE_EVENTS_KEPT];

    return event->sequence == sequence ? event : NULL;
}

size_t event_ring_copy(const struct event_ring *ring, uint64_t after, struct event *ret_events, size_t room,
                       uint64_t *ret_oldest, uint64_t *ret_newest)
{
    size_t count = 0;

    for (uint64_t s = after >= ring->oldest ? after + 1 : ring->oldest; s <= ring->newest && count < room; s++) {
        const struct event *event = event_ring_at(ring, s);

        if (event)
            ret_events[count++] = *event;
    }
    *ret_newest = ring->newest;
    if (ret_oldest)
        *ret_oldest = ring->newest ? ring->oldest : 0;
    return count;
}

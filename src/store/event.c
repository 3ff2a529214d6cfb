/* SPDX-License-Identifier: Apache-2.0 */
/* What happened, in the order in which it did. */
#include "query.h"

#include <stdlib.h>
#include <string.h>

static const char *const event_type_names[] = {
    [EVENT_DEVICE_CREATED] = "device_created",     [EVENT_DEVICE_CHANGED] = "device_changed",
    [EVENT_DEVICE_DELETED] = "device_deleted",     [EVENT_DEVICE_STATE] = "device_state",
    [EVENT_WORKER_STATE] = "worker_state",         [EVENT_CONFIRMATION_PENDING] = "confirmation_pending",
    [EVENT_CONFIG_CONFIRMED] = "config_confirmed", [EVENT_CONFIG_REVERTED] = "config_reverted",
    [EVENT_FILE_APPLIED] = "file_applied",         [EVENT_FILE_FAILED] = "file_failed",
    [EVENT_TOKEN_CREATED] = "token_created",       [EVENT_TOKEN_DELETED] = "token_deleted",
};
_Static_assert(ARRAY_SIZE(event_type_names) == EVENT_TYPE_N, "each type has its name");

const char *event_type_name(enum event_type type)
{
    return (unsigned)type < EVENT_TYPE_N ? event_type_names[type] : "unknown";
}

static bool event_type_find(const char *name, enum event_type *ret_type)
{
    for (unsigned i = 0; name && i < EVENT_TYPE_N; i++) {
        if (strcmp(event_type_names[i], name) == 0) {
            *ret_type = (enum event_type)i;
            return true;
        }
    }
    return false;
}

int store_event_put(struct store *store, const struct event *event, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_EVENT_PUT, "store an event");

    query_bind_int(&query, (int64_t)event->sequence);
    query_bind_int(&query, event->time_ns);
    query_bind_text(&query, event_type_name(event->type));
    query_bind_text(&query, event->device);
    query_bind_text(&query, event->detail);
    return query_run(&query, ret_err);
}

int store_events_load(struct store *store, size_t most, struct event **ret_events, size_t *ret_count,
                      struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_EVENTS, "read the events");
    struct event *events = NULL;
    size_t count = 0, capacity = 0;
    int r = 0, ended;

    query_bind_int(&query, most < INT64_MAX ? (int64_t)most : INT64_MAX);
    while (r == 0 && query_next(&query)) {
        struct event event = {.sequence = (uint64_t)query_int(&query, 0), .time_ns = query_int(&query, 1)};

        if (!event_type_find(query_text(&query, 2), &event.type))
            continue;
        (void)query_copy_text(&query, 3, event.device, sizeof(event.device));
        (void)query_copy_text(&query, 4, event.detail, sizeof(event.detail));
        r = array_grow(&events, &capacity, count, sizeof(*events));
        if (r < 0)
            r = err_no_memory(ret_err);
        else
            events[count++] = event;
    }
    ended = query_end(&query, r == 0 ? ret_err : NULL);
    if (r == 0)
        r = ended;
    if (r < 0) {
        free(events);
        return r;
    }
    *ret_events = events;
    *ret_count = count;
    return 0;
}

int store_event_newest(struct store *store, uint64_t *ret_sequence, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_EVENT_NEWEST, "read the events");
    uint64_t newest = query_next(&query) ? (uint64_t)query_int(&query, 0) : 0;
    int r = query_end(&query, ret_err);

    if (r == 0)
        *ret_sequence = newest;
    return r;
}

int store_events_trim(struct store *store, uint64_t through, int64_t before_ns, struct err *ret_err)
{
    struct query query = query_begin(store, STATEMENT_EVENTS_TRIM, "forget old events");

    query_bind_int(&query, through < INT64_MAX ? (int64_t)through : INT64_MAX);
    query_bind_int(&query, before_ns);
    return query_run(&query, ret_err);
}

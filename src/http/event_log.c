/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened, and who asked for it: both by sequence, oldest first, behind ?after=.
 */
#include "answer.h"
#include "change_wait.h"
#include "event_filter.h"
#include "event_text.h"
#include "handlers.h"
#include "json_add.h"
#include "page.h"
#include "server.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define EVENTS_AT_ONCE 256

/* ---- events ------------------------------------------------------------------------------------------------------ */

struct event_query {
    uint64_t after;
    size_t limit;
    struct event_filter filter;
};

static int event_query_read(const struct request *request, struct event_query *ret_query, struct err *ret_err)
{
    struct event_query query = {0};
    int error = event_filter_read(&query.filter, request, ret_err);
    if (!error)
        error = page_after(&request->target, &query.after, ret_err);
    if (!error)
        error = page_limit(&request->target, PAGE_LIMIT_DEFAULT, &query.limit, ret_err);
    if (!error)
        *ret_query = query;
    return error;
}

/* A path that goes on behind a sequence. Owned; NULL: no memory. */
static char *next_after(const struct request *request, uint64_t sequence)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, sequence);
    return page_next(&request->target, "after", text);
}

struct event_page {
    cJSON *items; /* NULL: no memory */
    size_t count;
    uint64_t last; /* listed */
    bool goes_on;
    uint64_t oldest, newest;
};

static void event_page_fill(const struct request *request, const struct event_query *query, struct event *events,
                            struct event_page *page)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = engine_snapshot(request->server->engine);
    uint64_t after = query->after;
    for (;;) {
        size_t count =
            engine_events(request->server->engine, after, events, EVENTS_AT_ONCE, &page->oldest, &page->newest);
        for (size_t i = 0; i < count && page->items; i++) {
            if (!event_filter_takes(&query->filter, snapshot, &events[i]))
                continue;
            page->goes_on = page->count == query->limit;
            if (page->goes_on)
                return;
            answer_item_add(&page->items, event_to_json(&events[i]));
            page->count++;
            page->last = events[i].sequence;
        }
        if (count < EVENTS_AT_ONCE || !page->items)
            return;
        after = events[count - 1].sequence;
    }
}

void event_log_list(struct request *request)
{
    struct event_query query;
    struct err e;
    if (event_query_read(request, &query, &e)) {
        answer_problem(request, &e);
        return;
    }
    struct event_page page = {.items = cJSON_CreateArray()};
    struct event *events = calloc(EVENTS_AT_ONCE, sizeof *events);
    if (events)
        event_page_fill(request, &query, events, &page);
    char *next = events && page.goes_on ? next_after(request, page.last) : NULL;
    bool whole = events && (next || !page.goes_on);
    free(events);
    cJSON *json = answer_page_to_json(page.items, next);
    if (!whole || !json || !json_add_u64(json, "oldest", page.oldest) || !json_add_u64(json, "newest", page.newest)) {
        cJSON_Delete(json);
        json = NULL;
    }
    answer_json(request, 200, json);
    answer_link_next(request, next);
    free(next);
}

/* ---- audit ------------------------------------------------------------------------------------------------------- */

static cJSON *audit_to_json(const struct audit_entry *entry)
{
    cJSON *json = cJSON_CreateObject();
    if (json && json_add_u64(json, "sequence", entry->sequence) && json_add_time(json, "time", entry->time_ns) &&
        answer_add_text(json, "actor", entry->actor.name) && answer_add_text(json, "address", entry->actor.address) &&
        answer_add_text(json, "operation", entry->actor.operation) &&
        cJSON_AddRawToObject(json, "changes", entry->changes))
        return json;
    cJSON_Delete(json);
    return NULL;
}

/* One entry more than fits was asked for: it says whether there is a next page. */
static void audit_answer(struct request *request, const struct change *change)
{
    size_t limit = change->audit_most - 1, count = change->audit_count < limit ? change->audit_count : limit;
    cJSON *items = cJSON_CreateArray();
    for (size_t i = 0; items && i < count; i++)
        answer_item_add(&items, audit_to_json(&change->audit[i]));
    bool goes_on = change->audit_count > limit || change->audit_is_cut;
    char *next = goes_on ? next_after(request, change->audit[count - 1].sequence) : NULL;
    if (goes_on && !next) {
        cJSON_Delete(items);
        items = NULL;
    }
    answer_page(request, items, next);
    free(next);
}

void event_log_audit(struct request *request)
{
    uint64_t after;
    size_t limit;
    struct err e;
    if (page_after(&request->target, &after, &e) || page_limit(&request->target, PAGE_LIMIT_DEFAULT, &limit, &e)) {
        answer_problem(request, &e);
        return;
    }
    struct change *change = change_wait_new(request, CHANGE_AUDIT_READ);
    if (!change)
        return;
    change->audit_after = after;
    change->audit_most = limit + 1;
    request->wait->answer = audit_answer;
    change_wait_submit(request);
}

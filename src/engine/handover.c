/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that is taken over was there before us, and is never ours to delete before that is committed: the way back,
 * also of a crash, leads it to what it was found to be, and takes our mark off. One that is let go is taken over again.
 */
#include "handover.h"

#include "adopt.h"

#include <errno.h>
#include <string.h>

static int handover_fail(struct change *change, int error, const struct err *err)
{
    err_list_add_err(&change->errors, err);
    return error;
}

static int handover_no_memory(struct change *change)
{
    struct err err;
    int r = err_no_memory(&err);

    return handover_fail(change, r, &err);
}

int handover_merge(const struct device *found, const struct device *next, struct device **ret_device)
{
    struct device *merged = device_copy(found);
    bool changed;
    int r = merged ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < next->route_count; i++)
        if (route_is_unattached(&next->routes[i]))
            r = device_route_add(merged, &next->routes[i], &changed);
    if (r < 0) {
        device_free(merged);
        return -ENOMEM;
    }
    *ret_device = merged;
    return 0;
}

struct document *handover_found(const struct device *merged)
{
    struct device *found = device_copy(merged);
    size_t kept = 0;

    if (!found)
        return NULL;
    for (size_t i = 0; i < found->route_count; i++)
        if (!route_is_unattached(&found->routes[i]))
            found->routes[kept++] = found->routes[i];
    found->route_count = kept;
    return document_new(found);
}

/* ---- the change -------------------------------------------------------------------------------------------------- */

static int handover_look(struct change *change, const struct transaction *t, struct device **ret_found)
{
    struct engine *engine = t->engine;
    struct converge_item item = {.wanted = {.name = change->name, .netns = change->netns}};
    CLEANUP(observed_done) struct observed look = {0};
    const struct observed_link *link;
    struct err err = {0};
    int r = converge_look(engine->kernel, &item, 1, &look, &err);

    if (r < 0) {
        if (error_is_absence(r, &err))
            engine_note_connection(engine, false);
        return handover_fail(change, r, &err);
    }
    link = observed_link_find(&look, change->netns, change->name);
    if (link)
        r = adopt_document(link, ret_found, &err);
    else
        r = err_set(&err, -ENOENT, ERR_NOT_FOUND, "", "the kernel has no device %s%s%s", change->name,
                    change->netns[0] ? " in the network namespace " : "", change->netns);
    return r < 0 ? handover_fail(change, r, &err) : 0;
}

static int handover_patch(struct change *change, const struct device *found, struct device **ret_next)
{
    int r;

    if (!change->text) {
        *ret_next = device_copy(found);
        return *ret_next ? 0 : handover_no_memory(change);
    }
    r = device_patch(found, change->text, change->text_length, ret_next, &change->errors);
    return r < 0 && change->errors.count == 0 ? handover_no_memory(change) : r;
}

int handover_collect(struct change *change, struct transaction *t)
{
    struct device *found = NULL, *next = NULL;
    struct document *document;
    struct part *part;
    struct err err;
    int r = handover_look(change, t, &found);

    if (r == 0)
        r = handover_patch(change, found, &next);
    if (r == 0 && strcmp(next->netns, found->netns) != 0) {
        r = err_set(&err, -EINVAL, ERR_INCOMPATIBLE, "/netns",
                    "%s is taken over where it is: that can be changed afterwards", change->name);
        (void)handover_fail(change, r, &err);
    }
    if (r < 0) {
        device_free(found);
        device_free(next);
        return r;
    }
    document = document_new(next);
    if (!document || transaction_add(t, NULL, document, &part) < 0) {
        device_free(found);
        return handover_no_memory(change);
    }
    part->found = document_new(found);
    part->writes = part->adopts = true;
    return part->found ? 0 : handover_no_memory(change);
}

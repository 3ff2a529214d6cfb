/* SPDX-License-Identifier: Apache-2.0 */
/* What a change makes of a document: always on a copy. */
#include "state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int edit_no_memory(struct change *change)
{
    struct err err;

    (void)err_no_memory(&err);
    err_list_add_err(&change->errors, &err);
    return -ENOMEM;
}

static const struct route *route_of_key(const struct device *device, const struct route *key)
{
    for (size_t i = 0; i < device->route_count; i++)
        if (route_key_equal(&device->routes[i], key))
            return &device->routes[i];
    return NULL;
}

/* ---- one kind of change each: `next` is a copy of what there is -------------------------------------------------- */

static int edit_address_put(struct change *change, struct edit *edit)
{
    bool changed = false;

    if (device_address_add(edit->next, &change->address, &changed) < 0)
        return edit_no_memory(change);
    edit->outcome = changed ? OUTCOME_CREATED : OUTCOME_UNCHANGED;
    return 0;
}

static int edit_address_delete(struct change *change, struct edit *edit)
{
    char text[IP_PREFIX_TEXT_SIZE];

    if (device_address_remove(edit->next, &change->address) < 0) {
        err_list_add(&change->errors, ERR_NOT_FOUND, "", "%s has no address %s", change->name,
                     ip_prefix_print(&change->address, text));
        return -ENOENT;
    }
    edit->outcome = OUTCOME_DELETED;
    return 0;
}

static int edit_route_put(struct change *change, struct edit *edit)
{
    bool there = route_of_key(edit->next, &change->route) != NULL, changed = false;

    if (device_route_add(edit->next, &change->route, &changed) < 0)
        return edit_no_memory(change);
    edit->outcome = !changed ? OUTCOME_UNCHANGED : there ? OUTCOME_CHANGED : OUTCOME_CREATED;
    return 0;
}

static int edit_route_delete(struct change *change, struct edit *edit)
{
    char text[IP_PREFIX_TEXT_SIZE];

    if (device_route_remove(edit->next, &change->route) < 0) {
        err_list_add(&change->errors, ERR_NOT_FOUND, "", "%s has no route to %s with metric %u in table %u",
                     change->name, ip_prefix_print(&change->route.to, text), change->route.metric, change->route.table);
        return -ENOENT;
    }
    edit->outcome = OUTCOME_DELETED;
    return 0;
}

static int edit_worker_put(struct change *change, struct edit *edit)
{
    struct device *next = edit->next;

    if (next->worker.type == WORKER_NONE)
        edit->outcome = OUTCOME_CREATED;
    else
        edit->outcome = worker_config_equal(&next->worker, &change->worker) ? OUTCOME_UNCHANGED : OUTCOME_CHANGED;
    next->worker = change->worker;
    return 0;
}

static int edit_worker_delete(struct change *change, struct edit *edit)
{
    if (edit->next->worker.type == WORKER_NONE) {
        err_list_add(&change->errors, ERR_NOT_FOUND, "", "%s has no worker", change->name);
        return -ENOENT;
    }
    memset(&edit->next->worker, 0, sizeof(edit->next->worker));
    edit->next->worker.type = WORKER_NONE;
    edit->outcome = OUTCOME_DELETED;
    return 0;
}

static int edit_patch(struct change *change, struct edit *edit)
{
    struct device *patched = NULL;

    if (device_patch(edit->next, change->text, change->text_length, &patched, &change->errors) < 0)
        return change->errors.count ? -EINVAL : edit_no_memory(change);
    edit->outcome = device_equal(edit->next, patched) ? OUTCOME_UNCHANGED : OUTCOME_CHANGED;
    device_free(edit->next);
    edit->next = patched;
    return 0;
}

static int (*const editors[CHANGE_KIND_N])(struct change *, struct edit *) = {
    [CHANGE_ADDRESS_PUT] = edit_address_put, [CHANGE_ADDRESS_DELETE] = edit_address_delete,
    [CHANGE_ROUTE_PUT] = edit_route_put,     [CHANGE_ROUTE_DELETE] = edit_route_delete,
    [CHANGE_WORKER_PUT] = edit_worker_put,   [CHANGE_WORKER_DELETE] = edit_worker_delete,
    [CHANGE_DEVICE_PATCH] = edit_patch,
};

/* ---- all kinds --------------------------------------------------------------------------------------------------- */

/* The document that a POST or PUT brought becomes the edit's. */
static int edit_whole(struct change *change, const struct device *current, struct edit *edit)
{
    if (current && change->kind == CHANGE_DEVICE_CREATE) {
        err_list_add(&change->errors, ERR_ALREADY_EXISTS, "/name", "there is a device %s already", current->name);
        return -EEXIST;
    }
    edit->next = change->device;
    change->device = NULL;
    if (!current)
        edit->outcome = OUTCOME_CREATED;
    else
        edit->outcome = device_equal(current, edit->next) ? OUTCOME_UNCHANGED : OUTCOME_CHANGED;
    return 0;
}

int edit_make(struct change *change, const struct device *current, struct edit *ret_edit)
{
    struct edit edit = {0};
    int r;

    if (change->kind == CHANGE_DEVICE_CREATE || change->kind == CHANGE_DEVICE_PUT) {
        r = edit_whole(change, current, &edit);
    } else if (!current) {
        err_list_add(&change->errors, ERR_NOT_FOUND, "", "there is no device %s", change->name);
        r = -ENOENT;
    } else if (change->kind == CHANGE_DEVICE_DELETE || change->kind == CHANGE_DEVICE_RELEASE) {
        edit.outcome = OUTCOME_DELETED;
        r = 0;
    } else {
        edit.next = device_copy(current);
        r = edit.next ? editors[change->kind](change, &edit) : edit_no_memory(change);
    }
    if (r < 0) {
        device_free(edit.next);
        return r;
    }
    *ret_edit = edit;
    return 0;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

int edit_number(const struct engine *engine, const struct observed *look, struct device *device, struct err *ret_err)
{
    CLEANUP(plan_index_done) struct plan_index index = {0};
    size_t stem = strlen(device->name), place;
    char name[DEVICE_NAME_SIZE + 16];

    if (stem < 2 || strcmp(device->name + stem - 2, "%d") != 0)
        return 0;
    stem -= 2;
    if (plan_index_build(look, &index) < 0)
        return err_no_memory(ret_err);
    for (unsigned number = 0;; number++) {
        (void)snprintf(name, sizeof(name), "%.*s%u", (int)stem, device->name, number);
        if (strlen(name) >= DEVICE_NAME_SIZE)
            return err_set(ret_err, -ERANGE, ERR_LIMIT_EXCEEDED, "/name", "no number is free for %s", device->name);
        if (!device_name_is_valid(name))
            return err_set(ret_err, -EINVAL, ERR_INVALID_NAME, "/name", "%s would not be a name", name);
        if (!engine_find(engine, name, &place) && !plan_index_name(&index, device->netns, name))
            break;
    }
    return text_copy(device->name, sizeof(device->name), name);
}

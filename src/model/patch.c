/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 7396. A patch may have tens of thousands of members where the document has sixteen, so no look-up may go over what
 * the patch itself brought along: a new member is put aside until the object is done. That its names are different from
 * each other was proved by json_check. Depth was, too.
 */
#include "patch.h"

#include "document.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* What a patch leaves of itself where there is nothing to be changed: its nulls go, but for those in arrays. */
static void patch_strip(cJSON *patch)
{
    cJSON *next;

    for (cJSON *member = patch->child; cJSON_IsObject(patch) && member; member = next) {
        next = member->next;
        if (cJSON_IsNull(member))
            cJSON_Delete(cJSON_DetachItemViaPointer(patch, member));
        else
            patch_strip(member);
    }
}

/* One member of the patch, out of its tree. `found`: the target's of that name, or NULL. */
static void member_apply(cJSON *target, cJSON *found, cJSON *member, cJSON *added)
{
    if (!found) {
        if (cJSON_IsNull(member)) {
            cJSON_Delete(member);
            return;
        }
        patch_strip(member);
        cJSON_AddItemToArray(added, member); /* to the end, with the name that it has */
    } else if (cJSON_IsNull(member)) {
        cJSON_Delete(cJSON_DetachItemViaPointer(target, found));
        cJSON_Delete(member);
    } else if (cJSON_IsObject(found) && cJSON_IsObject(member)) {
        (void)patch_apply(found, member); /* in place */
    } else {
        patch_strip(member);
        cJSON_ReplaceItemViaPointer(target, found, member);
    }
}

cJSON *patch_apply(cJSON *target, cJSON *patch)
{
    cJSON added = {.type = cJSON_Object};
    cJSON *member;

    if (!cJSON_IsObject(patch) || !cJSON_IsObject(target)) {
        patch_strip(patch);
        cJSON_Delete(target);
        return patch;
    }
    while ((member = patch->child)) {
        cJSON *found = cJSON_GetObjectItemCaseSensitive(target, member->string);
        member_apply(target, found, cJSON_DetachItemViaPointer(patch, member), &added);
    }
    while ((member = added.child))
        cJSON_AddItemToArray(target, cJSON_DetachItemViaPointer(&added, member));
    cJSON_Delete(patch);
    return target;
}

/* A member of the patch that shall be: false when memory ran out. The name is copied. */
static bool member_add(cJSON *patch, const char *name, cJSON *value)
{
    if (value && cJSON_AddItemToObject(patch, name, value))
        return true;
    cJSON_Delete(value);
    return false;
}

static bool member_make(cJSON *patch, const cJSON *before, const cJSON *after)
{
    if (!before)
        return member_add(patch, after->string, cJSON_Duplicate(after, true));
    if (cJSON_Compare(before, after, true))
        return true;
    return member_add(patch, after->string, patch_make(before, after));
}

cJSON *patch_make(const cJSON *before, const cJSON *after)
{
    const cJSON *member;

    if (!cJSON_IsObject(before) || !cJSON_IsObject(after))
        return cJSON_Duplicate(after, true);
    CLEANUP(document_done) cJSON *patch = cJSON_CreateObject();
    if (!patch)
        return NULL;
    cJSON_ArrayForEach (member, after) {
        if (!member_make(patch, cJSON_GetObjectItemCaseSensitive(before, member->string), member))
            return NULL;
    }
    cJSON_ArrayForEach (member, before) {
        if (!cJSON_GetObjectItemCaseSensitive(after, member->string) &&
            !member_add(patch, member->string, cJSON_CreateNull()))
            return NULL;
    }
    cJSON *made = patch;
    patch = NULL;
    return made;
}

/* A worker's type that is patched leaves the fields of the type before: who sees them refused did not send them. */
static void explain_leftovers(const struct device *current, struct err_list *errors, size_t first)
{
    static const char worker[] = "/worker/";
    CLEANUP(document_done) cJSON *before = worker_config_to_json(&current->worker);

    for (size_t i = first; i < errors->count; i++) {
        struct err *fault = &errors->items[i];
        char field[32];
        if (fault->code != ERR_UNKNOWN_FIELD || strncmp(fault->pointer, worker, sizeof(worker) - 1) != 0 ||
            text_copy(field, sizeof(field), fault->pointer + sizeof(worker) - 1) < 0 ||
            !cJSON_GetObjectItemCaseSensitive(before, field))
            continue;
        size_t used = strlen(fault->message);
        (void)snprintf(fault->message + used, sizeof(fault->message) - used,
                       "; the worker has had it so far, and \"%s\": null in the patch takes it away", field);
    }
}

int device_patch(const struct device *current, const char *patch, size_t length, struct device **ret_device,
                 struct err_list *errors)
{
    CLEANUP(document_done) cJSON *json = NULL;
    cJSON *changes = NULL;

    int result = document_read(patch, length, &changes, errors);
    if (result < 0)
        return result;
    size_t faults = errors->count;
    json = device_to_json(current);
    if (!json) {
        cJSON_Delete(changes);
        return document_result(-ENOMEM, errors);
    }
    json = patch_apply(json, changes);
    result = device_decode(json, current->name, false, NULL, ret_device, errors);
    if (result < 0)
        explain_leftovers(current, errors, faults);
    return result;
}

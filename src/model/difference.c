/* SPDX-License-Identifier: Apache-2.0 */
#include "document.h"
#include "patch.h"

static const char *const action_names[] = {
    [DIFFERENCE_CREATED] = "created", [DIFFERENCE_CHANGED] = "changed",   [DIFFERENCE_DELETED] = "deleted",
    [DIFFERENCE_ADOPTED] = "adopted", [DIFFERENCE_RELEASED] = "released",
};
_Static_assert(ARRAY_SIZE(action_names) == DIFFERENCE_ACTION_N, "each action has its name");

/* NULL: no memory. */
static cJSON *patch_of(const struct difference *difference)
{
    CLEANUP(document_done) cJSON *before = NULL;
    CLEANUP(document_done) cJSON *after = NULL;

    if (!difference->after)
        return cJSON_CreateNull();
    if (!difference->before)
        return device_to_json(difference->after);
    before = device_to_json(difference->before);
    after = device_to_json(difference->after);
    return before && after ? patch_make(before, after) : NULL;
}

static cJSON *difference_to_json(const struct difference *difference)
{
    const struct device *device = difference->after ? difference->after : difference->before;
    const char *action =
        (unsigned)difference->action < DIFFERENCE_ACTION_N ? action_names[difference->action] : "unknown";
    cJSON *json = cJSON_CreateObject();

    if (json && cJSON_AddStringToObject(json, "device", device ? device->name : "") &&
        cJSON_AddStringToObject(json, "action", action) && field_add(json, "patch", patch_of(difference)))
        return json;
    cJSON_Delete(json);
    return NULL;
}

char *differences_print(const struct difference *differences, size_t count)
{
    CLEANUP(buf_done) struct buf text = {0};

    /* one after the other: the trees of a thousand devices need not be there at once */
    buf_add_text(&text, "[");
    for (size_t i = 0; i < count; i++) {
        CLEANUP(document_done) cJSON *json = difference_to_json(&differences[i]);
        CLEANUP(text_done) char *printed = json ? cJSON_PrintUnformatted(json) : NULL;
        if (!printed)
            return NULL;
        if (i > 0)
            buf_add_text(&text, ",");
        buf_add_text(&text, printed);
    }
    buf_add_text(&text, "]");
    return buf_take(&text);
}

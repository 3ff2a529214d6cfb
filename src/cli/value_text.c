/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/value_text.h"

#include "cli/cli.h"

#include <cjson/cJSON.h>
#include <string.h>

static void add_leaf(struct buf *out, const cJSON *value)
{
    if (cJSON_IsString(value))
        buf_add_text(out, value->valuestring);
    else if (cJSON_IsNull(value))
        buf_add_text(out, "null");
    else if (cJSON_IsBool(value))
        buf_add_text(out, cJSON_IsTrue(value) ? "true" : "false");
    else if (cJSON_IsNumber(value))
        buf_printf(out, "%.15g", value->valuedouble);
}

/* Below `prefix`, all but `left_out`. A route's usual values, and nulls, go without saying. */
static void add_members(struct buf *out, const cJSON *object, const char *left_out, const char *prefix)
{
    const cJSON *member;

    cJSON_ArrayForEach (member, object) {
        const char *key = member->string ? member->string : "";
        if (!strcmp(key, left_out) || cJSON_IsNull(member))
            continue;
        if (!strcmp(left_out, "to") &&
            ((!strcmp(key, "table") && member->valuedouble >= 254 && member->valuedouble <= 254) ||
             (!strcmp(key, "metric") && member->valuedouble <= 0) || !strcmp(json_text(object, key), "unicast")))
            continue;
        /* nor how a worker is unless one says otherwise */
        if ((!strcmp(prefix, "offload.") && cJSON_IsTrue(member)) ||
            (!strcmp(left_out, "type") && !strcmp(key, "header") && !strcmp(json_text(object, key), "none")))
            continue;
        if (cJSON_IsObject(member) && strlen(prefix) + strlen(key) < 64) {
            char deeper[80] = "";
            struct buf path = {0};
            buf_printf(&path, "%s%s.", prefix, key);
            if (!path.failed && text_copy(deeper, sizeof deeper, path.data) == 0)
                add_members(out, member, "", deeper);
            buf_done(&path);
            continue;
        }
        buf_printf(out, "%s%s%s=", out->length && out->data[out->length - 1] != ' ' ? "," : "", prefix, key);
        value_text_add(out, member);
    }
}

void value_text_add(struct buf *out, const cJSON *value)
{
    const cJSON *item;

    if (cJSON_IsArray(value)) {
        cJSON_ArrayForEach (item, value) {
            value_text_add(out, item);
            buf_add_text(out, item->next ? " " : "");
        }
    } else if (cJSON_IsObject(value)) {
        const char *first = *json_text(value, "to") ? "to" : *json_text(value, "type") ? "type" : "";
        struct buf text = {0};
        buf_add_text(&text, *first ? json_text(value, first) : "");
        add_members(&text, value, first, "");
        if (!text.failed)
            buf_add(out, text.data, text.length);
        buf_done(&text);
    } else {
        add_leaf(out, value);
    }
}

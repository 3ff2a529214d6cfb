/* SPDX-License-Identifier: Apache-2.0 */
#include "json_add.h"

#include "answer.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>

bool json_add_u64(cJSON *object, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return cJSON_AddRawToObject(object, name, text);
}

bool json_add_u64_or_null(cJSON *object, const char *name, bool is_there, uint64_t value)
{
    return is_there ? json_add_u64(object, name, value) : cJSON_AddNullToObject(object, name) != NULL;
}

bool json_add_text_or_null(cJSON *object, const char *name, const char *text)
{
    return text && *text ? answer_add_text(object, name, text) : cJSON_AddNullToObject(object, name) != NULL;
}

bool json_add_time(cJSON *object, const char *name, int64_t realtime_ns)
{
    char text[CLOCK_TEXT_SIZE];
    return cJSON_AddStringToObject(object, name, clock_print(realtime_ns, text));
}

bool json_add_mac_or_null(cJSON *object, const char *name, bool is_there, const uint8_t mac[6])
{
    char text[sizeof "00:00:00:00:00:00"] = "";
    if (is_there)
        snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    return json_add_text_or_null(object, name, text);
}

void json_print(struct buf *out, struct cJSON *json)
{
    char *text = json ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    if (text)
        buf_add_text(out, text);
    out->failed = out->failed || !text;
    cJSON_free(text);
}

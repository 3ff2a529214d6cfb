/* SPDX-License-Identifier: Apache-2.0 */
#include "event_text.h"

#include "answer.h"
#include "json_add.h"

#include <cjson/cJSON.h>

cJSON *event_to_json(const struct event *event)
{
    cJSON *json = cJSON_CreateObject();
    if (json && json_add_u64(json, "sequence", event->sequence) && json_add_time(json, "time", event->time_ns) &&
        cJSON_AddStringToObject(json, "type", event_type_name(event->type)) &&
        json_add_text_or_null(json, "device", event->device) && answer_add_text(json, "detail", event->detail))
        return json;
    cJSON_Delete(json);
    return NULL;
}

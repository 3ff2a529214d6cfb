/* SPDX-License-Identifier: Apache-2.0 */
/* event_text: one event as JSON, the same in the list and in the stream. */
#ifndef TUNWRIGHT_HTTP_EVENT_TEXT_H
#define TUNWRIGHT_HTTP_EVENT_TEXT_H

#include "tunwright/engine.h"

struct cJSON;

/* {"sequence", "time", "type", "device", "detail"}; device null where it is about none. Owned; NULL: no memory. */
struct cJSON *event_to_json(const struct event *event);

#endif

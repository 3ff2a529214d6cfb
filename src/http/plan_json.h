/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_json: what a dry run answers. Pure.
 */
#ifndef TUNWRIGHT_HTTP_PLAN_JSON_H
#define TUNWRIGHT_HTTP_PLAN_JSON_H

#include "tunwright/engine.h"

struct cJSON;

/*
 * {"changed", "disturbs", "steps", "differences"}: `disturbs` is the worst of the steps', which come in the order in
 * which they would be carried out. Of a worker only its type is shown: what it is configured with may be secret.
 * `differences`: JSON text of differences_print, NULL for none. Owned; NULL: no memory.
 */
struct cJSON *plan_to_json(const struct plan *plan, bool changed, const char *differences);

#endif

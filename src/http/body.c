/* SPDX-License-Identifier: Apache-2.0 */
#include "body.h"

#include "tunwright/model.h"

#include <cjson/cJSON.h>
#include <errno.h>

int body_check_empty(const struct buf *body, const char *why, struct err_list *errors)
{
    if (!body->length)
        return 0;
    struct err e;
    cJSON *json = NULL;
    if (json_read(body->data, body->length, &json, &e))
        err_list_add_err(errors, &e);
    else if (!cJSON_IsObject(json))
        err_list_add(errors, ERR_WRONG_TYPE, "", "the body must be empty, or {}: %s", why);
    else if (json->child)
        err_list_add(errors, ERR_UNKNOWN_FIELD, "", "the body must be empty, or {}: %s", why);
    cJSON_Delete(json);
    return errors->count ? -EINVAL : 0;
}

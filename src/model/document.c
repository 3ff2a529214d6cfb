/* SPDX-License-Identifier: Apache-2.0 */
#include "document.h"

#include <errno.h>

int json_read(const char *text, size_t length, struct cJSON **ret_json, struct err *ret_err)
{
    int result = json_check(text, length, ret_err);
    if (result < 0)
        return result;
    /* json_check accepts nothing that cJSON would not: what is left is memory. */
    cJSON *json = cJSON_ParseWithLength(text, length);
    if (!json)
        return err_no_memory(ret_err);
    *ret_json = json;
    return 0;
}

int document_read(const char *text, size_t length, cJSON **ret_json, struct err_list *errors)
{
    struct err e;
    int result = json_read(text, length, ret_json, &e);
    if (result < 0)
        err_list_add_err(errors, &e);
    return result;
}

void document_done(cJSON **json)
{
    cJSON_Delete(*json);
    *json = NULL;
}

int document_result(int result, struct err_list *errors)
{
    struct err e;
    if (result == -ENOMEM) {
        err_no_memory(&e);
        err_list_add_err(errors, &e);
    }
    return result;
}

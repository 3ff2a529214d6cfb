/* SPDX-License-Identifier: Apache-2.0 */
#include "openapi.h"

#include "answer.h"
#include "handlers.h"

void openapi_get(struct request *request)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(openapi_json_length, (void *)(uintptr_t)openapi_json, MHD_RESPMEM_PERSISTENT);
    answer_stream(request, "application/json", response);
}

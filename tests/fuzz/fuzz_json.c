/* SPDX-License-Identifier: Apache-2.0 */
/* What json_check lets through is what cJSON reads, and what cJSON prints of it passes again. */
#include "tunwright/model.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    cJSON *json = NULL, *again = NULL;

    int result = json_check((const char *)data, size, &e);
    if (result < 0) {
        MUST(e.code == ERR_INVALID_JSON && e.message[0] != '\0');
        return 0;
    }
    MUST(json_read((const char *)data, size, &json, &e) == 0);
    char *printed = cJSON_PrintUnformatted(json);
    MUST(printed && json_read(printed, strlen(printed), &again, &e) == 0);
    char *printed_again = cJSON_PrintUnformatted(again);
    MUST(printed_again && strcmp(printed, printed_again) == 0);
    free(printed);
    free(printed_again);
    cJSON_Delete(json);
    cJSON_Delete(again);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A document, a newline, a patch. What a patch leads to, the printed difference leads to as well. */
#include "fuzz.h"

static void difference_check(const struct device *before, const struct device *after)
{
    struct difference difference = {DIFFERENCE_CHANGED, before, after};
    struct err_list errors = {0};
    struct device *again = NULL;

    char *printed = differences_print(&difference, 1);
    MUST(printed && json_check(printed, strlen(printed), NULL) == 0);
    cJSON *json = cJSON_Parse(printed);
    char *patch = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(json, 0), "patch"));
    MUST(patch && device_patch(before, patch, strlen(patch), &again, &errors) == 0);
    MUST(device_equal(after, again));
    cJSON_Delete(json);
    free(printed);
    free(patch);
    device_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *end = size > 0 ? memchr(data, '\n', size) : NULL;
    struct err_list errors = {0};
    struct device *device = NULL, *patched = NULL;

    if (!end || device_parse(text, (size_t)(end - text), NULL, false, &device, &errors) < 0)
        return 0;
    int result = device_patch(device, end + 1, size - (size_t)(end + 1 - text), &patched, &errors);
    faults_check(result, &errors);
    if (result == 0)
        difference_check(device, patched);
    device_free(patched);
    device_free(device);
    return 0;
}

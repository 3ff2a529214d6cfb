/* SPDX-License-Identifier: Apache-2.0 */
/* A set that is taken is the same after printing and reading; what a tree of the whole would say, the cut text says. */
#include "fuzz.h"

static void set_check(const struct device_set *set)
{
    struct err_list errors = {0};
    struct device_set again = {0};

    for (size_t i = 1; i < set->count; i++)
        MUST(strcmp(set->devices[i - 1]->name, set->devices[i]->name) < 0);
    for (size_t i = 1; i < set->absent_count; i++)
        MUST(strcmp(set->absent[i - 1], set->absent[i]) < 0);
    cJSON *json = device_set_to_json((const struct device *const *)set->devices, set->count);
    char *printed = cJSON_PrintUnformatted(json);
    MUST(printed && device_set_parse(printed, strlen(printed), false, &again, &errors) == 0);
    MUST(again.count == set->count);
    for (size_t i = 0; i < set->count; i++)
        MUST(device_equal(set->devices[i], again.devices[i]));
    device_set_done(&again);
    cJSON_Delete(json);
    free(printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int may_be_part = 0; may_be_part < 2; may_be_part++) {
        struct err_list errors = {0};
        struct device_set set = {0};

        int result = device_set_parse((const char *)data, size, may_be_part, &set, &errors);
        faults_check(result, &errors);
        if (result < 0)
            continue;
        cJSON *json = cJSON_ParseWithLength((const char *)data, size);
        const cJSON *devices = cJSON_GetObjectItemCaseSensitive(json, "devices");
        MUST(set.count == (devices ? (size_t)cJSON_GetArraySize(devices) : set.absent_count > 0 ? 0 : set.count));
        cJSON_Delete(json);
        set_check(&set);
        device_set_done(&set);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A document that is taken is the same after printing and reading; one that is refused has faults that can be shown. */
#include "fuzz.h"

static void device_check(const struct device *device)
{
    struct err_list errors = {0};
    struct device *again = NULL, *copy = device_copy(device);
    struct worker_spec spec;

    char *printed = device_print(device);
    MUST(printed && copy && device_equal(device, copy));
    MUST(device_validate(device, &errors) == 0 && errors.count == 0);
    MUST(device_parse(printed, strlen(printed), NULL, true, &again, &errors) == 0 && errors.count == 0);
    char *printed_again = device_print(again);
    MUST(device_equal(device, again) && printed_again && strcmp(printed, printed_again) == 0);
    if (device->worker.type != WORKER_NONE) {
        MUST(worker_spec_build(device, &spec) == 0 && json_check(spec.config, spec.config_length, NULL) == 0);
        worker_spec_done(&spec);
    }
    free(printed);
    free(printed_again);
    device_free(again);
    device_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ip_prefix to = {.addr = {.family = AF_INET, .bytes = {10}}, .length = 8};
    struct err_list errors = {0}, route_errors = {0}, worker_errors = {0};
    const char *text = (const char *)data;
    struct device *device = NULL;
    struct worker_config worker;
    struct route route;

    int result = device_parse(text, size, NULL, true, &device, &errors);
    faults_check(result, &errors);
    if (result == 0)
        device_check(device);
    device_free(device);
    faults_check(route_parse(text, size, &to, &route, &route_errors), &route_errors);
    faults_check(worker_config_parse(text, size, &worker, &worker_errors), &worker_errors);
    return 0;
}

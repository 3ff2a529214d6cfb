/* SPDX-License-Identifier: Apache-2.0 */
/* What cJSON is asked for may not be there: each allocation fails once, and nothing is lost, leaked or half made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "device_text.h"

#include <cjson/cJSON.h>
#include <errno.h>

static size_t allocations_left;

static void *allocation_may_fail(size_t size)
{
    return allocations_left > 0 ? allocations_left--, malloc(size) : NULL;
}

#define DOCUMENT                                                                                                       \
    TUN ",\"labels\":{\"a\":\"1\",\"b\":\"2\"},\"addresses\":[\"10.0.0.1/8\"],\"routes\":[{\"to\":\"10.9.0.0/16\"}],"  \
        "\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"10.0.0.2:1\"}}"

/* Runs it with ever more memory until it succeeds: 0, or what it failed with. */
static void expect_survival(int (*attempt)(void), size_t at_least)
{
    cJSON_Hooks hooks = {.malloc_fn = allocation_may_fail, .free_fn = free};
    size_t failed = 0;

    for (size_t allowed = 0;; allowed++, failed++) {
        allocations_left = allowed;
        cJSON_InitHooks(&hooks);
        int result = attempt();
        cJSON_InitHooks(NULL);
        if (result == 0)
            break;
        assert_int_equal(result, -ENOMEM);
    }
    assert_true(failed >= at_least);
}

static struct device *current;

static int attempt_patch(void)
{
    static const char patch[] =
        "{\"labels\":{\"a\":null,\"c\":\"3\",\"d\":\"4\"},\"mtu\":1400,\"worker\":{\"type\":\"echo\","
        "\"local\":null,\"remote\":null,\"header\":null,\"mark\":null,\"interface\":null,\"offload\":null},\"routes\":["
        "]}";
    struct err_list errors = {0};
    struct device *patched = NULL;
    int result = device_patch(current, patch, sizeof(patch) - 1, &patched, &errors);

    assert_true((result < 0) == (errors.count > 0) && (result < 0) == (patched == NULL));
    if (result < 0)
        assert_int_equal(errors.items[0].code, ERR_OUT_OF_MEMORY);
    else
        assert_int_equal(patched->label_count, 3);
    device_free(patched);
    return result;
}

static struct device *other;

static int attempt_difference(void)
{
    struct difference differences[] = {{DIFFERENCE_CHANGED, current, other}, {DIFFERENCE_CREATED, NULL, other}};
    char *text = differences_print(differences, 2);
    int result = text ? 0 : -ENOMEM;

    free(text);
    return result;
}

static int attempt_set(void)
{
    static const char text[] = "{\"devices\":[" DOCUMENT "," TAP "}],\"absent\":[\"x\",\"y\"]}";
    struct err_list errors = {0};
    struct device_set set = {.count = 77};
    int result = device_set_parse(text, sizeof(text) - 1, true, &set, &errors);

    assert_true((result < 0) == (errors.count > 0));
    if (result < 0) {
        assert_int_equal(errors.items[0].code, ERR_OUT_OF_MEMORY);
        assert_int_equal(set.count, 77);
        return result;
    }
    assert_int_equal(set.count, 2);
    cJSON *json = device_set_to_json((const struct device *const *)set.devices, set.count);
    device_set_done(&set);
    result = json ? 0 : -ENOMEM;
    cJSON_Delete(json);
    return result;
}

static int attempt_token(void)
{
    static const char text[] =
        "{\"name\":\"ci\",\"role\":\"reader\",\"selector\":\"a=b\",\"expires\":\"2031-01-01T00:00:00Z\"}";
    struct err_list errors = {0};
    struct token token;
    int result = token_parse(text, sizeof(text) - 1, &token, &errors);

    assert_true((result < 0) == (errors.count > 0));
    if (result < 0)
        return result;
    cJSON *json = token_to_json(&token);
    result = json ? 0 : -ENOMEM;
    cJSON_Delete(json);
    return result;
}

static void memory_runs_out(void **state)
{
    (void)state;
    current = device_of(DOCUMENT);
    other = device_of(TUN ",\"labels\":{\"b\":\"3\"}}");
    expect_survival(attempt_patch, 50);
    expect_survival(attempt_difference, 100);
    expect_survival(attempt_set, 80);
    expect_survival(attempt_token, 20);
    device_free(current);
    device_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_runs_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Merge patches and the differences that are printed as such. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "device_text.h"
#include "model/patch.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>

static cJSON *tree(const char *text)
{
    cJSON *json = cJSON_Parse(text);

    assert_non_null(json);
    return json;
}

/* RFC 7396, appendix A. */
static void test_rfc_examples(void **state)
{
    static const char *const examples[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
        /* the example of section 3, in short, and what the appendix leaves open */
        {"{\"a\":{\"x\":1,\"y\":2},\"b\":[1,null]}", "{\"a\":{\"y\":{\"z\":null,\"w\":0}},\"b\":[null]}",
         "{\"a\":{\"x\":1,\"y\":{\"w\":0}},\"b\":[null]}"},
        {"{\"a\":1}", "{}", "{\"a\":1}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
        cJSON *result = patch_apply(tree(examples[i][0]), tree(examples[i][1]));
        char *text = cJSON_PrintUnformatted(result);
        assert_string_equal(text, examples[i][2]);
        free(text);
        cJSON_Delete(result);
    }
}

/* ---- random documents: the patch that is made leads there -------------------------------------------------------- */

static unsigned random_state = 1;

static unsigned dice(unsigned sides)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % sides;
}

/* Without null members: our documents say the same with null and with nothing. */
static cJSON *random_tree(unsigned depth)
{
    cJSON *json;
    char name[8];

    switch (dice(depth > 0 ? 6 : 3)) {
    case 0:
        return cJSON_CreateNumber(dice(3));
    case 1:
        return cJSON_CreateString(dice(2) ? "x" : "y");
    case 2:
        return cJSON_CreateBool(dice(2) != 0);
    case 3:
        json = cJSON_CreateArray();
        for (unsigned i = dice(3); i > 0; i--)
            cJSON_AddItemToArray(json, random_tree(depth - 1));
        return json;
    default:
        json = cJSON_CreateObject();
        for (unsigned i = 0; i < 5; i++) {
            snprintf(name, sizeof(name), "m%u", i);
            if (dice(2))
                cJSON_AddItemToObject(json, name, random_tree(depth - 1));
        }
        return json;
    }
}

static void test_made_patches_lead_there(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        cJSON *before = random_tree(4), *after = dice(8) ? random_tree(4) : cJSON_Duplicate(before, true);
        cJSON *patch = patch_make(before, after);
        assert_non_null(patch);
        if (cJSON_IsObject(before) && cJSON_Compare(before, after, true))
            assert_null(patch->child); /* nothing differs: nothing is said */
        before = patch_apply(before, patch);
        if (!cJSON_Compare(before, after, true))
            fail_msg("%s became %s", cJSON_PrintUnformatted(after), cJSON_PrintUnformatted(before));
        cJSON_Delete(before);
        cJSON_Delete(after);
    }
}

/* The same through device documents: what a difference prints, device_patch understands. */
static struct device *random_device(void)
{
    struct buf text = {0};
    char *taken;
    bool tap = dice(2);
    unsigned worker = dice(4);

    buf_printf(&text, "{\"name\":\"tun0\",\"kind\":\"%s\",\"mtu\":%u,\"up\":%s", tap ? "tap" : "tun", 1300 + dice(3),
               dice(2) ? "true" : "false");
    if (tap && dice(2))
        buf_printf(&text, ",\"mac\":\"02:00:00:00:00:0%u\"", dice(3));
    if (tap && dice(2))
        buf_add_text(&text, ",\"master\":\"br0\"");
    if (dice(2))
        buf_printf(&text, ",\"owner\":%u", dice(2));
    if (dice(2))
        buf_add_text(&text, ",\"netns\":\"blue\"");
    buf_printf(&text, ",\"drift\":\"%s\",\"labels\":{\"z\":\"1\"", dice(2) ? "repair" : "report");
    for (unsigned i = 0; i < 4; i++)
        if (dice(2))
            buf_printf(&text, ",\"k%u\":\"%u\"", i, dice(2));
    buf_add_text(&text, "},\"addresses\":[\"10.0.0.1/24\"");
    for (unsigned i = 2; i < 5; i++)
        if (dice(2))
            buf_printf(&text, ",\"10.0.0.%u/24\"", i);
    buf_add_text(&text, "],\"routes\":[{\"to\":\"10.9.0.0/16\"}");
    for (unsigned i = 0; i < 3; i++)
        if (dice(2))
            buf_printf(&text, ",{\"to\":\"fd0%u::/16\",\"metric\":%u}", i, 1 + dice(2));
    buf_add_text(&text, "],\"worker\":");
    if (worker == 0)
        buf_add_text(&text, "null");
    else if (worker == 1)
        buf_add_text(&text, "{\"type\":\"echo\"}");
    else if (worker == 2)
        buf_printf(&text, "{\"type\":\"monitor\",\"log_rate\":%u}", dice(3));
    else
        buf_printf(&text, "{\"type\":\"udp\",\"local\":\"1.2.3.4:5\",\"remote\":\"1.2.3.5:%u\"}", 1 + dice(2));
    buf_add_text(&text, "}");
    taken = buf_take(&text);
    struct device *device = device_of(taken);
    free(taken);
    return device;
}

static void test_differences_of_devices(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        struct device *before = random_device(), *after = dice(8) ? random_device() : device_copy(before);
        struct device *patched = NULL;
        struct difference difference = {DIFFERENCE_CHANGED, before, after};
        struct err_list errors = {0};
        char *printed = differences_print(&difference, 1);
        cJSON *json = tree(printed), *item = cJSON_GetArrayItem(json, 0);
        char *patch = cJSON_PrintUnformatted(cJSON_GetObjectItem(item, "patch"));

        assert_string_equal(cJSON_GetObjectItem(item, "device")->valuestring, "tun0");
        assert_string_equal(cJSON_GetObjectItem(item, "action")->valuestring, "changed");
        if (device_equal(before, after))
            assert_string_equal(patch, "{}");
        if (device_patch(before, patch, strlen(patch), &patched, &errors) < 0)
            fail_msg("%s: %s %s", patch, errors.items[0].pointer, errors.items[0].message);
        assert_true(device_equal(patched, after));
        cJSON_Delete(json);
        free(printed);
        free(patch);
        device_free(before);
        device_free(after);
        device_free(patched);
    }
}

static void test_difference_forms(void **state)
{
    struct device *one = device_of(TUN ",\"mtu\":1400,\"labels\":{\"a\":\"1\",\"b\":\"2\"}}");
    struct device *two =
        device_of(TUN ",\"mtu\":1300,\"labels\":{\"a\":\"1\",\"c\":\"3\"},\"worker\":{\"type\":\"echo\"}}");
    struct difference list[] = {
        {DIFFERENCE_CHANGED, one, two},  {DIFFERENCE_DELETED, one, NULL}, {DIFFERENCE_RELEASED, one, NULL},
        {DIFFERENCE_CREATED, NULL, one}, {DIFFERENCE_ADOPTED, NULL, one},
    };
    char *text = differences_print(list, 3), *document = device_print(one), whole[2048];

    (void)state;
    assert_string_equal(
        text,
        "[{\"device\":\"tun0\",\"action\":\"changed\",\"patch\":{\"mtu\":1300,\"labels\":{\"c\":\"3\",\"b\":null},"
        "\"worker\":{\"type\":\"echo\"}}},"
        "{\"device\":\"tun0\",\"action\":\"deleted\",\"patch\":null},"
        "{\"device\":\"tun0\",\"action\":\"released\",\"patch\":null}]");
    free(text);
    text = differences_print(list + 3, 2);
    snprintf(whole, sizeof(whole),
             "[{\"device\":\"tun0\",\"action\":\"created\",\"patch\":%s},{\"device\":\"tun0\",\"action\":\"adopted\","
             "\"patch\":%s}]",
             document, document);
    assert_string_equal(text, whole);
    free(text);
    free(document);
    text = differences_print(NULL, 0);
    assert_string_equal(text, "[]");
    free(text);
    device_free(one);
    device_free(two);
}

/* ---- device_patch ------------------------------------------------------------------------------------------------ */

static void patch_refused(const char *patch, const char *faults)
{
    struct device *current =
        device_of(TUN ",\"mtu\":1400,\"worker\":{\"type\":\"udp\",\"local\":\"1.2.3.4:5\",\"remote\":\"1.2.3.5:6\"}}");
    struct device *patched = NULL;
    struct err_list errors = {0};

    assert_int_equal(device_patch(current, patch, strlen(patch), &patched, &errors), -EINVAL);
    assert_null(patched);
    char *found = faults_of(&errors);
    assert_string_equal(found, faults);
    free(found);
    device_free(current);
}

static void test_device_patch(void **state)
{
    struct device *current =
        device_of(TUN ",\"mtu\":1400,\"txqueuelen\":5,\"labels\":{\"a\":\"1\"},\"addresses\":[\"10.0.0.1/8\"]}");
    struct device *patched = NULL, *expected;
    struct err_list errors = {0};
    static const char patch[] =
        "{\"txqueuelen\":null,\"mtu\":null,\"labels\":{\"a\":null,\"b\":\"2\"},\"addresses\":null,"
        "\"status\":{\"state\":\"ready\"},\"name\":\"tun0\"}";

    (void)state;
    assert_int_equal(device_patch(current, patch, strlen(patch), &patched, &errors), 0);
    expected = device_of(TUN ",\"labels\":{\"b\":\"2\"}}"); /* what is null has its default again */
    assert_true(device_equal(patched, expected));
    device_free(patched);
    assert_int_equal(device_patch(current, "{}", 2, &patched, &errors), 0);
    assert_true(device_equal(patched, current));
    device_free(patched);
    device_free(expected);
    device_free(current);

    patch_refused("{\"mtu\":1}", "out_of_range /mtu");
    patch_refused("{\"kind\":null}", "missing_field /kind");
    patch_refused("{\"name\":\"tun1\"}", "incompatible /name");
    patch_refused("{\"nome\":1}", "unknown_field /nome");
}

#define UDP ",\"worker\":{\"type\":\"udp\",\"local\":\"1.2.3.4:5\",\"remote\":\"1.2.3.5:6\""

/* What a patch says of one offload leaves the others as they are; null is the default again, of one or of all. */
static void test_worker_patch(void **state)
{
    static const struct {
        const char *current, *patch, *expected;
    } cases[] = {
        {TUN UDP "}}", "{\"worker\":{\"offload\":{\"uso\":false}}}", TUN UDP ",\"offload\":{\"uso\":false}}}"},
        {TUN UDP ",\"offload\":{\"tso\":false}}}", "{\"worker\":{\"offload\":{\"uso\":false}}}",
         TUN UDP ",\"offload\":{\"tso\":false,\"uso\":false}}}"},
        {TUN UDP ",\"offload\":{\"tso\":false,\"merge\":false}}}", "{\"worker\":{\"offload\":{\"tso\":null}}}",
         TUN UDP ",\"offload\":{\"merge\":false}}}"},
        {TUN UDP ",\"offload\":{\"tso\":false,\"merge\":false}}}", "{\"worker\":{\"offload\":null}}", TUN UDP "}}"},
        {TUN UDP "}}", "{\"worker\":{\"mark\":7,\"interface\":\"eth0\"}}",
         TUN UDP ",\"mark\":7,\"interface\":\"eth0\"}}"},
        {TUN UDP ",\"mark\":7,\"interface\":\"eth0\"}}", "{\"worker\":{\"mark\":null,\"interface\":null}}",
         TUN UDP "}}"},
        {TUN UDP "}}", "{\"worker\":{\"header\":\"gue\"},\"mtu\":null}",
         TUN ",\"mtu\":1460" UDP ",\"header\":\"gue\"}}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct device *current = device_of(cases[i].current), *expected = device_of(cases[i].expected);
        struct device *patched = NULL;
        struct err_list errors = {0};

        assert_int_equal(device_patch(current, cases[i].patch, strlen(cases[i].patch), &patched, &errors), 0);
        if (!device_equal(patched, expected))
            fail_msg("%s with %s is not %s", cases[i].current, cases[i].patch, cases[i].expected);
        device_free(patched);
        device_free(expected);
        device_free(current);
    }
    patch_refused("{\"worker\":{\"offload\":{\"lro\":true}}}", "unknown_field /worker/offload/lro");
}

static void test_device_patch_syntax(void **state)
{
    (void)state;
    patch_refused("", "invalid_json ");
    patch_refused("{", "invalid_json ");
    patch_refused("{\"a\":1,\"a\":2}", "invalid_json ");
    patch_refused("[]", "wrong_type ");
    patch_refused("null", "wrong_type ");
    /* a worker of another type has other fields: those of before have to be said to go */
    patch_refused("{\"worker\":{\"type\":\"echo\"}}",
                  "unknown_field /worker/local; unknown_field /worker/remote; unknown_field /worker/header; "
                  "unknown_field /worker/mark; unknown_field /worker/interface; unknown_field /worker/offload");
}

/* Tens of thousands of members take no longer than their text. */
static void test_large_patch(void **state)
{
    struct device *current = device_of(TUN ",\"labels\":{\"a\":\"1\"}}"), *patched = NULL;
    struct err_list errors = {0};
    struct buf text = {0};

    (void)state;
    buf_add_text(&text, "{\"labels\":{\"a\":\"2\"");
    for (unsigned i = 0; i < 30000; i++)
        buf_printf(&text, ",\"%u\":null,\"n%u\":\"\"", i, i);
    buf_add_text(&text, "}}");
    assert_int_equal(device_patch(current, text.data, text.length, &patched, &errors), -EINVAL);
    assert_int_equal(errors.count, 1);
    assert_int_equal(errors.items[0].code, ERR_LIMIT_EXCEEDED);
    assert_string_equal(errors.items[0].pointer, "/labels");
    buf_done(&text);
    device_free(current);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_examples),           cmocka_unit_test(test_made_patches_lead_there),
        cmocka_unit_test(test_differences_of_devices), cmocka_unit_test(test_difference_forms),
        cmocka_unit_test(test_device_patch),           cmocka_unit_test(test_worker_patch),
        cmocka_unit_test(test_device_patch_syntax),    cmocka_unit_test(test_large_patch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

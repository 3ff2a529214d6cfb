/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "device_text.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>

static struct device_set set_of(const char *text, bool may_be_part)
{
    struct device_set set = {0};
    struct err_list errors = {0};

    if (device_set_parse(text, strlen(text), may_be_part, &set, &errors) < 0)
        fail_msg("%s: %s %s", text, errors.items[0].pointer, errors.items[0].message);
    assert_int_equal(errors.count, 0);
    return set;
}

static void test_sets(void **state)
{
    struct device_set set =
        set_of(" { \"devices\" : [ {\"name\":\"b\",\"kind\":\"tun\",\"status\":{\"x\":[1,{}]}} ,\n"
               "{\"name\":\"a\",\"kind\":\"tap\",\"labels\":{\"q\":\"]}\\\"\\\\\"}}, " TUN "}\t] } ",
               false);

    (void)state;
    assert_int_equal(set.count, 3);
    assert_string_equal(set.devices[0]->name, "a");
    assert_string_equal(set.devices[0]->labels[0].value, "]}\"\\");
    assert_string_equal(set.devices[1]->name, "b");
    assert_string_equal(set.devices[2]->name, "tun0");
    assert_true(set.places[0] == 1 && set.places[1] == 0 && set.places[2] == 2);
    assert_int_equal(set.absent_count, 0);

    cJSON *json = device_set_to_json((const struct device *const *)set.devices, set.count);
    char *text = cJSON_PrintUnformatted(json), *again;
    device_set_done(&set);
    assert_true(!set.devices && !set.places);
    cJSON_Delete(json);
    set = set_of(text, false);
    json = device_set_to_json((const struct device *const *)set.devices, set.count);
    again = cJSON_PrintUnformatted(json);
    assert_string_equal(text, again);
    cJSON_Delete(json);
    free(text);
    free(again);
    device_set_done(&set);

    set = set_of("{\"dev\\u0069ces\":[]}", false);
    assert_int_equal(set.count, 0);
    device_set_done(&set);
}

static void test_parts(void **state)
{
    struct device_set set = set_of("{\"absent\":[\"tun9\",\"tun3\",\"tun9\"]}", true);

    (void)state;
    assert_int_equal(set.count, 0);
    assert_int_equal(set.absent_count, 2);
    assert_string_equal(set.absent[0], "tun3");
    assert_string_equal(set.absent[1], "tun9");
    device_set_done(&set);

    set = set_of("{\"absent\":[\"tun3\"],\"devices\":[" TUN "}]}", true);
    assert_int_equal(set.count, 1);
    assert_int_equal(set.absent_count, 1);
    device_set_done(&set);

    set = set_of(TUN ",\"mtu\":1400}", true); /* a lone document */
    assert_int_equal(set.count, 1);
    assert_int_equal(set.devices[0]->mtu, 1400);
    device_set_done(&set);
}

static void refused(const char *text, bool may_be_part, const char *faults)
{
    struct device_set set = {.count = 77};
    struct err_list errors = {0};

    assert_int_equal(device_set_parse(text, strlen(text), may_be_part, &set, &errors), -EINVAL);
    assert_int_equal(set.count, 77);
    char *found = faults_of(&errors);
    assert_string_equal(found, faults);
    free(found);
}

static void test_faults(void **state)
{
    (void)state;
    refused("", false, "invalid_json ");
    refused("{\"devices\":[}", false, "invalid_json ");
    refused("{\"devices\":[],\"devices\":[]}", false, "invalid_json ");
    refused("[]", false, "wrong_type ");
    refused("null", true, "wrong_type ");
    refused("12", true, "wrong_type ");
    refused("{}", false, "missing_field /devices");
    refused("{}", true, "missing_field /kind; missing_field /name");
    refused("{\"devices\":{}}", false, "wrong_type /devices");
    refused("{\"devices\":null}", false, "wrong_type /devices");
    refused("{\"devices\":[],\"absent\":[]}", false, "unknown_field /absent");
    refused("{\"x\":[{\"}\":1}],\"devices\":[],\"y\\u002f\":2}", true, "unknown_field /x; unknown_field /y~1");
    refused("{\"devices\":[1," TUN ",\"mtu\":1},\"x\",{\"name\":\"tun%d\",\"kind\":\"tun\"}]}", false,
            "wrong_type /devices/0; out_of_range /devices/1/mtu; wrong_type /devices/2; invalid_name /devices/3/name");
    refused("{\"devices\":[" TUN ",\"mtu\":1200,\"addresses\":[\"fd00::1/64\"],\"routes\":[{\"to\":\"10.0.0.1/8\"}]}]}",
            false, "host_bits_set /devices/0/routes/0/to; incompatible /devices/0/addresses/0");
    refused("{\"devices\":[{\"kind\":\"tun\"}]}", false, "missing_field /devices/0/name");
    refused("{\"devices\":[" TUN "}," TAP "}," TUN "}," TUN "}]}", false,
            "duplicate /devices/2/name; duplicate /devices/3/name");
    refused("{\"devices\":[" TUN "}],\"absent\":[\"tun0\",\"a b\",3]}", true,
            "incompatible /absent/0; invalid_name /absent/1; wrong_type /absent/2");
    refused("{\"devices\":[],\"absent\":{}}", true, "wrong_type /absent");
    refused(TUN ",\"mtu\":1}", true, "out_of_range /mtu");
}

static char *many(const char *begin, unsigned count, const char *format, const char *end)
{
    struct buf text = {0};

    buf_add_text(&text, begin);
    for (unsigned i = 0; i < count; i++) {
        char item[128];
        snprintf(item, sizeof(item), format, i);
        buf_printf(&text, "%s%s", i > 0 ? "," : "", item);
    }
    buf_add_text(&text, end);
    return buf_take(&text);
}

static void test_limits(void **state)
{
    char *text = many("{\"devices\":[", DEVICE_SET_MAX, "{\"name\":\"t%u\",\"kind\":\"tun\"}", "]}");
    struct device_set set = set_of(text, false);

    (void)state;
    assert_int_equal(set.count, DEVICE_SET_MAX);
    for (size_t i = 1; i < set.count; i++)
        assert_true(strcmp(set.devices[i - 1]->name, set.devices[i]->name) < 0);
    device_set_done(&set);
    free(text);

    text = many("{\"devices\":[", DEVICE_SET_MAX + 1, "{\"name\":\"t%u\",\"kind\":\"tun\"}", "]}");
    refused(text, false, "limit_exceeded /devices");
    free(text);
    text = many("{\"absent\":[", DEVICE_SET_MAX + 1, "\"t%u\"", "]}");
    refused(text, true, "limit_exceeded /absent");
    free(text);

    /* a fault in each: as many as the list takes, and then no more is read */
    struct err_list errors = {0};
    text = many("{\"devices\":[", 4000, "%u", "]}");
    assert_int_equal(device_set_parse(text, strlen(text), false, &set, &errors), -EINVAL);
    assert_int_equal(errors.count, ERR_LIST_MAX);
    free(text);
    memset(&errors, 0, sizeof(errors));
    text = many("{", 60000, "\"x%u\":[{},\"\"]", "}");
    assert_int_equal(device_set_parse(text, strlen(text), false, &set, &errors), -EINVAL);
    assert_int_equal(errors.count, ERR_LIST_MAX);
    free(text);

    text = many("{\"devices\":[{\"name\":\"tun0\",\"kind\":\"tun\",\"status\":[", 1000000, "%u", "]}]}");
    refused(text, false, "limit_exceeded /devices/0"); /* no document of ours has 4 MiB */
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tunwright/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define UDP_WORKER "{\"type\":\"udp\",\"local\":\"10.32.0.11:5000\",\"remote\":\"10.33.0.1:5000\"}"
#define UDP_DEVICE "{\"name\":\"tun0\",\"kind\":\"tun\",\"worker\":" UDP_WORKER "}"

#define OTHER_UDP(fields)                                                                                              \
    "{\"name\":\"tun0\",\"kind\":\"tun\",\"worker\":{\"type\":\"udp\",\"local\":\"10.32.0.11:5000\","                  \
    "\"remote\":\"10.33.0.1:5000\"," fields "}}"

static void spec_of(const char *text, struct worker_spec *ret_spec)
{
    struct err_list errors = {0};
    CLEANUP(device_done) struct device *device = NULL;
    assert_int_equal(device_parse(text, strlen(text), NULL, false, &device, &errors), 0);
    assert_int_equal(worker_spec_build(device, ret_spec), 0);
}

static void udp_spec(void **state)
{
    CLEANUP(worker_spec_done) struct worker_spec spec;
    char text[ENDPOINT_TEXT_SIZE];
    (void)state;
    spec_of(UDP_DEVICE, &spec);
    assert_string_equal(spec.program, "tunwright-worker");
    assert_int_equal(spec.queues, 1);
    assert_int_equal(spec.socket_spec_count, 1);
    assert_int_equal(spec.sockets[0].count, 1);
    assert_int_equal(spec.sockets[0].type, SOCK_DGRAM);
    assert_int_equal(spec.sockets[0].mark, 0);
    assert_string_equal(spec.sockets[0].interface, "");
    assert_string_equal(endpoint_print(&spec.sockets[0].local, text), "10.32.0.11:5000");
    assert_string_equal(spec.config,
                        "{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},\"worker\":{\"type\":\"udp\","
                        "\"local\":\"10.32.0.11:5000\",\"remote\":\"10.33.0.1:5000\",\"header\":\"none\","
                        "\"mark\":null,\"interface\":null,\"offload\":{\"tso\":true,\"uso\":true,\"merge\":true,"
                        "\"udp_segment\":true,\"udp_gro\":true,\"checksum\":true}}}");
    assert_int_equal(spec.config_length, strlen(spec.config));
    assert_int_equal(json_check(spec.config, spec.config_length, NULL), 0);
}

/* As many ports as queues, and whatever the kernel is to do with their packets. */
static void sockets_of_queues(void **state)
{
    CLEANUP(worker_spec_done) struct worker_spec spec;
    char text[ENDPOINT_TEXT_SIZE];
    (void)state;
    spec_of("{\"name\":\"tun0\",\"kind\":\"tun\",\"queues\":16,\"worker\":{\"type\":\"udp\",\"local\":\"[::]:65520\","
            "\"remote\":\"[fd00::2]:1\",\"mark\":4294967295,\"interface\":\"123456789012345\"}}",
            &spec);
    assert_int_equal(spec.queues, 16);
    assert_int_equal(spec.socket_spec_count, 1);
    assert_int_equal(spec.sockets[0].count, 16);
    assert_string_equal(endpoint_print(&spec.sockets[0].local, text), "[::]:65520");
    assert_int_equal(spec.sockets[0].mark, UINT32_MAX);
    assert_string_equal(spec.sockets[0].interface, "123456789012345");
}

static void specs_without_a_socket(void **state)
{
    CLEANUP(worker_spec_done) struct worker_spec echo;
    CLEANUP(worker_spec_done) struct worker_spec monitor;
    (void)state;
    spec_of("{\"name\":\"tap0\",\"kind\":\"tap\",\"queues\":4,\"worker\":{\"type\":\"echo\"}}", &echo);
    assert_int_equal(echo.socket_spec_count, 0);
    assert_int_equal(echo.queues, 4);
    assert_string_equal(echo.config,
                        "{\"device\":{\"name\":\"tap0\",\"kind\":\"tap\"},\"worker\":{\"type\":\"echo\"}}");
    spec_of("{\"name\":\"tap0\",\"kind\":\"tap\",\"worker\":{\"type\":\"monitor\",\"log_rate\":5}}", &monitor);
    assert_int_equal(monitor.socket_spec_count, 0);
    assert_string_equal(
        monitor.config,
        "{\"device\":{\"name\":\"tap0\",\"kind\":\"tap\"},\"worker\":{\"type\":\"monitor\",\"log_rate\":5}}");
}

static void no_worker_no_spec(void **state)
{
    static const char text[] = "{\"name\":\"tun0\",\"kind\":\"tun\"}";
    struct err_list errors = {0};
    struct worker_spec spec = {.queues = 77};
    CLEANUP(device_done) struct device *device = NULL;
    (void)state;
    assert_int_equal(device_parse(text, sizeof(text) - 1, NULL, false, &device, &errors), 0);
    assert_int_equal(worker_spec_build(device, &spec), -EINVAL);
    assert_int_equal(spec.queues, 77);
}

/* Whatever a worker would see makes another tag; what it does not see does not: a new address restarts nothing. */
static void tags(void **state)
{
    static const struct {
        const char *text;
        bool same;
    } cases[] = {
        {UDP_DEVICE, true},
        {"{\"name\":\"tun0\",\"kind\":\"tun\",\"up\":false,\"mtu\":1400,\"txqueuelen\":5,\"addresses\":[\"10.0.0.1/"
         "8\"],"
         "\"routes\":[{\"to\":\"10.0.0.0/"
         "8\"}],\"labels\":{\"a\":\"b\"},\"netns\":\"x\",\"drift\":\"report\",\"owner\":0,"
         "\"worker\":{\"remote\":\"10.33.0.1:5000\",\"local\":\"10.32.0.11:5000\",\"type\":\"udp\"}}",
         true},
        {"{\"name\":\"tun1\",\"kind\":\"tun\",\"worker\":{\"type\":\"udp\",\"local\":\"10.32.0.11:5000\","
         "\"remote\":\"10.33.0.1:5000\"}}",
         false},
        {"{\"name\":\"tun0\",\"kind\":\"tap\",\"worker\":{\"type\":\"udp\",\"local\":\"10.32.0.11:5000\","
         "\"remote\":\"10.33.0.1:5000\"}}",
         false},
        {"{\"name\":\"tun0\",\"kind\":\"tun\",\"queues\":2,\"worker\":{\"type\":\"udp\",\"local\":\"10.32.0.11:5000\","
         "\"remote\":\"10.33.0.1:5000\"}}",
         false},
        {"{\"name\":\"tun0\",\"kind\":\"tun\",\"worker\":{\"type\":\"udp\",\"local\":\"10.32.0.11:5001\","
         "\"remote\":\"10.33.0.1:5000\"}}",
         false},
        {"{\"name\":\"tun0\",\"kind\":\"tun\",\"worker\":{\"type\":\"udp\",\"local\":\"10.32.0.11:5000\","
         "\"remote\":\"10.33.0.2:5000\"}}",
         false},
        {"{\"name\":\"tun0\",\"kind\":\"tun\",\"worker\":{\"type\":\"echo\"}}", false},
        {OTHER_UDP("\"mark\":null,\"interface\":null,\"header\":\"none\",\"offload\":{\"uso\":true}"), true},
        {OTHER_UDP("\"mark\":1"), false},
        {OTHER_UDP("\"interface\":\"eth0\""), false},
        {OTHER_UDP("\"header\":\"gue\""), false},
        {OTHER_UDP("\"offload\":{\"udp_gro\":false}"), false},
    };
    CLEANUP(worker_spec_done) struct worker_spec first;
    (void)state;
    spec_of(UDP_DEVICE, &first);
    assert_true(first.tag != 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(worker_spec_done) struct worker_spec spec;
        spec_of(cases[i].text, &spec);
        if ((spec.tag == first.tag) != cases[i].same)
            fail_msg("%s", cases[i].text);
    }
}

static void emptied_twice(void **state)
{
    struct worker_spec spec;
    (void)state;
    spec_of(UDP_DEVICE, &spec);
    worker_spec_done(&spec);
    assert_null(spec.config);
    worker_spec_done(&spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(udp_spec),
        cmocka_unit_test(sockets_of_queues),
        cmocka_unit_test(specs_without_a_socket),
        cmocka_unit_test(no_worker_no_spec),
        cmocka_unit_test(tags),
        cmocka_unit_test(emptied_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

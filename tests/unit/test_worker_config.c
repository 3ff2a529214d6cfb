/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/config.h"
#include "worker/monitor.h"

#include <errno.h>
#include <string.h>

static void heads(void **state)
{
    static const struct {
        const char *text;
        const char *verb; /* NULL: refused */
        uint32_t queues, sockets;
    } cases[] = {
        {"stop\n", "stop", 0, 0},
        {"attach\n", "attach", 0, 0},
        {"configure queues=2 sockets=1 tag=0123456789abcdef program=tunwright-worker\n{}", "configure", 2, 1},
        {"configure sockets=0 queues=16 later=word queues_more=x\n", "configure", 16, 0},
        {"unknown\nbody", "unknown", 0, 0},
        {"configure", NULL, 0, 0}, /* no line */
        {"", NULL, 0, 0},
        {"\n", NULL, 0, 0},
        {"configure queues=\n", NULL, 0, 0},
        {"configure queues=-1\n", NULL, 0, 0},
        {"configure queues=99999999999\n", NULL, 0, 0},
        {"configure queues=1x\n", NULL, 0, 0},
        {"averylongverbthatisnone queues=1\n", NULL, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config_head head;
        int r = config_head_parse(cases[i].text, strlen(cases[i].text), &head, NULL);

        assert_int_equal(r, cases[i].verb ? 0 : -EINVAL);
        if (r < 0)
            continue;
        assert_string_equal(head.verb, cases[i].verb);
        assert_int_equal(head.queues, cases[i].queues);
        assert_int_equal(head.sockets, cases[i].sockets);
        assert_int_equal(cases[i].text[head.body_offset - 1], '\n');
    }
    assert_int_equal(config_head_parse("st\0op\n", 6, &(struct config_head){0}, NULL), -EINVAL);
}

static void configurations(void **state)
{
    static const char udp[] = "{\"device\":{\"name\":\"tun0\",\"kind\":\"tap\"},"
                              "\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:5000\",\"remote\":\"10.0.0.2:6000\"}}";
    static const struct {
        const char *text, *pointer;
    } bad[] = {
        {"{", ""},
        {"[]", ""},
        {"{\"worker\":{\"type\":\"echo\"}}", ""},
        {"{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},\"worker\":{\"type\":\"echo\"},\"more\":1}", ""},
        {"{\"device\":1,\"worker\":{\"type\":\"echo\"}}", "/device"},
        {"{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\",\"x\":1},\"worker\":{\"type\":\"echo\"}}", "/device"},
        {"{\"device\":{\"name\":\"a/b\",\"kind\":\"tun\"},\"worker\":{\"type\":\"echo\"}}", "/device/name"},
        {"{\"device\":{\"kind\":\"tun\"},\"worker\":{\"type\":\"echo\"}}", "/device/name"},
        {"{\"device\":{\"name\":\"tun0\",\"kind\":\"ton\"},\"worker\":{\"type\":\"echo\"}}", "/device/kind"},
        {"{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},\"worker\":7}", "/worker"},
        {"{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},\"worker\":{\"type\":\"no\"}}", "/worker/type"},
    };
    struct config config;
    struct err err;

    (void)state;
    assert_int_equal(config_parse(udp, strlen(udp), &config, NULL), 0);
    assert_string_equal(config.device, "tun0");
    assert_int_equal(config.kind, DEVICE_TAP);
    assert_int_equal(config.worker.type, WORKER_UDP);
    assert_int_equal(config.worker.udp.remote.port, 6000);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        memset(&err, 0, sizeof(err));
        assert_int_equal(config_parse(bad[i].text, strlen(bad[i].text), &config, &err), -EINVAL);
        assert_string_equal(err.pointer, bad[i].pointer);
        assert_string_not_equal(err.message, "");
    }
}

static void descriptions(void **state)
{
    static const uint8_t ping[28] = {0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 1, 0, 0, 192, 168, 3, 11, 192, 168, 3, 12, 8};
    static const uint8_t odd[20] = {0x45, 0, 0, 20, 0, 0, 0x20, 0, 64, 200, 0, 0, 192, 168, 3, 11, 192, 168, 3, 12};
    static const uint8_t empty_v6[40] = {[0] = 0x60, [6] = 59, [8] = 0xfe, [9] = 0x80, [23] = 1, [24] = 0xff, [39] = 2};
    static const uint8_t arp[42] = {[12] = 0x08, [13] = 0x06}, lldp[20] = {[12] = 0x88, [13] = 0xcc};
    char text[MONITOR_TEXT_SIZE];

    (void)state;
    monitor_describe(DEVICE_TUN, ping, sizeof(ping), text, sizeof(text));
    assert_string_equal(text, "IPv4 192.168.3.11 > 192.168.3.12 ICMP");
    monitor_describe(DEVICE_TUN, odd, sizeof(odd), text, sizeof(text));
    assert_string_equal(text, "IPv4 192.168.3.11 > 192.168.3.12 protocol 200 fragment");
    monitor_describe(DEVICE_TUN, empty_v6, sizeof(empty_v6), text, sizeof(text));
    assert_string_equal(text, "IPv6 fe80::1 > ff00::2 protocol 59");
    monitor_describe(DEVICE_TAP, arp, sizeof(arp), text, sizeof(text));
    assert_string_equal(text, "ARP");
    monitor_describe(DEVICE_TAP, lldp, sizeof(lldp), text, sizeof(text));
    assert_string_equal(text, "ethertype 0x88cc");
    monitor_describe(DEVICE_TUN, ping, 27, text, sizeof(text));
    assert_string_equal(text, "malformed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads),
        cmocka_unit_test(configurations),
        cmocka_unit_test(descriptions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tunwright/model.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

struct text_case {
    const char *text;
    const char *printed; /* NULL: refused */
};

static void addr_texts(void **state)
{
    static const struct text_case cases[] = {
        {"0.0.0.0", "0.0.0.0"},
        {"10.32.0.11", "10.32.0.11"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", "::"},
        {"::1", "::1"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, /* RFC 5952, 4.2.2: one field is not shortened */
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},          /* 4.2.3: the longest run */
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},    /* 4.2.3: the first of two */
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"fe80::1", "fe80::1"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"", NULL},
        {" 10.0.0.1", NULL},
        {"10.0.0.1 ", NULL},
        {"10.0.0", NULL},
        {"10.0.0.1.2", NULL},
        {"10.0.0.256", NULL},
        {"10.0.0.01", NULL},
        {"0x0a.0.0.1", NULL},
        {"10.0.0.-1", NULL},
        {"167772161", NULL},
        {"localhost", NULL},
        {":", NULL},
        {":::", NULL},
        {"1::2::3", NULL},
        {"2001:db8::12345", NULL},
        {"2001:db8::g", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
        {"fe80::1%eth0", NULL},
        {"[::1]", NULL},
        {"::ffff:10.0.0.1", NULL},
        {"::ffff:a00:1", NULL},
        {"10.0.0.1/24", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ip_addr addr = {.family = 99}, again;
        char out[IP_ADDR_TEXT_SIZE];
        int result = ip_addr_parse(cases[i].text, &addr);
        if (result != (cases[i].printed ? 0 : -EINVAL))
            fail_msg("\"%s\" gave %d", cases[i].text, result);
        if (!cases[i].printed) {
            assert_int_equal(addr.family, 99);
            continue;
        }
        assert_string_equal(ip_addr_print(&addr, out), cases[i].printed);
        assert_int_equal(ip_addr_parse(out, &again), 0);
        assert_true(ip_addr_equal(&addr, &again));
        assert_int_equal(addr.family, strchr(cases[i].text, ':') ? AF_INET6 : AF_INET);
    }
}

static void addr_properties(void **state)
{
    static const struct {
        const char *text;
        bool any, multicast;
        size_t size;
    } cases[] = {
        {"0.0.0.0", true, false, 4},   {"0.0.0.1", false, false, 4},        {"223.255.255.255", false, false, 4},
        {"224.0.0.0", false, true, 4}, {"239.255.255.255", false, true, 4}, {"240.0.0.0", false, false, 4},
        {"::", true, false, 16},       {"::1", false, false, 16},           {"ff00::", false, true, 16},
        {"ff02::1", false, true, 16},  {"fe80::1", false, false, 16},       {"feff::", false, false, 16},
    };
    struct ip_addr none = {0}, any4, any6;
    char out[IP_ADDR_TEXT_SIZE] = "x";
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ip_addr addr;
        assert_int_equal(ip_addr_parse(cases[i].text, &addr), 0);
        if (ip_addr_is_any(&addr) != cases[i].any || ip_addr_is_multicast(&addr) != cases[i].multicast)
            fail_msg("%s", cases[i].text);
        assert_int_equal(ip_addr_size(&addr), cases[i].size);
    }
    assert_false(ip_addr_is_any(&none));
    assert_false(ip_addr_is_multicast(&none));
    assert_string_equal(ip_addr_print(&none, out), "");
    assert_int_equal(ip_addr_parse("0.0.0.0", &any4), 0);
    assert_int_equal(ip_addr_parse("::", &any6), 0);
    assert_false(ip_addr_equal(&any4, &any6));
    assert_false(ip_addr_equal(&any4, &none));
}

/* Whatever was in the struct before, bytes past the family's size are zero. */
static void addr_is_wholly_written(void **state)
{
    struct ip_addr addr;
    struct ip_prefix prefix;
    struct endpoint endpoint;
    static const uint8_t zero[12];
    (void)state;
    memset(&addr, 0xee, sizeof(addr));
    memset(&prefix, 0xee, sizeof(prefix));
    memset(&endpoint, 0xee, sizeof(endpoint));
    assert_int_equal(ip_addr_parse("1.2.3.4", &addr), 0);
    assert_memory_equal(addr.bytes + 4, zero, 12);
    assert_int_equal(ip_prefix_parse("1.2.3.4/8", &prefix), 0);
    assert_memory_equal(prefix.addr.bytes + 4, zero, 12);
    assert_int_equal(endpoint_parse("1.2.3.4:8", &endpoint), 0);
    assert_memory_equal(endpoint.addr.bytes + 4, zero, 12);
}

static void prefix_texts(void **state)
{
    static const struct text_case cases[] = {
        {"192.168.3.11/24", "192.168.3.11/24"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"10.0.0.1/32", "10.0.0.1/32"},
        {"::/0", "::/0"},
        {"FD00:3::11/64", "fd00:3::11/64"},
        {"2001:db8::1/128", "2001:db8::1/128"},
        {"0000:0000:0000:0000:0000:0000:255.255.255.254/128", "::255.255.255.254/128"},
        {"", NULL},
        {"/", NULL},
        {"/24", NULL},
        {"192.168.3.11", NULL},
        {"192.168.3.11/", NULL},
        {"192.168.3.11/33", NULL},
        {"192.168.3.11/024", NULL},
        {"192.168.3.11/+24", NULL},
        {"192.168.3.11/-1", NULL},
        {"192.168.3.11/ 24", NULL},
        {"192.168.3.11/24 ", NULL},
        {"192.168.3.11/24/24", NULL},
        {"192.168.3.11/255.255.255.0", NULL},
        {"192.168.3.11/4294967320", NULL},
        {"192.168.3/24", NULL},
        {"fd00::1/129", NULL},
        {"fd00::1%1/64", NULL},
        {"::ffff:10.0.0.1/96", NULL},
        {"00000000000000000000000000000000000000000000000000000000000::1/64", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ip_prefix prefix = {.length = 99}, again;
        char out[IP_PREFIX_TEXT_SIZE];
        int result = ip_prefix_parse(cases[i].text, &prefix);
        if (result != (cases[i].printed ? 0 : -EINVAL))
            fail_msg("\"%s\" gave %d", cases[i].text, result);
        if (!cases[i].printed) {
            assert_int_equal(prefix.length, 99);
            continue;
        }
        assert_string_equal(ip_prefix_print(&prefix, out), cases[i].printed);
        assert_int_equal(ip_prefix_parse(out, &again), 0);
        assert_true(ip_prefix_equal(&prefix, &again));
    }
}

static void prefix_networks(void **state)
{
    static const struct {
        const char *text, *network;
    } cases[] = {
        {"192.168.3.11/24", "192.168.3.0/24"},
        {"192.168.3.0/24", "192.168.3.0/24"},
        {"255.255.255.255/0", "0.0.0.0/0"},
        {"255.255.255.255/1", "128.0.0.0/1"},
        {"255.255.255.255/9", "255.128.0.0/9"},
        {"255.255.255.255/31", "255.255.255.254/31"},
        {"255.255.255.255/32", "255.255.255.255/32"},
        {"2001:db8:ffff::1/33", "2001:db8:8000::/33"},
        {"ffff::1/127", "ffff::/127"},
        {"ffff::1/128", "ffff::1/128"},
        {"ffff::1/0", "::/0"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ip_prefix prefix, expected;
        assert_int_equal(ip_prefix_parse(cases[i].text, &prefix), 0);
        assert_int_equal(ip_prefix_parse(cases[i].network, &expected), 0);
        struct ip_prefix network = ip_prefix_network(&prefix);
        if (!ip_prefix_equal(&network, &expected))
            fail_msg("%s", cases[i].text);
        assert_int_equal(ip_prefix_has_host_bits(&prefix), strcmp(cases[i].text, cases[i].network) != 0);
    }
}

/* Against arithmetic on 32-bit numbers, for each length. */
static void prefix_networks_of_every_length(void **state)
{
    (void)state;
    for (unsigned length = 0; length <= 32; length++) {
        struct ip_prefix prefix = {.addr = {.family = AF_INET, .bytes = {0xa5, 0x5a, 0xc3, 0xff}},
                                   .length = (uint8_t)length};
        uint32_t mask = length == 0 ? 0 : UINT32_MAX << (32 - length);
        uint32_t expected = htonl(0xa55ac3ff & mask);
        struct ip_prefix network = ip_prefix_network(&prefix);
        assert_memory_equal(network.addr.bytes, &expected, 4);
        assert_int_equal(network.length, length);
    }
}

static void prefixes_that_differ(void **state)
{
    struct ip_prefix a, b, c;
    (void)state;
    assert_int_equal(ip_prefix_parse("10.0.0.0/8", &a), 0);
    assert_int_equal(ip_prefix_parse("10.0.0.0/9", &b), 0);
    assert_int_equal(ip_prefix_parse("11.0.0.0/8", &c), 0);
    assert_true(ip_prefix_equal(&a, &a));
    assert_false(ip_prefix_equal(&a, &b));
    assert_false(ip_prefix_equal(&a, &c));
}

static void endpoint_texts(void **state)
{
    static const struct text_case cases[] = {
        {"10.32.0.11:5000", "10.32.0.11:5000"},
        {"0.0.0.0:1", "0.0.0.0:1"},
        {"255.255.255.255:65535", "255.255.255.255:65535"},
        {"[2001:DB8::1]:5000", "[2001:db8::1]:5000"},
        {"[::]:65535", "[::]:65535"},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
        {"", NULL},
        {":", NULL},
        {":5000", NULL},
        {"10.32.0.11", NULL},
        {"10.32.0.11:", NULL},
        {"10.32.0.11:0", NULL},
        {"10.32.0.11:65536", NULL},
        {"10.32.0.11:05000", NULL},
        {"10.32.0.11:+5000", NULL},
        {"10.32.0.11:5000 ", NULL},
        {"10.32.0.11: 5000", NULL},
        {"10.32.0.11:5000:1", NULL},
        {"10.32.0.11:http", NULL},
        {"host:5000", NULL},
        {"[10.32.0.11]:5000", NULL},
        {"2001:db8::1:5000", NULL},
        {"[2001:db8::1]", NULL},
        {"[2001:db8::1]:", NULL},
        {"[2001:db8::1]5000", NULL},
        {"[2001:db8::1]x:5000", NULL},
        {"[2001:db8::1:5000", NULL},
        {"[fe80::1%eth0]:5000", NULL},
        {"[::ffff:10.0.0.1]:5000", NULL},
        {"[]:5000", NULL},
        {"[", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct endpoint endpoint = {.port = 99}, again;
        char out[ENDPOINT_TEXT_SIZE];
        int result = endpoint_parse(cases[i].text, &endpoint);
        if (result != (cases[i].printed ? 0 : -EINVAL))
            fail_msg("\"%s\" gave %d", cases[i].text, result);
        if (!cases[i].printed) {
            assert_int_equal(endpoint.port, 99);
            continue;
        }
        assert_string_equal(endpoint_print(&endpoint, out), cases[i].printed);
        assert_int_equal(endpoint_parse(out, &again), 0);
        assert_true(endpoint_equal(&endpoint, &again));
    }
}

static void endpoint_sockaddrs(void **state)
{
    struct sockaddr_storage storage;
    struct endpoint endpoint, again;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    (void)state;

    assert_int_equal(endpoint_parse("10.32.0.11:5000", &endpoint), 0);
    assert_int_equal(endpoint_to_sockaddr(&endpoint, &storage), sizeof(in));
    memcpy(&in, &storage, sizeof(in));
    assert_int_equal(in.sin_family, AF_INET);
    assert_int_equal(ntohs(in.sin_port), 5000);
    assert_int_equal(ntohl(in.sin_addr.s_addr), 0x0a20000b);
    assert_int_equal(endpoint_from_sockaddr(&storage, &again), 0);
    assert_true(endpoint_equal(&endpoint, &again));

    assert_int_equal(endpoint_parse("[2001:db8::1]:65535", &endpoint), 0);
    assert_int_equal(endpoint_to_sockaddr(&endpoint, &storage), sizeof(in6));
    memcpy(&in6, &storage, sizeof(in6));
    assert_int_equal(in6.sin6_family, AF_INET6);
    assert_int_equal(ntohs(in6.sin6_port), 65535);
    assert_int_equal(in6.sin6_addr.s6_addr[0], 0x20);
    assert_int_equal(in6.sin6_addr.s6_addr[15], 1);
    assert_int_equal(endpoint_from_sockaddr(&storage, &again), 0);
    assert_true(endpoint_equal(&endpoint, &again));

    memset(&storage, 0, sizeof(storage));
    storage.ss_family = AF_UNIX;
    assert_int_equal(endpoint_from_sockaddr(&storage, &again), -EAFNOSUPPORT);
}

static void endpoints_that_differ(void **state)
{
    struct endpoint a, b, c;
    (void)state;
    assert_int_equal(endpoint_parse("10.0.0.1:1", &a), 0);
    assert_int_equal(endpoint_parse("10.0.0.1:2", &b), 0);
    assert_int_equal(endpoint_parse("10.0.0.2:1", &c), 0);
    assert_true(endpoint_equal(&a, &a));
    assert_false(endpoint_equal(&a, &b));
    assert_false(endpoint_equal(&a, &c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addr_texts),
        cmocka_unit_test(addr_properties),
        cmocka_unit_test(addr_is_wholly_written),
        cmocka_unit_test(prefix_texts),
        cmocka_unit_test(prefix_networks),
        cmocka_unit_test(prefix_networks_of_every_length),
        cmocka_unit_test(prefixes_that_differ),
        cmocka_unit_test(endpoint_texts),
        cmocka_unit_test(endpoint_sockaddrs),
        cmocka_unit_test(endpoints_that_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

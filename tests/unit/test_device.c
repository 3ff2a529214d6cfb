/* SPDX-License-Identifier: Apache-2.0 */
/* The device document as structs: names, words, comparing, copying, editing, and the rules after an edit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "device_text.h"

#include <errno.h>

/* ---- names and words --------------------------------------------------------------------------------------------- */

static void device_names(void **state)
{
    static const struct {
        const char *name;
        bool valid, pattern_valid;
    } cases[] = {
        {"tun0", true, true},
        {"a", true, true},
        {"0a", true, true},
        {"Tun_0.x-y", true, true},
        {"a23456789012345", true, true},
        {"a234567890123456", false, false},
        {"", false, false},
        {".", false, false},
        {"..", false, false},
        {".a", false, false},
        {"-a", false, false},
        {"_a", false, false},
        {"a/b", false, false},
        {"a b", false, false},
        {"a:b", false, false},
        {"a\n", false, false},
        {"a\x01", false, false},
        {"a\x7f", false, false},
        {"t\xc3\xbcn", false, false},
        {"0", false, false},
        {"12345", false, false},
        {"all", false, false},
        {"default", false, false},
        {"lo", false, false},
        {"lo0", true, true},
        {"All", true, true},
        {"tun%d", false, true},
        {"lo%d", false, true},
        {"a234567890123%d", false, true},
        {"a2345678901234%d", false, false},
        {"%d", false, false},
        {"1%d", false, false},
        {"a1%d", false, true},
        {"tun%n", false, false},
        {"tun%", false, false},
        {"tun%dx", false, false},
        {"tun%d%d", false, false},
        {"tun%%d", false, false},
        {"t/%d", false, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (device_name_is_valid(cases[i].name) != cases[i].valid ||
            device_name_pattern_is_valid(cases[i].name) != cases[i].pattern_valid)
            fail_msg("\"%s\"", cases[i].name);
    }
}

static void netns_names(void **state)
{
    static const char *const good[] = {"a", "blue", "0", "tunwright-1.b_c", "lo", REPEAT_16("12345678") /* 128 */ + 1};
    static const char *const bad[] = {"",   ".",   "..",  "../x",     "a/b",
                                      "-a", "a b", "a\n", "\xc3\xbc", REPEAT_16("12345678")};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        if (!netns_name_is_valid(good[i]))
            fail_msg("\"%s\"", good[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (netns_name_is_valid(bad[i]))
            fail_msg("\"%s\"", bad[i]);
    }
}

static void words(void **state)
{
    enum device_kind kind = DEVICE_TUN;
    enum route_type type = ROUTE_UNICAST;
    enum worker_type worker = WORKER_NONE;
    enum drift_policy drift = DRIFT_REPAIR;
    enum udp_header header = UDP_HEADER_NONE;
    (void)state;
    for (enum device_kind i = 0; i < DEVICE_KIND_N; i++)
        assert_true(device_kind_parse(device_kind_name(i), &kind) == 0 && kind == i);
    for (enum route_type i = 0; i < ROUTE_TYPE_N; i++)
        assert_true(route_type_parse(route_type_name(i), &type) == 0 && type == i);
    for (enum worker_type i = WORKER_MONITOR; i < WORKER_TYPE_N; i++)
        assert_true(worker_type_parse(worker_type_name(i), &worker) == 0 && worker == i);
    for (enum drift_policy i = 0; i < DRIFT_POLICY_N; i++)
        assert_true(drift_policy_parse(drift_policy_name(i), &drift) == 0 && drift == i);
    assert_string_equal(device_kind_name(DEVICE_TAP), "tap");
    assert_string_equal(route_type_name(ROUTE_PROHIBIT), "prohibit");
    assert_string_equal(worker_type_name(WORKER_NONE), "none");
    assert_string_equal(worker_type_name(WORKER_UDP), "udp");
    assert_string_equal(drift_policy_name(DRIFT_REPORT), "report");
    for (enum udp_header i = 0; i < UDP_HEADER_N; i++)
        assert_true(udp_header_parse(udp_header_name(i), &header) == 0 && header == i);
    assert_string_equal(udp_header_name(UDP_HEADER_GUE), "gue");
    assert_int_equal(udp_header_parse("fou", &header), -EINVAL);
    assert_string_equal(device_kind_name(DEVICE_KIND_N), "unknown");
    assert_int_equal(device_kind_parse("TUN", &kind), -EINVAL);
    assert_int_equal(device_kind_parse("", &kind), -EINVAL);
    assert_int_equal(route_type_parse("local", &type), -EINVAL);
    assert_int_equal(worker_type_parse("none", &worker), -EINVAL);
    assert_int_equal(drift_policy_parse("ignore", &drift), -EINVAL);
}

/* ---- compare, copy, edit ----------------------------------------------------------------------------------------- */

static void routes_compared(void **state)
{
    static const struct {
        const char *other;
        bool same_key, same, unattached;
    } cases[] = {
        {"{\"to\":\"10.0.0.0/8\"}", true, true, false},
        {"{\"to\":\"10.0.0.0/8\",\"via\":\"11.0.0.1\"}", true, false, false},
        {"{\"to\":\"10.0.0.0/8\",\"source\":\"11.0.0.1\"}", true, false, false},
        {"{\"to\":\"10.0.0.0/8\",\"type\":\"blackhole\"}", true, false, true},
        {"{\"to\":\"10.0.0.0/8\",\"type\":\"unreachable\"}", true, false, true},
        {"{\"to\":\"10.0.0.0/8\",\"type\":\"prohibit\"}", true, false, true},
        {"{\"to\":\"10.0.0.0/8\",\"metric\":1}", false, false, false},
        {"{\"to\":\"10.0.0.0/8\",\"table\":7}", false, false, false},
        {"{\"to\":\"10.0.0.0/9\"}", false, false, false},
        {"{\"to\":\"11.0.0.0/8\"}", false, false, false},
    };
    struct route route = route_of("{\"to\":\"10.0.0.0/8\"}");
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct route other = route_of(cases[i].other);
        if (route_key_equal(&route, &other) != cases[i].same_key || route_equal(&route, &other) != cases[i].same ||
            route_is_unattached(&other) != cases[i].unattached)
            fail_msg("%s", cases[i].other);
    }
}

/* Each field makes a difference, and a copy has them all. */
static void compared_and_copied(void **state)
{
    static const char *const texts[] = {
        TUN "}",
        "{\"name\":\"tun1\",\"kind\":\"tun\"}",
        "{\"name\":\"tun0\",\"kind\":\"tap\"}",
        TUN ",\"up\":false}",
        TUN ",\"mtu\":1400}",
        TUN ",\"txqueuelen\":999}",
        TUN ",\"queues\":2}",
        TUN ",\"owner\":0}",
        TUN ",\"group\":0}",
        TUN ",\"netns\":\"a\"}",
        TUN ",\"labels\":{\"a\":\"1\"}}",
        TUN ",\"labels\":{\"a\":\"2\"}}",
        TUN ",\"labels\":{\"b\":\"1\"}}",
        TUN ",\"addresses\":[\"10.0.0.1/8\"]}",
        TUN ",\"addresses\":[\"10.0.0.2/8\"]}",
        TUN ",\"addresses\":[\"10.0.0.1/8\",\"10.0.0.2/8\"]}",
        TUN ",\"addresses\":[\"10.0.0.2/8\",\"10.0.0.1/8\"]}",
        TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\"}]}",
        TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"via\":\"10.0.0.1\"}]}",
        TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\"},{\"to\":\"11.0.0.0/8\"}]}",
        TUN ",\"worker\":{\"type\":\"echo\"}}",
        TUN ",\"worker\":{\"type\":\"monitor\"}}",
        TUN ",\"drift\":\"report\"}",
        TAP "}",
        TAP ",\"mac\":\"02:00:00:00:00:01\"}",
        TAP ",\"mac\":\"02:00:00:00:00:02\"}",
        TAP ",\"master\":\"br0\"}",
    };
    struct device *devices[ARRAY_SIZE(texts)];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        devices[i] = device_of(texts[i]);
        CLEANUP(device_done) struct device *copy = device_copy(devices[i]);
        assert_non_null(copy);
        assert_true(device_equal(devices[i], copy));
        assert_true(!copy->routes || copy->routes != devices[i]->routes);
        for (size_t other = 0; other < i; other++) {
            if (device_equal(devices[i], devices[other]) || device_equal(devices[other], devices[i]))
                fail_msg("%s is %s", texts[i], texts[other]);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        device_free(devices[i]);
    device_free(NULL);
}

static void addresses_edited(void **state)
{
    struct ip_prefix first = prefix_of("10.0.0.1/8"), second = prefix_of("fd00::1/64"), third = prefix_of("10.0.0.1/9");
    struct err_list errors = {0};
    bool changed = false;
    (void)state;
    CLEANUP(device_done) struct device *device = device_of(TUN "}");
    CLEANUP(device_done)
    struct device *expected = device_of(TUN ",\"addresses\":[\"10.0.0.1/8\",\"fd00::1/64\",\"10.0.0.1/9\"]}");

    assert_int_equal(device_address_remove(device, &first), -ENOENT);
    assert_int_equal(device_address_add(device, &first, &changed), 0);
    assert_true(changed);
    assert_int_equal(device_address_add(device, &second, &changed), 0);
    assert_int_equal(device_address_add(device, &third, &changed), 0);
    assert_true(changed);
    assert_int_equal(device_address_add(device, &second, &changed), 0);
    assert_false(changed);
    assert_true(device_equal(device, expected));
    assert_int_equal(device_validate(device, &errors), 0);

    assert_int_equal(device_address_remove(device, &first), 0);
    assert_int_equal(device_address_remove(device, &first), -ENOENT);
    assert_int_equal(device->address_count, 2);
    assert_true(ip_prefix_equal(&device->addresses[0], &second));
    assert_int_equal(device_address_remove(device, &third), 0);
    assert_int_equal(device_address_remove(device, &second), 0);
    assert_int_equal(device->address_count, 0);
    CLEANUP(device_done) struct device *empty = device_of(TUN "}");
    CLEANUP(device_done) struct device *copy = device_copy(device);
    assert_true(device_equal(device, empty));
    assert_true(device_equal(copy, empty));
}

static void routes_edited(void **state)
{
    struct route first = route_of("{\"to\":\"10.0.0.0/8\"}");
    struct route through = route_of("{\"to\":\"10.0.0.0/8\",\"via\":\"11.0.0.1\"}");
    struct route second = route_of("{\"to\":\"11.0.0.0/8\"}");
    struct route six = route_of("{\"to\":\"fd00::/8\"}");
    bool changed = false;
    (void)state;
    CLEANUP(device_done) struct device *device = device_of(TUN "}");
    CLEANUP(device_done)
    struct device *expected = device_of(
        TUN
        ",\"routes\":[{\"to\":\"fd00::/8\"},{\"to\":\"11.0.0.0/8\"},{\"to\":\"10.0.0.0/8\",\"via\":\"11.0.0.1\"}]}");

    assert_int_equal(device_route_remove(device, &first), -ENOENT);
    six.metric = 0; /* what the kernel takes for 1024 */
    assert_int_equal(device_route_add(device, &six, &changed), 0);
    assert_true(changed);
    assert_int_equal(device_route_add(device, &second, &changed), 0);
    assert_int_equal(device_route_add(device, &first, &changed), 0);
    assert_true(changed);
    assert_int_equal(device_route_add(device, &first, &changed), 0);
    assert_false(changed);
    assert_int_equal(device_route_add(device, &through, &changed), 0);
    assert_true(changed);
    assert_int_equal(device->route_count, 3);
    assert_true(device_equal(device, expected));
    assert_int_equal(device_route_remove(device, &six), 0);
    assert_int_equal(device_route_remove(device, &first), 0); /* by its key */
    assert_int_equal(device->route_count, 1);
    assert_true(route_equal(&device->routes[0], &second));
    assert_int_equal(device_route_remove(device, &second), 0);
    assert_int_equal(device_route_remove(device, &second), -ENOENT);
    CLEANUP(device_done) struct device *empty = device_of(TUN "}");
    assert_true(device_equal(device, empty));
}

/* After an edit the rules are asked again: of the entries, and between them. */
static void validated_after_an_edit(void **state)
{
    struct err_list errors = {0};
    struct route route = {.to = prefix_of("10.0.0.1/8"), .table = 255, .type = ROUTE_BLACKHOLE};
    struct ip_prefix any = prefix_of("0.0.0.0/8"), six = prefix_of("fd00::1/64"), six_again = prefix_of("fd00::1/65");
    bool changed;
    (void)state;
    CLEANUP(device_done) struct device *device = device_of(TUN ",\"mtu\":1200}");

    assert_int_equal(device_validate(device, &errors), 0);
    assert_int_equal(ip_addr_parse("10.0.0.2", &route.via), 0);
    assert_int_equal(device_address_add(device, &any, &changed), 0);
    assert_int_equal(device_address_add(device, &six, &changed), 0);
    assert_int_equal(device_address_add(device, &six_again, &changed), 0);
    assert_int_equal(device_route_add(device, &route, &changed), 0);
    device->worker.type = WORKER_UDP;
    assert_int_equal(endpoint_parse("10.0.0.1:1", &device->worker.udp.local), 0);
    device->worker.udp.remote = device->worker.udp.local;
    assert_int_equal(device_validate(device, &errors), -EINVAL);
    CLEANUP(text_done) char *found = faults_of(&errors);
    assert_string_equal(found,
                        "invalid_address /addresses/0; host_bits_set /routes/0/to; out_of_range /routes/0/table; "
                        "incompatible /routes/0/via; incompatible /worker/remote; incompatible /addresses/1; "
                        "incompatible /addresses/2; duplicate /addresses/2");
}

static void limits_after_an_edit(void **state)
{
    struct err_list errors = {0};
    bool changed;
    (void)state;
    CLEANUP(device_done) struct device *device = device_of(TUN "}");
    for (unsigned i = 0; i <= DEVICE_ADDRESSES_MAX; i++) {
        struct ip_prefix address = prefix_of("10.0.0.1/32");
        assert_int_equal(device_validate(device, &errors), 0);
        address.addr.bytes[1] = (uint8_t)(i >> 8);
        address.addr.bytes[2] = (uint8_t)i;
        assert_int_equal(device_address_add(device, &address, &changed), 0);
        assert_true(changed);
    }
    assert_int_equal(device_validate(device, &errors), -EINVAL);
    assert_int_equal(errors.items[0].code, ERR_LIMIT_EXCEEDED);
    assert_string_equal(errors.items[0].pointer, "/addresses");
}

static void derived_macs(void **state)
{
    struct uuid uuid = {.bytes = {[9] = 0x11, [10] = 0xff, [11] = 1, [12] = 2, [13] = 3, [14] = 4, [15] = 5}};
    static const uint8_t expected[6] = {0xfe, 1, 2, 3, 4, 5}, lowest[6] = {0x02, 1, 2, 3, 4, 5};
    uint8_t mac[6];
    (void)state;
    device_derived_mac(&uuid, mac);
    assert_memory_equal(mac, expected, 6);
    uuid.bytes[10] = 0;
    device_derived_mac(&uuid, mac);
    assert_memory_equal(mac, lowest, 6);
}

static void default_mtus(void **state)
{
    static const struct {
        const char *text;
        uint32_t mtu;
    } cases[] = {
        {TUN "}", 1500},
        {TAP "}", 1500},
        {TUN ",\"worker\":{\"type\":\"monitor\"}}", 1500},
        {TAP ",\"worker\":{\"type\":\"echo\"}}", 1500},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"10.0.0.2:1\"}}", 1472},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"[fd00::1]:1\",\"remote\":\"[fd00::2]:1\"}}", 1452},
        {TAP ",\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"10.0.0.2:1\"}}", 1458},
        {TAP ",\"mtu\":null,\"worker\":{\"type\":\"udp\",\"local\":\"[::]:1\",\"remote\":\"[fd00::2]:1\"}}", 1438},
        {TUN ",\"mtu\":1500,\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"10.0.0.2:1\"}}", 1500},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"10.0.0.2:1\",\"header\":\"gue\"}}",
         1460},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"[::]:1\",\"remote\":\"[fd00::2]:1\",\"header\":\"gue\"}}",
         1440},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(device_done) struct device *device = device_of(cases[i].text);
        if (device->mtu != cases[i].mtu)
            fail_msg("%s: %u", cases[i].text, (unsigned)device->mtu);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_names),
        cmocka_unit_test(netns_names),
        cmocka_unit_test(words),
        cmocka_unit_test(routes_compared),
        cmocka_unit_test(compared_and_copied),
        cmocka_unit_test(addresses_edited),
        cmocka_unit_test(routes_edited),
        cmocka_unit_test(validated_after_an_edit),
        cmocka_unit_test(limits_after_an_edit),
        cmocka_unit_test(derived_macs),
        cmocka_unit_test(default_mtus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

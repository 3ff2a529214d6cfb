/* SPDX-License-Identifier: Apache-2.0 */
/* The device document as JSON: good and bad values of every field, what they become, and what is said of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "device_text.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- documents that are right ------------------------------------------------------------------------------------ */

static void defaults(void **state)
{
    static const char expected[] =
        "{\"name\":\"tun0\",\"kind\":\"tun\",\"up\":true,\"mtu\":1500,\"txqueuelen\":1000,\"queues\":1,\"mac\":null,"
        "\"owner\":null,\"group\":null,\"netns\":null,\"master\":null,\"labels\":{},\"addresses\":[],\"routes\":[],"
        "\"worker\":null,\"drift\":\"repair\"}";
    (void)state;
    CLEANUP(device_done) struct device *device = device_of(TUN "}");
    CLEANUP(text_done) char *printed = device_print(device);
    assert_string_equal(printed, expected);
    assert_int_equal(device->owner, OWNER_NONE);
    assert_int_equal(device->group, OWNER_NONE);
    assert_null(device->labels);
    assert_null(device->addresses);
    assert_null(device->routes);
    assert_int_equal(device->worker.type, WORKER_NONE);
}

/* An udp worker that is not closed yet, and what a document says of one where nothing else was said. */
#define UDP ",\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"10.0.0.2:1\""
#define UDP_REST                                                                                                       \
    "\"header\":\"none\",\"mark\":null,\"interface\":null,\"offload\":{\"tso\":true,\"uso\":true,\"merge\":true,"      \
    "\"udp_segment\":true,\"udp_gro\":true,\"checksum\":true}"

/* What is said in a document, and how the normalised one says it. */
static void normalised(void **state)
{
    static const struct {
        const char *given, *printed;
    } cases[] = {
        {TUN ",\"up\":false}", "\"up\":false"},
        {TUN ",\"mtu\":68}", "\"mtu\":68,"},
        {TUN ",\"mtu\":65535}", "\"mtu\":65535,"},
        {TAP ",\"mtu\":65521}", "\"mtu\":65521,"},
        {TUN ",\"mtu\":null}", "\"mtu\":1500,"},
        {TUN ",\"mtu\":1.4e3}", "\"mtu\":1400,"},
        {TUN ",\"mtu\":1400.0}", "\"mtu\":1400,"},
        {TUN ",\"txqueuelen\":1}", "\"txqueuelen\":1,"},
        {TUN ",\"txqueuelen\":1000000}", "\"txqueuelen\":1000000,"},
        {TUN ",\"queues\":16}", "\"queues\":16,"},
        {TAP ",\"mac\":\"02:AB:cd:00:00:0F\"}", "\"mac\":\"02:ab:cd:00:00:0f\""},
        {TUN ",\"mac\":null,\"master\":null,\"netns\":null,\"owner\":null,\"group\":null,\"worker\":null}",
         "\"mac\":null"},
        {TUN ",\"owner\":0}", "\"owner\":0,\"group\":null"},
        {TUN ",\"group\":4294967294}", "\"owner\":null,\"group\":4294967294"},
        {TUN ",\"netns\":\"blue\"}", "\"netns\":\"blue\""},
        {TAP ",\"master\":\"br0\"}", "\"master\":\"br0\""},
        {TUN ",\"labels\":{\"b\":\"2\",\"a\":\"\",\"B\":\"\xc3\xbc \\\"x\\\"\"}}",
         "\"labels\":{\"B\":\"\xc3\xbc \\\"x\\\"\",\"a\":\"\",\"b\":\"2\"}"},
        {TUN ",\"addresses\":[\"192.168.3.11/24\",\"FD00:3:0::11/64\",\"10.0.0.1/32\",\"192.168.3.11/25\"]}",
         "\"addresses\":[\"192.168.3.11/24\",\"fd00:3::11/64\",\"10.0.0.1/32\",\"192.168.3.11/25\"]"},
        {TUN ",\"mtu\":1280,\"addresses\":[\"fd00::1/64\"]}", "\"fd00::1/64\""},
        {TUN ",\"mtu\":1279,\"routes\":[{\"to\":\"2001:db8::/32\",\"type\":\"blackhole\"}]}", "\"blackhole\""},
        {TUN ",\"routes\":[{\"to\":\"10.9.0.0/16\"}]}",
         "\"routes\":[{\"to\":\"10.9.0.0/16\",\"via\":null,\"metric\":0,\"table\":254,\"type\":\"unicast\","
         "\"source\":null}]"},
        {TUN ",\"routes\":[{\"to\":\"::/0\",\"via\":\"fd00::1\",\"metric\":0,\"source\":\"fd00::2\"}]}",
         "\"routes\":[{\"to\":\"::/0\",\"via\":\"fd00::1\",\"metric\":1024,\"table\":254,\"type\":\"unicast\","
         "\"source\":\"fd00::2\"}]"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"via\":null,\"metric\":null,\"source\":null,\"table\":4294967295,"
             "\"type\":\"prohibit\"}]}",
         "\"metric\":0,\"table\":4294967295,\"type\":\"prohibit\""},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"metric\":4294967295}]}", "\"metric\":4294967295,"},
        {TUN ",\"worker\":{\"type\":\"monitor\"}}", "\"worker\":{\"type\":\"monitor\",\"log_rate\":10}"},
        {TUN ",\"worker\":{\"log_rate\":0,\"type\":\"monitor\"}}", "\"worker\":{\"type\":\"monitor\",\"log_rate\":0}"},
        {TUN ",\"worker\":{\"type\":\"monitor\",\"log_rate\":1000}}", "\"log_rate\":1000}"},
        {TUN ",\"worker\":{\"type\":\"echo\"}}", "\"worker\":{\"type\":\"echo\"}"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"remote\":\"10.33.0.1:5000\",\"local\":\"10.32.0.11:5000\"}}",
         "\"worker\":{\"type\":\"udp\",\"local\":\"10.32.0.11:5000\",\"remote\":\"10.33.0.1:5000\"," UDP_REST "}"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"[::]:1\",\"remote\":\"[2001:db8::1]:65535\"}}",
         "\"worker\":{\"type\":\"udp\",\"local\":\"[::]:1\",\"remote\":\"[2001:db8::1]:65535\"," UDP_REST "}"},
        {TUN UDP ",\"header\":\"none\",\"mark\":null,\"interface\":null,\"offload\":{}}}", UDP_REST},
        {TUN UDP ",\"header\":\"gue\"}}", "\"header\":\"gue\","},
        {TUN UDP ",\"mark\":1}}", "\"mark\":1,"},
        {TUN UDP ",\"mark\":4294967295}}", "\"mark\":4294967295,"},
        {TUN UDP ",\"interface\":\"eth0.100@x\"}}", "\"interface\":\"eth0.100@x\","},
        {TUN UDP ",\"interface\":\"123456789012345\"}}", "\"interface\":\"123456789012345\","},
        {TUN UDP ",\"interface\":\"lo\"}}", "\"interface\":\"lo\","},
        {TUN UDP ",\"offload\":{\"uso\":false}}}", "\"offload\":{\"tso\":true,\"uso\":false,\"merge\":true,"},
        {TUN UDP ",\"offload\":{\"checksum\":false,\"tso\":false,\"udp_segment\":false,\"merge\":false,"
                 "\"udp_gro\":false}}}",
         "\"offload\":{\"tso\":false,\"uso\":true,\"merge\":false,\"udp_segment\":false,\"udp_gro\":false,"
         "\"checksum\":false}}"},
        {TUN ",\"netns\":\"blue\"" UDP ",\"interface\":\"tun0\"}}", "\"interface\":\"tun0\","},
        {TUN ",\"queues\":16,\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:65520\",\"remote\":\"10.0.0.2:"
             "65520\"}}",
         "\"local\":\"10.0.0.1:65520\""},
        {TUN ",\"queues\":4,\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:5\",\"remote\":\"10.0.0.1:1\"}}",
         "\"remote\":\"10.0.0.1:1\""},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"127.0.0.1:1\",\"remote\":\"127.0.0.1:2\"}}", "127.0.0.1:2"},
        {TUN ",\"drift\":\"report\"}", "\"drift\":\"report\""},
        {TUN ",\"status\":{\"state\":\"ready\",\"x\":[1]}}", "\"name\":\"tun0\""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(device_done) struct device *device = device_of(cases[i].given);
        CLEANUP(text_done) char *printed = device_print(device);
        if (!strstr(printed, cases[i].printed))
            fail_msg("%s\n  became %s\n  without %s", cases[i].given, printed, cases[i].printed);
        if (strstr(printed, "status"))
            fail_msg("%s keeps its status", cases[i].given);
        CLEANUP(device_done) struct device *again = device_of(printed);
        CLEANUP(text_done) char *printed_again = device_print(again);
        assert_true(device_equal(device, again));
        assert_string_equal(printed, printed_again);
    }
}

/* Two documents that mean the same are the same: routes in any order, fields in any order, defaults said or not. */
static void same_meaning(void **state)
{
    (void)state;
    CLEANUP(device_done)
    struct device *a =
        device_of("{\"name\":\"tun0\",\"kind\":\"tun\",\"routes\":[{\"to\":\"10.2.0.0/16\",\"via\":\"10.1.0.1\"},"
                  "{\"to\":\"10.1.0.0/24\"},{\"to\":\"fd00::/64\"},{\"to\":\"10.1.0.0/16\",\"table\":7},"
                  "{\"to\":\"10.1.0.0/16\",\"metric\":5},{\"to\":\"10.1.0.0/16\"}]}");
    CLEANUP(device_done)
    struct device *b = device_of(
        "{\"routes\":[{\"metric\":0,\"to\":\"10.1.0.0/16\"},{\"to\":\"10.1.0.0/16\",\"table\":7,\"via\":null},"
        "{\"to\":\"10.1.0.0/16\",\"metric\":5},{\"to\":\"10.2.0.0/16\",\"via\":\"10.1.0.1\"},"
        "{\"to\":\"fd00:0::/64\",\"metric\":1024,\"table\":254},{\"to\":\"10.1.0.0/24\",\"type\":\"unicast\"}],"
        "\"up\":true,\"kind\":\"tun\",\"name\":\"tun0\",\"mtu\":1500}");
    CLEANUP(text_done) char *a_printed = device_print(a);
    CLEANUP(text_done) char *b_printed = device_print(b);
    assert_true(device_equal(a, b));
    assert_string_equal(a_printed, b_printed);
    /* The gateway's own route comes before the one through it. */
    for (size_t i = 0; i + 1 < a->route_count; i++)
        assert_int_equal(a->routes[i].via.family, 0);
    assert_int_not_equal(a->routes[a->route_count - 1].via.family, 0);
}

/* ---- documents that are wrong ------------------------------------------------------------------------------------ */

static void faults(void **state)
{
    static const struct {
        const char *given, *faults;
    } cases[] = {
        {"", "invalid_json "},
        {"{", "invalid_json "},
        {"{\"kind\":\"tun\",\"kind\":\"tap\"}", "invalid_json "},
        {"[]", "wrong_type "},
        {"null", "wrong_type "},
        {"\"tun0\"", "wrong_type "},
        {"{}", "missing_field /kind; missing_field /name"},
        {"{\"name\":\"tun0\"}", "missing_field /kind"},
        {"{\"kind\":\"tun\"}", "missing_field /name"},
        /* members that are not there */
        {TUN ",\"Mtu\":1500}", "unknown_field /Mtu"},
        {TUN ",\"KIND\":\"tun\",\"\":1}", "unknown_field /KIND; unknown_field /"},
        {TUN ",\"a/b~c\":1}", "unknown_field /a~1b~0c"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"status\":1}]}", "unknown_field /routes/0/status"},
        /* name, kind */
        {"{\"name\":\"\",\"kind\":\"tun\"}", "invalid_name /name"},
        {"{\"name\":\"a234567890123456\",\"kind\":\"tun\"}", "invalid_name /name"},
        {"{\"name\":\"a/b\",\"kind\":\"tun\"}", "invalid_name /name"},
        {"{\"name\":\"..\",\"kind\":\"tun\"}", "invalid_name /name"},
        {"{\"name\":\"tun%n\",\"kind\":\"tun\"}", "invalid_name /name"},
        {"{\"name\":\"tun%d\",\"kind\":\"tun\"}", "invalid_name /name"},
        {"{\"name\":\"a b\\u0007\\u00fc\",\"kind\":\"tun\"}", "invalid_name /name"},
        {"{\"name\":\"lo\",\"kind\":\"tun\"}", "invalid_name /name"},
        {"{\"name\":null,\"kind\":\"tun\"}", "wrong_type /name"},
        {"{\"name\":7,\"kind\":\"tun\"}", "wrong_type /name"},
        {"{\"name\":\"x\",\"kind\":\"TUN\"}", "invalid_value /kind"},
        {"{\"name\":\"x\",\"kind\":\"\"}", "invalid_value /kind"},
        {"{\"name\":\"x\",\"kind\":null}", "wrong_type /kind"},
        {"{\"name\":\"x\",\"kind\":true}", "wrong_type /kind"},
        /* plain fields */
        {TUN ",\"up\":null}", "wrong_type /up"},
        {TUN ",\"up\":\"true\"}", "wrong_type /up"},
        {TUN ",\"up\":1}", "wrong_type /up"},
        {TUN ",\"mtu\":67}", "out_of_range /mtu"},
        {TUN ",\"mtu\":65536}", "out_of_range /mtu"},
        {TAP ",\"mtu\":65522}", "out_of_range /mtu"},
        {TUN ",\"mtu\":-1}", "out_of_range /mtu"},
        {TUN ",\"mtu\":0}", "out_of_range /mtu"},
        {TUN ",\"mtu\":1e300}", "out_of_range /mtu"},
        {TUN ",\"mtu\":-1e300}", "out_of_range /mtu"},
        {TUN ",\"mtu\":4294968796}", "out_of_range /mtu"},
        {TUN ",\"mtu\":1500.5}", "wrong_type /mtu"},
        {TUN ",\"mtu\":\"1500\"}", "wrong_type /mtu"},
        {TUN ",\"mtu\":[1500]}", "wrong_type /mtu"},
        {TUN ",\"mtu\":false}", "wrong_type /mtu"},
        {TUN ",\"txqueuelen\":0}", "out_of_range /txqueuelen"},
        {TUN ",\"txqueuelen\":1000001}", "out_of_range /txqueuelen"},
        {TUN ",\"txqueuelen\":null}", "wrong_type /txqueuelen"},
        {TUN ",\"queues\":0}", "out_of_range /queues"},
        {TUN ",\"queues\":17}", "out_of_range /queues"},
        {TUN ",\"queues\":1.1}", "wrong_type /queues"},
        {TUN ",\"owner\":4294967295}", "out_of_range /owner"},
        {TUN ",\"owner\":-1}", "out_of_range /owner"},
        {TUN ",\"owner\":\"root\"}", "wrong_type /owner"},
        {TUN ",\"group\":4294967295}", "out_of_range /group"},
        {TUN ",\"group\":{}}", "wrong_type /group"},
        {TUN ",\"netns\":\"\"}", "invalid_name /netns"},
        {TUN ",\"netns\":\"../a\"}", "invalid_name /netns"},
        {TUN ",\"netns\":1}", "wrong_type /netns"},
        {TUN ",\"drift\":\"ignore\"}", "invalid_value /drift"},
        {TUN ",\"drift\":null}", "wrong_type /drift"},
        /* mac and master are tap's */
        {TAP ",\"mac\":\"\"}", "invalid_address /mac"},
        {TAP ",\"mac\":\"02:00:00:00:00\"}", "invalid_address /mac"},
        {TAP ",\"mac\":\"02:00:00:00:00:0g\"}", "invalid_address /mac"},
        {TAP ",\"mac\":\"02-00-00-00-00-01\"}", "invalid_address /mac"},
        {TAP ",\"mac\":\"02:00:00:00:00:01 \"}", "invalid_address /mac"},
        {TAP ",\"mac\":\"00:00:00:00:00:00\"}", "invalid_address /mac"},
        {TAP ",\"mac\":\"01:00:5e:00:00:01\"}", "invalid_address /mac"},
        {TAP ",\"mac\":\"ff:ff:ff:ff:ff:ff\"}", "invalid_address /mac"},
        {TAP ",\"mac\":2}", "wrong_type /mac"},
        {TUN ",\"mac\":\"02:00:00:00:00:01\"}", "incompatible /mac"},
        {TAP ",\"master\":\"br/0\"}", "invalid_name /master"},
        {TAP ",\"master\":\"br%d\"}", "invalid_name /master"},
        {TAP ",\"master\":\"\"}", "invalid_name /master"},
        {TAP ",\"master\":\"tap0\"}", "incompatible /master"},
        {TUN ",\"master\":\"br0\"}", "incompatible /master"},
        /* labels */
        {TUN ",\"labels\":null}", "wrong_type /labels"},
        {TUN ",\"labels\":[\"a\"]}", "wrong_type /labels"},
        {TUN ",\"labels\":{\"a\":1,\"b\":null}}", "wrong_type /labels/a; wrong_type /labels/b"},
        {TUN ",\"labels\":{\"\":\"x\"}}", "invalid_name /labels/"},
        {TUN ",\"labels\":{\"a/b\":\"x\",\"-c\":2}}",
         "invalid_name /labels/a~1b; invalid_name /labels/-c; wrong_type /labels/-c"},
        {TUN ",\"labels\":{\"" REPEAT_64("k") "\":\"x\"}}", "invalid_name /labels/" REPEAT_64("k")},
        {TUN ",\"labels\":{\"a\":\"" REPEAT_4(REPEAT_64("v")) "\"}}", "invalid_value /labels/a"},
        {TUN ",\"labels\":{\"a\":\"x\\ny\"}}", "invalid_value /labels/a"},
        {TUN ",\"labels\":{\"a\":\"\x7f\"}}", "invalid_value /labels/a"},
        {TUN ",\"labels\":{\"a\":\"\\u0085\"}}", "invalid_value /labels/a"},
        /* addresses */
        {TUN ",\"addresses\":null}", "wrong_type /addresses"},
        {TUN ",\"addresses\":\"10.0.0.1/8\"}", "wrong_type /addresses"},
        {TUN ",\"addresses\":[null,7,{}]}",
         "wrong_type /addresses/0; wrong_type /addresses/1; wrong_type /addresses/2"},
        {TUN ",\"addresses\":[\"10.0.0.1\"]}", "invalid_address /addresses/0"},
        {TUN ",\"addresses\":[\"10.0.0.1/33\"]}", "invalid_address /addresses/0"},
        {TUN ",\"addresses\":[\"10.0.0.1/0\",\"fd00::1/0\"]}",
         "invalid_address /addresses/0; invalid_address /addresses/1"},
        {TUN ",\"addresses\":[\"0.0.0.0/8\",\"::/64\"]}", "invalid_address /addresses/0; invalid_address /addresses/1"},
        {TUN ",\"addresses\":[\"224.0.0.1/8\",\"ff02::1/64\"]}",
         "invalid_address /addresses/0; invalid_address /addresses/1"},
        {TUN ",\"addresses\":[\"255.255.255.255/32\"]}", "invalid_address /addresses/0"},
        {TUN ",\"addresses\":[\"::ffff:10.0.0.1/96\"]}", "invalid_address /addresses/0"},
        {TUN ",\"addresses\":[\"10.0.0.1/8\",\"10.0.0.2/8\",\"10.0.0.1/8\"]}", "duplicate /addresses/2"},
        {TUN ",\"addresses\":[\"fd00::1/64\",\"fd00:0::1/128\"]}", "duplicate /addresses/1"},
        {TUN ",\"mtu\":1279,\"addresses\":[\"10.0.0.1/8\",\"fd00::1/64\"]}", "incompatible /addresses/1"},
        /* routes */
        {TUN ",\"routes\":{}}", "wrong_type /routes"},
        {TUN ",\"routes\":[\"10.0.0.0/8\",null]}", "wrong_type /routes/0; wrong_type /routes/1"},
        {TUN ",\"routes\":[{}]}", "missing_field /routes/0/to"},
        {TUN ",\"routes\":[{\"to\":null}]}", "wrong_type /routes/0/to"},
        {TUN ",\"routes\":[{\"to\":\"default\"}]}", "invalid_address /routes/0/to"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.1\"}]}", "invalid_address /routes/0/to"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.1/8\"}]}", "host_bits_set /routes/0/to"},
        {TUN ",\"routes\":[{\"to\":\"fd00::1/64\"}]}", "host_bits_set /routes/0/to"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"via\":\"10.0.0.256\"}]}", "invalid_address /routes/0/via"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"via\":\"0.0.0.0\"}]}", "invalid_address /routes/0/via"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"via\":\"224.0.0.1\"}]}", "invalid_address /routes/0/via"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"via\":\"fd00::1\"}]}", "incompatible /routes/0/via"},
        {TUN ",\"routes\":[{\"to\":\"fd00::/8\",\"via\":\"10.0.0.1\",\"source\":\"10.0.0.2\"}]}",
         "incompatible /routes/0/via; incompatible /routes/0/source"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"source\":\"::\"}]}", "invalid_address /routes/0/source"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"source\":\"224.0.0.1\"}]}", "invalid_address /routes/0/source"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"source\":5}]}", "wrong_type /routes/0/source"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"metric\":-1}]}", "out_of_range /routes/0/metric"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"metric\":4294967296}]}", "out_of_range /routes/0/metric"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"table\":0}]}", "out_of_range /routes/0/table"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"table\":255}]}", "out_of_range /routes/0/table"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"table\":4294967296}]}", "out_of_range /routes/0/table"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"table\":\"main\"}]}", "wrong_type /routes/0/table"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"table\":null}]}", "wrong_type /routes/0/table"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"type\":\"local\"}]}", "invalid_value /routes/0/type"},
        {TUN
         ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"type\":\"blackhole\",\"via\":\"10.0.0.1\",\"source\":\"10.0.0.2\"}]}",
         "incompatible /routes/0/via; incompatible /routes/0/source"},
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\",\"type\":\"unreachable\",\"via\":\"fd00::1\"}]}",
         "incompatible /routes/0/via"},
        {TUN
         ",\"routes\":[{\"to\":\"10.0.0.0/8\"},{\"to\":\"11.0.0.0/8\"},{\"to\":\"10.0.0.0/8\",\"via\":\"11.0.0.1\"}]}",
         "duplicate /routes/2"},
        {TUN ",\"routes\":[{\"to\":\"fd00::/8\",\"metric\":1024},{\"to\":\"fd00::/8\",\"type\":\"blackhole\"}]}",
         "duplicate /routes/1"},
        {TUN ",\"mtu\":1279,\"routes\":[{\"to\":\"10.0.0.0/8\"},{\"to\":\"fd00::/8\"}]}", "incompatible /routes/1"},
        /* a wrong route is nobody's twin */
        {TUN ",\"routes\":[{\"to\":\"10.0.0.0/8\"},{\"to\":\"10.0.0.0/8\",\"table\":\"x\"}]}",
         "wrong_type /routes/1/table"},
        /* workers */
        {TUN ",\"worker\":\"echo\"}", "wrong_type /worker"},
        {TUN ",\"worker\":{}}", "missing_field /worker/type"},
        {TUN ",\"worker\":{\"type\":null}}", "wrong_type /worker/type"},
        {TUN ",\"worker\":{\"type\":\"none\"}}", "invalid_value /worker/type"},
        {TUN ",\"worker\":{\"type\":\"xdp\",\"log_rate\":1,\"x\":2}}", "invalid_value /worker/type"},
        {TUN ",\"worker\":{\"type\":\"echo\",\"log_rate\":1}}", "unknown_field /worker/log_rate"},
        {TUN ",\"worker\":{\"type\":\"monitor\",\"local\":\"10.0.0.1:1\"}}", "unknown_field /worker/local"},
        {TUN ",\"worker\":{\"type\":\"monitor\",\"log_rate\":1001}}", "out_of_range /worker/log_rate"},
        {TUN ",\"worker\":{\"type\":\"monitor\",\"log_rate\":null}}", "wrong_type /worker/log_rate"},
        {TUN ",\"worker\":{\"type\":\"udp\"}}", "missing_field /worker/local; missing_field /worker/remote"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1\",\"remote\":7,\"log_rate\":1}}",
         "invalid_address /worker/local; wrong_type /worker/remote; unknown_field /worker/log_rate"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":null,\"remote\":\"10.0.0.2:1\"}}", "wrong_type /worker/local"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:0\",\"remote\":\"h:1\"}}",
         "invalid_address /worker/local; invalid_address /worker/remote"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"0.0.0.0:1\"}}",
         "invalid_address /worker/remote"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"[::]:1\",\"remote\":\"[::]:2\"}}",
         "invalid_address /worker/remote"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"224.0.0.1:1\",\"remote\":\"224.0.0.1:2\"}}",
         "invalid_address /worker/local; invalid_address /worker/remote"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"255.255.255.255:1\"}}",
         "invalid_address /worker/remote"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"[fe80::1]:1\",\"remote\":\"[fe80::2]:1\"}}",
         "invalid_address /worker/local; invalid_address /worker/remote"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"[fd00::2]:1\"}}",
         "incompatible /worker/remote"},
        {TUN ",\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"10.0.0.1:1\"}}",
         "incompatible /worker/remote"},
        {TUN UDP ",\"header\":null}}", "wrong_type /worker/header"},
        {TUN UDP ",\"header\":\"GUE\"}}", "invalid_value /worker/header"},
        {TAP UDP ",\"header\":\"gue\"}}", "incompatible /worker/header"},
        {TUN UDP ",\"mark\":0}}", "out_of_range /worker/mark"},
        {TUN UDP ",\"mark\":4294967296}}", "out_of_range /worker/mark"},
        {TUN UDP ",\"mark\":1.5}}", "wrong_type /worker/mark"},
        {TUN UDP ",\"mark\":\"0x1\"}}", "wrong_type /worker/mark"},
        {TUN UDP ",\"interface\":\"\"}}", "invalid_name /worker/interface"},
        {TUN UDP ",\"interface\":\"1234567890123456\"}}", "invalid_name /worker/interface"},
        {TUN UDP ",\"interface\":\"..\"}}", "invalid_name /worker/interface"},
        {TUN UDP ",\"interface\":\"-x\"}}", "invalid_name /worker/interface"},
        {TUN UDP ",\"interface\":\"a/b\"}}", "invalid_name /worker/interface"},
        {TUN UDP ",\"interface\":\"a b\"}}", "invalid_name /worker/interface"},
        {TUN UDP ",\"interface\":7}}", "wrong_type /worker/interface"},
        {TUN UDP ",\"interface\":\"tun0\"}}", "incompatible /worker/interface"},
        {TUN UDP ",\"offload\":null}}", "wrong_type /worker/offload"},
        {TUN UDP ",\"offload\":true}}", "wrong_type /worker/offload"},
        {TUN UDP ",\"offload\":{\"tso\":1,\"lro\":true,\"merge\":null}}}",
         "wrong_type /worker/offload/tso; unknown_field /worker/offload/lro; wrong_type /worker/offload/merge"},
        {TUN ",\"queues\":2,\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:65535\",\"remote\":\"10.0.0.2:"
             "65535\"}}",
         "out_of_range /worker/local; out_of_range /worker/remote"},
        {TUN ",\"queues\":16,\"worker\":{\"type\":\"udp\",\"local\":\"[::]:1\",\"remote\":\"[fd00::1]:65521\"}}",
         "out_of_range /worker/remote"},
        {TUN ",\"queues\":4,\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:4\",\"remote\":\"10.0.0.1:1\"}}",
         "incompatible /worker/remote"},
        /* an unknown kind leaves the rules that hang on it alone, and no others */
        {"{\"name\":\"x\",\"kind\":\"veth\",\"mac\":\"02:00:00:00:00:01\",\"master\":\"br0\",\"mtu\":65535,"
         "\"addresses\":[\"10.0.0.1/8\",\"10.0.0.1/8\"]}",
         "invalid_value /kind; duplicate /addresses/1"},
        /* all at once, in the document's order, and then what is between fields */
        {"{\"mtu\":1000,\"name\":\"a b\",\"x\":1,\"up\":3,\"mac\":\"02:00:00:00:00:01\",\"kind\":\"tun\","
         "\"addresses\":[\"fd00::1/64\",\"x\"]}",
         "invalid_name /name; unknown_field /x; wrong_type /up; invalid_address /addresses/1; incompatible /mac; "
         "incompatible /addresses/0"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err_list errors = {0};
        struct device *device = NULL;
        int result = device_parse(cases[i].given, strlen(cases[i].given), NULL, false, &device, &errors);
        CLEANUP(text_done) char *found = faults_of(&errors);
        if (result != -EINVAL || strcmp(found, cases[i].faults) != 0)
            fail_msg("%s\n  gave %d: %s\n  not %s", cases[i].given, result, found, cases[i].faults);
        assert_null(device);
    }
}

static void names_from_the_path(void **state)
{
    static const struct {
        const char *given, *name;
        bool pattern;
        const char *faults, *result;
    } cases[] = {
        {"{\"kind\":\"tun\"}", "tun0", false, "", "tun0"},
        {TUN "}", "tun0", false, "", "tun0"},
        {TUN "}", NULL, true, "", "tun0"},
        {"{\"kind\":\"tun\",\"name\":\"tun%d\"}", NULL, true, "", "tun%d"},
        {TUN "}", "tun1", false, "incompatible /name", NULL},
        {"{\"kind\":\"tun\",\"name\":\"a b\"}", "tun1", false, "invalid_name /name", NULL},
        {"{\"kind\":\"tun\",\"name\":1}", "tun1", false, "wrong_type /name", NULL},
        {"{\"kind\":\"tun\"}", "a b", false, "invalid_name /name", NULL},
        {"{\"kind\":\"tun\"}", "tun%d", true, "invalid_name /name", NULL},
        {"{\"kind\":\"tun\"}", "", false, "invalid_name /name", NULL},
        {"{}", "tun0", false, "missing_field /kind", NULL},
        {"{\"kind\":\"tun\"}", NULL, true, "missing_field /name", NULL},
        {"{\"kind\":\"tun\",\"name\":\"%d\"}", NULL, true, "invalid_name /name", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err_list errors = {0};
        CLEANUP(device_done) struct device *device = NULL;
        int result =
            device_parse(cases[i].given, strlen(cases[i].given), cases[i].name, cases[i].pattern, &device, &errors);
        CLEANUP(text_done) char *found = faults_of(&errors);
        if (result != (cases[i].result ? 0 : -EINVAL) || strcmp(found, cases[i].faults) != 0)
            fail_msg("%s as %s gave %d: %s", cases[i].given, cases[i].name, result, found);
        if (cases[i].result)
            assert_string_equal(device->name, cases[i].result);
    }
}

/* What is shown of bad input is printable and short, and a pointer is cut at a whole character. */
static void messages_are_safe(void **state)
{
    static const char long_name[] = "{\"name\":\"\\u001b[31m\\u00fc" REPEAT_64("abcdefgh") "\",\"kind\":\"tun\"}";
    static const char long_member[] = TUN ",\"" REPEAT_64("\xe2\x82\xac") "ab\":1}"; /* ab would fit */
    struct err_list errors = {0};
    struct device *device = NULL;
    (void)state;

    assert_int_equal(device_parse(long_name, sizeof(long_name) - 1, NULL, false, &device, &errors), -EINVAL);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.items[0].message, "\"?[31m?abcdefgh"));
    assert_non_null(strstr(errors.items[0].message, "...\" is not a device name: 1 to 15"));
    assert_true(strlen(errors.items[0].message) < ERR_MESSAGE_MAX - 1);

    errors.count = 0;
    assert_int_equal(device_parse(long_member, sizeof(long_member) - 1, NULL, false, &device, &errors), -EINVAL);
    assert_int_equal(errors.count, 1);
    assert_int_equal(strlen(errors.items[0].pointer), 1 + 52 * 3);
    assert_true(utf8_is_valid(errors.items[0].pointer, strlen(errors.items[0].pointer)));
    /* The whole list of fields is there. */
    assert_non_null(strstr(errors.items[0].message, "name, kind, up"));
    assert_non_null(strstr(errors.items[0].message, "worker, drift"));
}

static void limits(void **state)
{
    static const struct {
        const char *field, *open, *item, *close;
        unsigned most;
    } cases[] = {
        {"labels", "{", "\"k%u\":\"v\"", "}", DEVICE_LABELS_MAX},
        {"addresses", "[", "\"10.0.0.%u/32\"", "]", DEVICE_ADDRESSES_MAX - 1},
        {"routes", "[", "{\"to\":\"10.0.0.0/8\",\"metric\":%u}", "]", DEVICE_ROUTES_MAX},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned more = 0; more < 2; more++) {
            struct err_list errors = {0};
            struct device *device = NULL;
            struct buf text = {0};
            buf_printf(&text, TUN ",\"%s\":%s", cases[i].field, cases[i].open);
            for (unsigned item = 0; item < cases[i].most + more; item++) {
                char number[16];
                const char *mark = strstr(cases[i].item, "%u");
                snprintf(number, sizeof(number), "%u", item);
                buf_add_text(&text, item > 0 ? "," : "");
                buf_add(&text, cases[i].item, (size_t)(mark - cases[i].item));
                buf_add_text(&text, number);
                buf_add_text(&text, mark + 2);
            }
            if (strcmp(cases[i].field, "addresses") == 0)
                buf_add_text(&text, ",\"11.0.0.0/32\""); /* 10.0.0.%u ends at 255 */
            buf_printf(&text, "%s}", cases[i].close);
            assert_false(text.failed);
            int result = device_parse(text.data, text.length, NULL, false, &device, &errors);
            CLEANUP(text_done) char *found = faults_of(&errors);
            char expected[64] = "";
            if (more > 0)
                snprintf(expected, sizeof(expected), "limit_exceeded /%s", cases[i].field);
            if (result != (more > 0 ? -EINVAL : 0) || strcmp(found, expected) != 0)
                fail_msg("%s and %u more gave %d: %s", cases[i].field, more, result, found);
            device_free(device);
            buf_done(&text);
        }
    }
}

/* More faults than the list holds are still faults. */
static void faults_beyond_the_list(void **state)
{
    struct err_list errors = {0};
    struct device *device = NULL;
    struct buf text = {0};
    (void)state;
    buf_add_text(&text, TUN ",\"addresses\":[1");
    for (int i = 0; i < 100; i++)
        buf_add_text(&text, ",1");
    buf_add_text(&text, "]}");
    assert_int_equal(device_parse(text.data, text.length, NULL, false, &device, &errors), -EINVAL);
    assert_int_equal(errors.count, ERR_LIST_MAX);
    errors.count = ERR_LIST_MAX;
    assert_int_equal(device_parse(text.data, text.length, NULL, false, &device, &errors), -EINVAL);
    assert_null(device);
    buf_done(&text);
}

/* ---- routes and workers by themselves ---------------------------------------------------------------------------- */

static void routes_alone(void **state)
{
    static const struct {
        const char *given, *to, *faults;
    } cases[] = {
        {"{\"to\":\"10.9.0.0/16\"}", NULL, ""},
        {"{}", "10.9.0.0/16", ""},
        {"{\"to\":\"10.9.0.0/16\",\"via\":\"10.0.0.1\"}", "10.9.0.0/16", ""},
        {"{}", NULL, "missing_field /to"},
        {"{\"to\":\"10.8.0.0/16\"}", "10.9.0.0/16", "incompatible /to"},
        {"{\"to\":\"10.9.0.0/17\"}", "10.9.0.0/16", "incompatible /to"},
        {"{}", "10.9.0.1/16", "host_bits_set /to"},
        {"{\"to\":7}", "10.9.0.0/16", "wrong_type /to"},
        {"{\"via\":\"fd00::1\"}", "10.9.0.0/16", "incompatible /via"},
        {"[]", "10.9.0.0/16", "wrong_type "},
        {"", "10.9.0.0/16", "invalid_json "},
        {"{\"metrik\":1,\"table\":255}", "10.9.0.0/16", "unknown_field /metrik; out_of_range /table"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err_list errors = {0};
        struct route route;
        struct ip_prefix to, expected = prefix_of("10.9.0.0/16");
        if (cases[i].to)
            to = prefix_of(cases[i].to);
        int result = route_parse(cases[i].given, strlen(cases[i].given), cases[i].to ? &to : NULL, &route, &errors);
        CLEANUP(text_done) char *found = faults_of(&errors);
        if (result != (cases[i].faults[0] == '\0' ? 0 : -EINVAL) || strcmp(found, cases[i].faults) != 0)
            fail_msg("%s to %s gave %d: %s", cases[i].given, cases[i].to, result, found);
        if (result == 0)
            assert_true(ip_prefix_equal(&route.to, &expected));
    }
    struct route six = route_of("{\"to\":\"fd00::/8\",\"metric\":0}");
    assert_int_equal(six.metric, 1024);
    cJSON *json = route_to_json(&six);
    CLEANUP(text_done) char *printed = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    assert_string_equal(printed, "{\"to\":\"fd00::/8\",\"via\":null,\"metric\":1024,\"table\":254,\"type\":\"unicast\","
                                 "\"source\":null}");
}

#define UDP_WORKER "{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"10.0.0.2:1\""

static void workers_alone(void **state)
{
    static const char *const texts[] = {
        "{\"type\":\"monitor\"}",
        "{\"type\":\"monitor\",\"log_rate\":11}",
        "{\"type\":\"echo\"}",
        "{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"10.0.0.2:1\"}",
        "{\"type\":\"udp\",\"local\":\"10.0.0.3:1\",\"remote\":\"10.0.0.2:1\"}",
        "{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"10.0.0.2:2\"}",
        UDP_WORKER ",\"header\":\"gue\"}",
        UDP_WORKER ",\"mark\":1}",
        UDP_WORKER ",\"mark\":2}",
        UDP_WORKER ",\"interface\":\"eth0\"}",
        UDP_WORKER ",\"interface\":\"eth1\"}",
        UDP_WORKER ",\"offload\":{\"tso\":false}}",
        UDP_WORKER ",\"offload\":{\"uso\":false}}",
        UDP_WORKER ",\"offload\":{\"merge\":false}}",
        UDP_WORKER ",\"offload\":{\"udp_segment\":false}}",
        UDP_WORKER ",\"offload\":{\"udp_gro\":false}}",
        UDP_WORKER ",\"offload\":{\"checksum\":false}}",
    };
    struct worker_config workers[ARRAY_SIZE(texts)], none = {.type = WORKER_NONE};
    struct err_list errors = {0};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_int_equal(worker_config_parse(texts[i], strlen(texts[i]), &workers[i], &errors), 0);
        assert_false(worker_config_equal(&workers[i], &none));
        for (size_t other = 0; other <= i; other++)
            assert_int_equal(worker_config_equal(&workers[i], &workers[other]), i == other);
    }
    assert_true(worker_config_equal(&none, &none));
    cJSON *json = worker_config_to_json(&none);
    assert_true(cJSON_IsNull(json));
    cJSON_Delete(json);

    struct worker_config untouched = {.type = WORKER_ECHO};
    assert_int_equal(worker_config_parse("null", 4, &untouched, &errors), -EINVAL);
    assert_int_equal(errors.items[0].code, ERR_WRONG_TYPE);
    assert_string_equal(errors.items[0].pointer, "");
    assert_int_equal(untouched.type, WORKER_ECHO);
    assert_int_equal(worker_config_parse("{\"type\":\"x\"}", 12, &untouched, &errors), -EINVAL);
    assert_string_equal(errors.items[1].pointer, "/type");
    assert_non_null(strstr(errors.items[1].message, "monitor, echo, udp"));
}

/* What cJSON is asked for may not be there: each allocation of reading and writing fails once. */
static size_t allocations_left;

static void *allocation_may_fail(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void memory_runs_out(void **state)
{
    static const char text[] =
        TUN ",\"labels\":{\"a\":\"1\",\"b\":\"2\"},\"addresses\":[\"10.0.0.1/8\",\"fd00::1/64\"],"
            "\"routes\":[{\"to\":\"10.0.0.0/8\",\"via\":\"10.0.0.2\"},{\"to\":\"fd00::/8\"}],"
            "\"worker\":{\"type\":\"udp\",\"local\":\"10.0.0.1:1\",\"remote\":\"10.0.0.2:1\"}}";
    cJSON_Hooks hooks = {.malloc_fn = allocation_may_fail, .free_fn = free};
    size_t failed = 0;
    (void)state;
    CLEANUP(device_done) struct device *expected = device_of(text);
    for (size_t allowed = 0;; allowed++) {
        struct err_list errors = {0};
        struct worker_spec spec;
        allocations_left = allowed;
        cJSON_InitHooks(&hooks);
        char *printed = device_print(expected);
        free(printed);
        allocations_left = allowed;
        bool built = worker_spec_build(expected, &spec) == 0;
        allocations_left = allowed;
        CLEANUP(device_done) struct device *device = NULL;
        int result = device_parse(text, sizeof(text) - 1, NULL, false, &device, &errors);
        cJSON_InitHooks(NULL);
        if (built)
            worker_spec_done(&spec);
        if (result == 0) {
            assert_true(device_equal(device, expected));
            if (printed)
                break;
            continue;
        }
        failed++;
        assert_int_equal(result, -ENOMEM);
        assert_int_equal(errors.items[0].code, ERR_OUT_OF_MEMORY);
    }
    assert_true(failed > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(normalised),
        cmocka_unit_test(same_meaning),
        cmocka_unit_test(faults),
        cmocka_unit_test(names_from_the_path),
        cmocka_unit_test(messages_are_safe),
        cmocka_unit_test(limits),
        cmocka_unit_test(faults_beyond_the_list),
        cmocka_unit_test(routes_alone),
        cmocka_unit_test(workers_alone),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

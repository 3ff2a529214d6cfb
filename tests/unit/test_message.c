/* SPDX-License-Identifier: Apache-2.0 */
/* The check at the privilege boundary: one good request for each operation, and what is wrong with each field. */
#include "tunwright/ipc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix result = {0};
    assert_int_equal(ip_prefix_parse(text, &result), 0);
    return result;
}

/* What goes with a devices_delete. */
static const struct ipc_device device_list[] = {{.name = "tun0", .uuid.bytes = {1}},
                                                {.name = "tun1", .uuid.bytes = {2}}};

/* A request that passes, with its text. */
static struct ipc_request good(enum ipc_op op, const char **ret_text)
{
    static const char config[] = "{\"worker\": {}}";
    struct ipc_request request;
    memset(&request, 0, sizeof request);
    request.magic = IPC_MAGIC;
    request.op = op;
    request.serial = 7;
    request.size = sizeof request;
    text_copy(request.device.name, sizeof request.device.name, "tun0");
    text_copy(request.device.netns, sizeof request.device.netns, "blue");
    memset(request.device.uuid.bytes, 0x11, sizeof request.device.uuid.bytes);
    *ret_text = NULL;
    switch (op) {
    case IPC_DEVICE_CREATE:
        request.create =
            (struct device_create){.kind = DEVICE_TAP, .queues = 2, .owner = OWNER_NONE, .has_mac = true, .mac = {2}};
        break;
    case IPC_LINK_SET:
        request.link = (struct link_settings){.set = LINK_MTU | LINK_TXQUEUELEN | LINK_MAC | LINK_MASTER | LINK_UP,
                                              .mtu = 1500,
                                              .txqueuelen = 1000,
                                              .mac = {2},
                                              .master = "br0",
                                              .up = true};
        break;
    case IPC_ADDRESS_ADD:
    case IPC_ADDRESS_DELETE:
        request.address = prefix("192.168.3.11/24");
        break;
    case IPC_DEVICE_ADOPT:
        request.adopt = (struct device_adopt){.kind = DEVICE_TAP, .queues = 2};
        break;
    case IPC_ROUTE_ADD:
    case IPC_ROUTE_DELETE:
        request.protocol = NET_PROTOCOL;
        request.route = (struct route){.to = prefix("10.9.0.0/16"),
                                       .via = prefix("192.168.3.1/32").addr,
                                       .metric = 100,
                                       .table = 254,
                                       .source = prefix("192.168.3.11/32").addr};
        break;
    case IPC_WORKER_START:
    case IPC_WORKER_CONFIGURE:
        request.worker = (struct ipc_worker_start){
            .program = "tunwright-worker", .queues = 2, .socket_spec_count = 1, .config_length = sizeof config - 1};
        request.worker.sockets[0] = (struct socket_spec){.type = SOCK_DGRAM,
                                                         .count = 2,
                                                         .local = {prefix("10.0.0.1/32").addr, 5000},
                                                         .mark = 7,
                                                         .interface = "eth0"};
        *ret_text = config;
        break;
    case IPC_DEVICES_DELETE:
        request.devices.count = ARRAY_SIZE(device_list);
        *ret_text = (const char *)device_list;
        break;
    case IPC_WORKER_CAPTURE:
        request.capture = (struct ipc_capture){.snaplen = 100, .program_length = 1};
        *ret_text = "12345678"; /* whatever it means */
        break;
    default:
        break;
    }
    return request;
}

static int check_text(const struct ipc_request *request, const char *text, size_t text_length, struct err *ret_err)
{
    const struct ipc_request *checked = NULL;
    const char *checked_text = NULL;
    /* exactly as long as the packet is, so that a sanitizer sees a read past its end */
    char *packet = malloc(sizeof *request + text_length);
    assert_non_null(packet);
    memcpy(packet, request, sizeof *request);
    if (text_length > 0)
        memcpy(packet + sizeof *request, text, text_length);
    int result = ipc_request_check(packet, sizeof *request + text_length, &checked, &checked_text, ret_err);
    if (result == 0) {
        assert_ptr_equal(checked, packet);
        assert_ptr_equal(checked_text, packet + sizeof *request);
    } else {
        assert_null(checked);
    }
    free(packet);
    return result;
}

static int check(const struct ipc_request *request, const char *text)
{
    struct err err = {0};
    size_t length = text == (const char *)device_list ? sizeof device_list : text ? strlen(text) : 0;
    int result = check_text(request, text, length, &err);
    if (result < 0)
        assert_true(err.message[0] && err.code == ERR_INVALID_REQUEST);
    return result;
}

static void every_operation(void **state)
{
    (void)state;
    for (unsigned op = 0; op < IPC_OP_N; op++) {
        const char *text;
        struct ipc_request request = good((enum ipc_op)op, &text);
        if (check(&request, text) != 0)
            fail_msg("%s was refused", ipc_op_name(op));
        assert_int_equal(check(&request, text ? "{}" : "x"), -EINVAL);
        request.size++;
        assert_int_equal(check(&request, text), -EPROTO);
        request.size--;
        request.magic ^= 1;
        assert_int_equal(check(&request, text), -EPROTO);
    }
    const char *text;
    struct ipc_request capture = good(IPC_WORKER_CAPTURE, &text);
    capture.capture.snaplen = 0;
    assert_int_equal(check(&capture, text), -EINVAL);
    capture.capture.snaplen = CAPTURE_SNAPLEN_MAX + 1;
    assert_int_equal(check(&capture, text), -EINVAL);
    capture.capture.snaplen = CAPTURE_SNAPLEN_MAX;
    capture.capture.program_length = CAPTURE_PROGRAM_MAX + 1;
    assert_int_equal(check(&capture, text), -EINVAL);
    struct ipc_request request = good(IPC_HELLO, &text);
    const struct ipc_request *checked;
    for (size_t length = 0; length < sizeof request; length++)
        assert_int_equal(ipc_request_check(&request, length, &checked, &text, NULL), -EPROTO);
    request.op = IPC_OP_N;
    assert_int_equal(check(&request, NULL), -EINVAL);
    request.op = UINT32_MAX;
    assert_int_equal(check(&request, NULL), -EINVAL);
    assert_string_equal(ipc_op_name(IPC_WORKER_PAGE), "worker_page");
    assert_string_equal(ipc_op_name(IPC_OP_N), "event");
    assert_string_equal(ipc_op_name(IPC_OP_N + 1), "?");
}

/* Overwrites a field of a good request with bytes, and expects it to be refused, or not. */
struct fault {
    const char *what;
    enum ipc_op op;
    size_t offset, length;
    const void *bytes;
    int expected;
};
#define FAULT(op, field, bytes, expected)                                                                              \
    {                                                                                                                  \
#op " " #field " " #bytes, op, offsetof(struct ipc_request, field), sizeof(bytes) - 1, bytes, expected         \
    }
#define SIXTEEN_X      "xxxxxxxxxxxxxxxx"
#define SIXTEEN_ZEROES "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define MAX4           "\xff\xff\xff\xff"
#define ZERO4          "\0\0\0\0"

static void every_field(void **state)
{
    (void)state;
    static const struct fault faults[] = {
        /* the key */
        FAULT(IPC_DEVICE_DELETE, device.name, SIXTEEN_X, -EINVAL),
        FAULT(IPC_DEVICE_DELETE, device.name, "\0", -EINVAL),
        FAULT(IPC_DEVICE_DELETE, device.name, "a/b\0", -EINVAL),
        FAULT(IPC_DEVICE_DELETE, device.name, "..\0", -EINVAL),
        FAULT(IPC_DEVICE_DELETE, device.name, "tun%d\0", -EINVAL),
        FAULT(IPC_DEVICE_DELETE, device.name, "all\0", -EINVAL),
        FAULT(IPC_DEVICE_DELETE, device.netns, "\0", 0),
        FAULT(IPC_DEVICE_DELETE, device.netns, "../x\0", -EINVAL),
        FAULT(IPC_DEVICE_DELETE, device.uuid, SIXTEEN_ZEROES "\0", -EINVAL),
        FAULT(IPC_WORKER_STOP, device.uuid, SIXTEEN_ZEROES "\0", -EINVAL),
        FAULT(IPC_WORKER_STOP, device.name, "a/b\0", 0),
        FAULT(IPC_NETNS_SOCKET, device.netns, "\0", -EINVAL),
        FAULT(IPC_NETNS_SOCKET, device.netns, "/etc\0", -EINVAL),
        FAULT(IPC_NETNS_SOCKET, device.name, "a/b\0", 0),
        FAULT(IPC_HELLO, device.name, SIXTEEN_X, 0),
        /* device_create */
        FAULT(IPC_DEVICE_CREATE, create.kind, "\x02\0\0\0", -EINVAL),
        FAULT(IPC_DEVICE_CREATE, create.kind, MAX4, -EINVAL),
        FAULT(IPC_DEVICE_CREATE, create.kind, ZERO4, -EINVAL), /* a tun with a mac */
        FAULT(IPC_DEVICE_CREATE, create.queues, ZERO4, -EINVAL),
        FAULT(IPC_DEVICE_CREATE, create.queues, "\x11\0\0\0", -EINVAL),
        FAULT(IPC_DEVICE_CREATE, create.has_mac, "\x02", -EINVAL),
        FAULT(IPC_DEVICE_CREATE, create.has_mac, "\xff", -EINVAL),
        FAULT(IPC_DEVICE_CREATE, create.mac, "\x03\0\0\0\0\0", -EINVAL),
        FAULT(IPC_DEVICE_CREATE, create.mac, "\0\0\0\0\0\0", -EINVAL),
        FAULT(IPC_DEVICE_CREATE, create.owner, ZERO4, 0),
        /* link_set */
        FAULT(IPC_LINK_SET, link.set, ZERO4, -EINVAL),
        FAULT(IPC_LINK_SET, link.set, "\x80\0\0\0", -EINVAL),
        FAULT(IPC_LINK_SET, link.set, MAX4, -EINVAL),
        FAULT(IPC_LINK_SET, link.mtu, "\x43\0\0\0", -EINVAL),
        FAULT(IPC_LINK_SET, link.mtu, "\0\0\x01\0", -EINVAL),
        FAULT(IPC_LINK_SET, link.txqueuelen, ZERO4, -EINVAL),
        FAULT(IPC_LINK_SET, link.txqueuelen, MAX4, -EINVAL),
        FAULT(IPC_LINK_SET, link.mac, "\x01\0\0\0\0\0", -EINVAL),
        FAULT(IPC_LINK_SET, link.master, SIXTEEN_X, -EINVAL),
        FAULT(IPC_LINK_SET, link.master, "a b\0", -EINVAL),
        FAULT(IPC_LINK_SET, link.master, "\0", 0),
        FAULT(IPC_LINK_SET, link.up, "\x02", -EINVAL),
        /* address */
        FAULT(IPC_ADDRESS_ADD, address.addr.family, "\0", -EINVAL),
        FAULT(IPC_ADDRESS_ADD, address.addr.family, "\x01", -EINVAL),
        FAULT(IPC_ADDRESS_DELETE, address.length, "\x21", -EINVAL),
        FAULT(IPC_ADDRESS_ADD, address.addr.bytes[15], "\x01", -EINVAL),
        FAULT(IPC_ADDRESS_ADD, address.addr, "\x0a\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04", -EINVAL),
        /* route */
        FAULT(IPC_ROUTE_ADD, route.to.length, "\x08", -EINVAL), /* host bits */
        FAULT(IPC_ROUTE_ADD, route.to.length, "\xff", -EINVAL),
        FAULT(IPC_ROUTE_ADD, route.to.addr.family, "\x0a", -EINVAL), /* IPv6, and the rest of it IPv4 */
        FAULT(IPC_ROUTE_ADD, route.type, "\x04\0\0\0", -EINVAL),
        FAULT(IPC_ROUTE_ADD, route.type, "\x01\0\0\0", -EINVAL), /* a blackhole with a gateway */
        FAULT(IPC_ROUTE_ADD, route.via.family, "\0", -EINVAL),   /* none, and yet bytes */
        FAULT(IPC_ROUTE_ADD, route.via.family, "\x0a", -EINVAL),
        FAULT(IPC_ROUTE_ADD, route.source.family, "\x0a", -EINVAL),
        FAULT(IPC_ROUTE_ADD, route.table, ZERO4, -EINVAL),
        FAULT(IPC_ROUTE_DELETE, route.table, "\xff\0\0\0", -EINVAL),
        FAULT(IPC_ROUTE_DELETE, route.table, MAX4, 0),
        FAULT(IPC_ROUTE_DELETE, protocol, "\x03\0\0\0", 0), /* boot, static, and no other */
        FAULT(IPC_ROUTE_DELETE, protocol, "\x04\0\0\0", 0),
        FAULT(IPC_ROUTE_DELETE, protocol, ZERO4, -EINVAL),
        FAULT(IPC_ROUTE_DELETE, protocol, "\x02\0\0\0", -EINVAL),
        FAULT(IPC_ROUTE_DELETE, protocol, "\x10\0\0\0", -EINVAL),
        FAULT(IPC_ROUTE_DELETE, protocol, "\x54\x01\0\0", -EINVAL), /* 84 to whoever cuts it */
        /* adopt */
        FAULT(IPC_DEVICE_ADOPT, adopt.kind, "\x02\0\0\0", -EINVAL),
        FAULT(IPC_DEVICE_ADOPT, adopt.queues, ZERO4, 0),
        FAULT(IPC_DEVICE_ADOPT, adopt.queues, "\x11\0\0\0", -EINVAL),
        /* devices_delete: what is in the list, see list_of_devices */
        FAULT(IPC_DEVICES_DELETE, devices.count, ZERO4, -EINVAL),
        FAULT(IPC_DEVICES_DELETE, devices.count, "\x01\0\0\0", -EINVAL),
        FAULT(IPC_DEVICES_DELETE, devices.count, "\x03\0\0\0", -EINVAL),
        FAULT(IPC_DEVICES_DELETE, devices.count, MAX4, -EINVAL),
        FAULT(IPC_DEVICES_DELETE, devices.count, "\x02\0\0\x08", -EINVAL), /* times the size, the same in 32 bits */
        FAULT(IPC_DEVICES_DELETE, device.netns, "\0", 0),
        FAULT(IPC_DEVICES_DELETE, device.netns, "../x\0", -EINVAL),
        FAULT(IPC_DEVICES_DELETE, device.name, "a/b\0", 0),
        /* worker */
        FAULT(IPC_WORKER_START, worker.program, "\0", -EINVAL),
        FAULT(IPC_WORKER_START, worker.program, "../sh\0", -EINVAL),
        FAULT(IPC_WORKER_START, worker.program, "a b\0", -EINVAL),
        FAULT(IPC_WORKER_START, worker.program, SIXTEEN_X SIXTEEN_X SIXTEEN_X SIXTEEN_X, -EINVAL),
        FAULT(IPC_WORKER_START, worker.queues, ZERO4, -EINVAL),
        FAULT(IPC_WORKER_START, worker.queues, "\x11\0\0\0", -EINVAL),
        FAULT(IPC_WORKER_START, worker.socket_spec_count, "\x05\0\0\0", -EINVAL),
        FAULT(IPC_WORKER_START, worker.socket_spec_count, "\x02\0\0\0", -EINVAL), /* the second is empty */
        FAULT(IPC_WORKER_START, worker.socket_spec_count, ZERO4, 0),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].type, "\x03\0\0\0", -EINVAL),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].local.addr.family, "\0", -EINVAL),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].local.port, "\0\0", -EINVAL),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].count, ZERO4, -EINVAL),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].count, "\x10\0\0\0", 0),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].count, "\x11\0\0\0", -EINVAL),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].count, MAX4, -EINVAL),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].local.port, "\xfe\xff", 0),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].local.port, "\xff\xff", -EINVAL), /* two from there on */
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].mark, MAX4, 0),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].interface, "\0", 0),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].interface, "a/b\0", -EINVAL),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[0].interface, SIXTEEN_X, -EINVAL),
        FAULT(IPC_WORKER_CONFIGURE, worker.sockets[1].type, MAX4, 0), /* not used */
        FAULT(IPC_WORKER_CONFIGURE, worker.config_length, ZERO4, -EINVAL),
        FAULT(IPC_WORKER_CONFIGURE, worker.config_length, MAX4, -EINVAL),
    };
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        const char *text;
        struct ipc_request request = good(faults[i].op, &text);
        memcpy((char *)&request + faults[i].offset, faults[i].bytes, faults[i].length);
        int result = check(&request, text);
        if (result != faults[i].expected)
            fail_msg("%s: %d", faults[i].what, result);
    }
}

static void worker_text(void **state)
{
    (void)state;
    static char big[WORKER_CONFIG_MAX + 1];
    const char *text;
    struct ipc_request request = good(IPC_WORKER_START, &text);
    memset(big, 'x', sizeof big);
    request.worker.config_length = WORKER_CONFIG_MAX;
    assert_int_equal(check_text(&request, big, WORKER_CONFIG_MAX, NULL), 0);
    assert_true(sizeof request + WORKER_CONFIG_MAX <= IPC_PACKET_MAX);
    request.worker.config_length = WORKER_CONFIG_MAX + 1;
    assert_int_equal(check_text(&request, big, WORKER_CONFIG_MAX + 1, NULL), -EINVAL);
    request.worker.config_length = 4;
    assert_int_equal(check_text(&request, "{\0}\n", 4, NULL), -EINVAL);
    assert_int_equal(check_text(&request, "{ }", 3, NULL), -EINVAL);
    assert_int_equal(check_text(&request, "{   }", 5, NULL), -EINVAL);
}

static void list_of_devices(void **state)
{
    (void)state;
    static struct ipc_device list[STEP_RUN_MAX + 1];
    static const char *const names[] = {"", "a/b", "xxxxxxxxxxxxxxxx", "all"};
    const char *text;
    struct ipc_request request = good(IPC_DEVICES_DELETE, &text);
    for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
        text_copy(list[i].name, sizeof list[i].name, "tun0");
        list[i].uuid.bytes[0] = 1;
    }
    request.devices.count = STEP_RUN_MAX;
    assert_int_equal(check_text(&request, (char *)list, STEP_RUN_MAX * sizeof *list, NULL), 0);
    assert_int_equal(check_text(&request, (char *)list, STEP_RUN_MAX * sizeof *list - 1, NULL), -EINVAL);
    request.devices.count++;
    assert_int_equal(check_text(&request, (char *)list, sizeof list, NULL), -EINVAL);
    request.devices.count = 3;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        memset(list[2].name, 0, sizeof list[2].name);
        memcpy(list[2].name, names[i], strlen(names[i]));
        assert_int_equal(check_text(&request, (char *)list, 3 * sizeof *list, NULL), -EINVAL);
    }
    list[2] = list[1];
    assert_int_equal(check_text(&request, (char *)list, 3 * sizeof *list, NULL), 0);
    list[2].uuid.bytes[0] = 0;
    assert_int_equal(check_text(&request, (char *)list, 3 * sizeof *list, NULL), -EINVAL);
}

static int check_reply(const struct ipc_reply *reply, const char *text, size_t text_length)
{
    const struct ipc_reply *checked;
    const char *checked_text;
    char *packet = malloc(sizeof *reply + text_length);
    assert_non_null(packet);
    memcpy(packet, reply, sizeof *reply);
    if (text_length > 0)
        memcpy(packet + sizeof *reply, text, text_length);
    int result = ipc_reply_check(packet, sizeof *reply + text_length, &checked, &checked_text, NULL);
    free(packet);
    return result;
}

static void replies(void **state)
{
    (void)state;
    static char big[WORKER_STATUS_MAX + 1];
    struct ipc_reply good_reply = {.magic = IPC_MAGIC, .op = IPC_WORKER_LIST, .text_length = 2};
    struct ipc_reply reply = good_reply;
    assert_int_equal(check_reply(&reply, "{}", 2), 0);
    assert_int_equal(check_reply(&reply, "{ }", 3), -EINVAL);
    assert_int_equal(check_reply(&reply, "{\0", 2), -EINVAL);
    reply.magic++;
    assert_int_equal(check_reply(&reply, "{}", 2), -EPROTO);
#define REFUSED(field, value)                                                                                          \
    reply = good_reply;                                                                                                \
    reply.field = value;                                                                                               \
    assert_int_equal(check_reply(&reply, "{}", 2), -EINVAL)
    REFUSED(op, IPC_OP_N + 1);
    REFUSED(error, 1);
    REFUSED(error, -4096);
    REFUSED(error, INT32_MIN);
    REFUSED(err.code, ERR_CODE_N);
    REFUSED(worker.state, WORKER_STATE_N);
#define UNTERMINATED(field)                                                                                            \
    reply = good_reply;                                                                                                \
    memset(reply.field, 'x', sizeof reply.field);                                                                      \
    assert_int_equal(check_reply(&reply, "{}", 2), -EINVAL)
    UNTERMINATED(err.message);
    UNTERMINATED(err.pointer);
    UNTERMINATED(err.operation);
    UNTERMINATED(worker.program);
    UNTERMINATED(worker.detail);
    memset(big, 'x', sizeof big);
    reply = good_reply;
    reply.text_length = WORKER_STATUS_MAX;
    assert_int_equal(check_reply(&reply, big, WORKER_STATUS_MAX), 0);
    reply.text_length++;
    assert_int_equal(check_reply(&reply, big, WORKER_STATUS_MAX + 1), -EINVAL);
}

/* Of protocols that are not ours only unicast routes are deleted: those belong to a device, which carries our mark. */
static void foreign_routes(void **state)
{
    (void)state;
    const char *text;
    struct ipc_request request = good(IPC_ROUTE_DELETE, &text);
    request.route.type = ROUTE_BLACKHOLE;
    request.route.via = (struct ip_addr){.family = 0};
    assert_int_equal(check(&request, text), 0);
    request.protocol = NET_PROTOCOL_STATIC;
    assert_int_equal(check(&request, text), -EINVAL);
    request.route.type = ROUTE_UNICAST;
    assert_int_equal(check(&request, text), 0);
}

static void from_steps(void **state)
{
    (void)state;
    static const enum ipc_op ops[] = {
        [STEP_DEVICE_ADOPT] = IPC_DEVICE_ADOPT,     [STEP_DEVICE_RELEASE] = IPC_DEVICE_RELEASE,
        [STEP_WORKER_STOP] = IPC_WORKER_STOP,       [STEP_ROUTE_DELETE] = IPC_ROUTE_DELETE,
        [STEP_ADDRESS_DELETE] = IPC_ADDRESS_DELETE, [STEP_DEVICE_DELETE] = IPC_DEVICE_DELETE,
        [STEP_DEVICE_CREATE] = IPC_DEVICE_CREATE,   [STEP_LINK_SET] = IPC_LINK_SET,
        [STEP_ADDRESS_ADD] = IPC_ADDRESS_ADD,       [STEP_ROUTE_ADD] = IPC_ROUTE_ADD,
        [STEP_WORKER_START] = IPC_WORKER_START,     [STEP_WORKER_CONFIGURE] = IPC_WORKER_CONFIGURE,
    };
    for (unsigned kind = 0; kind < STEP_KIND_N; kind++) {
        const char *text;
        struct ipc_request from = good(ops[kind], &text), request;
        struct step step = {.kind = (enum step_kind)kind, .device = from.device};
        switch (ops[kind]) {
        case IPC_DEVICE_ADOPT:
            step.adopt = from.adopt;
            break;
        case IPC_DEVICE_CREATE:
            step.create = from.create;
            break;
        case IPC_LINK_SET:
            step.link = from.link;
            break;
        case IPC_ADDRESS_ADD:
        case IPC_ADDRESS_DELETE:
            step.address = from.address;
            break;
        case IPC_ROUTE_ADD:
        case IPC_ROUTE_DELETE:
            step.protocol = (uint8_t)from.protocol;
            step.route = from.route;
            break;
        case IPC_WORKER_START:
        case IPC_WORKER_CONFIGURE:
            step.worker = (struct worker_spec){
                .queues = 2, .socket_spec_count = 1, .config = (char *)(uintptr_t)text, .config_length = strlen(text)};
            memcpy(step.worker.program, from.worker.program, sizeof step.worker.program);
            memcpy(step.worker.sockets, from.worker.sockets, sizeof step.worker.sockets);
            break;
        default:
            break;
        }
        memset(&request, 0xff, sizeof request);
        ipc_request_from_step(&step, 7, &request);
        assert_int_equal(request.op, ops[kind]);
        assert_int_equal(request.serial, 7);
        assert_int_equal(check(&request, text), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation), cmocka_unit_test(every_field),    cmocka_unit_test(worker_text),
        cmocka_unit_test(list_of_devices), cmocka_unit_test(foreign_routes), cmocka_unit_test(replies),
        cmocka_unit_test(from_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

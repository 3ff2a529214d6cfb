/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message: the privilege boundary. What arrives are hostile bytes until they have passed here.
 *
 * One row an operation: which part of the device's key it uses, how its own part is checked, and whether text follows.
 * Fields that an operation does not use are not looked at, here or later. A `bool` is checked as a byte before it is
 * read as a bool, for any other value than 0 and 1 would be undefined behaviour.
 */
#include "tunwright/ipc.h"

#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <string.h>
#include <sys/socket.h>

enum key_use {
    KEY_UNUSED,
    KEY_NETNS, /* the name of a netns, not empty */
    KEY_PLACE, /* the same, or empty */
    KEY_UUID,
    KEY_DEVICE, /* all of it */
};

static int refuse(struct err *ret_err, const char *what)
{
    return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "%s", what);
}

/* ---- fields ------------------------------------------------------------------------------------------------------ */

static bool text_is_terminated(const char *text, size_t size)
{
    return memchr(text, '\0', size);
}
#define FIELD_IS_TERMINATED(field) text_is_terminated((field), sizeof(field))

static bool byte_is_bool(const bool *value)
{
    uint8_t byte;
    memcpy(&byte, value, sizeof byte);
    return byte <= 1;
}

static bool bytes_are_zero(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i])
            return false;
    return true;
}

static bool mac_is_sound(const uint8_t mac[static 6])
{
    return !(mac[0] & 1) && !bytes_are_zero(mac, 6);
}

static bool addr_is_sound(const struct ip_addr *addr)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (addr->family == AF_INET)
        return bytes_are_zero(addr->bytes + 4, sizeof addr->bytes - 4);
    return addr->family == AF_INET6 && memcmp(addr->bytes, mapped, sizeof mapped) != 0;
}

static bool addr_is_none(const struct ip_addr *addr)
{
    return addr->family == 0 && bytes_are_zero(addr->bytes, sizeof addr->bytes);
}

static bool addr_is_none_or_of(const struct ip_addr *addr, uint8_t family)
{
    return addr_is_none(addr) || (addr->family == family && addr_is_sound(addr));
}

static bool prefix_is_sound(const struct ip_prefix *prefix)
{
    return addr_is_sound(&prefix->addr) && prefix->length <= (prefix->addr.family == AF_INET ? 32 : 128);
}

static int key_check(const struct device_key *key, enum key_use use, struct err *ret_err)
{
    if (use == KEY_NETNS || use == KEY_PLACE || use == KEY_DEVICE) {
        if (!FIELD_IS_TERMINATED(key->netns))
            return refuse(ret_err, "netns: not terminated");
        bool needed = use == KEY_NETNS;
        if ((needed || key->netns[0]) && !netns_name_is_valid(key->netns))
            return refuse(ret_err, "netns: not a name");
    }
    if (use == KEY_DEVICE && (!FIELD_IS_TERMINATED(key->name) || !device_name_is_valid(key->name)))
        return refuse(ret_err, "name: not a device name");
    if ((use == KEY_DEVICE || use == KEY_UUID) && uuid_is_zero(&key->uuid))
        return refuse(ret_err, "uuid: zero");
    return 0;
}

/* ---- one checker for each kind of body --------------------------------------------------------------------------- */

static int create_check(const struct ipc_request *request, struct err *ret_err)
{
    const struct device_create *create = &request->create;
    if (create->kind != DEVICE_TUN && create->kind != DEVICE_TAP)
        return refuse(ret_err, "kind: neither tun nor tap");
    if (create->queues < 1 || create->queues > DEVICE_QUEUES_MAX)
        return refuse(ret_err, "queues: out of range");
    if (!byte_is_bool(&create->has_mac))
        return refuse(ret_err, "has_mac: not a bool");
    if (create->has_mac && (create->kind != DEVICE_TAP || !mac_is_sound(create->mac)))
        return refuse(ret_err, "mac: not for this device");
    return 0;
}

static int adopt_check(const struct ipc_request *request, struct err *ret_err)
{
    const struct device_adopt *adopt = &request->adopt;
    if (adopt->kind != DEVICE_TUN && adopt->kind != DEVICE_TAP)
        return refuse(ret_err, "kind: neither tun nor tap");
    if (adopt->queues > DEVICE_QUEUES_MAX)
        return refuse(ret_err, "queues: out of range");
    return 0;
}

static int link_check(const struct ipc_request *request, struct err *ret_err)
{
    static const uint32_t known =
        LINK_MTU | LINK_TXQUEUELEN | LINK_MAC | LINK_OWNER | LINK_GROUP | LINK_MASTER | LINK_UP;
    const struct link_settings *link = &request->link;
    if (link->set == 0 || link->set & ~known)
        return refuse(ret_err, "set: nothing, or something unknown");
    if (link->set & LINK_MTU && (link->mtu < 68 || link->mtu > 65535))
        return refuse(ret_err, "mtu: out of range");
    if (link->set & LINK_TXQUEUELEN && (link->txqueuelen < 1 || link->txqueuelen > 1000000))
        return refuse(ret_err, "txqueuelen: out of range");
    if (link->set & LINK_MAC && !mac_is_sound(link->mac))
        return refuse(ret_err, "mac: not a unicast address");
    if (!FIELD_IS_TERMINATED(link->master))
        return refuse(ret_err, "master: not terminated");
    if (link->set & LINK_MASTER && link->master[0] && !device_name_is_valid(link->master))
        return refuse(ret_err, "master: not a device name");
    if (!byte_is_bool(&link->up))
        return refuse(ret_err, "up: not a bool");
    return 0;
}

static int address_check(const struct ipc_request *request, struct err *ret_err)
{
    return prefix_is_sound(&request->address) ? 0 : refuse(ret_err, "address: not in form");
}

static int route_check(const struct ipc_request *request, struct err *ret_err)
{
    const struct route *route = &request->route;
    if (!prefix_is_sound(&route->to) || ip_prefix_has_host_bits(&route->to))
        return refuse(ret_err, "to: not in form");
    uint8_t family = route->to.addr.family;
    if ((unsigned)route->type >= ROUTE_TYPE_N)
        return refuse(ret_err, "type: unknown");
    if (!addr_is_none_or_of(&route->via, family) || (route->type != ROUTE_UNICAST && route->via.family))
        return refuse(ret_err, "via: not in form");
    if (!addr_is_none_or_of(&route->source, family))
        return refuse(ret_err, "source: not in form");
    if (route->table == 0 || route->table == 255)
        return refuse(ret_err, "table: not ours to change");
    return 0;
}

/*
 * Of routes, only these are ever deleted: those with our mark, and unicast ones of an administrator's (boot, static)
 * through a device of ours, which a document listed. The kernel compares the protocol, so that those of routing daemons,
 * DHCP and the kernel itself cannot be named at all.
 */
static int route_delete_check(const struct ipc_request *request, struct err *ret_err)
{
    int result = route_check(request, ret_err);
    if (result < 0 || request->protocol == NET_PROTOCOL)
        return result;
    if (request->protocol != NET_PROTOCOL_BOOT && request->protocol != NET_PROTOCOL_STATIC)
        return refuse(ret_err, "protocol: not ours to delete");
    if (request->route.type != ROUTE_UNICAST)
        return refuse(ret_err, "type: not ours to delete, with this protocol");
    return 0;
}

/* A file name in the worker directory, and a word of the `configure` head. */
static bool program_is_sound(const char program[static WORKER_PROGRAM_SIZE])
{
    return text_is_terminated(program, WORKER_PROGRAM_SIZE) && netns_name_is_valid(program);
}

static bool socket_spec_is_sound(const struct socket_spec *spec)
{
    if (spec->type != SOCK_DGRAM || !addr_is_sound(&spec->local.addr) || spec->local.port == 0)
        return false;
    if (spec->count < 1 || spec->count > WORKER_SOCKETS_MAX || spec->local.port + spec->count - 1 > UINT16_MAX)
        return false;
    return FIELD_IS_TERMINATED(spec->interface) && (!spec->interface[0] || interface_name_is_valid(spec->interface));
}

static int worker_check(const struct ipc_request *request, struct err *ret_err)
{
    const struct ipc_worker_start *worker = &request->worker;
    uint32_t sockets = 0;
    if (!program_is_sound(worker->program))
        return refuse(ret_err, "program: not a file name");
    if (worker->queues < 1 || worker->queues > DEVICE_QUEUES_MAX)
        return refuse(ret_err, "queues: out of range");
    if (worker->socket_spec_count > SOCKET_SPECS_MAX)
        return refuse(ret_err, "sockets: too many");
    for (size_t i = 0; i < worker->socket_spec_count; i++) {
        const struct socket_spec *spec = &worker->sockets[i];
        if (!socket_spec_is_sound(spec))
            return refuse(ret_err, "sockets: not in form");
        sockets += spec->count;
    }
    if (sockets > WORKER_SOCKETS_MAX)
        return refuse(ret_err, "sockets: too many");
    if (worker->config_length == 0 || worker->config_length > WORKER_CONFIG_MAX)
        return refuse(ret_err, "config: empty or too long");
    return 0;
}

static int devices_check(const struct ipc_request *request, struct err *ret_err)
{
    if (request->devices.count < 1 || request->devices.count > STEP_RUN_MAX)
        return refuse(ret_err, "devices: none, or too many");
    return 0;
}

static int device_list_check(const char *text, size_t length, struct err *ret_err)
{
    for (size_t at = 0; at < length; at += sizeof(struct ipc_device)) {
        struct ipc_device device;
        memcpy(&device, text + at, sizeof device);
        if (!FIELD_IS_TERMINATED(device.name) || !device_name_is_valid(device.name))
            return refuse(ret_err, "name: not a device name");
        if (uuid_is_zero(&device.uuid))
            return refuse(ret_err, "uuid: zero");
    }
    return 0;
}

static int capture_check(const struct ipc_request *request, struct err *ret_err)
{
    if (request->capture.snaplen < 1 || request->capture.snaplen > CAPTURE_SNAPLEN_MAX)
        return refuse(ret_err, "snaplen: out of range");
    if (request->capture.program_length > CAPTURE_PROGRAM_MAX)
        return refuse(ret_err, "program: too long");
    return 0;
}

static int config_check(const char *text, size_t length, struct err *ret_err)
{
    return memchr(text, '\0', length) ? refuse(ret_err, "text: holds a NUL") : 0;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

enum text_use {
    TEXT_NONE,
    TEXT_CONFIG,  /* worker.config_length bytes */
    TEXT_DEVICES, /* devices.count of struct ipc_device */
    TEXT_PROGRAM, /* capture.program_length of struct capture_instruction: whoever runs it checks it */
};

struct op_row {
    const char *name;
    enum key_use key;
    int (*check)(const struct ipc_request *request, struct err *ret_err); /* NULL: it has no part of its own */
    enum text_use text;
};

static const struct op_row op_rows[] = {
    [IPC_HELLO] = {"hello", KEY_UNUSED, NULL, TEXT_NONE},
    [IPC_DEVICE_CREATE] = {"device_create", KEY_DEVICE, create_check, TEXT_NONE},
    [IPC_DEVICE_DELETE] = {"device_delete", KEY_DEVICE, NULL, TEXT_NONE},
    [IPC_DEVICES_DELETE] = {"devices_delete", KEY_PLACE, devices_check, TEXT_DEVICES},
    [IPC_DEVICE_ADOPT] = {"device_adopt", KEY_DEVICE, adopt_check, TEXT_NONE},
    [IPC_DEVICE_RELEASE] = {"device_release", KEY_DEVICE, NULL, TEXT_NONE},
    [IPC_LINK_SET] = {"link_set", KEY_DEVICE, link_check, TEXT_NONE},
    [IPC_ADDRESS_ADD] = {"address_add", KEY_DEVICE, address_check, TEXT_NONE},
    [IPC_ADDRESS_DELETE] = {"address_delete", KEY_DEVICE, address_check, TEXT_NONE},
    [IPC_ROUTE_ADD] = {"route_add", KEY_DEVICE, route_check, TEXT_NONE},
    [IPC_ROUTE_DELETE] = {"route_delete", KEY_DEVICE, route_delete_check, TEXT_NONE},
    [IPC_WORKER_START] = {"worker_start", KEY_DEVICE, worker_check, TEXT_CONFIG},
    [IPC_WORKER_CONFIGURE] = {"worker_configure", KEY_DEVICE, worker_check, TEXT_CONFIG},
    [IPC_WORKER_STOP] = {"worker_stop", KEY_UUID, NULL, TEXT_NONE},
    [IPC_WORKER_LIST] = {"worker_list", KEY_UNUSED, NULL, TEXT_NONE},
    [IPC_WORKER_PAGE] = {"worker_page", KEY_UUID, NULL, TEXT_NONE},
    [IPC_NETNS_SOCKET] = {"netns_socket", KEY_NETNS, NULL, TEXT_NONE},
    [IPC_SUBSCRIBE] = {"subscribe", KEY_UNUSED, NULL, TEXT_NONE},
    [IPC_WORKER_CAPTURE] = {"worker_capture", KEY_UUID, capture_check, TEXT_PROGRAM},
};
static_assert(ARRAY_SIZE(op_rows) == IPC_OP_N, "one row an operation");

const char *ipc_op_name(uint32_t op)
{
    return op < IPC_OP_N ? op_rows[op].name : op == IPC_OP_N ? "event" : "?";
}

size_t ipc_request_text_length(const struct ipc_request *request)
{
    switch (op_rows[request->op].text) {
    case TEXT_CONFIG:
        return request->worker.config_length;
    case TEXT_DEVICES:
        return (size_t)request->devices.count * sizeof(struct ipc_device);
    case TEXT_PROGRAM:
        return (size_t)request->capture.program_length * sizeof(struct capture_instruction);
    case TEXT_NONE:
        break;
    }
    return 0;
}
static_assert(sizeof(struct ipc_request) + STEP_RUN_MAX * sizeof(struct ipc_device) <= IPC_PACKET_MAX,
              "a run of deletions fits one packet");

/* The packet's buffer must be aligned for the struct that is read from it. */
static bool packet_holds(const void *packet, size_t length, size_t size, size_t alignment)
{
    return length >= size && (uintptr_t)packet % alignment == 0;
}

int ipc_request_check(const void *packet, size_t length, const struct ipc_request **ret_request, const char **ret_text,
                      struct err *ret_err)
{
    const struct ipc_request *request = packet;
    if (!packet_holds(packet, length, sizeof *request, alignof(struct ipc_request)) || request->magic != IPC_MAGIC ||
        request->size != sizeof *request)
        return err_set(ret_err, -EPROTO, ERR_INVALID_REQUEST, "", "not a request of this version");
    if (request->op >= IPC_OP_N)
        return refuse(ret_err, "op: unknown");

    const struct op_row *row = &op_rows[request->op];
    int result = key_check(&request->device, row->key, ret_err);
    if (result == 0 && row->check)
        result = row->check(request, ret_err);
    if (result < 0)
        return result;

    const char *text = (const char *)(request + 1);
    size_t text_length = length - sizeof *request;
    if (text_length != ipc_request_text_length(request))
        return refuse(ret_err, "text: not of the length announced");
    if (row->text == TEXT_DEVICES)
        result = device_list_check(text, text_length, ret_err);
    else if (row->text == TEXT_CONFIG)
        result = config_check(text, text_length, ret_err);
    if (result < 0)
        return result;
    *ret_request = request;
    *ret_text = text;
    return 0;
}

static bool err_is_sound(const struct err *e)
{
    return (unsigned)e->code < ERR_CODE_N && FIELD_IS_TERMINATED(e->operation) && FIELD_IS_TERMINATED(e->pointer) &&
           FIELD_IS_TERMINATED(e->message);
}

int ipc_reply_check(const void *packet, size_t length, const struct ipc_reply **ret_reply, const char **ret_text,
                    struct err *ret_err)
{
    const struct ipc_reply *reply = packet;
    if (!packet_holds(packet, length, sizeof *reply, alignof(struct ipc_reply)) || reply->magic != IPC_MAGIC)
        return err_set(ret_err, -EPROTO, ERR_INVALID_REQUEST, "", "not a reply of this version");
    if (reply->op > IPC_OP_N)
        return refuse(ret_err, "op: unknown");
    if (reply->error > 0 || reply->error < -4095)
        return refuse(ret_err, "error: not an errno");
    if (!err_is_sound(&reply->err))
        return refuse(ret_err, "err: not in form");
    if (reply->worker.state >= WORKER_STATE_N || !FIELD_IS_TERMINATED(reply->worker.program) ||
        !FIELD_IS_TERMINATED(reply->worker.detail))
        return refuse(ret_err, "worker: not in form");

    const char *text = (const char *)(reply + 1);
    size_t text_length = length - sizeof *reply;
    if (text_length != reply->text_length || text_length > WORKER_STATUS_MAX)
        return refuse(ret_err, "text: not of the length announced");
    if (text_length > 0 && memchr(text, '\0', text_length))
        return refuse(ret_err, "text: holds a NUL");
    *ret_reply = reply;
    *ret_text = text;
    return 0;
}

/* ---- from a step ------------------------------------------------------------------------------------------------- */

static const enum ipc_op step_ops[] = {
    [STEP_DEVICE_ADOPT] = IPC_DEVICE_ADOPT,     [STEP_DEVICE_RELEASE] = IPC_DEVICE_RELEASE,
    [STEP_WORKER_STOP] = IPC_WORKER_STOP,       [STEP_ROUTE_DELETE] = IPC_ROUTE_DELETE,
    [STEP_ADDRESS_DELETE] = IPC_ADDRESS_DELETE, [STEP_DEVICE_DELETE] = IPC_DEVICE_DELETE,
    [STEP_DEVICE_CREATE] = IPC_DEVICE_CREATE,   [STEP_LINK_SET] = IPC_LINK_SET,
    [STEP_ADDRESS_ADD] = IPC_ADDRESS_ADD,       [STEP_ROUTE_ADD] = IPC_ROUTE_ADD,
    [STEP_WORKER_START] = IPC_WORKER_START,     [STEP_WORKER_CONFIGURE] = IPC_WORKER_CONFIGURE,
};
static_assert(ARRAY_SIZE(step_ops) == STEP_KIND_N, "one operation a step");

static void worker_from_spec(const struct worker_spec *spec, struct ipc_worker_start *ret_worker)
{
    memcpy(ret_worker->program, spec->program, sizeof ret_worker->program);
    ret_worker->queues = spec->queues;
    ret_worker->socket_spec_count = spec->socket_spec_count;
    memcpy(ret_worker->sockets, spec->sockets, sizeof ret_worker->sockets);
    ret_worker->tag = spec->tag;
    ret_worker->config_length = spec->config_length > UINT32_MAX ? UINT32_MAX : (uint32_t)spec->config_length;
}

void ipc_request_from_step(const struct step *step, uint32_t serial, struct ipc_request *ret_request)
{
    memset(ret_request, 0, sizeof *ret_request);
    ret_request->magic = IPC_MAGIC;
    ret_request->op = step_ops[step->kind];
    ret_request->serial = serial;
    ret_request->size = sizeof *ret_request;
    ret_request->device = step->device;
    switch (step->kind) {
    case STEP_DEVICE_ADOPT:
        ret_request->adopt = step->adopt;
        break;
    case STEP_DEVICE_CREATE:
        ret_request->create = step->create;
        break;
    case STEP_LINK_SET:
        ret_request->link = step->link;
        break;
    case STEP_ADDRESS_ADD:
    case STEP_ADDRESS_DELETE:
        ret_request->address = step->address;
        break;
    case STEP_ROUTE_ADD:
    case STEP_ROUTE_DELETE:
        ret_request->protocol = step->protocol;
        ret_request->route = step->route;
        break;
    case STEP_WORKER_START:
    case STEP_WORKER_CONFIGURE:
        worker_from_spec(&step->worker, &ret_request->worker);
        break;
    case STEP_WORKER_STOP:
    case STEP_DEVICE_DELETE:
    case STEP_DEVICE_RELEASE:
    case STEP_KIND_N:
        break;
    }
}

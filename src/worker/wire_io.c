/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/wire_io.h"

#include "worker/packet.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/in6.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <string.h>

#define PATH_MTU_HOLDS_NS (600 * NSEC_PER_SEC) /* RFC 1191, 6.3; the kernel's own mtu_expires */
#define ERRORS_AT_ONCE    64
#define REFUSALS_MOST     64 /* of batches, one after the other */

/* The options of linux/in.h and linux/in6.h that netinet/in.h does not have. */
#ifndef IPV6_RECVERR
#define IPV6_RECVERR 25
#endif

static size_t wire_payload_most(const struct wire *wire)
{
    /* The length fields: IPv4's counts its header, IPv6's does not. */
    return wire->remote.ss_family == AF_INET ? 65535 - wire->overhead : 65535 - UDP_HEADER_SIZE;
}

static void wire_learn_path_mtu(struct wire *wire, uint32_t mtu)
{
    size_t most = wire_payload_most(wire);
    uint32_t least = wire->remote.ss_family == AF_INET ? IPV4_MTU_LEAST : IPV6_MTU_LEAST;

    if (mtu < least || mtu <= wire->overhead)
        return;
    wire->news = wire->news || wire->path_mtu != mtu;
    wire->path_mtu = mtu;
    wire->payload_max = mtu - wire->overhead < most ? mtu - wire->overhead : most;
    wire->path_mtu_until_ns = clock_monotonic_ns() + PATH_MTU_HOLDS_NS;
}

static void wire_note_error(struct wire *wire, int error)
{
    if (wire->error != error) {
        wire->error = error;
        wire->news = true;
    }
}

bool wire_fits(struct wire *wire, size_t length)
{
    if (length <= wire->payload_max)
        return true;
    if (length > wire_payload_most(wire) || clock_monotonic_ns() < wire->path_mtu_until_ns)
        return false;
    wire->payload_max = wire_payload_most(wire);
    wire->path_mtu = 0;
    wire->news = true;
    return true;
}

/* ---- setting up -------------------------------------------------------------------------------------------------- */

static int wire_check_socket(int fd, const struct endpoint *local, struct err *ret_err)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    struct endpoint bound;
    int type = 0;
    socklen_t type_length = sizeof(type);

    memset(&address, 0, sizeof(address));
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_length) < 0)
        return err_set_kernel(ret_err, -errno, "getsockname", "the socket");
    if (type != SOCK_DGRAM || endpoint_from_sockaddr(&address, &bound) < 0 || !endpoint_equal(&bound, local))
        return err_set(ret_err, -EINVAL, ERR_WORKER_FAILED, "/worker/local", "the socket is not bound to it");
    return 0;
}

static int wire_set_options(int fd, sa_family_t family, struct err *ret_err)
{
    static const struct {
        sa_family_t family;
        int level, name, value;
        const char *text;
    } options[] = {
        {AF_INET, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, "IP_MTU_DISCOVER"},
        {AF_INET, IPPROTO_IP, IP_RECVERR, 1, "IP_RECVERR"},
        {AF_INET, IPPROTO_IP, IP_RECVTOS, 1, "IP_RECVTOS"},
        {AF_INET6, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO, "IPV6_MTU_DISCOVER"},
        {AF_INET6, IPPROTO_IPV6, IPV6_RECVERR, 1, "IPV6_RECVERR"},
        {AF_INET6, IPPROTO_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS"},
        {AF_UNSPEC, SOL_SOCKET, SO_RXQ_OVFL, 1, "SO_RXQ_OVFL"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if ((options[i].family == family || options[i].family == AF_UNSPEC) &&
            setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int)) < 0)
            return err_set_kernel(ret_err, -errno, options[i].text, "setting up the socket");
    return 0;
}

/* What the kernel has dropped at the socket so far; another worker may have had it before. */
static uint32_t wire_overflows(int fd)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t length = sizeof(memory);

    return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length) < 0 ? 0 : memory[SK_MEMINFO_DROPS];
}

/* The routing table tells what it knows of a path to connected sockets only. Ours cannot be one for a moment: an IPv6
 * socket stays deaf to all but that peer when it is disconnected again (__udp_disconnect leaves sk_v6_daddr as it is),
 * and others are to be counted. So another one asks, if it lives in the same network namespace; nothing is sent. It has to
 * go the same way: by the same interface, but a mark it may not set, so that marked packets find out for themselves. */
static bool wire_may_ask(const struct wire *wire, int fd)
{
    uint64_t cookies[2] = {0, 0};
    socklen_t cookie_length = sizeof(cookies[0]), mark_length = sizeof(int), interface_length = sizeof(int);
    int mark = 0, interface = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookies[0], &cookie_length) < 0 ||
        getsockopt(wire->fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookies[1], &cookie_length) < 0 || cookies[0] != cookies[1])
        return false;
    if (getsockopt(wire->fd, SOL_SOCKET, SO_MARK, &mark, &mark_length) < 0 || mark != 0 ||
        getsockopt(wire->fd, SOL_SOCKET, SO_BINDTOIFINDEX, &interface, &interface_length) < 0)
        return false;
    return interface == 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &interface, sizeof(interface)) == 0;
}

static void wire_ask_path_mtu(struct wire *wire, const struct endpoint *local)
{
    const struct endpoint source = {.addr = local->addr};
    CLEANUP(fd_done) int fd = socket(wire->remote.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool v4 = wire->remote.ss_family == AF_INET;
    struct sockaddr_storage address;
    socklen_t address_length, mtu_length = sizeof(int);
    int mtu = 0;

    if (fd < 0 || !wire_may_ask(wire, fd))
        return;
    address_length = endpoint_to_sockaddr(&source, &address);
    if (bind(fd, (const struct sockaddr *)&address, address_length) < 0 ||
        connect(fd, (const struct sockaddr *)&wire->remote, wire->remote_length) < 0)
        return;
    if (getsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu, &mtu_length) == 0 && mtu > 0)
        wire_learn_path_mtu(wire, (uint32_t)mtu);
}

void wire_set_offload(struct wire *wire, unsigned wanted)
{
    int on = (wanted & WIRE_GRO) != 0, was = 0, size = 0;
    socklen_t length = sizeof(size), was_length = sizeof(was);

    if (getsockopt(wire->fd, SOL_UDP, UDP_GRO, &was, &was_length) < 0)
        was = 0;
    wire->gro = setsockopt(wire->fd, SOL_UDP, UDP_GRO, &on, sizeof(on)) == 0 && on;
    /* The kernel will not say any more where the datagrams end that it has put together already. */
    wire->lumps = was && !wire->gro;
    wire->segments = (wanted & WIRE_SEGMENT) && getsockopt(wire->fd, SOL_UDP, UDP_SEGMENT, &size, &length) == 0;
    wire->news = true;
}

int wire_init(struct wire *ret_wire, int fd, const struct endpoint *local, const struct endpoint *remote,
              struct err *ret_err)
{
    struct wire wire = {.fd = fd};
    int r;

    r = wire_check_socket(fd, local, ret_err);
    if (r < 0)
        return r;
    wire.remote_length = endpoint_to_sockaddr(remote, &wire.remote);
    r = wire_set_options(fd, wire.remote.ss_family, ret_err);
    if (r < 0)
        return r;
    wire.overhead = (wire.remote.ss_family == AF_INET ? IPV4_HEADER_SIZE : IPV6_HEADER_SIZE) + UDP_HEADER_SIZE;
    wire.payload_max = wire_payload_most(&wire);
    wire.overflows = wire_overflows(fd);
    wire_ask_path_mtu(&wire, local);
    *ret_wire = wire;
    return 0;
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static bool wire_is_remote_address(const struct wire *wire, const struct sockaddr_storage *address)
{
    if (address->ss_family != wire->remote.ss_family)
        return false;
    if (address->ss_family == AF_INET)
        return memcmp(&((const struct sockaddr_in *)address)->sin_addr,
                      &((const struct sockaddr_in *)&wire->remote)->sin_addr, sizeof(struct in_addr)) == 0;
    return memcmp(&((const struct sockaddr_in6 *)address)->sin6_addr,
                  &((const struct sockaddr_in6 *)&wire->remote)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

static bool wire_is_remote(const struct wire *wire, const struct sockaddr_storage *address)
{
    /* sin_port and sin6_port lie at the same place. */
    return wire_is_remote_address(wire, address) &&
           ((const struct sockaddr_in *)address)->sin_port == ((const struct sockaddr_in *)&wire->remote)->sin_port;
}

static void wire_take_error(struct wire *wire, struct msghdr *message, const struct sockaddr_storage *about)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        struct sock_extended_err error;

        if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
            !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
            continue;
        if (c->cmsg_len < CMSG_LEN(sizeof(error)))
            continue;
        memcpy(&error, CMSG_DATA(c), sizeof(error));
        /* The socket may have sent to another peer before. */
        if (!wire_is_remote_address(wire, about))
            continue;
        /* Anybody can send an ICMP with any MTU in it. The kernel takes what is plausible into its routing table, and
         * its own refusal of the next packet that is too big says what that is. */
        if (error.ee_errno == EMSGSIZE && error.ee_origin == SO_EE_ORIGIN_LOCAL)
            wire_learn_path_mtu(wire, error.ee_info);
        else if (error.ee_errno != EMSGSIZE)
            wire_note_error(wire, (int)error.ee_errno);
    }
}

size_t wire_errors_drain(struct wire *wire)
{
    size_t count = 0;
    int pending = 0;
    socklen_t pending_length = sizeof(pending);

    for (; count < ERRORS_AT_ONCE; count++) {
        _Alignas(struct cmsghdr) uint8_t control[256];
        struct sockaddr_storage about = {0};
        uint8_t quoted[1];
        struct iovec part = {.iov_base = quoted, .iov_len = sizeof(quoted)};
        struct msghdr message = {.msg_name = &about,
                                 .msg_namelen = sizeof(about),
                                 .msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof(control)};

        if (recvmsg(wire->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            break;
        wire_take_error(wire, &message, &about);
    }
    /* Reading it clears it; left alone it would fail the next call in the place of its own result. */
    if (getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &pending, &pending_length) == 0 && pending != 0)
        count++;
    return count;
}

/* ---- one datagram ------------------------------------------------------------------------------------------------ */

static void wire_take_control(struct wire *wire, struct msghdr *message, struct wire_datagram *datagram)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        uint32_t overflows;
        int value;

        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS && c->cmsg_len >= CMSG_LEN(1))
            datagram->tos = *CMSG_DATA(c);
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS && c->cmsg_len >= CMSG_LEN(sizeof(value))) {
            memcpy(&value, CMSG_DATA(c), sizeof(value));
            datagram->tos = (uint8_t)value;
        }
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO && c->cmsg_len >= CMSG_LEN(sizeof(value))) {
            memcpy(&value, CMSG_DATA(c), sizeof(value));
            if (value > 0 && (size_t)value < datagram->length)
                datagram->segment = (size_t)value;
        }
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL && c->cmsg_len >= CMSG_LEN(sizeof(overflows))) {
            memcpy(&overflows, CMSG_DATA(c), sizeof(overflows));
            if ((int32_t)(overflows - wire->overflows) > 0) { /* it waited since before wire_init: not ours */
                datagram->lost = overflows - wire->overflows;
                wire->overflows = overflows;
            }
        }
    }
}

int wire_receive(struct wire *wire, uint8_t *out, size_t room, struct wire_datagram *ret_datagram)
{
    _Alignas(struct cmsghdr) uint8_t control[4 * CMSG_SPACE(sizeof(int))];
    struct sockaddr_storage from;
    struct iovec part = {.iov_base = out, .iov_len = room};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t n;

    for (int tries = 0; tries < ERRORS_AT_ONCE; tries++) {
        message.msg_name = &from;
        message.msg_namelen = sizeof(from);
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        from.ss_family = AF_UNSPEC;
        n = recvmsg(wire->fd, &message, MSG_DONTWAIT);
        if (n >= 0) {
            *ret_datagram = (struct wire_datagram){
                .length = (size_t)n,
                .segment = (size_t)n,
                .from_peer = wire_is_remote(wire, &from),
                .cut = message.msg_flags & (MSG_TRUNC | MSG_CTRUNC),
            };
            wire_take_control(wire, &message, ret_datagram);
            ret_datagram->lump = wire->lumps && ret_datagram->segment == ret_datagram->length;
            if (ret_datagram->from_peer)
                wire_note_error(wire, 0);
            return 0;
        }
        if (errno == EAGAIN) {
            wire->lumps = false;
            return -EAGAIN;
        }
        if (errno != EINTR)
            wire_errors_drain(wire);
    }
    return -EAGAIN;
}

static void control_add(struct msghdr *message, int level, int type, const void *value, size_t size)
{
    struct cmsghdr *c = (struct cmsghdr *)((uint8_t *)message->msg_control + message->msg_controllen);

    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), value, size);
    message->msg_controllen += CMSG_SPACE(size);
}

/* `segment` 0: the parts are one datagram. */
static int wire_send_once(const struct wire *wire, const struct iovec *parts, size_t part_count, size_t segment,
                          uint8_t tos)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct msghdr message = {
        .msg_name = (void *)(uintptr_t)&wire->remote,
        .msg_namelen = wire->remote_length,
        .msg_iov = (struct iovec *)(uintptr_t)parts,
        .msg_iovlen = part_count,
        .msg_control = control,
    };
    bool v4 = wire->remote.ss_family == AF_INET;
    uint16_t size = (uint16_t)segment;
    int value = tos;

    if (tos != 0) /* 0 is the socket's own */
        control_add(&message, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &value, sizeof(value));
    if (segment != 0)
        control_add(&message, SOL_UDP, UDP_SEGMENT, &size, sizeof(size));
    if (message.msg_controllen == 0)
        message.msg_control = NULL;
    while (sendmsg(wire->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* Full for now; says nothing about the path. */
static bool wire_is_busy(int error)
{
    return error == -EAGAIN || error == -ENOBUFS || error == -ENOMEM;
}

int wire_send(struct wire *wire, const struct iovec *parts, size_t part_count, uint8_t tos)
{
    size_t length = 0;
    int r = wire_send_once(wire, parts, part_count, 0, tos);

    if (r == 0 || wire_is_busy(r))
        return r;
    /* The error may be an earlier packet's: then this one has not been tried yet. */
    if (wire_errors_drain(wire) > 0) {
        for (size_t i = 0; i < part_count; i++)
            length += parts[i].iov_len;
        if (length > wire->payload_max)
            return -EMSGSIZE;
        r = wire_send_once(wire, parts, part_count, 0, tos);
        if (r < 0)
            wire_errors_drain(wire);
    }
    if (r < 0 && r != -EMSGSIZE && !wire_is_busy(r))
        wire_note_error(wire, -r);
    return r;
}

int wire_send_batch(struct wire *wire, const uint8_t *bytes, size_t length, size_t segment, uint8_t tos)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    int r;

    if (length <= segment)
        return wire_send(wire, &part, 1, tos);
    if (!wire->segments)
        return -EOPNOTSUPP;
    r = wire_send_once(wire, &part, 1, segment, tos);
    if (r == 0)
        wire->refusals = 0;
    if (r == 0 || wire_is_busy(r))
        return r;
    /* EIO: the way out has no checksum offload. EINVAL may come of a path that became narrower, on older kernels,
     * and ends then. */
    if (r == -EIO || (r == -EINVAL && ++wire->refusals == REFUSALS_MOST)) {
        wire->segments = false;
        wire->news = true;
    }
    /* whatever it was, one by one each finds out for itself */
    return -EOPNOTSUPP;
}

int wire_send_fragmented(struct wire *wire, const struct iovec *parts, size_t part_count, uint8_t tos)
{
    bool v4 = wire->remote.ss_family == AF_INET;
    int level = v4 ? IPPROTO_IP : IPPROTO_IPV6, name = v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER;
    int no = v4 ? IP_PMTUDISC_DONT : IPV6_PMTUDISC_DONT, yes = v4 ? IP_PMTUDISC_DO : IPV6_PMTUDISC_DO;
    int r;

    if (setsockopt(wire->fd, level, name, &no, sizeof(no)) < 0)
        return -errno;
    r = wire_send_once(wire, parts, part_count, 0, tos);
    setsockopt(wire->fd, level, name, &yes, sizeof(yes));
    return r;
}

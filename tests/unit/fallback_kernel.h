/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel that refuses what a test tells it to: the linker puts the functions `__wrap_...` in the place of the system
 * calls. What is not refused is done, but TUNSETOFFLOAD, for the device is none. */
#ifndef TUNWRIGHT_TEST_FALLBACK_KERNEL_H
#define TUNWRIGHT_TEST_FALLBACK_KERNEL_H

#include "super_packet.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static struct {
    int send, send_segments;  /* errno of sendmsg; of one with UDP_SEGMENT */
    unsigned sends_left;      /* that pass before `send` is in force */
    int write, write_super;   /* errno of write to the device; of a super-packet */
    int offload, offload_uso; /* errno of TUNSETOFFLOAD; of one with USO */
    int gro, segment;         /* errno of setsockopt(UDP_GRO), of getsockopt(UDP_SEGMENT) */
    int receive_flags;        /* that recvmsg gives besides */
    size_t datagram_most;     /* a longer one is EMSGSIZE; 0: any */
} refusal;

static struct {
    unsigned sends, sends_of_segments, writes_of_super, writes_of_udp_super, datagrams_in_one;
    size_t lengths[8];     /* of the first sends */
    unsigned long offload; /* the last TUNSETOFFLOAD that was granted */
    bool path_error;       /* EMSGSIZE was said, and not yet why */
    bool may_fragment;     /* IP_PMTUDISC_DONT */
} seen;

static int device_end = -1, wire_end = -1; /* the worker's */

static inline uint16_t segment_of(const struct msghdr *message)
{
    uint16_t segment = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)message, c))
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_SEGMENT)
            memcpy(&segment, CMSG_DATA(c), sizeof(segment));
    return segment;
}

static inline int refuse(int error)
{
    errno = error;
    return -1;
}

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    size_t length = 0, segment;

    if (fd != wire_end)
        return __real_sendmsg(fd, message, flags);
    segment = segment_of(message);
    for (size_t i = 0; i < message->msg_iovlen; i++)
        length += message->msg_iov[i].iov_len;
    if (seen.sends < ARRAY_SIZE(seen.lengths))
        seen.lengths[seen.sends] = length;
    seen.sends++;
    seen.sends_of_segments += segment != 0;
    if (segment && refusal.send_segments)
        return refuse(refusal.send_segments);
    if (refusal.send && (refusal.sends_left == 0 || refusal.sends_left-- == 0))
        return refuse(refusal.send);
    if (refusal.datagram_most && !seen.may_fragment && (segment ? segment : length) > refusal.datagram_most) {
        seen.path_error = true;
        return refuse(EMSGSIZE);
    }
    return __real_sendmsg(fd, message, flags);
}

/* The error queue: as ip_local_error of net/ipv4/ip_sockglue.c fills it. */
static inline ssize_t tell_path_mtu(struct msghdr *message)
{
    struct sock_extended_err error = {
        .ee_errno = EMSGSIZE, .ee_origin = SO_EE_ORIGIN_LOCAL, .ee_info = (uint32_t)refusal.datagram_most + 28};
    struct sockaddr_in *about = message->msg_name;
    struct cmsghdr *c;

    seen.path_error = false;
    *about = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    message->msg_controllen = CMSG_SPACE(sizeof(error));
    c = CMSG_FIRSTHDR(message);
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(error)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_RECVERR};
    memcpy(CMSG_DATA(c), &error, sizeof(error));
    return 0;
}

ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t n;

    if (fd == wire_end && (flags & MSG_ERRQUEUE) && seen.path_error)
        return tell_path_mtu(message);
    n = __real_recvmsg(fd, message, flags);
    if (fd == wire_end && n >= 0)
        message->msg_flags |= refusal.receive_flags;
    return n;
}

ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
    struct virtio_net_hdr header;

    if (fd != device_end)
        return __real_write(fd, bytes, length);
    memcpy(&header, bytes, sizeof(header));
    seen.writes_of_super += header.gso_type != VIRTIO_NET_HDR_GSO_NONE;
    seen.writes_of_udp_super += header.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4;
    if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE && refusal.write_super)
        return refuse(refusal.write_super);
    return refusal.write ? refuse(refusal.write) : __real_write(fd, bytes, length);
}

int __wrap_ioctl(int fd, unsigned long request, unsigned long argument);
int __wrap_ioctl(int fd, unsigned long request, unsigned long argument)
{
    assert_int_equal(fd, device_end);
    assert_int_equal(request, TUNSETOFFLOAD);
    if (refusal.offload && argument != 0)
        return refuse(refusal.offload);
    if (refusal.offload_uso && (argument & (TUN_F_USO4 | TUN_F_USO6)))
        return refuse(refusal.offload_uso);
    seen.offload = argument;
    return 0;
}

int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    if (fd == wire_end && level == SOL_UDP && name == UDP_GRO && refusal.gro)
        return refuse(refusal.gro);
    if (fd == wire_end && level == IPPROTO_IP && name == IP_MTU_DISCOVER)
        seen.may_fragment = *(const int *)value == IP_PMTUDISC_DONT;
    return __real_setsockopt(fd, level, name, value, size);
}

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    if (fd == wire_end && level == SOL_UDP && name == UDP_SEGMENT && refusal.segment)
        return refuse(refusal.segment);
    return __real_getsockopt(fd, level, name, value, size);
}

#endif

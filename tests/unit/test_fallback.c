/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the udp worker does where the kernel refuses an offload, or has no room: the worker's own code, between a packet
 * socket in the place of the device's queue and a UDP socket in the place of the peer. The linker puts the functions
 * `__wrap_…` below in the place of the system calls: each does the real call, unless the case at hand refuses it.
 *
 * Whatever is refused, the peer and the device must get the very bytes that they get where nothing is offloaded.
 */
#include "super_packet.h"

#include "tunwright/worker.h"
#include "worker/forwarder.h"
#include "worker/udp_unwrap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* ---- what the kernel refuses ------------------------------------------------------------------------------------- */

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
    unsigned long offload; /* the last TUNSETOFFLOAD that was granted */
    bool path_error;       /* EMSGSIZE was said, and not yet why */
    bool may_fragment;     /* IP_PMTUDISC_DONT */
} seen;

static int device_end = -1, wire_end = -1; /* the worker's */

static uint16_t segment_of(const struct msghdr *message)
{
    uint16_t segment = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)message, c))
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_SEGMENT)
            memcpy(&segment, CMSG_DATA(c), sizeof(segment));
    return segment;
}

static int refuse(int error)
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
static ssize_t tell_path_mtu(struct msghdr *message)
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

/* ---- the worker and its surroundings ----------------------------------------------------------------------------- */

#define ALL_OFF                                                                                                        \
    "\"offload\":{\"tso\":false,\"uso\":false,\"merge\":false,\"udp_segment\":false,\"udp_gro\":false,\"checksum\":"   \
    "false}"
#define GUE "\"header\":\"gue\""

struct worker {
    int page_fd, queue, queue_far, wire, peer;
    struct counter_page *page;
    struct forwarder *forwarder;
    struct counter_slot before;
};

static int udp_socket(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), bytes = 8 << 20;

    assert_true(fd >= 0);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static uint16_t local_port, remote_port;

/* `fields`: further members of the udp worker. */
static void worker_configure(struct worker *w, const char *fields)
{
    char message[1024];
    struct config_head head;
    int fds[] = {fcntl(w->page_fd, F_DUPFD_CLOEXEC, 0), fcntl(w->queue, F_DUPFD_CLOEXEC, 0),
                 fcntl(w->wire, F_DUPFD_CLOEXEC, 0)};
    struct forwarder *forwarder;
    struct err err = {0};
    int length =
        snprintf(message, sizeof(message),
                 "configure queues=1 sockets=1 tag=0 program=w\n{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},"
                 "\"worker\":{\"type\":\"udp\",\"local\":\"127.0.0.1:%u\",\"remote\":\"127.0.0.1:%u\"%s%s}}",
                 local_port, remote_port, fields[0] ? "," : "", fields);

    assert_int_equal(config_head_parse(message, (size_t)length, &head, &err), 0);
    device_end = fds[1];
    wire_end = fds[2];
    if (forwarder_new(message, (size_t)length, &head, fds, 3, &forwarder, &err) < 0)
        fail_msg("%s: %s", err.pointer, err.message);
    forwarder_free(w->forwarder);
    w->forwarder = forwarder;
    forwarder_begin(forwarder);
}

static int worker_setup(void **state)
{
    struct worker *w = calloc(1, sizeof(*w));
    int queue[2], bytes = 4 << 20;

    memset(&refusal, 0, sizeof(refusal));
    memset(&seen, 0, sizeof(seen));
    assert_non_null(w);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, queue), 0);
    for (int i = 0; i < 2; i++)
        if (setsockopt(queue[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
            setsockopt(queue[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    w->queue = queue[0];
    w->queue_far = queue[1];
    w->wire = udp_socket(&local_port);
    w->peer = udp_socket(&remote_port);
    w->page_fd = memfd_create("counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(w->page_fd, COUNTER_PAGE_SIZE), 0);
    w->page = mmap(NULL, COUNTER_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, w->page_fd, 0);
    assert_ptr_not_equal(w->page, MAP_FAILED);
    w->page->magic = COUNTER_PAGE_MAGIC;
    w->page->version = COUNTER_PAGE_VERSION;
    w->page->slot_count = COUNTER_SLOTS;
    assert_int_equal(fcntl(w->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    *state = w;
    return 0;
}

static int worker_teardown(void **state)
{
    struct worker *w = *state;

    forwarder_free(w->forwarder);
    munmap(w->page, COUNTER_PAGE_SIZE);
    fd_done(&w->page_fd);
    fd_done(&w->queue);
    fd_done(&w->queue_far);
    fd_done(&w->wire);
    fd_done(&w->peer);
    free(w);
    device_end = wire_end = -1;
    return 0;
}

static const struct counter_slot *counters(const struct worker *w)
{
    return &w->page->slots[0];
}

/* The switch or the kernel: what its status says is in force. */
static void expect_report(struct worker *w, const char *name, bool value)
{
    char wanted[64];
    char *status;

    w->forwarder->lanes[0].news = true;
    lane_publish(&w->forwarder->lanes[0]);
    status = forwarder_status(w->forwarder);
    snprintf(wanted, sizeof(wanted), "\"%s\":%s", name, value ? "true" : "false");
    if (!strstr(status, wanted))
        fail_msg("%s is not in %s", wanted, status);
    free(status);
}

static void expect_all_counted(const struct worker *w)
{
    const struct counter_slot *now = counters(w);
    uint64_t drops = 0;

    for (size_t i = 0; i < ARRAY_SIZE(now->drops); i++)
        drops += now->drops[i];
    assert_int_equal(now->device_in.packets + now->wire_in.packets,
                     now->wire_out.packets + now->device_out.packets + drops);
}

/* ---- packets in rows --------------------------------------------------------------------------------------------- */

struct row {
    size_t count, used;
    size_t ends[4096];
    uint8_t bytes[4 << 20];
};

static void row_add(struct row *row, const void *bytes, size_t length)
{
    assert_true(row->count < ARRAY_SIZE(row->ends) && row->used + length <= sizeof(row->bytes));
    memcpy(row->bytes + row->used, bytes, length);
    row->used += length;
    row->ends[row->count++] = row->used;
}

static const uint8_t *row_get(const struct row *row, size_t index, size_t *ret_length)
{
    size_t begin = index ? row->ends[index - 1] : 0;

    *ret_length = row->ends[index] - begin;
    return row->bytes + begin;
}

static void expect_same(const struct row *row, const struct row *wanted)
{
    if (row->count != wanted->count)
        fail_msg("%zu packets instead of %zu", row->count, wanted->count);
    for (size_t i = 0; i < row->count; i++) {
        size_t length, wanted_length;
        const uint8_t *bytes = row_get(row, i, &length), *wanted_bytes = row_get(wanted, i, &wanted_length);

        if (length != wanted_length || memcmp(bytes, wanted_bytes, length) != 0)
            fail_msg("packet %zu of %zu differs", i, row->count);
    }
}

/* What a device hands over: super-packets of each kind, and plain ones in between. The same ones each time. */
#define OFFERS 60

static size_t offer_make(unsigned number, uint8_t *out, struct virtio_net_hdr *ret_header)
{
    struct recipe recipe;
    size_t length;

    srand(number + 1);
    recipe = recipe_random();
    recipe.kind = DEVICE_TUN;
    recipe.tos &= 0xfc;
    recipe.size = 200 + number % 7 * 150;
    recipe.payload_length = recipe.size * (1 + number * 7 % 30);
    if (number % 10 == 0)
        recipe.payload_length = recipe.size; /* one packet, with its checksum to be made */
    length = recipe_make(&recipe, out, ret_header);
    if (recipe.payload_length <= recipe.size) {
        ret_header->gso_type = VIRTIO_NET_HDR_GSO_NONE;
        ret_header->gso_size = 0;
    }
    return length;
}

static void row_add_split(struct row *row, const struct virtio_net_hdr *header, uint8_t *bytes, size_t length)
{
    static uint8_t one[PACKET_ROOM];
    struct packet_view view;
    struct split split;
    size_t segment, got;

    if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
        assert_int_equal(split_finish_checksum(header, bytes, length), 0);
        row_add(row, bytes, length);
        return;
    }
    assert_int_equal(packet_parse(DEVICE_TUN, bytes, length, &view), 0);
    assert_int_equal(split_init(&split, header, bytes, length, &view), 0);
    while (split_next(&split, one, sizeof(one), 1, &segment, &got) == 1)
        row_add(row, one, got);
}

/* All that is offered, as the packets that they are: what anybody gets where nothing is offloaded. */
static struct row *all_offers(void)
{
    static uint8_t bytes[PACKET_ROOM];
    struct row *row = calloc(1, sizeof(*row));

    for (unsigned number = 0; number < OFFERS; number++) {
        struct virtio_net_hdr header;
        size_t length = offer_make(number, bytes, &header);

        row_add_split(row, &header, bytes, length);
    }
    for (size_t i = 0; i < row->count; i++) {
        size_t length;
        const uint8_t *packet = row_get(row, i, &length);

        assert_packet_right(DEVICE_TUN, packet, length);
    }
    return row;
}

/* ---- from the device to the wire --------------------------------------------------------------------------------- */

static void device_offer(const struct worker *w, const struct virtio_net_hdr *header, const uint8_t *bytes,
                         size_t length)
{
    static uint8_t packet[PACKET_ROOM + DEVICE_HEADER_SIZE];

    memcpy(packet, header, DEVICE_HEADER_SIZE);
    memcpy(packet + DEVICE_HEADER_SIZE, bytes, length);
    assert_int_equal(send(w->queue_far, packet, DEVICE_HEADER_SIZE + length, 0), DEVICE_HEADER_SIZE + length);
}

static void peer_take_all(const struct worker *w, struct row *row)
{
    static uint8_t datagram[PACKET_ROOM];

    for (;;) {
        ssize_t n = recv(w->peer, datagram, sizeof(datagram), MSG_DONTWAIT);

        if (n < 0)
            break;
        row_add(row, datagram, (size_t)n);
    }
}

/* Behind a GUE header, which must be one that leaves nothing to be done, or says what is. */
static void row_unwrap(struct row *row)
{
    struct row *bare = calloc(1, sizeof(*bare));

    for (size_t i = 0; i < row->count; i++) {
        size_t length;
        uint8_t *bytes = (uint8_t *)(uintptr_t)row_get(row, i, &length);
        struct udp_arrival arrival;

        assert_int_equal(udp_unwrap(DEVICE_TUN, bytes, length, 0, &arrival), PACKET_FORWARD);
        assert_int_equal(split_finish_checksum(&arrival.header, bytes + arrival.head, length - arrival.head), 0);
        row_add(bare, bytes + arrival.head, length - arrival.head);
    }
    *row = *bare;
    free(bare);
}

/* Offers all; returns what the peer got. `plainly`: as the packets that they are. */
static struct row *send_all(struct worker *w, bool plainly)
{
    static uint8_t bytes[PACKET_ROOM];
    struct row *got = calloc(1, sizeof(*got)), *plain = plainly ? all_offers() : NULL;
    size_t count = plain ? plain->count : OFFERS;

    for (size_t i = 0; i < count; i++) {
        struct virtio_net_hdr header = no_header;
        size_t length;

        if (plain) {
            const uint8_t *packet = row_get(plain, i, &length);
            memcpy(bytes, packet, length);
        } else {
            length = offer_make((unsigned)i, bytes, &header);
        }
        device_offer(w, &header, bytes, length);
        if (i % 3 == 2 || i + 1 == count) { /* several at a time, so that they meet in one batch */
            lane_on_queue(&w->forwarder->lanes[0], POLLIN);
            peer_take_all(w, got);
        }
    }
    free(plain);
    return got;
}

static void expect_delivery_out(struct worker *w, bool plainly)
{
    struct row *wanted = all_offers(), *got = send_all(w, plainly);

    expect_same(got, wanted);
    assert_int_equal(counters(w)->wire_out.packets, counters(w)->device_in.packets);
    assert_int_equal(counters(w)->wire_out.packets, wanted->count);
    expect_all_counted(w);
    free(wanted);
    free(got);
}

/* ---- from the wire to the device --------------------------------------------------------------------------------- */

/* Sends packets from `first` on, as many as go in one send and have one length; returns where the next begins. */
static size_t peer_send_some(const struct worker *w, const struct row *row, size_t first)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(local_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    size_t length, total, next = first + 1;
    struct iovec part = {.iov_base = (void *)(uintptr_t)row_get(row, first, &length)};
    struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &part, .msg_iovlen = 1};

    for (total = length; next < row->count && next - first < 40; next++) {
        size_t more;

        row_get(row, next, &more);
        if (more > length || total + more > 60000)
            break;
        total += more;
        if (more < length) {
            next++;
            break;
        }
    }
    part.iov_len = total;
    if (next - first > 1) {
        struct cmsghdr *c;
        uint16_t segment = (uint16_t)length;

        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        c = CMSG_FIRSTHDR(&message);
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(segment)), .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT};
        memcpy(CMSG_DATA(c), &segment, sizeof(segment));
    }
    assert_int_equal(sendmsg(w->peer, &message, 0), total);
    return next;
}

static void device_take_all(const struct worker *w, struct row *row)
{
    static struct device_packet packet;

    for (;;) {
        ssize_t n = recv(w->queue_far, &packet.header, DEVICE_HEADER_SIZE + PACKET_ROOM, MSG_DONTWAIT);

        if (n < 0)
            break;
        assert_true(n > DEVICE_HEADER_SIZE);
        row_add_split(row, &packet.header, packet.bytes, (size_t)n - DEVICE_HEADER_SIZE);
    }
}

static struct row *receive_all(struct worker *w, const struct row *row)
{
    struct row *got = calloc(1, sizeof(*got));

    for (size_t at = 0; at < row->count;) {
        at = peer_send_some(w, row, at);
        lane_on_socket(&w->forwarder->lanes[0], POLLIN);
        device_take_all(w, got);
    }
    return got;
}

static void expect_delivery_in(struct worker *w)
{
    struct row *wanted = all_offers(), *got = receive_all(w, wanted);

    expect_same(got, wanted);
    assert_int_equal(counters(w)->wire_in.packets, wanted->count);
    assert_int_equal(counters(w)->device_out.packets, wanted->count);
    expect_all_counted(w);
    free(wanted);
    free(got);
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

static void nothing_offloaded(void **state)
{
    struct worker *w = *state;

    worker_configure(w, ALL_OFF);
    expect_delivery_out(w, true);
    expect_delivery_in(w);
    assert_int_equal(seen.sends_of_segments + seen.writes_of_super, 0);
    assert_int_equal(seen.offload, 0);
    for (const char *const *name =
             (const char *const[]){"tso", "uso", "merge", "udp_segment", "udp_gro", "checksum", NULL};
         *name; name++)
        expect_report(w, *name, false);
}

static void everything_offloaded(void **state)
{
    struct worker *w = *state;

    worker_configure(w, "");
    expect_delivery_out(w, false);
    expect_delivery_in(w);
    assert_true(seen.sends_of_segments > 10 && seen.writes_of_super > 10 && seen.writes_of_udp_super > 3);
    assert_true(seen.sends < counters(w)->wire_out.packets / 4);
    for (const char *const *name = (const char *const[]){"tso", "uso", "merge", "udp_segment", "udp_gro", NULL}; *name;
         name++)
        expect_report(w, *name, true);
    expect_report(w, "checksum", false); /* which takes a GUE header */
}

/* Each switch by itself: what it is for is not used, and the report says so. */
static void each_switch(void **state)
{
    static const char *const names[] = {"tso", "uso", "merge", "udp_segment", "udp_gro"};
    struct worker *w = *state;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char fields[64];

        memset(&seen, 0, sizeof(seen));
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        snprintf(fields, sizeof(fields), "\"offload\":{\"%s\":false}", names[i]);
        worker_configure(w, fields);
        for (size_t other = 0; other < ARRAY_SIZE(names); other++)
            expect_report(w, names[other], other != i && !(i == 0 && other == 1)); /* no uso without tso */
        expect_delivery_out(w, false); /* what was in the queue when it was turned off */
        assert_int_equal(seen.sends_of_segments == 0, strcmp(names[i], "udp_segment") == 0);
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        expect_delivery_in(w);
        assert_int_equal(seen.writes_of_super == 0, strcmp(names[i], "merge") == 0 || strcmp(names[i], "udp_gro") == 0);
        assert_int_equal((seen.offload & TUN_F_TSO4) == 0, i == 0);
        assert_int_equal((seen.offload & TUN_F_USO4) == 0, i <= 1);
    }
}

static void no_uso(void **state)
{
    struct worker *w = *state;

    refusal.offload_uso = EINVAL;
    worker_configure(w, "");
    expect_report(w, "tso", true);
    expect_report(w, "uso", false);
    expect_delivery_out(w, false);
    expect_delivery_in(w);
    assert_true(seen.writes_of_super > 0);
    assert_int_equal(seen.writes_of_udp_super, 0); /* nor would it understand them */
}

static void no_tso(void **state)
{
    struct worker *w = *state;

    refusal.offload = EINVAL;
    worker_configure(w, "");
    expect_report(w, "tso", false);
    expect_report(w, "uso", false);
    expect_delivery_out(w, true);
    expect_delivery_in(w);
}

/* Linux 6.6.44 and 6.10.3. The first is written again as packets, and there is no second. */
static void super_packets_refused_by_the_device(void **state)
{
    struct worker *w = *state;

    refusal.write_super = EINVAL;
    worker_configure(w, "");
    expect_report(w, "merge", true);
    expect_delivery_in(w);
    assert_int_equal(seen.writes_of_super, 1);
    expect_report(w, "merge", false);
    expect_report(w, "tso", true);
}

/* EIO: the way out has no checksum offload, and will not have any. */
static void segments_refused_for_good(void **state)
{
    struct worker *w = *state;

    refusal.send_segments = EIO;
    worker_configure(w, "");
    expect_report(w, "udp_segment", true);
    expect_delivery_out(w, false);
    assert_int_equal(seen.sends_of_segments, 1);
    expect_report(w, "udp_segment", false);
}

/* EMSGSIZE, with a path that takes each by itself; EINVAL, which older kernels say of it: both may end. */
static void segments_refused_now_and_then(void **state)
{
    static const int errors[] = {EMSGSIZE, EINVAL};
    struct worker *w = *state;

    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        memset(&seen, 0, sizeof(seen));
        refusal.send_segments = errors[i];
        worker_configure(w, "");
        expect_delivery_out(w, false);
        assert_true(seen.sends_of_segments > 10);
        expect_report(w, "udp_segment", true);
    }
}

static void no_udp_segment(void **state)
{
    struct worker *w = *state;

    refusal.segment = ENOPROTOOPT;
    worker_configure(w, "");
    expect_report(w, "udp_segment", false);
    expect_delivery_out(w, false);
    assert_int_equal(seen.sends_of_segments, 0);
}

static void no_udp_gro(void **state)
{
    struct worker *w = *state;

    refusal.gro = ENOPROTOOPT;
    worker_configure(w, "");
    expect_report(w, "udp_gro", false);
    expect_delivery_in(w);
}

/* Puts the fragments of IPv4 packets together again, which come one after the other. */
static void row_reassemble(struct row *row)
{
    static uint8_t whole[PACKET_ROOM];
    struct row *put = calloc(1, sizeof(*put));
    size_t held = 0;

    for (size_t i = 0; i < row->count; i++) {
        size_t length;
        const uint8_t *packet = row_get(row, i, &length);
        uint16_t fragment = packet[0] >> 4 == 4 ? load_be16(packet + 6) : 0;

        if (!(fragment & 0x3fff)) {
            row_add(put, packet, length);
            continue;
        }
        assert_int_equal(naive_checksum(0, packet, 20), 0);
        assert_int_equal((fragment & 0x1fff) * 8, held ? held - 20 : 0);
        if (held)
            assert_memory_equal(packet + 4, whole + 4, 2); /* of the same packet */
        else
            memcpy(whole, packet, held = 20);
        memcpy(whole + held, packet + 20, length - 20);
        held += length - 20;
        if (fragment & 0x2000)
            continue;
        store_be16(whole + 2, (uint16_t)held);
        store_be16(whole + 6, 0);
        store_be16(whole + 10, 0);
        store_be16(whole + 10, naive_checksum(0, whole, 20));
        row_add(put, whole, held);
        held = 0;
    }
    assert_int_equal(held, 0);
    *row = *put;
    free(put);
}

/* The path takes less than the segments. IPv4 packets that may be fragmented arrive in fragments, IPv6 ones that nobody
 * can make smaller in a datagram that is; the others are dropped and answered with what would fit. */
static void a_narrow_path(void **state)
{
    enum { PATH = 600 };
    struct worker *w = *state;
    struct row *all = all_offers(), *wanted = calloc(1, sizeof(*wanted)), *answers = calloc(1, sizeof(*answers)), *got;
    size_t dropped = 0;

    for (size_t i = 0; i < all->count; i++) {
        size_t length;
        const uint8_t *packet = row_get(all, i, &length);

        if (length > PATH && packet[0] >> 4 == 4 && packet[6] & 0x40)
            dropped++;
        else
            row_add(wanted, packet, length);
    }
    refusal.datagram_most = PATH;
    worker_configure(w, "");
    got = send_all(w, false);
    row_reassemble(got);
    expect_same(got, wanted);
    assert_int_equal(counters(w)->drops[DROP_TOO_BIG], dropped);
    device_take_all(w, answers);
    assert_in_range(answers->count, 1, 100 + 5); /* at most so many a second */
    assert_true(answers->count <= dropped);
    for (size_t i = 0; i < answers->count; i++) {
        size_t length;
        const uint8_t *answer = row_get(answers, i, &length);

        assert_true(answer[0] == 0x45 && answer[9] == 1 && answer[20] == 3 && answer[21] == 4);
        assert_int_equal(load_be16(answer + 26), PATH);
    }
    w->forwarder->lanes[0].news = true;
    lane_publish(&w->forwarder->lanes[0]);
    char *status = forwarder_status(w->forwarder);
    assert_non_null(strstr(status, "\"path_mtu\":628"));
    free(status);
    expect_report(w, "udp_segment", true);
    free(all);
    free(wanted);
    free(answers);
    free(got);
}

/* No room: each packet of the batch is counted, and the next ones go out. */
static void no_room_on_the_wire(void **state)
{
    static const int errors[] = {ENOBUFS, EAGAIN, ENOMEM};
    struct worker *w = *state;

    worker_configure(w, "");
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        struct row *got;
        const struct counter_slot *now = counters(w);

        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        refusal.send = errors[i];
        refusal.sends_left = 5;
        got = send_all(w, false);
        assert_int_equal(now->wire_out.packets, got->count);
        assert_true(got->count > 0 && now->drops[DROP_QUEUE_FULL] > 0);
        assert_int_equal(now->drops[DROP_QUEUE_FULL], now->device_in.packets - now->wire_out.packets);
        expect_all_counted(w);
        free(got);
        refusal.send = 0;
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        expect_delivery_out(w, false);
        expect_report(w, "udp_segment", true);
    }
}

static void no_room_in_the_device(void **state)
{
    static const struct {
        int error;
        enum drop_reason reason;
    } cases[] = {{ENOBUFS, DROP_QUEUE_FULL},
                 {EAGAIN, DROP_QUEUE_FULL},
                 {ENOMEM, DROP_QUEUE_FULL},
                 {EIO, DROP_DEVICE_DOWN},
                 {EBADFD, DROP_DEVICE_DOWN}};
    struct worker *w = *state;
    struct row *wanted = all_offers();

    worker_configure(w, "");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct row *got;

        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        refusal.write = cases[i].error;
        got = receive_all(w, wanted);
        assert_int_equal(got->count, 0);
        assert_int_equal(counters(w)->drops[cases[i].reason], wanted->count);
        expect_all_counted(w);
        refusal.write = 0;
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        expect_delivery_in(w);
        expect_report(w, "merge", true);
        free(got);
    }
    free(wanted);
}

static void cut_datagrams(void **state)
{
    struct worker *w = *state;
    struct row *wanted = all_offers(), *got;

    worker_configure(w, "");
    refusal.receive_flags = MSG_TRUNC;
    got = receive_all(w, wanted);
    assert_int_equal(got->count, 0);
    assert_int_equal(counters(w)->drops[DROP_MALFORMED], wanted->count);
    expect_all_counted(w);
    free(got);
    free(wanted);
}

static void gro_configure(struct worker *w, const char *header, bool on)
{
    char fields[128];

    snprintf(fields, sizeof(fields), "%s,\"offload\":{\"udp_gro\":%s}", header, on ? "true" : "false");
    worker_configure(w, fields);
}

/* What was put together before UDP_GRO went off is waiting still; and the reverse. */
static void gro_turned_off_and_on(void **state)
{
    static const char *const headers[] = {"\"header\":\"none\"", GUE};
    struct worker *w = *state;
    struct row *wanted = all_offers(), *wrapped = calloc(1, sizeof(*wrapped));

    for (size_t i = 0; i < wanted->count; i++) {
        uint8_t bytes[2048];
        struct udp_head head;
        size_t length;
        const uint8_t *packet = row_get(wanted, i, &length);

        udp_head_make(packet[0] >> 4, &no_header, &head);
        memcpy(bytes, head.bytes, head.length);
        memcpy(bytes + head.length, packet, length);
        row_add(wrapped, bytes, head.length + length);
    }
    for (size_t i = 0; i < 2 * ARRAY_SIZE(headers); i++) {
        const struct row *sent = i < 2 ? wanted : wrapped;
        struct row *got = calloc(1, sizeof(*got));

        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        for (size_t at = 0, round = 0; at < sent->count; round++) {
            gro_configure(w, headers[i / 2], round % 2 == 0);
            for (int some = 0; some < 4 && at < sent->count; some++)
                at = peer_send_some(w, sent, at);
            gro_configure(w, headers[i / 2], round % 2 != 0);
            lane_on_socket(&w->forwarder->lanes[0], POLLIN);
            device_take_all(w, got);
        }
        expect_same(got, wanted);
        assert_int_equal(counters(w)->wire_in.packets, wanted->count);
        expect_all_counted(w);
        free(got);
    }
    free(wanted);
    free(wrapped);
}

/* Behind GUE headers: with checksums left to the far end, and without. */
static void gue(void **state)
{
    static const char *const fields[] = {GUE, GUE ",\"offload\":{\"checksum\":false}", GUE "," ALL_OFF};
    struct worker *w = *state;
    struct row *wanted = all_offers();

    for (size_t i = 0; i < 2 * ARRAY_SIZE(fields); i++) {
        struct row *got;

        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        refusal.send_segments = i % 2 ? EIO : 0;
        worker_configure(w, fields[i / 2]);
        expect_report(w, "checksum", i / 2 == 0);
        got = send_all(w, false);
        row_unwrap(got);
        expect_same(got, wanted);
        expect_all_counted(w);
        free(got);
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        expect_delivery_in(w); /* bare ones are understood, too */
    }
    free(wanted);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, worker_setup, worker_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_offloaded),
        CASE(everything_offloaded),
        CASE(each_switch),
        CASE(no_uso),
        CASE(no_tso),
        CASE(super_packets_refused_by_the_device),
        CASE(segments_refused_for_good),
        CASE(segments_refused_now_and_then),
        CASE(no_udp_segment),
        CASE(no_udp_gro),
        CASE(a_narrow_path),
        CASE(no_room_on_the_wire),
        CASE(no_room_in_the_device),
        CASE(cut_datagrams),
        CASE(gro_turned_off_and_on),
        CASE(gue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

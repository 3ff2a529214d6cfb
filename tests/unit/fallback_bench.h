/* SPDX-License-Identifier: Apache-2.0 */
/* The udp worker's own code between a packet socket, in the place of the device's queue, and a UDP socket, in the place of
 * the peer: what is offered to it, and what must be delivered. */
#ifndef TUNWRIGHT_TEST_FALLBACK_BENCH_H
#define TUNWRIGHT_TEST_FALLBACK_BENCH_H

#include "fallback_kernel.h"

#include "tunwright/worker.h"
#include "worker/forwarder.h"
#include "worker/udp_unwrap.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

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

static inline int udp_socket(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), bytes = 8 << 20, on = 1;

    assert_true(fd >= 0);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on)), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static uint16_t local_port, remote_port;
static const char *device_kind; /* that is said to be there */

/* `fields`: further members of the udp worker. */
static inline void worker_configure(struct worker *w, const char *fields)
{
    char message[1024];
    struct config_head head;
    int fds[] = {fcntl(w->page_fd, F_DUPFD_CLOEXEC, 0), fcntl(w->queue, F_DUPFD_CLOEXEC, 0),
                 fcntl(w->wire, F_DUPFD_CLOEXEC, 0)};
    struct forwarder *forwarder;
    struct err err = {0};
    int length =
        snprintf(message, sizeof(message),
                 "configure queues=1 sockets=1 tag=0 program=w\n{\"device\":{\"name\":\"tun0\",\"kind\":\"%s\"},"
                 "\"worker\":{\"type\":\"udp\",\"local\":\"127.0.0.1:%u\",\"remote\":\"127.0.0.1:%u\"%s%s}}",
                 device_kind, local_port, remote_port, fields[0] ? "," : "", fields);

    assert_int_equal(config_head_parse(message, (size_t)length, &head, &err), 0);
    device_end = fds[1];
    wire_end = fds[2];
    if (forwarder_new(message, (size_t)length, &head, fds, 3, &forwarder, &err) < 0)
        fail_msg("%s: %s", err.pointer, err.message);
    forwarder_free(w->forwarder);
    w->forwarder = forwarder;
    forwarder_begin(forwarder);
}

static inline int worker_setup(void **state)
{
    struct worker *w = calloc(1, sizeof(*w));
    int queue[2], bytes = 4 << 20;

    memset(&refusal, 0, sizeof(refusal));
    memset(&seen, 0, sizeof(seen));
    device_kind = "tun";
    srand(1);
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

static inline int worker_teardown(void **state)
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

static inline const struct counter_slot *counters(const struct worker *w)
{
    return &w->page->slots[0];
}

/* The switch or the kernel: what its status says is in force. */
static inline void expect_report(struct worker *w, const char *name, bool value)
{
    char wanted[64];
    char *status;

    w->forwarder->lanes[0].news = true;
    assert_true(lane_publish(&w->forwarder->lanes[0]));
    assert_false(lane_publish(&w->forwarder->lanes[0])); /* said once */
    status = forwarder_status(w->forwarder);
    snprintf(wanted, sizeof(wanted), "\"%s\":%s", name, value ? "true" : "false");
    if (!strstr(status, wanted))
        fail_msg("%s is not in %s", wanted, status);
    free(status);
}

static inline void expect_all_counted(const struct worker *w)
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

static inline void row_add(struct row *row, const void *bytes, size_t length)
{
    assert_true(row->count < ARRAY_SIZE(row->ends) && row->used + length <= sizeof(row->bytes));
    memcpy(row->bytes + row->used, bytes, length);
    row->used += length;
    row->ends[row->count++] = row->used;
}

static inline const uint8_t *row_get(const struct row *row, size_t index, size_t *ret_length)
{
    size_t begin = index ? row->ends[index - 1] : 0;

    *ret_length = row->ends[index] - begin;
    return row->bytes + begin;
}

static inline void expect_same(const struct row *row, const struct row *wanted)
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

static inline size_t offer_make(unsigned number, uint8_t *out, struct virtio_net_hdr *ret_header)
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

static inline void row_add_split(struct row *row, const struct virtio_net_hdr *header, uint8_t *bytes, size_t length)
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
static inline struct row *all_offers(void)
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

static inline void device_offer(const struct worker *w, const struct virtio_net_hdr *header, const uint8_t *bytes,
                                size_t length)
{
    static uint8_t packet[PACKET_ROOM + DEVICE_HEADER_SIZE];

    memcpy(packet, header, DEVICE_HEADER_SIZE);
    memcpy(packet + DEVICE_HEADER_SIZE, bytes, length);
    assert_int_equal(send(w->queue_far, packet, DEVICE_HEADER_SIZE + length, 0), DEVICE_HEADER_SIZE + length);
}

/* Each datagram's TOS must be that of the packet in it. */
static inline void peer_take_all(const struct worker *w, struct row *row)
{
    static uint8_t datagram[PACKET_ROOM];
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {.iov_base = datagram, .iov_len = sizeof(datagram)};

    for (;;) {
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(w->peer, &message, MSG_DONTWAIT);
        const struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        struct packet_view view;
        struct gue gue;
        int head;

        if (n < 0)
            break;
        head = gue_is_there(datagram, (size_t)n) ? gue_parse(datagram, (size_t)n, &gue) : 0;
        assert_true(head >= 0);
        assert_int_equal(packet_parse_bare(datagram + head, (size_t)(n - head), &view), 0);
        assert_true(c && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS);
        assert_int_equal(*CMSG_DATA(c), view.tos);
        row_add(row, datagram, (size_t)n);
    }
}

/* Behind a GUE header, which must be one that leaves nothing to be done, or says what is. */
static inline void row_unwrap(struct row *row)
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
static inline struct row *send_all(struct worker *w, bool plainly)
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

static inline void expect_delivery_out(struct worker *w, bool plainly)
{
    struct row *wanted = all_offers(), *got = send_all(w, plainly);

    expect_same(got, wanted);
    assert_int_equal(counters(w)->wire_out.packets, counters(w)->device_in.packets);
    assert_int_equal(counters(w)->wire_out.packets, wanted->count);
    assert_int_equal(counters(w)->device_in.bytes, wanted->used);
    assert_int_equal(counters(w)->wire_out.bytes, wanted->used);
    expect_all_counted(w);
    free(wanted);
    free(got);
}

/* ---- from the wire to the device --------------------------------------------------------------------------------- */

/* Sends packets from `first` on, as many as go in one send and have one length; returns where the next begins. */
static inline size_t peer_send_some(const struct worker *w, const struct row *row, size_t first)
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

static inline void device_take_all(const struct worker *w, struct row *row)
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

static inline struct row *receive_all(struct worker *w, const struct row *row)
{
    struct row *got = calloc(1, sizeof(*got));

    for (size_t at = 0; at < row->count;) {
        at = peer_send_some(w, row, at);
        lane_on_socket(&w->forwarder->lanes[0], POLLIN);
        device_take_all(w, got);
    }
    return got;
}

static inline void expect_delivery_in(struct worker *w)
{
    struct row *wanted = all_offers(), *got = receive_all(w, wanted);

    expect_same(got, wanted);
    assert_int_equal(counters(w)->wire_in.packets, wanted->count);
    assert_int_equal(counters(w)->device_out.packets, wanted->count);
    expect_all_counted(w);
    free(wanted);
    free(got);
}

#endif

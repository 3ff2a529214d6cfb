/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/merge.h"

#include "worker/checksum.h"

#include <endian.h>
#include <string.h>

enum {
    TCP_HEADER_LEAST = 20,
    TCP_SEQUENCE = 4,
    TCP_ACKNOWLEDGEMENT = 8,
    TCP_DATA_OFFSET = 12,
    TCP_FLAGS = 13,
    TCP_WINDOW = 14,
    TCP_OPTIONS = 20,
    UDP_LENGTH = 4,

    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_ECE = 0x40,

    TCP_HEADER_MOST = 60,
    HEADERS_MOST = ETHERNET_HEADER_SIZE + 8 + IPV6_HEADER_SIZE + TCP_HEADER_MOST, /* with two VLAN tags */
};

/* Where the payload of a packet begins that could be merged; 0 for any other. */
static size_t merge_payload(const uint8_t *packet, size_t length, const struct packet_view *view, bool udp)
{
    size_t upper = view->ip + view->header_length, payload;

    if (view->version == 0 || view->ip + view->ip_length != length || view->more_fragments || view->fragment_offset > 0)
        return 0;
    if (view->version == 4 && view->header_length != IPV4_HEADER_SIZE)
        return 0; /* options may mean something for each packet */
    if (view->protocol == PROTOCOL_TCP && length - upper > TCP_HEADER_LEAST) {
        size_t header_size = (size_t)(packet[upper + TCP_DATA_OFFSET] >> 4) * 4;
        uint8_t flags = packet[upper + TCP_FLAGS];

        if (header_size < TCP_HEADER_LEAST || (packet[upper + TCP_DATA_OFFSET] & 0x0f) != 0 || !(flags & TCP_ACK) ||
            (flags & ~(TCP_ACK | TCP_PSH | TCP_ECE)) != 0)
            return 0;
        payload = upper + header_size;
    } else if (udp && view->protocol == PROTOCOL_UDP && length - upper > UDP_HEADER_SIZE) {
        if (load_be16(packet + upper + SPLIT_UDP_CHECKSUM) == 0 ||
            load_be16(packet + upper + UDP_LENGTH) != length - upper)
            return 0;
        payload = upper + UDP_HEADER_SIZE;
    } else {
        return 0;
    }
    return payload < length && payload <= HEADERS_MOST ? payload : 0;
}

/* The sum of the pseudo-header for so many bytes: the addresses are the same in the whole run. */
static uint64_t merge_pseudo(const struct merge *merge, size_t upper_length)
{
    return (uint64_t)merge->pseudo_sum + htobe16((uint16_t)upper_length);
}

/* IPv4's own, too: the super-packet gets a new one, which would hide that the old was wrong. */
static bool merge_ip_is_right(const uint8_t *packet, const struct packet_view *view)
{
    return view->version == 6 || checksum_finish(checksum_add(0, packet + view->ip, IPV4_HEADER_SIZE)) == 0;
}

void merge_begin(struct merge *merge, uint8_t *packet, size_t length, const struct packet_view *view,
                 const struct virtio_net_hdr *header, bool udp)
{
    size_t payload = merge_payload(packet, length, view, udp);

    *merge = (struct merge){
        .packet = packet,
        .length = length,
        .count = 1,
        .view = *view,
        .upper = view->ip + view->header_length,
        .payload = payload,
        .size = length - payload,
        .closed = payload == 0,
        .lone = *header,
    };
    if (merge->closed || view->protocol != PROTOCOL_TCP)
        return;
    merge->closed = packet[merge->upper + TCP_FLAGS] & TCP_PSH;
    merge->next_sequence = load_be32(packet + merge->upper + TCP_SEQUENCE) + (uint32_t)merge->size;
}

/* Whether the headers before the upper layer's say the same, but for what differs from packet to packet. */
static bool merge_ip_continues(const struct merge *merge, const uint8_t *packet)
{
    const uint8_t *first = merge->packet, *a = first + merge->view.ip, *b = packet + merge->view.ip;

    if (memcmp(first, packet, merge->view.ip) != 0) /* Ethernet, on tap */
        return false;
    if (merge->view.version == 6) /* all but the payload's length */
        return memcmp(a, b, 4) == 0 && memcmp(a + 6, b + 6, IPV6_HEADER_SIZE - 6) == 0;
    /* version, TOS; flags, TTL, protocol; addresses */
    if (memcmp(a, b, 2) != 0 || memcmp(a + 6, b + 6, 4) != 0 || memcmp(a + 12, b + 12, 8) != 0)
        return false;
    /* where a packet may be fragmented its ID means something (RFC 6864, 4): splitting counts on from the first */
    return merge->view.dont_fragment || (uint16_t)(load_be16(a + 4) + merge->count) == load_be16(b + 4);
}

static bool merge_upper_continues(const struct merge *merge, const uint8_t *packet)
{
    const uint8_t *a = merge->packet + merge->upper, *b = packet + merge->upper;

    if (memcmp(a, b, 4) != 0) /* ports */
        return false;
    if (merge->view.protocol == PROTOCOL_UDP)
        return true;
    return a[TCP_DATA_OFFSET] == b[TCP_DATA_OFFSET] && ((a[TCP_FLAGS] ^ b[TCP_FLAGS]) & ~TCP_PSH) == 0 &&
           memcmp(a + TCP_ACKNOWLEDGEMENT, b + TCP_ACKNOWLEDGEMENT, 4) == 0 &&
           memcmp(a + TCP_WINDOW, b + TCP_WINDOW, 2) == 0 && memcmp(a + TCP_OPTIONS - 2, b + TCP_OPTIONS - 2, 2) == 0 &&
           memcmp(a + TCP_OPTIONS, b + TCP_OPTIONS, merge->payload - merge->upper - TCP_OPTIONS) == 0 &&
           load_be32(b + TCP_SEQUENCE) == merge->next_sequence;
}

/* The first one's checksum is looked at when a second comes. */
static bool merge_verify_first(struct merge *merge)
{
    const uint8_t *ip = merge->packet + merge->view.ip;
    size_t upper_length = merge->length - merge->upper;

    if (merge->verified)
        return true;
    merge->pseudo_sum = (uint16_t)~checksum_finish(checksum_add_pseudo(
        0, packet_source(merge->packet, &merge->view), 2 * packet_address_size(&merge->view), merge->view.protocol, 0));
    merge->ip_sum = (uint16_t)~checksum_finish(checksum_add(0, ip, merge->view.header_length));
    merge->verified = merge_ip_is_right(merge->packet, &merge->view) &&
                      ((merge->lone.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
                       checksum_finish(checksum_add(merge_pseudo(merge, upper_length), merge->packet + merge->upper,
                                                    upper_length)) == 0);
    return merge->verified;
}

/* Moves the payload behind the run. `sum` is that of all that the packet's checksum covers before it: where it comes out
 * wrong with the payload, all bytes go back. */
static bool merge_move_verified(struct merge *merge, uint8_t *packet, size_t piece, uint64_t sum)
{
    uint8_t headers[HEADERS_MOST];

    memcpy(headers, packet, merge->payload); /* their place may be written over */
    if (checksum_finish(checksum_add_copy(sum, merge->packet + merge->length, packet + merge->payload, piece)) == 0)
        return true;
    memmove(packet + merge->payload, merge->packet + merge->length, piece);
    memcpy(packet, headers, merge->payload);
    return false;
}

static void merge_move(struct merge *merge, uint8_t *packet, size_t piece)
{
    memmove(merge->packet + merge->length, packet + merge->payload, piece);
}

static void merge_grow(struct merge *merge, size_t piece, uint8_t tcp_flags)
{
    merge->length += piece;
    merge->count++;
    merge->next_sequence += (uint32_t)piece;
    merge->closed = piece < merge->size || (tcp_flags & TCP_PSH);
    if (merge->view.protocol == PROTOCOL_TCP)
        merge->packet[merge->upper + TCP_FLAGS] |= tcp_flags & TCP_PSH;
}

bool merge_append(struct merge *merge, uint8_t *packet, size_t length, const struct packet_view *view,
                  const struct virtio_net_hdr *header)
{
    bool tcp = merge->view.protocol == PROTOCOL_TCP, moved = true;
    size_t piece;
    uint8_t flags = 0;

    if (merge->closed || merge->count == 0 || view->version != merge->view.version || view->ip != merge->view.ip ||
        merge_payload(packet, length, view, !tcp) != merge->payload || view->protocol != merge->view.protocol)
        return false;
    piece = length - merge->payload;
    if (piece > merge->size || (!tcp && piece != merge->size) || merge->length + piece > MERGE_MOST)
        return false;
    if (!merge_ip_continues(merge, packet) || !merge_upper_continues(merge, packet) || !merge_verify_first(merge) ||
        !merge_ip_is_right(packet, view))
        return false;
    if (tcp)
        flags = packet[merge->upper + TCP_FLAGS];
    if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
        merge_move(merge, packet, piece);
    else
        moved = merge_move_verified(merge, packet, piece,
                                    checksum_add(merge_pseudo(merge, length - merge->upper), packet + merge->upper,
                                                 merge->payload - merge->upper));
    if (moved)
        merge_grow(merge, piece, flags);
    return moved;
}

/* ---- the third and all that follow ------------------------------------------------------------------------------- */

/* From the IP header to the payload, what may differ from packet to packet of a run: IPv4's ID and checksum, TCP's
 * sequence number and PSH, and the checksum of both upper layers. */
#define ALIKE_MOST (IPV6_HEADER_SIZE + TCP_HEADER_MOST)

static const uint8_t differs[2][2][ALIKE_MOST] = {
    {
        {[4] = 0xff, 0xff, [10] = 0xff, 0xff, [26] = 0xff, 0xff},
        {[4] = 0xff, 0xff, [10] = 0xff, 0xff, [24] = 0xff, 0xff, 0xff, 0xff, [33] = TCP_PSH, [36] = 0xff, 0xff},
    },
    {
        {[46] = 0xff, 0xff},
        {[44] = 0xff, 0xff, 0xff, 0xff, [53] = TCP_PSH, [56] = 0xff, 0xff},
    },
};

/* Whether two headers differ in no other bits; the sum of the second. All headers are made of words of 32 bits. */
static bool headers_are_alike(const uint8_t *a, const uint8_t *b, const uint8_t *apart, size_t size, uint64_t *ret_sum)
{
    uint64_t sum = 0, differences = 0;
    uint32_t x, y, mask;

    for (size_t at = 0; at < size; at += sizeof(x)) {
        memcpy(&x, a + at, sizeof(x));
        memcpy(&y, b + at, sizeof(y));
        memcpy(&mask, apart + at, sizeof(mask));
        differences |= (x ^ y) & ~mask;
        sum += y;
    }
    *ret_sum = sum;
    return differences == 0;
}

static uint16_t load_16(const uint8_t *bytes)
{
    uint16_t value;

    memcpy(&value, bytes, sizeof(value));
    return value;
}

/* Of two IPv4 headers that differ in ID and checksum only, the first right: whether the second is. */
static bool ipv4_check_follows(const uint8_t *a, const uint8_t *b)
{
    uint32_t right = (uint32_t)load_16(a + 4) + load_16(a + 10), sum = (uint32_t)load_16(b + 4) + load_16(b + 10);

    return (right + 2 * 0xffff - sum) % 0xffff == 0;
}

bool merge_append_alike(struct merge *merge, uint8_t *packet, size_t length)
{
    const uint8_t *a = merge->packet + merge->view.ip, *b = packet + merge->view.ip;
    size_t upper = merge->view.header_length, check;
    bool tcp = merge->view.protocol == PROTOCOL_TCP, v4 = merge->view.version == 4, moved = true;
    uint8_t flags = 0;
    uint64_t sum;

    if (merge->closed || !merge->verified || length != merge->payload + merge->size ||
        merge->length + merge->size > MERGE_MOST || memcmp(merge->packet, packet, merge->view.ip) != 0 ||
        !headers_are_alike(a, b, differs[!v4][tcp], merge->payload - merge->view.ip, &sum))
        return false;
    if (v4 && (!ipv4_check_follows(a, b) ||
               (!merge->view.dont_fragment && (uint16_t)(load_be16(a + 4) + merge->count) != load_be16(b + 4))))
        return false;
    if (tcp && load_be32(b + upper + TCP_SEQUENCE) != merge->next_sequence)
        return false;
    if (tcp)
        flags = b[upper + TCP_FLAGS];
    check = upper + (tcp ? SPLIT_TCP_CHECKSUM : SPLIT_UDP_CHECKSUM);
    if (merge->lone.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        if (load_16(a + check) != load_16(b + check)) /* the pseudo-header's sum */
            return false;
        merge_move(merge, packet, merge->size);
    } else {
        if (!tcp && load_16(b + check) == 0)
            return false;
        /* the IP header is in the sum, and taken out again */
        sum += merge_pseudo(merge, length - merge->upper) + (uint16_t)~merge->ip_sum;
        moved = merge_move_verified(merge, packet, merge->size, sum);
    }
    if (moved)
        merge_grow(merge, merge->size, flags);
    return moved;
}

static void merge_patch_ip(struct merge *merge)
{
    uint8_t *ip = merge->packet + merge->view.ip;
    size_t length = merge->length - merge->view.ip;
    uint16_t check;

    if (merge->view.version == 6) {
        store_be16(ip + 4, (uint16_t)(length - IPV6_HEADER_SIZE));
        return;
    }
    store_be16(ip + 2, (uint16_t)length);
    memset(ip + 10, 0, 2);
    check = checksum_finish(checksum_add(0, ip, IPV4_HEADER_SIZE));
    memcpy(ip + 10, &check, sizeof(check));
}

void merge_finish(struct merge *merge, struct virtio_net_hdr *ret_header)
{
    bool tcp = merge->view.protocol == PROTOCOL_TCP, v4 = merge->view.version == 4;
    size_t upper_length = merge->length - merge->upper;
    uint8_t *upper = merge->packet + merge->upper;
    uint16_t sum;

    *ret_header = merge->lone;
    if (merge->count < 2)
        return;
    merge_patch_ip(merge);
    if (!tcp)
        store_be16(upper + UDP_LENGTH, (uint16_t)upper_length);
    /* the field holds the sum of the pseudo-header, for whoever makes the checksums */
    sum = (uint16_t)~checksum_finish(merge_pseudo(merge, upper_length));
    memcpy(upper + (tcp ? SPLIT_TCP_CHECKSUM : SPLIT_UDP_CHECKSUM), &sum, sizeof(sum));
    ret_header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    ret_header->gso_type = !tcp ? VIRTIO_NET_HDR_GSO_UDP_L4 : v4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
    ret_header->hdr_len = (uint16_t)merge->payload;
    ret_header->gso_size = (uint16_t)merge->size;
    ret_header->csum_start = (uint16_t)merge->upper;
    ret_header->csum_offset = tcp ? SPLIT_TCP_CHECKSUM : SPLIT_UDP_CHECKSUM;
}

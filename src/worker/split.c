/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/split.h"

#include "worker/checksum.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

enum {
    TCP_HEADER_LEAST = 20,
    TCP_SEQUENCE = 4,
    TCP_DATA_OFFSET = 12,
    TCP_FLAGS = 13,
    UDP_LENGTH = 4,

    HEADER_MOST = 60, /* of IPv4 and of TCP, with options */

    TCP_FIN = 0x01,
    TCP_PSH = 0x08,
    TCP_CWR = 0x80,
};

/* Which protocol and version a type of segmentation is about. */
static bool split_type_fits(uint8_t type, uint8_t version, uint8_t protocol)
{
    switch (type) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
        return version == 4 && protocol == PROTOCOL_TCP;
    case VIRTIO_NET_HDR_GSO_TCPV6:
        return version == 6 && protocol == PROTOCOL_TCP;
    default:
        return protocol == PROTOCOL_UDP;
    }
}

/* How long TCP's or UDP's header is; 0 where there is no whole one with at least a byte behind it. */
static size_t split_header_size(const uint8_t *header, const struct packet_upper *upper)
{
    size_t size = UDP_HEADER_SIZE;

    if (upper->protocol == PROTOCOL_TCP) {
        if (upper->length < TCP_HEADER_LEAST)
            return 0;
        size = (size_t)(header[TCP_DATA_OFFSET] >> 4) * 4;
        if (size < TCP_HEADER_LEAST)
            return 0;
    }
    return size < upper->length ? size : 0;
}

static uint16_t fold(uint64_t sum)
{
    return (uint16_t)~checksum_finish(sum);
}

/* The sums of the headers with zeros where segments differ, and where checksums go. */
static void split_sum_headers(struct split *split)
{
    size_t ip_header = split->version == 4 ? split->ip_header : 0, address_size = split->version == 4 ? 4 : 16;
    size_t header_size = split->payload - split->upper;
    const uint8_t *ip = split->packet + split->ip;
    uint8_t copy[HEADER_MOST];

    memcpy(copy, ip, ip_header);
    if (ip_header > 0) {
        memset(copy + 2, 0, 4); /* length, ID */
        memset(copy + 10, 0, 2);
    }
    split->ip_sum = fold(checksum_add(0, copy, ip_header));
    split->pseudo_sum =
        fold(checksum_add_pseudo(0, ip + (split->version == 4 ? 12 : 8), 2 * address_size, split->protocol, 0));
    memcpy(copy, split->packet + split->upper, header_size);
    memset(copy + 4, 0, split->protocol == PROTOCOL_TCP ? 4 : 2); /* TCP's sequence number, UDP's length */
    if (split->protocol == PROTOCOL_TCP)
        memset(copy + TCP_DATA_OFFSET, 0, 2); /* with the flags */
    memset(copy + split_checksum_offset(split), 0, 2);
    split->upper_sum = fold(checksum_add(0, copy, header_size));
}

int split_init(struct split *ret_split, const struct virtio_net_hdr *header, const uint8_t *packet, size_t length,
               const struct packet_view *view)
{
    uint8_t type = header->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
    struct packet_upper upper;
    size_t header_size;

    if (type != VIRTIO_NET_HDR_GSO_TCPV4 && type != VIRTIO_NET_HDR_GSO_TCPV6 && type != VIRTIO_NET_HDR_GSO_UDP_L4)
        return -EOPNOTSUPP;
    /* what follows the IP packet in a frame would be cut as if it were payload */
    if (view->version == 0 || view->ip + view->ip_length != length || header->gso_size == 0 ||
        !(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return -EINVAL;
    if (packet_find_upper(packet, view, &upper) < 0 || upper.fragmented ||
        !split_type_fits(type, view->version, upper.protocol))
        return -EINVAL;
    header_size = split_header_size(packet + upper.offset, &upper);
    if (header_size == 0)
        return -EINVAL;
    *ret_split = (struct split){
        .packet = packet,
        .ip = view->ip,
        .ip_header = view->header_length,
        .upper = upper.offset,
        .payload = upper.offset + header_size,
        .length = length,
        .size = header->gso_size,
        .version = view->version,
        .protocol = upper.protocol,
    };
    split_sum_headers(ret_split);
    return 0;
}

/* IP's header; everything else in it was copied. */
static void split_write_ip(const struct split *split, uint8_t *ip, size_t length)
{
    uint16_t id, check;

    if (split->version == 6) {
        store_be16(ip + 4, (uint16_t)(length - IPV6_HEADER_SIZE));
        return;
    }
    id = (uint16_t)(load_be16(split->packet + split->ip + 4) + split->cut / split->size);
    store_be16(ip + 2, (uint16_t)length);
    store_be16(ip + 4, id);
    check = checksum_finish((uint64_t)split->ip_sum + htobe16((uint16_t)length) + htobe16(id));
    memcpy(ip + 10, &check, sizeof(check));
}

/* TCP's sequence number and flags; what they add to the sum. */
static uint64_t split_write_tcp(const struct split *split, uint8_t *tcp, bool last)
{
    const uint8_t *whole = split->packet + split->upper;
    uint32_t sequence = htobe32(load_be32(whole + TCP_SEQUENCE) + (uint32_t)split->cut);
    uint8_t word[2] = {whole[TCP_DATA_OFFSET], whole[TCP_FLAGS]};
    uint16_t flags;

    if (!last)
        word[1] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    if (split->cut > 0)
        word[1] &= (uint8_t)~TCP_CWR; /* said once, in the first (RFC 3168, 6.1.2) */
    memcpy(&flags, word, sizeof(flags));
    memcpy(tcp + TCP_SEQUENCE, &sequence, sizeof(sequence));
    memcpy(tcp + TCP_DATA_OFFSET, &flags, sizeof(flags));
    return (uint64_t)sequence + flags;
}

/* One segment; returns its length. */
static size_t split_segment(struct split *split, uint8_t *out)
{
    const uint8_t *from = split->packet + split->payload + split->cut;
    size_t left = split->length - split->payload - split->cut;
    size_t piece = left < split->size ? left : split->size;
    uint16_t upper_length = htobe16((uint16_t)(split->payload - split->upper + piece)), check;
    uint64_t pseudo = (uint64_t)split->pseudo_sum + upper_length, sum = pseudo + split->upper_sum;
    uint8_t *upper;

    if (split->head_length > 0)
        memcpy(out, split->head, split->head_length);
    out += split->head_length;
    upper = out + split->upper;
    memcpy(out, split->packet, split->payload);
    split_write_ip(split, out + split->ip, split->payload - split->ip + piece);
    if (split->protocol == PROTOCOL_TCP) {
        sum += split_write_tcp(split, upper, piece == left);
    } else {
        memcpy(upper + UDP_LENGTH, &upper_length, sizeof(upper_length));
        sum += upper_length;
    }
    if (split->leave_checksum) {
        memcpy(out + split->payload, from, piece);
        check = (uint16_t)~checksum_finish(pseudo);
    } else {
        check = checksum_finish(checksum_add_copy(sum, out + split->payload, from, piece));
        if (check == 0 && split->protocol == PROTOCOL_UDP)
            check = 0xffff; /* 0 would say that there is none (RFC 768) */
    }
    memcpy(upper + split_checksum_offset(split), &check, sizeof(check));
    split->cut += piece;
    return split->head_length + split->payload + piece;
}

size_t split_next(struct split *split, uint8_t *out, size_t room, size_t most, size_t *ret_length, size_t *ret_bytes)
{
    size_t count = 0, bytes = 0, total = split->length - split->payload;

    *ret_length = split_next_length(split);
    while (count < most && split->cut < total && split_next_length(split) <= room - bytes) {
        bytes += split_segment(split, out + bytes);
        count++;
    }
    *ret_bytes = bytes;
    return count;
}

int split_finish_checksum(const struct virtio_net_hdr *header, uint8_t *packet, size_t length)
{
    size_t field = (size_t)header->csum_start + header->csum_offset;
    uint16_t folded;

    if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return 0;
    if (field + sizeof(folded) > length)
        return -EINVAL;
    folded = checksum_finish(checksum_add(0, packet + header->csum_start, length - header->csum_start));
    if (folded == 0 && header->csum_offset == SPLIT_UDP_CHECKSUM)
        folded = 0xffff;
    memcpy(packet + field, &folded, sizeof(folded));
    return 0;
}

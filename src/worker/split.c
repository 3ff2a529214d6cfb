/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/split.h"

#include "worker/checksum.h"

#include <errno.h>
#include <string.h>

enum {
    TCP_HEADER_LEAST = 20,
    TCP_SEQUENCE = 4,
    TCP_DATA_OFFSET = 12,
    TCP_FLAGS = 13,
    UDP_LENGTH = 4,

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
    return 0;
}

static void split_patch_ip(const struct split *split, uint8_t *out, size_t index, size_t length)
{
    uint8_t *ip = out + split->ip;

    if (split->version == 6) {
        store_be16(ip + 4, (uint16_t)(length - split->ip - IPV6_HEADER_SIZE));
        return;
    }
    store_be16(ip + 2, (uint16_t)(length - split->ip));
    store_be16(ip + 4, (uint16_t)(load_be16(ip + 4) + index));
    memset(ip + 10, 0, 2);
    uint16_t check = checksum_finish(checksum_add(0, ip, split->ip_header));
    memcpy(ip + 10, &check, sizeof(check));
}

static void split_patch_tcp(const struct split *split, uint8_t *tcp, bool last)
{
    uint32_t sequence = (uint32_t)load_be16(tcp + TCP_SEQUENCE) << 16 | load_be16(tcp + TCP_SEQUENCE + 2);

    store_be32(tcp + TCP_SEQUENCE, sequence + (uint32_t)split->cut);
    if (!last)
        tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    if (split->cut > 0)
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR; /* said once, in the first (RFC 3168, 6.1.2) */
}

/* Copies the payload, and says what belongs into the field of the checksum, which is 0 now. */
static uint16_t split_payload(const struct split *split, uint8_t *out, size_t piece)
{
    const uint8_t *from = split->packet + split->payload + split->cut;
    size_t address_size = split->version == 4 ? 4 : 16, header_size = split->payload - split->upper;
    uint64_t sum = checksum_add_pseudo(0, out + split->ip + (split->version == 4 ? 12 : 8), 2 * address_size,
                                       split->protocol, header_size + piece);
    uint16_t folded;

    if (split->leave_checksum) {
        memcpy(out + split->payload, from, piece);
        return (uint16_t)~checksum_finish(sum);
    }
    sum = checksum_add(sum, out + split->upper, header_size);
    sum = checksum_add_copy(sum, out + split->payload, from, piece);
    folded = checksum_finish(sum);
    if (folded == 0 && split->protocol == PROTOCOL_UDP)
        return 0xffff; /* 0 would say that there is none (RFC 768) */
    return folded;
}

/* One segment; returns its length. */
static size_t split_segment(struct split *split, uint8_t *out)
{
    size_t left = split->length - split->payload - split->cut;
    size_t piece = left < split->size ? left : split->size;
    size_t length = split->payload + piece;
    uint8_t *upper, *check;
    uint16_t sum;

    if (split->head_length > 0)
        memcpy(out, split->head, split->head_length);
    out += split->head_length;
    upper = out + split->upper;
    check = upper + split_checksum_offset(split);
    memcpy(out, split->packet, split->payload);
    split_patch_ip(split, out, split->cut / split->size, length);
    if (split->protocol == PROTOCOL_TCP)
        split_patch_tcp(split, upper, piece == left);
    else
        store_be16(upper + UDP_LENGTH, (uint16_t)(length - split->upper));
    memset(check, 0, sizeof(sum));
    sum = split_payload(split, out, piece);
    memcpy(check, &sum, sizeof(sum));
    split->cut += piece;
    return split->head_length + length;
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

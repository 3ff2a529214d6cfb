/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/udp_unwrap.h"

#include "worker/checksum.h"
#include "worker/ecn.h"
#include "worker/split.h"

#include <errno.h>
#include <string.h>

/* ---- GUE --------------------------------------------------------------------------------------------------------- */

void udp_head_make(uint8_t version, const struct virtio_net_hdr *checksum, struct udp_head *ret_head)
{
    struct gue gue = {.protocol = version == 4 ? PROTOCOL_IPV4 : PROTOCOL_IPV6};

    *ret_head = (struct udp_head){.length = 0};
    if (checksum->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        gue.remote_checksum = true;
        gue.start = checksum->csum_start;
        gue.offset = (uint16_t)(checksum->csum_start + checksum->csum_offset);
        ret_head->checksum.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        ret_head->checksum.csum_start = checksum->csum_start;
        ret_head->checksum.csum_offset = checksum->csum_offset;
    }
    ret_head->length = gue_write(&gue, ret_head->bytes);
}

int udp_head_read(const uint8_t *bytes, size_t length, struct udp_head *ret_head)
{
    struct udp_head head = {.length = 0};
    struct gue gue;
    int r = gue_parse(bytes, length, &gue);

    if (r < 0)
        return r;
    if ((size_t)r == length || bytes[r] >> 4 != (gue.protocol == PROTOCOL_IPV4 ? 4 : 6))
        return -EINVAL;
    head.length = (size_t)r;
    memcpy(head.bytes, bytes, head.length);
    if (gue.remote_checksum) {
        head.checksum.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        head.checksum.csum_start = gue.start;
        head.checksum.csum_offset = (uint16_t)(gue.offset - gue.start);
    }
    *ret_head = head;
    return 0;
}

bool udp_checksum_is_own(const uint8_t *packet, const struct packet_view *view, const struct virtio_net_hdr *checksum)
{
    struct packet_upper upper;
    uint16_t field, offset, sum;

    if (packet_find_upper(packet, view, &upper) < 0 || upper.fragmented)
        return false;
    switch (upper.protocol) {
    case PROTOCOL_TCP:
        offset = SPLIT_TCP_CHECKSUM;
        break;
    case PROTOCOL_UDP:
        offset = SPLIT_UDP_CHECKSUM;
        break;
    default:
        return false;
    }
    if (checksum->csum_start != upper.offset || checksum->csum_offset != offset ||
        upper.length < offset + sizeof(field))
        return false;
    memcpy(&field, packet + upper.offset + offset, sizeof(field));
    sum = (uint16_t)~checksum_finish(checksum_add_pseudo(0, packet_source(packet, view), 2 * packet_address_size(view),
                                                         upper.protocol, upper.length));
    return field == sum;
}

/* ---- both ways --------------------------------------------------------------------------------------------------- */

static enum drop_reason udp_parse(enum device_kind kind, const uint8_t *bytes, size_t length,
                                  struct packet_view *ret_view)
{
    if (kind == DEVICE_TUN)
        return packet_parse_bare(bytes, length, ret_view) < 0 ? DROP_MALFORMED : PACKET_FORWARD;
    if (length < ETHERNET_HEADER_SIZE)
        return DROP_MALFORMED;
    /* A tap is a cable: what is in the frame is not its business, as long as it is a frame. */
    if (packet_parse_frame(bytes, length, ret_view) < 0)
        *ret_view = (struct packet_view){0};
    else
        (void)packet_parse_ip(bytes, length, ret_view);
    return PACKET_FORWARD;
}

enum drop_reason udp_unwrap(enum device_kind kind, uint8_t *bytes, size_t length, uint8_t outer_tos,
                            struct udp_arrival *ret_arrival)
{
    struct udp_arrival arrival = {.head = 0};
    enum drop_reason reason;

    if (kind == DEVICE_TUN && gue_is_there(bytes, length)) {
        struct udp_head head;

        if (udp_head_read(bytes, length, &head) < 0)
            return DROP_MALFORMED;
        arrival.head = head.length;
        arrival.header = head.checksum;
        bytes += head.length;
        length -= head.length;
    }
    reason = udp_parse(kind, bytes, length, &arrival.view);
    if (reason != PACKET_FORWARD)
        return reason;
    if ((arrival.header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
        !udp_checksum_is_own(bytes, &arrival.view, &arrival.header)) {
        if (split_finish_checksum(&arrival.header, bytes, length) < 0)
            return DROP_MALFORMED;
        arrival.header = (struct virtio_net_hdr){.flags = 0};
        /* it may lie anywhere, in the lengths of the headers, too */
        if (udp_parse(kind, bytes, length, &arrival.view) != PACKET_FORWARD)
            return DROP_MALFORMED;
    }
    if (arrival.view.version != 0)
        reason = ecn_decapsulate(bytes, &arrival.view, outer_tos);
    if (reason == PACKET_FORWARD)
        *ret_arrival = arrival;
    return reason;
}

static bool udp_is_to(const uint8_t *bytes, const struct packet_view *view, const struct endpoint *remote, size_t ports)
{
    struct packet_upper upper;
    uint16_t port;

    if (remote->addr.family != (view->version == 4 ? AF_INET : AF_INET6) ||
        memcmp(packet_destination(bytes, view), remote->addr.bytes, packet_address_size(view)) != 0)
        return false;
    if (packet_find_upper(bytes, view, &upper) < 0 || upper.protocol != PROTOCOL_UDP || !upper.first ||
        upper.length < UDP_HEADER_SIZE)
        return false;
    port = load_be16(bytes + upper.offset + 2);
    return port >= remote->port && port < remote->port + ports;
}

enum drop_reason udp_inspect(enum device_kind kind, const uint8_t *bytes, size_t length, const struct endpoint *remote,
                             size_t ports, struct packet_view *ret_view)
{
    enum drop_reason reason = udp_parse(kind, bytes, length, ret_view);

    if (reason == PACKET_FORWARD && ret_view->version != 0 && udp_is_to(bytes, ret_view, remote, ports))
        return DROP_LOOP;
    return reason;
}

size_t udp_first_length(enum device_kind kind, const uint8_t *bytes, size_t length)
{
    struct packet_view view = {.ethertype = 0};
    struct udp_head head = {.length = 0};
    size_t first;

    if (kind == DEVICE_TUN) {
        if (gue_is_there(bytes, length) && udp_head_read(bytes, length, &head) < 0)
            return length;
        bytes += head.length;
        view.ethertype = head.length < length && bytes[0] >> 4 == 6 ? ETHERTYPE_OF_IPV6 : ETHERTYPE_OF_IPV4;
    } else if (packet_parse_frame(bytes, length, &view) < 0) {
        return length;
    }
    if (packet_parse_ip(bytes, length - head.length, &view) < 0)
        return length;
    first = head.length + view.ip + view.ip_length;
    return first < length ? first : length;
}

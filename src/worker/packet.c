/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/packet.h"

#include <errno.h>
#include <string.h>

#define VLAN_TAGS_MOST         2
#define EXTENSION_HEADERS_MOST 8

int packet_parse_frame(const uint8_t *bytes, size_t length, struct packet_view *ret_view)
{
    size_t offset = ETHERNET_HEADER_SIZE;

    if (length < offset)
        return -EINVAL;
    for (int tags = 0; tags < VLAN_TAGS_MOST; tags++) {
        uint16_t type = load_be16(bytes + offset - 2);

        if (type != ETHERTYPE_OF_VLAN && type != ETHERTYPE_OF_PROVIDER_VLAN)
            break;
        offset += 4;
        if (length < offset)
            return -EINVAL;
    }
    *ret_view = (struct packet_view){.ethertype = load_be16(bytes + offset - 2), .ip = offset};
    return 0;
}

static int packet_parse_ipv4(const uint8_t *header, size_t room, struct packet_view *view)
{
    size_t header_length, total;
    uint16_t fragment;

    if (room < IPV4_HEADER_SIZE)
        return -EINVAL;
    header_length = (size_t)(header[0] & 0x0f) * 4;
    total = load_be16(header + 2);
    if (header_length < IPV4_HEADER_SIZE || total < header_length || total > room)
        return -EINVAL;
    fragment = load_be16(header + 6);
    view->tos = header[1];
    view->protocol = header[9];
    view->dont_fragment = fragment & 0x4000;
    view->more_fragments = fragment & 0x2000;
    view->fragment_offset = (size_t)(fragment & 0x1fff) * 8;
    view->ip_length = total;
    view->header_length = header_length;
    view->ethertype = ETHERTYPE_OF_IPV4;
    view->version = 4;
    return 0;
}

static int packet_parse_ipv6(const uint8_t *header, size_t room, struct packet_view *view)
{
    size_t total;

    if (room < IPV6_HEADER_SIZE)
        return -EINVAL;
    total = IPV6_HEADER_SIZE + (size_t)load_be16(header + 4); /* jumbograms (RFC 2675) do not get through a TUN */
    if (total > room)
        return -EINVAL;
    view->tos = (uint8_t)(header[0] << 4 | header[1] >> 4);
    view->protocol = header[6];
    view->ip_length = total;
    view->header_length = IPV6_HEADER_SIZE;
    view->ethertype = ETHERTYPE_OF_IPV6;
    view->version = 6;
    return 0;
}

int packet_parse_ip(const uint8_t *bytes, size_t length, struct packet_view *view)
{
    if (length <= view->ip)
        return -EINVAL;
    switch (bytes[view->ip] >> 4) {
    case 4:
        return view->ethertype == ETHERTYPE_OF_IPV4 ? packet_parse_ipv4(bytes + view->ip, length - view->ip, view)
                                                    : -EINVAL;
    case 6:
        return view->ethertype == ETHERTYPE_OF_IPV6 ? packet_parse_ipv6(bytes + view->ip, length - view->ip, view)
                                                    : -EINVAL;
    default:
        return -EINVAL;
    }
}

int packet_parse_bare(const uint8_t *bytes, size_t length, struct packet_view *ret_view)
{
    struct packet_view view = {0};
    int r;

    if (length == 0)
        return -EINVAL;
    view.ethertype = bytes[0] >> 4 == 6 ? ETHERTYPE_OF_IPV6 : ETHERTYPE_OF_IPV4;
    r = packet_parse_ip(bytes, length, &view);
    if (r < 0)
        return r;
    if (view.ip_length != length)
        return -EINVAL;
    *ret_view = view;
    return 0;
}

int packet_parse(enum device_kind kind, const uint8_t *bytes, size_t length, struct packet_view *ret_view)
{
    struct packet_view view;
    int r;

    if (kind == DEVICE_TUN)
        return packet_parse_bare(bytes, length, ret_view);
    r = packet_parse_frame(bytes, length, &view);
    if (r == 0 && (view.ethertype == ETHERTYPE_OF_IPV4 || view.ethertype == ETHERTYPE_OF_IPV6))
        r = packet_parse_ip(bytes, length, &view);
    if (r == 0)
        *ret_view = view;
    return r;
}

static int packet_find_upper_ipv6(const uint8_t *bytes, const struct packet_view *view, struct packet_upper *ret_upper)
{
    struct packet_upper upper = {.protocol = view->protocol, .first = true};
    size_t offset = view->ip + IPV6_HEADER_SIZE, end = view->ip + view->ip_length;

    for (int headers = 0; headers <= EXTENSION_HEADERS_MOST; headers++) {
        size_t size;
        uint16_t fragment;

        switch (upper.protocol) {
        case PROTOCOL_HOP_BY_HOP:
        case PROTOCOL_ROUTING:
        case PROTOCOL_DESTINATION:
        case PROTOCOL_AUTHENTICATION:
        case PROTOCOL_FRAGMENT:
            break;
        default:
            upper.offset = offset;
            upper.length = end - offset;
            *ret_upper = upper;
            return 0;
        }
        if (end - offset < 8)
            return -EINVAL;
        if (upper.protocol == PROTOCOL_FRAGMENT) {
            fragment = load_be16(bytes + offset + 2);
            /* Offset 0 and nothing to follow is an atomic fragment (RFC 6946): whole. */
            upper.fragmented = (fragment & 0xfff9) != 0;
            upper.first = fragment >> 3 == 0;
            size = 8;
        } else if (upper.protocol == PROTOCOL_AUTHENTICATION) {
            size = ((size_t)bytes[offset + 1] + 2) * 4;
        } else {
            size = ((size_t)bytes[offset + 1] + 1) * 8;
        }
        if (size > end - offset)
            return -EINVAL;
        upper.protocol = bytes[offset];
        offset += size;
        if (!upper.first) {
            upper.offset = offset;
            upper.length = end - offset;
            *ret_upper = upper;
            return 0;
        }
    }
    return -EINVAL;
}

int packet_find_upper(const uint8_t *bytes, const struct packet_view *view, struct packet_upper *ret_upper)
{
    if (view->version == 6)
        return packet_find_upper_ipv6(bytes, view, ret_upper);
    if (view->version != 4)
        return -EINVAL;
    *ret_upper = (struct packet_upper){
        .protocol = view->protocol,
        .fragmented = view->more_fragments || view->fragment_offset > 0,
        .first = view->fragment_offset == 0,
        .offset = view->ip + view->header_length,
        .length = view->ip_length - view->header_length,
    };
    return 0;
}

const uint8_t *packet_source(const uint8_t *bytes, const struct packet_view *view)
{
    return bytes + view->ip + (view->version == 4 ? 12 : 8);
}

const uint8_t *packet_destination(const uint8_t *bytes, const struct packet_view *view)
{
    return bytes + view->ip + (view->version == 4 ? 16 : 24);
}

size_t packet_address_size(const struct packet_view *view)
{
    return view->version == 4 ? 4 : 16;
}

struct ip_addr packet_address(const uint8_t *address, const struct packet_view *view)
{
    struct ip_addr addr = {.family = view->version == 4 ? AF_INET : AF_INET6};

    memcpy(addr.bytes, address, packet_address_size(view));
    return addr;
}

bool packet_address_is_host(const uint8_t *address, const struct packet_view *view)
{
    if (view->version == 4)
        return address[0] != 0 && address[0] != 127 &&
               address[0] < 224; /* 224/4 multicast, 240/4 reserved, broadcast */
    for (size_t i = 0; i < 15; i++)
        if (address[i] != 0)
            return address[0] != 0xff;
    return address[15] > 1; /* neither :: nor ::1 */
}

const char *packet_protocol_name(uint8_t protocol)
{
    switch (protocol) {
    case PROTOCOL_ICMP:
        return "ICMP";
    case 2:
        return "IGMP";
    case PROTOCOL_TCP:
        return "TCP";
    case PROTOCOL_UDP:
        return "UDP";
    case 47:
        return "GRE";
    case 50:
        return "ESP";
    case PROTOCOL_ICMPV6:
        return "ICMPv6";
    case PROTOCOL_SCTP:
        return "SCTP";
    default:
        return NULL;
    }
}

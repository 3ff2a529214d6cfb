/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet: what the headers of a packet say, read from bytes that anybody may have made up.
 *
 * Nothing here copies, allocates or believes: a length is checked before what it covers is looked at. A view holds
 * offsets into the bytes it was made from and is worth nothing without them.
 */
#ifndef WORKER_PACKET_H
#define WORKER_PACKET_H

#include "tunwright/model.h"
#include "tunwright/worker.h"

/* The most that one read gives: a packet of 65535 bytes, or such a one in a frame with two VLAN tags. */
#define PACKET_ROOM (65536 + 64)

/* What became of a packet is said by an enum drop_reason; this is "nothing stands in its way". */
#define PACKET_FORWARD DROP_REASON_N

enum {
    ETHERNET_HEADER_SIZE = 14,
    IPV4_HEADER_SIZE = 20,
    IPV4_HEADER_MOST = 60,
    IPV6_HEADER_SIZE = 40,
    UDP_HEADER_SIZE = 8,
    IPV4_MTU_LEAST = 68,   /* RFC 791 */
    IPV6_MTU_LEAST = 1280, /* RFC 8200, 5 */

    ETHERTYPE_OF_IPV4 = 0x0800,
    ETHERTYPE_OF_ARP = 0x0806,
    ETHERTYPE_OF_VLAN = 0x8100,
    ETHERTYPE_OF_PROVIDER_VLAN = 0x88a8,
    ETHERTYPE_OF_IPV6 = 0x86dd,

    PROTOCOL_HOP_BY_HOP = 0,
    PROTOCOL_ICMP = 1,
    PROTOCOL_IPV4 = 4, /* in IP or GUE */
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_IPV6 = 41,
    PROTOCOL_ROUTING = 43,
    PROTOCOL_FRAGMENT = 44,
    PROTOCOL_AUTHENTICATION = 51,
    PROTOCOL_ICMPV6 = 58,
    PROTOCOL_DESTINATION = 60,
    PROTOCOL_SCTP = 132,
};

struct packet_view {
    uint16_t ethertype;     /* behind the VLAN tags on tap; on tun what the version says */
    uint8_t version;        /* 4 or 6; 0: no IP, and then all the rest but `ip` is 0 */
    uint8_t tos;            /* IPv4's TOS or IPv6's traffic class: DSCP and ECN */
    uint8_t protocol;       /* of the first header after IP's */
    bool dont_fragment;     /* IPv4's DF */
    bool more_fragments;    /* IPv4's MF */
    size_t fragment_offset; /* IPv4's, in bytes */
    size_t ip;              /* offset of the IP header, or of what follows Ethernet's */
    size_t ip_length;       /* of the whole IP packet; a short frame has padding after it */
    size_t header_length;   /* IPv4 with options, IPv6 without extension headers */
};

/* An Ethernet frame's header with up to two VLAN tags: `ethertype` and `ip`. -EINVAL where it is cut short. */
int packet_parse_frame(const uint8_t *bytes, size_t length, struct packet_view *ret_view);

/* The IP header at view->ip of what packet_parse_frame saw. -EINVAL where it is no IP packet of the announced version,
 * or its lengths do not fit; the view then has version 0. */
int packet_parse_ip(const uint8_t *bytes, size_t length, struct packet_view *view);

/* A bare IP packet: its total length must be exactly `length`. -EINVAL. */
int packet_parse_bare(const uint8_t *bytes, size_t length, struct packet_view *ret_view);

/* packet_parse_bare for tun. For tap packet_parse_frame, and packet_parse_ip where it announces IP. -EINVAL. */
int packet_parse(enum device_kind kind, const uint8_t *bytes, size_t length, struct packet_view *ret_view);

/* The upper layer: behind IPv6's extension headers, or the piece of it that a fragment has. */
struct packet_upper {
    uint8_t protocol;
    bool fragmented; /* the packet is a fragment … */
    bool first;      /* … and whether it holds the upper layer's beginning (true where it is none) */
    size_t offset, length;
};
/* -EINVAL where the extension headers run out of the packet, or go on and on. */
int packet_find_upper(const uint8_t *bytes, const struct packet_view *view, struct packet_upper *ret_upper);

/* The addresses in the IP header; 4 or 16 bytes. */
const uint8_t *packet_source(const uint8_t *bytes, const struct packet_view *view);
const uint8_t *packet_destination(const uint8_t *bytes, const struct packet_view *view);
size_t packet_address_size(const struct packet_view *view);
struct ip_addr packet_address(const uint8_t *address, const struct packet_view *view);
/* Neither unspecified, multicast, broadcast, loopback nor reserved: one host that may be answered. */
bool packet_address_is_host(const uint8_t *address, const struct packet_view *view);

/* "ICMP", "TCP", …; NULL for one without a name here. */
const char *packet_protocol_name(uint8_t protocol);

static inline uint16_t load_be16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline uint32_t load_be32(const uint8_t *bytes)
{
    return (uint32_t)load_be16(bytes) << 16 | load_be16(bytes + 2);
}

static inline void store_be16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static inline void store_be32(uint8_t *bytes, uint32_t value)
{
    store_be16(bytes, (uint16_t)(value >> 16));
    store_be16(bytes + 2, (uint16_t)value);
}

#endif

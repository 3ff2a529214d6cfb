/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/icmp.h"

#include "worker/checksum.h"

#include <string.h>

enum {
    ICMP_HEADER_SIZE = 8,
    ICMPV4_ANSWER_MOST = 576,
    ICMPV4_UNREACHABLE = 3,
    ICMPV4_FRAGMENTATION_NEEDED = 4, /* the code */
    ICMPV6_PACKET_TOO_BIG = 2,
    ICMPV6_REDIRECT = 137,
    ANSWER_TTL = 64,
    ANSWER_TOS = 0xc0, /* internetwork control: RFC 1812, 4.3.2.5 */
};

/* ICMP that asks or answers; whatever else there is may be an error, about which no error is sent. */
static bool icmp_is_query(const uint8_t *bytes, const struct packet_view *view, const struct packet_upper *upper)
{
    uint8_t type;

    if (upper->length == 0)
        return false;
    type = bytes[upper->offset];
    if (view->version == 6)
        return type >= 128 && type != ICMPV6_REDIRECT;
    switch (type) {
    case 0:  /* echo reply */
    case 8:  /* echo */
    case 9:  /* router advertisement */
    case 10: /* router solicitation */
    case 13: /* timestamp */
    case 14:
    case 42: /* extended echo */
    case 43:
        return true;
    default:
        return false;
    }
}

static bool icmp_may_answer(const uint8_t *bytes, const struct packet_view *view)
{
    struct packet_upper upper;

    if (view->ip >= ETHERNET_HEADER_SIZE && (bytes[0] & 1 || bytes[6] & 1))
        return false; /* to or from a group of stations */
    if (!packet_address_is_host(packet_source(bytes, view), view) ||
        !packet_address_is_host(packet_destination(bytes, view), view))
        return false;
    if (packet_find_upper(bytes, view, &upper) < 0 || !upper.first)
        return false;
    if (upper.protocol == (view->version == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6))
        return icmp_is_query(bytes, view, &upper);
    return true;
}

static void icmp_build_ipv4(const uint8_t *bytes, const struct packet_view *view, size_t mtu, size_t quoted,
                            uint8_t *out)
{
    uint8_t *icmp = out + IPV4_HEADER_SIZE;
    uint16_t check;

    memset(out, 0, IPV4_HEADER_SIZE + ICMP_HEADER_SIZE);
    out[0] = 0x45;
    out[1] = ANSWER_TOS;
    store_be16(out + 2, (uint16_t)(IPV4_HEADER_SIZE + ICMP_HEADER_SIZE + quoted));
    store_be16(out + 6, 0x4000);
    out[8] = ANSWER_TTL;
    out[9] = PROTOCOL_ICMP;
    memcpy(out + 12, packet_destination(bytes, view), 4);
    memcpy(out + 16, packet_source(bytes, view), 4);
    check = checksum_finish(checksum_add(0, out, IPV4_HEADER_SIZE));
    memcpy(out + 10, &check, sizeof(check));

    icmp[0] = ICMPV4_UNREACHABLE;
    icmp[1] = ICMPV4_FRAGMENTATION_NEEDED;
    store_be16(icmp + 6, (uint16_t)mtu);
    memcpy(icmp + ICMP_HEADER_SIZE, bytes + view->ip, quoted);
    check = checksum_finish(checksum_add(0, icmp, ICMP_HEADER_SIZE + quoted));
    memcpy(icmp + 2, &check, sizeof(check));
}

static void icmp_build_ipv6(const uint8_t *bytes, const struct packet_view *view, size_t mtu, size_t quoted,
                            uint8_t *out)
{
    uint8_t *icmp = out + IPV6_HEADER_SIZE;
    size_t length = ICMP_HEADER_SIZE + quoted;
    uint16_t check;

    memset(out, 0, IPV6_HEADER_SIZE + ICMP_HEADER_SIZE);
    out[0] = 0x60 | ANSWER_TOS >> 4;
    store_be16(out + 4, (uint16_t)length);
    out[6] = PROTOCOL_ICMPV6;
    out[7] = ANSWER_TTL;
    memcpy(out + 8, packet_destination(bytes, view), 16);
    memcpy(out + 24, packet_source(bytes, view), 16);

    icmp[0] = ICMPV6_PACKET_TOO_BIG;
    store_be32(icmp + 4, (uint32_t)mtu);
    memcpy(icmp + ICMP_HEADER_SIZE, bytes + view->ip, quoted);
    check = checksum_finish(checksum_add(checksum_add_pseudo(0, out + 8, 32, PROTOCOL_ICMPV6, length), icmp, length));
    memcpy(icmp + 2, &check, sizeof(check));
}

size_t icmp_too_big(const uint8_t *bytes, const struct packet_view *view, size_t mtu,
                    uint8_t ret_answer[static ICMP_ROOM])
{
    size_t header = view->version == 4 ? IPV4_HEADER_SIZE : IPV6_HEADER_SIZE;
    size_t most = view->version == 4 ? ICMPV4_ANSWER_MOST : IPV6_MTU_LEAST;
    size_t least = view->version == 4 ? IPV4_MTU_LEAST : IPV6_MTU_LEAST;
    size_t quoted = most - header - ICMP_HEADER_SIZE;

    if (view->version == 0 || mtu < least || mtu > UINT16_MAX || !icmp_may_answer(bytes, view))
        return 0;
    if (quoted > view->ip_length)
        quoted = view->ip_length;
    if (view->ip > 0) { /* a frame: back to its sender, with its VLAN tags */
        memcpy(ret_answer, bytes, view->ip);
        memcpy(ret_answer, bytes + 6, 6);
        memcpy(ret_answer + 6, bytes, 6);
    }
    if (view->version == 4)
        icmp_build_ipv4(bytes, view, mtu, quoted, ret_answer + view->ip);
    else
        icmp_build_ipv6(bytes, view, mtu, quoted, ret_answer + view->ip);
    return view->ip + header + ICMP_HEADER_SIZE + quoted;
}

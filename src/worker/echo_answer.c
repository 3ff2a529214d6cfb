/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/echo_answer.h"

#include "worker/checksum.h"

#include <string.h>

enum {
    ICMPV4_ECHO_REPLY = 0,
    ICMPV4_ECHO = 8,
    ICMPV6_ECHO = 128,
    ICMPV6_ECHO_REPLY = 129,
    ICMPV6_NEIGHBOUR_SOLICITATION = 135,
    ICMPV6_NEIGHBOUR_ADVERTISEMENT = 136,
    ICMP_HEADER_SIZE = 8,
    ANSWER_TTL = 64,
    ARP_SIZE = 28,
    ARP_REQUEST = 1,
    ARP_REPLY = 2,
    SOLICITATION_SIZE = 24,
    ADVERTISEMENT_SIZE = 32,
    OPTION_TARGET_MAC = 2,
};

static void bytes_swap(uint8_t *a, uint8_t *b, size_t size)
{
    uint8_t kept[16];

    memcpy(kept, a, size);
    memcpy(a, b, size);
    memcpy(b, kept, size);
}

/* Locally administered and unicast. It depends on the address alone: the same after a restart. */
static void echo_mac(const uint8_t *address, size_t size, const uint8_t asker[static 6], uint8_t ret_mac[static 6])
{
    uint64_t hash = fnv1a(FNV1A_START, address, size);

    ret_mac[0] = 0x02;
    for (int i = 1; i < 6; i++)
        ret_mac[i] = (uint8_t)(hash >> (8 * i));
    if (memcmp(ret_mac, asker, 6) == 0)
        ret_mac[5] ^= 1;
}

static void echo_swap_stations(uint8_t *bytes, const struct packet_view *view)
{
    if (view->ip > 0)
        bytes_swap(bytes, bytes + 6, 6);
}

/* A one's complement sum is the same with the addresses swapped: only what else changes is made up for. */
static void echo_swap_addresses(uint8_t *bytes, const struct packet_view *view)
{
    size_t size = packet_address_size(view);
    uint8_t *source = bytes + view->ip + (view->version == 4 ? 12 : 8);

    bytes_swap(source, source + size, size);
    echo_swap_stations(bytes, view);
}

static void echo_renew_ttl(uint8_t *bytes, const struct packet_view *view)
{
    uint8_t *header = bytes + view->ip;
    uint8_t word[2];

    if (view->version == 6) {
        header[7] = ANSWER_TTL;
        return;
    }
    memcpy(word, header + 8, sizeof(word));
    header[8] = ANSWER_TTL;
    checksum_update(header + 10, word, header + 8);
}

static uint64_t echo_pseudo_sum(const uint8_t *bytes, const struct packet_view *view, size_t length)
{
    return view->version == 4 ? 0 : checksum_add_pseudo(0, packet_source(bytes, view), 32, PROTOCOL_ICMPV6, length);
}

static bool echo_parties_are_hosts(const uint8_t *bytes, const struct packet_view *view)
{
    return packet_address_is_host(packet_source(bytes, view), view) &&
           packet_address_is_host(packet_destination(bytes, view), view) && (view->ip == 0 || !(bytes[0] & 1));
}

static enum drop_reason echo_answer_solicitation(uint8_t *bytes, const struct packet_view *view,
                                                 const struct packet_upper *upper, size_t *ret_length)
{
    uint8_t *header = bytes + view->ip, *icmp = bytes + upper->offset;
    uint8_t *source = header + 8, *destination = header + 24, *target = icmp + 8;
    uint8_t mac[6];
    uint16_t check;

    /* RFC 4861, 7.1.1: what makes a solicitation one. The checksum has been seen to. */
    if (upper->length < SOLICITATION_SIZE || header[7] != 255 || icmp[1] != 0 || target[0] == 0xff)
        return DROP_MALFORMED;
    for (size_t i = SOLICITATION_SIZE; i < upper->length;) {
        size_t size = upper->length - i < 2 ? 0 : (size_t)icmp[i + 1] * 8;

        if (size == 0 || size > upper->length - i)
            return DROP_MALFORMED;
        i += size;
    }
    /* From :: it is duplicate address detection, and about oneself it is not a question either. */
    if (!packet_address_is_host(source, view) || memcmp(source, target, 16) == 0 ||
        upper->offset != view->ip + IPV6_HEADER_SIZE)
        return DROP_NOT_FORWARDED;

    echo_mac(target, 16, bytes + 6, mac);
    memcpy(bytes, bytes + 6, 6);
    memcpy(bytes + 6, mac, 6);
    memcpy(destination, source, 16);
    memcpy(source, target, 16);
    store_be16(header + 4, ADVERTISEMENT_SIZE);
    icmp[0] = ICMPV6_NEIGHBOUR_ADVERTISEMENT;
    store_be32(icmp + 4, 0x60000000); /* solicited, override */
    icmp[SOLICITATION_SIZE] = OPTION_TARGET_MAC;
    icmp[SOLICITATION_SIZE + 1] = 1;
    memcpy(icmp + SOLICITATION_SIZE + 2, mac, 6);
    memset(icmp + 2, 0, 2);
    check = checksum_finish(checksum_add(checksum_add_pseudo(0, source, 32, PROTOCOL_ICMPV6, ADVERTISEMENT_SIZE), icmp,
                                         ADVERTISEMENT_SIZE));
    memcpy(icmp + 2, &check, sizeof(check));
    *ret_length = upper->offset + ADVERTISEMENT_SIZE;
    return PACKET_FORWARD;
}

static enum drop_reason echo_answer_icmp(enum device_kind kind, uint8_t *bytes, const struct packet_view *view,
                                         const struct packet_upper *upper, size_t *ret_length)
{
    bool v4 = view->version == 4;
    uint8_t *icmp = bytes + upper->offset;
    uint8_t type_and_code[2];

    if (upper->length < ICMP_HEADER_SIZE)
        return DROP_MALFORMED;
    /* A fragment's checksum is that of the whole: it stays as right or wrong as it is. */
    if (!upper->fragmented &&
        checksum_finish(checksum_add(echo_pseudo_sum(bytes, view, upper->length), icmp, upper->length)) != 0)
        return DROP_MALFORMED;
    if (!v4 && icmp[0] == ICMPV6_NEIGHBOUR_SOLICITATION && kind == DEVICE_TAP && !upper->fragmented)
        return echo_answer_solicitation(bytes, view, upper, ret_length);
    if (icmp[0] != (v4 ? ICMPV4_ECHO : ICMPV6_ECHO) || icmp[1] != 0 || !echo_parties_are_hosts(bytes, view))
        return DROP_NOT_FORWARDED;

    echo_swap_addresses(bytes, view);
    echo_renew_ttl(bytes, view);
    memcpy(type_and_code, icmp, sizeof(type_and_code));
    icmp[0] = v4 ? ICMPV4_ECHO_REPLY : ICMPV6_ECHO_REPLY;
    checksum_update(icmp + 2, type_and_code, icmp);
    *ret_length = view->ip + view->ip_length;
    return PACKET_FORWARD;
}

static enum drop_reason echo_answer_ip(enum device_kind kind, uint8_t *bytes, const struct packet_view *view,
                                       size_t *ret_length)
{
    struct packet_upper upper;

    if (view->version == 4 && checksum_finish(checksum_add(0, bytes + view->ip, view->header_length)) != 0)
        return DROP_MALFORMED;
    if (packet_find_upper(bytes, view, &upper) < 0)
        return DROP_MALFORMED;
    /* Options would have to be turned round as well. */
    if (upper.protocol != (view->version == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6) ||
        (view->version == 4 && view->header_length != IPV4_HEADER_SIZE))
        return DROP_NOT_FORWARDED;
    if (upper.first)
        return echo_answer_icmp(kind, bytes, view, &upper, ret_length);
    if (!echo_parties_are_hosts(bytes, view))
        return DROP_NOT_FORWARDED;
    /* A later fragment does not say that it belongs to an echo request. It keeps its TTL: one that is sent round in a
     * circle must come to an end. */
    echo_swap_addresses(bytes, view);
    *ret_length = view->ip + view->ip_length;
    return PACKET_FORWARD;
}

static enum drop_reason echo_answer_arp(uint8_t *bytes, const struct packet_view *view, size_t length,
                                        size_t *ret_length)
{
    static const uint8_t ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4};
    uint8_t *arp = bytes + view->ip;
    uint8_t *sender_mac = arp + 8, *sender = arp + 14, *target_mac = arp + 18, *target = arp + 24;
    const struct packet_view v4 = {.version = 4};
    uint8_t mac[6];

    if (length - view->ip < 8)
        return DROP_MALFORMED;
    if (memcmp(arp, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0 || load_be16(arp + 6) != ARP_REQUEST)
        return DROP_NOT_FORWARDED;
    if (length - view->ip < ARP_SIZE || sender_mac[0] & 1)
        return DROP_MALFORMED;
    /* From 0.0.0.0 it is a probe, and about oneself an announcement. */
    if (!packet_address_is_host(sender, &v4) || !packet_address_is_host(target, &v4) || memcmp(sender, target, 4) == 0)
        return DROP_NOT_FORWARDED;
    echo_mac(target, 4, sender_mac, mac);
    store_be16(arp + 6, ARP_REPLY);
    bytes_swap(sender, target, 4);
    memcpy(target_mac, sender_mac, 6);
    memcpy(sender_mac, mac, 6);
    memcpy(bytes, bytes + 6, 6);
    memcpy(bytes + 6, mac, 6);
    *ret_length = view->ip + ARP_SIZE;
    return PACKET_FORWARD;
}

enum drop_reason echo_answer(enum device_kind kind, uint8_t *bytes, size_t length, size_t *ret_length)
{
    struct packet_view view;

    if (packet_parse(kind, bytes, length, &view) < 0 || (kind == DEVICE_TAP && bytes[6] & 1))
        return DROP_MALFORMED;
    if (view.version != 0)
        return echo_answer_ip(kind, bytes, &view, ret_length);
    if (view.ethertype == ETHERTYPE_OF_ARP)
        return echo_answer_arp(bytes, &view, length, ret_length);
    return DROP_NOT_FORWARDED;
}

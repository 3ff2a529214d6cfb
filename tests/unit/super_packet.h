/* SPDX-License-Identifier: Apache-2.0 */
/* Packets for the tests of splitting and merging, and a checksum that is too simple to be wrong. */
#ifndef TUNWRIGHT_TEST_SUPER_PACKET_H
#define TUNWRIGHT_TEST_SUPER_PACKET_H

#include "worker/merge.h"
#include "worker/split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* RFC 1071, word by word, big-endian; 0 over what holds its own right checksum. */
static inline uint16_t naive_checksum(uint32_t sum, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i + 1 < length; i += 2)
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    if (length % 2)
        sum += (uint32_t)bytes[length - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static inline uint32_t naive_pseudo(const uint8_t *packet, const struct packet_view *view, size_t upper_length)
{
    const uint8_t *address = packet_source(packet, view);
    uint32_t sum = view->protocol + (uint32_t)upper_length;

    for (size_t i = 0; i < 2 * packet_address_size(view); i += 2)
        sum += (uint32_t)address[i] << 8 | address[i + 1];
    return sum;
}

static inline uint32_t random_below(uint32_t bound)
{
    return (uint32_t)rand() % bound;
}

/* What a super-packet is made of. */
struct recipe {
    enum device_kind kind;
    uint8_t version, protocol, tos, flags;
    bool dont_fragment;
    size_t options; /* bytes of TCP options, a multiple of 4 */
    size_t size, payload_length;
    uint16_t id;
    uint32_t sequence;
};

static inline struct recipe recipe_random(void)
{
    struct recipe recipe = {
        .kind = random_below(3) ? DEVICE_TUN : DEVICE_TAP,
        .version = random_below(2) ? 4 : 6,
        .protocol = random_below(3) ? PROTOCOL_TCP : PROTOCOL_UDP,
        .tos = (uint8_t)random_below(256),
        .flags = (uint8_t)(0x10 | (random_below(2) ? 0x08 : 0) | (random_below(4) ? 0 : 0x40)),
        .dont_fragment = random_below(2),
        .options = 4 * random_below(11),
        .size = 1 + random_below(random_below(2) ? 1460 : 60),
        .id = (uint16_t)random_below(65536),
        .sequence = random_below(2) ? 0xffffff00U + random_below(256) : random_below(1U << 30),
    };

    recipe.payload_length = 1 + random_below((uint32_t)(recipe.size * (1 + random_below(44))));
    if (recipe.protocol == PROTOCOL_UDP) /* merged are those of equal size */
        recipe.payload_length = recipe.size * (1 + recipe.payload_length / recipe.size);
    return recipe;
}

/* The packet as a device with offloads hands it over: the checksum's field has the pseudo-header's sum. */
static inline size_t recipe_make(const struct recipe *recipe, uint8_t *out, struct virtio_net_hdr *ret_header)
{
    bool tcp = recipe->protocol == PROTOCOL_TCP;
    size_t ip = recipe->kind == DEVICE_TAP ? ETHERNET_HEADER_SIZE : 0;
    size_t upper = ip + (recipe->version == 4 ? 20U : 40U), header = tcp ? 20 + recipe->options : 8;
    size_t length = upper + header + recipe->payload_length;
    struct packet_view view;
    uint16_t check;

    for (size_t i = 0; i < length; i++)
        out[i] = (uint8_t)rand();
    if (ip)
        store_be16(out + 12, recipe->version == 4 ? ETHERTYPE_OF_IPV4 : ETHERTYPE_OF_IPV6);
    if (recipe->version == 4) {
        out[ip] = 0x45;
        out[ip + 1] = recipe->tos;
        store_be16(out + ip + 2, (uint16_t)(length - ip));
        store_be16(out + ip + 4, recipe->id);
        store_be16(out + ip + 6, recipe->dont_fragment ? 0x4000 : 0);
        out[ip + 9] = recipe->protocol;
        store_be16(out + ip + 10, 0);
        store_be16(out + ip + 10, naive_checksum(0, out + ip, 20));
    } else {
        out[ip] = (uint8_t)(0x60 | recipe->tos >> 4);
        store_be16(out + ip + 4, (uint16_t)(length - upper));
        out[ip + 6] = recipe->protocol;
    }
    if (tcp) {
        store_be32(out + upper + 4, recipe->sequence);
        out[upper + 12] = (uint8_t)((20 + recipe->options) / 4 << 4);
        out[upper + 13] = recipe->flags;
    } else {
        store_be16(out + upper + 4, (uint16_t)(8 + recipe->payload_length));
    }
    assert_int_equal(packet_parse(recipe->kind, out, length, &view), 0);
    check = (uint16_t)~naive_checksum(naive_pseudo(out, &view, length - upper), NULL, 0);
    store_be16(out + upper + (tcp ? 16 : 6), check);
    *ret_header = (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = !tcp                   ? VIRTIO_NET_HDR_GSO_UDP_L4
                    : recipe->version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4
                                           : VIRTIO_NET_HDR_GSO_TCPV6,
        .hdr_len = (uint16_t)(upper + header),
        .gso_size = (uint16_t)recipe->size,
        .csum_start = (uint16_t)upper,
        .csum_offset = tcp ? 16 : 6,
    };
    return length;
}

static const struct virtio_net_hdr no_header;

/* That the packet's own checksums are right, by the naive one. */
static inline void assert_packet_right(enum device_kind kind, const uint8_t *packet, size_t length)
{
    struct packet_view view;
    size_t upper;

    assert_int_equal(packet_parse(kind, packet, length, &view), 0);
    assert_int_equal(view.ip + view.ip_length, length);
    upper = view.ip + view.header_length;
    if (view.version == 4)
        assert_int_equal(naive_checksum(0, packet + view.ip, 20), 0);
    assert_int_equal(naive_checksum(naive_pseudo(packet, &view, length - upper), packet + upper, length - upper), 0);
    if (view.protocol == PROTOCOL_UDP)
        assert_int_not_equal(load_be16(packet + upper + 6), 0);
}

#endif

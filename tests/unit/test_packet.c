/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/checksum.h"
#include "worker/packet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An exact copy on the heap, so that a read past the end is seen. */
static uint8_t *copy(const uint8_t *bytes, size_t length)
{
    uint8_t *made = malloc(length > 0 ? length : 1);

    memcpy(made, bytes, length);
    return made;
}

static const uint8_t udp_v4[] = {
    0x45, 0x00, 0x00, 0x30, 0x12, 0x34, 0x40, 0x00, 0x40, 0x11, 0xa1, 0x21, 0xc0, 0xa8, 0x03, 0x0b,
    0xc0, 0xa8, 0x03, 0x0c, 0x03, 0xe8, 0x07, 0xd0, 0x00, 0x1c, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03,
    0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13,
};
static const uint8_t udp_v6[] = {
    0x60, 0x00, 0x00, 0x00, 0x00, 0x1c, 0x11, 0x40, 0xfd, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0xfd, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x12, 0x03, 0xe8, 0x07, 0xd0, 0x00, 0x1c, 0x00, 0x00, 0x00, 0x01, 0x02,
    0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13,
};

static void ipv4(void **state)
{
    struct packet_view view;
    struct packet_upper upper;

    (void)state;
    assert_int_equal(packet_parse_bare(udp_v4, sizeof(udp_v4), &view), 0);
    assert_int_equal(view.version, 4);
    assert_int_equal(view.ethertype, 0x0800);
    assert_int_equal(view.protocol, 17);
    assert_int_equal(view.ip, 0);
    assert_int_equal(view.ip_length, 48);
    assert_int_equal(view.header_length, 20);
    assert_true(view.dont_fragment);
    assert_false(view.more_fragments);
    assert_int_equal(packet_source(udp_v4, &view)[3], 11);
    assert_int_equal(packet_destination(udp_v4, &view)[3], 12);
    assert_int_equal(packet_find_upper(udp_v4, &view, &upper), 0);
    assert_int_equal(upper.protocol, 17);
    assert_int_equal(upper.offset, 20);
    assert_int_equal(upper.length, 28);
    assert_true(upper.first);
    assert_false(upper.fragmented);
}

static void ipv6(void **state)
{
    struct packet_view view;
    struct packet_upper upper;
    uint8_t packet[sizeof(udp_v6)];

    (void)state;
    memcpy(packet, udp_v6, sizeof(packet));
    packet[0] = 0x6b;
    packet[1] = 0xa7; /* traffic class 0xba, flow label 7… */
    assert_int_equal(packet_parse_bare(packet, sizeof(packet), &view), 0);
    assert_int_equal(view.version, 6);
    assert_int_equal(view.tos, 0xba);
    assert_int_equal(view.ip_length, sizeof(packet));
    assert_int_equal(packet_find_upper(packet, &view, &upper), 0);
    assert_int_equal(upper.protocol, 17);
    assert_int_equal(upper.offset, 40);
    assert_int_equal(upper.length, 28);
}

static void every_cut_is_refused(void **state)
{
    struct packet_view view;

    (void)state;
    for (size_t length = 0; length < sizeof(udp_v4); length++) {
        uint8_t *cut = copy(udp_v4, length);

        assert_int_equal(packet_parse_bare(cut, length, &view), -EINVAL);
        free(cut);
    }
    for (size_t length = 0; length < sizeof(udp_v6); length++) {
        uint8_t *cut = copy(udp_v6, length);

        assert_int_equal(packet_parse_bare(cut, length, &view), -EINVAL);
        free(cut);
    }
}

static void contradictions(void **state)
{
    static const struct {
        size_t offset;
        uint8_t value;
    } cases[] = {
        {0, 0x44},            /* a header of 16 bytes */
        {0, 0x4f},            /* of 60, where there are 48 */
        {0, 0x55},            /* version 5 */
        {0, 0x05}, {0, 0x65}, /* says it is IPv6 */
        {2, 0x01},            /* longer than it is */
        {3, 0x2f},            /* shorter */
        {3, 0x13},            /* shorter than its header */
    };
    struct packet_view view;
    uint8_t packet[sizeof(udp_v4)];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        memcpy(packet, udp_v4, sizeof(packet));
        packet[cases[i].offset] = cases[i].value;
        assert_int_equal(packet_parse_bare(packet, sizeof(packet), &view), -EINVAL);
    }
}

static void frames(void **state)
{
    uint8_t frame[14 + 8 + sizeof(udp_v4) + 6] = {0};
    struct packet_view view;

    (void)state;
    store_be16(frame + 12, 0x0800);
    memcpy(frame + 14, udp_v4, sizeof(udp_v4));
    assert_int_equal(packet_parse(DEVICE_TAP, frame, 14 + sizeof(udp_v4) + 6, &view), 0); /* padded */
    assert_int_equal(view.version, 4);
    assert_int_equal(view.ip, 14);
    assert_int_equal(view.ip_length, sizeof(udp_v4));

    store_be16(frame + 12, 0x88a8); /* two tags */
    store_be16(frame + 16, 0x8100);
    store_be16(frame + 20, 0x0800);
    memcpy(frame + 22, udp_v4, sizeof(udp_v4));
    assert_int_equal(packet_parse(DEVICE_TAP, frame, 22 + sizeof(udp_v4), &view), 0);
    assert_int_equal(view.version, 4);
    assert_int_equal(view.ip, 22);
    for (size_t length = 0; length < 22 + sizeof(udp_v4); length++) {
        uint8_t *cut = copy(frame, length);

        assert_int_equal(packet_parse(DEVICE_TAP, cut, length, &view), -EINVAL);
        free(cut);
    }

    store_be16(frame + 12, 0x0806);
    assert_int_equal(packet_parse(DEVICE_TAP, frame, 42, &view), 0);
    assert_int_equal(view.version, 0);
    assert_int_equal(view.ethertype, 0x0806);

    store_be16(frame + 12, 0x86dd); /* IPv6 is announced, IPv4 is inside */
    memcpy(frame + 14, udp_v4, sizeof(udp_v4));
    assert_int_equal(packet_parse(DEVICE_TAP, frame, 14 + sizeof(udp_v4), &view), -EINVAL);
}

/* 40 bytes of IPv6 header for `payload` bytes that begin with a header of type `next`. */
static size_t ipv6_with(uint8_t *packet, uint8_t next, const uint8_t *payload, size_t length)
{
    memcpy(packet, udp_v6, 40);
    store_be16(packet + 4, (uint16_t)length);
    packet[6] = next;
    memcpy(packet + 40, payload, length);
    return 40 + length;
}

static void extension_headers(void **state)
{
    static const uint8_t chain[] = {
        43, 0, 1, 4, 0, 0, 0, 0,                         /* hop-by-hop, then routing */
        60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* routing of 16 bytes, then destination options */
        44, 0, 1, 4, 0, 0, 0, 0,                         /* then a fragment header: */
        51, 0, 0, 1, 0, 0, 0, 9,                         /* the first of several, then authentication */
        17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1,             /* of 12 bytes, then UDP */
        1,  2, 3, 4, 5, 6, 7, 8,
    };
    static const uint8_t later[] = {58, 0, 0, 8, 0, 0, 0, 9, 0xff};
    static const uint8_t options_later[] = {60, 0, 0, 8, 0, 0, 0, 9, 0xff};
    static const uint8_t atomic[] = {58, 0, 0, 6, 0, 0, 0, 9, 0xff}; /* with reserved bits */
    static const uint8_t endless[80] = {0};
    uint8_t packet[160], many[80] = {0};
    struct packet_view view;
    struct packet_upper upper;
    size_t length;

    (void)state;
    length = ipv6_with(packet, 0, chain, sizeof(chain));
    assert_int_equal(packet_parse_bare(packet, length, &view), 0);
    assert_int_equal(packet_find_upper(packet, &view, &upper), 0);
    assert_int_equal(upper.protocol, 17);
    assert_int_equal(upper.offset, 40 + sizeof(chain) - 8);
    assert_int_equal(upper.length, 8);
    assert_true(upper.fragmented);
    assert_true(upper.first);
    for (size_t cut = 1; cut < sizeof(chain) - 8; cut++) {
        uint8_t *bytes;

        length = ipv6_with(packet, 0, chain, cut);
        bytes = copy(packet, length);
        assert_int_equal(packet_parse_bare(bytes, length, &view), 0);
        assert_int_equal(packet_find_upper(bytes, &view, &upper), -EINVAL);
        free(bytes);
    }

    length = ipv6_with(packet, 44, later, sizeof(later));
    assert_int_equal(packet_parse_bare(packet, length, &view), 0);
    assert_int_equal(packet_find_upper(packet, &view, &upper), 0);
    assert_true(upper.fragmented);
    assert_false(upper.first);
    assert_int_equal(upper.protocol, 58);
    assert_int_equal(upper.length, 1);

    length = ipv6_with(packet, 44, options_later, sizeof(options_later));
    assert_int_equal(packet_parse_bare(packet, length, &view), 0);
    assert_int_equal(packet_find_upper(packet, &view, &upper), 0); /* what it has a piece of cannot be read */
    assert_int_equal(upper.protocol, 60);
    assert_int_equal(upper.length, 1);

    length = ipv6_with(packet, 44, atomic, sizeof(atomic));
    assert_int_equal(packet_parse_bare(packet, length, &view), 0);
    assert_int_equal(packet_find_upper(packet, &view, &upper), 0);
    assert_false(upper.fragmented);

    for (size_t headers = 1; headers < 10; headers++) {
        memset(many, 0, sizeof(many));
        many[(headers - 1) * 8] = 17;
        length = ipv6_with(packet, 0, many, headers * 8 + 8);
        assert_int_equal(packet_parse_bare(packet, length, &view), 0);
        assert_int_equal(packet_find_upper(packet, &view, &upper), headers <= 8 ? 0 : -EINVAL);
        assert_int_equal(upper.offset, 40 + 8 * (headers <= 8 ? headers : 8)); /* or left as it was */
    }

    length = ipv6_with(packet, 0, endless, sizeof(endless));
    assert_int_equal(packet_parse_bare(packet, length, &view), 0);
    assert_int_equal(packet_find_upper(packet, &view, &upper), -EINVAL);
}

static void hosts(void **state)
{
    static const struct {
        const char *text;
        bool host;
    } cases[] = {
        {"10.0.0.1", true},        {"0.0.0.0", false},   {"127.0.0.1", false},
        {"224.0.0.1", false},      {"240.0.0.1", false}, {"255.255.255.255", false},
        {"223.255.255.255", true}, {"::", false},        {"::1", false},
        {"ff02::1", false},        {"fe80::1", true},    {"::2", true},
        {"2001:db8::", true},      {"1::", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct packet_view view = {0};
        struct ip_addr addr;

        assert_int_equal(ip_addr_parse(cases[i].text, &addr), 0);
        view.version = addr.family == AF_INET ? 4 : 6;
        assert_int_equal(packet_address_is_host(addr.bytes, &view), cases[i].host);
    }
}

/* The definition, a word at a time. */
static uint16_t checksum_plain(const uint8_t *bytes, size_t length)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < length; i++)
        sum += (uint32_t)bytes[i] << (i % 2 == 0 ? 8 : 0);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void checksums(void **state)
{
    static const uint8_t rfc_1071[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    uint8_t bytes[200], stored[2];
    uint32_t random = 1;
    uint16_t check;

    (void)state;
    check = checksum_finish(checksum_add(0, rfc_1071, sizeof(rfc_1071)));
    memcpy(stored, &check, sizeof(stored));
    assert_int_equal(load_be16(stored), 0x220d);
    assert_int_equal(checksum_finish(checksum_add(0, udp_v4, 20)), 0);

    for (size_t length = 0; length <= sizeof(bytes); length++) {
        for (size_t i = 0; i < length; i++)
            bytes[i] = length % 3 == 0 ? 0xff : (uint8_t)((random = random * 1103515245 + 12345) >> 16);
        check = checksum_finish(checksum_add(0, bytes, length));
        memcpy(stored, &check, sizeof(stored));
        assert_int_equal(load_be16(stored), checksum_plain(bytes, length));
        /* in two pieces, the first of them even */
        check = checksum_finish(
            checksum_add(checksum_add(0, bytes, length / 4 * 2), bytes + length / 4 * 2, length - length / 4 * 2));
        memcpy(stored, &check, sizeof(stored));
        assert_int_equal(load_be16(stored), checksum_plain(bytes, length));
    }
}

static void checksum_updates(void **state)
{
    uint8_t header[20], before[2];

    (void)state;
    for (unsigned word = 0; word <= 0xffff; word += 17) {
        uint16_t check;

        memcpy(header, udp_v4, sizeof(header));
        memcpy(before, header, sizeof(before));
        store_be16(header, (uint16_t)word);
        checksum_update(header + 10, before, header);
        check = checksum_finish(checksum_add(0, header, sizeof(header)));
        assert_int_equal(check, 0);
    }
}

static void pseudo_headers(void **state)
{
    uint8_t bytes[40] = {0};

    (void)state;
    memcpy(bytes, udp_v6 + 8, 32);
    bytes[34] = 0x12;
    bytes[35] = 0x34;
    bytes[39] = 58;
    assert_int_equal(checksum_finish(checksum_add_pseudo(0, udp_v6 + 8, 32, 58, 0x1234)),
                     checksum_finish(checksum_add(0, bytes, sizeof(bytes))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv4),           cmocka_unit_test(ipv6),      cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(contradictions), cmocka_unit_test(frames),    cmocka_unit_test(extension_headers),
        cmocka_unit_test(hosts),          cmocka_unit_test(checksums), cmocka_unit_test(checksum_updates),
        cmocka_unit_test(pseudo_headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/checksum.h"
#include "worker/icmp.h"

#include <stdlib.h>
#include <string.h>

/* A question, and the answer to it as another implementation makes it. */
static const uint8_t udp_v4[] = {
    0x45, 0x00, 0x00, 0x30, 0x12, 0x34, 0x40, 0x00, 0x40, 0x11, 0xa1, 0x21, 0xc0, 0xa8, 0x03, 0x0b,
    0xc0, 0xa8, 0x03, 0x0c, 0x03, 0xe8, 0x07, 0xd0, 0x00, 0x1c, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03,
    0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13,
};
static const uint8_t frag_needed[] = {
    0x45, 0xc0, 0x00, 0x4c, 0x00, 0x00, 0x40, 0x00, 0x40, 0x01, 0xb2, 0x89, 0xc0, 0xa8, 0x03, 0x0c, 0xc0, 0xa8, 0x03,
    0x0b, 0x03, 0x04, 0x91, 0x03, 0x00, 0x00, 0x05, 0xc0, 0x45, 0x00, 0x00, 0x30, 0x12, 0x34, 0x40, 0x00, 0x40, 0x11,
    0xa1, 0x21, 0xc0, 0xa8, 0x03, 0x0b, 0xc0, 0xa8, 0x03, 0x0c, 0x03, 0xe8, 0x07, 0xd0, 0x00, 0x1c, 0x00, 0x00, 0x00,
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13,
};
static const uint8_t udp_v6[] = {
    0x60, 0x00, 0x00, 0x00, 0x00, 0x1c, 0x11, 0x40, 0xfd, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0xfd, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x12, 0x03, 0xe8, 0x07, 0xd0, 0x00, 0x1c, 0x00, 0x00, 0x00, 0x01, 0x02,
    0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13,
};
static const uint8_t too_big_v6[] = {
    0x6c, 0x00, 0x00, 0x00, 0x00, 0x4c, 0x3a, 0x40, 0xfd, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x12, 0xfd, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0x02, 0x00, 0x2b, 0xe3, 0x00, 0x00, 0x05, 0xac, 0x60, 0x00, 0x00,
    0x00, 0x00, 0x1c, 0x11, 0x40, 0xfd, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x11, 0xfd, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x12, 0x03, 0xe8, 0x07, 0xd0, 0x00, 0x1c, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05,
    0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13,
};

static size_t answer(const uint8_t *bytes, size_t length, enum device_kind kind, size_t mtu,
                     uint8_t out[static ICMP_ROOM])
{
    struct packet_view view;

    assert_int_equal(packet_parse(kind, bytes, length, &view), 0);
    return icmp_too_big(bytes, &view, mtu, out);
}

static void fragmentation_needed(void **state)
{
    uint8_t out[ICMP_ROOM];

    (void)state;
    assert_int_equal(answer(udp_v4, sizeof(udp_v4), DEVICE_TUN, 1472, out), sizeof(frag_needed));
    assert_memory_equal(out, frag_needed, sizeof(frag_needed));
}

static void packet_too_big(void **state)
{
    uint8_t out[ICMP_ROOM];

    (void)state;
    assert_int_equal(answer(udp_v6, sizeof(udp_v6), DEVICE_TUN, 1452, out), sizeof(too_big_v6));
    assert_memory_equal(out, too_big_v6, sizeof(too_big_v6));
}

static void frame_goes_back_to_its_sender(void **state)
{
    uint8_t frame[18 + sizeof(udp_v4)] = {2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 0x81, 0x00, 0x00, 0x07, 0x08, 0x00};
    static const uint8_t turned[18] = {2, 0, 0, 0, 0, 0xa, 2, 0, 0, 0, 0, 0xb, 0x81, 0x00, 0x00, 0x07, 0x08, 0x00};
    uint8_t out[ICMP_ROOM];

    (void)state;
    memcpy(frame + 18, udp_v4, sizeof(udp_v4));
    assert_int_equal(answer(frame, sizeof(frame), DEVICE_TAP, 1472, out), 18 + sizeof(frag_needed));
    assert_memory_equal(out, turned, sizeof(turned));
    assert_memory_equal(out + 18, frag_needed, sizeof(frag_needed));

    frame[0] = 0xff; /* to everybody */
    assert_int_equal(answer(frame, sizeof(frame), DEVICE_TAP, 1472, out), 0);
    frame[0] = 2;
    frame[6] = 3; /* from a group */
    assert_int_equal(answer(frame, sizeof(frame), DEVICE_TAP, 1472, out), 0);
}

/* A packet of this length and version, from and to one host. */
static void make(uint8_t *packet, unsigned version, size_t length)
{
    memset(packet, 0xee, length);
    if (version == 4) {
        memcpy(packet, udp_v4, 20);
        store_be16(packet + 2, (uint16_t)length);
    } else {
        memcpy(packet, udp_v6, 40);
        store_be16(packet + 4, (uint16_t)(length - 40));
    }
}

static void quotes_what_fits(void **state)
{
    uint8_t packet[2000], out[ICMP_ROOM];

    (void)state;
    for (size_t length = 100; length <= sizeof(packet); length++) {
        size_t v4 = length + 28 < 576 ? length + 28 : 576, v6 = length + 48 < 1280 ? length + 48 : 1280;

        make(packet, 4, length);
        assert_int_equal(answer(packet, length, DEVICE_TUN, 1472, out), v4);
        assert_int_equal(checksum_finish(checksum_add(0, out, 20)), 0);
        assert_int_equal(checksum_finish(checksum_add(0, out + 20, v4 - 20)), 0);
        assert_memory_equal(out + 28, packet, v4 - 28);
        make(packet, 6, length);
        assert_int_equal(answer(packet, length, DEVICE_TUN, 1452, out), v6);
        assert_int_equal(
            checksum_finish(checksum_add(checksum_add_pseudo(0, out + 8, 32, 58, v6 - 40), out + 40, v6 - 40)), 0);
        assert_memory_equal(out + 48, packet, v6 - 48);
    }
}

static void never_about(void **state)
{
    static const struct {
        unsigned version;
        const char *what;
        struct {
            size_t offset;
            uint8_t value;
        } change[3];
    } cases[] = {
        {4, "a later fragment", {{6, 0x00}, {7, 1}}},
        {4, "to a group", {{16, 224}}},
        {4, "to everybody", {{16, 255}}},
        {4, "from nobody", {{12, 0}}},
        {4, "from a group", {{12, 230}}},
        {4, "from loopback", {{12, 127}}},
        {4, "an ICMP error", {{9, 1}, {20, 3}}},
        {4, "an ICMP redirect", {{9, 1}, {20, 5}}},
        {4, "time exceeded", {{9, 1}, {20, 11}}},
        {4, "unknown ICMP", {{9, 1}, {20, 99}}},
        {6, "to a group", {{24, 0xff}}},
        {6, "from a group", {{8, 0xff}}},
        {6, "an ICMP error", {{6, 58}, {40, 2}}},
        {6, "an ICMP redirect", {{6, 58}, {40, 137}}},
        {6, "a later fragment", {{6, 44}, {42, 0}, {43, 8}}},
    };
    static const uint8_t queries[] = {0, 8, 9, 10, 13, 14, 42, 43};
    uint8_t packet[1500], out[ICMP_ROOM], *bare;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        make(packet, cases[i].version, sizeof(packet));
        assert_int_not_equal(answer(packet, sizeof(packet), DEVICE_TUN, 1400, out), 0);
        for (size_t k = 0; k < ARRAY_SIZE(cases[i].change); k++)
            if (cases[i].change[k].offset != 0)
                packet[cases[i].change[k].offset] = cases[i].change[k].value;
        if (answer(packet, sizeof(packet), DEVICE_TUN, 1400, out) != 0)
            fail_msg("answered: IPv%u, %s", cases[i].version, cases[i].what);
    }
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++) { /* but about echos and the like */
        make(packet, 4, sizeof(packet));
        packet[9] = 1;
        packet[20] = queries[i];
        assert_int_not_equal(answer(packet, sizeof(packet), DEVICE_TUN, 1400, out), 0);
    }
    bare = malloc(20); /* ICMP without a byte */
    make(bare, 4, 20);
    bare[9] = 1;
    assert_int_equal(answer(bare, 20, DEVICE_TUN, 1400, out), 0);
    free(bare);
    assert_int_equal(answer(packet, sizeof(packet), DEVICE_TUN, 67, out), 0);
    make(packet, 6, sizeof(packet));
    assert_int_equal(answer(packet, sizeof(packet), DEVICE_TUN, 1279, out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fragmentation_needed),
        cmocka_unit_test(packet_too_big),
        cmocka_unit_test(frame_goes_back_to_its_sender),
        cmocka_unit_test(quotes_what_fits),
        cmocka_unit_test(never_about),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

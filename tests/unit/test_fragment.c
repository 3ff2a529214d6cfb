/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/checksum.h"
#include "worker/fragment.h"

#include <errno.h>
#include <string.h>

static void checksum_set(uint8_t *header)
{
    uint16_t check;

    memset(header + 10, 0, 2);
    check = checksum_finish(checksum_add(0, header, (size_t)(header[0] & 15) * 4));
    memcpy(header + 10, &check, sizeof(check));
}

/* An IPv4 packet of this length, with `options` bytes of them and a payload that tells its places apart. */
static void make(uint8_t *packet, size_t length, const uint8_t *options, size_t option_size, uint16_t fragment)
{
    static const uint8_t header[20] = {0x45, 0xba, 0, 0, 0x12, 0x34, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};

    memcpy(packet, header, sizeof(header));
    packet[0] = (uint8_t)(0x40 | (20 + option_size) / 4);
    store_be16(packet + 2, (uint16_t)length);
    store_be16(packet + 6, fragment);
    if (option_size > 0)
        memcpy(packet + 20, options, option_size);
    for (size_t i = 20 + option_size; i < length; i++)
        packet[i] = (uint8_t)(i * 7 + i / 256);
    checksum_set(packet);
}

/* What RFC 791 demands of each piece, and that the pieces make the whole again. */
static void cut_and_join(const uint8_t *packet, size_t length, size_t mtu)
{
    static uint8_t joined[65536];
    struct packet_view view, piece_view;
    struct fragmenter fragmenter;
    struct fragment piece;
    size_t done = 0, pieces = 0;
    bool more = true;

    assert_int_equal(packet_parse_bare(packet, length, &view), 0);
    assert_int_equal(fragmenter_init(&fragmenter, packet, &view, mtu), 0);
    while (fragmenter_next(&fragmenter, &piece)) {
        uint8_t whole[65536];
        size_t size = piece.header_length + piece.payload_length;

        assert_true(more);
        assert_true(size <= mtu);
        memcpy(whole, piece.header, piece.header_length);
        memcpy(whole + piece.header_length, piece.payload, piece.payload_length);
        assert_int_equal(packet_parse_bare(whole, size, &piece_view), 0);
        assert_int_equal(checksum_finish(checksum_add(0, whole, piece_view.header_length)), 0);
        assert_int_equal(piece_view.fragment_offset, view.fragment_offset + done);
        assert_int_equal(whole[1], packet[1]);
        assert_memory_equal(whole + 4, packet + 4, 2);
        assert_memory_equal(whole + 8, packet + 8, 2);
        assert_memory_equal(whole + 12, packet + 12, 8);
        more = piece_view.more_fragments;
        memcpy(joined + done, piece.payload, piece.payload_length);
        done += piece.payload_length;
        pieces++;
        assert_true(done == view.ip_length - view.header_length || (more && piece.payload_length % 8 == 0));
    }
    assert_int_equal(more, view.more_fragments);
    assert_int_equal(done, view.ip_length - view.header_length);
    assert_memory_equal(joined, packet + view.header_length, done);
    if (length > mtu)
        assert_true(pieces >= (length + mtu - 1) / mtu);
}

static void joined_again_it_is_the_same(void **state)
{
    static uint8_t packet[65535];
    static const size_t mtus[] = {68, 69, 100, 575, 576, 1280, 1472, 1500};

    (void)state;
    for (size_t length = 69; length < sizeof(packet); length = length * 2 + 3)
        for (size_t i = 0; i < ARRAY_SIZE(mtus); i++) {
            make(packet, length, NULL, 0, 0);
            cut_and_join(packet, length, mtus[i]);
        }
}

static void a_fragment_is_cut_into_fragments_of_the_same(void **state)
{
    uint8_t packet[20 + 1480];

    (void)state;
    make(packet, sizeof(packet), NULL, 0, 0x2000 | 185); /* one from the middle */
    cut_and_join(packet, sizeof(packet), 600);
    make(packet, sizeof(packet), NULL, 0, 185); /* the last */
    cut_and_join(packet, sizeof(packet), 600);
}

static void options_go_where_they_belong(void **state)
{
    static const struct {
        uint8_t options[12], copied[4];
    } cases[] = {
        /* record route (first only), no-op, router alert (copied) */
        {{7, 7, 4, 1, 2, 3, 4, 1, 0x94, 4, 0, 0}, {0x94, 4, 0, 0}},
        /* router alert, end, and what is none */
        {{0x94, 4, 0, 0, 0, 1, 0x82, 3, 9, 7, 200, 1}, {0x94, 4, 0, 0}},
        /* one to be copied that leaves a byte over */
        {{0x82, 3, 9, 7, 9, 4, 1, 2, 3, 4, 5, 6}, {0x82, 3, 9, 0}},
    };
    uint8_t packet[1500];
    struct packet_view view;
    struct fragmenter fragmenter;
    struct fragment piece;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        make(packet, sizeof(packet), cases[i].options, sizeof(cases[i].options), 0);
        cut_and_join(packet, sizeof(packet), 600);
        assert_int_equal(packet_parse_bare(packet, sizeof(packet), &view), 0);
        assert_int_equal(fragmenter_init(&fragmenter, packet, &view, 600), 0);
        assert_true(fragmenter_next(&fragmenter, &piece));
        assert_int_equal(piece.header_length, 32);
        assert_memory_equal(piece.header + 20, cases[i].options, sizeof(cases[i].options));
        while (fragmenter_next(&fragmenter, &piece)) {
            assert_int_equal(piece.header_length, 24);
            assert_memory_equal(piece.header + 20, cases[i].copied, sizeof(cases[i].copied));
        }
    }
}

static void refused(void **state)
{
    static const uint8_t no_options[][4] = {{7, 0, 0, 0}, {7, 1, 0, 0}, {7, 5, 0, 0}, {1, 1, 1, 7}};
    uint8_t packet[1500], full[40];
    struct packet_view view;
    struct fragmenter fragmenter;

    (void)state;
    make(packet, sizeof(packet), NULL, 0, 0x4000);
    assert_int_equal(packet_parse_bare(packet, sizeof(packet), &view), 0);
    assert_int_equal(fragmenter_init(&fragmenter, packet, &view, 600), -EMSGSIZE);
    make(packet, sizeof(packet), NULL, 0, 0);
    assert_int_equal(packet_parse_bare(packet, sizeof(packet), &view), 0);
    assert_int_equal(fragmenter_init(&fragmenter, packet, &view, 27), -EMSGSIZE);
    for (size_t i = 0; i < ARRAY_SIZE(no_options); i++) {
        make(packet, sizeof(packet), no_options[i], sizeof(no_options[i]), 0);
        assert_int_equal(packet_parse_bare(packet, sizeof(packet), &view), 0);
        assert_int_equal(fragmenter_init(&fragmenter, packet, &view, 600), -EINVAL);
    }
    memset(full, 1, sizeof(full)); /* its length would lie behind the longest header there is */
    full[39] = 7;
    make(packet, sizeof(packet), full, sizeof(full), 0);
    assert_int_equal(packet_parse_bare(packet, sizeof(packet), &view), 0);
    assert_int_equal(fragmenter_init(&fragmenter, packet, &view, 600), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joined_again_it_is_the_same),
        cmocka_unit_test(a_fragment_is_cut_into_fragments_of_the_same),
        cmocka_unit_test(options_go_where_they_belong),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

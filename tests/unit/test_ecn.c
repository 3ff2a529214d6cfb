/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/checksum.h"
#include "worker/ecn.h"

#include <string.h>

enum { NOT_ECT, ECT_1, ECT_0, CE, DROPPED };

/* RFC 6040, figure 4, row by row as it is printed there: inner, outer, result. */
static const uint8_t figure_4[][3] = {
    {NOT_ECT, NOT_ECT, NOT_ECT}, {NOT_ECT, ECT_0, NOT_ECT}, {NOT_ECT, ECT_1, NOT_ECT}, {NOT_ECT, CE, DROPPED},
    {ECT_0, NOT_ECT, ECT_0},     {ECT_0, ECT_0, ECT_0},     {ECT_0, ECT_1, ECT_1},     {ECT_0, CE, CE},
    {ECT_1, NOT_ECT, ECT_1},     {ECT_1, ECT_0, ECT_1},     {ECT_1, ECT_1, ECT_1},     {ECT_1, CE, CE},
    {CE, NOT_ECT, CE},           {CE, ECT_0, CE},           {CE, ECT_1, CE},           {CE, CE, CE},
};

static void decapsulates_ipv4(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(figure_4); i++) {
        uint8_t packet[20] = {
            0x45, (uint8_t)(0xb8 | figure_4[i][0]), 0, 20, 0x12, 0x34, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
        uint16_t check = checksum_finish(checksum_add(0, packet, sizeof(packet)));
        uint8_t before[20];
        struct packet_view view;
        enum drop_reason reason;

        memcpy(packet + 10, &check, sizeof(check));
        memcpy(before, packet, sizeof(before));
        assert_int_equal(packet_parse_bare(packet, sizeof(packet), &view), 0);
        reason = ecn_decapsulate(packet, &view, (uint8_t)(0x28 | figure_4[i][1]));
        if (figure_4[i][2] == DROPPED) {
            assert_int_equal(reason, DROP_ECN);
            continue;
        }
        assert_int_equal(reason, PACKET_FORWARD);
        assert_int_equal(packet[1], 0xb8 | figure_4[i][2]); /* the DSCP is the inner one's */
        assert_int_equal(checksum_finish(checksum_add(0, packet, sizeof(packet))), 0);
        packet[1] = before[1];
        memcpy(packet + 10, before + 10, 2);
        assert_memory_equal(packet, before, sizeof(packet));
    }
}

static void decapsulates_ipv6(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(figure_4); i++) {
        uint8_t packet[40] = {
            [0] = 0x6b, [1] = (uint8_t)(0x8f | figure_4[i][0] << 4), [2] = 0xab, [3] = 0xcd, [6] = 59};
        struct packet_view view;
        enum drop_reason reason;

        assert_int_equal(packet_parse_bare(packet, sizeof(packet), &view), 0);
        reason = ecn_decapsulate(packet, &view, figure_4[i][1]);
        if (figure_4[i][2] == DROPPED) {
            assert_int_equal(reason, DROP_ECN);
            continue;
        }
        assert_int_equal(reason, PACKET_FORWARD);
        assert_int_equal(packet[0], 0x6b);
        assert_int_equal(packet[1], 0x8f | figure_4[i][2] << 4);
        assert_int_equal(packet[2], 0xab);
    }
}

static void encapsulates(void **state)
{
    (void)state;
    for (unsigned tos = 0; tos < 256; tos++)
        assert_int_equal(ecn_outer_tos((uint8_t)tos), tos);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decapsulates_ipv4),
        cmocka_unit_test(decapsulates_ipv6),
        cmocka_unit_test(encapsulates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

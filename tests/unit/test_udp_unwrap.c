/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/checksum.h"
#include "worker/udp_unwrap.h"

#include <string.h>

/* 192.0.2.1:1000 > 10.33.0.1:5000, and the same in IPv6 to 2001:db8::1; 4 bytes of payload. Checksums are not looked
 * at. */
static const uint8_t to_peer_v4[] = {
    0x45, 0x02, 0x00, 0x20, 0x12, 0x34, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 192,  0,    2,    1,
    10,   33,   0,    1,    0x03, 0xe8, 0x13, 0x88, 0x00, 0x0c, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04,
};
static const uint8_t to_peer_v6[] = {
    0x60, 0x20, 0x00, 0x00, 0x00, 0x0c, 0x11, 0x40, 0xfd, 0,    0,    0,    0,    0,    0,    0,    0, 0,
    0,    0,    0,    0,    0,    1,    0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,    0,    0,    0,    0, 0,
    0,    0,    0,    1,    0x03, 0xe8, 0x13, 0x88, 0x00, 0x0c, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04,
};

static enum drop_reason unwrap(enum device_kind kind, const uint8_t *bytes, size_t length, uint8_t tos)
{
    uint8_t *made = test_malloc(length > 0 ? length : 1);
    struct packet_view view;
    enum drop_reason reason;

    memcpy(made, bytes, length);
    reason = udp_unwrap(kind, made, length, tos, &view);
    test_free(made);
    return reason;
}

static void tun_takes_whole_packets_only(void **state)
{
    uint8_t longer[sizeof(to_peer_v6) + 1] = {0};

    (void)state;
    assert_int_equal(unwrap(DEVICE_TUN, to_peer_v4, sizeof(to_peer_v4), 0), PACKET_FORWARD);
    assert_int_equal(unwrap(DEVICE_TUN, to_peer_v6, sizeof(to_peer_v6), 0), PACKET_FORWARD);
    for (size_t cut = 0; cut < sizeof(to_peer_v4); cut++)
        assert_int_equal(unwrap(DEVICE_TUN, to_peer_v4, cut, 0), DROP_MALFORMED);
    for (size_t cut = 0; cut < sizeof(to_peer_v6); cut++)
        assert_int_equal(unwrap(DEVICE_TUN, to_peer_v6, cut, 0), DROP_MALFORMED);
    memcpy(longer, to_peer_v6, sizeof(to_peer_v6));
    assert_int_equal(unwrap(DEVICE_TUN, longer, sizeof(longer), 0), DROP_MALFORMED);
    memcpy(longer, to_peer_v4, sizeof(to_peer_v4));
    assert_int_equal(unwrap(DEVICE_TUN, longer, sizeof(to_peer_v4) + 1, 0), DROP_MALFORMED);
}

static void tap_takes_any_frame(void **state)
{
    uint8_t frame[14 + sizeof(to_peer_v4)] = {[12] = 0x08};

    (void)state;
    memcpy(frame + 14, to_peer_v4, sizeof(to_peer_v4));
    for (size_t cut = 0; cut <= sizeof(frame); cut++)
        assert_int_equal(unwrap(DEVICE_TAP, frame, cut, 3), cut < 14 ? DROP_MALFORMED : PACKET_FORWARD);
    frame[12] = 0x81; /* the tag is cut off: still a frame */
    assert_int_equal(unwrap(DEVICE_TAP, frame, 14, 0), PACKET_FORWARD);
}

static void congestion_reaches_the_inner_packet(void **state)
{
    uint8_t frame[14 + sizeof(to_peer_v4)] = {[12] = 0x08};
    struct packet_view view;

    (void)state;
    memcpy(frame + 14, to_peer_v4, sizeof(to_peer_v4));
    assert_int_equal(udp_unwrap(DEVICE_TAP, frame, sizeof(frame), 3, &view), PACKET_FORWARD);
    assert_int_equal(frame[15], 3);
    frame[15] = 0;
    assert_int_equal(udp_unwrap(DEVICE_TAP, frame, sizeof(frame), 3, &view), DROP_ECN);
    assert_int_equal(udp_unwrap(DEVICE_TUN, frame + 14, sizeof(to_peer_v4), 3, &view), DROP_ECN);
}

static enum drop_reason inspect(const char *remote_text, const uint8_t *bytes, size_t length)
{
    struct endpoint remote;
    struct packet_view view;

    assert_int_equal(endpoint_parse(remote_text, &remote), 0);
    return udp_inspect(DEVICE_TUN, bytes, length, &remote, &view);
}

static void only_the_peers_own_endpoint_is_a_loop(void **state)
{
    uint8_t packet[sizeof(to_peer_v4)];

    (void)state;
    assert_int_equal(inspect("10.33.0.1:5000", to_peer_v4, sizeof(to_peer_v4)), DROP_LOOP);
    assert_int_equal(inspect("10.33.0.1:5001", to_peer_v4, sizeof(to_peer_v4)), PACKET_FORWARD);
    assert_int_equal(inspect("10.33.0.2:5000", to_peer_v4, sizeof(to_peer_v4)), PACKET_FORWARD);
    assert_int_equal(inspect("[2001:db8::1]:5000", to_peer_v4, sizeof(to_peer_v4)), PACKET_FORWARD);
    assert_int_equal(inspect("[2001:db8::1]:5000", to_peer_v6, sizeof(to_peer_v6)), DROP_LOOP);
    assert_int_equal(inspect("[2001:db8::2]:5000", to_peer_v6, sizeof(to_peer_v6)), PACKET_FORWARD);
    assert_int_equal(inspect("10.33.0.1:5000", to_peer_v4, sizeof(to_peer_v4) - 1), DROP_MALFORMED);
    memcpy(packet, to_peer_v4, sizeof(packet));
    packet[9] = 6; /* TCP to the same port */
    assert_int_equal(inspect("10.33.0.1:5000", packet, sizeof(packet)), PACKET_FORWARD);
    packet[9] = 17;
    packet[7] = 1; /* a later fragment has no ports */
    assert_int_equal(inspect("10.33.0.1:5000", packet, sizeof(packet)), PACKET_FORWARD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tun_takes_whole_packets_only),
        cmocka_unit_test(tap_takes_any_frame),
        cmocka_unit_test(congestion_reaches_the_inner_packet),
        cmocka_unit_test(only_the_peers_own_endpoint_is_a_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/checksum.h"
#include "worker/udp_unwrap.h"

#include <errno.h>
#include <stdlib.h>
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
    uint8_t *made = malloc(length > 0 ? length : 1);
    struct udp_arrival arrival;
    enum drop_reason reason;

    memcpy(made, bytes, length);
    reason = udp_unwrap(kind, made, length, tos, &arrival);
    free(made);
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
    struct udp_arrival arrival;

    (void)state;
    memcpy(frame + 14, to_peer_v4, sizeof(to_peer_v4));
    assert_int_equal(udp_unwrap(DEVICE_TAP, frame, sizeof(frame), 3, &arrival), PACKET_FORWARD);
    assert_int_equal(frame[15], 3);
    frame[15] = 0;
    assert_int_equal(udp_unwrap(DEVICE_TAP, frame, sizeof(frame), 3, &arrival), DROP_ECN);
    assert_int_equal(udp_unwrap(DEVICE_TUN, frame + 14, sizeof(to_peer_v4), 3, &arrival), DROP_ECN);
}

/* ---- GUE --------------------------------------------------------------------------------------------------------- */

/* 192.0.2.1:1000 > 10.33.0.1:7: the pseudo-header's sum stands in the field, c000+0201+0a21+0001+0011+000c = cc40. */
static const uint8_t left[] = {
    0x02, 0x04, 0x00, 0x01, 0x80, 0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x1a, /* 12 bytes of GUE */
    0x45, 0x02, 0x00, 0x20, 0x12, 0x34, 0x40, 0x00, 0x40, 0x11, 0x51, 0x91, 192,  0,    2,    1,
    10,   33,   0,    1,    0x03, 0xe8, 0x00, 0x07, 0x00, 0x0c, 0xcc, 0x40, 0x01, 0x02, 0x03, 0x04,
};

static void gue_goes_before_either_version(void **state)
{
    uint8_t bytes[GUE_HEADER_SIZE + sizeof(to_peer_v6)] = {0, 4};
    struct udp_arrival arrival;

    (void)state;
    memcpy(bytes + 4, to_peer_v4, sizeof(to_peer_v4));
    assert_int_equal(udp_unwrap(DEVICE_TUN, bytes, 4 + sizeof(to_peer_v4), 0, &arrival), PACKET_FORWARD);
    assert_int_equal(arrival.head, 4);
    assert_int_equal(arrival.view.version, 4);
    assert_int_equal(arrival.header.flags, 0);
    for (size_t cut = 0; cut < 4 + sizeof(to_peer_v4); cut++)
        assert_int_equal(unwrap(DEVICE_TUN, bytes, cut, 0), DROP_MALFORMED);
    bytes[1] = 41;
    assert_int_equal(unwrap(DEVICE_TUN, bytes, 4 + sizeof(to_peer_v4), 0), DROP_MALFORMED);
    memcpy(bytes + 4, to_peer_v6, sizeof(to_peer_v6));
    assert_int_equal(udp_unwrap(DEVICE_TUN, bytes, sizeof(bytes), 0, &arrival), PACKET_FORWARD);
    assert_int_equal(arrival.view.version, 6);
    bytes[1] = 4;
    assert_int_equal(unwrap(DEVICE_TUN, bytes, sizeof(bytes), 0), DROP_MALFORMED);
    assert_int_equal(unwrap(DEVICE_TAP, bytes, sizeof(bytes), 0), PACKET_FORWARD); /* to a tap it is a MAC address */
}

static void gue_carries_congestion(void **state)
{
    uint8_t bytes[sizeof(left)];
    struct udp_arrival arrival;

    (void)state;
    memcpy(bytes, left, sizeof(left));
    assert_int_equal(udp_unwrap(DEVICE_TUN, bytes, sizeof(bytes), 3, &arrival), PACKET_FORWARD);
    assert_int_equal(bytes[13], 3);
    assert_int_equal(arrival.header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

/* A checksum that is the packet's own is left to the device, any other is made. */
static void remote_checksum(void **state)
{
    struct udp_arrival arrival;
    uint8_t bytes[sizeof(left)];
    uint8_t *packet = bytes + 12;

    (void)state;
    memcpy(bytes, left, sizeof(left));
    assert_int_equal(udp_unwrap(DEVICE_TUN, bytes, sizeof(bytes), 0, &arrival), PACKET_FORWARD);
    assert_int_equal(arrival.head, 12);
    assert_int_equal(arrival.header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    assert_int_equal(arrival.header.gso_type, 0);
    assert_int_equal(arrival.header.csum_start, 20);
    assert_int_equal(arrival.header.csum_offset, 6);
    assert_memory_equal(bytes, left, sizeof(left));

    /* a field that does not have the pseudo-header's sum: made here, by which its receiver sees that it is wrong */
    packet[27] ^= 1; /* cc41: the sum over UDP is 03e8+0007+000c+cc41+0102+0304 = d442, its complement 2bbd */
    assert_int_equal(udp_unwrap(DEVICE_TUN, bytes, sizeof(bytes), 0, &arrival), PACKET_FORWARD);
    assert_int_equal(arrival.header.flags, 0);
    assert_int_equal(load_be16(packet + 26), 0x2bbd);

    /* over the payload only, into its second word: 0102+0304 = 0406 → fbf9 */
    memcpy(bytes, left, sizeof(left));
    bytes[9] = 28;
    bytes[11] = 30;
    assert_int_equal(udp_unwrap(DEVICE_TUN, bytes, sizeof(bytes), 0, &arrival), PACKET_FORWARD);
    assert_int_equal(arrival.header.flags, 0);
    assert_int_equal(load_be16(packet + 30), 0xfbf9);
    assert_int_equal(load_be16(packet + 26), 0xcc40);

    /* a fragment has no checksum that could be made from it, but what was asked for is done */
    memcpy(bytes, left, sizeof(left));
    packet[6] = 0x20;
    assert_int_equal(udp_unwrap(DEVICE_TUN, bytes, sizeof(bytes), 0, &arrival), PACKET_FORWARD);
    assert_int_equal(arrival.header.flags, 0);

    /* one byte further and it would not lie in the packet */
    memcpy(bytes, left, sizeof(left));
    bytes[11] = 30;
    assert_int_equal(unwrap(DEVICE_TUN, bytes, sizeof(bytes), 0), PACKET_FORWARD);
    bytes[11] = 31;
    assert_int_equal(unwrap(DEVICE_TUN, bytes, sizeof(bytes), 0), DROP_MALFORMED);

    /* into the length of IP's own header: nothing is believed that was read before */
    bytes[9] = 0;
    bytes[11] = 2;
    assert_int_equal(unwrap(DEVICE_TUN, bytes, sizeof(bytes), 0), DROP_MALFORMED);
}

static void checksums_that_are_own(void **state)
{
    static const struct {
        uint8_t protocol;
        uint16_t start, offset;
        bool own;
    } cases[] = {
        {17, 20, 6, true},  {17, 24, 6, false}, {17, 16, 10, false}, {17, 20, 8, false}, {17, 20, 16, false},
        {17, 24, 2, false}, {6, 20, 6, false},  {6, 20, 16, false},  {1, 20, 6, false},
    };
    uint8_t *packet = malloc(sizeof(left) - 12); /* with nothing behind it */
    struct packet_view view;

    (void)state;
    memcpy(packet, left + 12, sizeof(left) - 12);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct virtio_net_hdr checksum = {.csum_start = cases[i].start, .csum_offset = cases[i].offset};

        packet[9] = cases[i].protocol;
        assert_int_equal(packet_parse_bare(packet, sizeof(left) - 12, &view), 0);
        if (udp_checksum_is_own(packet, &view, &checksum) != cases[i].own)
            fail_msg("case %zu", i);
    }
    free(packet);
}

static void heads_are_read_as_they_were_made(void **state)
{
    const struct virtio_net_hdr checksum = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20, .csum_offset = 6};
    const struct virtio_net_hdr none = {.flags = 0, .csum_start = 20, .csum_offset = 6};
    uint8_t bytes[12 + sizeof(to_peer_v4)];
    struct udp_head head, again;

    (void)state;
    udp_head_make(4, &checksum, &head);
    assert_int_equal(head.length, 12);
    assert_memory_equal(head.bytes, left, 12);
    memcpy(bytes, left, sizeof(left));
    assert_int_equal(udp_head_read(bytes, sizeof(left), &again), 0);
    assert_memory_equal(&again, &head, sizeof(head));
    assert_int_equal(udp_head_read(bytes, 12, &again), -EINVAL); /* nothing behind it */
    udp_head_make(6, &none, &head);
    assert_int_equal(head.length, 4);
    assert_int_equal(head.bytes[1], 41);
    assert_int_equal(head.checksum.flags, 0);
}

/* ---- towards the wire -------------------------------------------------------------------------------------------- */

static enum drop_reason inspect(const char *remote_text, const uint8_t *bytes, size_t length)
{
    struct endpoint remote;
    struct packet_view view;

    assert_int_equal(endpoint_parse(remote_text, &remote), 0);
    return udp_inspect(DEVICE_TUN, bytes, length, &remote, 1, &view);
}

/* A tunnel with several queues has as many endpoints. */
static void each_of_the_peers_ports_is_a_loop(void **state)
{
    struct endpoint remote;
    struct packet_view view;

    (void)state;
    assert_int_equal(endpoint_parse("10.33.0.1:4997", &remote), 0);
    assert_int_equal(udp_inspect(DEVICE_TUN, to_peer_v4, sizeof(to_peer_v4), &remote, 3, &view), PACKET_FORWARD);
    assert_int_equal(udp_inspect(DEVICE_TUN, to_peer_v4, sizeof(to_peer_v4), &remote, 4, &view), DROP_LOOP);
    remote.port = 5001;
    assert_int_equal(udp_inspect(DEVICE_TUN, to_peer_v4, sizeof(to_peer_v4), &remote, 16, &view), PACKET_FORWARD);
}

/* What was put together before UDP_GRO was turned off comes without a word of where each packet ends. */
static void packets_back_to_back(void **state)
{
    uint8_t bytes[256] = {0};
    size_t v4 = sizeof(to_peer_v4), v6 = sizeof(to_peer_v6);
    struct virtio_net_hdr none = {0};
    struct udp_head head;

    (void)state;
    memcpy(bytes, to_peer_v4, v4);
    memcpy(bytes + v4, to_peer_v4, v4);
    assert_int_equal(udp_first_length(DEVICE_TUN, bytes, 2 * v4), v4);
    assert_int_equal(udp_first_length(DEVICE_TUN, bytes, v4 + 1), v4);
    assert_int_equal(udp_first_length(DEVICE_TUN, bytes, v4), v4);
    assert_int_equal(udp_first_length(DEVICE_TUN, bytes, v4 - 1), v4 - 1); /* for others to judge */
    assert_int_equal(udp_first_length(DEVICE_TUN, bytes, 1), 1);
    assert_int_equal(udp_first_length(DEVICE_TUN, bytes, 0), 0);
    memcpy(bytes, to_peer_v6, v6);
    assert_int_equal(udp_first_length(DEVICE_TUN, bytes, sizeof(bytes)), v6);

    udp_head_make(4, &none, &head);
    memcpy(bytes, head.bytes, head.length);
    memcpy(bytes + head.length, to_peer_v4, v4);
    assert_int_equal(udp_first_length(DEVICE_TUN, bytes, sizeof(bytes)), head.length + v4);
    assert_int_equal(udp_first_length(DEVICE_TUN, bytes, head.length), head.length);

    memset(bytes, 0, sizeof(bytes));
    store_be16(bytes + 12, 0x0800);
    memcpy(bytes + 14, to_peer_v4, v4);
    assert_int_equal(udp_first_length(DEVICE_TAP, bytes, sizeof(bytes)), 14 + v4);
    assert_int_equal(udp_first_length(DEVICE_TAP, bytes, 13), 13);
    store_be16(bytes + 12, 0x0806);
    assert_int_equal(udp_first_length(DEVICE_TAP, bytes, 60), 60);
}

static void only_the_peers_own_endpoint_is_a_loop(void **state)
{
    uint8_t packet[sizeof(to_peer_v6)], *exact;
    struct endpoint remote;
    struct packet_view view;

    (void)state;
    assert_int_equal(inspect("10.33.0.1:5000", to_peer_v4, sizeof(to_peer_v4)), DROP_LOOP);
    assert_int_equal(inspect("10.33.0.1:5001", to_peer_v4, sizeof(to_peer_v4)), PACKET_FORWARD);
    assert_int_equal(inspect("10.33.0.2:5000", to_peer_v4, sizeof(to_peer_v4)), PACKET_FORWARD);
    assert_int_equal(inspect("[2001:db8::1]:5000", to_peer_v4, sizeof(to_peer_v4)), PACKET_FORWARD);
    assert_int_equal(inspect("[2001:db8::1]:5000", to_peer_v6, sizeof(to_peer_v6)), DROP_LOOP);
    assert_int_equal(inspect("[2001:db8::2]:5000", to_peer_v6, sizeof(to_peer_v6)), PACKET_FORWARD);
    assert_int_equal(inspect("10.33.0.1:5000", to_peer_v4, sizeof(to_peer_v4) - 1), DROP_MALFORMED);
    memcpy(packet, to_peer_v4, sizeof(to_peer_v4));
    packet[9] = 6; /* TCP to the same port */
    assert_int_equal(inspect("10.33.0.1:5000", packet, sizeof(to_peer_v4)), PACKET_FORWARD);
    packet[9] = 17;
    packet[7] = 1; /* a later fragment has no ports */
    assert_int_equal(inspect("10.33.0.1:5000", packet, sizeof(to_peer_v4)), PACKET_FORWARD);
    memcpy(packet, to_peer_v6, sizeof(to_peer_v6));
    memset(packet + 24, 0, 16); /* an IPv6 address that begins with the peer's in IPv4 */
    memcpy(packet + 24, to_peer_v4 + 16, 4);
    assert_int_equal(inspect("10.33.0.1:5000", packet, sizeof(to_peer_v6)), PACKET_FORWARD);

    exact = malloc(22); /* the first fragment, without the ports */
    memcpy(exact, to_peer_v4, 22);
    exact[3] = 22;
    exact[6] = 0x20;
    assert_int_equal(inspect("10.33.0.1:5000", exact, 22), PACKET_FORWARD);
    free(exact);
    exact = malloc(14); /* a frame without a packet */
    memset(exact, 0, 14);
    assert_int_equal(endpoint_parse("[2001:db8::1]:5000", &remote), 0);
    assert_int_equal(udp_inspect(DEVICE_TAP, exact, 14, &remote, 1, &view), PACKET_FORWARD);
    free(exact);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tun_takes_whole_packets_only),
        cmocka_unit_test(tap_takes_any_frame),
        cmocka_unit_test(congestion_reaches_the_inner_packet),
        cmocka_unit_test(gue_goes_before_either_version),
        cmocka_unit_test(gue_carries_congestion),
        cmocka_unit_test(remote_checksum),
        cmocka_unit_test(checksums_that_are_own),
        cmocka_unit_test(heads_are_read_as_they_were_made),
        cmocka_unit_test(each_of_the_peers_ports_is_a_loop),
        cmocka_unit_test(packets_back_to_back),
        cmocka_unit_test(only_the_peers_own_endpoint_is_a_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

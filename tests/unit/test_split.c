/* SPDX-License-Identifier: Apache-2.0 */
#include "golden_packets.h"
#include "super_packet.h"

#include "worker/udp_unwrap.h"

#include <errno.h>

static uint8_t packet[PACKET_ROOM], segments[128 * 1024];

static int split_of(const struct recipe *recipe, struct split *split, size_t *ret_length)
{
    struct virtio_net_hdr header;
    struct packet_view view;
    size_t length = recipe_make(recipe, packet, &header);

    assert_int_equal(packet_parse(recipe->kind, packet, length, &view), 0);
    *ret_length = length;
    return split_init(split, &header, packet, length, &view);
}

/* Every segment is right by itself, and together they are the whole. */
static void test_random(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct recipe recipe = recipe_random();
        bool tcp = recipe.protocol == PROTOCOL_TCP;
        size_t length, cut = 0, index = 0, segment_length, bytes, count;
        struct split split;

        assert_int_equal(split_of(&recipe, &split, &length), 0);
        while (
            (count = split_next(&split, segments, sizeof(segments), 1 + random_below(64), &segment_length, &bytes))) {
            for (size_t at = 0; at < bytes; at += segment_length, index++) {
                const uint8_t *segment = segments + at;
                size_t here = bytes - at < segment_length ? bytes - at : segment_length;
                const uint8_t *upper = segment + split.upper;
                bool last = cut + here - split.payload == recipe.payload_length;

                assert_packet_right(recipe.kind, segment, here);
                assert_memory_equal(segment + split.payload, packet + split.payload + cut, here - split.payload);
                assert_int_equal(here - split.payload, last ? recipe.payload_length - cut : recipe.size);
                if (recipe.version == 4)
                    assert_int_equal(load_be16(segment + split.ip + 4), (uint16_t)(recipe.id + index));
                if (tcp) {
                    assert_int_equal((uint32_t)load_be16(upper + 4) << 16 | load_be16(upper + 6),
                                     (uint32_t)(recipe.sequence + cut));
                    assert_int_equal(upper[13], last ? recipe.flags : recipe.flags & ~0x09);
                } else {
                    assert_int_equal(load_be16(upper + 4), here - split.upper);
                }
                cut += here - split.payload;
            }
        }
        assert_int_equal(cut, recipe.payload_length);
        assert_int_equal(index, (recipe.payload_length + recipe.size - 1) / recipe.size);
    }
}

/* Bytes that were made without this code. */
static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(golden_packets); i++) {
        const struct golden_packet *golden = &golden_packets[i];
        size_t segment, bytes;
        struct packet_view view;
        struct split split;

        assert_int_equal(packet_parse(golden->kind, golden->whole, golden->length, &view), 0);
        assert_int_equal(split_init(&split, &golden->header, golden->whole, golden->length, &view), 0);
        assert_int_equal(split_next(&split, segments, sizeof(segments), 64, &segment, &bytes), golden->count);
        assert_int_equal(segment, golden->segment);
        assert_int_equal(bytes, golden->bytes);
        if (memcmp(segments, golden->segments, bytes) != 0)
            fail_msg("%s: other segments", golden->name);
    }
}

/* The same behind GUE headers, each with the checksum left to the far end. */
static void test_golden_behind_heads(void **state)
{
    size_t tried = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(golden_packets); i++) {
        const struct golden_packet *golden = &golden_packets[i];
        size_t segment, bytes, count = 0, written = 0;
        struct packet_view view;
        struct udp_head head;
        struct split split;

        if (golden->remote_bytes == 0)
            continue;
        tried++;
        assert_int_equal(packet_parse(golden->kind, golden->whole, golden->length, &view), 0);
        assert_int_equal(split_init(&split, &golden->header, golden->whole, golden->length, &view), 0);
        udp_head_make(view.version, &golden->header, &head);
        split.head = head.bytes;
        split.head_length = head.length;
        split.leave_checksum = true;
        assert_int_equal(split_next_length(&split), 12 + golden->segment);
        /* one by one: each fits exactly into what it said */
        for (size_t room = split_next_length(&split);
             split_next(&split, segments + written, room - 1, 64, &segment, &bytes) == 0 &&
             split_next(&split, segments + written, room, 1, &segment, &bytes) == 1;
             room = split_next_length(&split)) {
            assert_int_equal(bytes, room);
            written += bytes;
            count++;
        }
        assert_int_equal(count, golden->count);
        assert_int_equal(written, golden->remote_bytes);
        if (memcmp(segments, golden->remote, written) != 0)
            fail_msg("%s: other segments", golden->name);
    }
    assert_true(tried >= 6);
}

/* FIN and PSH belong to the last, CWR to the first. */
static void test_flags(void **state)
{
    struct recipe recipe = {.version = 4, .protocol = PROTOCOL_TCP, .flags = 0x99, .size = 100, .payload_length = 250};
    const uint8_t wanted[3] = {0x90, 0x10, 0x19};
    size_t length, segment_length, bytes;
    struct split split;

    (void)state;
    assert_int_equal(split_of(&recipe, &split, &length), 0);
    assert_int_equal(split_next(&split, segments, sizeof(segments), 64, &segment_length, &bytes), 3);
    assert_int_equal(segment_length, 140);
    assert_int_equal(bytes, 140 + 140 + 90);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(segments[i * 140 + 20 + 13], wanted[i]);
}

/* Neither more than asked for, nor more than there is room for, and the rest afterwards. */
static void test_room(void **state)
{
    struct recipe recipe = {.version = 6, .protocol = PROTOCOL_UDP, .size = 100, .payload_length = 1000};
    size_t length, segment_length, bytes;
    struct split split;

    (void)state;
    assert_int_equal(split_of(&recipe, &split, &length), 0);
    assert_int_equal(split_next(&split, segments, 147, 64, &segment_length, &bytes), 0);
    assert_int_equal(split_next(&split, segments, 148, 64, &segment_length, &bytes), 1);
    assert_int_equal(split_next(&split, segments, 148 * 3 + 147, 64, &segment_length, &bytes), 3);
    assert_int_equal(split_next(&split, segments, sizeof(segments), 2, &segment_length, &bytes), 2);
    assert_int_equal(split_next(&split, segments, sizeof(segments), 64, &segment_length, &bytes), 4);
    assert_int_equal(split_next(&split, segments, sizeof(segments), 64, &segment_length, &bytes), 0);
}

/* What the header claims must be what the packet is. */
static void test_refusals(void **state)
{
    const struct recipe recipe = {
        .version = 4, .protocol = PROTOCOL_TCP, .flags = 0x10, .size = 50, .payload_length = 90};
    const struct recipe v6 = {.version = 6, .protocol = PROTOCOL_TCP, .flags = 0x10, .size = 50, .payload_length = 90};
    struct virtio_net_hdr good, header;
    struct packet_view view, wrong;
    struct split split;
    size_t length = recipe_make(&recipe, packet, &good);

    (void)state;
    assert_int_equal(packet_parse(DEVICE_TUN, packet, length, &view), 0);
    header = good;
    header.hdr_len = 9999; /* not believed (a forwarded packet has any) */
    header.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
    assert_int_equal(split_init(&split, &header, packet, length, &view), 0);
    assert_int_equal(split.payload, 40);

    header = good;
    header.gso_size = 0;
    assert_int_equal(split_init(&split, &header, packet, length, &view), -EINVAL);
    header = good;
    header.flags = 0;
    assert_int_equal(split_init(&split, &header, packet, length, &view), -EINVAL);
    for (unsigned type = 0; type < 128; type++) {
        header = good;
        header.gso_type = (uint8_t)type;
        int wanted = type == VIRTIO_NET_HDR_GSO_TCPV4                                        ? 0
                     : type == VIRTIO_NET_HDR_GSO_TCPV6 || type == VIRTIO_NET_HDR_GSO_UDP_L4 ? -EINVAL
                                                                                             : -EOPNOTSUPP;
        assert_int_equal(split_init(&split, &header, packet, length, &view), wanted);
    }
    wrong = view;
    wrong.more_fragments = true;
    assert_int_equal(split_init(&split, &good, packet, length, &wrong), -EINVAL);
    wrong = view;
    wrong.ip_length--;
    assert_int_equal(split_init(&split, &good, packet, length, &wrong), -EINVAL);
    for (unsigned words = 0; words < 16; words++) {
        packet[32] = (uint8_t)(words << 4);
        assert_int_equal(split_init(&split, &good, packet, length, &view), words < 5 ? -EINVAL : 0);
    }
    packet[32] = 0x50;
    for (size_t cut = 21; cut <= 40; cut++) { /* too short for headers and a byte, and nothing lies behind it */
        uint8_t *exact = malloc(cut);

        memcpy(exact, packet, cut);
        wrong = view;
        wrong.ip_length = cut;
        assert_int_equal(split_init(&split, &good, exact, cut, &wrong), -EINVAL);
        free(exact);
    }
    length = recipe_make(&v6, packet, &header);
    assert_int_equal(packet_parse(DEVICE_TUN, packet, length, &view), 0);
    assert_int_equal(split_init(&split, &good, packet, length, &view), -EINVAL);
}

/* An extension header belongs to what every segment has. */
static void test_extension_header(void **state)
{
    struct recipe recipe = {.version = 6, .protocol = PROTOCOL_TCP, .flags = 0x10, .size = 100, .payload_length = 250};
    struct virtio_net_hdr header;
    struct packet_view view;
    size_t length = recipe_make(&recipe, packet, &header), segment_length, bytes;
    struct split split;

    (void)state;
    memmove(packet + 48, packet + 40, length - 40);
    memset(packet + 40, 0, 8); /* destination options: six bytes of padding */
    packet[40] = PROTOCOL_TCP;
    packet[42] = 1;
    packet[43] = 4;
    packet[6] = PROTOCOL_DESTINATION;
    length += 8;
    store_be16(packet + 4, (uint16_t)(length - 40));
    assert_int_equal(packet_parse(DEVICE_TUN, packet, length, &view), 0);
    assert_int_equal(split_init(&split, &header, packet, length, &view), 0);
    assert_int_equal(split_next(&split, segments, sizeof(segments), 64, &segment_length, &bytes), 3);
    assert_int_equal(segment_length, 168);
    for (size_t i = 0; i < 3; i++) {
        uint8_t *segment = segments + i * 168;
        size_t here = i < 2 ? 168 : 118;

        assert_int_equal(load_be16(segment + 4), here - 40);
        assert_int_equal(packet_parse(DEVICE_TUN, segment, here, &view), 0);
        view.protocol = PROTOCOL_TCP; /* the pseudo-header's */
        assert_int_equal(naive_checksum(naive_pseudo(segment, &view, here - 48), segment + 48, here - 48), 0);
    }
}

static void test_finish_checksum(void **state)
{
    (void)state;
    for (int round = 0; round < 500; round++) {
        struct recipe recipe = recipe_random();
        struct virtio_net_hdr header;
        size_t length = recipe_make(&recipe, packet, &header);

        assert_int_equal(split_finish_checksum(&header, packet, length), 0);
        assert_packet_right(recipe.kind, packet, length);
        header.csum_start = (uint16_t)(length - header.csum_offset - 1);
        assert_int_equal(split_finish_checksum(&header, packet, length), -EINVAL);
        header.flags = 0;
        assert_int_equal(split_finish_checksum(&header, packet, length), 0);
    }
}

/* UDP says by 0 that there is none, and ffff where it comes out as 0 (RFC 768). */
static void test_checksum_of_zero(void **state)
{
    static const uint8_t protocols[] = {PROTOCOL_UDP, PROTOCOL_TCP};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        struct recipe recipe = {.version = 4, .protocol = protocols[i], .size = 100, .payload_length = 100};
        struct virtio_net_hdr header;
        size_t length = recipe_make(&recipe, packet, &header);
        uint8_t *field = packet + header.csum_start + header.csum_offset, *payload = packet + length - 100, pseudo[2];

        memcpy(pseudo, field, 2);
        memset(payload, 0, 2);
        assert_int_equal(split_finish_checksum(&header, packet, length), 0);
        memcpy(payload, field, 2); /* with this word in it, the sum is ffff */
        memcpy(field, pseudo, 2);
        assert_int_equal(split_finish_checksum(&header, packet, length), 0);
        assert_int_equal(load_be16(field), protocols[i] == PROTOCOL_UDP ? 0xffff : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_golden_behind_heads),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_finish_checksum),
        cmocka_unit_test(test_checksum_of_zero),
        cmocka_unit_test(test_extension_header),
    };

    srand(2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

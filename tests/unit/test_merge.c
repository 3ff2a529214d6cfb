/* SPDX-License-Identifier: Apache-2.0 */
#include "golden_packets.h"
#include "super_packet.h"

#include "worker/udp_unwrap.h"

static uint8_t packet[PACKET_ROOM], segments[128 * 1024], before[128 * 1024];

/* Splits a super-packet into `segments`; returns how many, each at a multiple of *ret_length. */
static size_t cut(const struct recipe *recipe, size_t *ret_packet_length, size_t *ret_length, size_t *ret_bytes)
{
    struct virtio_net_hdr header;
    struct packet_view view;
    struct split split;

    *ret_packet_length = recipe_make(recipe, packet, &header);
    assert_int_equal(packet_parse(recipe->kind, packet, *ret_packet_length, &view), 0);
    assert_int_equal(split_init(&split, &header, packet, *ret_packet_length, &view), 0);
    return split_next(&split, segments, sizeof(segments), SIZE_MAX, ret_length, ret_bytes);
}

static bool append(struct merge *merge, enum device_kind kind, uint8_t *bytes, size_t length)
{
    struct packet_view view;

    assert_int_equal(packet_parse(kind, bytes, length, &view), 0);
    return merge_append(merge, bytes, length, &view, &no_header);
}

static void begin(struct merge *merge, enum device_kind kind, uint8_t *bytes, size_t length)
{
    struct packet_view view;

    assert_int_equal(packet_parse(kind, bytes, length, &view), 0);
    merge_begin(merge, bytes, length, &view, &no_header, true);
}

/* merge(split(x)) is x, byte by byte, with the header that says how to split it again. */
static void test_round_trip(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct recipe recipe = recipe_random();
        struct virtio_net_hdr header, wanted;
        size_t length, segment, bytes, count = cut(&recipe, &length, &segment, &bytes), used = segment;
        struct merge merge;

        begin(&merge, recipe.kind, segments, segment);
        for (size_t i = 1; i < count; i++) {
            size_t here = bytes - used < segment ? bytes - used : segment;

            assert_true(append(&merge, recipe.kind, segments + used, here));
            used += here;
        }
        merge_finish(&merge, &header);
        assert_int_equal(merge.count, count);
        assert_int_equal(merge.length, length);
        if (count == 1) {
            assert_packet_right(recipe.kind, segments, length);
            assert_int_equal(header.gso_type, 0);
            assert_int_equal(header.flags, 0);
            continue;
        }
        assert_memory_equal(segments, packet, length);
        (void)recipe_make(&recipe, packet, &wanted); /* only its header, which depends on the recipe alone */
        assert_memory_equal(&header, &wanted, sizeof(header));
    }
}

/* What came in datagrams of one length, merged as far as it goes; how many runs it made. */
static size_t merge_datagrams(enum device_kind kind, uint8_t *bytes, size_t length, size_t segment, struct merge *merge)
{
    size_t runs = 0;

    for (size_t at = 0; at < length; at += segment) {
        size_t here = length - at < segment ? length - at : segment;
        struct udp_arrival arrival;

        assert_int_equal(udp_unwrap(kind, bytes + at, here, 0, &arrival), PACKET_FORWARD);
        if (runs > 0 &&
            merge_append(merge, bytes + at + arrival.head, here - arrival.head, &arrival.view, &arrival.header))
            continue;
        merge_begin(merge, bytes + at + arrival.head, here - arrival.head, &arrival.view, &arrival.header, true);
        runs++;
    }
    return runs;
}

/* Bytes that were made without this code: bare, and with their checksums left to us. */
static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(golden_packets); i++) {
        const struct golden_packet *golden = &golden_packets[i];
        const size_t lengths[2] = {golden->bytes, golden->remote_bytes};

        for (size_t remote = 0; remote < 2 && lengths[remote] > 0; remote++) {
            size_t head = remote ? GUE_HEADER_MOST : 0;
            struct virtio_net_hdr header;
            struct merge merge;

            memcpy(segments, remote ? golden->remote : golden->segments, lengths[remote]);
            if (!golden->merges) {
                assert_true(merge_datagrams(golden->kind, segments, lengths[remote], head + golden->segment, &merge) >
                            1);
                continue;
            }
            assert_int_equal(merge_datagrams(golden->kind, segments, lengths[remote], head + golden->segment, &merge),
                             1);
            merge_finish(&merge, &header);
            assert_int_equal(merge.length, golden->length);
            if (memcmp(merge.packet, golden->whole, golden->length) != 0)
                fail_msg("%s: another super-packet", golden->name);
            assert_memory_equal(&header, &golden->header, sizeof(header));
        }
    }
}

/* As test_round_trip, with checksums that were never made: x again, from datagrams with GUE headers. A lone one is written
 * with its checksum still to be made. */
static void test_round_trip_remote(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct recipe recipe = recipe_random();
        struct virtio_net_hdr header, wanted;
        size_t length, segment, bytes, count;
        struct packet_view view;
        struct udp_head head;
        struct split split;
        struct merge merge;

        recipe.kind = DEVICE_TUN;
        length = recipe_make(&recipe, packet, &wanted);
        assert_int_equal(packet_parse(DEVICE_TUN, packet, length, &view), 0);
        assert_int_equal(split_init(&split, &wanted, packet, length, &view), 0);
        udp_head_make(view.version, &wanted, &head);
        split.head = head.bytes;
        split.head_length = head.length;
        split.leave_checksum = true;
        count = split_next(&split, segments, sizeof(segments), SIZE_MAX, &segment, &bytes);
        assert_int_equal(merge_datagrams(DEVICE_TUN, segments, bytes, segment, &merge), 1);
        assert_int_equal(merge.count, count);
        merge_finish(&merge, &header);
        assert_int_equal(merge.length, length);
        assert_memory_equal(merge.packet, packet, length);
        if (count == 1) {
            wanted.gso_type = 0;
            wanted.gso_size = wanted.hdr_len = 0;
        }
        assert_memory_equal(&header, &wanted, sizeof(header));
    }
}

/* split(merge(s)) is s: what was merged is cut to the same packets again, whether a checksum was left to us or not. */
static void test_merged_is_cut_again(void **state)
{
    static uint8_t again[128 * 1024];

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct recipe recipe = recipe_random();
        size_t length, segment, bytes, segment_again, bytes_again, count = cut(&recipe, &length, &segment, &bytes);
        struct virtio_net_hdr header;
        struct packet_view view;
        struct split split;
        struct merge merge;

        memcpy(before, segments, bytes);
        assert_int_equal(merge_datagrams(recipe.kind, segments, bytes, segment, &merge), 1);
        merge_finish(&merge, &header);
        if (count == 1)
            continue;
        assert_int_equal(packet_parse(recipe.kind, merge.packet, merge.length, &view), 0);
        assert_int_equal(split_init(&split, &header, merge.packet, merge.length, &view), 0);
        assert_int_equal(split_next(&split, again, sizeof(again), SIZE_MAX, &segment_again, &bytes_again), count);
        assert_int_equal(segment_again, segment);
        assert_int_equal(bytes_again, bytes);
        assert_memory_equal(again, before, bytes);
    }
}

/* A packet whose checksum is to be made and one that has it: one run, if the second's is right. */
static void test_mixed(void **state)
{
    const struct recipe recipe = {
        .version = 4, .protocol = PROTOCOL_TCP, .flags = 0x10, .size = 100, .payload_length = 200};
    const struct virtio_net_hdr left = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20, .csum_offset = 16};
    size_t length, segment, bytes;
    struct packet_view view;
    struct merge merge;

    (void)state;
    for (unsigned which = 0; which < 4; which++) {
        bool spoilt = which & 1, first = which & 2;
        uint8_t *one, *other;

        assert_int_equal(cut(&recipe, &length, &segment, &bytes), 2);
        one = segments + (first ? 0 : segment); /* the one with a checksum */
        other = segments + (first ? segment : 0);
        assert_int_equal(packet_parse(DEVICE_TUN, other, segment, &view), 0);
        store_be16(other + 36, (uint16_t)~naive_checksum(naive_pseudo(other, &view, segment - 20), NULL, 0));
        one[segment - 1] ^= spoilt;
        merge_begin(&merge, segments, segment, &view, first ? &no_header : &left, true);
        assert_int_equal(merge_append(&merge, segments + segment, segment, &view, first ? &left : &no_header), !spoilt);
    }
}

/* Two packets that follow one another, of which the second is spoilt in one way each: both stay as they are. */
static void check_apart(const struct recipe *recipe, size_t at, uint8_t change, bool mend)
{
    size_t length, segment, bytes;
    struct virtio_net_hdr header;
    struct merge merge;

    assert_true(cut(recipe, &length, &segment, &bytes) >= 2);
    segments[segment + at] ^= change;
    if (mend) { /* with right checksums again: it is the difference that counts */
        uint8_t *second = segments + segment;
        struct packet_view view;
        size_t upper;

        assert_int_equal(packet_parse(recipe->kind, second, segment, &view), 0);
        upper = view.ip + view.header_length;
        if (view.version == 4) {
            store_be16(second + view.ip + 10, 0);
            store_be16(second + view.ip + 10, naive_checksum(0, second + view.ip, 20));
        }
        store_be16(second + upper + (recipe->protocol == PROTOCOL_TCP ? 16 : 6), 0);
        store_be16(second + upper + (recipe->protocol == PROTOCOL_TCP ? 16 : 6),
                   naive_checksum(naive_pseudo(second, &view, segment - upper), second + upper, segment - upper));
    }
    memcpy(before, segments, bytes);
    begin(&merge, recipe->kind, segments, segment);
    if (append(&merge, recipe->kind, segments + segment, segment))
        fail_msg("merged with byte %zu changed by %02x%s", at, change, mend ? ", checksum mended" : "");
    merge_finish(&merge, &header);
    assert_int_equal(merge.length, segment);
    assert_int_equal(header.gso_type, 0);
    assert_memory_equal(segments, before, bytes);
}

/* Corruption is never laundered: each bit of the second packet, payload too. */
static void test_corruption(void **state)
{
    const struct recipe recipes[] = {
        {.version = 4,
         .protocol = PROTOCOL_TCP,
         .flags = 0x10,
         .size = 90,
         .payload_length = 270,
         .dont_fragment = true},
        {.version = 6, .protocol = PROTOCOL_TCP, .flags = 0x10, .size = 90, .payload_length = 270, .options = 12},
        {.version = 4, .protocol = PROTOCOL_UDP, .size = 90, .payload_length = 270},
        {.kind = DEVICE_TAP, .version = 6, .protocol = PROTOCOL_UDP, .size = 90, .payload_length = 270},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(recipes); i++) {
        const struct recipe *recipe = &recipes[i];
        size_t ip = recipe->kind == DEVICE_TAP ? 14 : 0, upper = ip + (recipe->version == 4 ? 20 : 40);

        for (size_t at = upper; at < upper + 8 + recipe->options + 90; at++)
            for (int bit = 0; bit < 8; bit++)
                if (!(recipe->protocol == PROTOCOL_UDP && (at == upper + 4 || at == upper + 5))) /* not its length */
                    check_apart(recipe, at, (uint8_t)(1 << bit), false);
    }
}

/* What must be the same, with checksums that are right. */
static void test_differences(void **state)
{
    const struct recipe tcp4 = {
        .version = 4, .protocol = PROTOCOL_TCP, .flags = 0x10, .size = 100, .payload_length = 300, .options = 12};
    const struct recipe tcp6 = {
        .version = 6, .protocol = PROTOCOL_TCP, .flags = 0x10, .size = 100, .payload_length = 300};
    const struct recipe udp4 = {.version = 4, .protocol = PROTOCOL_UDP, .size = 100, .payload_length = 300};
    static const size_t fields4[] = {1, 4, 5, 6, 8, 12, 15, 16, 19, 20, 23, 24, 27, 28, 31, 34, 35, 38, 40, 51};
    static const size_t fields6[] = {0, 1, 2, 3, 7, 8, 23, 24, 39, 40, 43, 44, 47, 48, 54, 55};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(fields4); i++)
        check_apart(&tcp4, fields4[i], fields4[i] == 6 ? 0x40 : 0x01, true);
    for (size_t i = 0; i < ARRAY_SIZE(fields6); i++)
        check_apart(&tcp6, fields6[i], 0x01, true);
    for (size_t at = 20; at < 24; at++) /* ports */
        check_apart(&udp4, at, 0x01, true);
    for (int bit = 0; bit < 8; bit++) /* flags: with PSH it still belongs to the run */
        if (bit != 3)
            check_apart(&tcp4, 33, (uint8_t)(1 << bit), true);
}

/* A fixed ID means nothing where a packet may not be fragmented. */
static void test_fixed_id(void **state)
{
    struct recipe recipe = {.version = 4,
                            .protocol = PROTOCOL_TCP,
                            .flags = 0x10,
                            .size = 100,
                            .payload_length = 200,
                            .dont_fragment = true,
                            .id = 7};
    size_t length, segment, bytes;
    struct merge merge;

    (void)state;
    assert_int_equal(cut(&recipe, &length, &segment, &bytes), 2);
    store_be16(segments + segment + 4, 7);
    store_be16(segments + segment + 10, 0);
    store_be16(segments + segment + 10, naive_checksum(0, segments + segment, 20));
    begin(&merge, DEVICE_TUN, segments, segment);
    assert_true(append(&merge, DEVICE_TUN, segments + segment, segment));
}

/* Nothing follows a packet that was pushed, or a short one; nothing longer joins; no run grows without end. */
static void test_ends(void **state)
{
    struct recipe recipe = {.version = 4, .protocol = PROTOCOL_TCP, .flags = 0x18, .size = 100, .payload_length = 250};
    size_t length, segment, bytes, count;
    struct merge merge;

    (void)state;
    assert_int_equal(cut(&recipe, &length, &segment, &bytes), 3);
    memcpy(segments + bytes, segments + 2 * segment, bytes - 2 * segment); /* once more, to come too late */
    begin(&merge, DEVICE_TUN, segments, segment);
    assert_true(append(&merge, DEVICE_TUN, segments + segment, segment));
    assert_true(append(&merge, DEVICE_TUN, segments + 2 * segment, bytes - 2 * segment));
    assert_true(merge.closed);
    assert_int_equal(merge.packet[33], 0x18); /* the last one's PSH */
    assert_false(append(&merge, DEVICE_TUN, segments + bytes, bytes - 2 * segment));

    recipe = (struct recipe){.version = 6, .protocol = PROTOCOL_UDP, .size = 1000, .payload_length = 65000};
    count = cut(&recipe, &length, &segment, &bytes);
    assert_int_equal(count, 65);
    begin(&merge, DEVICE_TUN, segments, segment);
    for (size_t i = 1; i < count; i++)
        assert_int_equal(append(&merge, DEVICE_TUN, segments + i * segment, segment),
                         48 + (i + 1) * 1000 <= MERGE_MOST);
}

/* What is never merged. */
static void test_alone(void **state)
{
    static const uint8_t flags[] = {0x00, 0x11, 0x12, 0x14, 0x30, 0x90, 0x02, 0xd0};
    struct recipe recipe = {.version = 4, .protocol = PROTOCOL_TCP, .size = 100, .payload_length = 200};
    size_t length, segment, bytes;
    struct packet_view view;
    struct merge merge;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        recipe.flags = flags[i];
        assert_int_equal(cut(&recipe, &length, &segment, &bytes), 2);
        begin(&merge, DEVICE_TUN, segments + segment, segment); /* the last has them all, but for CWR */
        assert_true(merge.closed || (flags[i] & ~0x80) == 0x10 || (flags[i] & ~0x80) == 0x50);
    }
    recipe = (struct recipe){.version = 4, .protocol = PROTOCOL_UDP, .size = 100, .payload_length = 200};
    assert_int_equal(cut(&recipe, &length, &segment, &bytes), 2);
    assert_int_equal(packet_parse(DEVICE_TUN, segments, segment, &view), 0);
    merge_begin(&merge, segments, segment, &view, &no_header, false); /* a device that takes no UDP super-packets */
    assert_true(merge.closed);
    view.more_fragments = true;
    merge_begin(&merge, segments, segment, &view, &no_header, true);
    assert_true(merge.closed);
    store_be16(segments + 26, 0); /* no checksum: nothing could be verified */
    begin(&merge, DEVICE_TUN, segments, segment);
    assert_true(merge.closed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_round_trip_remote),
        cmocka_unit_test(test_merged_is_cut_again),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_corruption),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_fixed_id),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_alone),
    };

    srand(3);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

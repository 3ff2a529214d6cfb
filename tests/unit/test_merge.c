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
    size_t runs = 0, head = 0;

    for (size_t at = 0; at < length; at += segment) {
        size_t here = length - at < segment ? length - at : segment;
        struct udp_arrival arrival;

        if (runs > 0 && memcmp(bytes + at, merge->packet - head, head) == 0 &&
            merge_append_alike(merge, bytes + at + head, here - head))
            continue;
        assert_int_equal(udp_unwrap(kind, bytes + at, here, 0, &arrival), PACKET_FORWARD);
        if (runs > 0 &&
            merge_append(merge, bytes + at + arrival.head, here - arrival.head, &arrival.view, &arrival.header))
            continue;
        head = arrival.head;
        merge_begin(merge, bytes + at + head, here - head, &arrival.view, &arrival.header, true);
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

/* Right checksums again, as somebody on the way would make them. */
static void mend(const struct recipe *recipe, uint8_t *bytes, size_t length)
{
    struct packet_view view;
    size_t upper, check;

    assert_int_equal(packet_parse(recipe->kind, bytes, length, &view), 0);
    upper = view.ip + view.header_length;
    check = upper + (recipe->protocol == PROTOCOL_TCP ? 16 : 6);
    if (view.version == 4) {
        store_be16(bytes + view.ip + 10, 0);
        store_be16(bytes + view.ip + 10, naive_checksum(0, bytes + view.ip, 20));
    }
    store_be16(bytes + check, 0);
    store_be16(bytes + check,
               naive_checksum(naive_pseudo(bytes, &view, length - upper), bytes + upper, length - upper));
}

static void leave_checksum(const struct recipe *recipe, uint8_t *bytes, size_t length)
{
    struct packet_view view;
    size_t upper;

    assert_int_equal(packet_parse(recipe->kind, bytes, length, &view), 0);
    upper = view.ip + view.header_length;
    store_be16(bytes + upper + (recipe->protocol == PROTOCOL_TCP ? 16 : 6),
               (uint16_t)~naive_checksum(naive_pseudo(bytes, &view, length - upper), NULL, 0));
}

/* Two packets that follow one another, of which the second is spoilt in one way each: both stay as they are. */
static void check_apart(const struct recipe *recipe, size_t at, uint8_t change, bool mended)
{
    size_t length, segment, bytes;
    struct virtio_net_hdr header;
    struct merge merge;

    assert_true(cut(recipe, &length, &segment, &bytes) >= 2);
    segments[segment + at] ^= change;
    if (mended) /* it is the difference that counts */
        mend(recipe, segments + segment, segment);
    memcpy(before, segments, bytes);
    begin(&merge, recipe->kind, segments, segment);
    if (append(&merge, recipe->kind, segments + segment, segment))
        fail_msg("merged with byte %zu changed by %02x%s", at, change, mended ? ", checksum mended" : "");
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
        assert_int_equal(i % 2 ? append(&merge, DEVICE_TUN, segments + i * segment, segment)
                               : merge_append_alike(&merge, segments + i * segment, segment),
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

/* Of three packets that follow one another the third is changed in a random way, or in none: whether it is taken by its
 * likeness. Where it is, merge_append would have done the very same, and where it is not, nothing has changed. */
static bool third_is_taken(const struct recipe *recipe, bool left, size_t *ret_changes)
{
    static uint8_t other[sizeof(segments)];
    struct virtio_net_hdr header = {.flags = left ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0};
    size_t length, segment, bytes, headers, at;
    struct packet_view view;
    struct merge merge, same;
    bool taken;

    assert_true(cut(recipe, &length, &segment, &bytes) >= 3);
    headers = segment - recipe->size;
    for (at = 0; left && at < bytes; at += segment)
        leave_checksum(recipe, segments + at, segment);
    for (*ret_changes = random_below(3), at = 0; at < *ret_changes; at++)
        segments[2 * segment + random_below((uint32_t)(random_below(2) ? segment : headers))] ^=
            (uint8_t)(1 << random_below(8));
    if (packet_parse(recipe->kind, segments + 2 * segment, segment, &view) < 0 || view.version != recipe->version ||
        view.header_length != (recipe->version == 4 ? 20 : 40) || view.ip_length != segment - view.ip)
        return false; /* not for merge_append */
    if (!left && random_below(2))
        mend(recipe, segments + 2 * segment, segment);
    memcpy(before, segments, bytes);
    for (size_t i = 0; i < 2; i++) {
        uint8_t *room = i == 0 ? segments : other;
        struct merge *run = i == 0 ? &merge : &same;

        memcpy(room, before, bytes);
        assert_int_equal(packet_parse(recipe->kind, room, segment, &view), 0);
        merge_begin(run, room, segment, &view, &header, true);
        assert_true(merge_append(run, room + segment, segment, &view, &header));
    }
    memcpy(before, segments, bytes);
    taken = merge_append_alike(&merge, segments + 2 * segment, segment);
    if (!taken) { /* between the two lies what was moved away */
        assert_memory_equal(segments, before, merge.length);
        assert_memory_equal(segments + 2 * segment, before + 2 * segment, bytes - 2 * segment);
        assert_int_equal(merge.count, 2);
        return false;
    }
    assert_int_equal(packet_parse(recipe->kind, other + 2 * segment, segment, &view), 0);
    assert_true(merge_append(&same, other + 2 * segment, segment, &view, &header));
    assert_memory_equal(segments, other, bytes);
    same.packet = merge.packet;
    assert_int_equal(merge.length, same.length);
    assert_int_equal(merge.count, same.count);
    assert_int_equal(merge.closed, same.closed);
    assert_int_equal(merge.next_sequence, same.next_sequence);
    return true;
}

static void test_alike(void **state)
{
    size_t changes, taken_changed = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct recipe recipe = recipe_random();

        recipe.flags &= 0x58; /* with none of those that are a first packet's alone */
        recipe.payload_length = recipe.size * (3 + random_below(2));
        bool taken = third_is_taken(&recipe, random_below(2), &changes);
        assert_true(taken || changes > 0);
        taken_changed += taken && changes > 0;
    }
    assert_in_range(taken_changed, 50, 10000); /* a pushed one, one with another payload and its checksum, … */
}

/* What is not the first one's is looked at by merge_append: the third packet's checksum is not there, the fourth is longer. */
static void test_not_alike(void **state)
{
    const struct recipe udp = {.version = 4, .protocol = PROTOCOL_UDP, .size = 100, .payload_length = 400};
    const struct virtio_net_hdr left = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20, .csum_offset = 6};
    size_t length, segment, bytes;
    struct packet_view view;
    struct merge merge;

    (void)state;
    assert_int_equal(cut(&udp, &length, &segment, &bytes), 4);
    begin(&merge, DEVICE_TUN, segments, segment);
    assert_false(merge_append_alike(&merge, segments + segment, segment)); /* the first has not been verified yet */
    assert_true(append(&merge, DEVICE_TUN, segments + segment, segment));
    memcpy(before, segments, bytes);
    store_be16(segments + 2 * segment + 28, 0); /* the payload makes the sum right */
    mend(&udp, segments + 2 * segment, segment);
    memcpy(segments + 2 * segment + 28, segments + 2 * segment + 26, 2);
    store_be16(segments + 2 * segment + 26, 0);
    assert_false(merge_append_alike(&merge, segments + 2 * segment, segment));
    memcpy(segments, before, bytes);
    assert_false(merge_append_alike(&merge, segments + 2 * segment, segment - 1));
    assert_false(merge_append_alike(&merge, segments + 2 * segment, segment + 1));
    assert_true(merge_append_alike(&merge, segments + 2 * segment, segment));
    merge.closed = true;
    assert_false(merge_append_alike(&merge, segments + 3 * segment, segment));

    /* a checksum that is left to us begins with the pseudo-header's sum */
    for (unsigned change = 0; change < 2; change++) {
        assert_int_equal(cut(&udp, &length, &segment, &bytes), 4);
        for (size_t at = 0; at < bytes; at += segment)
            leave_checksum(&udp, segments + at, segment);
        assert_int_equal(packet_parse(DEVICE_TUN, segments, segment, &view), 0);
        merge_begin(&merge, segments, segment, &view, &left, true);
        assert_true(merge_append(&merge, segments + segment, segment, &view, &left));
        segments[2 * segment + 27] ^= (uint8_t)change;
        assert_int_equal(merge_append_alike(&merge, segments + 2 * segment, segment), change == 0);
    }
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
        cmocka_unit_test(test_alike),
        cmocka_unit_test(test_not_alike),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_alone),
    };

    srand(3);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

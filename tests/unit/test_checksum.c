/* SPDX-License-Identifier: Apache-2.0 */
/* Each variant against the naive sum: every length at every offset, copied and not. */
#include "super_packet.h"

#include "worker/checksum.h"

#define LONGEST    2000
#define ALIGNMENTS 64

static uint8_t from[LONGEST + ALIGNMENTS], to[LONGEST + 3 * ALIGNMENTS];

static uint16_t big_endian(uint16_t in_memory)
{
    uint8_t bytes[2];

    memcpy(bytes, &in_memory, 2);
    return load_be16(bytes);
}

/* The copy is right, and not a byte beside it was touched. */
static void check_copy(size_t offset, size_t target, size_t length, uint16_t wanted)
{
    memset(to, 0xa5, sizeof(to));
    assert_int_equal(big_endian(checksum_finish(checksum_add_copy(0, to + target, from + offset, length))), wanted);
    assert_memory_equal(to + target, from + offset, length);
    for (size_t i = 1; i <= ALIGNMENTS; i++)
        assert_true(to[target - i] == 0xa5 && to[target + length + i - 1] == 0xa5);
}

static void check_variant(enum checksum_variant variant)
{
    if (checksum_force(variant) < 0)
        skip();
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (uint8_t)rand();
    for (size_t offset = 0; offset < ALIGNMENTS; offset++) {
        uint32_t even = 0; /* of all whole words so far, by which the naive sum of each length is had at once */

        for (size_t length = 0; length <= LONGEST; length++) {
            const uint8_t *last = from + offset + (length & ~(size_t)1);
            uint16_t wanted;

            if (length % 2 == 0 && length > 0)
                even += load_be16(last - 2);
            wanted = naive_checksum(even, last, length % 2);
            assert_int_equal(big_endian(checksum_finish(checksum_add(0, from + offset, length))), wanted);
            /* each offset meets each alignment of the target, at some length */
            check_copy(offset, ALIGNMENTS + (5 * offset + length) % ALIGNMENTS, length, wanted);
        }
    }
}

/* Nothing was forced yet. */
static void test_best_is_chosen(void **state)
{
    const char *chosen = checksum_variant_name();
    enum checksum_variant best = CHECKSUM_VARIANT_N;

    (void)state;
    while (checksum_force(--best) < 0)
        continue;
    assert_string_equal(chosen, checksum_variant_name());
}

static void test_plain(void **state)
{
    (void)state;
    check_variant(CHECKSUM_PLAIN);
    assert_string_equal(checksum_variant_name(), "plain");
}

static void test_avx2(void **state)
{
    (void)state;
    check_variant(CHECKSUM_AVX2);
    assert_string_equal(checksum_variant_name(), "avx2");
}

static void test_avx512(void **state)
{
    (void)state;
    check_variant(CHECKSUM_AVX512);
    assert_string_equal(checksum_variant_name(), "avx512");
}

/* Lanes must not run over where every word is as great as can be. */
static void test_all_ones(void **state)
{
    static uint8_t ones[65536];

    (void)state;
    memset(ones, 0xff, sizeof(ones));
    for (int variant = 0; variant < CHECKSUM_VARIANT_N; variant++)
        if (checksum_force((enum checksum_variant)variant) == 0)
            assert_int_equal(checksum_finish(checksum_add(0, ones, sizeof(ones))), 0);
    assert_int_equal(checksum_force(CHECKSUM_VARIANT_N), -95);
}

/* Bytes that move to the left over themselves, as in merging. */
static void test_overlap(void **state)
{
    static uint8_t bytes[4096], wanted[4096];

    (void)state;
    for (int variant = 0; variant < CHECKSUM_VARIANT_N; variant++) {
        if (checksum_force((enum checksum_variant)variant) < 0)
            continue;
        for (size_t distance = 1; distance < 1600; distance += 1 + distance / 100) {
            size_t length = distance % 2 ? 1448 : random_below(2000);

            for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t)rand();
            memcpy(wanted, bytes + distance, length);
            assert_int_equal(big_endian(checksum_finish(checksum_add_copy(0, bytes, bytes + distance, length))),
                             naive_checksum(0, wanted, length));
            assert_memory_equal(bytes, wanted, length);
        }
    }
}

/* In pieces, all but the last even: the same sum. */
static void test_pieces(void **state)
{
    (void)state;
    for (int variant = 0; variant < CHECKSUM_VARIANT_N; variant++) {
        if (checksum_force((enum checksum_variant)variant) < 0)
            continue;
        for (int round = 0; round < 2000; round++) {
            size_t first = 2 * random_below(500), second = 2 * random_below(400), third = random_below(200);
            uint64_t sum = checksum_add(checksum_add(checksum_add(0, from, first), from + first, second),
                                        from + first + second, third);

            assert_int_equal(big_endian(checksum_finish(sum)), naive_checksum(0, from, first + second + third));
        }
    }
}

/* RFC 1624 against making it anew, and the pseudo-header of RFC 8200 against the naive one. */
static void test_update_and_pseudo(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        uint8_t bytes[64], before[2];
        size_t at = 2 * (1 + random_below(31)), addresses = random_below(2) ? 8 : 32, length = random_below(65536);
        uint8_t protocol = (uint8_t)rand();
        uint32_t sum = protocol + (uint32_t)length;

        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)rand();
        for (size_t i = 0; i < addresses; i += 2)
            sum += load_be16(bytes + i);
        assert_int_equal(big_endian(checksum_finish(checksum_add_pseudo(0, bytes, addresses, protocol, length))),
                         naive_checksum(sum, NULL, 0));
        store_be16(bytes, 0); /* the checksum is in the first word */
        store_be16(bytes, naive_checksum(0, bytes, sizeof(bytes)));
        memcpy(before, bytes + at, 2);
        bytes[at] = (uint8_t)rand();
        bytes[at + 1] = (uint8_t)rand();
        checksum_update(bytes, before, bytes + at);
        assert_int_equal(naive_checksum(0, bytes, sizeof(bytes)), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_is_chosen), cmocka_unit_test(test_plain),
        cmocka_unit_test(test_avx2),           cmocka_unit_test(test_avx512),
        cmocka_unit_test(test_all_ones),       cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_pieces),         cmocka_unit_test(test_update_and_pseudo),
    };

    srand(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

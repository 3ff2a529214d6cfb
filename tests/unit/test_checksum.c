/* SPDX-License-Identifier: Apache-2.0 */
/* Each variant against the naive sum: every length, every offset, copied and not. */
#include "super_packet.h"

#include "worker/checksum.h"

#define LONGEST 1600

static uint8_t from[LONGEST + 64], to[LONGEST + 128];

static uint16_t big_endian(uint16_t in_memory)
{
    uint8_t bytes[2];

    memcpy(bytes, &in_memory, 2);
    return load_be16(bytes);
}

static void check_variant(enum checksum_variant variant)
{
    if (checksum_force(variant) < 0)
        skip();
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (uint8_t)rand();
    for (size_t length = 0; length <= LONGEST; length++) {
        size_t offset = length % 64, target = (length / 3) % 64;
        uint16_t wanted = naive_checksum(0, from + offset, length);

        assert_int_equal(big_endian(checksum_finish(checksum_add(0, from + offset, length))), wanted);
        memset(to, 0xa5, sizeof(to));
        assert_int_equal(big_endian(checksum_finish(checksum_add_copy(0, to + target, from + offset, length))), wanted);
        assert_memory_equal(to + target, from + offset, length);
        for (size_t i = 0; i < sizeof(to); i++) /* and not a byte beside it */
            assert_true((i >= target && i < target + length) || to[i] == 0xa5);
    }
    for (size_t offset = 0; offset < 64; offset++)
        assert_int_equal(big_endian(checksum_finish(checksum_add(0, from + offset, 1448))),
                         naive_checksum(0, from + offset, 1448));
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
        for (size_t distance = 8; distance < 200; distance++) {
            for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t)rand();
            memcpy(wanted, bytes + distance, 1448);
            assert_int_equal(big_endian(checksum_finish(checksum_add_copy(0, bytes, bytes + distance, 1448))),
                             naive_checksum(0, wanted, 1448));
            assert_memory_equal(bytes, wanted, 1448);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),    cmocka_unit_test(test_avx2),    cmocka_unit_test(test_avx512),
        cmocka_unit_test(test_all_ones), cmocka_unit_test(test_overlap),
    };

    srand(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

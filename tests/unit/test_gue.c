/* SPDX-License-Identifier: Apache-2.0 */
/* Headers spelled out byte by byte, as linux/net/ipv4/fou_core.c and include/net/gue.h lay them out. */
#include "worker/gue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct golden {
    struct gue gue;
    size_t length;
    uint8_t bytes[GUE_HEADER_MOST];
};

static const struct golden golden[] = {
    {{.protocol = 4}, 4, {0x00, 0x04, 0x00, 0x00}},
    {{.protocol = 41}, 4, {0x00, 0x29, 0x00, 0x00}},
    /* TCP behind IPv4's 20 bytes: the sum starts at 20 and belongs to 20 + 16 */
    {{.protocol = 4, .remote_checksum = true, .start = 20, .offset = 36},
     12,
     {0x02, 0x04, 0x00, 0x01, 0x80, 0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x24}},
    /* UDP behind IPv6's 40 bytes: 40, and 40 + 6 */
    {{.protocol = 41, .remote_checksum = true, .start = 40, .offset = 46},
     12,
     {0x02, 0x29, 0x00, 0x01, 0x80, 0x00, 0x00, 0x00, 0x00, 0x28, 0x00, 0x2e}},
    /* both bytes of both fields */
    {{.protocol = 41, .remote_checksum = true, .start = 0x0102, .offset = 0x0304},
     12,
     {0x02, 0x29, 0x00, 0x01, 0x80, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04}},
};

static void assert_gue_equal(const struct gue *a, const struct gue *b)
{
    assert_int_equal(a->protocol, b->protocol);
    assert_int_equal(a->remote_checksum, b->remote_checksum);
    assert_int_equal(a->start, b->start);
    assert_int_equal(a->offset, b->offset);
}

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(golden); i++) {
        uint8_t bytes[2048] = {0}, header[GUE_HEADER_MOST];
        struct gue gue;

        assert_int_equal(gue_write(&golden[i].gue, header), golden[i].length);
        assert_memory_equal(header, golden[i].bytes, golden[i].length);
        memcpy(bytes, golden[i].bytes, golden[i].length);
        assert_true(gue_is_there(bytes, sizeof(bytes)));
        assert_int_equal(gue_parse(bytes, sizeof(bytes), &gue), golden[i].length);
        assert_gue_equal(&gue, &golden[i].gue);
        /* cut anywhere, in a buffer that is no longer than that */
        for (size_t length = 0; length < golden[i].length; length++) {
            uint8_t *cut = malloc(length + (length == 0));

            memcpy(cut, bytes, length);
            assert_int_equal(gue_parse(cut, length, &gue), -EINVAL);
            free(cut);
        }
    }
}

/* A header from the first bytes of which one is another. */
static int parse_with(const struct golden *base, size_t at, uint8_t value, size_t length)
{
    uint8_t bytes[256] = {0};
    struct gue gue;

    memcpy(bytes, base->bytes, base->length);
    bytes[at] = value;
    return gue_parse(bytes, length, &gue);
}

static void test_first_byte(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        /* without flags nothing follows the first word, with both three words make the header: neither variant, control
         * message nor private data besides */
        assert_int_equal(parse_with(&golden[0], 0, (uint8_t)byte, 256), byte == 0 ? 4 : -EINVAL);
        assert_int_equal(parse_with(&golden[2], 0, (uint8_t)byte, 256), byte == 2 ? 12 : -EINVAL);
        const uint8_t first = (uint8_t)byte;
        assert_int_equal(gue_is_there(&first, 1), byte < 0x40);
    }
    assert_false(gue_is_there(NULL, 0));
}

static void test_unknown(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++)
        assert_int_equal(parse_with(&golden[0], 1, (uint8_t)byte, 256), byte == 4 || byte == 41 ? 4 : -EINVAL);
    for (int bit = 0; bit < 8; bit++) {
        assert_int_equal(parse_with(&golden[2], 2, (uint8_t)(1 << bit), 256), -EINVAL); /* flags */
        if (bit > 0)
            assert_int_equal(parse_with(&golden[2], 3, (uint8_t)(1 | 1 << bit), 256), -EINVAL);
        if (bit < 7)
            assert_int_equal(parse_with(&golden[2], 4, (uint8_t)(0x80 | 1 << bit), 256), -EINVAL); /* private flags */
        for (size_t at = 5; at < 8; at++)
            assert_int_equal(parse_with(&golden[2], at, (uint8_t)(1 << bit), 256), -EINVAL);
    }
    assert_int_equal(parse_with(&golden[2], 3, 0, 256), -EINVAL); /* two words of which no flag tells */
    assert_int_equal(parse_with(&golden[2], 4, 0, 256), -EINVAL); /* and one */
}

/* Private flags of which none is set are allowed. */
static void test_private_flags_empty(void **state)
{
    static const uint8_t bytes[9] = {0x01, 0x04, 0x00, 0x01};
    struct gue gue;

    (void)state;
    assert_int_equal(gue_parse(bytes, sizeof(bytes), &gue), 8);
    assert_gue_equal(&gue, &(struct gue){.protocol = 4});
}

/* The checksum lies in the packet and not before what it covers. */
static void test_checksum_place(void **state)
{
    static const struct {
        uint16_t start, offset;
        size_t packet;
        bool right;
    } cases[] = {
        {20, 36, 38, true},   {20, 36, 37, false},          {0, 0, 2, true},
        {0, 0, 1, false},     {20, 20, 22, true},           {20, 19, 100, false},
        {100, 50, 80, false}, {0xffff, 0xffff, 100, false}, {0, 0xffff, 100, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct gue gue = {.protocol = 4, .remote_checksum = true, .start = cases[i].start, .offset = cases[i].offset};
        uint8_t bytes[256] = {0};

        assert_int_equal(gue_write(&gue, bytes), 12);
        assert_int_equal(gue_parse(bytes, 12 + cases[i].packet, &gue), cases[i].right ? 12 : -EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),         cmocka_unit_test(test_first_byte),
        cmocka_unit_test(test_unknown),        cmocka_unit_test(test_private_flags_empty),
        cmocka_unit_test(test_checksum_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

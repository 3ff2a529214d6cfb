/* SPDX-License-Identifier: Apache-2.0 */
/* Filters as libpcap compiles them, run here and by libpcap itself, on the same packets. */
#include "worker/bpf.h"

#include "http/capture_filter.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const filters[] = {
    "icmp",
    "tcp port 443 or udp port 53",
    "host 10.0.0.1 and not icmp",
    "net 10.0.0.0/8",
    "ip6",
    "ip6 host fd00::1",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "icmp[icmptype] == icmp-echo",
    "ip[8] < 5",
    "len > 100",
    "less 64",
    "udp[4:2] = 8",
    "ip proto 47",
    "portrange 1-1023",
    "ip[0] & 0xf > 5",
    "ip[2:2] - 20 > 0x10",
    "src net 192.168.3.0 mask "
    "255.255.255.0",
    "tcp[12] / 4 > ip[1] / 7",
    "ip[6:2] % ip[1] = 1",
    "ip[4:2] * 3 + 1 > len",
    "ip6 proto 17",
    "ip multicast",
    "tcp dst port 22 and greater 60",
    "ip[9] ^ 1 = 16",
    "ip[2:2] >> 3 = 5 or ip[2:2] << 2 = 240",
};

static uint32_t random_state = 1;

static uint8_t random_byte(void)
{
    random_state = random_state * 1664525 + 1013904223;
    return (uint8_t)(random_state >> 24);
}

/* Bytes that look like a packet now and then. */
static size_t make_packet(uint8_t *bytes, size_t room, bool is_frame)
{
    size_t length = random_byte() % room;
    for (size_t i = 0; i < room; i++)
        bytes[i] = random_byte() & (random_byte() & 1 ? 0xff : 0x0f);
    uint8_t *ip = bytes + (is_frame ? 14 : 0);
    if (is_frame) {
        bytes[12] = random_byte() & 1 ? 0x08 : 0x86;
        bytes[13] = bytes[12] == 8 ? 0 : 0xdd;
    }
    ip[0] = random_byte() & 1 ? 0x45 : random_byte() & 1 ? 0x60 : ip[0];
    if (random_byte() & 1) {
        static const uint8_t protocols[] = {1, 6, 17, 47, 58};
        ip[9] = protocols[random_byte() % sizeof protocols];
        ip[6] = 0;
    }
    return length;
}

static void compare(const char *filter, enum device_kind kind)
{
    struct capture_instruction program[CAPTURE_PROGRAM_MAX];
    struct bpf_insn theirs[CAPTURE_PROGRAM_MAX];
    uint32_t length;
    struct err e = {0};
    uint8_t packet[160];
    if (capture_filter_compile(filter, kind, 100, program, &length, &e))
        fail_msg("%s: %s", filter, e.message);
    assert_true(bpf_is_sound(program, length));
    for (uint32_t i = 0; i < length; i++)
        theirs[i] = (struct bpf_insn){program[i].code, program[i].jt, program[i].jf, program[i].k};
    for (int i = 0; i < 3000; i++) {
        size_t size = make_packet(packet, sizeof packet, kind == DEVICE_TAP);
        uint8_t *exact = malloc(size + 1); /* so that a byte behind it would be noticed */
        memcpy(exact + 1, packet, size);
        assert_int_equal(bpf_run(program, exact + 1, size), bpf_filter(theirs, exact + 1, (u_int)size, (u_int)size));
        free(exact);
    }
}

static void test_as_libpcap_runs_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        compare(filters[i], DEVICE_TUN);
        compare(filters[i], DEVICE_TAP);
    }
    compare("ether host 02:00:00:00:00:01 or arp or vlan 5", DEVICE_TAP);
}

/* What no filter is compiled to, too. */
static void test_instructions(void **state)
{
    (void)state;
    enum {
        LD = 0x00,
        LDX,
        ST,
        STX,
        LD_MEM = 0x60,
        LDX_MSH = 0xb1,
        LD_B_IND = 0x50,
        DIV_X = 0x3c,
        MOD_X = 0x9c,
        LSH_X = 0x6c,
        RSH_X = 0x7c,
        NEG = 0x84,
        JGE = 0x35,
        JGT = 0x25,
        RET = 0x06,
        RET_A = 0x16,
        TXA = 0x87
    };
    static const struct {
        struct capture_instruction program[5];
        uint32_t result;
    } rows[] = {
        {{{.code = LD, .k = 7}, {.code = LDX, .k = 2}, {.code = DIV_X}, {.code = RET_A}}, 3},
        {{{.code = LD, .k = 7}, {.code = DIV_X}, {.code = RET, .k = 1}}, 0}, /* by zero */
        {{{.code = LD, .k = 7}, {.code = MOD_X}, {.code = RET, .k = 1}}, 0},
        {{{.code = LD, .k = 1}, {.code = LDX, .k = 31}, {.code = LSH_X}, {.code = RET_A}}, 1U << 31},
        {{{.code = LD, .k = 1}, {.code = LDX, .k = 32}, {.code = LSH_X}, {.code = RET_A}}, 0},
        {{{.code = LD, .k = 9}, {.code = LDX, .k = 32}, {.code = RSH_X}, {.code = RET_A}}, 0},
        {{{.code = LD, .k = 5}, {.code = NEG}, {.code = RET_A}}, 0U - 5},
        {{{.code = LD, .k = 9},
          {.code = LDX, .k = 3},
          {.code = STX, .k = 1},
          {.code = LD_MEM, .k = 1},
          {.code = RET_A}},
         3},
        {{{.code = LD, .k = 9}, {.code = ST, .k = 15}, {.code = LD}, {.code = LD_MEM, .k = 15}, {.code = RET_A}}, 9},
        {{{.code = LD, .k = 9}, {.code = LDX_MSH}, {.code = RET_A}}, 9}, /* it leaves A alone */
        {{{.code = LDX_MSH}, {.code = TXA}, {.code = RET_A}}, 20},
        {{{.code = LDX, .k = 1}, {.code = LD_B_IND, .k = 2}, {.code = RET_A}}, 4},
        {{{.code = LDX, .k = UINT32_MAX}, {.code = LD_B_IND, .k = 2}, {.code = RET, .k = 1}},
         0}, /* not from the start */
        {{{.code = LD, .k = 5}, {.code = JGE, .jf = 1, .k = 5}, {.code = RET, .k = 1}, {.code = RET, .k = 2}}, 1},
        {{{.code = LD, .k = 5}, {.code = JGT, .jf = 1, .k = 5}, {.code = RET, .k = 1}, {.code = RET, .k = 2}}, 2},
    };
    static const uint8_t packet[] = {0x45, 2, 3, 4};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint32_t result = bpf_run(rows[i].program, packet, sizeof packet);
        if (result != rows[i].result)
            fail_msg("row %zu: %u", i, result);
    }
}

static void test_random_programs(void **state)
{
    (void)state;
    size_t sound = 0;
    for (int i = 0; i < 300000; i++) {
        struct capture_instruction program[4];
        struct bpf_insn theirs[4];
        uint8_t packet[40] = {0};
        for (size_t j = 0; j < 4; j++) {
            program[j] =
                (struct capture_instruction){.code = random_byte(), .jt = random_byte() % 4, .jf = random_byte() % 4};
            program[j].k = random_byte() & 1 ? random_byte() % 40 : (uint32_t)random_byte() << 24 | random_byte();
            theirs[j] = (struct bpf_insn){program[j].code, program[j].jt, program[j].jf, program[j].k};
        }
        program[3].code = theirs[3].code = random_byte() & 1 ? 0x06 : 0x16;
        if (!bpf_is_sound(program, 4))
            continue;
        sound++;
        size_t size = make_packet(packet, sizeof packet, false);
        assert_true(bpf_validate(theirs, 4)); /* libpcap finds nothing wrong with what we take */
        bpf_run(program, packet, size);
    }
    assert_true(sound > 50);
}

static void test_unsound_programs(void **state)
{
    (void)state;
    const struct capture_instruction ret = {.code = 0x06, .k = 1};
    const struct {
        struct capture_instruction first;
    } rows[] = {
        {{.code = 0x05, .k = 1}},           /* jumps over the end */
        {{.code = 0x05, .k = UINT32_MAX}},  /* backwards */
        {{.code = 0x15, .jt = 1, .jf = 0}}, /* over the end */
        {{.code = 0x15, .jt = 0, .jf = 1}}, /* likewise */
        {{.code = 0x60, .k = 16}},          /* no such memory */
        {{.code = 0x02, .k = 16}},          /* likewise */
        {{.code = 0x34, .k = 0}},           /* by zero */
        {{.code = 0x94, .k = 0}},           /* likewise */
        {{.code = 0x64, .k = 32}},          /* too far */
        {{.code = 0xffff}},                 /* no instruction */
        {{.code = 0x20 | 0x100}},           /* more than a byte */
        {{.code = 0x42}},                   /* a store with a mode */
        {{.code = 0x8c}},                   /* a negation by X */
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct capture_instruction program[] = {rows[i].first, ret};
        assert_false(bpf_is_sound(program, 2));
    }
    assert_false(bpf_is_sound(&ret, 0));
    assert_true(bpf_is_sound(&ret, 1));
    assert_false(bpf_is_sound(&rows[0].first, 1)); /* no end */
    static struct capture_instruction many[CAPTURE_PROGRAM_MAX + 1];
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = ret;
    assert_true(bpf_is_sound(many, CAPTURE_PROGRAM_MAX));
    assert_false(bpf_is_sound(many, CAPTURE_PROGRAM_MAX + 1));
}

/* ---- what gets as far as libpcap --------------------------------------------------------------------------------- */

static void test_names_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "host example.com",
        "host 1.de",
        "host localhost",
        "port http",
        "host ab:cd",
        "net loopback",
        "host a",
        "6to4.example.com",
        "ether host gateway",
        "host 1:2:3:4:5:6:7.de",
        "tcp port ssh",
        "\"",
        "a\tb",
        "host 0xzz",
        "gateway 10.0.0.1",
        "dst host f",
        "host 10.0.0.",
        "host 20-1023",
        "host 1.2.3.4.5",
        "port 1-2",
        "host 1..2",
        "portrange (1-2)",
    };
    struct capture_instruction program[CAPTURE_PROGRAM_MAX];
    uint32_t length;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct err e = {0};
        if (capture_filter_compile(bad[i], DEVICE_TUN, 100, program, &length, &e) != -EINVAL ||
            e.code != ERR_INVALID_QUERY)
            fail_msg("%s", bad[i]);
        if (!strstr(e.message, "is no word") && !strstr(e.message, "has no meaning"))
            fail_msg("%s came as far as libpcap: %s", bad[i], e.message);
    }
    struct err e = {0};
    assert_int_equal(capture_filter_compile("  ", DEVICE_TUN, 100, program, &length, &e), 0);
    assert_int_equal(length, 0);
    assert_int_equal(capture_filter_compile("tcp and", DEVICE_TUN, 100, program, &length, &e), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_libpcap_runs_them), cmocka_unit_test(test_instructions),
        cmocka_unit_test(test_random_programs),      cmocka_unit_test(test_unsound_programs),
        cmocka_unit_test(test_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

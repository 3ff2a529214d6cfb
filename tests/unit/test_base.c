/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tunwright/base.h"

static void err_set_fills_and_returns(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(err_set(&e, -EINVAL, ERR_HOST_BITS_SET, "/routes/0/to", "%s has host bits", "10.0.0.1/8"),
                     -EINVAL);
    assert_string_equal(err_code_name(e.code), "host_bits_set");
    assert_string_equal(e.pointer, "/routes/0/to");
    assert_string_equal(e.message, "10.0.0.1/8 has host bits");
    assert_int_equal(e.sys_errno, 0);
    assert_int_equal(err_set(NULL, -EINVAL, ERR_INTERNAL, "", "nobody listens"), -EINVAL);

    assert_int_equal(err_set_kernel(&e, -EEXIST, "RTM_NEWROUTE", "cannot add %s", "10.0.0.0/8"), -EEXIST);
    assert_int_equal(e.sys_errno, EEXIST);
    assert_string_equal(e.operation, "RTM_NEWROUTE");
    assert_string_equal(e.message, "cannot add 10.0.0.0/8: File exists");
    assert_string_equal(errno_name(-EEXIST), "EEXIST");
    assert_string_equal(errno_name(4321), "E4321");
}

static void err_list_stops_at_its_size(void **state)
{
    (void)state;
    struct err_list list = {0};
    for (int i = 0; i < ERR_LIST_MAX + 5; i++)
        err_list_add(&list, ERR_DUPLICATE, "/x", "number %d", i);
    assert_int_equal(list.count, ERR_LIST_MAX);
    assert_string_equal(list.items[ERR_LIST_MAX - 1].message, "number 31");
}

static void every_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned a = 0; a < ERR_CODE_N; a++)
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(err_code_name((enum err_code)a), err_code_name((enum err_code)b));
}

static void numbers_are_read_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "01", "0x1", "1.0", "1e3", "x"};
    uint64_t value = 7;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(text_to_u64(bad[i], UINT64_MAX, &value), -EINVAL);
    assert_int_equal(text_to_u64("18446744073709551616", UINT64_MAX, &value), -ERANGE);
    assert_int_equal(text_to_u64("99999999999999999999999", UINT64_MAX, &value), -ERANGE);
    assert_int_equal(text_to_u64("256", 255, &value), -ERANGE);
    assert_int_equal(value, 7);
    assert_int_equal(text_to_u64("18446744073709551615", UINT64_MAX, &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(text_to_u64("0", 0, &value), 0);
    assert_int_equal(value, 0);
}

static void utf8_is_told_from_what_is_not(void **state)
{
    (void)state;
    static const char *const good[] = {
        "", "plain", "z\xc3\xbcrich", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",         "\xc0\xaf",     "\xc1\xbf",         "\xc3",
                                      "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                                      "\xe2\x82",     "\xff"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(utf8_is_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(utf8_is_valid(bad[i], strlen(bad[i])));
}

static void time_is_printed_by_rfc_3339(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_SIZE];
    assert_string_equal(clock_print(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(clock_print(1767323045678999999, text), "2026-01-02T03:04:05.678Z");
    assert_string_equal(clock_print(-1, text), "1969-12-31T23:59:59.999Z");
}

static void times_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t time_ns;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-02T03:04:05.678Z", 1767323045678000000},
        {"2026-01-02t03:04:05.678999999z", 1767323045678999999},
        {"2026-01-02T03:04:05.6789999999999Z", 1767323045678999999},
        {"2026-01-02T04:34:05+01:30", 1767323045000000000},
        {"2026-01-01T21:04:05-06:00", 1767323045000000000},
        {"2026-01-02T03:04:05-00:00", 1767323045000000000},
        {"1969-12-31T23:59:59.9Z", -100000000},
        {"2024-02-29T00:00:00Z", 1709164800000000000},
        {"2000-02-29T00:00:00Z", 951782400000000000},
        {"2016-12-31T23:59:60Z", 1483228800000000000}, /* a leap second */
        {"2017-01-01T00:59:60+01:00", 1483228800000000000},
        {"2262-04-11T00:00:00Z", 9223286400000000000},
    };
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-01-02",
                                      "2026-01-02T03:04:05",
                                      "2026-01-02T03:04Z",
                                      "2026-01-02 03:04:05Z",
                                      "2026-01-02T03:04:05.Z",
                                      "2026-01-02T03:04:05,5Z",
                                      "2026-1-02T03:04:05Z",
                                      "2026-00-02T03:04:05Z",
                                      "2026-13-02T03:04:05Z",
                                      "2026-01-00T03:04:05Z",
                                      "2026-04-31T03:04:05Z",
                                      "2026-02-29T03:04:05Z",
                                      "1900-02-29T03:04:05Z",
                                      "2026-01-02T24:00:00Z",
                                      "2026-01-02T03:60:05Z",
                                      "2026-01-02T03:04:60Z",
                                      "2026-01-02T03:04:61Z",
                                      "2026-01-02T03:04:05Zx",
                                      "2026-01-02T03:04:05+1:00",
                                      "2026-01-02T03:04:05+24:00",
                                      "2026-01-02T03:04:05+01:60",
                                      "2026-01-02T03:04:05+0100",
                                      "2026-01-02T03:04:05+",
                                      "+2026-01-02T03:04:05Z",
                                      " 2026-01-02T03:04:05Z"};
    int64_t time_ns = 77;

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        if (clock_parse(good[i].text, &time_ns) < 0)
            fail_msg("%s is a time", good[i].text);
        assert_int_equal(time_ns, good[i].time_ns);
    }
    time_ns = 77;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (clock_parse(bad[i], &time_ns) != -EINVAL)
            fail_msg("%s is no time", bad[i]);
    assert_int_equal(clock_parse("9999-12-31T23:59:59Z", &time_ns), -ERANGE);
    assert_int_equal(clock_parse("0000-01-01T00:00:00Z", &time_ns), -ERANGE);
    assert_int_equal(time_ns, 77);
}

static void rate_limit_lets_a_burst_and_a_rate_through(void **state)
{
    (void)state;
    struct rate_limit limit = {.rate = 10, .burst = 3};
    int64_t now = 1000 * NSEC_PER_SEC;
    int permitted = 0;
    for (int i = 0; i < 10; i++)
        permitted += rate_limit_permits(&limit, now);
    assert_int_equal(permitted, 3);
    assert_int_equal(limit.suppressed, 7);
    assert_true(rate_limit_permits(&limit, now + 110 * NSEC_PER_MSEC));
    assert_false(rate_limit_permits(&limit, now + 120 * NSEC_PER_MSEC));
    permitted = 0;
    for (int i = 0; i < 10; i++)
        permitted += rate_limit_permits(&limit, now + 3600 * NSEC_PER_SEC);
    assert_int_equal(permitted, 3);
}

static void buf_grows_and_is_taken(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i);
    buf_add(&b, "a\0b", 3);
    assert_false(b.failed);
    size_t length = b.length;
    char *text = buf_take(&b);
    assert_non_null(text);
    assert_memory_equal(text, "0,1,2,", 6);
    assert_memory_equal(text + length - 3, "a\0b", 4);
    free(text);
    text = buf_take(&b);
    assert_string_equal(text, "");
    free(text);
}

static void uuid_round_trip(void **state)
{
    (void)state;
    struct uuid a, b;
    char text[UUID_TEXT_SIZE];
    assert_int_equal(random_bytes(a.bytes, sizeof a.bytes), 0);
    assert_int_equal(uuid_parse(uuid_print(&a, text), &b), 0);
    assert_true(uuid_equal(&a, &b));
    assert_false(uuid_is_zero(&a));
    static const char *const bad[] = {"",
                                      "00000000-0000-0000-0000-00000000000",
                                      "00000000-0000-0000-0000-0000000000000",
                                      "00000000x0000-0000-0000-000000000000",
                                      "0000000A-0000-0000-0000-000000000000",
                                      "g0000000-0000-0000-0000-000000000000"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(uuid_parse(bad[i], &b), -EINVAL);
    assert_int_equal(uuid_parse("00112233-4455-6677-8899-aabbccddeeff", &b), 0);
    assert_int_equal(b.bytes[15], 0xff);
}

static void fnv1a_matches_its_published_vectors(void **state)
{
    (void)state;
    assert_true(fnv1a(FNV1A_START, "", 0) == 0xcbf29ce484222325ULL);
    assert_true(fnv1a(FNV1A_START, "a", 1) == 0xaf63dc4c8601ec8cULL);
    assert_true(fnv1a(FNV1A_START, "foobar", 6) == 0x85944171f73967e8ULL);
}

static void options_come_from_flags_and_environment(void **state)
{
    (void)state;
    const char *run_dir = "/default", *level = "info";
    struct option_list listen = {0};
    bool once = false;
    const struct option_row rows[] = {
        {.flag = "run-dir", .argument = "DIR", .help = "x", .value = &run_dir},
        {.flag = "test-level", .argument = "L", .help = "x", .value = &level},
        {.flag = "test-listen", .argument = "A", .help = "x", .list = &listen},
        {.flag = "once", .help = "x", .on = &once},
    };
    setenv("TUNWRIGHT_RUN_DIR", "/from/environment", 1);
    setenv("TUNWRIGHT_TEST_LEVEL", "debug", 1);
    setenv("TUNWRIGHT_TEST_LISTEN", "a,b,,c", 1);
    char *none[] = {(char[]){"p"}, NULL};
    assert_int_equal(options_read(1, none, "p", "s", rows, ARRAY_SIZE(rows)), 0);
    assert_string_equal(run_dir, "/from/environment");
    assert_string_equal(level, "debug");
    assert_int_equal(listen.count, 3);
    assert_string_equal(listen.items[2], "c");
    assert_false(once);

    char *some[] = {
        (char[]){"p"}, (char[]){"--run-dir=/flag"}, (char[]){"--once"}, (char[]){"--test-listen"}, (char[]){"z"}, NULL};
    assert_int_equal(options_read(5, some, "p", "s", rows, ARRAY_SIZE(rows)), 0);
    assert_string_equal(run_dir, "/flag");
    assert_true(once);
    assert_int_equal(listen.count, 1);
    assert_string_equal(listen.items[0], "z");
    unsetenv("TUNWRIGHT_RUN_DIR");
    unsetenv("TUNWRIGHT_TEST_LEVEL");
    unsetenv("TUNWRIGHT_TEST_LISTEN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_set_fills_and_returns),
        cmocka_unit_test(err_list_stops_at_its_size),
        cmocka_unit_test(every_code_has_a_name_of_its_own),
        cmocka_unit_test(numbers_are_read_strictly),
        cmocka_unit_test(utf8_is_told_from_what_is_not),
        cmocka_unit_test(time_is_printed_by_rfc_3339),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(rate_limit_lets_a_burst_and_a_rate_through),
        cmocka_unit_test(buf_grows_and_is_taken),
        cmocka_unit_test(uuid_round_trip),
        cmocka_unit_test(fnv1a_matches_its_published_vectors),
        cmocka_unit_test(options_come_from_flags_and_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

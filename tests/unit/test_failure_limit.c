/* SPDX-License-Identifier: Apache-2.0 */
/* The table of failures, by a clock of the test's own. */
#include "http/failure_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define START_NS (1000 * NSEC_PER_SEC)

static int limit_begin(void **state)
{
    struct failure_limit *limit = calloc(1, sizeof *limit);
    assert_non_null(limit);
    limit->seed[0] = 0x0123456789abcdefULL;
    limit->seed[1] = 0xfedcba9876543210ULL;
    *state = limit;
    return 0;
}

static int limit_end(void **state)
{
    free(*state);
    return 0;
}

static struct failure_source source_of(const char *text)
{
    struct ip_addr addr;
    assert_int_equal(ip_addr_parse(text, &addr), 0);
    return failure_source_of_address(&addr);
}

static void fail_times(struct failure_limit *limit, struct failure_source source, int times, int64_t now_ns)
{
    for (int i = 0; i < times; i++)
        failure_limit_note(limit, source, now_ns);
}

/* Ten at once, then one each six seconds. */
static void test_bucket(void **state)
{
    struct failure_limit *limit = *state;
    struct failure_source source = source_of("192.0.2.1");
    int64_t now = START_NS;
    for (int i = 0; i < FAILURE_BURST; i++) {
        assert_int_equal(failure_limit_wait_ns(limit, source, now), 0);
        failure_limit_note(limit, source, now);
    }
    assert_int_equal(failure_limit_wait_ns(limit, source, now), FAILURE_INTERVAL_NS);
    assert_int_equal(failure_limit_wait_ns(limit, source, now + NSEC_PER_SEC), FAILURE_INTERVAL_NS - NSEC_PER_SEC);
    now += FAILURE_INTERVAL_NS;
    assert_int_equal(failure_limit_wait_ns(limit, source, now), 0);
    failure_limit_note(limit, source, now);
    assert_int_equal(failure_limit_wait_ns(limit, source, now), FAILURE_INTERVAL_NS);
    /* what was noted while it was refused anyway does not add up */
    fail_times(limit, source, 1000, now);
    assert_int_equal(failure_limit_wait_ns(limit, source, now), FAILURE_INTERVAL_NS);
    /* and all is well again after a minute */
    now += FAILURE_BURST * FAILURE_INTERVAL_NS;
    fail_times(limit, source, FAILURE_BURST - 1, now);
    assert_int_equal(failure_limit_wait_ns(limit, source, now), 0);
}

static void test_sources(void **state)
{
    struct failure_limit *limit = *state;
    fail_times(limit, source_of("192.0.2.1"), FAILURE_BURST, START_NS);
    fail_times(limit, source_of("2001:db8:1:2::1"), FAILURE_BURST, START_NS);
    fail_times(limit, failure_source_of_user(1000), FAILURE_BURST, START_NS);
    static const char *const refused[] = {"192.0.2.1", "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"};
    static const char *const others[] = {"192.0.2.2", "2001:db8:1:3::1", "2001:db8::1", "::c000:201", "::"};
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        assert_true(failure_limit_wait_ns(limit, source_of(refused[i]), START_NS) > 0);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_int_equal(failure_limit_wait_ns(limit, source_of(others[i]), START_NS), 0);
    assert_true(failure_limit_wait_ns(limit, failure_source_of_user(1000), START_NS) > 0);
    assert_int_equal(failure_limit_wait_ns(limit, failure_source_of_user(1001), START_NS), 0);
}

/* The n-th /64 of a /48. */
static struct failure_source network(uint32_t n)
{
    return (struct failure_source){FAILURE_SOURCE_IPV6, 0x20010db800010000ULL | n};
}

/* A whole /48 floods the table: who is refused stays refused, who never failed is not. */
static void test_flood(void **state)
{
    struct failure_limit *limit = *state;
    struct failure_source guesser = source_of("192.0.2.1"), honest = source_of("192.0.2.2");
    fail_times(limit, guesser, FAILURE_BURST, START_NS);
    int64_t now = START_NS;
    for (uint32_t n = 0; n < 65536; n++) {
        now += NSEC_PER_MSEC / 16; /* 4 s for all */
        failure_limit_note(limit, network(n), now);
        assert_int_equal(failure_limit_wait_ns(limit, honest, now), 0);
    }
    /* 16 newcomers for each entry, and still: one more failure, and it is refused */
    failure_limit_note(limit, guesser, now);
    assert_true(failure_limit_wait_ns(limit, guesser, now) > 0);
}

/* Each source one failure, twice as many as there are entries: none of them paid enough to push out who is refused. */
static void test_flood_of_first_failures(void **state)
{
    struct failure_limit *limit = *state;
    struct failure_source guesser = source_of("192.0.2.1");
    fail_times(limit, guesser, FAILURE_BURST, START_NS);
    for (uint32_t n = 0; n < 2 * FAILURE_SETS * FAILURE_WAYS; n++)
        failure_limit_note(limit, network(n), START_NS);
    assert_true(failure_limit_wait_ns(limit, guesser, START_NS) > 0);
}

/* More sources than entries, each as often as it is listened to: the table ends up full of refusals, and is its old self
 * a minute after. */
static void test_flood_passes(void **state)
{
    struct failure_limit *limit = *state;
    enum { NETWORKS = 2 * FAILURE_SETS * FAILURE_WAYS };
    for (int round = 0; round < 2 * FAILURE_BURST; round++)
        for (uint32_t n = 0; n < NETWORKS; n++)
            if (!failure_limit_wait_ns(limit, network(n), START_NS))
                failure_limit_note(limit, network(n), START_NS);
    size_t refused = 0;
    for (uint32_t n = 0; n < NETWORKS; n++)
        refused += failure_limit_wait_ns(limit, network(n), START_NS) > 0;
    assert_in_range(refused, FAILURE_SETS * FAILURE_WAYS * 9 / 10, FAILURE_SETS * FAILURE_WAYS);
    int64_t later = START_NS + FAILURE_BURST * FAILURE_INTERVAL_NS;
    struct failure_source honest = source_of("192.0.2.2");
    fail_times(limit, honest, FAILURE_BURST - 1, later);
    assert_int_equal(failure_limit_wait_ns(limit, honest, later), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bucket, limit_begin, limit_end),
        cmocka_unit_test_setup_teardown(test_sources, limit_begin, limit_end),
        cmocka_unit_test_setup_teardown(test_flood, limit_begin, limit_end),
        cmocka_unit_test_setup_teardown(test_flood_of_first_failures, limit_begin, limit_end),
        cmocka_unit_test_setup_teardown(test_flood_passes, limit_begin, limit_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

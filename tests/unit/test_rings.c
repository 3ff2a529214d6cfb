/* SPDX-License-Identifier: Apache-2.0 */
#include "history/rings.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct uuid uuid = {.bytes = {1, 2, 3}};
static const uint8_t boot[16] = {9, 8, 7};

static struct rings fresh(void)
{
    struct rings rings = {.file = calloc(1, sizeof(struct rings_file))};
    assert_non_null(rings.file);
    rings_format(&rings.file->head, &uuid, boot);
    return rings;
}

static void done(struct rings *rings)
{
    free(rings->file);
}

/* All series at one value, of device and worker number 1. */
static struct rings_reading reading(uint64_t value)
{
    struct rings_reading reading = {.ifindex = 1, .since_ns = 1};
    for (size_t i = 0; i < HISTORY_SERIES_N; i++)
        reading.values[i] = value;
    return reading;
}

static void sample(struct rings *rings, double at_s, uint64_t value)
{
    struct rings_reading now = reading(value);
    rings_sample(rings, (int64_t)(at_s * 1e9), &now);
}

#define GAP UINT64_MAX

/* The newest steps of one series, as they are expected: the last argument is the newest. */
static void expect(const struct rings *rings, enum history_scale scale, int64_t end_s, size_t count,
                   const uint64_t *expected)
{
    struct history_step steps[HISTORY_STEPS_MAX];
    assert_int_equal(rings_read(rings, scale, count, steps), end_s);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(steps[i].has_kernel, expected[i] != GAP);
        assert_int_equal(steps[i].has_worker, expected[i] != GAP);
        for (size_t series = 0; series < HISTORY_SERIES_N; series++)
            assert_int_equal(steps[i].values[series], expected[i] == GAP ? 0 : expected[i]);
    }
}
#define EXPECT(rings, scale, end_s, ...)                                                                               \
    expect(rings, scale, end_s, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (uint64_t[]){__VA_ARGS__})

static void test_nothing_was_read(void **state)
{
    (void)state;
    struct rings rings = fresh();
    EXPECT(&rings, HISTORY_SECONDS, 0, GAP, GAP, GAP);
    sample(&rings, 100.0, 7); /* only the base */
    EXPECT(&rings, HISTORY_SECONDS, 100, GAP, GAP, GAP);
    done(&rings);
}

static void test_increases(void **state)
{
    (void)state;
    struct rings rings = fresh();
    sample(&rings, 100.001, 1000);
    sample(&rings, 101.002, 1005);
    sample(&rings, 102.0, 1005);
    sample(&rings, 102.999, 1105);
    EXPECT(&rings, HISTORY_SECONDS, 103, GAP, 5, 0, 100);
    /* too early by far: the next one's */
    sample(&rings, 103.2, 1106);
    EXPECT(&rings, HISTORY_SECONDS, 103, GAP, 5, 0, 100);
    sample(&rings, 104.0, 1107);
    EXPECT(&rings, HISTORY_SECONDS, 104, 5, 0, 100, 2);
    done(&rings);
}

static void test_late_reading_is_spread(void **state)
{
    (void)state;
    struct rings rings = fresh();
    sample(&rings, 100.0, 0);
    sample(&rings, 103.1, 11);
    EXPECT(&rings, HISTORY_SECONDS, 103, GAP, 4, 4, 3);
    sample(&rings, 103.0 + RINGS_LATE_MAX_S, 21);
    EXPECT(&rings, HISTORY_SECONDS, 108, 3, 2, 2, 2, 2, 2);
    /* later than that: a gap, and what was counted in it shows nowhere */
    sample(&rings, 109.0 + RINGS_LATE_MAX_S, 1000000);
    sample(&rings, 115.0, 1000001);
    EXPECT(&rings, HISTORY_SECONDS, 115, 2, GAP, GAP, GAP, GAP, GAP, GAP, 1);
    done(&rings);
}

static void test_what_begins_anew_is_a_gap(void **state)
{
    (void)state;
    struct rings rings = fresh();
    struct history_step steps[4];
    sample(&rings, 100.0, 50);
    struct rings_reading next = reading(60);
    next.since_ns = 2; /* another worker */
    rings_sample(&rings, 101 * NSEC_PER_SEC, &next);
    next = reading(61);
    next.since_ns = 2;
    next.ifindex = 2; /* another device */
    rings_sample(&rings, 102 * NSEC_PER_SEC, &next);
    next.values[HISTORY_WORKER_DROPS]--; /* it shrank */
    rings_sample(&rings, 103 * NSEC_PER_SEC, &next);
    next.since_ns = 0; /* no worker any more */
    rings_sample(&rings, 104 * NSEC_PER_SEC, &next);
    assert_int_equal(rings_read(&rings, HISTORY_SECONDS, 4, steps), 104);
    assert_true(steps[0].has_kernel && !steps[0].has_worker);
    for (size_t series = 0; series < HISTORY_SERIES_N; series++)
        assert_int_equal(steps[0].values[series],
                         strncmp(history_series_name((enum history_series)series), "kernel.", 7) ? 0 : 10);
    assert_true(!steps[1].has_kernel && steps[1].has_worker);
    assert_int_equal(steps[1].values[HISTORY_WORKER_WIRE_IN_BYTES], 1);
    assert_true(steps[2].has_kernel && !steps[2].has_worker);
    assert_true(steps[3].has_kernel && !steps[3].has_worker);
    next.ifindex = 0; /* nor a device */
    rings_sample(&rings, 105 * NSEC_PER_SEC, &next);
    rings_sample(&rings, 106 * NSEC_PER_SEC, &next);
    assert_int_equal(rings_read(&rings, HISTORY_SECONDS, 1, steps), 106);
    assert_true(!steps[0].has_kernel && !steps[0].has_worker);
    done(&rings);
}

static void test_coarser_rings_have_the_sums(void **state)
{
    (void)state;
    struct rings rings = fresh();
    uint64_t value = 0, expected = 0;
    for (int64_t second = 1000; second <= 1200; second++) {
        sample(&rings, (double)second, value);
        value += (uint64_t)second;
    }
    for (uint64_t second = 1190; second < 1200; second++)
        expected += second;
    EXPECT(&rings, HISTORY_TENS, 1200, expected - 100, expected);
    sample(&rings, 1201, value);
    EXPECT(&rings, HISTORY_TENS, 1200, expected - 100, expected); /* the one in hand is not whole */
    expected = 0;
    for (uint64_t second = 1140; second < 1200; second++)
        expected += second;
    EXPECT(&rings, HISTORY_MINUTES, 1200, expected - 3600, expected);
    /* the first one was observed in part */
    expected = 0;
    for (uint64_t second = 1000; second < 1020; second++)
        expected += second;
    struct history_step steps[4];
    assert_int_equal(rings_read(&rings, HISTORY_MINUTES, 4, steps), 1200);
    assert_int_equal(steps[0].values[0], expected);
    done(&rings);
}

/* What is counted in a second of the next test: nothing now and then. */
static uint64_t in_second(int64_t second)
{
    bool idle = (second > 50000 && second <= 60000) || (second > 99000 && second < 99990);
    return idle ? 0 : (uint64_t)second;
}

static void expect_all(const struct rings *rings, enum history_scale scale, int64_t end_s)
{
    struct history_step steps[HISTORY_STEPS_MAX];
    int64_t step_s = history_scale_sizes[scale].step_s, count = (int64_t)history_scale_sizes[scale].steps;
    assert_int_equal(rings_read(rings, scale, (size_t)count, steps), end_s);
    for (int64_t i = 0; i < count; i++) {
        int64_t begin_s = end_s - (count - i) * step_s;
        uint64_t expected = 0;
        for (int64_t at = begin_s + 1; at <= begin_s + step_s; at++) /* the reading is at the second's end */
            expected += in_second(at);
        assert_true(steps[i].has_kernel && steps[i].has_worker);
        for (size_t series = 0; series < HISTORY_SERIES_N; series++)
            assert_int_equal(steps[i].values[series], expected);
    }
}

static void test_wrap(void **state)
{
    (void)state;
    struct rings rings = fresh();
    uint64_t value = 0;
    for (int64_t second = 5; second <= 100005; second++) {
        value += in_second(second); /* an old record must not show through */
        sample(&rings, (double)second, value);
        if (second == 86530) /* the longest has gone round */
            expect_all(&rings, HISTORY_MINUTES, 86520);
    }
    struct history_step steps[HISTORY_STEPS_MAX];
    expect_all(&rings, HISTORY_SECONDS, 100005);
    expect_all(&rings, HISTORY_TENS, 100000);
    expect_all(&rings, HISTORY_MINUTES, 99960);
    /* a gap longer than the ring leaves nothing of it, but for the longer ones */
    sample(&rings, 100705, value + 5);
    sample(&rings, 100706, value + 7);
    assert_int_equal(rings_read(&rings, HISTORY_SECONDS, 600, steps), 100706);
    for (int i = 0; i < 599; i++)
        assert_false(steps[i].has_kernel);
    assert_int_equal(steps[599].values[0], 2);
    assert_int_equal(rings_read(&rings, HISTORY_TENS, 720, steps), 100700);
    assert_true(steps[719 - 71].has_kernel);
    assert_false(steps[719].has_kernel);
    done(&rings);
}

static void test_restart(void **state)
{
    (void)state;
    struct rings rings = fresh();
    sample(&rings, 119, 10);
    sample(&rings, 120, 20);
    sample(&rings, 121, 40);
    assert_true(rings_head_is_good(&rings.file->head, &uuid, boot, 121));
    struct rings next = {.file = rings.file};
    EXPECT(&next, HISTORY_SECONDS, 121, GAP, 10, 20); /* before its first reading */
    sample(&next, 124, 1000000);
    sample(&next, 125, 1000001);
    EXPECT(&next, HISTORY_SECONDS, 125, GAP, 10, 20, GAP, GAP, GAP, 1);
    sample(&next, 130, 1000001);
    EXPECT(&next, HISTORY_TENS, 130, 10, 21); /* goes on with what was begun */
    done(&rings);
}

static void test_files_that_are_not_good(void **state)
{
    (void)state;
    const struct uuid other = {.bytes = {1}};
    const uint8_t other_boot[16] = {1};
    struct rings_head head, bad;
    rings_format(&head, &uuid, boot);
    assert_true(rings_head_is_good(&head, &uuid, boot, 1));
    assert_false(rings_head_is_good(&head, &other, boot, 1));
    assert_false(rings_head_is_good(&head, &uuid, other_boot, 1));
#define BAD(member, value) (bad = head, bad.member = (value), rings_head_is_good(&bad, &uuid, boot, 600))
    assert_false(BAD(magic, 1));
    assert_false(BAD(version, RINGS_VERSION + 1));
    assert_false(BAD(series, HISTORY_SERIES_N + 1));
    assert_false(BAD(size, 0));
    assert_false(BAD(until_s, -1));
    assert_true(BAD(until_s, 601));
    assert_false(BAD(until_s, 602));
    assert_false(BAD(newest[0], -1));
    assert_true(BAD(newest[1], 60));
    assert_false(BAD(newest[1], 61));
    assert_false(BAD(newest[2], INT64_MAX));
}

static int no_room(void *context, size_t page)
{
    size_t *asked = context;
    (void)page;
    ++*asked;
    return -ENOSPC;
}

static int room(void *context, size_t page)
{
    size_t *asked = context;
    (void)page;
    ++*asked;
    return 0;
}

static void test_idle_device_writes_no_record(void **state)
{
    (void)state;
    size_t asked = 0;
    struct rings rings = fresh();
    rings.make_room = no_room;
    rings.context = &asked;
    for (int second = 100; second < 200; second++)
        sample(&rings, second, 5);
    assert_int_equal(asked, 0);
    EXPECT(&rings, HISTORY_SECONDS, 199, 0, 0, 0);
    /* where there is no room for what it counts, it is as if nobody had looked */
    sample(&rings, 200, 6);
    sample(&rings, 201, 6);
    assert_int_equal(asked, HISTORY_SCALE_N);
    EXPECT(&rings, HISTORY_SECONDS, 201, 0, GAP, 0);
    /* where there is, nobody asks again */
    rings.make_room = room;
    asked = 0;
    for (int second = 202; second < 210; second++)
        sample(&rings, second, (uint64_t)second);
    assert_int_equal(asked, HISTORY_SCALE_N);
    done(&rings);
}

/* ---- a reader beside the writer ---------------------------------------------------------------------------------- */

struct race {
    struct rings rings;
    atomic_bool ends;
};

static void *race_read(void *context)
{
    struct race *race = context;
    struct history_step steps[60];
    while (!atomic_load(&race->ends)) {
        int64_t end_s = rings_read(&race->rings, HISTORY_SECONDS, 60, steps);
        for (int64_t i = 0; i < 60; i++)
            for (size_t series = 0; series < HISTORY_SERIES_N; series++)
                if (steps[i].has_kernel && steps[i].values[series] != (uint64_t)(end_s - 60 + i + 1))
                    return (void *)1;
    }
    return NULL;
}

static void test_reader_sees_no_half_written_step(void **state)
{
    (void)state;
    struct race race = {.rings = fresh()};
    pthread_t thread;
    void *torn;
    uint64_t value = 0;
    assert_int_equal(pthread_create(&thread, NULL, race_read, &race), 0);
    for (int64_t second = 1; second < 200000; second++)
        sample(&race.rings, (double)second, value += (uint64_t)second);
    atomic_store(&race.ends, true);
    assert_int_equal(pthread_join(thread, &torn), 0);
    assert_null(torn);
    done(&race.rings);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(history_series_name(HISTORY_KERNEL_DROPPED), "kernel.dropped");
    assert_string_equal(history_series_name(HISTORY_WORKER_DROPS), "worker.drops");
    assert_string_equal(history_series_name(HISTORY_SERIES_N), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_was_read),
        cmocka_unit_test(test_increases),
        cmocka_unit_test(test_late_reading_is_spread),
        cmocka_unit_test(test_what_begins_anew_is_a_gap),
        cmocka_unit_test(test_coarser_rings_have_the_sums),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_files_that_are_not_good),
        cmocka_unit_test(test_idle_device_writes_no_record),
        cmocka_unit_test(test_reader_sees_no_half_written_step),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

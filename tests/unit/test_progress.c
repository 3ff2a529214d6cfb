/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct {
    size_t count;
    struct change_progress last;
} told;

static void on_progress(void *context, const struct change_progress *progress)
{
    (void)context;
    told.count++;
    told.last = *progress;
}

static const struct engine_options options = {.on_progress = on_progress};
static const struct actor actor = {.name = "uid:0", .operation = "PUT /v1/config"};

static struct progress begin(void)
{
    struct progress progress;
    memset(&told, 0, sizeof told);
    progress_begin(&progress, &options, &actor, NSEC_PER_SEC);
    return progress;
}

static void test_quick_change_is_not_told(void **state)
{
    (void)state;
    struct progress progress = begin();
    progress_plan(&progress, PROGRESS_STEPS_MANY, NSEC_PER_SEC);
    progress_step(&progress, PROGRESS_STEPS_MANY, NSEC_PER_SEC + PROGRESS_LONG_NS - 1);
    progress_end(&progress);
    assert_int_equal(told.count, 0);
}

static void test_many_steps(void **state)
{
    (void)state;
    struct progress progress = begin();
    int64_t now_ns = NSEC_PER_SEC;
    progress_plan(&progress, 1000, now_ns);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.last.operation, "PUT /v1/config");
    assert_string_equal(told.last.actor, "uid:0");
    assert_int_equal(told.last.done, 0);
    assert_int_equal(told.last.total, 1000);
    for (int i = 0; i < 1000; i++) /* two seconds */
        progress_step(&progress, 1, now_ns += 2 * NSEC_PER_MSEC);
    assert_in_range(told.count, 10, 11);
    assert_false(told.last.finished);
    progress_plan(&progress, 7, now_ns); /* another round */
    progress_step(&progress, 7, now_ns);
    size_t before = told.count;
    progress_end(&progress);
    assert_int_equal(told.count, before + 1);
    assert_true(told.last.finished);
    assert_int_equal(told.last.done, 1007);
    assert_int_equal(told.last.total, 1007);
}

static void test_few_that_take_long(void **state)
{
    (void)state;
    struct progress progress = begin();
    progress_plan(&progress, 3, NSEC_PER_SEC);
    progress_step(&progress, 1, NSEC_PER_SEC + PROGRESS_LONG_NS);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.last.done, 1);
    progress_step(&progress, 1, NSEC_PER_SEC + PROGRESS_LONG_NS + 1);
    assert_int_equal(told.count, 1);
    progress_end(&progress);
    assert_int_equal(told.count, 2);
    assert_true(told.last.finished);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    static const struct engine_options deaf = {.on_progress = NULL};
    struct progress progress;
    memset(&told, 0, sizeof told);
    progress_plan(NULL, 100, 0);
    progress_step(NULL, 100, 0);
    progress_begin(&progress, &deaf, &actor, 0);
    progress_plan(&progress, 100, 0);
    progress_step(&progress, 100, NSEC_PER_SEC);
    progress_end(&progress);
    assert_int_equal(told.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quick_change_is_not_told),
        cmocka_unit_test(test_many_steps),
        cmocka_unit_test(test_few_that_take_long),
        cmocka_unit_test(test_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

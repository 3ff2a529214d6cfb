/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each allocation that a change of several devices asks for may not be there: then all of it is undone, and nothing is
 * lost, leaked or half made. The linker puts our functions in front of the engine's (tests/CMakeLists.txt); only what
 * our own code asks for while a change is made is counted, and the n-th of those is refused.
 */
#include "transaction_scenes.h"

#include "engine/state.h"

static atomic_long countdown; /* to the one that is refused; 0: none is */
static _Thread_local bool counts;

void __real_engine_change(struct engine *engine, struct change *change);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
char *__real_strdup(const char *text);

void __wrap_engine_change(struct engine *engine, struct change *change)
{
    counts = true;
    __real_engine_change(engine, change);
    counts = false;
}

static bool is_refused(void)
{
    return counts && atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1;
}

void *__wrap_malloc(size_t size)
{
    return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return is_refused() ? NULL : __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    return is_refused() ? NULL : __real_reallocarray(memory, count, size);
}

char *__wrap_strdup(const char *text)
{
    return is_refused() ? NULL : __real_strdup(text);
}

static enum change_outcome scene_run(struct bench *bench, const struct scene *scene, bool confirms, struct err *ret_err)
{
    struct change *change = scene_change(scene->after);

    change->confirm_s = confirms ? 60 : 0;
    return run(bench, change, ret_err);
}

static void scene_end(struct bench *bench, const struct scene *scene, bool confirms)
{
    struct change *confirm = confirms ? calloc(1, sizeof(*confirm)) : NULL;

    if (confirm) {
        confirm->kind = CHANGE_CONFIRM;
        assert_int_equal(run(bench, confirm, NULL), OUTCOME_CHANGED);
    }
    assert_complete(bench, scene->after);
}

/* Each time one allocation further, until it has no more of them. What failed left all as it was, so the next attempt
 * begins right there. */
static long scene_try(struct bench *bench, const struct scene *scene, bool confirms)
{
    for (long n = 0;;) {
        CLEANUP(world_done) struct world then = {0};
        enum change_outcome came = OUTCOME_FAILED;
        bool refused = true;
        struct err err;

        scene_begin(bench, scene);
        then = world_of(bench);
        while (came == OUTCOME_FAILED) {
            atomic_store(&countdown, ++n);
            came = scene_run(bench, scene, confirms, &err);
            refused = atomic_exchange(&countdown, 0) == 0;
            if (came != OUTCOME_FAILED)
                continue;
            assert_true(refused);
            assert_int_equal(err.code, ERR_OUT_OF_MEMORY);
            assert_same_world(bench, &then);
        }
        /* refused, and done all the same: what is only to be told can be told later */
        scene_end(bench, scene, confirms);
        if (!refused)
            return n - 1;
    }
}

static void test_each_allocation_refused(void **state)
{
    struct bench *bench = *state;

    for (size_t s = 0; s < ARRAY_SIZE(scenes); s++) {
        long count = scene_try(bench, &scenes[s], s % 2);

        print_message("%s: %ld allocations\n", scenes[s].name, count);
        assert_true(count > 20); /* else the linker did not do its part */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST_ON_BENCH(test_each_allocation_refused)};

    log_open("test_transaction_memory", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

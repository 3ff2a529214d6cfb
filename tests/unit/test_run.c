/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of steps through the real provider and the real tunwright-netd. */
#include "netd_fixture.h"

enum { MANY = 100 };

static struct step steps[MANY];
static struct step_result results[MANY];

static void run(size_t count)
{
    memset(results, 0xff, sizeof results);
    kernel->ops->apply_run(kernel, steps, count, results);
}

static void expect_results(size_t count, int error)
{
    for (size_t i = 0; i < count; i++)
        if (results[i].error != error)
            fail_msg("%s of %s: %d: %s", step_kind_name(steps[i].kind), steps[i].device.name, results[i].error,
                     results[i].err.message);
}

static void steps_make(enum step_kind kind, size_t count)
{
    memset(steps, 0, sizeof steps);
    for (size_t i = 0; i < count; i++) {
        char name[DEVICE_NAME_SIZE];
        snprintf(name, sizeof name, "tun%u", (unsigned)i % 1000);
        steps[i].kind = kind;
        steps[i].device = key_of("", name, (uint8_t)(i + 1));
        if (kind == STEP_DEVICE_CREATE)
            steps[i].create =
                (struct device_create){.kind = DEVICE_TUN, .queues = 1, .owner = OWNER_NONE, .group = OWNER_NONE};
        else if (kind == STEP_WORKER_START)
            steps[i] = work_step(kind, &steps[i].device, i == 7 ? "{\"fail\": 1}" : "{}", NULL, 1);
    }
}

static void create_all(size_t count)
{
    steps_make(STEP_DEVICE_CREATE, count);
    run(count);
    expect_results(count, 0);
}

static size_t device_count(void)
{
    struct observed observed;
    size_t count = 0;
    assert_int_equal(look("", &observed), 0);
    for (size_t i = 0; i < observed.link_count; i++)
        count += observed.links[i].ours;
    observed_done(&observed);
    return count;
}

static void many_devices(void **state)
{
    (void)state;
    NEEDS_NETD();
    create_all(MANY);
    assert_int_equal(device_count(), MANY);
    run(MANY);
    expect_results(MANY, -EEXIST);
    assert_int_equal(results[0].err.code, ERR_ALREADY_EXISTS);
    steps_make(STEP_DEVICE_DELETE, MANY);
    int64_t begun_ns = clock_monotonic_ns();
    run(MANY);
    expect_results(MANY, 0);
    print_message("%d devices deleted in %lld ms\n", MANY,
                  (long long)((clock_monotonic_ns() - begun_ns) / NSEC_PER_MSEC));
    assert_int_equal(device_count(), 0);
    run(MANY);
    expect_results(MANY, -ENODEV);
    create_all(1); /* netd has let go of them */
}

/* Each failure is told by itself, and only what is meant goes. */
static void deletions_that_fail(void **state)
{
    (void)state;
    NEEDS_NETD();
    create_all(MANY);
    assert_int_equal(
        system("ip tuntap add foreign mode tun && ip link set foreign group 5 && ip link set tun9 group 5 &&"
               "ip link delete tun3 && ip link set tun5 alias theirs && ip netns add blue"),
        0);
    struct device_key blue = key_of("blue", "tun7", 200);
    assert_int_equal(create(&blue, 1, NULL), 0);
    assert_int_equal(start(&steps[90].device, "{}"), 0);
    steps_make(STEP_DEVICE_DELETE, MANY);
    steps[40].device = blue;                               /* of another netns, in between */
    steps[60].device.uuid = key_of("", "tun60", 250).uuid; /* not this one */
    run(MANY);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(results[i].error, i == 3 || i == 5 || i == 60 ? -ENODEV : 0);
    assert_int_equal(results[5].err.code, ERR_FOREIGN_DEVICE);
    assert_int_equal(device_count(), 2); /* tun40 and tun60 */
    assert_int_equal(system("ip link show dev foreign && ip link show dev tun5 && ! ip -n blue link show dev tun7 &&"
                            "ip link delete foreign && ip link delete tun5 && ip netns delete blue"),
                     0);
}

/* They start and end at the same time, and one that fails is told apart. */
static void many_workers(void **state)
{
    enum { WORKERS = 40 };
    char status[128];
    (void)state;
    NEEDS_NETD();
    create_all(WORKERS);
    steps_make(STEP_WORKER_START, WORKERS);
    run(WORKERS);
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(results[i].error != 0, i == 7);
    assert_int_equal(results[7].err.code, ERR_WORKER_FAILED);
    assert_string_equal(results[7].err.message, "it was told to");
    assert_int_equal(worker_of(&steps[39].device, status).state, WORKER_RUNNING);
    steps_make(STEP_WORKER_STOP, WORKERS);
    run(WORKERS);
    expect_results(WORKERS, 0);
    for (size_t i = 0; i < WORKERS; i += 13)
        assert_int_equal(worker_of(&steps[i].device, status).state, WORKER_STATE_N);
}

/* netd goes: nobody is left without a result, and the next run finds the new one. */
static void netd_away(void **state)
{
    (void)state;
    NEEDS_NETD();
    create_all(MANY);
    assert_int_equal(system("ip link set tun1 group 0x54000001"), 0); /* as if it had been about to delete it */
    assert_int_equal(netd_end(SIGKILL), -SIGKILL);
    steps_make(STEP_DEVICE_DELETE, MANY);
    run(MANY);
    expect_results(MANY, -ENOTCONN);
    assert_int_equal(results[MANY - 1].err.code, ERR_NETD_UNAVAILABLE);
    netd_start();
    assert_int_equal(system("! ip link show dev tun1 | grep -q 'group 14'"), 0);
    run(MANY);
    expect_results(MANY, 0);

    create_all(MANY);
    steps_make(STEP_DEVICE_DELETE, MANY);
    pid_t killer = fork(); /* in the middle, or thereabouts */
    if (killer == 0) {
        wait_ms(3);
        kill(fixture.pid, SIGKILL);
        _exit(0);
    }
    run(MANY);
    waitpid(killer, NULL, 0);
    assert_int_equal(netd_end(SIGKILL), -SIGKILL);
    assert_true(results[0].error == 0 || results[0].error == -ENOTCONN);
    expect_results(MANY, results[0].error);
    netd_start();
    size_t left = device_count();
    assert_true(left == 0 || left == MANY);
    assert_int_equal(system("! ip link show | grep -q 'group 14'"), 0);
    run(MANY);
    expect_results(MANY, left ? 0 : -ENODEV);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(many_devices, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(deletions_that_fail, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(many_workers, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(netd_away, netd_set_up, netd_tear_down),
};

NETD_TEST_MAIN(tests)

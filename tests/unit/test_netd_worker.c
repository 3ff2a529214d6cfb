/* SPDX-License-Identifier: Apache-2.0 */
/* The real tunwright-netd and a worker that is not ours: supervision. (What fails: test_netd_failure.c; who survives
 * whom: test_attach.c) */
#include "netd_fixture.h"

/* ---- workers ----------------------------------------------------------------------------------------------------- */

static void worker_life(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 6);
    char status[128];
    struct err err;
    const struct counter_page *page;

    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(kernel->ops->page(kernel, &key.uuid, &page, &err), -ENOENT);
    assert_int_equal(work(STEP_WORKER_START, &key, "{}", "127.0.0.1:5001", 1, NULL), 0);
    struct observed_worker worker = worker_of(&key, status);
    assert_int_equal(worker.state, WORKER_RUNNING);
    assert_string_equal(worker.program, TEST_WORKER);
    assert_string_equal(status, "{\"fds\": 3}");
    assert_int_equal(worker.tag, fnv1a(FNV1A_START, "{}", 2));
    assert_int_equal(page_packets(&key), 1);
    assert_int_equal(work(STEP_WORKER_START, &key, "{}", NULL, 1, &err), -EEXIST);

    /* another one takes its place, with the same page, and the same configuration */
    kill(worker.pid, SIGKILL);
    struct observed_worker next = worker_await(&key, WORKER_RUNNING, worker.pid);
    assert_int_equal(next.restarts, 1);
    assert_int_equal(next.tag, worker.tag);
    assert_int_equal(page_packets(&key), 2);

    /* a new configuration in the same process; one that fails leaves the old one */
    assert_int_equal(work(STEP_WORKER_CONFIGURE, &key, "{\"a\": 1}", "127.0.0.1:5002", 1, NULL), 0);
    worker = worker_of(&key, status);
    assert_int_equal(worker.pid, next.pid);
    assert_int_equal(worker.tag, fnv1a(FNV1A_START, "{\"a\": 1}", 8));
    assert_int_equal(work(STEP_WORKER_CONFIGURE, &key, "{\"fail\": 1}", "127.0.0.1:5002", 1, &err), -EINVAL);
    assert_int_equal(err.code, ERR_WORKER_FAILED);
    assert_string_equal(err.message, "it was told to");
    assert_int_equal(worker_of(&key, status).tag, worker.tag);

    assert_int_equal(stop(&key), 0);
    assert_int_equal(worker_of(&key, status).state, WORKER_STATE_N);
    assert_int_equal(stop(&key), 0);
    assert_int_equal(work(STEP_WORKER_CONFIGURE, &key, "{}", NULL, 1, &err), -ENOENT);

    /* deleting the device ends its worker too */
    assert_int_equal(start(&key, "{}"), 0);
    worker = worker_of(&key, status);
    assert_int_equal(delete (&key, NULL), 0);
    assert_int_equal(kill(worker.pid, 0), -1);
}

/* The answers that netd asks for are no chatter, however many: it never makes a worker wait for those. */
static void configured_all_the_time(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 22);
    int slow = 0;
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(start(&key, "{}"), 0);
    for (int i = 0; i < 1000; i++) {
        int64_t before_ns = clock_monotonic_ns();
        assert_int_equal(work(STEP_WORKER_CONFIGURE, &key, i % 2 ? "{}" : "{\"a\": 1}", NULL, 1, NULL), 0);
        slow += clock_monotonic_ns() - before_ns > 90 * NSEC_PER_MSEC;
    }
    assert_in_range(slow, 0, 10); /* else some twenty; a busy machine has a few of its own */
}

static void worker_programs(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 9);
    char path[160], text[160];
    struct err err;
    struct step step = {.kind = STEP_WORKER_START,
                        .device = key,
                        .worker = {.queues = 1, .config = (char *)(uintptr_t) "{}", .config_length = 2}};
    assert_int_equal(create(&key, 1, NULL), 0);
    snprintf(path, sizeof path, "%s/writable", fixture.worker_dir);
    snprintf(text, sizeof text, "%s/link", fixture.worker_dir);
    assert_int_equal(file_copy("/proc/self/exe", path, 0777), 0);
    assert_int_equal(symlink(TEST_WORKER, text), 0);
    snprintf(path, sizeof path, "%s/plain", fixture.worker_dir);
    assert_int_equal(file_copy("/proc/self/exe", path, 0644), 0);
    static const char *const programs[] = {"nothing", "..", "../" TEST_WORKER, "writable", "link", "plain"};
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        text_copy(step.worker.program, sizeof step.worker.program, programs[i]);
        assert_true(apply(&step, &err) < 0);
        print_message("%s: %s\n", programs[i], err.message);
    }
}

static void queues_change(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 10);
    char status[128];
    struct err err;
    assert_int_equal(create(&key, 2, NULL), 0);
    assert_int_equal(work(STEP_WORKER_START, &key, "{}", NULL, 2, NULL), 0);
    worker_of(&key, status);
    assert_string_equal(status, "{\"fds\": 3}");
    assert_int_equal(work(STEP_WORKER_CONFIGURE, &key, "{\"queues\": 4}", NULL, 4, NULL), 0);
    worker_of(&key, status);
    assert_string_equal(status, "{\"fds\": 5}");
    assert_int_equal(work(STEP_WORKER_CONFIGURE, &key, "{\"queues\": 2}", NULL, 2, NULL), 0);
    worker_of(&key, status);
    assert_string_equal(status, "{\"fds\": 3}");

    struct device_key single = key_of("", "tun1", 11);
    assert_int_equal(create(&single, 1, NULL), 0);
    assert_true(work(STEP_WORKER_START, &single, "{}", NULL, 2, &err) < 0);
    assert_int_equal(work(STEP_WORKER_START, &single, "{}", NULL, 1, NULL), 0);
}

static void chatty_worker(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 12);
    char status[128] = "";
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(start(&key, "{\"chat\": 1}"), 0);
    for (int i = 0; i < 1000 && strcmp(status, "{\"i\": 399}") != 0; i++) {
        worker_of(&key, status);
        wait_ms(50);
    }
    assert_string_equal(status, "{\"i\": 399}");
}

/* Neither its descriptors nor its hanging up keep netd from anything. */
static void worker_that_holds_us_up(void **state)
{
    (void)state;
    NEEDS_NETD();
    static const char *const configs[] = {"{\"linger\": 1}", "{\"chat\": \"and hang up\"}"};
    struct device_key key = key_of("", "tun0", 19);
    assert_int_equal(create(&key, 1, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
        int64_t begin_ns = clock_monotonic_ns();
        assert_int_equal(start(&key, configs[i]), 0);
        long before_ms = netd_busy_ms();
        wait_ms(500);
        assert_in_range(netd_busy_ms() - before_ms, 0, 250);
        worker_await(&key, WORKER_RUNNING, worker_await(&key, WORKER_RUNNING, 0).pid); /* it was ended */
        assert_true(clock_monotonic_ns() - begin_ns < 8 * NSEC_PER_SEC);
        assert_int_equal(stop(&key), 0);
    }
}

/* On a terminal, what it writes must not be what root types. */
static void worker_session(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 20);
    char status[128];
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(start(&key, "{}"), 0);
    int32_t pid = worker_of(&key, status).pid;
    assert_int_equal(getsid(pid), pid);
}

/* ---- a device that others take away ------------------------------------------------------------------------------- */

static void device_deleted_by_hand(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 14);
    char status[128];
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(work(STEP_WORKER_START, &key, "{}", "127.0.0.1:5001", 1, NULL), 0);
    int32_t pid = worker_of(&key, status).pid;
    assert_int_equal(system("ip link delete tun0"), 0);
    worker_await(&key, WORKER_STATE_N, 0);
    assert_int_equal(kill(pid, 0), -1);

    /* at once again: the old worker is waited for */
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(work(STEP_WORKER_START, &key, "{}", "127.0.0.1:5001", 1, NULL), 0);
    assert_int_equal(system("ip link delete tun0"), 0);
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(work(STEP_WORKER_START, &key, "{}", "127.0.0.1:5001", 1, NULL), 0);
}

static void device_moved_by_hand(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 15);
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(start(&key, "{}"), 0);
    assert_int_equal(system("ip netns add red && ip link set tun0 netns red"), 0);
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(start(&key, "{}"), 0);
    assert_int_not_equal(system("ip -n red link show tun0 >/dev/null 2>&1"), 0);
    assert_int_equal(system("ip netns delete red"), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(worker_life, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(worker_programs, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(queues_change, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(configured_all_the_time, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(chatty_worker, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(worker_that_holds_us_up, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(worker_session, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(device_deleted_by_hand, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(device_moved_by_hand, netd_set_up, netd_tear_down),
};

NETD_TEST_MAIN(tests)

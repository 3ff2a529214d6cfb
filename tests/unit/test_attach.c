/* SPDX-License-Identifier: Apache-2.0 */
/* The real tunwright-netd and a worker that is not ours: who survives whom, and what the next netd believes. */
#include "netd_fixture.h"

/* As the daemon does: where netd says "not now", it asks again. */
static int start_when_free(const struct device_key *key, const char *local)
{
    int64_t until_ns = clock_monotonic_ns() + 10 * NSEC_PER_SEC;
    int result;
    while ((result = work(STEP_WORKER_START, key, "{}", local, 1, NULL)) == -EAGAIN && clock_monotonic_ns() < until_ns)
        wait_ms(10);
    return result;
}

static void netd_killed(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 13), other = key_of("", "tun1", 23);
    char status[128];
    struct err err = {0};
    struct observed observed = {0};
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(work(STEP_WORKER_START, &key, "{}", "127.0.0.1:5001", 1, NULL), 0);
    struct observed_worker before = worker_of(&key, status);

    assert_int_equal(netd_end(SIGKILL), -SIGKILL);
    assert_int_equal(kernel->ops->observe(kernel, NULL, 0, &observed, &err), -ENOTCONN);
    assert_int_equal(err.code, ERR_NETD_UNAVAILABLE);
    assert_false(kernel->ops->connected(kernel));
    assert_int_equal(kill(before.pid, 0), 0);

    netd_start();
    bool again = false;
    for (int i = 0; i < 100 && !(again && kernel->ops->connected(kernel)); i++) {
        struct pollfd ready = {.fd = kernel->ops->event_fd(kernel), .events = POLLIN};
        poll(&ready, 1, 100);
        again |= kernel->ops->event_drain(kernel);
    }
    assert_true(again && kernel->ops->connected(kernel));
    struct observed_worker after = worker_of(&key, status);
    assert_int_equal(after.state, WORKER_RUNNING);
    assert_int_equal(after.pid, before.pid);
    assert_int_equal(after.tag, before.tag);
    assert_true(llabs(after.started_ns - before.started_ns) < 2 * NSEC_PER_SEC);
    assert_int_equal(page_packets(&key), 1);

    /* the new one has all that it takes to configure it, and to start another */
    assert_int_equal(work(STEP_WORKER_CONFIGURE, &key, "{\"a\": 1}", "127.0.0.1:5001", 1, NULL), 0);
    kill(before.pid, SIGKILL);
    after = worker_await(&key, WORKER_RUNNING, before.pid);
    assert_int_equal(page_packets(&key), 3);

    /* and a worker that does not answer the next netd is ended. As long as it is dying, there is something to wait for */
    assert_int_equal(netd_end(SIGTERM), 0);
    kill(after.pid, SIGSTOP);
    netd_start();
    assert_int_equal(worker_of(&key, status).state, WORKER_STATE_N);
    assert_int_equal(start_when_free(&key, "127.0.0.1:5001"), 0);

    /* what it had is free for another device as well */
    assert_int_equal(create(&other, 1, NULL), 0);
    after = worker_of(&key, status);
    assert_int_equal(netd_end(SIGTERM), 0);
    kill(after.pid, SIGSTOP);
    netd_start();
    assert_int_equal(start_when_free(&other, "127.0.0.1:5001"), 0);
}

static void liars_are_ended(void **state)
{
    (void)state;
    NEEDS_NETD();
    static const char *const lies[] = {"\"lie-page\"",  "\"lie-queue\"", "\"lie-socket\"",
                                       "\"lie-count\"", "\"lie-head\"",  "\"lie-verb\""};
    struct device_key keys[ARRAY_SIZE(lies)];
    int32_t pids[ARRAY_SIZE(lies)];
    char status[128], text[32];
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        snprintf(text, sizeof text, "tun%zu", i);
        keys[i] = key_of("", text, (uint8_t)(100 + i));
        snprintf(text, sizeof text, "127.0.0.1:%zu", 5001 + i);
        assert_int_equal(create(&keys[i], 1, NULL), 0);
        assert_int_equal(work(STEP_WORKER_START, &keys[i], lies[i], text, 1, NULL), 0);
        pids[i] = worker_of(&keys[i], status).pid;
    }
    assert_int_equal(netd_end(SIGKILL), -SIGKILL);
    netd_start();
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        if (worker_of(&keys[i], status).state != WORKER_STATE_N)
            fail_msg("%s was believed", lies[i]);
        for (int wait = 0; wait < 100 && kill(pids[i], 0) == 0; wait++)
            wait_ms(20);
        assert_int_equal(kill(pids[i], 0), -1);
        assert_int_equal(start(&keys[i], "{}"), 0);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(netd_killed, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(liars_are_ended, netd_set_up, netd_tear_down),
};

NETD_TEST_MAIN(tests)

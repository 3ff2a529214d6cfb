/* SPDX-License-Identifier: Apache-2.0 */
/* The real tunwright-netd and a worker that is not ours, which fails, ends again and again, or never answers. */
#include "netd_fixture.h"

static void worker_fails(void **state)
{
    (void)state;
    NEEDS_NETD();
    static const char *const configs[] = {"{\"fail\": 1}", "{\"exit\": 1}", "{\"mute\": 1}"};
    struct device_key key = key_of("", "tun0", 7), second = key_of("", "tun1", 8);
    char status[128];
    struct err err;
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(create(&second, 1, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
        assert_true(work(STEP_WORKER_START, &key, configs[i], "127.0.0.1:5001", 1, &err) < 0);
        assert_int_equal(err.code, ERR_WORKER_FAILED);
        print_message("%s: %s\n", configs[i], err.message);
        assert_int_equal(worker_of(&key, status).state, WORKER_STATE_N);
    }

    /* nothing is left: the address is free. And then it is not */
    assert_int_equal(work(STEP_WORKER_START, &key, "{}", "127.0.0.1:5001", 1, NULL), 0);
    assert_int_equal(work(STEP_WORKER_START, &second, "{}", "127.0.0.1:5001", 1, &err), -EADDRINUSE);
    assert_int_equal(err.code, ERR_ADDRESS_IN_USE);
    assert_string_equal(err.operation, "bind");
    assert_int_equal(work(STEP_WORKER_START, &second, "{}", "192.0.2.1:5001", 1, &err), -EADDRNOTAVAIL);
    assert_int_equal(err.code, ERR_KERNEL_REFUSED);

    /* one that does not answer a configuration is replaced by one that has the old one */
    int32_t pid = worker_of(&key, status).pid;
    assert_int_equal(work(STEP_WORKER_CONFIGURE, &key, "{\"mute\": 1}", "127.0.0.1:5001", 1, &err), -ETIMEDOUT);
    struct observed_worker worker = worker_await(&key, WORKER_RUNNING, pid);
    assert_int_equal(worker.tag, fnv1a(FNV1A_START, "{}", 2));

    /* one that ends again and again is started less and less often, and takes a better configuration at once */
    assert_int_equal(work(STEP_WORKER_START, &second, "{\"crash\": 1}", NULL, 1, NULL), 0);
    worker_await(&second, WORKER_RESTARTING, 0);
    wait_ms(1000);
    worker = worker_of(&second, status);
    assert_in_range(worker.restarts, 2, 5);
    assert_string_equal(worker.detail, "exited with status 5");
    assert_int_equal(work(STEP_WORKER_CONFIGURE, &second, "{}", NULL, 1, NULL), 0);
    worker_await(&second, WORKER_RUNNING, 0);
}

/* A client asks for a configuration and dies before the worker has taken it. To the next client that is no conflict,
 * but something to wait for, and the address is free once it is over. */
static void configured_by_the_dead(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 21);
    struct ipc_request hello = {.magic = IPC_MAGIC, .op = IPC_HELLO, .serial = 1, .size = sizeof hello};
    struct ipc_request request;
    struct err err = {0};
    int fd = -1, result;
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(work(STEP_WORKER_START, &key, "{}", "127.0.0.1:5001", 1, NULL), 0);

    struct step step = work_step(STEP_WORKER_CONFIGURE, &key, "{\"mute\": 1}", "127.0.0.1:5002", 1);
    ipc_request_from_step(&step, 2, &request);
    assert_int_equal(seqpacket_connect(fixture.socket, &fd, NULL), 0);
    assert_int_equal(seqpacket_send(fd, &hello, sizeof hello, NULL, 0, NULL, 0, 0), 0);
    assert_true(recv(fd, &(struct ipc_reply){0}, sizeof(struct ipc_reply), 0) > 0);
    assert_int_equal(
        seqpacket_send(fd, &request, sizeof request, step.worker.config, step.worker.config_length, NULL, 0, 0), 0);
    close(fd);
    for (int i = 0; (result = work(STEP_WORKER_CONFIGURE, &key, "{}", "127.0.0.1:5001", 1, &err)) == 0 && i < 100; i++)
        wait_ms(10); /* until netd has read what the dead one sent */
    assert_int_equal(result, -EAGAIN);
    int64_t until_ns = clock_monotonic_ns() + (WORKER_READY_TIMEOUT_MS + 2000) * NSEC_PER_MSEC;
    while ((result = work(STEP_WORKER_CONFIGURE, &key, "{}", "127.0.0.1:5002", 1, &err)) == -EAGAIN &&
           clock_monotonic_ns() < until_ns)
        wait_ms(50);
    if (result < 0)
        fail_msg("%s", err.message);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(worker_fails, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(configured_by_the_dead, netd_set_up, netd_tear_down),
};

NETD_TEST_MAIN(tests)

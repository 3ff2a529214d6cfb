/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel in memory: refusals and side effects (the scripts), and the provider around them. */
#include "kernel_script.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

static struct kernel_fake *fake_with_others(void)
{
    struct kernel_fake *fake = kernel_fake_new();
    assert_non_null(fake);
    assert_true(script_add_other(fake, "lo"));
    assert_true(script_add_other(fake, "br0"));
    return fake;
}

static void run_line(struct kernel_fake *fake, const char *text, int expected)
{
    struct step step;
    struct err err = {0};
    if (!script_step(text, &step))
        fail_msg("not a step: %s", text);
    int error = fake->kernel.ops->apply(&fake->kernel, &step, &err);
    if (error != -expected)
        fail_msg("%s: %s instead of %s", text, errno_name(error), errno_name(expected));
    if (error)
        assert_true(err.message[0] != '\0' && err.code != ERR_NONE);
}

static void run_script(const struct script_line *lines, size_t count)
{
    struct kernel_fake *fake = fake_with_others();
    size_t done = 0;
    for (size_t i = 0; i < count; i++) {
        run_line(fake, lines[i].text, lines[i].error);
        done += lines[i].error == 0;
    }
    assert_int_equal(fake->applied, done);
    assert_int_equal(fake->log_count, done);
    fake->kernel.ops->close(&fake->kernel);
}

static void test_scripts(void **state)
{
    (void)state;
    run_script(SCRIPT_DEVICES, ARRAY_SIZE(SCRIPT_DEVICES));
    run_script(SCRIPT_HANDOVER, ARRAY_SIZE(SCRIPT_HANDOVER));
    run_script(SCRIPT_BRIDGE, ARRAY_SIZE(SCRIPT_BRIDGE));
    run_script(SCRIPT_ADDRESSES, ARRAY_SIZE(SCRIPT_ADDRESSES));
    run_script(SCRIPT_ROUTES, ARRAY_SIZE(SCRIPT_ROUTES));
    run_script(SCRIPT_UNATTACHED, ARRAY_SIZE(SCRIPT_UNATTACHED));
}

static void test_link_local(void **state)
{
    (void)state;
    struct kernel_fake *fake = fake_with_others();
    run_line(fake, "tun0 create", 0);
    run_line(fake, "tun0 up", 0);
    const struct observed_link *link = observed_link_find(&fake->state, "", "tun0");
    assert_int_equal(link->address_count, 1);
    assert_true(link->addresses[0].by_kernel);
    assert_false(link->addresses[0].ours);
    assert_true(link->up && link->carrier);
    run_line(fake, "tun0 mtu 1000", 0);
    assert_int_equal(observed_link_find(&fake->state, "", "tun0")->address_count, 0);
    run_line(fake, "tun0 mtu 1400", 0);
    assert_int_equal(observed_link_find(&fake->state, "", "tun0")->address_count, 1);
    fake->kernel.ops->close(&fake->kernel);
}

static void test_names_are_not_taken_over(void **state)
{
    (void)state;
    struct kernel_fake *fake = fake_with_others();
    struct err err = {0};
    struct step step;
    assert_true(script_step("br0 create", &step));
    assert_int_equal(fake->kernel.ops->apply(&fake->kernel, &step, &err), -EEXIST);
    assert_int_equal(err.code, ERR_FOREIGN_DEVICE);
    assert_int_equal(err.sys_errno, EEXIST);
    run_line(fake, "tun0 create", 0);
    assert_true(script_step("tun0 up", &step));
    step.device.uuid.bytes[15] ^= 1;
    assert_int_equal(fake->kernel.ops->apply(&fake->kernel, &step, &err), -ENODEV);
    fake->kernel.ops->close(&fake->kernel);
}

static void test_observe_copies(void **state)
{
    (void)state;
    struct kernel_fake *fake = fake_with_others();
    run_line(fake, "tun0 create", 0);
    run_line(fake, "tun0 address+ 10.0.0.1/24", 0);
    run_line(fake, "tun0 up", 0);
    run_line(fake, "tun0 route+ 10.9.0.0/16", 0);
    run_line(fake, "tun0 route+ 10.8.0.0/16 type blackhole", 0);
    struct step step;
    assert_true(script_step("tap0 create", &step));
    memcpy(step.device.netns, "blue", 5);
    assert_int_equal(fake->kernel.ops->apply(&fake->kernel, &step, NULL), 0);

    CLEANUP(observed_done) struct observed observed = {0};
    assert_int_equal(fake->kernel.ops->observe(&fake->kernel, NULL, 0, &observed, NULL), 0);
    run_line(fake, "tun0 delete", 0);
    const struct observed_link *link = observed_link_find(&observed, "", "tun0");
    assert_non_null(link);
    assert_int_equal(link->route_count, 1);
    assert_int_equal(link->address_count, 2);
    assert_int_equal(observed.unattached_count, 1);
    assert_null(observed_link_find(&observed, "blue", "tap0"));
    struct uuid uuid = script_uuid("tun0");
    assert_ptr_equal(observed_link_of(&observed, &uuid), link);

    observed_done(&observed);
    const char *names[] = {"blue"};
    assert_int_equal(fake->kernel.ops->observe(&fake->kernel, names, 1, &observed, NULL), 0);
    assert_non_null(observed_link_find(&observed, "blue", "tap0"));
    assert_null(observed_link_find(&observed, "", "tun0"));
    fake->kernel.ops->close(&fake->kernel);
}

static void test_workers(void **state)
{
    (void)state;
    struct kernel_fake *fake = fake_with_others();
    struct kernel *kernel = &fake->kernel;
    struct uuid uuid = script_uuid("tun0");
    char config[] = "{}";
    struct step step = {.kind = STEP_WORKER_START, .device.name = "tun0", .device.uuid = uuid};
    step.worker = (struct worker_spec){.program = "tunwright-worker", .tag = 5, .config = config, .config_length = 2};
    const struct counter_page *page = NULL;
    assert_int_equal(kernel->ops->page(kernel, &uuid, &page, NULL), -ENOENT);
    assert_int_equal(kernel->ops->apply(kernel, &step, NULL), -ENODEV);
    run_line(fake, "tun0 create", 0);
    assert_int_equal(kernel->ops->apply(kernel, &step, NULL), 0);
    assert_int_equal(kernel->ops->apply(kernel, &step, NULL), -EEXIST);

    CLEANUP(observed_done) struct observed observed = {0};
    assert_int_equal(kernel->ops->observe(kernel, NULL, 0, &observed, NULL), 0);
    const struct observed_worker *worker = observed_worker_of(&observed, &uuid);
    assert_non_null(worker);
    assert_int_equal(worker->state, WORKER_RUNNING);
    assert_int_equal(worker->tag, 5);
    assert_true(worker->pid > 0);
    assert_string_equal(worker->program, "tunwright-worker");

    step.kind = STEP_WORKER_CONFIGURE;
    step.worker.tag = 6;
    assert_int_equal(kernel->ops->apply(kernel, &step, NULL), 0);
    assert_int_equal(observed_worker_of(&fake->state, &uuid)->tag, 6);
    assert_null(fake->log[fake->log_count - 1].worker.config);

    assert_int_equal(kernel->ops->page(kernel, &uuid, &page, NULL), 0);
    assert_int_equal(page->magic, COUNTER_PAGE_MAGIC);
    assert_int_equal(page->version, COUNTER_PAGE_VERSION);
    assert_int_equal(page->slot_count, COUNTER_SLOTS);
    munmap((void *)(uintptr_t)page, COUNTER_PAGE_SIZE);

    struct link_stats stats = {.rx_packets = 1};
    assert_int_equal(kernel->ops->stats(kernel, "", 2, &stats), 0);
    assert_int_equal(stats.rx_packets, 0);

    struct step stop = {.kind = STEP_WORKER_STOP, .device = step.device};
    assert_int_equal(kernel->ops->apply(kernel, &stop, NULL), 0);
    assert_int_equal(kernel->ops->apply(kernel, &stop, NULL), -ENOENT);
    kernel->ops->close(kernel);
}

static void test_faults_and_events(void **state)
{
    (void)state;
    struct kernel_fake *fake = fake_with_others();
    struct kernel *kernel = &fake->kernel;
    assert_false(kernel->ops->event_drain(kernel));
    fake->fail_at = 2;
    fake->fail_errno = EPERM;
    run_line(fake, "tun0 create", 0);
    run_line(fake, "tun0 up", EPERM);
    run_line(fake, "tun0 up", 0);
    assert_int_equal(fake->applied, 2);
    struct pollfd poll_fd = {.fd = kernel->ops->event_fd(kernel), .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 0), 1);
    assert_true(kernel->ops->event_drain(kernel));
    assert_false(kernel->ops->event_drain(kernel));

    fake->disconnected = true;
    struct observed observed = {0};
    struct err err = {0};
    assert_false(kernel->ops->connected(kernel));
    assert_int_equal(kernel->ops->observe(kernel, NULL, 0, &observed, &err), -ENOTCONN);
    assert_int_equal(err.code, ERR_NETD_UNAVAILABLE);
    run_line(fake, "tun0 down", ENOTCONN);
    fake->disconnected = false;
    assert_true(kernel->ops->connected(kernel));
    kernel->ops->close(kernel);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(step_kind_name(STEP_WORKER_STOP), "worker_stop");
    assert_string_equal(step_kind_name(STEP_ROUTE_ADD), "route_add");
    assert_string_equal(step_kind_name(STEP_KIND_N), "unknown");
    assert_string_equal(worker_state_name(WORKER_RESTARTING), "restarting");
    assert_string_equal(worker_state_name(WORKER_STATE_N), "unknown");
    struct step step = {.kind = STEP_WORKER_START};
    step.worker.config = strdup("{}");
    step_done(&step);
    step_done(&step);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_link_local),
        cmocka_unit_test(test_names_are_not_taken_over),
        cmocka_unit_test(test_observe_copies),
        cmocka_unit_test(test_workers),
        cmocka_unit_test(test_faults_and_events),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

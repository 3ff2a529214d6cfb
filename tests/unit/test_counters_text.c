/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and rates as text. */
#include "http/counters_text.h"

#include "tunwright/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct device tun0 = {.name = "tun0", .worker = {.type = WORKER_ECHO}};
static const struct snapshot_device device = {
    .stored = {.device = &tun0, .uuid = {{1, 2, 3}}}, .present = true, .ifindex = 7};

/* Prints it, and checks that it is JSON. Owned. */
static char *printed(const struct counters *counters, const struct counters_mark *before,
                     const struct counters_mark *now)
{
    struct buf text = {0};
    if (now)
        counters_print_with_rates(&text, &device, counters, before, now);
    else
        counters_print(&text, &device, counters);
    char *out = buf_take(&text);
    assert_int_equal(json_check(out, strlen(out), NULL), 0);
    return out;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("%s is not in %s", part, text);
}

static void test_integers_are_whole(void **state)
{
    (void)state;
    struct counters counters = {.time_ns = 1767323045678000000,
                                .has_kernel = true,
                                .kernel = {.rx_packets = UINT64_MAX, .tx_bytes = 9007199254740993},
                                .has_worker = true};
    counters.worker.drops[DROP_ECN] = 1000000000000000000;
    char *text CLEANUP(text_done) = printed(&counters, NULL, NULL);
    assert_has(text,
               "{\"device\":\"tun0\",\"time\":\"2026-01-02T03:04:05.678Z\",\"since\":\"1970-01-01T00:00:00.000Z\"");
    assert_has(text, "\"rx_packets\":18446744073709551615,");
    assert_has(text, "\"tx_bytes\":9007199254740993,");
    assert_has(text, "\"ecn\":1000000000000000000,");
    assert_has(text, "\"type\":\"echo\",\"device_in\":{\"packets\":0,\"bytes\":0}");
}

static void test_nothing_there(void **state)
{
    (void)state;
    const struct counters counters = {.time_ns = 0};
    char *text CLEANUP(text_done) = printed(&counters, NULL, NULL);
    assert_string_equal(text,
                        "{\"device\":\"tun0\",\"time\":\"1970-01-01T00:00:00.000Z\",\"since\":null,\"kernel\":null,"
                        "\"worker\":null}");
}

static void test_rates(void **state)
{
    (void)state;
    struct counters first = {.has_kernel = true, .kernel = {.rx_packets = 10}, .has_worker = true, .since_ns = 5};
    struct counters then = first;
    then.kernel.rx_packets = 13;
    then.kernel.rx_bytes = 8000000000000000;
    then.kernel.tx_bytes = UINT64_MAX; /* as much as can be told */
    then.worker.wire_out.packets = 1;
    then.worker.drops[DROP_TOO_BIG] = 2;
    then.worker.drops[DROP_LOOP] = 4;
    struct counters_mark before = counters_mark_of(&device, &first, 0);
    struct counters_mark now = counters_mark_of(&device, &then, 2 * NSEC_PER_SEC);
    char *text CLEANUP(text_done) = printed(&then, &before, &now);
    assert_has(text,
               "\"rates\":{\"interval_s\":2.000,\"kernel\":{\"rx_packets\":1.500,\"rx_bytes\":4000000000000000.000,");
    assert_has(text, "\"tx_bytes\":18446744073709551.615}");
    assert_has(text, "\"wire_out\":{\"packets\":0.500,\"bytes\":0.000},\"drops\":3.000}}}");
}

static void test_rates_that_cannot_be_told(void **state)
{
    (void)state;
    const struct counters counters = {.has_kernel = true, .has_worker = true, .since_ns = 5};
    const struct counters_mark now = counters_mark_of(&device, &counters, NSEC_PER_SEC);
    struct counters_mark before = counters_mark_of(&device, &counters, 0);

    char *first CLEANUP(text_done) = printed(&counters, NULL, &now);
    assert_has(first, ",\"rates\":null}");
    before.uuid.bytes[0]++; /* another device of that name */
    char *other CLEANUP(text_done) = printed(&counters, &before, &now);
    assert_has(other, ",\"rates\":null}");
    before = counters_mark_of(&device, &counters, 0);
    before.ifindex++; /* made anew in the kernel */
    char *kernel CLEANUP(text_done) = printed(&counters, &before, &now);
    assert_has(kernel, "\"kernel\":null,\"worker\":{\"device_in\":{\"packets\":0.000");
    before = counters_mark_of(&device, &counters, 0);
    before.since_ns++; /* another counter page */
    char *worker CLEANUP(text_done) = printed(&counters, &before, &now);
    assert_has(worker, "\"tx_bytes\":0.000},\"worker\":null}}");
    before = now; /* no time passed */
    char *instant CLEANUP(text_done) = printed(&counters, &before, &now);
    assert_has(instant, ",\"rates\":null}");
}

static void test_what_shrank_is_no_rate(void **state)
{
    (void)state;
    const struct counters first = {.has_kernel = true, .kernel = {.rx_packets = 10}};
    const struct counters then = {.has_kernel = true, .kernel = {.rx_packets = 9}};
    const struct counters_mark before = counters_mark_of(&device, &first, 0);
    const struct counters_mark now = counters_mark_of(&device, &then, NSEC_PER_SEC);
    char *text CLEANUP(text_done) = printed(&then, &before, &now);
    assert_has(text, "{\"rx_packets\":0.000,");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_are_whole),
        cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_rates_that_cannot_be_told),
        cmocka_unit_test(test_what_shrank_is_no_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

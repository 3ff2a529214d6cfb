/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics, as text: what a scraper would trip over. */
#include "http/event_filter.h"
#include "http/metrics.h"

#include "tunwright/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct label labels[] = {
    {.key = "site", .value = "a \"b\" \\ c"},
    {.key = "town", .value = "K\xc3\xb6ln"},
};
static struct device tun0 = {.name = "tun0",
                             .kind = DEVICE_TUN,
                             .labels = labels,
                             .label_count = ARRAY_SIZE(labels),
                             .worker = {.type = WORKER_ECHO}};
static struct device tun1 = {.name = "tun1", .kind = DEVICE_TAP, .netns = "blue"};
static struct snapshot_device devices[] = {
    {.stored = {.device = &tun0, .generation = 7},
     .state = STATE_READY,
     .present = true,
     .carrier = true,
     .mtu = 1500,
     .has_worker = true,
     .worker_state = WORKER_RUNNING,
     .worker_restarts = 3,
     .worker_started_ns = 1767323045678000000},
    {.stored = {.device = &tun1, .generation = 1}, .state = STATE_FAILED},
};
static struct counters counters[] = {
    {.has_kernel = true, .kernel = {.rx_packets = UINT64_MAX, .tx_dropped = 5}, .has_worker = true},
    {.has_kernel = false},
};
static struct answer_counts answered;
static struct event_filter filter;
static const struct snapshot snapshot = {.netd_connected = true,
                                         .settled = true,
                                         .revision = 12,
                                         .is_pending = true,
                                         .pending_deadline_ns = 1767323045078000000,
                                         .device_count = 2,
                                         .devices = devices};

static char *printed(void)
{
    const struct metrics metrics = {.snapshot = &snapshot,
                                    .counters = counters,
                                    .filter = &filter,
                                    .answered = &answered,
                                    .process = {.start_time_s = 12.5, .open_fds = 9},
                                    .newest_event = 42,
                                    .streams = 2,
                                    .connections = 5};
    struct buf text = {0};
    counters[0].worker.drops[DROP_TOO_BIG] = 11;
    metrics_print(&metrics, &text);
    return buf_take(&text);
}

static void assert_line(const char *text, const char *line)
{
    char whole[512];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    if (!strstr(text, whole))
        fail_msg("there is no line %s in\n%s", line, text);
}

static void test_values(void **state)
{
    (void)state;
    answer_counts_add(&answered, "GET", 200);
    answer_counts_add(&answered, "GET", 204);
    answer_counts_add(&answered, "BREW", 405);
    char *text CLEANUP(text_done) = printed();
    assert_line(text, "tunwright_netd_connected 1");
    assert_line(text, "tunwright_store_writable 0");
    assert_line(text, "tunwright_config_revision 12");
    assert_line(text, "tunwright_confirmation_pending 1");
    assert_line(text, "tunwright_confirmation_deadline_seconds 1767323045.078");
    assert_line(text, "tunwright_events_newest_sequence 42");
    assert_line(text, "tunwright_http_requests_total{method=\"GET\",status=\"2xx\"} 2");
    assert_line(text, "tunwright_http_requests_total{method=\"other\",status=\"4xx\"} 1");
    assert_line(text, "tunwright_http_requests_total{method=\"PUT\",status=\"5xx\"} 0");
    assert_line(text, "tunwright_http_streams 2");
    assert_line(text, "process_start_time_seconds 12.500");
    assert_line(text, "tunwright_device_state{device=\"tun0\",state=\"ready\"} 1");
    assert_line(text, "tunwright_device_state{device=\"tun0\",state=\"failed\"} 0");
    assert_line(text, "tunwright_devices{state=\"failed\"} 1");
    assert_line(text, "tunwright_devices{state=\"pending\"} 0");
    assert_line(text, "tunwright_device_receive_packets_total{device=\"tun0\"} 18446744073709551615");
    assert_line(text, "tunwright_device_transmit_drops_total{device=\"tun0\"} 5");
    assert_line(text, "tunwright_worker_restarts_total{device=\"tun0\"} 3");
    assert_line(text, "tunwright_worker_state{device=\"tun0\",state=\"running\"} 1");
    assert_line(text, "tunwright_worker_start_time_seconds{device=\"tun0\"} 1767323045.678");
    assert_line(text, "tunwright_worker_dropped_packets_total{device=\"tun0\",reason=\"too_big\"} 11");
    /* what is not there has no sample: not a zero that was never counted */
    assert_null(strstr(text, "tunwright_device_receive_packets_total{device=\"tun1\"}"));
    assert_null(strstr(text, "tunwright_worker_restarts_total{device=\"tun1\"}"));
}

static void test_escapes(void **state)
{
    (void)state;
    char *text CLEANUP(text_done) = printed();
    assert_line(text, "tunwright_device_label{device=\"tun0\",key=\"site\",value=\"a \\\"b\\\" \\\\ c\"} 1");
    assert_line(text, "tunwright_device_label{device=\"tun0\",key=\"town\",value=\"K\xc3\xb6ln\"} 1");
}

static void test_filter(void **state)
{
    (void)state;
    strcpy(filter.device, "tun1");
    char *text CLEANUP(text_done) = printed();
    filter.device[0] = '\0';
    assert_null(strstr(text, "tun0"));
    assert_line(text, "tunwright_devices{state=\"failed\"} 1");
    assert_line(text, "tunwright_devices{state=\"ready\"} 0");
}

/* Each sample stands below the HELP and TYPE of its own metric, which come once; counters, and nothing else, end in
 * _total. */
static void test_form(void **state)
{
    (void)state;
    char *text CLEANUP(text_done) = printed();
    char seen[128][80], name[80] = "";
    size_t count = 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) && *line;) {
        char word[80], type[16];
        if (sscanf(line, "# HELP %79s", word) == 1) {
            for (size_t i = 0; i < count; i++)
                assert_string_not_equal(seen[i], word);
            assert_true(count < ARRAY_SIZE(seen));
            strcpy(seen[count++], word);
            strcpy(name, word);
            assert_int_equal(line[strlen(line) - 1], '.');
        } else if (sscanf(line, "# TYPE %79s %15s", word, type) == 2) {
            assert_string_equal(word, name);
            size_t length = strlen(name);
            bool is_total = length > 6 && !strcmp(name + length - 6, "_total");
            assert_int_equal(is_total, !strcmp(type, "counter"));
        } else {
            assert_int_equal(strncmp(line, name, strlen(name)), 0);
            assert_non_null(strchr("{ ", line[strlen(name)]));
        }
    }
    assert_true(count > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Who is shown which device and which event. */
#include "http/event_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct label berlin = {.key = "site", .value = "berlin"}, oslo = {.key = "site", .value = "oslo"};
static struct device tun0 = {.name = "tun0", .labels = &berlin, .label_count = 1};
static struct device tun1 = {.name = "tun1", .labels = &oslo, .label_count = 1};
static struct snapshot_device devices[] = {{.stored = {.device = &tun0}}, {.stored = {.device = &tun1}}};
static const struct snapshot snapshot = {.device_count = 2, .devices = devices};

static struct event_filter *filter_of(const char *device, const char *wanted, const char *own)
{
    struct event_filter *filter = event_filter_new();
    assert_non_null(filter);
    strcpy(filter->device, device);
    assert_int_equal(selector_parse(wanted, &filter->wanted, NULL), 0);
    assert_int_equal(selector_parse(own, &filter->own, NULL), 0);
    return filter;
}

static bool takes(const char *device, const char *wanted, const char *own, enum event_type type, const char *about)
{
    struct event_filter *filter = filter_of(device, wanted, own);
    struct event event = {.type = type};
    strcpy(event.device, about);
    bool taken = event_filter_takes(filter, &snapshot, &event);
    event_filter_release(filter);
    return taken;
}

static void test_events(void **state)
{
    (void)state;
    static const struct {
        const char *device, *wanted, *own, *about;
        bool taken, deletion_taken;
    } rows[] = {
        {"", "", "", "tun0", true, true},
        {"", "", "", "", true, true},
        {"", "", "", "gone", true, true},
        {"tun0", "", "", "tun0", true, true},
        {"tun0", "", "", "tun1", false, false},
        {"tun0", "", "", "", false, false},
        {"gone", "", "", "gone", true, true},
        {"", "site=berlin", "", "tun0", true, true},
        {"", "site=berlin", "", "tun1", false, false},
        {"", "site=berlin", "", "gone", false, true},
        {"", "site=berlin", "", "", false, false},
        {"", "", "site=oslo", "tun1", true, true},
        {"", "", "site=oslo", "tun0", false, false},
        {"", "", "site=oslo", "gone", false, false},
        {"", "", "site=oslo", "", false, false},
        {"", "site", "site=oslo", "tun0", false, false},
        {"", "site", "site=oslo", "tun1", true, true},
        {"gone", "", "site=oslo", "gone", false, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (takes(rows[i].device, rows[i].wanted, rows[i].own, EVENT_DEVICE_CHANGED, rows[i].about) != rows[i].taken)
            fail_msg("row %zu, a change of \"%s\"", i, rows[i].about);
        if (takes(rows[i].device, rows[i].wanted, rows[i].own, EVENT_DEVICE_DELETED, rows[i].about) !=
            rows[i].deletion_taken)
            fail_msg("row %zu, a deletion of \"%s\"", i, rows[i].about);
    }
}

static void test_tokens_are_for_admins(void **state)
{
    (void)state;
    for (int sees = 0; sees < 2; sees++)
        for (int type = 0; type < EVENT_TYPE_N; type++) {
            struct event_filter *filter = filter_of("", "", "");
            struct event event = {.type = (enum event_type)type};
            filter->sees_tokens = sees;
            bool is_hidden = !sees && (type == EVENT_TOKEN_CREATED || type == EVENT_TOKEN_DELETED);
            assert_int_equal(event_filter_takes(filter, &snapshot, &event), !is_hidden);
            event_filter_release(filter);
        }
}

/* Who may see all devices sees what a name stood for before; who may not sees what the device itself did. */
static void test_who_had_the_name_before(void **state)
{
    (void)state;
    static const char *const owns[] = {"", "site=berlin"};
    devices[0].stored.created_ns = 100;
    for (size_t i = 0; i < ARRAY_SIZE(owns); i++)
        for (int64_t time_ns = 99; time_ns <= 101; time_ns++) {
            struct event_filter *filter = filter_of("", "site", owns[i]);
            struct event event = {.type = EVENT_DEVICE_STATE, .device = "tun0", .time_ns = time_ns};
            assert_int_equal(event_filter_takes(filter, &snapshot, &event), !*owns[i] || time_ns >= 100);
            event_filter_release(filter);
        }
    devices[0].stored.created_ns = 0;
}

static void test_equal(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"", "", ""},   {"tun0", "", ""}, {"", "a=b", ""}, {"", "a!=b", ""},  {"", "a", ""},
        {"", "!a", ""}, {"", "", "a=b"},  {"", "a=c", ""}, {"", "a=b,c", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (size_t j = 0; j < ARRAY_SIZE(rows); j++) {
            struct event_filter *a = filter_of(rows[i][0], rows[i][1], rows[i][2]);
            struct event_filter *b = filter_of(rows[j][0], rows[j][1], rows[j][2]);
            assert_int_equal(event_filter_equal(a, b), i == j);
            a->sees_tokens = true;
            assert_false(event_filter_equal(a, b));
            event_filter_release(a);
            event_filter_release(b);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_tokens_are_for_admins),
        cmocka_unit_test(test_who_had_the_name_before),
        cmocka_unit_test(test_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A list in pieces: what the query may say, and the path of the next piece. */
#include "http/page.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_page_next(void **state)
{
    (void)state;
    static const struct {
        const char *target, *key, *value, *next;
    } cases[] = {
        {"/v1/devices", "cursor", "tun0", "/v1/devices?cursor=tun0"},
        {"/v1/devices?limit=2", "cursor", "tun0", "/v1/devices?limit=2&cursor=tun0"},
        {"/v1/devices?cursor=a&limit=2", "cursor", "b", "/v1/devices?limit=2&cursor=b"},
        {"/v1/devices?selector=site=berlin,!old&limit=2", "cursor", "b",
         "/v1/devices?selector=site=berlin,!old&limit=2&cursor=b"},
        {"/v1/devices?selector=a%3D1%262%2c%21b", "cursor", "b", "/v1/devices?selector=a=1%262,!b&cursor=b"},
        {"/v1/devices?selector=site=K%c3%B6ln%20%25", "cursor", "b",
         "/v1/devices?selector=site=K%C3%B6ln%20%25&cursor=b"},
        {"/v1/%64evices?a%26b=c", "after", "12", "/v1/devices?a%26b=c&after=12"},
        {"/a%2Fb/%3F/%23", "after", "1", "/a%2Fb/%3F/%23?after=1"},
        {"/x?flag", "after", "1", "/x?flag=&after=1"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct target target;
        assert_int_equal(target_parse(cases[i].target, &target, NULL), 0);
        char *next = page_next(&target, cases[i].key, cases[i].value);
        assert_non_null(next);
        assert_string_equal(next, cases[i].next);
        free(next);
    }
}

/* Whatever was understood is understood in the same way again, and stays as long as it is. */
static void test_page_next_is_read_alike(void **state)
{
    (void)state;
    char raw[64], value[2] = "";
    for (int c = 0x20; c < 0x7f; c++) {
        struct target target, again;
        snprintf(raw, sizeof raw, "/v1/x?selector=%%%02x&limit=1", (unsigned)c);
        assert_int_equal(target_parse(raw, &target, NULL), 0);
        char *next = page_next(&target, "cursor", "end");
        assert_non_null(next);
        if (target_parse(next, &again, NULL))
            fail_msg("%s is no target", next);
        value[0] = (char)c;
        assert_string_equal(target_query_find(&again, "selector"), value);
        assert_string_equal(target_query_find(&again, "limit"), "1");
        assert_string_equal(target_query_find(&again, "cursor"), "end");
        assert_true(strlen(next) <= strlen(raw) + strlen("&cursor=end"));
        char *twice = page_next(&again, "cursor", "end");
        assert_non_null(twice);
        assert_string_equal(twice, next);
        free(twice);
        free(next);
    }
}

static void test_page_numbers(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "limit=0",   "limit=1001", "limit=",  "limit=-1", "limit=1e2", "after=-1", "after=9223372036854775808",
        "after=0x1", "after=",     "after=01"};
    struct target target;
    struct err e;
    size_t limit;
    uint64_t after;
    assert_int_equal(target_parse("/x", &target, NULL), 0);
    assert_int_equal(page_limit(&target, 7, &limit, NULL), 0);
    assert_int_equal(limit, 7);
    assert_int_equal(page_after(&target, &after, NULL), 0);
    assert_int_equal(after, 0);
    assert_int_equal(target_parse("/x?limit=1000&after=9223372036854775807", &target, NULL), 0);
    assert_int_equal(page_limit(&target, 7, &limit, NULL), 0);
    assert_int_equal(limit, 1000);
    assert_int_equal(page_after(&target, &after, NULL), 0);
    assert_true(after == INT64_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char path[64];
        snprintf(path, sizeof path, "/x?%s", bad[i]);
        assert_int_equal(target_parse(path, &target, NULL), 0);
        e = (struct err){0};
        if (!page_limit(&target, 0, &limit, &e) && !page_after(&target, &after, &e))
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(e.code, ERR_INVALID_QUERY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_next),
        cmocka_unit_test(test_page_next_is_read_alike),
        cmocka_unit_test(test_page_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

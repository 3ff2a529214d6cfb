/* SPDX-License-Identifier: Apache-2.0 */
/* Tables, figures, and what strangers wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/figure.h"
#include "cli/plain.h"
#include "cli/plan_text.h"
#include "cli/table.h"
#include "cli/value_text.h"

#include <cjson/cJSON.h>
#include <locale.h>
#include <math.h>
#include <string.h>

static void is_plain(const char *text, size_t length, enum plain_keep keep, const char *expected)
{
    struct buf out = {0};

    buf_add_text(&out, "");
    plain_add(&out, text, length, keep);
    assert_string_equal(out.data, expected);
    buf_done(&out);
}
#define PLAIN(text, expected) is_plain(text, sizeof(text) - 1, PLAIN_LINE, expected)

static void test_plain(void **state)
{
    (void)state;
    PLAIN("tun0 \xc3\xa4 \xe6\xbc\xa2 \xf0\x9f\x98\x80", "tun0 \xc3\xa4 \xe6\xbc\xa2 \xf0\x9f\x98\x80");
    PLAIN("a\033[2Jb", "a\\u001b[2Jb");
    PLAIN("a\r\n\tb\x7f", "a\\u000d\\u000a\\u0009b\\u007f");
    is_plain("a\nb\r", 4, PLAIN_LINES, "a\nb\\u000d");
    PLAIN("a\0b", "a\\u0000b");
    PLAIN("\xc2\x9b"
          "31m",
          "\\u009b31m");                         /* CSI of one character */
    PLAIN("\xe2\x80\xae", "\\u202e");            /* writes from right to left */
    PLAIN("\xe2\x80\xa8", "\\u2028");            /* a line separator */
    PLAIN("\xff\xc3", "\\u00ff\\u00c3");         /* no UTF-8 */
    PLAIN("\xc0\x9b[1m", "\\u00c0\\u009b[1m");   /* an overlong escape */
    PLAIN("\xf3\xa0\x80\x81", "\\udb40\\udc01"); /* a tag */
    PLAIN("", "");
}

static void test_width(void **state)
{
    (void)state;
    assert_int_equal(plain_width("abc"), 3);
    assert_int_equal(plain_width("\xc3\xa4"
                                 "b"),
                     2);
    assert_int_equal(plain_width("\xe6\xbc\xa2"), 2);
    assert_int_equal(plain_cut("abc", 2), 2);
    assert_int_equal(plain_cut("\xe6\xbc\xa2\xe6\xbc\xa2", 3), 3);
    assert_int_equal(plain_cut("abc", 99), 3);
    assert_int_equal(plain_cut("abc", 0), 0);
}

static void test_figures(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},          {0.25, "0.2"},    {1, "1"},          {9.94, "9.9"},
                 {999, "999"},      {999.4, "999"},   {999.6, "1.00k"},  {1500, "1.50k"},
                 {12345, "12.3k"},  {999499, "999k"}, {999500, "1.00M"}, {5.1e9, "5.10G"},
                 {1.8e19, "18.0E"}, {-1, "-"},        {NAN, "-"},        {INFINITY, "-"}};
    char text[FIGURE_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_string_equal(figure_print(cases[i].value, text), cases[i].text);
    figure_print(1e300, text);
    assert_true(strlen(text) < FIGURE_SIZE);
}

static void test_table(void **state)
{
    static const char *const heads[] = {"NAME", ">MTU", "LAST"};
    struct table table;
    struct buf out = {0};

    (void)state;
    table_begin(&table, heads, 3);
    table_add(&table, TONE_BOLD, "tun\033[31m");
    table_add(&table, TONE_NONE, "%d", 1400);
    table_add(&table, TONE_NONE, "%s", "x");
    table_add(&table, TONE_NONE, "\xe6\xbc\xa2");
    table_add(&table, TONE_NONE, "%d", 7);
    table_add(&table, TONE_NONE, "%s", "");
    assert_int_equal(table_rows(&table), 2);
    table_print(&table, false, SIZE_MAX, 0, "\n", &out);
    assert_string_equal(out.data, "NAME            MTU  LAST\n"
                                  "tun\\u001b[31m  1400  x\n"
                                  "\xe6\xbc\xa2                7\n");
    out.length = 0;
    table_print(&table, false, 1, 8, "|", &out); /* one row, eight columns */
    assert_string_equal(out.data, "NAME|tun\\u001|");
    out.length = 0;
    table_print(&table, true, 1, 0, "\n", &out);
    assert_non_null(strstr(out.data, "\033[1mtun\\u001b[31m\033[0m  1400  x\n"));
    table_done(&table);
    buf_done(&out);

    table_begin(&table, heads, 3);
    char *large = malloc(5000);
    memset(large, 'a', 4999);
    large[4999] = '\0';
    table_add(&table, TONE_NONE, "%s", large);
    assert_string_equal(table.cells[0].text, large);
    free(large);
    table_done(&table);
}

static const cJSON *before(void *context, const char *device)
{
    assert_string_equal(device, "tun0");
    return context;
}

static void test_plan(void **state)
{
    cJSON *plan = cJSON_Parse(
        "{\"changed\":true,\"disturbs\":\"recreate\",\"steps\":["
        "{\"device\":\"tun0\",\"operation\":\"worker_stop\",\"disturbs\":\"flap\"},"
        "{\"device\":\"tun0\",\"operation\":\"device_delete\",\"disturbs\":\"recreate\"},"
        "{\"device\":\"tun1\",\"operation\":\"link_set\",\"disturbs\":\"none\"}],"
        "\"differences\":[{\"device\":\"tun0\",\"action\":\"changed\",\"patch\":{\"mtu\":1300,\"labels\":{\"site\":"
        "null,\"x\":\"y\"},"
        "\"addresses\":[\"b\",\"c\"]}},"
        "{\"device\":\"tun1\",\"action\":\"created\",\"patch\":{\"name\":\"tun1\",\"kind\":\"tun\",\"up\":true,"
        "\"queues\":1,"
        "\"addresses\":[\"a\"],\"routes\":[],\"worker\":{\"type\":\"udp\",\"header\":\"none\",\"mark\":null}}},"
        "{\"device\":\"tun\\u001b2\",\"action\":\"deleted\",\"patch\":null}]}");
    cJSON *now = cJSON_Parse("{\"mtu\":1400,\"labels\":{\"site\":\"berlin\"},\"addresses\":[\"a\",\"b\"]}");
    struct plan_tally tally = {0};
    struct buf out = {0};

    (void)state;
    plan_text_add(&out, plan, before, now, false, &tally);
    plan_text_add_tally(&out, &tally);
    assert_string_equal(out.data, "~ tun0\n"
                                  "    /mtu: 1400 -> 1300\n"
                                  "    /labels/site: berlin -> (none)\n"
                                  "    /labels/x: (none) -> y\n"
                                  "    /addresses - a\n"
                                  "    /addresses + c\n"
                                  "+ tun1\n"
                                  "    kind: tun\n"
                                  "    addresses: a\n"
                                  "    worker: udp\n"
                                  "- tun\\u001b2\n"
                                  "plan: 1 to create, 1 to change, 1 to delete; 3 steps; disturbs tun0 (recreate)\n");
    buf_done(&out);
    plan_tally_done(&tally);
    cJSON_Delete(plan);
    cJSON_Delete(now);

    /* what a hostile daemon may send in its place */
    static const char *const odd[] = {
        "{}", "[]", "{\"differences\":[7,null,{},{\"device\":7,\"action\":\"changed\",\"patch\":[1]}]}",
        "{\"steps\":{\"a\":1},\"differences\":\"x\"}", "{\"steps\":[1,[],{\"disturbs\":{}}]}"};
    for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
        plan = cJSON_Parse(odd[i]);
        plan_text_add(&out, plan, NULL, NULL, true, &tally);
        plan_text_add_tally(&out, &tally);
        cJSON_Delete(plan);
    }
    buf_done(&out);
    plan_tally_done(&tally);
}

static void test_values(void **state)
{
    static const char *const cases[][2] = {
        {"{\"to\":\"10.9.0.0/16\",\"via\":null,\"metric\":0,\"table\":254,\"type\":\"unicast\",\"source\":null}",
         "10.9.0.0/16"},
        {"{\"to\":\"10.9.0.0/16\",\"via\":\"10.0.0.2\",\"metric\":5,\"table\":7,\"type\":\"blackhole\"}",
         "10.9.0.0/16,via=10.0.0.2,metric=5,table=7,type=blackhole"},
        {"{\"type\":\"udp\",\"local\":\"a:1\",\"header\":\"gue\",\"offload\":{\"tso\":false,\"uso\":true}}",
         "udp,local=a:1,header=gue,offload.tso=false"},
        {"{\"site\":\"berlin\",\"tier\":\"1\"}", "site=berlin,tier=1"},
        {"[\"a\",\"b\"]", "a b"},
        {"4294967295", "4294967295"},
        {"true", "true"},
        {"{}", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cJSON *json = cJSON_Parse(cases[i][0]);
        struct buf out = {0};
        buf_add_text(&out, "");
        value_text_add(&out, json);
        assert_string_equal(out.data, cases[i][1]);
        buf_done(&out);
        cJSON_Delete(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain), cmocka_unit_test(test_width), cmocka_unit_test(test_figures),
        cmocka_unit_test(test_table), cmocka_unit_test(test_plan),  cmocka_unit_test(test_values),
    };
    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}

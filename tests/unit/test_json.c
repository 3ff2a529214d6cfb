/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tunwright/model.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A text with its length, so that it may hold a NUL. */
#define TEXT(literal) (literal), sizeof(literal) - 1

static void accepted(void **state)
{
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {TEXT("{}")},
        {TEXT("[]")},
        {TEXT("null")},
        {TEXT("true")},
        {TEXT("false")},
        {TEXT("0")},
        {TEXT("-0")},
        {TEXT("-1.5e+10")},
        {TEXT("1E5")},
        {TEXT("1e-999")},
        {TEXT("1.7976931348623157e308")},
        {TEXT("100000000000000000000000000000000000000000000000000000000000000")}, /* 63 characters */
        {TEXT("\"\"")},
        {TEXT(" \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } } \n")},
        {TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"")},
        {TEXT("\"\\ud83d\\ude00\"")},
        {TEXT("\"\\uD83D\\uDE00\"")},
        {TEXT("\"\xc3\xbc \xf0\x9f\x98\x80 \x7f\"")},
        {TEXT("{\"a\":1,\"A\":2}")},
        {TEXT("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":2}]}")},
        {TEXT("{\"\":1,\"a\":2,\"aa\":3}")},
        {TEXT("[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]")}, /* 16 deep */
        {TEXT("[[],[],{\"a\":[]},[[[[[[[[[[[[[[]]]]]]]]]]]]]],[]]")},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = {0};
        cJSON *json = NULL;
        /* An exact allocation: a sanitizer sees a byte too many being read. */
        char *text = malloc(cases[i].length);
        assert_non_null(text);
        memcpy(text, cases[i].text, cases[i].length);
        if (json_check(text, cases[i].length, &e) != 0)
            fail_msg("%s: %s", cases[i].text, e.message);
        assert_int_equal(json_read(text, cases[i].length, &json, &e), 0);
        assert_non_null(json);
        cJSON_Delete(json);
        free(text);
    }
}

static void refused(void **state)
{
    static const struct {
        const char *text;
        size_t length;
        const char *message; /* a part of it */
    } cases[] = {
        {TEXT(""), "empty"},
        {TEXT("   "), "byte 3: it ends where a value belongs"},
        {TEXT("{"), "byte 1: a member's name"},
        {TEXT("["), "byte 1: it ends where a value belongs"},
        {TEXT("[1"), "byte 2: a ',' or ']'"},
        {TEXT("[1,]"), "byte 3: a value belongs here"},
        {TEXT("[1 2]"), "byte 3: a ',' or ']'"},
        {TEXT("[,1]"), "byte 1: a value"},
        {TEXT("]"), "byte 0: a value"},
        {TEXT("{\"a\"}"), "byte 4: a ':'"},
        {TEXT("{\"a\":}"), "byte 5: a value"},
        {TEXT("{\"a\":1"), "byte 6: a ',' or '}'"},
        {TEXT("{\"a\":1,}"), "byte 7: a member's name"},
        {TEXT("{a:1}"), "byte 1: a member's name"},
        {TEXT("{'a':1}"), "byte 1: a member's name"},
        {TEXT("{1:1}"), "byte 1: a member's name"},
        {TEXT("{} {}"), "byte 3: there is more"},
        {TEXT("nullx"), "byte 4: there is more"},
        {TEXT("nul"), "byte 0: a value"},
        {TEXT("True"), "byte 0: a value"},
        {TEXT("NaN"), "byte 0: a value"},
        {TEXT("Infinity"), "byte 0: a value"},
        {TEXT("-Infinity"), "byte 1: a number needs a digit"},
        {TEXT("/* */1"), "byte 0: a value"},
        {TEXT("\xef\xbb\xbf{}"), "byte 0: a value"},
        {TEXT("\v1"), "byte 0: a value"},
        {TEXT("01"), "byte 1: a number does not begin with 0"},
        {TEXT("-01"), "byte 2: a number does not begin with 0"},
        {TEXT("+1"), "byte 0: a value"},
        {TEXT(".5"), "byte 0: a value"},
        {TEXT("-"), "byte 1: a number needs a digit"},
        {TEXT("1."), "byte 2: a number needs a digit after its point"},
        {TEXT("1.e5"), "byte 2: a number needs a digit after its point"},
        {TEXT("1e"), "byte 2: a number needs a digit in its exponent"},
        {TEXT("1e+"), "byte 3: a number needs a digit in its exponent"},
        {TEXT("0x10"), "byte 1: there is more"},
        {TEXT("1e999"), "byte 0: a number that is too large"},
        {TEXT("[-1e309]"), "byte 1: a number that is too large"},
        {TEXT("1000000000000000000000000000000000000000000000000000000000000000"), "more than 63"}, /* 64 characters */
        {TEXT("\""), "byte 0: a string that does not end"},
        {TEXT("[\"a"), "byte 1: a string that does not end"},
        {TEXT("\"\\"), "byte 2: an unknown escape"},
        {TEXT("\"\\x41\""), "byte 2: an unknown escape"},
        {TEXT("\"\\u12\""), "four hexadecimal digits"},
        {TEXT("\"\\u12g4\""), "four hexadecimal digits"},
        {TEXT("\"\\u\""), "four hexadecimal digits"},
        {TEXT("\"a\\u0000b\""), "byte 2: the character NUL"},
        {TEXT("{\"a\\u0000b\":1}"), "byte 3: the character NUL"},
        {TEXT("\"\\ud800\""), "byte 1: half a surrogate pair"},
        {TEXT("\"\\ud800x\""), "byte 1: half a surrogate pair"},
        {TEXT("\"\\ud800\\n\""), "byte 1: half a surrogate pair"},
        {TEXT("\"\\ud800\\ud800\""), "byte 1: half a surrogate pair"},
        {TEXT("\"\\ud800\\ue000\""), "byte 1: half a surrogate pair"},
        {TEXT("\"\\udc00\""), "byte 1: half a surrogate pair"},
        {TEXT("\"a\nb\""), "byte 2: a control character"},
        {TEXT("\"a\0b\""), "byte 2: a control character"},
        {TEXT("{}\0"), "byte 2: there is more"},
        {TEXT("\0"), "byte 0: a value"},
        {TEXT("\"\xff\""), "not UTF-8"},
        {TEXT("\"\xc0\xaf\""), "not UTF-8"},
        {TEXT("\"\xed\xa0\x80\""), "not UTF-8"},
        {TEXT("\"\xf4\x90\x80\x80\""), "not UTF-8"},
        {TEXT("\"\xc3"), "not UTF-8"},
        {TEXT("{\"a\":1,\"a\":1}"), "byte 7: a member of this name"},
        {TEXT("{\"a\":1,\"b\":2,\"\\u0061\":3}"), "byte 13: a member of this name"},
        {TEXT("{\"\":1,\"\":2}"), "byte 6: a member of this name"},
        {TEXT("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}"), "byte 18: a member of this name"},
        {TEXT("{\"\\u00fc\":1,\"\xc3\xbc\":2}"), "byte 12: a member of this name"},
        {TEXT("{\"\\u20ac\":1,\"\xe2\x82\xac\":2}"), "byte 12: a member of this name"},
        {TEXT("{\"\\n\":1,\"\\u000a\":2}"), "byte 8: a member of this name"},
        {TEXT("[{\"x\":{\"a\":1,\"b\":{\"a\":1},\"a\":1}}]"), "byte 25: a member of this name"},
        {TEXT("[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]"), "byte 16: nested too deeply"},
        {TEXT("[[[[[[[[[[[[[[[[{}]]]]]]]]]]]]]]]]"), "byte 16: nested too deeply"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = {0};
        cJSON *json = NULL;
        char *text = malloc(cases[i].length + 1);
        assert_non_null(text);
        memcpy(text, cases[i].text, cases[i].length);
        if (json_check(text, cases[i].length, &e) != -EINVAL)
            fail_msg("%s was accepted", cases[i].text);
        if (!strstr(e.message, cases[i].message))
            fail_msg("%s: \"%s\" is not in \"%s\"", cases[i].text, cases[i].message, e.message);
        assert_int_equal(e.code, ERR_INVALID_JSON);
        assert_string_equal(e.pointer, "");
        assert_int_equal(json_read(text, cases[i].length, &json, NULL), -EINVAL);
        assert_null(json);
        free(text);
    }
}

/* Every beginning of a document is refused, and none is read beyond its end. */
static void truncated(void **state)
{
    static const char whole[] = "{\"a\":[1.5e+3,\"\\ud83d\\ude00\\n\",true,{\"b\":null}],\"c\":\"\xc3\xbc\"}";
    (void)state;
    for (size_t length = 0; length < sizeof(whole) - 1; length++) {
        char *text = malloc(length + 1);
        assert_non_null(text);
        char *exact = length > 0 ? realloc(text, length) : text;
        assert_non_null(exact);
        memcpy(exact, whole, length);
        assert_int_equal(json_check(exact, length, NULL), -EINVAL);
        free(exact);
    }
    assert_int_equal(json_check(whole, sizeof(whole) - 1, NULL), 0);
}

/* A mebibyte of members takes a moment, not minutes; the one twin among them is found. */
static void many_members(void **state)
{
    struct buf text = {0};
    struct err e = {0};
    struct timespec start, end;
    (void)state;

    buf_add_text(&text, "{");
    for (unsigned i = 0; i < 65535; i++)
        buf_printf(&text, "%s\"key%05u\":0", i > 0 ? "," : "", i);
    size_t open = text.length;
    buf_add_text(&text, "}");
    assert_false(text.failed);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    assert_int_equal(json_check(text.data, text.length, &e), 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    assert_true(end.tv_sec - start.tv_sec < 5);

    text.length = open;
    buf_add_text(&text, ",\"key00017\":0}");
    assert_int_equal(json_check(text.data, text.length, &e), -EINVAL);
    assert_non_null(strstr(e.message, "of this name"));

    text.length = open; /* more than these: their names would have to be kept */
    buf_add_text(&text, ",\"a\":{\"b\":0}}");
    assert_int_equal(json_check(text.data, text.length, &e), -EINVAL);
    assert_non_null(strstr(e.message, "too many members"));
    buf_done(&text);
}

static void values_are_read(void **state)
{
    static const char text[] = "{\"name\":\"t\\u00fcn\",\"n\":4294967295,\"list\":[true,null]}";
    cJSON *json = NULL;
    struct err e;
    (void)state;
    assert_int_equal(json_read(text, sizeof(text) - 1, &json, &e), 0);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "name")), "t\xc3\xbcn");
    assert_true(cJSON_GetObjectItemCaseSensitive(json, "n")->valuedouble == 4294967295.0);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "list")), 2);
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),     cmocka_unit_test(refused),         cmocka_unit_test(truncated),
        cmocka_unit_test(many_members), cmocka_unit_test(values_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

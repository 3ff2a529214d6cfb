/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "device_text.h"

#include <errno.h>
#include <stdio.h>

static bool matches(const char *text, const struct device *device)
{
    struct selector selector;
    struct err err = {0};

    if (selector_parse(text, &selector, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return selector_matches(&selector, device);
}

static void test_terms(void **state)
{
    struct device *device =
        device_of(TUN ",\"labels\":{\"site\":\"berlin\",\"tier\":\"\",\"note\":\"a=b c\",\"a.b-c_d\":\"\xc3\xa4\"}}");
    struct device *bare = device_of(TUN "}");

    (void)state;
    static const char *const yes[] = {
        "",     "site=berlin", "site",       "!old",    "site!=paris",      "old!=x",
        "tier", "tier=",       "note=a=b c", "tier!=x", "a.b-c_d=\xc3\xa4", "site=berlin,tier,!old,old!=x,note"};
    static const char *const no[] = {"site=paris", "site=Berlin", "!site",  "site!=berlin",    "old",  "old=",
                                     "old=x",      "tier=x",      "tier!=", "site=berlin,old", "Site", "sit"};
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
        if (!matches(yes[i], device))
            fail_msg("%s should match", yes[i]);
    for (size_t i = 0; i < ARRAY_SIZE(no); i++)
        if (matches(no[i], device))
            fail_msg("%s should not match", no[i]);
    assert_true(matches("", bare) && matches("!site", bare) && matches("site!=berlin", bare));
    assert_false(matches("site", bare));
    device_free(device);
    device_free(bare);
}

static void refused(const char *text)
{
    struct selector selector = {.count = 77};
    struct err err = {0};

    if (selector_parse(text, &selector, &err) != -EINVAL)
        fail_msg("%s should be refused", text);
    assert_int_equal(err.code, ERR_INVALID_VALUE);
    assert_string_equal(err.pointer, "");
    assert_true(err.message[0] != '\0' && utf8_is_valid(err.message, strlen(err.message)));
    assert_int_equal(selector.count, 77);
}

static void test_refusals(void **state)
{
    static const char *const bad[] = {",",      "site,",    ",site",       "a,,b",     "=x",     "!",
                                      "!=x",    "!a=b",     "a b=c",       " a",       "a ",     "a = b",
                                      "-a",     "a/b=c",    "!!a",         "a=b, c=d", "a=\x01", "a=\xc2\x80",
                                      "a=\xff", "\xc3\xa4", "a\xc3\xa4=b", "a=\x7f"};
    char text[SELECTOR_TEXT_SIZE + 8];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        refused(bad[i]);

    memset(text, 'a', 64);
    text[64] = '\0';
    refused(text); /* a key of 64 */
    assert_int_equal(snprintf(text, sizeof(text), "a=%0255d", 0), 257);
    struct selector selector;
    assert_int_equal(selector_parse(text, &selector, NULL), 0);
    snprintf(text, sizeof(text), "a=%0256d", 0);
    refused(text);

    strcpy(text, REPEAT_16("a,") "a");
    refused(text); /* 17 terms */
    text[strlen(text) - 2] = '\0';
    assert_int_equal(selector_parse(text, &selector, NULL), 0);
    assert_int_equal(selector.count, 16);
    memset(text, 'a', SELECTOR_TEXT_SIZE);
    text[SELECTOR_TEXT_SIZE] = '\0';
    refused(text);
    /* a long term of long characters is cut for the message at a whole one */
    strcpy(text, "a=");
    for (int i = 0; i < 100; i++)
        strcat(text, "\xe2\x82\xac");
    refused(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terms),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

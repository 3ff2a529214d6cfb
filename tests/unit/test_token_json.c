/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "device_text.h"

#include <cjson/cJSON.h>
#include <errno.h>

static struct token token_of(const char *text)
{
    struct token token;
    struct err_list errors = {0};

    if (token_parse(text, strlen(text), &token, &errors) < 0)
        fail_msg("%s: %s %s", text, errors.items[0].pointer, errors.items[0].message);
    return token;
}

static void test_values(void **state)
{
    struct token token = token_of("{\"name\":\"ci\",\"role\":\"operator\"}");
    cJSON *json;
    char *text;

    (void)state;
    assert_string_equal(token.name, "ci");
    assert_int_equal(token.role, ROLE_OPERATOR);
    assert_int_equal(token.kind, TOKEN_BEARER);
    assert_string_equal(token.selector, "");
    assert_int_equal(token.expires_ns, 0);
    assert_int_equal(token.created_ns, 0);
    token.created_ns = 1700000000123456789;
    json = token_to_json(&token);
    text = cJSON_PrintUnformatted(json);
    assert_string_equal(text, "{\"name\":\"ci\",\"kind\":\"bearer\",\"role\":\"operator\",\"selector\":null,"
                              "\"created\":\"2023-11-14T22:13:20.123Z\",\"expires\":null}");
    free(text);
    cJSON_Delete(json);

    token = token_of("{\"name\":\"a.b-c_d\",\"role\":\"reader\",\"kind\":\"certificate\",\"selector\":\"site=x,!old\","
                     "\"expires\":\"2031-02-03T04:05:06.789999+01:00\"}");
    assert_int_equal(token.kind, TOKEN_CERTIFICATE);
    assert_string_equal(token.selector, "site=x,!old");
    json = token_to_json(&token);
    assert_string_equal(cJSON_GetObjectItem(json, "expires")->valuestring, "2031-02-03T03:05:06.789Z");
    assert_string_equal(cJSON_GetObjectItem(json, "selector")->valuestring, "site=x,!old");
    cJSON_Delete(json);
    text = token_change_print(&token, false);
    assert_string_equal(text,
                        "[{\"token\":\"a.b-c_d\",\"action\":\"deleted\",\"kind\":\"certificate\",\"role\":\"reader\","
                        "\"selector\":\"site=x,!old\",\"expires\":\"2031-02-03T03:05:06.789Z\"}]");
    free(text);
    token = token_of("{\"name\":\"a\",\"role\":\"admin\",\"selector\":null,\"expires\":null}");
    assert_string_equal(token.selector, "");
}

static void refused(const char *text, const char *faults)
{
    struct token token;
    struct err_list errors = {0};

    assert_int_equal(token_parse(text, strlen(text), &token, &errors), -EINVAL);
    char *found = faults_of(&errors);
    assert_string_equal(found, faults);
    free(found);
}

#define CI "{\"name\":\"ci\",\"role\":\"reader\""
static void test_faults(void **state)
{
    (void)state;
    refused("[]", "wrong_type ");
    refused("{", "invalid_json ");
    refused("{}", "missing_field /name; missing_field /role");
    refused("{\"name\":\"a b\",\"role\":\"nobody\"}", "invalid_name /name; invalid_value /role");
    refused("{\"name\":\"..\",\"role\":\"Admin\"}", "invalid_name /name; invalid_value /role");
    refused("{\"name\":\"" REPEAT_64("a") "\",\"role\":1}", "invalid_name /name; wrong_type /role");
    refused(CI ",\"kind\":null}", "wrong_type /kind");
    refused(CI ",\"kind\":\"cookie\"}", "invalid_value /kind");
    refused(CI ",\"selector\":\"a b\"}", "invalid_value /selector");
    refused(CI ",\"selector\":{}}", "wrong_type /selector");
    refused(CI ",\"selector\":\"\"}", "invalid_value /selector"); /* a variable that nobody set */
    refused(CI ",\"expires\":1}", "wrong_type /expires");
    refused(CI ",\"expires\":\"tomorrow\"}", "invalid_value /expires");
    refused(CI ",\"expires\":\"1970-01-01T00:00:00Z\"}", "out_of_range /expires");
    refused(CI ",\"expires\":\"9999-12-31T23:59:59Z\"}", "out_of_range /expires");
    refused(CI ",\"created\":\"2026-01-01T00:00:00Z\",\"token\":\"x\",\"digest\":\"x\"}",
            "unknown_field /created; unknown_field /token; unknown_field /digest");
}

static void test_words(void **state)
{
    enum role role;
    enum token_kind kind;

    (void)state;
    assert_string_equal(role_name(ROLE_NOBODY), "nobody");
    assert_string_equal(role_name(ROLE_N), "unknown");
    assert_int_equal(role_parse("admin", &role), 0);
    assert_int_equal(role, ROLE_ADMIN);
    assert_int_equal(role_parse("nobody", &role), -EINVAL);
    assert_int_equal(token_kind_parse("certificate", &kind), 0);
    assert_int_equal(kind, TOKEN_CERTIFICATE);
    assert_int_equal(token_kind_parse("", &kind), -EINVAL);
    assert_true(ROLE_NOBODY < ROLE_READER && ROLE_READER < ROLE_OPERATOR && ROLE_OPERATOR < ROLE_ADMIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

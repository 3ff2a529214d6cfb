/* SPDX-License-Identifier: Apache-2.0 */
/* Problem documents, tokens and listeners: what needs no server. */
#include "http/answer.h"
#include "http/auth.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void expect_problem(const struct err_list *errors, const char *expected)
{
    cJSON *json = answer_problem_to_json(errors);
    assert_non_null(json);
    char *text = cJSON_PrintUnformatted(json);
    assert_string_equal(text, expected);
    cJSON_free(text);
    cJSON_Delete(json);
}

static void test_problem_of_fields(void **state)
{
    (void)state;
    struct err_list errors = {.count = 0};
    err_list_add(&errors, ERR_OUT_OF_RANGE, "/mtu", "must be 68 to 65535");
    expect_problem(&errors,
                   "{\"type\":\"urn:tunwright:error:validation_failed\",\"title\":\"Validation failed\",\"status\":400,"
                   "\"detail\":\"/mtu: must be 68 to 65535\",\"code\":\"validation_failed\",\"errors\":["
                   "{\"pointer\":\"/mtu\",\"code\":\"out_of_range\",\"detail\":\"must be 68 to 65535\"}]}");
    err_list_add(&errors, ERR_UNKNOWN_FIELD, "/x", "there is no such field");
    expect_problem(&errors,
                   "{\"type\":\"urn:tunwright:error:validation_failed\",\"title\":\"Validation failed\",\"status\":400,"
                   "\"detail\":\"/mtu: must be 68 to 65535 (and 1 more)\",\"code\":\"validation_failed\",\"errors\":["
                   "{\"pointer\":\"/mtu\",\"code\":\"out_of_range\",\"detail\":\"must be 68 to 65535\"},"
                   "{\"pointer\":\"/x\",\"code\":\"unknown_field\",\"detail\":\"there is no such field\"}]}");
}

static void test_problem_of_kernel(void **state)
{
    (void)state;
    struct err_list errors = {.count = 1};
    err_set_kernel(&errors.items[0], -EEXIST, "RTM_NEWROUTE", "the route cannot be added");
    expect_problem(&errors,
                   "{\"type\":\"urn:tunwright:error:kernel_refused\",\"title\":\"The kernel refused\",\"status\":422,"
                   "\"detail\":\"the route cannot be added: File exists\",\"code\":\"kernel_refused\",\"errors\":[],"
                   "\"operation\":\"RTM_NEWROUTE\",\"errno\":\"EEXIST\"}");
}

static void test_problem_of_nothing(void **state)
{
    (void)state;
    struct err_list errors = {.count = 0};
    cJSON *json = answer_problem_to_json(&errors);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(json, "status")->valueint, 500);
    cJSON_Delete(json);
    for (int code = 0; code < ERR_CODE_N; code++)
        assert_in_range(answer_status((enum err_code)code), 400, 599);
}

#define DIGEST_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static bool token_is_right(const char *value)
{
    const struct head_field field = {"authorization", value, 13, strlen(value)};
    const char *token;
    size_t length;
    return auth_bearer(&field, &token, &length) && auth_token_is_right(token, length, DIGEST_OF_ABC);
}

static void test_token(void **state)
{
    (void)state;
    assert_true(token_is_right("Bearer abc"));
    assert_true(token_is_right("bearer  abc "));
    static const char *const bad[] = {"",         "Bearer",    "Bearer ", "Bearer abd", "Bearer abcd",
                                      "Bearer a", "Basic abc", "abc",     "Bearerabc",  "Bearer " DIGEST_OF_ABC};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(token_is_right(bad[i]));
    const char *token;
    size_t length;
    assert_false(auth_bearer(NULL, &token, &length));
}

static void test_token_file(void **state)
{
    (void)state;
    char directory[] = "/tmp/test-token-XXXXXX", path[64], token[80] = "", first[65], second[65], digest[65];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/admin.token", directory);
    assert_int_equal(http_token_load(path, first, NULL), 0);
    assert_int_equal(http_token_load(path, second, NULL), 0);
    assert_string_equal(first, second);

    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0600);
    assert_int_equal(file.st_size, 65);
    FILE *stream = fopen(path, "r");
    assert_non_null(fgets(token, sizeof token, stream));
    fclose(stream);
    assert_int_equal(auth_token_digest(token, 64, digest), 0);
    assert_string_equal(digest, first);

    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(http_token_load(path, second, NULL), -EPERM);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 64), 0);
    assert_int_equal(http_token_load(path, second, NULL), -EINVAL);
    unlink(path);
    rmdir(directory);
}

static void test_listen_tcp(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "0.0.0.0:80",   "10.0.0.1:80", "[::]:80",     "[fd00::1]:80",    "127.0.0.1", "8080",
        "localhost:80", "127.0.0.1:",  "127.0.0.1:x", "127.0.0.1:65536", "::1:80",    ""};
    struct endpoint bound;
    struct err e;
    int fd;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(http_listen_tcp(bad[i], false, &fd, &bound, &e), -EINVAL);
    assert_int_equal(http_listen_tcp("127.0.0.1:0", false, &fd, &bound, &e), 0);
    assert_int_not_equal(bound.port, 0);
    char text[ENDPOINT_TEXT_SIZE];
    int second;
    assert_int_equal(http_listen_tcp(endpoint_print(&bound, text), false, &second, &bound, &e), -EADDRINUSE);
    close(fd);
}

static void test_listen_unix(void **state)
{
    (void)state;
    char directory[] = "/tmp/test-listen-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/api.sock", directory);
    struct stat file;
    int fd, second;
    assert_int_equal(http_listen_unix(path, getegid(), &fd, NULL), 0);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0660);
    assert_int_equal(http_listen_unix(path, getegid(), &second, NULL), -EADDRINUSE);
    close(fd); /* the file stays: nobody listens on it */
    assert_int_equal(http_listen_unix(path, getegid(), &fd, NULL), 0);
    close(fd);
    unlink(path);

    fclose(fopen(path, "w")); /* not a socket: not ours to remove */
    assert_int_equal(http_listen_unix(path, getegid(), &fd, NULL), -EEXIST);
    unlink(path);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_problem_of_fields),  cmocka_unit_test(test_problem_of_kernel),
        cmocka_unit_test(test_problem_of_nothing), cmocka_unit_test(test_token),
        cmocka_unit_test(test_token_file),         cmocka_unit_test(test_listen_tcp),
        cmocka_unit_test(test_listen_unix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

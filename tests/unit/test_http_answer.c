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

static bool bearer_is_abc(const char *value)
{
    const struct head_field field = {"authorization", value, 13, strlen(value)};
    const char *token;
    size_t length;
    return auth_bearer(&field, &token, &length) && length == 3 && !memcmp(token, "abc", 3);
}

static void test_bearer(void **state)
{
    (void)state;
    assert_true(bearer_is_abc("Bearer abc"));
    assert_true(bearer_is_abc("bearer  abc "));
    static const char *const bad[] = {"",         "Bearer",    "Bearer ", "Bearer abd", "Bearer abcd",
                                      "Bearer a", "Basic abc", "abc",     "Bearerabc"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(bearer_is_abc(bad[i]));
    const char *token;
    size_t length;
    assert_false(auth_bearer(NULL, &token, &length));
}

static bool cookie_is_abc(const char *value, const char *name)
{
    const struct head_field field = {"cookie", value, 6, strlen(value)};
    const char *token;
    size_t length;
    return auth_cookie(&field, name, &token, &length) && length == 3 && !memcmp(token, "abc", 3);
}

static void test_cookie(void **state)
{
    (void)state;
    static const char *const good[] = {"tunwright=abc",         "a=b; tunwright=abc",
                                       "tunwright=abc; a=b",    "a; ;=; tunwright=abc ;b",
                                       "a=b;\ttunwright=abc\t", "tunwright=abc; tunwright=x"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(cookie_is_abc(good[i], "tunwright"));
    static const char *const bad[] = {"",
                                      "tunwright",
                                      "tunwright=",
                                      "tunwright=abcd",
                                      "tunwright=ab",
                                      "x=tunwright=abc",
                                      "xtunwright=abc",
                                      "tunwright-1=abc",
                                      "Tunwright=abc"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(cookie_is_abc(bad[i], "tunwright"));
    assert_true(cookie_is_abc("tunwright=x; tunwright-8080=abc", "tunwright-8080"));
    const char *token;
    size_t length;
    assert_false(auth_cookie(NULL, "tunwright", &token, &length));

    static const char *const names[][2] = {{"localhost", "tunwright"},
                                           {"localhost:8080", "tunwright-8080"},
                                           {"[::1]", "tunwright"},
                                           {"[::1]:65535", "tunwright-65535"},
                                           {"localhost:65536", "tunwright"},
                                           {"localhost:", "tunwright"},
                                           {"localhost:80;x=y", "tunwright"},
                                           {"", "tunwright"}};
    char name[AUTH_COOKIE_NAME_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        auth_cookie_name(names[i][0], name);
        assert_string_equal(name, names[i][1]);
    }
    auth_cookie_name(NULL, name);
    assert_string_equal(name, "tunwright");
}

static void test_tokens(void **state)
{
    (void)state;
    struct token tokens[] = {{.name = "a", .kind = TOKEN_BEARER},
                             {.name = "b", .kind = TOKEN_BEARER},
                             {.name = "c", .kind = TOKEN_CERTIFICATE}};
    const struct token_set set = {ARRAY_SIZE(tokens), tokens};
    uint8_t digest[TOKEN_DIGEST_SIZE], zero[TOKEN_DIGEST_SIZE] = {0};
    char first[AUTH_SECRET_SIZE], second[AUTH_SECRET_SIZE];
    assert_int_equal(auth_secret_make(first), 0);
    assert_int_equal(auth_secret_make(second), 0);
    assert_int_equal(strspn(first, "0123456789abcdef"), AUTH_SECRET_SIZE - 1);
    assert_string_not_equal(first, second);
    assert_int_equal(auth_digest(first, strlen(first), tokens[0].digest), 0);
    assert_int_equal(auth_digest(second, strlen(second), tokens[1].digest), 0);
    assert_int_equal(auth_digest(second, strlen(second), digest), 0);
    assert_ptr_equal(auth_token_of_digest(&set, digest), &tokens[1]);
    digest[31] ^= 1;
    assert_null(auth_token_of_digest(&set, digest));
    assert_null(auth_token_of_digest(&set, zero)); /* what a certificate's token has */
    assert_ptr_equal(auth_token_of_certificate(&set, "c"), &tokens[2]);
    assert_null(auth_token_of_certificate(&set, "a")); /* a bearer's name is no certificate's */
    assert_null(auth_token_of_certificate(&set, ""));
    assert_null(auth_token_of_certificate(&set, "C"));
}

/* At the first start only; with the file that is there, or one that is made. */
static void test_token_file(void **state)
{
    (void)state;
    char directory[] = "/tmp/test-token-XXXXXX", path[64], database[64], text[80] = "";
    struct store *store;
    struct token *tokens = NULL;
    size_t count = 0;
    struct err e;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/admin.token", directory);
    snprintf(database, sizeof database, "%s/t.db", directory);
    assert_int_equal(store_open(database, &store, &e), 0);

    /* what somebody put there, but not so that others can read it */
    FILE *stream = fopen(path, "w");
    fprintf(stream, "%064d\n", 7);
    fclose(stream);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(http_token_provision(path, store, &e), -EPERM);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 64), 0);
    assert_int_equal(http_token_provision(path, store, &e), -EINVAL);
    unlink(path);

    assert_int_equal(http_token_provision(path, store, &e), 0);
    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0600);
    assert_int_equal(file.st_size, 65);
    stream = fopen(path, "r");
    assert_non_null(fgets(text, sizeof text, stream));
    fclose(stream);
    uint8_t digest[TOKEN_DIGEST_SIZE];
    assert_int_equal(auth_digest(text, 64, digest), 0);
    assert_int_equal(store_tokens_load(store, &tokens, &count, &e), 0);
    assert_int_equal(count, 1);
    assert_string_equal(tokens[0].name, "admin");
    assert_int_equal(tokens[0].role, ROLE_ADMIN);
    assert_memory_equal(tokens[0].digest, digest, sizeof digest);
    assert_true(tokens[0].created_ns > 0 && !tokens[0].expires_ns);
    free(tokens);

    /* never again: neither the file nor the token comes back */
    unlink(path);
    assert_int_equal(store_begin(store, &e), 0);
    assert_int_equal(store_token_delete(store, "admin", &e), 0);
    assert_int_equal(store_commit(store, &e), 0);
    assert_int_equal(http_token_provision(path, store, &e), 0);
    assert_int_equal(stat(path, &file), -1);
    assert_int_equal(store_tokens_load(store, &tokens, &count, &e), 0);
    assert_int_equal(count, 0);
    free(tokens);
    store_close(store);
    unlink(database);
    snprintf(text, sizeof text, "%s-journal", database);
    unlink(text);
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
        cmocka_unit_test(test_problem_of_fields),
        cmocka_unit_test(test_problem_of_kernel),
        cmocka_unit_test(test_problem_of_nothing),
        cmocka_unit_test(test_bearer),
        cmocka_unit_test(test_cookie),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_token_file),
        cmocka_unit_test(test_listen_tcp),
        cmocka_unit_test(test_listen_unix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

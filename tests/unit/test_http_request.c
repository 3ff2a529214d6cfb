/* SPDX-License-Identifier: Apache-2.0 */
/* What a request is made of, without a server: its head, its target, its row in the table. */
#include "http/head.h"
#include "http/route_table.h"
#include "http/target.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* ---- heads ------------------------------------------------------------------------------------------------------- */

/* "Name: value" lines, as the library would have cut them. */
static struct head head_of(const char *version, const char *const *lines)
{
    struct head head = {.method = "PUT", .target = "/", .version = version};
    for (; *lines; lines++) {
        const char *colon = strchr(*lines, ':'), *value = colon + 1 + strspn(colon + 1, " ");
        head.fields[head.field_count++] = (struct head_field){*lines, value, (size_t)(colon - *lines), strlen(value)};
    }
    return head;
}
#define HEAD(...) head_of("HTTP/1.1", (const char *const[]){__VA_ARGS__, NULL})

static void test_head_plain(void **state)
{
    (void)state;
    struct head_facts facts;
    struct head head =
        HEAD("Host: localhost", "Content-Length: 12", "Content-Type: application/json", "Expect: 100-continue");
    assert_int_equal(head_check(&head, &facts, NULL), 0);
    assert_true(facts.has_body && facts.length_is_known && facts.expects_continue);
    assert_int_equal(facts.body_length, 12);
    head = HEAD("host: x", "transfer-encoding: Chunked");
    assert_int_equal(head_check(&head, &facts, NULL), 0);
    assert_true(facts.has_body && !facts.length_is_known);
    head = HEAD("Host: x", "Content-Length: 0");
    assert_int_equal(head_check(&head, &facts, NULL), 0);
    assert_false(facts.has_body);
}

static void test_head_ambiguous(void **state)
{
    (void)state;
    const struct head heads[] = {
        HEAD("X: no host"),
        HEAD("Host: a", "Host: a"),
        HEAD("Host: a", "host: b"),
        HEAD("Host: a b"),
        HEAD("Host: a/b"),
        HEAD("Host: a", "Content-Length: 1", "Transfer-Encoding: chunked"),
        HEAD("Host: a", "Content-Length: 1", "Content-Length: 2"),
        HEAD("Host: a", "Content-Length: 1", "Content-Length: 1"),
        HEAD("Host: a", "Content-Length: 1, 1"),
        HEAD("Host: a", "Content-Length: +1"),
        HEAD("Host: a", "Content-Length: -1"),
        HEAD("Host: a", "Content-Length: 0x1"),
        HEAD("Host: a", "Content-Length: 01"),
        HEAD("Host: a", "Content-Length: 1 "),
        HEAD("Host: a", "Content-Length:"),
        HEAD("Host: a", "Content-Length: 99999999999999999999999"),
        HEAD("Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        HEAD("Host: a", "Transfer-Encoding: gzip, chunked"),
        HEAD("Host: a", "Transfer-Encoding: identity"),
        HEAD("Host: a", "Transfer-Encoding: chunked "),
        HEAD("Host: a", "Transfer-Encoding : chunked"),
        HEAD("Host: a", "X\tY: 1"),
        HEAD("Host: a", ": nameless"),
        HEAD("Host: a", "X: a\rb"),
        HEAD("Host: a", "X: \x01"),
        HEAD("Host: a", "Content-Type: application/json", "Content-Type: text/plain"),
        head_of("HTTP/1.0", (const char *const[]){"Host: a", "Transfer-Encoding: chunked", NULL}),
        head_of("HTTP/1.2", (const char *const[]){"Host: a", NULL}),
        {.method = "P\"T", .target = "/", .version = "HTTP/1.1"},
        {.method = "GET", .target = "/", .version = "HTTP/1.1", .overflow = true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        struct head_facts facts;
        struct err e = {0};
        if (head_check(&heads[i], &facts, &e) != -EINVAL || e.code != ERR_INVALID_REQUEST || !*e.message)
            fail_msg("head %zu was accepted", i);
    }
}

/* The bytes of a head after the library cut it: each end of line and each colon a NUL. */
static void test_head_contiguous(void **state)
{
    (void)state;
    static const char good[] = "GET\0/x\0HTTP/1.1\0\0Host\0 a\0\0X\0b\0\0\0";
    const size_t length = sizeof good - 1 + 1;
    struct head head = {.method = good, .target = good + 4, .version = good + 7, .target_length = 2, .field_count = 2};
    head.fields[0] = (struct head_field){good + 17, good + 23, 4, 1};
    head.fields[1] = (struct head_field){good + 26, good + 28, 1, 1};
    assert_true(head_is_contiguous(&head, length));
    assert_false(head_is_contiguous(&head, length - 1));
    assert_false(head_is_contiguous(&head, length + 1));

    struct head bad = head;
    bad.target++; /* two blanks after the method */
    assert_false(head_is_contiguous(&bad, length));
    bad = head;
    bad.target_length--; /* a NUL in it */
    assert_false(head_is_contiguous(&bad, length));
    bad = head;
    bad.fields[1].name--; /* one byte after the line before: a bare LF */
    assert_false(head_is_contiguous(&bad, length));
    bad = head;
    bad.fields[0].name = good + 40; /* a folded line was put together elsewhere */
    assert_false(head_is_contiguous(&bad, length));
    bad = head;
    bad.fields[0].value_length = 0; /* a NUL stands where the value ended, and something after it */
    assert_false(head_is_contiguous(&bad, length));
    bad = head;
    bad.field_count = 1; /* bytes that belong to nothing: a NUL ended a value early */
    assert_false(head_is_contiguous(&bad, length));
}

static struct head_field field(const char *value)
{
    return (struct head_field){"", value, 0, strlen(value)};
}

static void test_head_media_type(void **state)
{
    (void)state;
    static const char *const good[] = {"application/json", "Application/JSON", "application/json; charset=utf-8",
                                       "application/json;charset=\"UTF-8\" ", "application/json "};
    static const char *const bad[] = {"",
                                      "text/plain",
                                      "application/jsonp",
                                      "application/json; charset=latin1",
                                      "application/json, text/plain",
                                      "application/x-www-form-urlencoded",
                                      "application/json;",
                                      "multipart/form-data; boundary=x"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct head_field type = field(good[i]);
        assert_true(head_media_type_is(&type, "application/json"));
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct head_field type = field(bad[i]);
        assert_false(head_media_type_is(&type, "application/json"));
    }
}

static void test_head_hosts(void **state)
{
    (void)state;
    static const char *const good[] = {"localhost",    "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8080",
                                       "127.8.9.10:1", "[::1]",        "[::1]:8080"};
    static const char *const bad[] = {
        "",        "example.org",    "127.0.0.1.example.org", "localhost.example.org", "10.0.0.1", "[::2]:80",
        "::1",     "[127.0.0.1]",    "[localhost]",           "127.0.0.1:port",        "[::1]x",   "127.0.0.1:",
        "0.0.0.0", "localhost:99999"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct head_field host = field(good[i]);
        if (!head_host_is_loopback(&host))
            fail_msg("%s was refused", good[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct head_field host = field(bad[i]);
        if (head_host_is_loopback(&host))
            fail_msg("%s was accepted", bad[i]);
    }
}

static void test_head_known_hosts(void **state)
{
    (void)state;
    const struct option_list names = {2, {"tunnels.example.org", "gate"}};
    static const char *const good[] = {
        "localhost:8443",           "127.0.0.1", "192.0.2.7:8443", "[2001:db8::7]:8443", "tunnels.example.org",
        "Tunnels.Example.org:8443", "gate:1"};
    static const char *const bad[] = {"",
                                      "example.org",
                                      "tunnels.example.org.evil.example",
                                      "evil.tunnels.example.org",
                                      "[gate]",
                                      "gate.",
                                      "2001:db8::7",
                                      "192.0.2.7.evil.example",
                                      "gate:x",
                                      "[::1"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct head_field host = field(good[i]);
        if (!head_host_is_known(&host, &names))
            fail_msg("%s was refused", good[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct head_field host = field(bad[i]);
        if (head_host_is_known(&host, &names))
            fail_msg("%s was accepted", bad[i]);
    }
    struct head_field host = field("gate");
    assert_false(head_host_is_known(&host, NULL));
}

static void test_head_cross_site(void **state)
{
    (void)state;
    const struct head_field host = field("localhost:8080"), same = field("http://localhost:8080");
    const struct head_field other = field("http://localhost:8081"), null = field("null"), none = field("none");
    const struct head_field same_origin = field("same-origin"), same_site = field("same-site");
    const struct head_facts good[] = {{.host = &host},
                                      {.host = &host, .origin = &same},
                                      {.host = &host, .fetch_site = &none},
                                      {.host = &host, .origin = &same, .fetch_site = &same_origin}};
    const struct head_facts bad[] = {{.host = &host, .origin = &other},
                                     {.host = &host, .origin = &null},
                                     {.host = &host, .fetch_site = &same_site},
                                     {.host = &host, .origin = &same, .fetch_site = &same_site}};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_false(head_is_cross_site(&good[i], false));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_true(head_is_cross_site(&bad[i], false));
    /* the scheme is part of the site */
    const struct head_field secure = field("https://localhost:8080");
    const struct head_facts with_tls = {.host = &host, .origin = &secure}, without = {.host = &host, .origin = &same};
    assert_false(head_is_cross_site(&with_tls, true));
    assert_true(head_is_cross_site(&with_tls, false));
    assert_true(head_is_cross_site(&without, true));
}

/* ---- targets ----------------------------------------------------------------------------------------------------- */

static void test_target_path(void **state)
{
    (void)state;
    struct target target;
    assert_int_equal(target_parse("/v1/devices/tun%30/addresses/fd00%3A3::11/64", &target, NULL), 0);
    assert_int_equal(target.segment_count, 6);
    assert_string_equal(target.segments[2], "tun0");
    assert_string_equal(target.segments[4], "fd00:3::11");
    /* once: what comes out is not looked at again; and a slash that was encoded parts nothing */
    assert_int_equal(target_parse("/a%2Fb/%252e/%25", &target, NULL), 0);
    assert_int_equal(target.segment_count, 3);
    assert_string_equal(target.segments[0], "a/b");
    assert_string_equal(target.segments[1], "%2e");
    assert_string_equal(target.segments[2], "%");
    assert_int_equal(target_parse("/", &target, NULL), 0);
    assert_int_equal(target.segment_count, 1);
    assert_string_equal(target.segments[0], "");
}

static void test_target_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        "*",      "v1",    "http://localhost/v1",
                                      "/a b",    "/%",     "/%4",   "/%zz",
                                      "/%00",    "/a%0Ab", "/%7f",  "/%ff",
                                      "/%c0%af", "/a#b",   "/\x80", "/a\\b",
                                      "/<",      "/a\"b"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct target target;
        struct err e = {0};
        if (target_parse(bad[i], &target, &e) != -EINVAL || e.code != ERR_INVALID_REQUEST || target.segment_count)
            fail_msg("\"%s\" was accepted", bad[i]);
    }
    char long_one[TARGET_LENGTH_MAX + 3];
    struct target target;
    memset(long_one, 'a', sizeof long_one - 1);
    long_one[0] = '/';
    long_one[sizeof long_one - 1] = '\0';
    assert_int_equal(target_parse(long_one, &target, NULL), -EINVAL);
    assert_int_equal(target_parse("/1/2/3/4/5/6/7/8/9", &target, NULL), -ENOENT);
}

static void test_target_query(void **state)
{
    (void)state;
    static const char *const bad[] = {"/?a=1&a=2", "/?a=1&%61=2", "/?a=%", "/?%00=1", "/?a=%0a", "/?1&2&3&4&5&6&7&8&9"};
    struct target target;
    assert_int_equal(target_parse("/x?metric=100&&table=2%354&flag&e=a=b?", &target, NULL), 0);
    assert_int_equal(target.query_count, 4);
    assert_string_equal(target_query_find(&target, "metric"), "100");
    assert_string_equal(target_query_find(&target, "table"), "254");
    assert_string_equal(target_query_find(&target, "flag"), "");
    assert_string_equal(target_query_find(&target, "e"), "a=b?");
    assert_null(target_query_find(&target, "Metric"));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct err e = {0};
        if (target_parse(bad[i], &target, &e) != -EINVAL || e.code != ERR_INVALID_QUERY || target.query_count)
            fail_msg("\"%s\" was accepted", bad[i]);
    }
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static const struct route_row *find(const char *method, const char *path, const char *variables[3], char allow[64])
{
    static struct target target;
    assert_int_equal(target_parse(path, &target, NULL), 0);
    return route_table_find(method, &target, variables, allow);
}

static void test_route_found(void **state)
{
    (void)state;
    const char *variables[REQUEST_VARIABLES_MAX];
    char allow[ROUTE_ALLOW_SIZE];
    const struct route_row *row = find("GET", "/v1/devices", variables, allow);
    assert_non_null(row);
    assert_ptr_equal(find("HEAD", "/v1/devices", variables, allow), row);
    row = find("PUT", "/v1/devices/tun0/addresses/fd00:3::11/64", variables, allow);
    assert_non_null(row);
    assert_string_equal(variables[0], "tun0");
    assert_string_equal(variables[1], "fd00:3::11");
    assert_string_equal(variables[2], "64");
    assert_int_equal(find("GET", "/healthz", variables, allow)->role, ROLE_NOBODY);
    assert_int_equal(find("GET", "/readyz", variables, allow)->role, ROLE_NOBODY);
    assert_int_equal(find("GET", "/", variables, allow)->role,
                     ROLE_NOBODY); /* the dashboard: it has a form to sign in */
}

static void test_route_not_found(void **state)
{
    (void)state;
    static const char *const paths[] = {"/assets",
                                        "/v1",
                                        "/v1/",
                                        "/v1/devices/",
                                        "/v1//devices",
                                        "/v1/devices/tun0/",
                                        "//healthz",
                                        "/V1/devices",
                                        "/v1%2Fdevices",
                                        "/healthz/",
                                        "/v1/devicesx",
                                        "/v1/device",
                                        "/v1/devices/tun0/addresses/1.2.3.4",
                                        "/v1/devices/tun0/addresses//24",
                                        "/v1/devices/tun0/addresses/1.2.3.4/24/x"};
    const char *variables[REQUEST_VARIABLES_MAX];
    char allow[ROUTE_ALLOW_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (find("GET", paths[i], variables, allow) || *allow)
            fail_msg("%s was found", paths[i]);
    assert_null(find("PATCH", "/v1/devices/x/worker", variables, allow));
    assert_string_equal(allow, "GET, HEAD, PUT, DELETE");
    assert_null(find("get", "/v1/devices", variables, allow));
    assert_string_equal(allow, "GET, HEAD, POST");
    assert_null(find("GET", "/v1/devices/x/addresses/1.2.3.4/24", variables, allow));
    assert_string_equal(allow, "PUT, DELETE");
}

static void test_route_query(void **state)
{
    (void)state;
    const char *variables[REQUEST_VARIABLES_MAX];
    char allow[ROUTE_ALLOW_SIZE];
    struct target target;
    target_parse("/v1/devices/a/routes/10.0.0.0/8?metric=1&tabel=2", &target, NULL);
    const struct route_row *row = route_table_find("DELETE", &target, variables, allow);
    assert_non_null(row);
    assert_string_equal(route_table_unknown_query(row, &target), "tabel");
    target_parse("/v1/devices/a/routes/10.0.0.0/8?metric=1&table=2", &target, NULL);
    assert_null(route_table_unknown_query(row, &target));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_plain),       cmocka_unit_test(test_head_ambiguous),
        cmocka_unit_test(test_head_contiguous),  cmocka_unit_test(test_head_media_type),
        cmocka_unit_test(test_head_hosts),       cmocka_unit_test(test_head_cross_site),
        cmocka_unit_test(test_head_known_hosts), cmocka_unit_test(test_target_path),
        cmocka_unit_test(test_target_bad),       cmocka_unit_test(test_target_query),
        cmocka_unit_test(test_route_found),      cmocka_unit_test(test_route_not_found),
        cmocka_unit_test(test_route_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* On what terms a request is to be carried out: its preconditions, dry_run and confirm_s. */
#include "http/precondition.h"
#include "http/route_table.h"
#include "http/terms.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- preconditions ----------------------------------------------------------------------------------------------- */

/* Field lines, "Name: value". */
static struct head head_of(const char *const *lines)
{
    struct head head = {.method = "PUT", .target = "/", .version = "HTTP/1.1"};
    for (; *lines; lines++) {
        const char *colon = strchr(*lines, ':'), *value = colon + 1 + strspn(colon + 1, " ");
        head.fields[head.field_count++] = (struct head_field){*lines, value, (size_t)(colon - *lines), strlen(value)};
    }
    return head;
}
#define HEAD(...) head_of((const char *const[]){__VA_ARGS__, NULL})

static struct precondition precondition_of(const struct head *head)
{
    struct precondition precondition;
    struct err e = {0};
    if (precondition_read(head, &precondition, &e))
        fail_msg("%s", e.message);
    return precondition;
}

static void test_precondition_none(void **state)
{
    (void)state;
    struct head head = HEAD("Host: x", "If-Match-Not: \"a\"", "If-Mat: \"a\"");
    struct precondition precondition = precondition_of(&head);
    assert_false(precondition.match.is_present);
    assert_false(precondition.none_match.is_present);
    assert_int_equal(precondition_check(&precondition, NULL, NULL), 0);
    assert_int_equal(precondition_check(&precondition, "\"a\"", NULL), 0);
}

static void test_precondition_any(void **state)
{
    (void)state;
    struct head head = HEAD("if-match: *");
    struct precondition precondition = precondition_of(&head);
    assert_true(precondition.match.is_present && precondition.match.any && !precondition.match.count);
    assert_int_equal(precondition_check(&precondition, "\"a\"", NULL), 0);
    assert_int_equal(precondition_check(&precondition, NULL, NULL), -ECANCELED);
    head = HEAD("If-None-Match: * ");
    precondition = precondition_of(&head);
    assert_true(precondition.none_match.any);
    assert_int_equal(precondition_check(&precondition, "\"a\"", NULL), -ECANCELED);
    assert_int_equal(precondition_check(&precondition, NULL, NULL), 0);
}

static void test_precondition_list(void **state)
{
    (void)state;
    struct head head = HEAD("If-Match: \"a\",\"b-2\" ,\t\"\",, \"a\"", "Host: x", "IF-MATCH: ,\"c,\xc3\xa4\"");
    struct precondition precondition = precondition_of(&head);
    assert_int_equal(precondition.match.count, 4); /* twice the same is once */
    assert_string_equal(precondition.match.tags[0], "\"a\"");
    assert_string_equal(precondition.match.tags[1], "\"b-2\"");
    assert_string_equal(precondition.match.tags[2], "\"\"");
    assert_string_equal(precondition.match.tags[3], "\"c,\xc3\xa4\"");
}

static void test_precondition_weak(void **state)
{
    (void)state;
    struct head head = HEAD("If-Match: W/\"a\"");
    struct precondition precondition = precondition_of(&head);
    assert_true(precondition.match.is_present && !precondition.match.count);
    assert_int_equal(precondition_check(&precondition, "\"a\"", NULL), -ECANCELED);
    head = HEAD("If-None-Match: W/\"a\"");
    precondition = precondition_of(&head);
    assert_int_equal(precondition_check(&precondition, "\"a\"", NULL), -ECANCELED);
    assert_int_equal(precondition_check(&precondition, "\"b\"", NULL), 0);
}

static void test_precondition_long(void **state)
{
    (void)state;
    /* one that none of ours can equal does not count, however many there are */
    char line[4096] = "If-Match: \"a\"";
    for (int i = 0; i < 40; i++)
        strcat(line, ", \"0123456789012345678901234567890123456789012345678901234567890123456789\"");
    struct head head = HEAD(line);
    assert_int_equal(precondition_of(&head).match.count, 1);
    head = HEAD("If-Match: \"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\"");
    assert_int_equal(precondition_of(&head).match.count, 8);
    struct precondition precondition;
    struct err e = {0};
    head = HEAD("If-Match: \"1\",\"2\",\"3\",\"4\"", "If-Match: \"5\",\"6\",\"7\",\"8\",\"9\"");
    assert_int_equal(precondition_read(&head, &precondition, &e), -EINVAL);
    assert_non_null(strstr(e.message, "more than 8"));
}

static void test_precondition_bad(void **state)
{
    (void)state;
    static const char *const values[] = {
        "",           ",",        "a",         "\"",  "\"a",        "a\"",   "\"a\"b",  "\"a\" \"b\"",
        "*, \"a\"",   "\"a\", *", "**",        "*,*", "W/",         "W/a",   "w/\"a\"", "W\"a\"",
        "\"a\"; x=1", "\"a b\"",  "\"a\x7f\"", "'a'", "\"a\\\"b\"", "W/\"a", "W/*",     "\"a\",b",
    };
    static const char *const names[] = {"If-Match: ", "If-None-Match: "};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
            char line[64];
            struct precondition precondition;
            struct err e = {0};
            strcpy(line, names[j]);
            strcat(line, values[i]);
            struct head head = HEAD(line);
            if (!precondition_read(&head, &precondition, &e))
                fail_msg("'%s' was taken", line);
            assert_int_equal(e.code, ERR_INVALID_REQUEST);
            assert_memory_equal(e.message, names[j], strlen(names[j]) - 2);
        }
    struct precondition precondition;
    struct head head = HEAD("If-Match: *", "If-Match: \"a\"");
    assert_int_equal(precondition_read(&head, &precondition, NULL), -EINVAL);
}

/* ---- dry_run and confirm_s --------------------------------------------------------------------------------------- */

/* 0, or the code of what is wrong. */
static enum err_code terms_of(unsigned flags, const char *path, struct terms *ret_terms)
{
    static const struct head none = {.method = "PUT", .target = "/", .version = "HTTP/1.1"};
    const struct route_row row = {.method = "PUT", .flags = flags};
    struct target target;
    struct err e = {0};
    assert_int_equal(target_parse(path, &target, NULL), 0);
    return terms_read(&row, &target, &none, ret_terms, &e) ? e.code : ERR_NONE;
}

static void test_terms_good(void **state)
{
    (void)state;
    struct terms terms;
    assert_int_equal(terms_of(ROUTE_MUTATION, "/x", &terms), ERR_NONE);
    assert_true(!terms.dry_run && !terms.confirm_s && !terms.precondition.match.is_present);
    assert_int_equal(terms_of(ROUTE_MUTATION, "/x?dry_run=true", &terms), ERR_NONE);
    assert_true(terms.dry_run);
    assert_int_equal(terms_of(ROUTE_MUTATION, "/x?dry_run=false&confirm_s=86400", &terms), ERR_NONE);
    assert_true(!terms.dry_run && terms.confirm_s == 86400);
    assert_int_equal(terms_of(0, "/x?dry_run=maybe&confirm_s=0", &terms), ERR_NONE); /* not this row's */
}

static void test_terms_bad(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/x?dry_run",
        "/x?dry_run=",
        "/x?dry_run=1",
        "/x?dry_run=TRUE",
        "/x?dry_run=true%20",
        "/x?confirm_s=",
        "/x?confirm_s=0",
        "/x?confirm_s=-1",
        "/x?confirm_s=86401",
        "/x?confirm_s=1.5",
        "/x?confirm_s=60s",
        "/x?confirm_s=%2060",
        "/x?confirm_s=018446744073709551617",
        "/x?dry_run=true&confirm_s=60",
    };
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct terms terms;
        if (terms_of(ROUTE_MUTATION, paths[i], &terms) != ERR_INVALID_QUERY)
            fail_msg("%s was taken", paths[i]);
    }
}

static void test_terms_conditional(void **state)
{
    (void)state;
    struct head head = HEAD("If-Match: nonsense");
    const struct route_row row = {.method = "GET", .flags = ROUTE_CONDITIONAL}, other = {.method = "GET"};
    struct target target;
    struct terms terms;
    assert_int_equal(target_parse("/x", &target, NULL), 0);
    assert_int_equal(terms_read(&row, &target, &head, &terms, NULL), -EINVAL);
    assert_int_equal(terms_read(&other, &target, &head, &terms, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precondition_none), cmocka_unit_test(test_precondition_any),
        cmocka_unit_test(test_precondition_list), cmocka_unit_test(test_precondition_weak),
        cmocka_unit_test(test_precondition_long), cmocka_unit_test(test_precondition_bad),
        cmocka_unit_test(test_terms_good),        cmocka_unit_test(test_terms_bad),
        cmocka_unit_test(test_terms_conditional),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

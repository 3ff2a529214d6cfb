/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/expression.h"

#include "tunwright/model.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

/* What the expressions, with blanks between, make of an empty patch. */
static void sets(const char *expressions, const char *expected)
{
    cJSON *patch = cJSON_CreateObject();
    char *copy = strdup(expressions), *rest = copy;
    struct err e = {0};

    for (char *item; (item = strsep(&rest, " "));)
        if (expression_set(patch, item, &e) < 0)
            fail_msg("%s: %s", item, e.message);
    char *text = cJSON_PrintUnformatted(patch);
    assert_string_equal(text, expected);
    cJSON_free(text);
    free(copy);
    cJSON_Delete(patch);
}

static void refuses(const char *expressions)
{
    cJSON *patch = cJSON_CreateObject();
    char *copy = strdup(expressions), *rest = copy;
    struct err e = {0};
    int error = 0;

    for (char *item; !error && (item = strsep(&rest, " "));)
        error = expression_set(patch, item, &e);
    if (error != -EINVAL)
        fail_msg("%s should be refused", expressions);
    assert_true(e.message[0] != '\0');
    free(copy);
    cJSON_Delete(patch);
}

static void test_values(void **state)
{
    (void)state;
    sets("mtu=1400", "{\"mtu\":1400}");
    sets("up=false owner=4294967294", "{\"up\":false,\"owner\":4294967294}");
    sets("mtu=null", "{\"mtu\":null}");
    sets("drift=report", "{\"drift\":\"report\"}");
    /* text by its nature, whatever it looks like */
    sets("labels.tier=1 labels.on=true", "{\"labels\":{\"tier\":\"1\",\"on\":\"true\"}}");
    sets("labels.old=null labels.text=\"null\"", "{\"labels\":{\"old\":null,\"text\":\"null\"}}");
    sets("labels.a.b/c=x=y", "{\"labels\":{\"a.b/c\":\"x=y\"}}");
    sets("labels.empty=", "{\"labels\":{\"empty\":\"\"}}");
    sets("netns=7 master=12", "{\"netns\":\"7\",\"master\":\"12\"}");
    sets("netns=null", "{\"netns\":null}");
    sets("worker.interface=0 worker.mark=7", "{\"worker\":{\"interface\":\"0\",\"mark\":7}}");
    sets("worker.offload.tso=false worker.remote=10.0.0.1:5",
         "{\"worker\":{\"offload\":{\"tso\":false},\"remote\":\"10.0.0.1:5\"}}");
    /* lists and short forms */
    sets("addresses=10.0.0.1/24,fd00::1/64", "{\"addresses\":[\"10.0.0.1/24\",\"fd00::1/64\"]}");
    sets("addresses=", "{\"addresses\":[]}");
    sets("addresses=[\"10.0.0.1/24\"]", "{\"addresses\":[\"10.0.0.1/24\"]}");
    sets("routes=10.9.0.0/16,metric=5", "{\"routes\":[{\"to\":\"10.9.0.0/16\",\"metric\":5}]}");
    sets("routes=", "{\"routes\":[]}");
    sets("routes=null", "{\"routes\":null}");
    sets("worker=none", "{\"worker\":null}");
    sets("worker=echo", "{\"worker\":{\"type\":\"echo\"}}");
    sets("worker={\"type\":\"echo\"}", "{\"worker\":{\"type\":\"echo\"}}");
}

static void test_refusals(void **state)
{
    (void)state;
    refuses("mtu");
    refuses("=5");
    refuses("a..b=1");
    refuses(".a=1");
    refuses("labels.=1");
    refuses("a.b.c.d.e.f.g=1");
    refuses("mtu=1 mtu=2");
    refuses("worker=echo worker.type=udp");
    refuses("worker.type=udp worker=echo");
    refuses("worker=null worker.type=udp");
    refuses("routes=[{\"to\"");
    refuses("addresses={");
    refuses("worker=udp,local");
    refuses("worker=,local=1");
    refuses("worker=udp,local=1,local=2");
    refuses("worker=udp,a.b=1,a=2");
    refuses("worker=udp,a=2,a.b=1");
    refuses("worker=udp,a..b=1");
    refuses("routes=via=10.0.0.1");
}

/* A document's lists after the edits. */
static void edits(const char *document, const char *expressions, const char *expected)
{
    cJSON *json = cJSON_Parse(document);
    char *copy = strdup(expressions), *rest = copy;
    struct err e = {0};

    for (char *item; (item = strsep(&rest, " "));)
        if (expression_edit(json, item, &e) < 0)
            fail_msg("%s: %s", item, e.message);
    char *text = cJSON_PrintUnformatted(json);
    assert_string_equal(text, expected);
    cJSON_free(text);
    free(copy);
    cJSON_Delete(json);
}

static int edit_fails(const char *document, const char *expression)
{
    cJSON *json = cJSON_Parse(document);
    struct err e = {0};
    int error = expression_edit(json, expression, &e);

    assert_true(error < 0 && e.message[0]);
    cJSON_Delete(json);
    return error;
}

#define ROUTE(metric) "{\"to\":\"10.9.0.0/16\",\"via\":null,\"metric\":" #metric ",\"table\":254}"

static void test_edits(void **state)
{
    (void)state;
    edits("{\"addresses\":[\"10.0.0.1/24\"]}", "addresses+=10.0.0.2/24",
          "{\"addresses\":[\"10.0.0.1/24\",\"10.0.0.2/24\"]}");
    edits("{\"addresses\":[\"10.0.0.1/24\"]}", "addresses+=10.0.0.1/24", "{\"addresses\":[\"10.0.0.1/24\"]}");
    edits("{\"addresses\":[\"a\",\"b\",\"c\"]}", "addresses-=b,c", "{\"addresses\":[\"a\"]}");
    edits("{}", "addresses+=a", "{\"addresses\":[\"a\"]}");
    edits("{\"routes\":[" ROUTE(0) "," ROUTE(5) "]}", "routes-=10.9.0.0/16,metric=5", "{\"routes\":[" ROUTE(0) "]}");
    edits("{\"routes\":[" ROUTE(0) "]}", "routes-=10.9.0.0/16", "{\"routes\":[]}");
    /* the same route again, with another gateway, takes its place */
    edits("{\"routes\":[" ROUTE(5) "]}", "routes+=10.9.0.0/16,metric=5,via=10.0.0.2",
          "{\"routes\":[{\"to\":\"10.9.0.0/16\",\"metric\":5,\"via\":\"10.0.0.2\"}]}");
    assert_int_equal(edit_fails("{\"addresses\":[]}", "addresses-=a"), -ENOENT);
    assert_int_equal(edit_fails("{\"routes\":[" ROUTE(0) "," ROUTE(5) "]}", "routes-=10.9.0.0/16"), -EINVAL);
    assert_int_equal(edit_fails("{\"routes\":[" ROUTE(0) "]}", "routes-=10.9.0.0/16,table=7"), -ENOENT);
    assert_int_equal(edit_fails("{}", "mtu+=1"), -EINVAL);
    assert_int_equal(edit_fails("{}", "addresses+="), -EINVAL);
    assert_int_equal(edit_fails("{}", "addresses=a"), -EINVAL);
    assert_int_equal(edit_fails("{\"addresses\":7}", "addresses+=a"), -EINVAL);
    assert_int_equal(expression_kind("a=b"), EXPRESSION_SET);
    assert_int_equal(expression_kind("a+=b"), EXPRESSION_ADD);
    assert_int_equal(expression_kind("a-=b"), EXPRESSION_REMOVE);
    assert_int_equal(expression_kind("labels.x=a+=b"), EXPRESSION_SET);
}

static void test_short_forms(void **state)
{
    cJSON *json = NULL;
    struct err e = {0};

    (void)state;
    assert_int_equal(expression_route("fd00:9::/64,via=fd00::2,table=100,type=unicast", &json, &e), 0);
    char *text = cJSON_PrintUnformatted(json);
    assert_string_equal(text, "{\"to\":\"fd00:9::/64\",\"via\":\"fd00::2\",\"table\":100,\"type\":\"unicast\"}");
    cJSON_free(text);
    cJSON_Delete(json);
    assert_int_equal(expression_worker("udp,local=[::1]:5000,remote=[::2]:5000,offload.tso=false,mark=null", &json, &e),
                     0);
    text = cJSON_PrintUnformatted(json);
    assert_string_equal(text, "{\"type\":\"udp\",\"local\":\"[::1]:5000\",\"remote\":\"[::2]:5000\","
                              "\"offload\":{\"tso\":false},\"mark\":null}");
    cJSON_free(text);
    cJSON_Delete(json);
    assert_int_equal(expression_route("", &json, &e), -EINVAL);
    assert_int_equal(expression_worker("udp,", &json, &e), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_short_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Where a kernel differs from a document, in the document's words. */
#include "engine/deviation.h"

#include "engine/converge.h"
#include "engine_fixture.h"

#include <errno.h>
#include <sys/socket.h>

/* Brings a kernel to `is`, and says how that differs from `document`. Owned. */
static char *deviations_of(const char *is, const char *document)
{
    CLEANUP(device_done) struct device *now = device_of(document);
    CLEANUP(device_done) struct device *was = is ? device_of(is) : NULL;
    struct kernel_fake *fake = kernel_fake_new();
    struct converge_item item = {.wanted = {.uuid = uuid_of(1), .name = "tun0", .netns = "", .now = was}};
    struct wanted wanted = {.uuid = uuid_of(1), .name = "tun0", .netns = now->netns, .now = now, .before = now};
    static const char *const netns[] = {"blue"};
    CLEANUP(plan_index_done) struct plan_index index = {0};
    struct observed look = {0};
    struct plan plan = {0};
    struct deviation *found = NULL;
    size_t count = 0;
    struct buf text = {0};

    assert_int_equal(fake->kernel.ops->observe(&fake->kernel, netns, 1, &look, NULL), 0);
    if (was)
        assert_int_equal(converge(&fake->kernel, &item, 1, CONVERGE_ATOMIC, &look, NULL), 0);
    observed_done(&look);
    assert_int_equal(fake->kernel.ops->observe(&fake->kernel, netns, 1, &look, NULL), 0);
    assert_int_equal(plan_index_build(&look, &index), 0);
    assert_int_equal(plan_device(&plan, &wanted, &index, NULL), 0);
    assert_int_equal(deviations_find(
                         &(struct deviation_sight){
                             .device = now,
                             .link = plan_index_device(&index, &wanted.uuid, now->netns, now->name),
                             .worker = plan_index_worker(&index, &wanted.uuid),
                             .steps = plan.steps,
                             .step_count = plan.count,
                         },
                         &found, &count),
                     0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(json_check(found[i].wanted, strlen(found[i].wanted), NULL), 0);
        assert_int_equal(json_check(found[i].found, strlen(found[i].found), NULL), 0);
        buf_printf(&text, "%s%s %s: %s, not %s", i ? "; " : "", found[i].pointer, found[i].operation, found[i].found,
                   found[i].wanted);
    }
    buf_add_text(&text, "");
    free(found);
    plan_done(&plan);
    observed_done(&look);
    fake->kernel.ops->close(&fake->kernel);
    return buf_take(&text);
}

static void test_each(void **state)
{
    static const struct {
        const char *is, *document, *expected;
    } rows[] = {
        {"'kind':'tun'", "'kind':'tun'", ""},
        {NULL, "'kind':'tun','worker':{'type':'echo'}", "/name device_create: null, not \"tun0\""},
        {"'kind':'tap'", "'kind':'tun'", "/kind device_create: \"tap\", not \"tun\""},
        {"'kind':'tun','queues':2", "'kind':'tun'", "/queues device_create: 2, not 1"},
        {"'kind':'tun','netns':'blue'", "'kind':'tun'", "/netns device_create: \"blue\", not null"},
        {"'kind':'tun'", "'kind':'tun','mtu':1400,'up':false,'txqueuelen':7,'owner':5",
         "/up link_set: true, not false; /mtu link_set: 1500, not 1400; /txqueuelen link_set: 1000, not 7; "
         "/owner link_set: null, not 5"},
        {"'kind':'tap','mac':'02:00:00:00:00:07'", "'kind':'tap','mac':'02:00:00:00:00:08'",
         "/mac link_set: \"02:00:00:00:00:07\", not \"02:00:00:00:00:08\""},
        {"'kind':'tun','addresses':['10.0.0.1/24','10.1.0.1/24']",
         "'kind':'tun','addresses':['10.0.0.1/24','fd00::1/64']",
         "/addresses/1 address_add: null, not \"fd00::1/64\"; /addresses address_delete: \"10.1.0.1/24\", not null"},
        {"'kind':'tun','addresses':['10.0.0.1/24','10.0.0.2/24']",
         "'kind':'tun','addresses':['10.0.0.2/24','10.0.0.1/24']",
         "/addresses/1 address_add: \"10.0.0.1/24\", not \"10.0.0.1/24\""},
        {"'kind':'tun','routes':[{'to':'10.9.0.0/16'},{'to':'10.8.0.0/16'}]",
         "'kind':'tun','routes':[{'to':'10.9.0.0/16','metric':3}]",
         "/routes/0 route_add: null, not "
         "{\"to\":\"10.9.0.0/16\",\"via\":null,\"metric\":3,\"table\":254,\"type\":\"unicast\",\"source\":null}; "
         "/routes route_delete: "
         "{\"to\":\"10.8.0.0/16\",\"via\":null,\"metric\":0,\"table\":254,\"type\":\"unicast\",\"source\":null}, not "
         "null; "
         "/routes route_delete: "
         "{\"to\":\"10.9.0.0/16\",\"via\":null,\"metric\":0,\"table\":254,\"type\":\"unicast\",\"source\":null}, not "
         "null"},
        {"'kind':'tun','addresses':['10.0.0.1/24'],'routes':[{'to':'10.9.0.0/16','via':'10.0.0.7'}]",
         "'kind':'tun','addresses':['10.0.0.1/24'],'routes':[{'to':'10.9.0.0/16','via':'10.0.0.8'}]",
         "/routes/0 route_add: "
         "{\"to\":\"10.9.0.0/"
         "16\",\"via\":\"10.0.0.7\",\"metric\":0,\"table\":254,\"type\":\"unicast\",\"source\":null}, not "
         "{\"to\":\"10.9.0.0/"
         "16\",\"via\":\"10.0.0.8\",\"metric\":0,\"table\":254,\"type\":\"unicast\",\"source\":null}"},
        {"'kind':'tun'", "'kind':'tun','worker':{'type':'echo'}",
         "/worker worker_start: null, not {\"type\":\"echo\"}"},
        {"'kind':'tun','worker':{'type':'echo'}", "'kind':'tun'",
         "/worker worker_stop: {\"state\":\"running\"}, not null"},
        {"'kind':'tun','worker':{'type':'echo'}", "'kind':'tun','worker':{'type':'monitor'}",
         "/worker worker_configure: {\"state\":\"running\"}, not {\"type\":\"monitor\"}"},
        /* all at once, in the document's order */
        {"'kind':'tun','addresses':['10.0.0.1/24']",
         "'kind':'tun','mtu':1400,'routes':[{'to':'10.9.0.0/16','type':'blackhole'}],'worker':{'type':'echo'}",
         "/mtu link_set: 1500, not 1400; /addresses address_delete: \"10.0.0.1/24\", not null; /routes/0 route_add: "
         "null, not "
         "{\"to\":\"10.9.0.0/16\",\"via\":null,\"metric\":0,\"table\":254,\"type\":\"blackhole\",\"source\":null}; "
         "/worker worker_start: null, not {\"type\":\"echo\"}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char is[512], document[512];
        CLEANUP(text_done) char *found = NULL;

        snprintf(is, sizeof(is), "{'name':'tun0',%s}", rows[i].is ? rows[i].is : "");
        snprintf(document, sizeof(document), "{'name':'tun0',%s}", rows[i].document);
        found = deviations_of(rows[i].is ? is : NULL, document);
        assert_string_equal(found, rows[i].expected);
    }
}

/* The longest of all texts is one. */
static void test_long_route(void **state)
{
    CLEANUP(text_done)
    char *found =
        deviations_of("{'name':'tun0','kind':'tun','addresses':['2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/64']}",
                      "{'name':'tun0','kind':'tun','addresses':['2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/64'],"
                      "'routes':[{'to':'2001:db8:1111:2222:3333:4444:5555:6666/128',"
                      "'via':'2001:db8:aaaa:bbbb:cccc:dddd:eeee:1111','metric':4294967294,'table':4294967295,"
                      "'source':'2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff'}]}");

    (void)state;
    assert_non_null(strstr(found, "\"source\":\"2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff\"}"));
}

/* More than are shown, and no time wasted on the rest. */
static void test_many(void **state)
{
    struct deviation *found = NULL;
    size_t count = 0, steps = 16384;
    CLEANUP(device_done) struct device *device = device_of("{'name':'tun0','kind':'tun'}");
    struct step *list = calloc(steps, sizeof(*list));
    struct observed_link link = {.name = "tun0"};

    (void)state;
    for (size_t i = 0; i < steps; i++) {
        list[i].kind = i % 2 ? STEP_ROUTE_DELETE : STEP_ROUTE_ADD;
        list[i].route = (struct route){.to = {.addr = {.family = AF_INET}, .length = 32}, .table = 254};
        list[i].route.metric = (uint32_t)i;
    }
    assert_int_equal(
        deviations_find(&(struct deviation_sight){.device = device, .link = &link, .steps = list, .step_count = steps},
                        &found, &count),
        0);
    assert_int_equal(count, DEVIATIONS_MAX);
    free(found);
    free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each), cmocka_unit_test(test_long_route),
                                       cmocka_unit_test(test_many)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

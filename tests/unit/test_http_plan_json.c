/* SPDX-License-Identifier: Apache-2.0 */
/* What a dry run answers: each kind of step, and the worst of what they disturb. */
#include "http/plan_json.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Single quotes stand for double ones. */
static void check(const struct plan *plan, bool changed, const char *differences, const char *expected)
{
    cJSON *json = plan_to_json(plan, changed, differences);
    assert_non_null(json);
    char *text = cJSON_PrintUnformatted(json), *wanted = strdup(expected);
    assert_non_null(text);
    assert_non_null(wanted);
    for (char *c = wanted; *c; c++)
        if (*c == '\'')
            *c = '"';
    assert_string_equal(text, wanted);
    free(wanted);
    cJSON_free(text);
    cJSON_Delete(json);
}

static void check_step(struct step step, const char *expected)
{
    char whole[1024];
    const struct plan plan = {.steps = &step, .count = 1};
    strcpy(step.device.name, "tun0");
    snprintf(whole, sizeof whole,
             "{'changed':true,'disturbs':'none','steps':[{'device':'tun0','netns':null,%s}],'differences':[]}",
             expected);
    check(&plan, true, "[]", whole);
}

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix prefix;
    assert_int_equal(ip_prefix_parse(text, &prefix), 0);
    return prefix;
}

static void test_nothing(void **state)
{
    (void)state;
    const struct plan plan = {.count = 0};
    check(&plan, false, NULL, "{'changed':false,'disturbs':'none','steps':[],'differences':[]}");
}

static void test_worst(void **state)
{
    (void)state;
    struct step steps[] = {
        {.kind = STEP_WORKER_STOP, .disturbs = DISTURBS_FLAP, .device = {.name = "a"}},
        {.kind = STEP_DEVICE_DELETE, .disturbs = DISTURBS_RECREATE, .device = {.name = "b", .netns = "blue"}},
        {.kind = STEP_DEVICE_RELEASE, .disturbs = DISTURBS_NONE, .device = {.name = "c"}},
    };
    const struct plan plan = {.steps = steps, .count = ARRAY_SIZE(steps)};
    check(&plan, true, "[{\"device\":\"a\"}]",
          "{'changed':true,'disturbs':'recreate','steps':["
          "{'device':'a','netns':null,'operation':'worker_stop','disturbs':'flap'},"
          "{'device':'b','netns':'blue','operation':'device_delete','disturbs':'recreate'},"
          "{'device':'c','netns':null,'operation':'device_release','disturbs':'none'}],"
          "'differences':[{'device':'a'}]}");
}

static void test_steps(void **state)
{
    (void)state;
    check_step((struct step){.kind = STEP_ADDRESS_ADD, .address = prefix("fd00:3::11/64")},
               "'operation':'address_add','disturbs':'none','address':'fd00:3::11/64'");
    check_step((struct step){.kind = STEP_ADDRESS_DELETE, .address = prefix("10.0.0.1/24")},
               "'operation':'address_delete','disturbs':'none','address':'10.0.0.1/24'");
    check_step(
        (struct step){.kind = STEP_ROUTE_ADD, .route = {.to = prefix("10.9.0.0/16"), .metric = 100, .table = 254}},
        "'operation':'route_add','disturbs':'none','route':{'to':'10.9.0.0/16','via':null,'metric':100,"
        "'table':254,'type':'unicast','source':null}");
    check_step((struct step){.kind = STEP_DEVICE_ADOPT, .adopt = {.kind = DEVICE_TAP}},
               "'operation':'device_adopt','disturbs':'none'");
}

static void test_create(void **state)
{
    (void)state;
    check_step((struct step){.kind = STEP_DEVICE_CREATE,
                             .create = {.kind = DEVICE_TAP,
                                        .queues = 2,
                                        .owner = 1000,
                                        .group = OWNER_NONE,
                                        .has_mac = true,
                                        .mac = {2, 0, 0x5e, 0, 0x53, 1}}},
               "'operation':'device_create','disturbs':'none','create':{'kind':'tap','queues':2,"
               "'mac':'02:00:5e:00:53:01','owner':1000,'group':null}");
    check_step((struct step){.kind = STEP_DEVICE_CREATE, .create = {.queues = 1, .owner = OWNER_NONE, .group = 7}},
               "'operation':'device_create','disturbs':'none','create':{'kind':'tun','queues':1,'mac':null,"
               "'owner':null,'group':7}");
}

static void test_link(void **state)
{
    (void)state;
    check_step((struct step){.kind = STEP_LINK_SET, .link = {.set = LINK_MTU, .mtu = 1400, .up = true}},
               "'operation':'link_set','disturbs':'none','link':{'mtu':1400}");
    check_step(
        (struct step){.kind = STEP_LINK_SET,
                      .link = {.set = LINK_TXQUEUELEN | LINK_MAC | LINK_OWNER | LINK_GROUP | LINK_MASTER | LINK_UP,
                               .txqueuelen = 10,
                               .mac = {2, 1},
                               .owner = OWNER_NONE,
                               .group = 5,
                               .up = false}},
        "'operation':'link_set','disturbs':'none','link':{'txqueuelen':10,'mac':'02:01:00:00:00:00',"
        "'owner':null,'group':5,'master':null,'up':false}");
}

/* What a worker is configured with may be secret. */
static void test_worker(void **state)
{
    (void)state;
    char config[] = "{\"device\":{\"name\":\"tun0\"},\"worker\":{\"type\":\"udp\",\"key\":\"canary\"}}";
    check_step((struct step){.kind = STEP_WORKER_CONFIGURE, .worker = {.config = config}},
               "'operation':'worker_configure','disturbs':'none','worker':{'type':'udp'}");
    check_step((struct step){.kind = STEP_WORKER_START, .worker = {.config = NULL}},
               "'operation':'worker_start','disturbs':'none','worker':{'type':null}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing), cmocka_unit_test(test_worst), cmocka_unit_test(test_steps),
        cmocka_unit_test(test_create),  cmocka_unit_test(test_link),  cmocka_unit_test(test_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

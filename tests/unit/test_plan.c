/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_fixture.h"
#include "engine/converge.h"

#include <errno.h>
#include <sys/socket.h>

/* Documents that lead to each other in every direction: test_every_way takes each pair of them. */
static const char *const documents[] = {
    "{'name':'tun0','kind':'tun'}",
    "{'name':'tun0','kind':'tun','up':false,'mtu':1300,'txqueuelen':77,'owner':5,'group':6}",
    "{'name':'tun0','kind':'tun','addresses':['192.168.3.11/24','fd00:3::11/64'],"
    "'routes':[{'to':'10.9.0.0/16','via':'192.168.3.1','metric':100},{'to':'10.10.0.0/16','source':'192.168.3.11'},"
    "{'to':'fd09::/32','via':'fd00:3::1'},{'to':'10.11.0.0/16','type':'blackhole'}]}",
    "{'name':'tun0','kind':'tun','up':false,'addresses':['192.168.3.11/24','fd00:3::11/64'],"
    "'routes':[{'to':'10.9.0.0/16','via':'192.168.3.1','metric':100},{'to':'10.11.0.0/16','type':'blackhole'}]}",
    "{'name':'tun0','kind':'tun','addresses':['192.168.3.12/24','192.168.3.11/24','192.168.3.13/24','10.0.0.1/8'],"
    "'routes':[{'to':'10.11.0.0/16','type':'prohibit'},{'to':'fd11::/16','type':'unreachable'},"
    "{'to':'172.20.0.0/16','via':'172.16.0.9'},{'to':'172.16.0.0/16'}],"
    "'worker':{'type':'udp','local':'10.32.0.11:5000','remote':'10.33.0.1:5000'}}",
    "{'name':'tun0','kind':'tun','mtu':1000,'addresses':['192.168.3.11/24','192.168.3.13/24','192.168.3.12/24'],"
    "'worker':{'type':'udp','local':'10.32.0.11:5000','remote':'10.33.0.2:5000'}}",
    "{'name':'tun0','kind':'tun','queues':4,'worker':{'type':'monitor'}}",
    "{'name':'tun0','kind':'tun','queues':2,'worker':{'type':'monitor'}}",
    "{'name':'tun0','kind':'tap','master':'br0','worker':{'type':'echo'}}",
    "{'name':'tun0','kind':'tap','mac':'02:00:00:00:00:07','addresses':['fd00:3::11/64']}",
    "{'name':'tun0','kind':'tun','netns':'blue','addresses':['192.168.3.11/24'],'routes':[{'to':'10.9.0.0/16'}],"
    "'worker':{'type':'udp','local':'10.32.0.11:5000','remote':'10.33.0.1:5000'}}",
    NULL, /* no device */
};

static struct observed_link *link_add(struct observed *state, const char *name, enum observed_kind kind)
{
    void *links = state->links;
    struct observed_link *link;

    assert_int_equal(array_grow(&links, &state->link_capacity, state->link_count, sizeof(*state->links)), 0);
    state->links = links;
    link = &state->links[state->link_count++];
    *link = (struct observed_link){.kind = kind,
                                   .ifindex = 100 + (uint32_t)state->link_count,
                                   .owner = OWNER_NONE,
                                   .group = OWNER_NONE,
                                   .mtu = 1500};
    assert_int_equal(text_copy(link->name, sizeof(link->name), name), 0);
    return link;
}

static struct kernel_fake *kernel_of_test(void)
{
    struct kernel_fake *fake = kernel_fake_new();

    assert_non_null(fake);
    link_add(&fake->state, "lo", OBSERVED_OTHER);
    link_add(&fake->state, "br0", OBSERVED_OTHER);
    return fake;
}

static void look(struct kernel_fake *fake, struct observed *ret_observed)
{
    static const char *const netns[] = {"blue"};

    memset(ret_observed, 0, sizeof(*ret_observed));
    assert_int_equal(fake->kernel.ops->observe(&fake->kernel, netns, 1, ret_observed, NULL), 0);
}

static struct wanted wanted_of(const struct device *now, const struct device *before, unsigned number)
{
    const struct device *named = now ? now : before;

    return (struct wanted){
        .uuid = uuid_of(number),
        .name = named ? named->name : "tun0",
        .netns = before  ? before->netns
                 : named ? named->netns
                         : "",
        .now = now,
        .before = before,
    };
}

static int plan_try(struct kernel_fake *fake, const struct wanted *wanted, size_t count, struct plan *plan,
                    struct err *ret_err)
{
    struct converge_item *items = calloc(count, sizeof(*items));
    struct observed observed;

    assert_non_null(items);
    for (size_t i = 0; i < count; i++)
        items[i].wanted = wanted[i];
    look(fake, &observed);
    int r = converge_plan(items, count, &observed, plan, ret_err);
    observed_done(&observed);
    free(items);
    return r;
}

static struct plan plan_of(struct kernel_fake *fake, const struct wanted *wanted, size_t count)
{
    struct plan plan = {0};
    struct err err = {0};

    if (plan_try(fake, wanted, count, &plan, &err) < 0)
        fail_msg("%s", err.message);
    return plan;
}

static struct plan plan_one(struct kernel_fake *fake, const struct device *now, const struct device *before)
{
    struct wanted wanted = wanted_of(now, before, 1);

    return plan_of(fake, &wanted, 1);
}

/* All the way; returns how many steps it took. */
static size_t lead(struct kernel_fake *fake, const struct device *now, const struct device *before)
{
    struct converge_item item = {.wanted = wanted_of(now, before, 1)};
    struct observed observed;
    struct err err = {0};

    look(fake, &observed);
    if (converge(&fake->kernel, &item, 1, CONVERGE_ATOMIC, &observed, &err) < 0)
        fail_msg("%s %s", err.pointer, err.message);
    observed_done(&observed);
    return item.applied;
}

static char *text_of(struct kernel_fake *fake)
{
    return kernel_text(&fake->state);
}

static void kinds_of(const struct plan *plan, char *out, size_t size)
{
    size_t length = 0;

    out[0] = '\0';
    for (size_t i = 0; i < plan->count && length < size; i++)
        length +=
            (size_t)snprintf(out + length, size - length, "%s%s", i ? " " : "", step_kind_name(plan->steps[i].kind));
}

/* The plan's steps in one line, and the plan is gone. */
static void expect_plan(struct plan plan, const char *expected)
{
    char kinds[2048];

    kinds_of(&plan, kinds, sizeof(kinds));
    plan_done(&plan);
    assert_string_equal(kinds, expected);
}

static struct device *with(const char *text)
{
    return device_of(text);
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

static void test_create(void **state)
{
    CLEANUP(device_done) struct device *device = with(documents[4]);
    struct kernel_fake *fake = kernel_of_test();
    struct plan plan = plan_one(fake, device, NULL);
    char kinds[2048];

    (void)state;
    kinds_of(&plan, kinds, sizeof(kinds));
    assert_string_equal(kinds, "device_create link_set address_add address_add address_add address_add "
                               "route_add route_add route_add route_add worker_start");
    assert_int_equal(plan.steps[1].link.set, LINK_MTU | LINK_TXQUEUELEN | LINK_UP);
    for (size_t i = 0; i < 3; i++)
        assert_true(ip_prefix_equal(&plan.steps[2 + i].address, &device->addresses[i]));
    assert_int_equal(plan.steps[9].route.via.family, AF_INET); /* the gateway's own route came before it */
    assert_string_equal(plan.steps[10].device.name, "tun0");
    plan_done(&plan);
    fake->kernel.ops->close(&fake->kernel);
}

static void test_removals_first(void **state)
{
    static const char *const before[] = {
        "{'name':'tun0','kind':'tun','addresses':['172.16.0.1/32','192.168.3.11/24'],'routes':[{'to':'10.9.0.0/16'}],"
        "'worker':{'type':'monitor'}}",
        "{'name':'tun1','kind':'tun','addresses':['172.16.0.1/32','192.168.4.11/24']}",
        "{'name':'tun2','kind':'tun'}",
    };
    static const char *const after[] = {
        "{'name':'tun0','kind':'tun','addresses':['172.16.0.1/32','192.168.4.11/24'],'routes':[{'to':'10.8.0.0/16'}]}",
        "{'name':'tun1','kind':'tun','addresses':['172.16.0.1/32','192.168.3.11/24'],'routes':[{'to':'10.9.0.0/16'}]}",
        "{'name':'tun2','kind':'tap'}",
    };
    struct device *old[3], *new[3];
    struct wanted wanted[3];
    struct kernel_fake *fake = kernel_of_test();
    struct plan plan;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        old[i] = device_of(before[i]);
        new[i] = device_of(after[i]);
        wanted[i] = wanted_of(old[i], NULL, i);
    }
    plan = plan_of(fake, wanted, 3);
    for (size_t i = 0; i < plan.count; i++)
        assert_int_equal(fake->kernel.ops->apply(&fake->kernel, &plan.steps[i], NULL), 0);
    plan_done(&plan);
    for (unsigned i = 0; i < 3; i++)
        wanted[i] = wanted_of(new[i], old[i], i);
    plan = plan_of(fake, wanted, 3);
    for (size_t i = 1; i < plan.count; i++)
        assert_true(plan.steps[i - 1].kind <= plan.steps[i].kind);
    expect_plan(plan, "worker_stop route_delete address_delete address_delete device_delete device_create link_set "
                      "address_add address_add route_add route_add");
    for (unsigned i = 0; i < 3; i++) {
        device_free(old[i]);
        device_free(new[i]);
    }
    fake->kernel.ops->close(&fake->kernel);
}

/* ---- what it leads to -------------------------------------------------------------------------------------------- */

/* From each document to each other and back: there is nothing left to do, the same is asked in vain, and the way back
 * ends where it began. */
static void test_every_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(documents); j++) {
            CLEANUP(device_done) struct device *a = documents[i] ? device_of(documents[i]) : NULL;
            CLEANUP(device_done) struct device *b = documents[j] ? device_of(documents[j]) : NULL;
            struct kernel_fake *fake = kernel_of_test();
            CLEANUP(text_done) char *there = NULL;
            CLEANUP(text_done) char *back = NULL;
            size_t steps;

            lead(fake, a, NULL);
            there = text_of(fake);
            steps = lead(fake, b, a);
            if ((i == j) != (steps == 0))
                fail_msg("%zu to %zu took %zu steps", i, j, steps);
            assert_int_equal(lead(fake, b, b), 0);
            lead(fake, a, b);
            back = text_of(fake);
            assert_string_equal(there, back);
            fake->kernel.ops->close(&fake->kernel);
        }
    }
}

/* Wherever a plan breaks off, planning from there leads on to the end, and back to the beginning. */
static void test_from_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
        size_t j = (i + 4) % ARRAY_SIZE(documents);
        CLEANUP(device_done) struct device *a = documents[i] ? device_of(documents[i]) : NULL;
        CLEANUP(device_done) struct device *b = documents[j] ? device_of(documents[j]) : NULL;

        for (size_t broken_at = 1;; broken_at++) {
            struct kernel_fake *fake = kernel_of_test();
            struct converge_item item = {.wanted = wanted_of(b, a, 1)};
            CLEANUP(text_done) char *before = NULL;
            CLEANUP(text_done) char *after = NULL;
            struct observed observed;
            bool broke;

            lead(fake, a, NULL);
            before = text_of(fake);
            look(fake, &observed);
            fake->fail_at = broken_at;
            fake->fail_errno = ENOBUFS;
            broke = converge(&fake->kernel, &item, 1, CONVERGE_ATOMIC, &observed, NULL) < 0;
            fake->fail_at = 0;
            observed_done(&observed);
            lead(fake, a, b);
            after = text_of(fake);
            assert_string_equal(before, after);
            lead(fake, b, a);
            fake->kernel.ops->close(&fake->kernel);
            if (!broke)
                break;
        }
    }
}

static void test_pure(void **state)
{
    CLEANUP(device_done) struct device *a = with(documents[4]);
    CLEANUP(device_done) struct device *b = with(documents[8]);
    struct kernel_fake *fake = kernel_of_test();
    struct plan first, second;

    (void)state;
    lead(fake, a, NULL);
    first = plan_one(fake, b, a);
    second = plan_one(fake, b, a);
    assert_int_equal(first.count, second.count);
    for (size_t i = 0; i < first.count; i++)
        assert_int_equal(first.steps[i].kind, second.steps[i].kind);
    plan_done(&first);
    plan_done(&second);
    fake->kernel.ops->close(&fake->kernel);
}

/* ---- one thing changes, and nothing else ------------------------------------------------------------------------- */

static void test_small_changes(void **state)
{
    static const struct {
        const char *before, *after, *plan;
        uint32_t set;
    } rows[] = {
        {"'mtu':1400,'worker':{'type':'monitor'}", "'mtu':1300,'worker':{'type':'monitor'}", "link_set", LINK_MTU},
        {"'worker':{'type':'monitor'}", "'up':false,'worker':{'type':'monitor'}", "link_set", LINK_UP},
        {"'txqueuelen':5", "'txqueuelen':6,'owner':1", "link_set", LINK_TXQUEUELEN | LINK_OWNER},
        {"'group':5", "'up':true", "link_set", LINK_GROUP},
        {"'addresses':['10.0.0.1/24','10.0.1.1/24']", "'addresses':['10.0.1.1/24']", "address_delete", 0},
        {"'addresses':['10.0.0.1/24']", "'addresses':['10.0.0.1/24','10.0.0.2/24']", "address_add", 0},
        /* the last of IPv4 waits for its successor, or the route would go with it */
        {"'addresses':['10.0.0.1/24'],'routes':[{'to':'10.9.0.0/16'}]",
         "'addresses':['10.0.1.1/24'],'routes':[{'to':'10.9.0.0/16'}]", "address_add address_delete", 0},
        {"'routes':[{'to':'10.0.0.0/8'}]", "'routes':[{'to':'10.0.0.0/8'},{'to':'11.0.0.0/8'}]", "route_add", 0},
        {"'routes':[{'to':'10.0.0.0/8'},{'to':'10.0.0.0/8','metric':5}]", "'routes':[{'to':'10.0.0.0/8'}]",
         "route_delete", 0},
        {"'routes':[{'to':'10.0.0.0/8','type':'blackhole'}]", "'routes':[{'to':'10.0.0.0/8'}]",
         "route_delete route_add", 0},
        {"'labels':{'a':'b'}", "'labels':{'a':'c'},'drift':'report'", "", 0},
        {"'worker':{'type':'monitor'}", "'worker':{'type':'monitor','log_rate':5}", "worker_configure", 0},
        {"'worker':{'type':'monitor'}", "'mtu':1500", "worker_stop", 0},
        {"'up':true", "'worker':{'type':'monitor'}", "worker_start", 0},
        {"'queues':1", "'queues':2", "device_delete device_create link_set", 0},
        {"'queues':4,'worker':{'type':'monitor'}", "'queues':3,'worker':{'type':'monitor'}",
         "worker_stop device_delete device_create link_set worker_start", 0},
        {"'netns':'blue'", "'queues':1", "device_delete device_create link_set", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct kernel_fake *fake = kernel_of_test();
        char text[1024];
        struct plan plan;

        snprintf(text, sizeof(text), "{'name':'tun0','kind':'tun','mtu':1500,%s}", rows[i].before);
        if (strstr(rows[i].before, "mtu"))
            snprintf(text, sizeof(text), "{'name':'tun0','kind':'tun',%s}", rows[i].before);
        CLEANUP(device_done) struct device *before = device_of(text);
        snprintf(text, sizeof(text), "{'name':'tun0','kind':'tun',%s%s}",
                 strstr(rows[i].after, "mtu") ? "" : "'mtu':1500,", rows[i].after);
        CLEANUP(device_done) struct device *after = device_of(text);

        lead(fake, before, NULL);
        plan = plan_one(fake, after, before);
        if (rows[i].set) {
            assert_int_equal(plan.count, 1);
            assert_int_equal(plan.steps[0].link.set, rows[i].set);
        }
        expect_plan(plan, rows[i].plan);
        fake->kernel.ops->close(&fake->kernel);
    }
}

/* What each step says of the traffic. */
static void test_disturbs(void **state)
{
    static const struct {
        const char *before, *after, *plan;
    } rows[] = {
        {NULL, "'kind':'tun','worker':{'type':'monitor'}", "device_create none, link_set none, worker_start none"},
        {"'kind':'tun','worker':{'type':'monitor'}", NULL, "worker_stop flap, device_delete recreate"},
        {"'kind':'tun','worker':{'type':'monitor'}", "'kind':'tun','queues':2,'worker':{'type':'monitor'}",
         "worker_stop flap, device_delete recreate, device_create recreate, link_set none, worker_start flap"},
        {"'kind':'tun','worker':{'type':'monitor'}", "'kind':'tun'", "worker_stop flap"},
        {"'kind':'tun'", "'kind':'tun','worker':{'type':'monitor'}", "worker_start none"},
        {"'kind':'tun','worker':{'type':'monitor'}", "'kind':'tun','worker':{'type':'monitor','log_rate':5}",
         "worker_configure none"},
        {"'kind':'tun'", "'kind':'tun','mtu':1400,'owner':5,'group':6", "link_set none"},
        {"'kind':'tun'", "'kind':'tun','txqueuelen':5", "link_set flap"},
        {"'kind':'tun','up':false", "'kind':'tun','up':false,'txqueuelen':5", "link_set none"},
        {"'kind':'tun'", "'kind':'tun','up':false", "link_set flap"},
        {"'kind':'tun','up':false", "'kind':'tun'", "link_set none"},
        {"'kind':'tap'", "'kind':'tap','mac':'02:00:00:00:00:07'", "link_set flap"},
        {"'kind':'tap'", "'kind':'tap','master':'br0'", "link_set flap"},
        {"'kind':'tun','addresses':['10.0.0.1/24'],'routes':[{'to':'10.9.0.0/16'}]",
         "'kind':'tun','addresses':['10.0.0.1/24','10.1.0.1/24'],'routes':[{'to':'10.8.0.0/16'}]",
         "route_delete none, address_add none, route_add none"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct kernel_fake *fake = kernel_of_test();
        CLEANUP(device_done) struct device *before = NULL;
        CLEANUP(device_done) struct device *after = NULL;
        char text[1024], found[1024] = "";
        struct plan plan;
        size_t length = 0;

        snprintf(text, sizeof(text), "{'name':'tun0',%s}", rows[i].before ? rows[i].before : "");
        before = rows[i].before ? device_of(text) : NULL;
        snprintf(text, sizeof(text), "{'name':'tun0',%s}", rows[i].after ? rows[i].after : "");
        after = rows[i].after ? device_of(text) : NULL;
        lead(fake, before, NULL);
        plan = plan_one(fake, after, before);
        for (size_t k = 0; k < plan.count; k++)
            length += (size_t)snprintf(found + length, sizeof(found) - length, "%s%s %s", k ? ", " : "",
                                       step_kind_name(plan.steps[k].kind), disturbance_name(plan.steps[k].disturbs));
        assert_string_equal(found, rows[i].plan);
        plan_done(&plan);
        fake->kernel.ops->close(&fake->kernel);
    }
}

static void test_worker_that_failed_or_is_another(void **state)
{
    CLEANUP(device_done) struct device *device = with("{'name':'tun0','kind':'tun','worker':{'type':'monitor'}}");
    struct kernel_fake *fake = kernel_of_test();

    (void)state;
    lead(fake, device, NULL);
    fake->state.workers[0].state = WORKER_RESTARTING;
    expect_plan(plan_one(fake, device, device), ""); /* netd is at it */
    fake->state.workers[0].state = WORKER_FAILED;
    expect_plan(plan_one(fake, device, device), "worker_stop worker_start");
    fake->state.workers[0].state = WORKER_RUNNING;
    strcpy(fake->state.workers[0].program, "another");
    expect_plan(plan_one(fake, device, device), "worker_stop worker_start");
    fake->kernel.ops->close(&fake->kernel);
}

/* ---- sabotage ---------------------------------------------------------------------------------------------------- */

static void test_repairs(void **state)
{
    CLEANUP(device_done) struct device *device = with(documents[4]);
    struct kernel_fake *fake = kernel_of_test();
    struct observed_link *link;
    CLEANUP(text_done) char *right = NULL;
    CLEANUP(text_done) char *healed = NULL;

    (void)state;
    lead(fake, device, NULL);
    right = text_of(fake);

    link = (struct observed_link *)(uintptr_t)observed_link_find(&fake->state, "", "tun0");
    strcpy(link->name, "moved"); /* renamed by hand: the worker's queue is of a device that has to go */
    expect_plan(plan_one(fake, device, device),
                "worker_stop device_delete device_create link_set address_add address_add "
                "address_add address_add route_add route_add worker_start");
    lead(fake, device, device);
    healed = text_of(fake);
    assert_string_equal(right, healed);

    link = (struct observed_link *)(uintptr_t)observed_link_find(&fake->state, "", "tun0");
    free(link->addresses);
    free(link->routes);
    *link = fake->state.links[--fake->state.link_count]; /* deleted by hand */
    expect_plan(plan_one(fake, device, device), "worker_stop device_create link_set address_add address_add "
                                                "address_add address_add route_add route_add worker_start");
    lead(fake, device, device);

    link = (struct observed_link *)(uintptr_t)observed_link_find(&fake->state, "", "tun0");
    link->up = false;
    link->route_count = 0;
    expect_plan(plan_one(fake, device, device), "link_set route_add route_add");
    fake->kernel.ops->close(&fake->kernel);
}

static void test_what_is_not_ours_stays(void **state)
{
    CLEANUP(device_done)
    struct device *device = with("{'name':'tun0','kind':'tun','addresses':['10.0.0.1/24','10.0.1.1/24']}");
    CLEANUP(device_done) struct device *less = with("{'name':'tun0','kind':'tun'}");
    CLEANUP(device_done)
    struct device *holes = with("{'name':'tun0','kind':'tun','routes':[{'to':'10.11.0.0/16','type':'blackhole'}]}");
    struct kernel_fake *fake = kernel_of_test();
    struct observed_link *link;
    struct route *foreign;

    (void)state;
    lead(fake, device, NULL);
    link = (struct observed_link *)(uintptr_t)observed_link_find(&fake->state, "", "tun0");
    link->addresses[0].ours = link->addresses[1].ours = false;
    link->addresses[2].ours = false;
    expect_plan(plan_one(fake, device, device), ""); /* there is no telling who made them, and no need */
    expect_plan(plan_one(fake, less, device), "");
    lead(fake, NULL, device);

    /* of the routes without a device only those of the last document may go */
    fake->state.unattached = calloc(2, sizeof(*foreign));
    fake->state.unattached_capacity = 2;
    fake->state.unattached_count = 1;
    foreign = &fake->state.unattached[0];
    *foreign = holes->routes[0];
    foreign->to.addr.bytes[1] = 12;
    lead(fake, holes, NULL);
    assert_int_equal(fake->state.unattached_count, 2);
    expect_plan(plan_one(fake, less, less), "");
    expect_plan(plan_one(fake, less, holes), "route_delete");
    expect_plan(plan_one(fake, NULL, holes), "route_delete device_delete");
    fake->kernel.ops->close(&fake->kernel);
}

static void expect_foreign(struct kernel_fake *fake, const struct wanted *wanted, size_t count)
{
    struct plan plan = {0};
    struct err err = {0};

    assert_int_equal(plan_try(fake, wanted, count, &plan, &err), -EEXIST);
    assert_int_equal(err.code, ERR_FOREIGN_DEVICE);
    assert_string_equal(err.pointer, "/name");
    plan_done(&plan);
}

static void test_foreign_device(void **state)
{
    CLEANUP(device_done) struct device *device = with("{'name':'tun0','kind':'tun'}");
    CLEANUP(device_done) struct device *blue = with("{'name':'tun0','kind':'tun','netns':'blue'}");
    struct wanted wanted[] = {wanted_of(device, NULL, 1), wanted_of(NULL, NULL, 2)};
    struct kernel_fake *fake = kernel_of_test();
    struct observed_link *link = link_add(&fake->state, "tun0", OBSERVED_TUN);
    struct plan plan;

    (void)state;
    expect_foreign(fake, wanted, 1);
    link->ours = true;
    link->uuid = uuid_of(2);
    expect_foreign(fake, wanted, 1);
    expect_plan(plan_of(fake, wanted, 2), "device_delete device_create link_set"); /* it makes room in the same plan */
    link->uuid = uuid_of(1);
    link->kind = OBSERVED_OTHER; /* the alias alone does not make a tunnel of an Ethernet device */
    expect_foreign(fake, wanted, 1);
    plan = plan_one(fake, blue, NULL);
    assert_string_equal(plan.steps[0].device.netns, "blue");
    expect_plan(plan, "device_create link_set");
    expect_plan(plan_one(fake, NULL, device), "");
    fake->kernel.ops->close(&fake->kernel);
}

/* The alias was copied to another tunnel by hand: the one in its right place is meant. */
static void test_alias_twice(void **state)
{
    CLEANUP(device_done) struct device *device = with("{'name':'tun0','kind':'tun'}");
    struct kernel_fake *fake = kernel_of_test();
    struct observed_link *link = link_add(&fake->state, "aaa", OBSERVED_TUN);

    (void)state;
    link->ours = true;
    link->uuid = uuid_of(1);
    expect_plan(plan_one(fake, device, device), "device_delete device_create link_set");
    link->ours = false;
    lead(fake, device, NULL);
    fake->state.links[2].ours = true;
    expect_plan(plan_one(fake, device, device), "");
    fake->kernel.ops->close(&fake->kernel);
}

static void test_mac(void **state)
{
    CLEANUP(device_done) struct device *derived = with("{'name':'tap0','kind':'tap'}");
    CLEANUP(device_done) struct device *given = with("{'name':'tap0','kind':'tap','mac':'02:00:00:00:00:07'}");
    struct kernel_fake *fake = kernel_of_test();
    struct uuid uuid = uuid_of(1);
    struct plan plan;
    uint8_t mac[6];

    (void)state;
    device_derived_mac(&uuid, mac);
    lead(fake, derived, NULL);
    assert_memory_equal(observed_link_find(&fake->state, "", "tap0")->mac, mac, 6);
    plan = plan_one(fake, given, derived);
    assert_int_equal(plan.steps[0].link.set, LINK_MAC);
    expect_plan(plan, "link_set");
    fake->kernel.ops->close(&fake->kernel);
}

/* ---- size -------------------------------------------------------------------------------------------------------- */

static void test_many(void **state)
{
    enum { DEVICES = 1000, ROUTES = 10 };
    struct device **devices = calloc(DEVICES, sizeof(struct device *));
    struct wanted *wanted = calloc(DEVICES, sizeof(*wanted));
    struct kernel_fake *fake = kernel_of_test();
    struct plan plan;
    int64_t begun_ns;

    (void)state;
    for (unsigned i = 0; i < DEVICES; i++) {
        char text[128];

        snprintf(text, sizeof(text), "{'name':'tun%u','kind':'tun','addresses':['10.%u.%u.1/32']}", i, i >> 8, i & 255);
        devices[i] = device_of(text);
        for (unsigned j = 0; j < ROUTES; j++) {
            struct route route = {
                .to = {.addr = {.family = AF_INET, .bytes = {(uint8_t)(20 + j), (uint8_t)(i >> 8), (uint8_t)i, 0}},
                       .length = 24},
                .table = 254};
            bool changed;

            assert_int_equal(device_route_add(devices[i], &route, &changed), 0);
        }
        wanted[i] = wanted_of(devices[i], NULL, i);
    }
    begun_ns = clock_monotonic_ns();
    plan = plan_of(fake, wanted, DEVICES);
    assert_int_equal(plan.count, DEVICES * (3 + ROUTES));
    /* the fake is slow with many: put its state there directly */
    for (unsigned i = 0; i < DEVICES; i++) {
        struct observed_link *link = link_add(&fake->state, devices[i]->name, OBSERVED_TUN);

        link->ours = link->up = true;
        link->uuid = wanted[i].uuid;
        link->txqueuelen = 1000;
        link->addresses = calloc(1, sizeof(*link->addresses));
        link->addresses[0] = (struct observed_address){.prefix = devices[i]->addresses[0], .ours = true};
        link->address_count = 1;
        link->routes = calloc(ROUTES, sizeof(*link->routes));
        memcpy(link->routes, devices[i]->routes, ROUTES * sizeof(*link->routes));
        link->route_count = ROUTES;
    }
    plan_done(&plan);
    plan = plan_of(fake, wanted, DEVICES);
    expect_plan(plan, "");
    assert_true(clock_monotonic_ns() - begun_ns < 5 * NSEC_PER_SEC); /* with sanitizers, on a busy machine */
    print_message("planning %d devices with %d routes, twice: %lld ms\n", DEVICES, DEVICES * ROUTES,
                  (long long)((clock_monotonic_ns() - begun_ns) / NSEC_PER_MSEC));
    for (unsigned i = 0; i < DEVICES; i++)
        device_free(devices[i]);
    free(devices);
    free(wanted);
    fake->kernel.ops->close(&fake->kernel);
}

/* ---- carrying out ------------------------------------------------------------------------------------------------ */

/* A refusal points at what was asked for. */
static void test_blame(void **state)
{
    static const struct {
        const char *document, *pointer;
        int error;
        size_t fail_at;
    } rows[] = {
        {"{'name':'tun0','kind':'tun','routes':[{'to':'10.8.0.0/16'},{'to':'10.9.0.0/16','via':'192.168.3.1'}]}",
         "/routes/1", -ENETUNREACH, 0},
        {"{'name':'tap0','kind':'tap','master':'nowhere'}", "/master", -ENODEV, 0},
        {"{'name':'tun0','kind':'tun','addresses':['10.0.0.1/24','10.0.0.2/24']}", "/addresses/1", -ENOBUFS, 4},
        {"{'name':'tun0','kind':'tun','worker':{'type':'monitor'}}", "/worker", -ENOBUFS, 3},
        {"{'name':'tun0','kind':'tun','netns':'blue'}", "/netns", -ENOENT, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(device_done) struct device *device = device_of(rows[i].document);
        struct converge_item item = {.wanted = wanted_of(device, NULL, 1)};
        struct kernel_fake *fake = kernel_of_test();
        struct observed observed;
        struct err err = {0};

        look(fake, &observed);
        fake->fail_at = rows[i].fail_at;
        fake->fail_errno = -rows[i].error;
        assert_int_equal(converge(&fake->kernel, &item, 1, CONVERGE_ATOMIC, &observed, &err), rows[i].error);
        assert_string_equal(err.pointer, rows[i].pointer);
        assert_int_equal(err.code, ERR_KERNEL_REFUSED);
        assert_int_equal(err.sys_errno, -rows[i].error);
        observed_done(&observed);
        fake->kernel.ops->close(&fake->kernel);
    }
}

/* One device's misfortune is not another's. */
static void test_best_effort(void **state)
{
    CLEANUP(device_done) struct device *good = with("{'name':'tun0','kind':'tun','worker':{'type':'monitor'}}");
    CLEANUP(device_done)
    struct device *bad = with(
        "{'name':'tun1','kind':'tun','routes':[{'to':'10.9.0.0/16','via':'9.9.9.9'}],'worker':{'type':'monitor'}}");
    CLEANUP(device_done) struct device *taken = with("{'name':'br0','kind':'tun'}");
    struct converge_item items[] = {
        {.wanted = wanted_of(bad, bad, 1)},
        {.wanted = wanted_of(taken, taken, 2)},
        {.wanted = wanted_of(good, good, 3)},
    };
    struct kernel_fake *fake = kernel_of_test();
    struct observed observed;
    struct err err = {0};

    (void)state;
    look(fake, &observed);
    assert_int_equal(converge(&fake->kernel, items, 3, CONVERGE_BEST_EFFORT, &observed, &err), 0);
    assert_int_equal(items[0].error, -ENETUNREACH);
    assert_string_equal(items[0].err.pointer, "/routes/0");
    assert_int_equal(items[1].error, -EEXIST);
    assert_int_equal(items[1].err.code, ERR_FOREIGN_DEVICE);
    assert_int_equal(items[2].error, 0);
    assert_false(items[2].differs);
    assert_int_equal(observed.worker_count, 1); /* the bad one's steps after the refusal were skipped */
    observed_done(&observed);

    look(fake, &observed);
    fake->disconnected = true;
    items[0].error = items[1].error = 0;
    assert_int_equal(converge(&fake->kernel, items, 3, CONVERGE_BEST_EFFORT, &observed, &err), -ENOTCONN);
    assert_int_equal(err.code, ERR_NETD_UNAVAILABLE);
    observed_done(&observed);
    fake->kernel.ops->close(&fake->kernel);
}

/* A kernel that still looks for duplicates of an address when it is first asked to make it a route's source. */
static struct kernel_fake *tentative_fake;
static unsigned tentative_refusals;

static int tentative_apply(struct kernel *kernel, const struct step *step, struct err *ret_err)
{
    (void)kernel;
    if (step->kind == STEP_ROUTE_ADD && tentative_refusals > 0) {
        tentative_refusals--;
        return err_set_kernel(ret_err, -EAGAIN, "RTM_NEWROUTE", "the kernel still looks for duplicates");
    }
    return tentative_fake->kernel.ops->apply(&tentative_fake->kernel, step, ret_err);
}

static int tentative_observe(struct kernel *kernel, const char *const *netns, size_t count,
                             struct observed *ret_observed, struct err *ret_err)
{
    (void)kernel;
    return tentative_fake->kernel.ops->observe(&tentative_fake->kernel, netns, count, ret_observed, ret_err);
}

static void test_tentative_source(void **state)
{
    static const struct kernel_ops ops = {.apply = tentative_apply, .observe = tentative_observe};
    struct kernel kernel = {.ops = &ops};
    CLEANUP(device_done)
    struct device *tap = with("{'name':'tap0','kind':'tap','addresses':['fd00:3::11/64'],'routes':[{'to':'fd09::/"
                              "32','source':'fd00:3::11'}]}");
    CLEANUP(device_done)
    struct device *elsewhere = with("{'name':'tap0','kind':'tap','routes':[{'to':'fd09::/32','source':'fd00:3::11'}]}");
    struct converge_item item = {.wanted = wanted_of(tap, NULL, 1)};
    struct observed observed;
    int64_t begun_ns;

    (void)state;
    tentative_fake = kernel_of_test();
    tentative_refusals = 3;
    look(tentative_fake, &observed);
    assert_int_equal(converge(&kernel, &item, 1, CONVERGE_ATOMIC, &observed, NULL), 0);
    assert_int_equal(tentative_refusals, 0);

    /* an address that it does not have will not come of waiting */
    item = (struct converge_item){.wanted = wanted_of(elsewhere, tap, 1)};
    lead(tentative_fake, NULL, tap);
    assert_int_equal(converge_look(&kernel, &item, 1, &observed, NULL), 0);
    begun_ns = clock_monotonic_ns();
    assert_int_equal(converge(&kernel, &item, 1, CONVERGE_ATOMIC, &observed, NULL), -EINVAL);
    assert_true(clock_monotonic_ns() - begun_ns < 2 * NSEC_PER_SEC);
    observed_done(&observed);
    tentative_fake->kernel.ops->close(&tentative_fake->kernel);
}

static size_t tentative_runs;

static void tentative_apply_run(struct kernel *kernel, const struct step *steps, size_t count,
                                struct step_result *ret_results)
{
    tentative_runs++;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(steps[i].kind, steps[0].kind);
        assert_int_not_equal(steps[i].kind, STEP_WORKER_CONFIGURE); /* these wait for one another */
        ret_results[i] = (struct step_result){0};
        ret_results[i].error = tentative_apply(kernel, &steps[i], &ret_results[i].err);
    }
}

/* What is refused only because something before it had to wait is asked for again. */
static void test_run_waits(void **state)
{
    static const struct kernel_ops ops = {
        .apply = tentative_apply, .apply_run = tentative_apply_run, .observe = tentative_observe};
    struct kernel kernel = {.ops = &ops};
    CLEANUP(device_done)
    struct device *tun = with("{'name':'tun0','kind':'tun','addresses':['10.0.0.1/24'],'routes':[{'to':'10.20.0.0/16'},"
                              "{'to':'10.21.0.0/16','via':'10.20.0.1'},{'to':'10.22.0.0/16'}]}");
    struct converge_item item = {.wanted = wanted_of(tun, NULL, 1)};
    struct observed observed;

    (void)state;
    tentative_fake = kernel_of_test();
    tentative_refusals = 1;
    tentative_runs = 0;
    look(tentative_fake, &observed);
    assert_int_equal(converge(&kernel, &item, 1, CONVERGE_ATOMIC, &observed, NULL), 0);
    assert_int_equal(tentative_refusals, 0);
    assert_int_equal(tentative_runs, 1);
    assert_int_equal(item.applied, 6);
    observed_done(&observed);
    tentative_fake->kernel.ops->close(&tentative_fake->kernel);
}

/* A refusal in the middle of a run: it is the one that is told, and what was done after it is known to be done. */
static void test_run_fails(void **state)
{
    static const enum converge_mode modes[] = {CONVERGE_ATOMIC, CONVERGE_BEST_EFFORT};
    CLEANUP(device_done) struct device *tun0 = with("{'name':'tun0','kind':'tun'}");
    CLEANUP(device_done) struct device *tun1 = with("{'name':'tun1','kind':'tun'}");
    CLEANUP(device_done) struct device *tun2 = with("{'name':'tun2','kind':'tun'}");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct converge_item items[] = {
            {.wanted = wanted_of(tun0, NULL, 1)},
            {.wanted = wanted_of(tun1, NULL, 2)},
            {.wanted = wanted_of(tun2, NULL, 3)},
        };
        struct kernel_fake *fake = kernel_of_test();
        struct observed observed;
        struct err err = {0};
        bool atomic = modes[i] == CONVERGE_ATOMIC;

        look(fake, &observed);
        fake->fail_at = 2;
        fake->fail_errno = ENOBUFS;
        assert_int_equal(converge(&fake->kernel, items, 3, modes[i], &observed, &err), atomic ? -ENOBUFS : 0);
        assert_int_equal(items[1].error, -ENOBUFS);
        assert_int_equal(items[1].applied, 0);
        assert_int_equal(items[0].applied, atomic ? 1 : 2); /* made; and, where it goes on, set up */
        assert_int_equal(items[2].applied, atomic ? 1 : 2);
        assert_true(items[2].recreated && items[2].error == 0);
        assert_int_equal(items[0].error, 0);
        assert_int_equal(fake->applied, atomic ? 2 : 4);
        observed_done(&observed);
        fake->kernel.ops->close(&fake->kernel);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_removals_first),
        cmocka_unit_test(test_every_way),
        cmocka_unit_test(test_from_anywhere),
        cmocka_unit_test(test_pure),
        cmocka_unit_test(test_small_changes),
        cmocka_unit_test(test_disturbs),
        cmocka_unit_test(test_worker_that_failed_or_is_another),
        cmocka_unit_test(test_repairs),
        cmocka_unit_test(test_what_is_not_ours_stays),
        cmocka_unit_test(test_foreign_device),
        cmocka_unit_test(test_alias_twice),
        cmocka_unit_test(test_mac),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_blame),
        cmocka_unit_test(test_best_effort),
        cmocka_unit_test(test_tentative_source),
        cmocka_unit_test(test_run_waits),
        cmocka_unit_test(test_run_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Devices of somebody else's: the document that they are found to have, taking them over, letting go of them. */
#include "engine/adopt.h"

#include "engine/converge.h"
#include "engine_fixture.h"

#include <errno.h>
#include <sys/socket.h>

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix result;

    assert_int_equal(ip_prefix_parse(text, &result), 0);
    return result;
}

static struct observed_link *link_add(struct observed *state, const char *name, enum observed_kind kind)
{
    void *links = state->links;
    struct observed_link *link;

    assert_int_equal(array_grow(&links, &state->link_capacity, state->link_count, sizeof(*state->links)), 0);
    state->links = links;
    link = &state->links[state->link_count++];
    *link = (struct observed_link){.kind = kind,
                                   .ifindex = 100 + (uint32_t)state->link_count,
                                   .persistent = true,
                                   .up = true,
                                   .mtu = 1400,
                                   .txqueuelen = 500,
                                   .owner = OWNER_NONE,
                                   .group = OWNER_NONE};
    assert_int_equal(text_copy(link->name, sizeof(link->name), name), 0);
    return link;
}

static void address_add(struct observed_link *link, const char *text, bool by_kernel)
{
    link->addresses = realloc(link->addresses, (link->address_count + 1) * sizeof(*link->addresses));
    assert_non_null(link->addresses);
    link->addresses[link->address_count++] = (struct observed_address){.prefix = prefix(text), .by_kernel = by_kernel};
}

static void route_add(struct observed_link *link, const char *to, const char *via, uint32_t metric, uint8_t protocol)
{
    struct foreign_route *route;

    link->foreign_routes = realloc(link->foreign_routes, (link->foreign_route_count + 1) * sizeof(*route));
    assert_non_null(link->foreign_routes);
    route = &link->foreign_routes[link->foreign_route_count++];
    *route = (struct foreign_route){.route = {.to = prefix(to), .metric = metric, .table = 254}, .protocol = protocol};
    if (via)
        assert_int_equal(ip_addr_parse(via, &route->route.via), 0);
}

/* tun0, as an administrator made it with ip(8). */
static struct kernel_fake *kernel_of_test(void)
{
    struct kernel_fake *fake = kernel_fake_new();
    struct observed_link *link;

    assert_non_null(fake);
    link = link_add(&fake->state, "tun0", OBSERVED_TUN);
    link->owner = 7;
    address_add(link, "192.168.3.11/24", false);
    address_add(link, "192.168.3.12/24", false);
    link->addresses[1].secondary = true;
    address_add(link, "fd00:3::11/64", false);
    address_add(link, "fe80::1/64", true);
    route_add(link, "10.9.0.0/16", "192.168.3.1", 100, NET_PROTOCOL_BOOT);
    route_add(link, "10.8.0.0/16", NULL, 0, NET_PROTOCOL_STATIC);
    route_add(link, "fd09::/32", "fd00:3::1", 1024, NET_PROTOCOL_BOOT);
    return fake;
}

static struct observed_link *tun0_of(struct kernel_fake *fake)
{
    for (size_t i = 0; i < fake->state.link_count; i++)
        if (strcmp(fake->state.links[i].name, "tun0") == 0)
            return &fake->state.links[i];
    fail();
    return NULL;
}

static struct device *found(struct kernel_fake *fake)
{
    struct device *device = NULL;
    struct err err = {0};

    if (adopt_document(tun0_of(fake), &device, &err) < 0)
        fail_msg("%s %s", err.pointer, err.message);
    return device;
}

static int lead(struct kernel_fake *fake, struct wanted wanted, size_t *ret_steps, struct err *ret_err)
{
    struct converge_item item = {.wanted = wanted};
    struct observed observed = {0};
    int r;

    assert_int_equal(fake->kernel.ops->observe(&fake->kernel, NULL, 0, &observed, NULL), 0);
    fake->log_count = 0;
    r = converge(&fake->kernel, &item, 1, CONVERGE_ATOMIC, &observed, ret_err);
    observed_done(&observed);
    *ret_steps = item.applied;
    return r;
}

static struct wanted wanted_of(const struct device *now, const struct device *before)
{
    return (struct wanted){
        .uuid = uuid_of(1), .name = "tun0", .netns = "", .now = now, .before = before, .takes_unmarked = true};
}

static void must(struct kernel_fake *fake, struct wanted wanted, const char *expected)
{
    char kinds[1024] = "";
    struct err err = {0};
    size_t steps, length = 0;

    if (lead(fake, wanted, &steps, &err) < 0)
        fail_msg("%s %s", err.pointer, err.message);
    for (size_t i = 0; i < fake->log_count; i++)
        length += (size_t)snprintf(kinds + length, sizeof(kinds) - length, "%s%s", i ? " " : "",
                                   step_kind_name(fake->log[i].kind));
    assert_string_equal(kinds, expected);
}

static void must_not(struct kernel_fake *fake, struct wanted wanted, int error, enum err_code code, const char *pointer)
{
    struct err err = {0};
    size_t steps;

    assert_int_equal(lead(fake, wanted, &steps, &err), error);
    assert_int_equal(err.code, code);
    assert_string_equal(err.pointer, pointer);
    assert_int_equal(steps, 0);
}

static void test_document(void **state)
{
    struct kernel_fake *fake = kernel_of_test();
    CLEANUP(device_done) struct device *device = found(fake);
    char *text = device_print(device);
    struct err_list *errors = calloc(1, sizeof(*errors));
    struct device *again = NULL;

    (void)state;
    assert_string_equal(text,
                        "{\"name\":\"tun0\",\"kind\":\"tun\",\"up\":true,\"mtu\":1400,\"txqueuelen\":500,\"queues\":1,"
                        "\"mac\":null,\"owner\":7,\"group\":null,\"netns\":null,\"master\":null,\"labels\":{},"
                        "\"addresses\":[\"192.168.3.11/24\",\"192.168.3.12/24\",\"fd00:3::11/64\"],\"routes\":["
                        "{\"to\":\"10.8.0.0/16\",\"via\":null,\"metric\":0,\"table\":254,\"type\":\"unicast\","
                        "\"source\":null},"
                        "{\"to\":\"10.9.0.0/16\",\"via\":\"192.168.3.1\",\"metric\":100,\"table\":254,"
                        "\"type\":\"unicast\",\"source\":null},"
                        "{\"to\":\"fd09::/32\",\"via\":\"fd00:3::1\",\"metric\":1024,\"table\":254,"
                        "\"type\":\"unicast\",\"source\":null}],\"worker\":null,\"drift\":\"report\"}");
    assert_int_equal(device_parse(text, strlen(text), NULL, false, &again, errors), 0);
    assert_true(device_equal(device, again));
    device_free(again);
    free(errors);
    free(text);
    fake->kernel.ops->close(&fake->kernel);
}

static void test_document_refused(void **state)
{
    static const struct {
        const char *what;
        int error;
        enum err_code code;
        const char *pointer;
    } rows[] = {
        {"kind", -EINVAL, ERR_KERNEL_REFUSED, ""},
        {"persistent", -EINVAL, ERR_KERNEL_REFUSED, ""},
        {"alias", -EEXIST, ERR_FOREIGN_DEVICE, "/name"},
        {"name", -EINVAL, ERR_INVALID_NAME, "/name"},
        {"peer", -EINVAL, ERR_INVALID_ADDRESS, "/addresses/1"},
        {"master", -EINVAL, ERR_INCOMPATIBLE, "/master"},
        {"queues", -EINVAL, ERR_OUT_OF_RANGE, "/queues"},
        {"txqueuelen", -EINVAL, ERR_OUT_OF_RANGE, "/txqueuelen"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct kernel_fake *fake = kernel_of_test();
        struct observed_link *link = tun0_of(fake);
        struct device *device = NULL;
        struct err err = {0};

        switch (i) {
        case 0:
            link->kind = OBSERVED_OTHER;
            break;
        case 1:
            link->persistent = false;
            break;
        case 2:
            link->has_alias = true;
            break;
        case 3:
            memcpy(link->name, "1234", 5);
            break;
        case 4:
            link->addresses[1].has_peer = true;
            break;
        case 5:
            memcpy(link->master, "vrf0", 5);
            break;
        case 6:
            link->multi_queue = true;
            link->queue_count = 200;
            break;
        default:
            link->txqueuelen = 0;
            break;
        }
        if (adopt_document(link, &device, &err) != rows[i].error || err.code != rows[i].code ||
            strcmp(err.pointer, rows[i].pointer) != 0)
            fail_msg("%s: %s %s %s", rows[i].what, err_code_name(err.code), err.pointer, err.message);
        assert_null(device);
        fake->kernel.ops->close(&fake->kernel);
    }
}

/* Taken over as it is found: one step. Then it is managed like any other, down to what carries no mark. */
static void test_adopt(void **state)
{
    struct kernel_fake *fake = kernel_of_test();
    CLEANUP(device_done) struct device *device = found(fake);
    CLEANUP(device_done)
    struct device *fewer =
        device_of("{'name':'tun0','kind':'tun','mtu':1400,'txqueuelen':500,'owner':7,'addresses':['192.168.3.12/24'],"
                  "'routes':[{'to':'10.9.0.0/16','via':'192.168.3.1','metric':100}],'worker':{'type':'monitor'}}");
    struct wanted wanted = wanted_of(device, device);
    struct observed_link *link;

    (void)state;
    wanted.adopts = true;
    must(fake, wanted, "device_adopt");
    assert_true(uuid_equal(&tun0_of(fake)->uuid, &wanted.uuid));
    must(fake, wanted, "");
    must(fake, wanted_of(device, device), "");
    /* what nobody ever listed is left alone */
    link = tun0_of(fake);
    address_add(link, "172.16.0.1/16", false);
    route_add(link, "10.77.0.0/16", NULL, 0, NET_PROTOCOL_BOOT);
    must(fake, wanted_of(device, device), "");
    must(fake, wanted_of(fewer, device), "route_delete route_delete address_delete address_delete worker_start");
    link = tun0_of(fake);
    assert_int_equal(link->address_count, 3);
    assert_int_equal(link->foreign_route_count, 2);
    must(fake, wanted_of(fewer, fewer), "");
    /* and back, with our mark this time */
    must(fake, wanted_of(device, fewer),
         "worker_stop address_delete address_add address_add address_add route_add route_add");
    assert_int_equal(tun0_of(fake)->route_count, 2);
    must(fake, wanted_of(NULL, device), "device_delete");
    fake->kernel.ops->close(&fake->kernel);
}

/* A document that differs from what was found: all of it in one go, the mark first. */
static void test_adopt_and_change(void **state)
{
    struct kernel_fake *fake = kernel_of_test();
    CLEANUP(device_done) struct device *device = found(fake);
    CLEANUP(device_done)
    struct device *next =
        device_of("{'name':'tun0','kind':'tun','mtu':1300,'txqueuelen':500,'owner':7,"
                  "'addresses':['192.168.3.11/24','192.168.3.12/24','fd00:3::11/64'],'worker':{'type':'monitor'}}");
    CLEANUP(text_done) char *was = kernel_text(&fake->state);
    CLEANUP(text_done) char *is = NULL;
    struct wanted wanted = wanted_of(next, device);

    (void)state;
    wanted.adopts = true;
    must(fake, wanted, "device_adopt route_delete route_delete route_delete link_set worker_start");
    /* undone: the way back first, and then its mark is taken off */
    wanted = wanted_of(device, next);
    wanted.takes_unmarked = false;
    wanted.releases = true;
    must(fake, wanted, "worker_stop link_set route_add route_add route_add device_release");
    must(fake, wanted, "");
    assert_false(tun0_of(fake)->ours);
    assert_int_equal(tun0_of(fake)->route_count, 3);
    tun0_of(fake)->route_count = 0;
    is = kernel_text(&fake->state);
    assert_string_equal(is, was);
    fake->kernel.ops->close(&fake->kernel);
}

static void test_adopt_refused(void **state)
{
    struct kernel_fake *fake = kernel_of_test();
    CLEANUP(device_done) struct device *device = found(fake);
    CLEANUP(device_done) struct device *tap = device_of("{'name':'tun0','kind':'tap'}");
    CLEANUP(device_done) struct device *queues = device_of("{'name':'tun0','kind':'tun','queues':2}");
    CLEANUP(device_done) struct device *other = device_of("{'name':'tun7','kind':'tun'}");
    CLEANUP(device_done) struct device *worker = device_of("{'name':'tun0','kind':'tun','worker':{'type':'monitor'}}");
    struct wanted wanted = wanted_of(device, device);

    (void)state;
    must_not(fake, wanted, -EEXIST, ERR_FOREIGN_DEVICE, "/name"); /* not in silence */
    wanted.adopts = true;
    wanted.now = tap;
    must_not(fake, wanted, -EINVAL, ERR_INCOMPATIBLE, "/kind");
    wanted.now = queues;
    must_not(fake, wanted, -EINVAL, ERR_INCOMPATIBLE, "/queues");
    wanted.now = other;
    must_not(fake, wanted, -ENODEV, ERR_NOT_FOUND, "/name");
    wanted.now = worker;
    tun0_of(fake)->queue_count = 1;
    must_not(fake, wanted, -EBUSY, ERR_KERNEL_REFUSED, "/worker");
    tun0_of(fake)->has_alias = true;
    must_not(fake, wanted, -EEXIST, ERR_FOREIGN_DEVICE, "/name");
    assert_false(tun0_of(fake)->ours);
    fake->kernel.ops->close(&fake->kernel);
}

static void test_release(void **state)
{
    struct kernel_fake *fake = kernel_of_test();
    CLEANUP(device_done)
    struct device *device =
        device_of("{'name':'tun0','kind':'tun','addresses':['192.168.3.11/24'],'routes':[{'to':'10.5.0.0/16'},"
                  "{'to':'10.6.0.0/16','type':'blackhole'}],'worker':{'type':'monitor'}}");
    CLEANUP(device_done) struct device *read = NULL;
    struct wanted wanted = wanted_of(device, NULL);
    CLEANUP(text_done) char *was = NULL;
    CLEANUP(text_done) char *is = NULL;
    size_t steps;

    (void)state;
    wanted.adopts = true;
    assert_int_equal(lead(fake, wanted, &steps, NULL), 0);
    was = kernel_text(&fake->state);
    wanted = wanted_of(NULL, device);
    wanted.releases = true;
    must(fake, wanted, "worker_stop device_release");
    must(fake, wanted, "");
    assert_false(tun0_of(fake)->ours);
    assert_int_equal(tun0_of(fake)->route_count, 1);
    assert_int_equal(fake->state.unattached_count, 1);
    /* what we left is found again */
    read = found(fake);
    assert_int_equal(read->address_count, 3);
    assert_int_equal(read->route_count, 4);
    wanted = wanted_of(device, device);
    wanted.adopts = true;
    must(fake, wanted, "device_adopt worker_start");
    is = kernel_text(&fake->state);
    assert_string_equal(is, was);
    fake->kernel.ops->close(&fake->kernel);
}

/* Somebody replaced a route of the document: what stands in its place goes. One that was never listed does not. */
static void test_replaced_route(void **state)
{
    struct kernel_fake *fake = kernel_of_test();
    CLEANUP(device_done) struct device *device = found(fake);
    CLEANUP(device_done) struct device *more = found(fake);
    struct wanted wanted = wanted_of(device, device);
    struct route route = {.to = prefix("10.5.0.0/16"), .table = 254};
    struct observed_link *link;
    bool changed;

    (void)state;
    wanted.adopts = true;
    must(fake, wanted, "device_adopt");
    link = tun0_of(fake);
    assert_int_equal(ip_addr_parse("192.168.3.2", &link->foreign_routes[0].route.via), 0);
    wanted = wanted_of(device, device);
    wanted.takes_unmarked = false;
    must_not(fake, wanted, -EEXIST, ERR_KERNEL_REFUSED, "/routes/1");
    must(fake, wanted_of(device, device), "route_delete route_add");
    route_add(tun0_of(fake), "10.5.0.0/16", "192.168.3.2", 0, NET_PROTOCOL_BOOT);
    assert_int_equal(device_route_add(more, &route, &changed), 0);
    must_not(fake, wanted_of(more, device), -EEXIST, ERR_KERNEL_REFUSED, "/routes/0");
    fake->kernel.ops->close(&fake->kernel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),       cmocka_unit_test(test_document_refused),
        cmocka_unit_test(test_adopt),          cmocka_unit_test(test_adopt_and_change),
        cmocka_unit_test(test_adopt_refused),  cmocka_unit_test(test_release),
        cmocka_unit_test(test_replaced_route),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

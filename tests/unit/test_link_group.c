/* SPDX-License-Identifier: Apache-2.0 */
/* Many devices of the real kernel deleted at once, and what others do to them meanwhile. */
#include "net/netlink.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEVICES = 12 };

static const char *cannot_run; /* why, or NULL */
static struct net_ns *ns;
static struct device_key keys[DEVICES];
static uint32_t indexes[DEVICES];

#define NEEDS_KERNEL()                                                                                                 \
    do {                                                                                                               \
        if (cannot_run) {                                                                                              \
            print_message("skipped: %s\n", cannot_run);                                                                \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

static int set_up(void **state)
{
    (void)state;
    if (geteuid() != 0)
        cannot_run = "needs root";
    else if (access("/dev/net/tun", R_OK | W_OK) < 0)
        cannot_run = "needs /dev/net/tun";
    else if (unshare(CLONE_NEWNET) < 0)
        cannot_run = "may not make namespaces";
    return cannot_run ? 0 : net_ns_open("", &ns, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    net_ns_close(ns);
    return 0;
}

static void shell(const char *command)
{
    if (system(command) != 0)
        fail_msg("%s", command);
}

/* Ours are g0, g1, …; g3 has a group of its own. "foreign" is another's. */
static int devices_make(void **state)
{
    (void)state;
    if (cannot_run)
        return 0;
    for (uint8_t i = 0; i < DEVICES; i++) {
        struct device_create create = {.kind = DEVICE_TUN, .queues = 1, .owner = OWNER_NONE, .group = OWNER_NONE};
        int queue;
        keys[i] = (struct device_key){.uuid.bytes = {1, [15] = i}};
        snprintf(keys[i].name, sizeof keys[i].name, "g%d", i);
        if (net_tun_create(ns, &keys[i], &create, &queue, &indexes[i], NULL) < 0)
            return -1;
        close(queue);
    }
    return system("ip link set g3 group 5 && ip tuntap add foreign mode tun && ip link set foreign group 5");
}

static int devices_remove(void **state)
{
    (void)state;
    if (cannot_run)
        return 0;
    for (size_t i = 0; i < DEVICES; i++)
        net_link_delete(ns, indexes[i], NULL);
    return system("ip link delete foreign");
}

/* IFLA_GROUP; UINT32_MAX where there is no such device. */
static uint32_t group_of(const char *name)
{
    struct link_info info;
    return net_link_query(ns, name, 0, &info, NULL) == 0 ? info.group : UINT32_MAX;
}

static void expect_all_as_they_were(void)
{
    for (size_t i = 0; i < DEVICES; i++)
        assert_int_equal(group_of(keys[i].name), i == 3 ? 5 : 0);
}

static void deletes_ours(void **state)
{
    (void)state;
    NEEDS_KERNEL();
    uint32_t deleted[DEVICES - 1];
    assert_int_equal(net_links_delete(ns, keys, DEVICES - 1, deleted, NULL), 0);
    assert_memory_equal(deleted, indexes, sizeof deleted);
    for (size_t i = 0; i < DEVICES - 1; i++)
        assert_int_equal(group_of(keys[i].name), UINT32_MAX);
    assert_int_equal(group_of(keys[DEVICES - 1].name), 0); /* ours, but not asked for */
    assert_int_equal(group_of("foreign"), 5);
    assert_int_equal(net_links_delete(ns, keys, DEVICES - 1, deleted, NULL), -ENODEV);
}

/* One that is not what it should be, and nobody is touched. */
static void all_or_none(void **state)
{
    (void)state;
    NEEDS_KERNEL();
    uint32_t deleted[DEVICES];
    struct device_key key = keys[7];
    struct err err = {0};
    keys[7].uuid.bytes[15]++; /* another device's mark */
    assert_int_equal(net_links_delete(ns, keys, DEVICES, deleted, &err), -ENODEV);
    assert_int_equal(err.code, ERR_FOREIGN_DEVICE);
    keys[7] = keys[6]; /* twice the same */
    assert_int_equal(net_links_delete(ns, keys, DEVICES, deleted, NULL), -ENODEV);
    keys[7] = key;
    text_copy(keys[7].name, sizeof keys[7].name, "foreign");
    assert_int_equal(net_links_delete(ns, keys, DEVICES, deleted, NULL), -ENODEV);
    text_copy(keys[7].name, sizeof keys[7].name, "nothere");
    assert_int_equal(net_links_delete(ns, keys, DEVICES, deleted, NULL), -ENODEV);
    keys[7] = key;
    expect_all_as_they_were();
    assert_int_equal(group_of("foreign"), 5);
}

/* Up to the moment before the deletion: somebody does something, and nobody is deleted. */
static void meddle(const char *format, const char *undo)
{
    CLEANUP(link_group_done) struct link_group group = {0};
    char command[160];
    struct err err = {0};
    assert_int_equal(link_group_gather(ns, keys, DEVICES, &group, NULL), 0);
    assert_int_equal(link_group_mark(ns, &group, NULL), 0);
    assert_int_equal(group_of("g0"), group.number);
    snprintf(command, sizeof command, format, group.number);
    shell(command);
    assert_int_equal(link_group_delete(ns, &group, &err), -EAGAIN);
    assert_int_equal(err.sys_errno, EAGAIN);
    shell(undo);
    expect_all_as_they_were();
}

static void meddlers_lose_nothing(void **state)
{
    (void)state;
    NEEDS_KERNEL();
    meddle("ip link set foreign group %u", "ip link set foreign group 5");
    meddle("ip link set g4 alias theirs #%u", "ip link set g4 alias tunwright:01000000-0000-0000-0000-000000000004");
    meddle("ip link set g4 alias tunwright:01000000-0000-0000-0000-000000000005 #%u",
           "ip link set g4 alias tunwright:01000000-0000-0000-0000-000000000004");
    meddle("ip link set g4 down && ip link set g4 name h4 #%u", "ip link set h4 name g4");
    meddle("ip link set g4 group 9 #%u", "true");
    meddle("ip link set lo group %u", "ip link set lo group 0");
    assert_int_equal(group_of("foreign"), 5);
    assert_int_equal(net_links_delete(ns, keys, DEVICES, (uint32_t[DEVICES]){0}, NULL), 0);
}

/* Whoever marked them was killed. */
static void left_behind(void **state)
{
    (void)state;
    NEEDS_KERNEL();
    CLEANUP(link_group_done) struct link_group group = {0};
    char command[160];
    assert_int_equal(link_group_gather(ns, keys, DEVICES, &group, NULL), 0);
    assert_int_equal(link_group_mark(ns, &group, NULL), 0);
    snprintf(command, sizeof command, "ip link set foreign group %u && ip link set g3 group 5", group.number);
    shell(command);
    assert_int_equal(net_links_ungroup(ns, NULL), 0);
    expect_all_as_they_were();
    assert_int_equal(group_of("foreign"), group.number); /* not ours, whatever it has */
}

#define GROUP_TEST(function) cmocka_unit_test_setup_teardown(function, devices_make, devices_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GROUP_TEST(deletes_ours),
        GROUP_TEST(all_or_none),
        GROUP_TEST(meddlers_lose_nothing),
        GROUP_TEST(left_behind),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

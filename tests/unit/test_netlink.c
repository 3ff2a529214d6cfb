/* SPDX-License-Identifier: Apache-2.0 */
/* What arrives from netlink, as bytes: walking messages, attributes, and what each parse makes of a message. */
#include "net/netlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define SEQUENCE 7
#define PORT     4242

/* ---- walk -------------------------------------------------------------------------------------------------------- */

struct pile {
    _Alignas(struct nlmsghdr) unsigned char bytes[2048];
    size_t length;
};

static void pile_add(struct pile *pile, uint16_t type, uint16_t flags, const void *payload, size_t size)
{
    struct nlmsghdr head = {.nlmsg_len = (uint32_t)(sizeof head + size),
                            .nlmsg_type = type,
                            .nlmsg_flags = flags,
                            .nlmsg_seq = SEQUENCE,
                            .nlmsg_pid = PORT};
    memcpy(pile->bytes + pile->length, &head, sizeof head);
    memcpy(pile->bytes + pile->length + sizeof head, payload, size);
    pile->length += netlink_align(sizeof head + size);
}

static int visit_count(const struct nlmsghdr *message, void *context)
{
    (void)message;
    ++*(int *)context;
    return 0;
}

static int visit_fail(const struct nlmsghdr *message, void *context)
{
    (void)message;
    return -++*(int *)context;
}

/* Walks an exact copy, so that a sanitizer sees a read past its end. */
static int walk(const struct pile *pile, size_t length, netlink_visit *visit, int *count, struct netlink_reply *reply)
{
    unsigned char *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, pile->bytes, length);
    *count = 0;
    *reply = (struct netlink_reply){0};
    int error = netlink_walk(copy, length, SEQUENCE, PORT, visit, count, reply);
    free(copy);
    return error;
}

static void test_walk_dump(void **state)
{
    (void)state;
    struct pile pile = {.length = 0};
    struct netlink_reply reply;
    int count, zero = 0;
    pile_add(&pile, RTM_NEWLINK, NLM_F_MULTI, "abcd", 4);
    pile_add(&pile, RTM_NEWLINK, NLM_F_MULTI, "abcde", 5);
    size_t without_end = pile.length;
    pile_add(&pile, NLMSG_DONE, NLM_F_MULTI, &zero, sizeof zero);
    assert_int_equal(walk(&pile, without_end, visit_count, &count, &reply), 0);
    assert_false(reply.ended);
    assert_int_equal(walk(&pile, pile.length, visit_count, &count, &reply), 0);
    assert_true(reply.ended);
    assert_false(reply.interrupted);
    assert_int_equal(count, 2);
    assert_int_equal(reply.error, 0);
    assert_int_equal(walk(&pile, pile.length, visit_fail, &count, &reply), 0);
    assert_int_equal(reply.visit_error, -1); /* the first, and all were visited */
    assert_int_equal(count, 2);
    for (size_t length = 0; length < pile.length; length++) /* cut anywhere: it may be refused, and no more */
        walk(&pile, length, visit_count, &count, &reply);
}

static void test_walk_interrupted(void **state)
{
    (void)state;
    struct pile pile = {.length = 0};
    struct netlink_reply reply;
    int count, failed = -ENOENT;
    pile_add(&pile, RTM_NEWLINK, NLM_F_MULTI | NLM_F_DUMP_INTR, "abcd", 4);
    pile_add(&pile, NLMSG_DONE, NLM_F_MULTI, &failed, sizeof failed);
    assert_int_equal(walk(&pile, pile.length, visit_count, &count, &reply), 0);
    assert_true(reply.interrupted && reply.ended);
    assert_int_equal(reply.error, -ENOENT);
}

static void test_walk_others(void **state)
{
    (void)state;
    struct pile pile = {.length = 0};
    struct netlink_reply reply;
    int count;
    pile_add(&pile, RTM_NEWLINK, NLM_F_MULTI | NLM_F_DUMP_INTR, "abcd", 4);
    ((struct nlmsghdr *)pile.bytes)->nlmsg_seq++;
    size_t second = pile.length;
    pile_add(&pile, NLMSG_DONE, NLM_F_MULTI, "abcd", 4);
    ((struct nlmsghdr *)(pile.bytes + second))->nlmsg_pid++;
    pile_add(&pile, NLMSG_NOOP, 0, "", 0);
    assert_int_equal(walk(&pile, pile.length, visit_count, &count, &reply), 0);
    assert_int_equal(count, 0);
    assert_false(reply.ended || reply.interrupted);
}

static void test_walk_error(void **state)
{
    (void)state;
    struct netlink_reply reply;
    int count;
    struct {
        struct nlmsgerr error;
        struct nlattr attr;
        char text[8];
    } capped = {.error = {.error = -EEXIST, .msg.nlmsg_len = 100},
                .attr = {.nla_len = sizeof(struct nlattr) + 6, .nla_type = NLMSGERR_ATTR_MSG},
                .text = "taken"};
    struct pile pile = {.length = 0};
    pile_add(&pile, NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, &capped, sizeof capped);
    assert_int_equal(walk(&pile, pile.length, visit_count, &count, &reply), 0);
    assert_true(reply.ended);
    assert_int_equal(reply.error, -EEXIST);
    assert_string_equal(reply.text, "taken");

    struct {
        struct nlmsgerr error;
        char request[12];
        struct nlattr attr;
        char text[8];
    } whole = {.error = {.error = -EPERM, .msg.nlmsg_len = sizeof(struct nlmsghdr) + 11},
               .attr = {.nla_len = sizeof(struct nlattr) + 3, .nla_type = NLMSGERR_ATTR_MSG},
               .text = "no!"};
    pile.length = 0;
    pile_add(&pile, NLMSG_ERROR, NLM_F_ACK_TLVS, &whole, sizeof whole);
    assert_int_equal(walk(&pile, pile.length, visit_count, &count, &reply), 0);
    assert_int_equal(reply.error, -EPERM);
    assert_string_equal(reply.text, "no!");

    whole.error.msg.nlmsg_len = UINT32_MAX; /* a request longer than the reply that it came back in */
    pile.length = 0;
    pile_add(&pile, NLMSG_ERROR, NLM_F_ACK_TLVS, &whole, sizeof whole);
    assert_int_equal(walk(&pile, pile.length, visit_count, &count, &reply), -EBADMSG);

    pile.length = 0;
    pile_add(&pile, NLMSG_ERROR, 0, "", 0);
    assert_int_equal(walk(&pile, pile.length, visit_count, &count, &reply), -EBADMSG);
    assert_false(reply.ended);
}

static void test_walk_malformed(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0, 1, sizeof(struct nlmsghdr) - 1, 21, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        struct pile pile = {.length = 0};
        struct netlink_reply reply;
        int count;
        pile_add(&pile, RTM_NEWLINK, 0, "abcd", 4);
        ((struct nlmsghdr *)pile.bytes)->nlmsg_len = lengths[i];
        assert_int_equal(walk(&pile, pile.length, visit_count, &count, &reply), -EBADMSG);
        assert_int_equal(count, 0);
    }
}

/* ---- attributes -------------------------------------------------------------------------------------------------- */

static void test_attributes(void **state)
{
    (void)state;
    struct netlink_message message;
    struct ifinfomsg head = {.ifi_index = 3};
    const struct nlattr *table[IFLA_MAX + 1];
    struct nlmsghdr *nlh = netlink_message_start(&message, RTM_NEWLINK, 0, &head, sizeof head);
    netlink_put_u32(&message, IFLA_MTU, 1);
    netlink_put_u32(&message, IFLA_MTU, 1400);
    netlink_put_text(&message, IFLA_IFNAME, "tun0");
    assert_true(netlink_message_attrs(nlh, sizeof head, table, ARRAY_SIZE(table)));
    uint32_t mtu = 0;
    uint8_t small = 9;
    char name[5], shorter[4];
    assert_true(netlink_u32(table[IFLA_MTU], &mtu));
    assert_int_equal(mtu, 1400);
    assert_false(netlink_u8(table[IFLA_MTU], &small)); /* of another size */
    assert_int_equal(small, 9);
    assert_true(netlink_text(table[IFLA_IFNAME], name, sizeof name));
    assert_string_equal(name, "tun0");
    assert_false(netlink_text(table[IFLA_IFNAME], shorter, sizeof shorter));
    assert_false(netlink_text(NULL, name, sizeof name));
    nlh->nlmsg_len = sizeof *nlh + 4;
    assert_false(netlink_message_attrs(nlh, sizeof head, table, ARRAY_SIZE(table)));
    nlh->nlmsg_len = sizeof *nlh + sizeof head;
    assert_true(netlink_message_attrs(nlh, sizeof head, table, ARRAY_SIZE(table)));
    assert_null(table[IFLA_MTU]);
}

/* ---- links ------------------------------------------------------------------------------------------------------- */

static int parse_alias(const char *alias, struct link_info *info)
{
    struct netlink_message message;
    struct ifinfomsg head = {.ifi_index = 3};
    struct nlmsghdr *nlh = netlink_message_start(&message, RTM_NEWLINK, 0, &head, sizeof head);
    netlink_put_text(&message, IFLA_IFNAME, "tun0");
    netlink_put_text(&message, IFLA_IFALIAS, alias);
    return net_link_parse(nlh, info);
}

static void test_link_alias(void **state)
{
    (void)state;
    static const char *const not_ours[] = {
        "",
        "tunwright",
        "tunwright:",
        "tunwright:0190163d-8694-8bb8-8000-0123456789a",
        "tunwright:0190163d-8694-8bb8-8000-0123456789abc",
        "tunwright:0190163d-8694-8bb8-8000-0123456789ab ",
        "tunwright:0190163D-8694-8BB8-8000-0123456789AB",
        "tunwright:0190163d86948bb880000123456789ab",
        " tunwright:0190163d-8694-8bb8-8000-0123456789ab",
        "Tunwright:0190163d-8694-8bb8-8000-0123456789ab",
        "tunwright:zzzzzzzz-8694-8bb8-8000-0123456789ab",
    };
    struct link_info info;
    struct uuid uuid;
    assert_int_equal(parse_alias("tunwright:0190163d-8694-8bb8-8000-0123456789ab", &info), 0);
    assert_true(info.link.ours);
    assert_int_equal(uuid_parse("0190163d-8694-8bb8-8000-0123456789ab", &uuid), 0);
    assert_true(uuid_equal(&uuid, &info.link.uuid));
    for (size_t i = 0; i < ARRAY_SIZE(not_ours); i++) {
        assert_int_equal(parse_alias(not_ours[i], &info), 0);
        assert_false(info.link.ours);
    }
}

static void test_link_refused(void **state)
{
    (void)state;
    struct link_info info;
    struct netlink_message message;
    struct ifinfomsg head = {.ifi_index = 3};
    struct nlmsghdr *nlh = netlink_message_start(&message, RTM_NEWLINK, 0, &head, sizeof head);
    assert_int_equal(net_link_parse(nlh, &info), -EBADMSG); /* no name */
    netlink_put_text(&message, IFLA_IFNAME, "a-name-of-16-byt");
    assert_int_equal(net_link_parse(nlh, &info), -EBADMSG);
    netlink_put_text(&message, IFLA_IFNAME, "tun0");
    assert_int_equal(net_link_parse(nlh, &info), 0);
    assert_int_equal(info.link.kind, OBSERVED_OTHER);
    assert_int_equal(info.link.owner, OWNER_NONE);
    nlh->nlmsg_type = RTM_DELLINK;
    assert_int_equal(net_link_parse(nlh, &info), -EBADMSG);
    head.ifi_index = 0;
    nlh = netlink_message_start(&message, RTM_NEWLINK, 0, &head, sizeof head);
    netlink_put_text(&message, IFLA_IFNAME, "tun0");
    assert_int_equal(net_link_parse(nlh, &info), -EBADMSG);
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

struct address_case {
    const char *address;
    uint32_t flags;
    int protocol; /* -1: none */
    bool keeps;
    bool ours, by_kernel;
};

static void test_address_classes(void **state)
{
    (void)state;
    static const struct address_case cases[] = {
        {"10.0.0.1", IFA_F_PERMANENT, 84, true, true, false},
        {"10.0.0.1", IFA_F_PERMANENT, -1, true, false, false},
        {"10.0.0.1", IFA_F_PERMANENT, -1, false, true, false}, /* an old kernel: counts as ours */
        {"10.0.0.1", 0, -1, false, false, true},               /* with a lifetime, by DHCP perhaps */
        {"10.0.0.1", IFA_F_PERMANENT | IFA_F_SECONDARY, 84, true, true, false},
        {"fd00::1", IFA_F_PERMANENT, 84, true, true, false},
        {"fd00::1", IFA_F_PERMANENT, 4, true, false, false},
        {"fd00::1", IFA_F_PERMANENT, -1, false, true, false},
        {"fd00::1", 0, 2, true, false, true}, /* SLAAC */
        {"fd00::1", 0, -1, false, false, true},
        {"fd00::1", IFA_F_TEMPORARY, -1, false, false, true},
        {"fd00::1", IFA_F_PERMANENT | IFA_F_MANAGETEMPADDR, -1, false, false, true},
        {"fe80::1", IFA_F_PERMANENT, 3, true, false, true},
        {"fe80::1", IFA_F_PERMANENT, -1, true, false, true},
        {"fe80::1", IFA_F_PERMANENT, -1, false, false, true},
        {"fe80::1", IFA_F_PERMANENT, 84, true, true, false}, /* a link-local address can be wanted, too */
        {"::1", IFA_F_PERMANENT, 1, true, false, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct address_case *c = &cases[i];
        struct address_info info = {
            .flags = c->flags, .has_protocol = c->protocol >= 0, .protocol = (uint8_t)(c->protocol & 0xff)};
        assert_int_equal(ip_addr_parse(c->address, &info.address.prefix.addr), 0);
        net_address_classify(&info, c->keeps);
        if (info.address.ours != c->ours || info.address.by_kernel != c->by_kernel)
            fail_msg("case %zu: ours %d, by the kernel %d", i, info.address.ours, info.address.by_kernel);
    }
}

static void test_address_parse(void **state)
{
    (void)state;
    struct netlink_message message;
    struct address_info info;
    struct ifaddrmsg head = {.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = 5, .ifa_flags = IFA_F_PERMANENT};
    struct nlmsghdr *nlh = netlink_message_start(&message, RTM_NEWADDR, 0, &head, sizeof head);
    assert_int_equal(net_address_parse(nlh, AF_INET, &info), -EBADMSG); /* no address */
    netlink_put(&message, IFA_ADDRESS, (uint8_t[4]){10, 0, 0, 2}, 4);   /* the peer's */
    netlink_put(&message, IFA_LOCAL, (uint8_t[4]){10, 0, 0, 1}, 4);
    netlink_put_u32(&message, IFA_FLAGS, IFA_F_PERMANENT | IFA_F_SECONDARY);
    assert_int_equal(net_address_parse(nlh, AF_INET6, &info), -EBADMSG);
    assert_int_equal(net_address_parse(nlh, AF_INET, &info), 0);
    char text[IP_PREFIX_TEXT_SIZE];
    assert_string_equal(ip_prefix_print(&info.address.prefix, text), "10.0.0.1/24");
    assert_true(info.address.secondary);
    assert_int_equal(info.ifindex, 5);
    assert_false(info.has_protocol);

    head.ifa_prefixlen = 33;
    nlh = netlink_message_start(&message, RTM_NEWADDR, 0, &head, sizeof head);
    netlink_put(&message, IFA_LOCAL, (uint8_t[4]){10, 0, 0, 1}, 4);
    assert_int_equal(net_address_parse(nlh, AF_INET, &info), -EBADMSG);

    /* IFA_F_TEMPORARY is the same bit as IFA_F_SECONDARY */
    head =
        (struct ifaddrmsg){.ifa_family = AF_INET6, .ifa_prefixlen = 64, .ifa_index = 5, .ifa_flags = IFA_F_TEMPORARY};
    nlh = netlink_message_start(&message, RTM_NEWADDR, 0, &head, sizeof head);
    netlink_put(&message, IFA_ADDRESS, (uint8_t[16]){0xfd}, 16);
    netlink_put_u32(&message, IFA_FLAGS, IFA_F_TEMPORARY | IFA_F_TENTATIVE | IFA_F_DADFAILED);
    assert_int_equal(net_address_parse(nlh, AF_INET6, &info), 0);
    assert_false(info.address.secondary);
    assert_true(info.address.tentative && info.address.failed);
}

/* ---- routes ------------------------------------------------------------------------------------------------------ */

static struct nlmsghdr *route_start(struct netlink_message *message, const struct rtmsg *head)
{
    struct nlmsghdr *nlh = netlink_message_start(message, RTM_NEWROUTE, 0, head, sizeof *head);
    netlink_put(message, RTA_DST, (uint8_t[4]){10, 9, 0, 0}, 4);
    return nlh;
}

static void test_route_parse(void **state)
{
    (void)state;
    const struct rtmsg plain = {.rtm_family = AF_INET,
                                .rtm_dst_len = 16,
                                .rtm_table = RT_TABLE_MAIN,
                                .rtm_protocol = NET_PROTOCOL,
                                .rtm_type = RTN_UNICAST};
    struct netlink_message message;
    struct route_info info;
    struct nlmsghdr *nlh = route_start(&message, &plain);
    assert_int_equal(net_route_parse(nlh, AF_INET, &info), -ENOENT); /* through no device */
    netlink_put_u32(&message, RTA_OIF, 4);
    assert_int_equal(net_route_parse(nlh, AF_INET, &info), 0);
    assert_int_equal(info.ifindex, 4);
    assert_int_equal(info.route.table, 254);
    assert_int_equal(info.route.metric, 0);
    assert_int_equal(info.route.via.family, 0);
    netlink_put_u32(&message, RTA_TABLE, 70000);
    netlink_put_u32(&message, RTA_PRIORITY, 9);
    netlink_put(&message, RTA_GATEWAY, (uint8_t[4]){10, 0, 0, 1}, 4);
    netlink_put(&message, RTA_PREFSRC, (uint8_t[4]){10, 0, 0, 2}, 4);
    assert_int_equal(net_route_parse(nlh, AF_INET, &info), 0);
    char text[IP_ADDR_TEXT_SIZE];
    assert_int_equal(info.route.table, 70000);
    assert_int_equal(info.route.metric, 9);
    assert_string_equal(ip_addr_print(&info.route.via, text), "10.0.0.1");
    assert_string_equal(ip_addr_print(&info.route.source, text), "10.0.0.2");
    assert_int_equal(net_route_parse(nlh, AF_INET6, &info), -EBADMSG);

    /* a gateway of the other family */
    nlh = route_start(&message, &plain);
    netlink_put_u32(&message, RTA_OIF, 4);
    unsigned char via[18] = {AF_INET6, 0, 0xfe, 0x80};
    netlink_put(&message, RTA_VIA, via, sizeof via);
    assert_int_equal(net_route_parse(nlh, AF_INET, &info), 0);
    assert_string_equal(ip_addr_print(&info.route.via, text), "fe80::");
    nlh = route_start(&message, &plain);
    netlink_put_u32(&message, RTA_OIF, 4);
    netlink_put(&message, RTA_VIA, via, sizeof via - 1);
    assert_int_equal(net_route_parse(nlh, AF_INET, &info), -EBADMSG);

    /* without a device */
    struct rtmsg blackhole = plain;
    blackhole.rtm_type = RTN_BLACKHOLE;
    nlh = route_start(&message, &blackhole);
    netlink_put_u32(&message, RTA_OIF, 1);
    assert_int_equal(net_route_parse(nlh, AF_INET, &info), 0);
    assert_int_equal(info.ifindex, 0);
    assert_int_equal(info.route.type, ROUTE_BLACKHOLE);
}

static void test_route_not_ours(void **state)
{
    (void)state;
    const struct rtmsg plain = {.rtm_family = AF_INET,
                                .rtm_dst_len = 16,
                                .rtm_table = RT_TABLE_MAIN,
                                .rtm_protocol = NET_PROTOCOL,
                                .rtm_type = RTN_UNICAST};
    struct rtmsg heads[5] = {plain, plain, plain, plain, plain};
    heads[0].rtm_protocol = RTPROT_DHCP;
    heads[1].rtm_flags = RTM_F_CLONED;
    heads[2].rtm_tos = 4;
    heads[3].rtm_type = RTN_LOCAL;
    heads[4].rtm_src_len = 8;
    struct netlink_message message;
    struct route_info info;
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        struct nlmsghdr *nlh = route_start(&message, &heads[i]);
        netlink_put_u32(&message, RTA_OIF, 4);
        assert_int_equal(net_route_parse(nlh, AF_INET, &info), -ENOENT);
    }
    static const uint16_t attributes[] = {RTA_MULTIPATH, RTA_NH_ID};
    for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
        struct nlmsghdr *nlh = route_start(&message, &plain);
        netlink_put_u32(&message, RTA_OIF, 4);
        netlink_put_u32(&message, attributes[i], 1);
        assert_int_equal(net_route_parse(nlh, AF_INET, &info), -ENOENT);
    }
    /* an administrator's: what goes through a device, and nothing else */
    static const uint8_t administrator[] = {RTPROT_BOOT, RTPROT_STATIC};
    for (size_t i = 0; i < ARRAY_SIZE(administrator); i++) {
        struct rtmsg theirs = plain;
        theirs.rtm_protocol = administrator[i];
        struct nlmsghdr *nlh = route_start(&message, &theirs);
        netlink_put_u32(&message, RTA_OIF, 4);
        assert_int_equal(net_route_parse(nlh, AF_INET, &info), 0);
        assert_int_equal(info.protocol, administrator[i]);
        assert_int_equal(info.ifindex, 4);
        theirs.rtm_type = RTN_BLACKHOLE;
        nlh = route_start(&message, &theirs);
        assert_int_equal(net_route_parse(nlh, AF_INET, &info), -ENOENT);
    }
    struct rtmsg longer = plain;
    longer.rtm_dst_len = 33;
    struct nlmsghdr *nlh = route_start(&message, &longer);
    netlink_put_u32(&message, RTA_OIF, 4);
    assert_int_equal(net_route_parse(nlh, AF_INET, &info), -EBADMSG);
    nlh = netlink_message_start(&message, RTM_NEWROUTE, 0, &plain, sizeof plain); /* a length, and nothing to it */
    netlink_put_u32(&message, RTA_OIF, 4);
    assert_int_equal(net_route_parse(nlh, AF_INET, &info), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk_dump),       cmocka_unit_test(test_walk_interrupted),
        cmocka_unit_test(test_walk_others),     cmocka_unit_test(test_walk_error),
        cmocka_unit_test(test_walk_malformed),  cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_link_alias),      cmocka_unit_test(test_link_refused),
        cmocka_unit_test(test_address_classes), cmocka_unit_test(test_address_parse),
        cmocka_unit_test(test_route_parse),     cmocka_unit_test(test_route_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

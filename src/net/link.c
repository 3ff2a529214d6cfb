/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links: what RTM_NEWLINK shows of one, and changing it.
 *
 * The kernel carries out the attributes of one RTM_SETLINK one after the other, and leaves those before a refused one
 * in force. So each setting is a message of its own here: a refusal says which it was, and what went before is put
 * back.
 */
#include "netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#ifndef IFF_LOWER_UP
#define IFF_LOWER_UP 0x10000 /* linux/if.h has it, and contradicts net/if.h */
#endif
#define TUN_TYPE_TUN 1 /* IFLA_TUN_TYPE: IFF_TUN and IFF_TAP of linux/if_tun.h */
#define TUN_TYPE_TAP 2

/* ---- parse ------------------------------------------------------------------------------------------------------- */

static void link_parse_tun(const struct nlattr *linkinfo, struct link_info *info)
{
    const struct nlattr *kind[IFLA_INFO_DATA + 1];
    char name[16];
    netlink_nested_attrs(linkinfo, kind, ARRAY_SIZE(kind));
    if (!netlink_text(kind[IFLA_INFO_KIND], name, sizeof name) || strcmp(name, "tun") != 0)
        return;

    const struct nlattr *tun[IFLA_TUN_NUM_DISABLED_QUEUES + 1];
    uint8_t type = 0, multi_queue = 0, persistent = 0;
    uint32_t attached = 0, detached = 0;
    netlink_nested_attrs(kind[IFLA_INFO_DATA], tun, ARRAY_SIZE(tun));
    netlink_u8(tun[IFLA_TUN_TYPE], &type);
    netlink_u8(tun[IFLA_TUN_MULTI_QUEUE], &multi_queue);
    netlink_u8(tun[IFLA_TUN_PERSIST], &persistent);
    netlink_u32(tun[IFLA_TUN_OWNER], &info->link.owner);
    netlink_u32(tun[IFLA_TUN_GROUP], &info->link.group);
    netlink_u32(tun[IFLA_TUN_NUM_QUEUES], &attached);
    netlink_u32(tun[IFLA_TUN_NUM_DISABLED_QUEUES], &detached);
    if (info->link.owner == TUN_OWNER_NOBODY)
        info->link.owner = OWNER_NONE;
    if (info->link.group == TUN_OWNER_NOBODY)
        info->link.group = OWNER_NONE;
    if (type == TUN_TYPE_TUN)
        info->link.kind = OBSERVED_TUN;
    else if (type == TUN_TYPE_TAP)
        info->link.kind = OBSERVED_TAP;
    info->link.multi_queue = multi_queue != 0;
    info->link.persistent = persistent != 0;
    info->link.queue_count = attached + detached;
}

/* The alias of a device of ours is exactly the prefix and a uuid: with anything else it is somebody else's. */
static void link_parse_alias(const struct nlattr *alias, struct observed_link *link)
{
    char text[sizeof NET_ALIAS_PREFIX + UUID_TEXT_SIZE];
    link->has_alias = alias && mnl_attr_get_payload_len(alias) > 0 && *(const char *)mnl_attr_get_payload(alias);
    if (!netlink_text(alias, text, sizeof text) || strncmp(text, NET_ALIAS_PREFIX, sizeof NET_ALIAS_PREFIX - 1) != 0)
        return;
    link->ours = uuid_parse(text + sizeof NET_ALIAS_PREFIX - 1, &link->uuid) == 0;
}

int net_link_parse(const struct nlmsghdr *message, struct link_info *ret_info)
{
    struct ifinfomsg head;
    const struct nlattr *table[IFLA_GROUP + 1]; /* the highest of those below */
    if (message->nlmsg_type != RTM_NEWLINK || !netlink_message_attrs(message, sizeof head, table, ARRAY_SIZE(table)))
        return -EBADMSG;
    memcpy(&head, mnl_nlmsg_get_payload(message), sizeof head);

    struct link_info info = {.link.kind = OBSERVED_OTHER, .link.owner = OWNER_NONE, .link.group = OWNER_NONE};
    if (head.ifi_index <= 0 || !netlink_text(table[IFLA_IFNAME], info.link.name, sizeof info.link.name))
        return -EBADMSG;
    info.link.ifindex = (uint32_t)head.ifi_index;
    info.link.up = head.ifi_flags & IFF_UP;
    info.link.carrier = head.ifi_flags & IFF_LOWER_UP;
    netlink_u32(table[IFLA_MTU], &info.link.mtu);
    netlink_u32(table[IFLA_TXQLEN], &info.link.txqueuelen);
    netlink_u32(table[IFLA_MASTER], &info.master_ifindex);
    netlink_u32(table[IFLA_GROUP], &info.group);
    netlink_bytes(table[IFLA_ADDRESS], info.link.mac, sizeof info.link.mac); /* a tun has none */
    link_parse_tun(table[IFLA_LINKINFO], &info);
    link_parse_alias(table[IFLA_IFALIAS], &info.link);
    *ret_info = info;
    return 0;
}

/* ---- look -------------------------------------------------------------------------------------------------------- */

struct link_search {
    struct link_info info;
    bool found;
};

static int link_visit(const struct nlmsghdr *message, void *context)
{
    struct link_search *search = context;
    int error = net_link_parse(message, &search->info);
    search->found = !error;
    return error;
}

int net_link_query(struct net_ns *ns, const char *name, uint32_t ifindex, struct link_info *ret_info,
                   struct err *ret_err)
{
    struct netlink_message message;
    struct ifinfomsg head = {.ifi_index = name ? 0 : (int)ifindex};
    struct link_search search = {.found = false};
    netlink_message_start(&message, RTM_GETLINK, 0, &head, sizeof head);
    netlink_put_u32(&message, IFLA_EXT_MASK, NETLINK_SKIP_STATS);
    if (name)
        netlink_put_text(&message, IFLA_IFNAME, name);
    int error = name ? netlink_request(ns, &message, link_visit, &search, "RTM_GETLINK", ret_err, "no device %s", name)
                     : netlink_request(ns, &message, link_visit, &search, "RTM_GETLINK", ret_err,
                                       "no device with index %u", ifindex);
    if (error)
        return error;
    /* the kernel also looks among alternative names: such a device is not the one that was meant */
    if (!search.found || (name && strcmp(search.info.link.name, name) != 0))
        return err_set_kernel(ret_err, -ENODEV, "RTM_GETLINK", "no device %s", name ? name : "");
    memcpy(search.info.link.netns, ns->name, sizeof search.info.link.netns);
    *ret_info = search.info;
    return 0;
}

int net_link_get(struct net_ns *ns, const char *name, struct observed_link *ret_link, struct err *ret_err)
{
    struct link_info info;
    if (strlen(name) >= DEVICE_NAME_SIZE)
        return err_set_kernel(ret_err, -ENODEV, "RTM_GETLINK", "no device %.*s…", DEVICE_NAME_SIZE, name);
    int error = net_link_query(ns, name, 0, &info, ret_err);
    if (error)
        return error;
    if (info.master_ifindex) {
        struct link_info master;
        if (net_link_query(ns, NULL, info.master_ifindex, &master, NULL) == 0)
            memcpy(info.link.master, master.link.name, sizeof info.link.master);
    }
    *ret_link = info.link;
    return 0;
}

/* ---- change ------------------------------------------------------------------------------------------------------ */

/* A link's settings as the kernel takes them. */
struct link_values {
    uint32_t mtu, txqueuelen, master_ifindex;
    uint8_t mac[6];
    bool up;
};

static int link_apply(struct net_ns *ns, const struct link_info *link, enum link_setting what,
                      const struct link_values *values, struct err *ret_err)
{
    struct netlink_message message;
    struct ifinfomsg head = {.ifi_index = (int)link->link.ifindex};
    const char *name = link->link.name;
    if (what == LINK_UP) {
        head.ifi_change = IFF_UP;
        head.ifi_flags = values->up ? IFF_UP : 0;
    }
    netlink_message_start(&message, RTM_NEWLINK, 0, &head, sizeof head);
    switch (what) {
    case LINK_MTU:
        netlink_put_u32(&message, IFLA_MTU, values->mtu);
        return netlink_request(ns, &message, NULL, NULL, "RTM_NEWLINK", ret_err, "cannot set the mtu of %s to %u", name,
                               values->mtu);
    case LINK_TXQUEUELEN:
        netlink_put_u32(&message, IFLA_TXQLEN, values->txqueuelen);
        return netlink_request(ns, &message, NULL, NULL, "RTM_NEWLINK", ret_err,
                               "cannot set the txqueuelen of %s to %u", name, values->txqueuelen);
    case LINK_MAC:
        netlink_put(&message, IFLA_ADDRESS, values->mac, sizeof values->mac);
        return netlink_request(ns, &message, NULL, NULL, "RTM_NEWLINK", ret_err, "cannot set the mac of %s", name);
    case LINK_MASTER:
        netlink_put_u32(&message, IFLA_MASTER, values->master_ifindex);
        return netlink_request(ns, &message, NULL, NULL, "RTM_NEWLINK", ret_err,
                               values->master_ifindex ? "cannot make %s a port of its master"
                                                      : "cannot take %s away from its master",
                               name);
    case LINK_UP:
        return netlink_request(ns, &message, NULL, NULL, "RTM_NEWLINK", ret_err, "cannot set %s %s", name,
                               values->up ? "up" : "down");
    case LINK_OWNER:
    case LINK_GROUP:
        break;
    }
    return 0;
}

/* Drivers without IFF_LIVE_ADDR_CHANGE take a new address only while they are down. `now` follows what is in force. */
static int link_apply_mac(struct net_ns *ns, const struct link_info *link, const struct link_values *values,
                          bool stay_down, struct link_values *now, struct err *ret_err)
{
    int error = link_apply(ns, link, LINK_MAC, values, ret_err);
    if (error != -EBUSY || !now->up)
        return error;
    struct link_values down = {.up = false}, up = {.up = true};
    error = link_apply(ns, link, LINK_UP, &down, ret_err);
    if (error)
        return error;
    error = link_apply(ns, link, LINK_MAC, values, ret_err);
    if (!error && stay_down) {
        now->up = false;
        return 0;
    }
    int up_error = link_apply(ns, link, LINK_UP, &up, error ? NULL : ret_err);
    return error ? error : up_error;
}

static bool link_value_differs(enum link_setting what, const struct link_values *a, const struct link_values *b)
{
    switch (what) {
    case LINK_MTU:
        return a->mtu != b->mtu;
    case LINK_TXQUEUELEN:
        return a->txqueuelen != b->txqueuelen;
    case LINK_MAC:
        return memcmp(a->mac, b->mac, sizeof a->mac) != 0;
    case LINK_MASTER:
        return a->master_ifindex != b->master_ifindex;
    case LINK_UP:
        return a->up != b->up;
    case LINK_OWNER:
    case LINK_GROUP:
        break;
    }
    return false;
}

int net_link_set(struct net_ns *ns, uint32_t ifindex, const struct link_settings *settings, struct err *ret_err)
{
    /* up and down come last: down loses routes and IPv6 addresses, so nothing should be able to fail after it */
    static const enum link_setting order[] = {LINK_MAC, LINK_MTU, LINK_TXQUEUELEN, LINK_MASTER, LINK_UP};
    struct link_info link, master;
    int error = net_link_query(ns, NULL, ifindex, &link, ret_err);
    if (error)
        return error;
    struct link_values before = {.mtu = link.link.mtu,
                                 .txqueuelen = link.link.txqueuelen,
                                 .master_ifindex = link.master_ifindex,
                                 .up = link.link.up};
    memcpy(before.mac, link.link.mac, sizeof before.mac);
    struct link_values wanted = {.mtu = settings->mtu, .txqueuelen = settings->txqueuelen, .up = settings->up};
    memcpy(wanted.mac, settings->mac, sizeof wanted.mac);
    if (settings->set & LINK_MASTER && settings->master[0]) {
        error = net_link_query(ns, settings->master, 0, &master, ret_err);
        if (error)
            return error;
        wanted.master_ifindex = master.link.ifindex;
    }

    struct link_values now = before;
    bool stay_down = settings->set & LINK_UP && !settings->up;
    size_t i = 0;
    for (; i < ARRAY_SIZE(order); i++) {
        if (!(settings->set & order[i]) || !link_value_differs(order[i], &wanted, &now))
            continue;
        error = order[i] == LINK_MAC ? link_apply_mac(ns, &link, &wanted, stay_down, &now, ret_err)
                                     : link_apply(ns, &link, order[i], &wanted, ret_err);
        if (error)
            break;
    }
    if (!error)
        return 0;
    while (i-- > 0) {
        if (settings->set & order[i] && link_value_differs(order[i], &wanted, &before)) {
            if (order[i] == LINK_MAC)
                link_apply_mac(ns, &link, &before, false, &now, NULL);
            else
                link_apply(ns, &link, order[i], &before, NULL);
        }
    }
    if (now.up != before.up)
        link_apply(ns, &link, LINK_UP, &before, NULL);
    return error;
}

int net_link_set_alias(struct net_ns *ns, uint32_t ifindex, const struct uuid *uuid, struct err *ret_err)
{
    struct netlink_message message;
    struct ifinfomsg head = {.ifi_index = (int)ifindex};
    char text[UUID_TEXT_SIZE], alias[sizeof NET_ALIAS_PREFIX + UUID_TEXT_SIZE];
    snprintf(alias, sizeof alias, NET_ALIAS_PREFIX "%s", uuid_print(uuid, text));
    netlink_message_start(&message, RTM_NEWLINK, 0, &head, sizeof head);
    netlink_put_text(&message, IFLA_IFALIAS, alias);
    return netlink_request(ns, &message, NULL, NULL, "RTM_NEWLINK", ret_err, "cannot mark the device with index %u",
                           ifindex);
}

int net_link_clear_alias(struct net_ns *ns, uint32_t ifindex, struct err *ret_err)
{
    struct netlink_message message;
    struct ifinfomsg head = {.ifi_index = (int)ifindex};
    netlink_message_start(&message, RTM_NEWLINK, 0, &head, sizeof head);
    netlink_put(&message, IFLA_IFALIAS, "", 0); /* with a NUL it would be an alias of no characters */
    return netlink_request(ns, &message, NULL, NULL, "RTM_NEWLINK", ret_err,
                           "cannot take our mark off the device with index %u", ifindex);
}

int net_link_delete(struct net_ns *ns, uint32_t ifindex, struct err *ret_err)
{
    struct netlink_message message;
    struct ifinfomsg head = {.ifi_index = (int)ifindex};
    /* without an index the kernel would go by name or group, and a group of links goes with one message */
    if (ifindex == 0 || ifindex > INT32_MAX)
        return err_set_kernel(ret_err, -ENODEV, "RTM_DELLINK", "no device with index %u", ifindex);
    netlink_message_start(&message, RTM_DELLINK, 0, &head, sizeof head);
    return netlink_request(ns, &message, NULL, NULL, "RTM_DELLINK", ret_err, "cannot delete the device with index %u",
                           ifindex);
}

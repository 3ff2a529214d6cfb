/* SPDX-License-Identifier: Apache-2.0 */
/* A link's own counters. */
#include "netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <string.h>

struct stats_search {
    bool found;
    struct link_stats stats;
};

/* struct rtnl_link_stats64 grew at its end over time; what we take is its first eight, and has always been there. */
static bool stats_read(const struct nlattr *attr, struct link_stats *ret_stats)
{
    uint64_t values[8];
    if (!attr || mnl_attr_get_payload_len(attr) < sizeof values)
        return false;
    memcpy(values, mnl_attr_get_payload(attr), sizeof values);
    *ret_stats = (struct link_stats){
        .rx_packets = values[0],
        .tx_packets = values[1],
        .rx_bytes = values[2],
        .tx_bytes = values[3],
        .rx_errors = values[4],
        .tx_errors = values[5],
        .rx_dropped = values[6],
        .tx_dropped = values[7],
    };
    return true;
}

static int stats_visit(const struct nlmsghdr *message, void *context)
{
    struct stats_search *search = context;
    const struct nlattr *table[IFLA_STATS_LINK_64 + 1];
    if (message->nlmsg_type == RTM_NEWSTATS &&
        netlink_message_attrs(message, sizeof(struct if_stats_msg), table, ARRAY_SIZE(table)))
        search->found = stats_read(table[IFLA_STATS_LINK_64], &search->stats);
    return 0;
}

static int stats_visit_link(const struct nlmsghdr *message, void *context)
{
    struct stats_search *search = context;
    const struct nlattr *table[IFLA_STATS64 + 1];
    if (message->nlmsg_type == RTM_NEWLINK &&
        netlink_message_attrs(message, sizeof(struct ifinfomsg), table, ARRAY_SIZE(table)))
        search->found = stats_read(table[IFLA_STATS64], &search->stats);
    return 0;
}

static int stats_answer(int error, const struct stats_search *search, struct link_stats *ret_stats)
{
    if (!error && !search->found)
        error = -ENODATA;
    if (!error)
        *ret_stats = search->stats;
    return error;
}

int net_link_stats_of_link(struct net_ns *ns, uint32_t ifindex, struct link_stats *ret_stats)
{
    struct netlink_message message;
    struct stats_search search = {.found = false};
    struct ifinfomsg head = {.ifi_index = (int)ifindex};
    netlink_message_start(&message, RTM_GETLINK, 0, &head, sizeof head);
    int error = netlink_get(ns, &message, stats_visit_link, &search);
    return stats_answer(error, &search, ret_stats);
}

int net_link_stats(struct net_ns *ns, uint32_t ifindex, struct link_stats *ret_stats)
{
    struct netlink_message message;
    struct stats_search search = {.found = false};
    struct if_stats_msg head = {.ifindex = ifindex, .filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64)};
    if (ifindex == 0 || ifindex > INT32_MAX)
        return -ENODEV;
    netlink_message_start(&message, RTM_GETSTATS, 0, &head, sizeof head);
    int error = netlink_get(ns, &message, stats_visit, &search);
    if (error == -EOPNOTSUPP)
        return net_link_stats_of_link(ns, ifindex, ret_stats);
    return stats_answer(error, &search, ret_stats);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: what RTM_NEWROUTE shows of one, adding and deleting.
 *
 * Two routes are the same to the kernel when destination, table and metric are (TOS aside, which ours have none of): it
 * refuses the second with EEXIST, through whichever device. A delete names all of ours that the kernel will compare, so
 * that nobody else's route of the same destination goes instead. What it does not compare: IPv4 takes a metric of 0 for
 * "any", so when the route with metric 0 is gone already, a twin of ours with another metric, on the same device, goes;
 * IPv6 does not look at the type, so a route without a device is deleted as one on lo, where the kernel shows it.
 */
#include "netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define LOOPBACK_INDEX 1 /* LOOPBACK_IFINDEX of net/flow.h: in every netns */

#define SOURCE_WAIT_MS 100
#define SOURCE_POLL_MS 5

static const uint8_t ROUTE_TYPES[] = {
    [ROUTE_UNICAST] = RTN_UNICAST,
    [ROUTE_BLACKHOLE] = RTN_BLACKHOLE,
    [ROUTE_UNREACHABLE] = RTN_UNREACHABLE,
    [ROUTE_PROHIBIT] = RTN_PROHIBIT,
};
_Static_assert(ARRAY_SIZE(ROUTE_TYPES) == ROUTE_TYPE_N, "every type has its number");

static bool route_type_from_kernel(uint8_t type, enum route_type *ret_type)
{
    for (size_t i = 0; i < ARRAY_SIZE(ROUTE_TYPES); i++) {
        if (ROUTE_TYPES[i] == type) {
            *ret_type = (enum route_type)i;
            return true;
        }
    }
    return false;
}

/* RTA_GATEWAY, or RTA_VIA where the gateway is of the other family. */
static bool route_parse_gateway(const struct nlattr *const *table, int family, struct ip_addr *ret_via)
{
    if (table[RTA_GATEWAY])
        return netlink_ip(table[RTA_GATEWAY], family, ret_via);
    if (!table[RTA_VIA])
        return true;
    uint16_t length = mnl_attr_get_payload_len(table[RTA_VIA]), via_family;
    if (length < sizeof via_family)
        return false;
    const unsigned char *payload = mnl_attr_get_payload(table[RTA_VIA]);
    memcpy(&via_family, payload, sizeof via_family);
    struct ip_addr via = {.family = (uint8_t)via_family};
    if ((via_family != AF_INET && via_family != AF_INET6) || length != sizeof via_family + ip_addr_size(&via))
        return false;
    memcpy(via.bytes, payload + sizeof via_family, ip_addr_size(&via));
    *ret_via = via;
    return true;
}

int net_route_parse(const struct nlmsghdr *message, int family, struct route_info *ret_info)
{
    struct rtmsg head;
    const struct nlattr *table[RTA_NH_ID + 1];
    if (message->nlmsg_type != RTM_NEWROUTE || !netlink_message_attrs(message, sizeof head, table, ARRAY_SIZE(table)))
        return -EBADMSG;
    memcpy(&head, mnl_nlmsg_get_payload(message), sizeof head);
    if (head.rtm_family != family)
        return -EBADMSG;
    struct route_info info = {
        .protocol = head.rtm_protocol, .route.to.addr.family = (uint8_t)family, .route.table = head.rtm_table};
    struct route *route = &info.route;
    bool ours = head.rtm_protocol == NET_PROTOCOL;
    if ((!ours && head.rtm_protocol != NET_PROTOCOL_BOOT && head.rtm_protocol != NET_PROTOCOL_STATIC) ||
        head.rtm_flags & RTM_F_CLONED || head.rtm_tos || head.rtm_src_len || table[RTA_MULTIPATH] || table[RTA_NH_ID] ||
        !route_type_from_kernel(head.rtm_type, &route->type))
        return -ENOENT;

    if (!ours && route_is_unattached(route))
        return -ENOENT;
    if (head.rtm_dst_len > 8 * ip_addr_size(&route->to.addr) ||
        (table[RTA_DST] ? !netlink_ip(table[RTA_DST], family, &route->to.addr) : head.rtm_dst_len != 0))
        return -EBADMSG;
    route->to.length = head.rtm_dst_len;
    netlink_u32(table[RTA_TABLE], &route->table);
    netlink_u32(table[RTA_PRIORITY], &route->metric);
    netlink_ip(table[RTA_PREFSRC], family, &route->source);
    if (!route_is_unattached(route)) {
        if (!route_parse_gateway(table, family, &route->via))
            return -EBADMSG;
        netlink_u32(table[RTA_OIF], &info.ifindex);
        if (!info.ifindex)
            return -ENOENT;
    }
    *ret_info = info;
    return 0;
}

static int route_request(struct net_ns *ns, uint16_t type, unsigned flags, uint32_t ifindex, const struct route *route,
                         uint8_t protocol, struct err *ret_err)
{
    bool add = type == RTM_NEWROUTE, unattached = route_is_unattached(route);
    const char *operation = add ? "RTM_NEWROUTE" : "RTM_DELROUTE";
    int family = route->to.addr.family;
    struct netlink_message message;
    char text[IP_PREFIX_TEXT_SIZE];
    struct rtmsg head = {
        .rtm_family = (unsigned char)family,
        .rtm_dst_len = route->to.length,
        .rtm_table = (unsigned char)(route->table < 256 ? route->table : RT_TABLE_COMPAT),
        .rtm_protocol = protocol,
        .rtm_type = ROUTE_TYPES[route->type],
        .rtm_scope = RT_SCOPE_UNIVERSE,
    };
    if (!add)
        head.rtm_scope = RT_SCOPE_NOWHERE; /* any */
    else if (family == AF_INET && !unattached && route->via.family == 0)
        head.rtm_scope = RT_SCOPE_LINK;
    /* without an index the kernel would choose a device by the gateway, or delete on any */
    if (!unattached && (ifindex == 0 || ifindex > INT32_MAX))
        return err_set_kernel(ret_err, -ENODEV, operation, "no device with index %u", ifindex);

    netlink_message_start(&message, type, flags, &head, sizeof head);
    netlink_put(&message, RTA_DST, route->to.addr.bytes, ip_addr_size(&route->to.addr));
    netlink_put_u32(&message, RTA_TABLE, route->table);
    if (route->metric)
        netlink_put_u32(&message, RTA_PRIORITY, route->metric);
    if (!unattached)
        netlink_put_u32(&message, RTA_OIF, ifindex);
    else if (!add && family == AF_INET6)
        netlink_put_u32(&message, RTA_OIF, LOOPBACK_INDEX);
    if (add && route->via.family == family) {
        netlink_put(&message, RTA_GATEWAY, route->via.bytes, ip_addr_size(&route->via));
    } else if (add && route->via.family) {
        unsigned char via[sizeof(uint16_t) + 16];
        uint16_t via_family = route->via.family;
        memcpy(via, &via_family, sizeof via_family);
        memcpy(via + sizeof via_family, route->via.bytes, ip_addr_size(&route->via));
        netlink_put(&message, RTA_VIA, via, sizeof via_family + ip_addr_size(&route->via));
    }
    if (add && route->source.family)
        netlink_put(&message, RTA_PREFSRC, route->source.bytes, ip_addr_size(&route->source));
    return netlink_request(ns, &message, NULL, NULL, operation, ret_err, "cannot %s the route to %s",
                           add ? "add" : "delete", ip_prefix_print(&route->to, text));
}

struct source_search {
    const struct ip_addr *addr;
    bool tentative;
};

static int source_visit(const struct nlmsghdr *message, void *context)
{
    struct source_search *search = context;
    struct address_info info;
    if (net_address_parse(message, AF_INET6, &info) == 0 && ip_addr_equal(&info.address.prefix.addr, search->addr))
        search->tentative |= info.address.tentative && !info.address.failed;
    return 0;
}

/* Whether it is an IPv6 address that is there, and that duplicate address detection has not released yet. */
static bool source_is_tentative(struct net_ns *ns, const struct ip_addr *addr)
{
    struct netlink_message message;
    struct source_search search = {.addr = addr};
    struct ifaddrmsg head = {.ifa_family = AF_INET6};
    netlink_message_start(&message, RTM_GETADDR, 0, &head, sizeof head);
    int error = netlink_dump(ns, &message, source_visit, &search, "RTM_GETADDR", NULL);
    return search.tentative || error == -EAGAIN;
}

/* An IPv6 address is tentative from the moment that it is added until the kernel gets round to it: at once where there
 * is nobody to ask (tun), and that is worth waiting for; after a second or two on tap, and that the caller must do. */
int net_route_add(struct net_ns *ns, uint32_t ifindex, const struct route *route, struct err *ret_err)
{
    for (int waited_ms = 0;; waited_ms += SOURCE_POLL_MS) {
        int error = route_request(ns, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, ifindex, route, NET_PROTOCOL, ret_err);
        if (error != -EINVAL || route->source.family != AF_INET6 || !source_is_tentative(ns, &route->source))
            return error;
        if (waited_ms >= SOURCE_WAIT_MS) {
            char text[IP_ADDR_TEXT_SIZE];
            return err_set_kernel(ret_err, -EAGAIN, "RTM_NEWROUTE", "the kernel still looks for duplicates of %s",
                                  ip_addr_print(&route->source, text));
        }
        struct timespec wait = {.tv_nsec = (long)(SOURCE_POLL_MS * NSEC_PER_MSEC)};
        nanosleep(&wait, NULL);
    }
}

int net_route_delete(struct net_ns *ns, uint32_t ifindex, const struct route *route, uint8_t protocol,
                     struct err *ret_err)
{
    return route_request(ns, RTM_DELROUTE, 0, ifindex, route, protocol, ret_err);
}

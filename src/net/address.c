/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: what RTM_NEWADDR shows of one, adding and deleting. */
#include "netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <string.h>
#include <sys/socket.h>

/* linux/if_addr.h has these from 5.18 and 6.0 on */
#define ADDRESS_PROTO   11 /* IFA_PROTO */
#define PROTO_KERNEL_LO 1
#define PROTO_KERNEL_RA 2
#define PROTO_KERNEL_LL 3

static bool address_is_link_local6(const struct ip_addr *addr)
{
    return addr->family == AF_INET6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

int net_address_parse(const struct nlmsghdr *message, int family, struct address_info *ret_info)
{
    struct ifaddrmsg head;
    const struct nlattr *table[ADDRESS_PROTO + 1];
    if (message->nlmsg_type != RTM_NEWADDR || !netlink_message_attrs(message, sizeof head, table, ARRAY_SIZE(table)))
        return -EBADMSG;
    memcpy(&head, mnl_nlmsg_get_payload(message), sizeof head);
    /* a kernel without IPv6 answers a dump of its addresses with those of all families */
    if (head.ifa_family != family)
        return -EBADMSG;

    struct address_info info = {.ifindex = head.ifa_index, .flags = head.ifa_flags};
    struct observed_address *address = &info.address;
    /* with a peer, IFA_ADDRESS is the peer's and IFA_LOCAL ours; IPv6 without one has only IFA_ADDRESS */
    if (!netlink_ip(table[IFA_LOCAL], family, &address->prefix.addr) &&
        !netlink_ip(table[IFA_ADDRESS], family, &address->prefix.addr))
        return -EBADMSG;
    if (head.ifa_prefixlen > 8 * ip_addr_size(&address->prefix.addr))
        return -EBADMSG;
    address->prefix.length = head.ifa_prefixlen;
    netlink_u32(table[IFA_FLAGS], &info.flags);
    info.has_protocol = netlink_u8(table[ADDRESS_PROTO], &info.protocol);
    address->secondary = family == AF_INET && info.flags & IFA_F_SECONDARY; /* on IPv6 this bit is IFA_F_TEMPORARY */
    struct ip_addr local, other;
    address->has_peer = netlink_ip(table[IFA_LOCAL], family, &local) &&
                        netlink_ip(table[IFA_ADDRESS], family, &other) && !ip_addr_equal(&local, &other);
    address->tentative = info.flags & IFA_F_TENTATIVE;
    address->failed = info.flags & IFA_F_DADFAILED;
    *ret_info = info;
    return 0;
}

void net_address_classify(struct address_info *info, bool keeps_protocol)
{
    struct observed_address *address = &info->address;
    bool link_local = address_is_link_local6(&address->prefix.addr);
    address->ours = info->has_protocol && info->protocol == NET_PROTOCOL;
    address->by_kernel = false;
    if (address->ours)
        return;
    if (info->has_protocol)
        address->by_kernel = info->protocol >= PROTO_KERNEL_LO && info->protocol <= PROTO_KERNEL_LL;
    else
        address->by_kernel = link_local;
    if (!(info->flags & IFA_F_PERMANENT) || info->flags & IFA_F_MANAGETEMPADDR)
        address->by_kernel = true;
    if (address->prefix.addr.family == AF_INET6 && info->flags & IFA_F_TEMPORARY)
        address->by_kernel = true;
    if (!keeps_protocol && !link_local && !address->by_kernel)
        address->ours = true;
}

static int address_request(struct net_ns *ns, uint16_t type, unsigned flags, uint32_t ifindex,
                           const struct ip_prefix *address, struct err *ret_err)
{
    struct netlink_message message;
    char text[IP_PREFIX_TEXT_SIZE];
    size_t size = ip_addr_size(&address->addr);
    struct ifaddrmsg head = {
        .ifa_family = address->addr.family, .ifa_prefixlen = address->length, .ifa_index = ifindex};
    /* the kernel takes an index of 0 for "whichever device" when it deletes */
    if (ifindex == 0 || ifindex > INT32_MAX)
        return err_set_kernel(ret_err, -ENODEV, type == RTM_NEWADDR ? "RTM_NEWADDR" : "RTM_DELADDR",
                              "no device with index %u", ifindex);
    netlink_message_start(&message, type, flags, &head, sizeof head);
    netlink_put(&message, IFA_LOCAL, address->addr.bytes, size);
    netlink_put(&message, IFA_ADDRESS, address->addr.bytes, size);
    ip_prefix_print(address, text);
    if (type == RTM_DELADDR)
        return netlink_request(ns, &message, NULL, NULL, "RTM_DELADDR", ret_err, "cannot delete the address %s", text);
    netlink_put_u8(&message, ADDRESS_PROTO, NET_PROTOCOL); /* kernels that do not know it pass over it */
    return netlink_request(ns, &message, NULL, NULL, "RTM_NEWADDR", ret_err, "cannot add the address %s", text);
}

int net_address_add(struct net_ns *ns, uint32_t ifindex, const struct ip_prefix *address, struct err *ret_err)
{
    return address_request(ns, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, address, ret_err);
}

int net_address_delete(struct net_ns *ns, uint32_t ifindex, const struct ip_prefix *address, struct err *ret_err)
{
    return address_request(ns, RTM_DELADDR, 0, ifindex, address, ret_err);
}

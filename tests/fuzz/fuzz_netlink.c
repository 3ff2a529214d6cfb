/* SPDX-License-Identifier: Apache-2.0 */
/* What arrives on a netlink socket: any bytes may, and each message may be taken for a link, an address and a route. */
#include "net/netlink.h"

#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int visit(const struct nlmsghdr *message, void *context)
{
    struct link_info link;
    struct address_info address;
    struct route_info route;
    (void)context;
    net_link_parse(message, &link);
    if (net_address_parse(message, AF_INET, &address) == 0)
        net_address_classify(&address, true);
    if (net_address_parse(message, AF_INET6, &address) == 0)
        net_address_classify(&address, false);
    net_route_parse(message, AF_INET, &route);
    net_route_parse(message, AF_INET6, &route);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct netlink_reply reply = {0};
    struct nlmsghdr first = {0};
    memcpy(&first, data, size < sizeof first ? size : sizeof first);
    /* the first message's own numbers are the ones that we asked with */
    netlink_walk(data, size, first.nlmsg_seq, first.nlmsg_pid, visit, NULL, &reply);
    return 0;
}

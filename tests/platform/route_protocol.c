/* SPDX-License-Identifier: Apache-2.0 */
/* A route's delete that names a protocol takes only one of that protocol, and one that names a device only one through
 * it: by that netd promises that it deletes nobody's routes but those it may. */
#include "platform.h"

#include <linux/rtnetlink.h>

struct request {
    struct nlmsghdr head;
    struct rtmsg route;
    char attributes[128];
};

static void put(struct request *request, unsigned short type, const void *data, size_t size)
{
    struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = (unsigned short)RTA_LENGTH(size);
    memcpy(RTA_DATA(attribute), data, size);
    request->head.nlmsg_len = (unsigned)(NLMSG_ALIGN(request->head.nlmsg_len) + RTA_ALIGN(attribute->rta_len));
}

/* 0 or the kernel's -errno. */
static int route(bool add, int family, unsigned char protocol, unsigned ifindex)
{
    struct request request = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
                 .nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE,
                 .nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0))},
        .route = {.rtm_family = (unsigned char)family,
                  .rtm_dst_len = 16,
                  .rtm_table = RT_TABLE_MAIN,
                  .rtm_protocol = protocol,
                  .rtm_scope = add ? (family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE) : RT_SCOPE_NOWHERE,
                  .rtm_type = RTN_UNICAST}};
    unsigned char to[16] = {[0] = 10, [1] = 9};
    unsigned metric = 7;
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char rest[512];
    } answer;
    if (family == AF_INET6)
        memcpy(to, "\xfd\x09", 2);
    put(&request, RTA_DST, to, family == AF_INET6 ? 16 : 4);
    put(&request, RTA_PRIORITY, &metric, sizeof metric);
    put(&request, RTA_OIF, &ifindex, sizeof ifindex);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || send(fd, &request, request.head.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0)
        platform_broken("netlink");
    close(fd);
    return answer.error.error;
}

int main(void)
{
    static const int families[] = {AF_INET, AF_INET6};
    static const char *const names[] = {"tun7", "tun8"};
    unsigned ifindex[2];
    platform_start(true);
    for (int i = 0; i < 2; i++) {
        int fd = platform_tun_open();
        if (platform_tun_set(fd, names[i], IFF_TUN | IFF_NO_PI, NULL))
            platform_broken("TUNSETIFF");
        platform_up(names[i]);
        ifindex[i] = if_nametoindex(names[i]);
    }
    for (int i = 0; i < 2; i++) {
        int family = families[i];
        if (family == AF_INET6 && access("/proc/net/if_inet6", R_OK) < 0) {
            printf("cannot be tried here: needs IPv6\n");
            continue;
        }
        if (route(true, family, RTPROT_STATIC, ifindex[0]))
            platform_broken("RTM_NEWROUTE");
        PROVE(route(false, family, 84, ifindex[0]) == -ESRCH,
              "a delete that names another protocol finds nothing (ESRCH)");
        PROVE(route(false, family, RTPROT_BOOT, ifindex[0]) == -ESRCH, "not even with the one that ip(8) uses");
        PROVE(route(false, family, RTPROT_STATIC, ifindex[1]) == -ESRCH,
              "nor does one that names another device (ESRCH)");
        PROVE(route(false, family, RTPROT_STATIC, ifindex[0]) == 0,
              "one that names its protocol and device takes it away");
        PROVE(route(false, family, RTPROT_STATIC, ifindex[0]) == -ESRCH, "and it is gone (ESRCH)");
    }
    return platform_failed;
}

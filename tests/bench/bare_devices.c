/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What many devices cost at the least: a loop that makes them with one address and one route each, by the ioctls and
 * netlink messages that the daemon sends, and by nothing else: no plan, no check, no database, no second process.
 *
 *     bare_devices COUNT        in a namespace of its own; JSON with the seconds; leaves the devices behind
 *
 * A device: TUNSETIFF with IFF_TUN_EXCL, TUNSETPERSIST, its alias, promote_secondaries, mtu and txqueuelen, up, address,
 * route; each netlink message acknowledged.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct mnl_socket *netlink;
static unsigned sequence;

static void fail(const char *what, int number)
{
    fprintf(stderr, "bare_devices: %s of device %d: %s\n", what, number, strerror(errno));
    exit(1);
}

static void ask(struct nlmsghdr *message, const char *what, int number)
{
    char answer[8192];
    message->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    message->nlmsg_seq = ++sequence;
    if (mnl_socket_sendto(netlink, message, message->nlmsg_len) < 0)
        fail(what, number);
    ssize_t length = mnl_socket_recvfrom(netlink, answer, sizeof answer);
    if (length < 0 || mnl_cb_run(answer, (size_t)length, sequence, mnl_socket_get_portid(netlink), NULL, NULL) < 0)
        fail(what, number);
}

static struct nlmsghdr *begin(char *buffer, unsigned short type, unsigned short flags)
{
    struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
    message->nlmsg_type = type;
    message->nlmsg_flags = flags;
    return message;
}

static unsigned make(const char *name, int number)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    memcpy(request.ifr_name, name, strlen(name) + 1);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0)
        fail("TUNSETIFF", number);
    /* the descriptor stays open: the daemon keeps it for the carrier's sake */
    char path[96];
    snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/promote_secondaries", name);
    int sysctl = open(path, O_WRONLY | O_CLOEXEC);
    if (sysctl >= 0) {
        if (write(sysctl, "1", 1) != 1)
            fail("promote_secondaries", number);
        close(sysctl);
    }
    return if_nametoindex(name);
}

static void set_alias(unsigned index, int number)
{
    char buffer[512];
    struct nlmsghdr *message = begin(buffer, RTM_NEWLINK, 0);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
    info->ifi_index = (int)index;
    mnl_attr_put_strz(message, IFLA_IFALIAS, "tunwright:00000000-0000-8000-8000-000000000000");
    ask(message, "alias", number);
}

static void set_up(unsigned index, int number)
{
    char buffer[512];
    struct nlmsghdr *message = begin(buffer, RTM_NEWLINK, 0);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
    info->ifi_index = (int)index;
    info->ifi_flags = info->ifi_change = IFF_UP;
    mnl_attr_put_u32(message, IFLA_MTU, 1400);
    mnl_attr_put_u32(message, IFLA_TXQLEN, 1000);
    ask(message, "up", number);
}

static void add_address(unsigned index, int number)
{
    char buffer[512];
    struct nlmsghdr *message = begin(buffer, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
    unsigned address = htonl(0x0a800001U + ((unsigned)number << 8));
    info->ifa_family = AF_INET;
    info->ifa_prefixlen = 24;
    info->ifa_index = index;
    mnl_attr_put_u32(message, IFA_LOCAL, address);
    mnl_attr_put_u32(message, IFA_ADDRESS, address);
    ask(message, "address", number);
}

static void add_route(unsigned index, int number)
{
    char buffer[512];
    struct nlmsghdr *message = begin(buffer, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
    struct rtmsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
    info->rtm_family = AF_INET;
    info->rtm_dst_len = 24;
    info->rtm_table = RT_TABLE_MAIN;
    info->rtm_protocol = 84;
    info->rtm_scope = RT_SCOPE_LINK;
    info->rtm_type = RTN_UNICAST;
    mnl_attr_put_u32(message, RTA_DST, htonl(0x0b000000U + ((unsigned)number << 8)));
    mnl_attr_put_u32(message, RTA_OIF, index);
    ask(message, "route", number);
}

int main(int argc, char **argv)
{
    int count = argc == 2 ? atoi(argv[1]) : 0;
    if (count < 1 || count > 30000) {
        fprintf(stderr, "usage: bare_devices COUNT\n");
        return 2;
    }
    struct rlimit limit = {.rlim_cur = 65536, .rlim_max = 65536};
    setrlimit(RLIMIT_NOFILE, &limit);
    netlink = mnl_socket_open(NETLINK_ROUTE);
    if (!netlink || mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) < 0)
        fail("netlink", 0);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int number = 0; number < count; number++) {
        char name[IFNAMSIZ];
        snprintf(name, sizeof name, "b%d", number);
        unsigned index = make(name, number);
        set_alias(index, number);
        set_up(index, number);
        add_address(index, number);
        add_route(index, number);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("{\"seconds\": %.4f}\n", (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
    return 0;
}

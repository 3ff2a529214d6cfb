/* SPDX-License-Identifier: Apache-2.0 */
/* A persistent device outlives its last descriptor, with its addresses and routes: what tunwright-netd finds after a
 * crash. */
#include "platform.h"

#include <ifaddrs.h>

static bool has_address(const char *name, const char *address)
{
    struct ifaddrs *list = NULL;
    bool found = false;
    if (getifaddrs(&list) < 0)
        platform_broken("getifaddrs");
    for (const struct ifaddrs *at = list; at && !found; at = at->ifa_next) {
        char text[INET_ADDRSTRLEN] = "";
        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || strcmp(at->ifa_name, name) != 0)
            continue;
        struct sockaddr_in in;
        memcpy(&in, at->ifa_addr, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
        found = strcmp(text, address) == 0;
    }
    freeifaddrs(list);
    return found;
}

static bool has_route(const char *name, const char *destination_hex)
{
    char line[512], device[IFNAMSIZ], destination[16];
    bool found = false;
    FILE *file = fopen("/proc/thread-self/net/route", "r");
    if (!file)
        platform_cannot("needs /proc/net/route");
    while (!found && fgets(line, sizeof line, file))
        found = sscanf(line, "%15s %15s", device, destination) == 2 && strcmp(device, name) == 0 &&
                strcmp(destination, destination_hex) == 0;
    fclose(file);
    return found;
}

static void add_route(const char *name, const char *to)
{
    struct rtentry route = {.rt_flags = RTF_UP};
    struct sockaddr_in in = {.sin_family = AF_INET};
    char device[IFNAMSIZ];
    int fd = platform_socket();
    snprintf(device, sizeof device, "%s", name);
    route.rt_dev = device;
    inet_pton(AF_INET, to, &in.sin_addr);
    memcpy(&route.rt_dst, &in, sizeof in);
    inet_pton(AF_INET, "255.255.0.0", &in.sin_addr);
    memcpy(&route.rt_genmask, &in, sizeof in);
    if (ioctl(fd, SIOCADDRT, &route) < 0)
        platform_broken("SIOCADDRT");
    close(fd);
}

int main(void)
{
    platform_start(true);
    int fd = platform_tun_open(), plain = platform_tun_open();
    if (platform_tun_set(fd, "tun0", IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, NULL) || ioctl(fd, TUNSETPERSIST, 1) < 0 ||
        platform_tun_set(plain, "tun1", IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, NULL))
        platform_broken("TUNSETIFF");
    platform_address("tun0", "10.11.12.1");
    platform_up("tun0");
    add_route("tun0", "10.99.0.0");
    unsigned index = if_nametoindex("tun0");
    PROVE(has_address("tun0", "10.11.12.1") && has_route("tun0", "0000630A"), "there is an address and a route");
    close(fd);
    close(plain);
    PROVE(platform_flags("tun1") < 0, "a device that is not persistent goes with its last descriptor");
    PROVE(platform_flags("tun0") >= 0 && if_nametoindex("tun0") == index, "a persistent one stays, with its ifindex");
    PROVE(platform_becomes("tun0", IFF_UP | IFF_RUNNING, IFF_UP), "up, and without a carrier");
    PROVE(has_address("tun0", "10.11.12.1"), "with its address");
    PROVE(has_route("tun0", "0000630A"), "with its route");
    fd = platform_tun_open();
    PROVE(platform_tun_set(fd, "tun0", IFF_TUN | IFF_NO_PI, NULL) == 0, "a new descriptor attaches to it");
    PROVE(platform_becomes("tun0", IFF_RUNNING, IFF_RUNNING), "and the carrier is back");
    return platform_failed;
}

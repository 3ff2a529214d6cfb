/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs here share: each proves facts about the kernel that the code relies on, and says them as it does.
 */
#ifndef TUNWRIGHT_TEST_PLATFORM_H
#define TUNWRIGHT_TEST_PLATFORM_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int platform_failed;

#define PROVE(condition, fact)                                                                                         \
    do {                                                                                                               \
        bool so_ = (condition);                                                                                        \
        printf("%s: %s\n", so_ ? "so it is" : "NOT SO", fact);                                                         \
        platform_failed |= !so_;                                                                                       \
    } while (0)

static inline void platform_cannot(const char *why)
{
    printf("cannot be tried here: %s\n", why);
    exit(77);
}

/* Something failed that is not what is to be proved. */
static inline void platform_broken(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
}

/* A network namespace of this process's own. */
static inline void platform_start(bool needs_tun)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(30); /* none of them waits for anything longer */
    if (geteuid() != 0)
        platform_cannot("needs root");
    if (needs_tun && access("/dev/net/tun", R_OK | W_OK) < 0)
        platform_cannot("needs /dev/net/tun");
    if (unshare(CLONE_NEWNET) < 0)
        platform_cannot("may not make a network namespace");
}

static inline int platform_tun_open(void)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        platform_broken("/dev/net/tun");
    return fd;
}

/* TUNSETIFF: 0 or -errno; *ret_name (may be NULL) is the name that came back. */
static inline int platform_tun_set(int fd, const char *name, int flags, char *ret_name)
{
    struct ifreq request = {.ifr_flags = (short)flags};
    for (size_t i = 0; i < IFNAMSIZ && name[i]; i++) /* all 16 may be used: the kernel cuts */
        request.ifr_name[i] = name[i];
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        return -errno;
    if (ret_name)
        snprintf(ret_name, IFNAMSIZ, "%.*s", IFNAMSIZ - 1, request.ifr_name);
    return 0;
}

static inline int platform_socket(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        platform_broken("socket");
    return fd;
}

/* The device's flags (IFF_UP, IFF_RUNNING for its carrier), or -1 where it is not there. */
static inline int platform_flags(const char *name)
{
    struct ifreq request = {.ifr_flags = 0};
    int fd = platform_socket();
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    int flags = ioctl(fd, SIOCGIFFLAGS, &request) < 0 ? -1 : (int)(unsigned short)request.ifr_flags;
    close(fd);
    return flags;
}

/* IFF_RUNNING follows the carrier a moment later (net/core/link_watch.c): waits for it, at most 3 s. */
static inline bool platform_becomes(const char *name, int mask, int flags)
{
    for (int i = 0; i < 300; i++) {
        int now = platform_flags(name);
        if (now >= 0 && (now & mask) == flags)
            return true;
        usleep(10000);
    }
    return false;
}

static inline void platform_up(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_UP};
    int fd = platform_socket();
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        platform_broken("SIOCSIFFLAGS");
    close(fd);
}

/* An IPv4 address of 24 bits. */
static inline void platform_address(const char *name, const char *address)
{
    struct ifreq request = {.ifr_flags = 0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = platform_socket();
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    inet_pton(AF_INET, address, &in.sin_addr);
    memcpy(&request.ifr_addr, &in, sizeof in);
    if (ioctl(fd, SIOCSIFADDR, &request) < 0)
        platform_broken("SIOCSIFADDR");
    inet_pton(AF_INET, "255.255.255.0", &in.sin_addr);
    memcpy(&request.ifr_netmask, &in, sizeof in);
    if (ioctl(fd, SIOCSIFNETMASK, &request) < 0)
        platform_broken("SIOCSIFNETMASK");
    close(fd);
}

/* Sends a datagram of one byte to port 9 there: 0 or -errno. */
static inline int platform_send(const char *to, char byte)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(9)};
    int fd = platform_socket();
    inet_pton(AF_INET, to, &in.sin_addr);
    int error = sendto(fd, &byte, 1, 0, (struct sockaddr *)&in, sizeof in) < 0 ? -errno : 0;
    close(fd);
    return error;
}

/* Reads until there is nothing; says how many of the packets were IPv4 UDP datagrams of platform_send's, in their
 * order. */
static inline int platform_read_datagrams(int fd, char first)
{
    unsigned char packet[2048];
    int count = 0;
    for (;;) {
        ssize_t length = read(fd, packet, sizeof packet);
        if (length <= 0)
            return count;
        if (length == 29 && packet[0] == 0x45 && packet[9] == IPPROTO_UDP &&
            packet[28] == (unsigned char)(first + count))
            count++;
    }
}

#endif

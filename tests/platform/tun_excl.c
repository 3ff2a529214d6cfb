/* SPDX-License-Identifier: Apache-2.0 */
/* IFF_TUN_EXCL, and what TUNSETIFF does without it and with odd names. net_tun_create relies on it. */
#include "platform.h"

int main(void)
{
    platform_start(true);
    char name[IFNAMSIZ];
    int first = platform_tun_open(), second = platform_tun_open();
    if (platform_tun_set(first, "tun7", IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, name) || ioctl(first, TUNSETPERSIST, 1) < 0)
        platform_broken("TUNSETIFF");
    PROVE(strcmp(name, "tun7") == 0, "a plain name comes back as it was asked for");
    PROVE(platform_tun_set(second, "tun7", IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, NULL) == -EBUSY,
          "with IFF_TUN_EXCL a device that is held is refused (EBUSY)");
    close(first);
    PROVE(platform_tun_set(second, "tun7", IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, NULL) == -EBUSY,
          "with IFF_TUN_EXCL a persistent device that nobody holds is refused, too (EBUSY)");
    PROVE(platform_tun_set(second, "lo", IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, NULL) == -EBUSY,
          "with IFF_TUN_EXCL so is one that is no TUN device (EBUSY)");
    PROVE(platform_tun_set(second, "tun7", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, NULL) == 0,
          "without IFF_TUN_EXCL the persistent device is taken over in silence");
    struct ifreq request = {.ifr_flags = 0};
    PROVE(ioctl(second, TUNGETIFF, &request) == 0 && request.ifr_flags & IFF_VNET_HDR,
          "and its flags are changed (it had no IFF_VNET_HDR)");
    PROVE(request.ifr_flags & 0x0800, "TUNGETIFF tells that it is persistent");

    int with_info = platform_tun_open();
    PROVE(platform_tun_set(with_info, "tun8", IFF_TUN, NULL) == 0 && ioctl(with_info, TUNGETIFF, &request) == 0 &&
              request.ifr_flags & IFF_NO_PI,
          "TUNGETIFF does not tell IFF_NO_PI: its bit is there without it as well (IFF_NOFILTER)");

    int third = platform_tun_open(), fourth = platform_tun_open(), fifth = platform_tun_open();
    PROVE(platform_tun_set(third, "made", IFF_TUN | IFF_NO_PI, NULL) == 0 && ioctl(third, TUNGETIFF, &request) == 0 &&
              !(request.ifr_flags & 0x0800),
          "a device that TUNSETIFF has made is not persistent");
    close(third);
    PROVE(platform_flags("made") < 0, "and goes with its only descriptor");
    PROVE(platform_tun_set(fourth, "a%d", IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, name) == 0 && strcmp(name, "a0") == 0,
          "a name with %d is filled in, IFF_TUN_EXCL or not");
    PROVE(platform_tun_set(fifth, "a-name-of-more-than-15", IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, name) == 0 &&
              strcmp(name, "a-name-of-more-") == 0,
          "a long name is cut");
    return platform_failed;
}

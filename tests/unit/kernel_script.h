/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scripts of steps with what a kernel answers to each. test_fake.c runs them against the kernel in memory, test_net.c
 * against the real one and the one in memory side by side, and compares what both show after every step.
 *
 * A line is "<device> <verb> <arguments>"; the devices are tun…, tap….
 */
#ifndef TUNWRIGHT_TEST_KERNEL_SCRIPT_H
#define TUNWRIGHT_TEST_KERNEL_SCRIPT_H

#include "tunwright/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct script_line {
    const char *text;
    int error; /* positive errno, 0: carried out */
};

static const struct script_line SCRIPT_DEVICES[] = {
    {"tun0 mtu 1400", ENODEV},
    {"tun0 delete", ENODEV},
    {"tun0 create", 0},
    {"tun0 create", EEXIST},
    {"lo create", EINVAL},
    {"tap0 create mac 02:00:00:00:00:01", 0},
    {"tun1 create mac 02:00:00:00:00:01", EOPNOTSUPP},
    {"tun1 create", 0},
    {"tun1 mac 02:00:00:00:00:02", EOPNOTSUPP},
    {"tap0 mac 03:00:00:00:00:02", EADDRNOTAVAIL},
    {"tap0 mac 00:00:00:00:00:00", EADDRNOTAVAIL},
    {"tap0 mac 02:00:00:00:00:02", 0},
    {"tap0 up", 0},
    {"tap0 mac 02:00:00:00:00:03", 0},
    {"tun0 mtu 67", EINVAL},
    {"tun0 mtu 68", 0},
    {"tun0 mtu 65535", 0},
    {"tun0 mtu 65536", EINVAL},
    {"tap0 mtu 65522", EINVAL},
    {"tap0 mtu 65521", 0},
    {"tap0 mtu 1500", 0},
    {"tun0 txqueuelen 77", 0},
    {"tun0 owner 12", 0},
    {"tun0 group 13", 0},
    {"tun0 owner none", 0},
    {"tun0 group none", 0},
    {"tap0 master lo", EOPNOTSUPP},
    {"tap0 master nothere", ENODEV},
    {"tap1 create queues 3", 0},
    {"tap1 up", 0},
    {"tap1 down", 0},
    {"tap2 create queues 17", EINVAL},
    {"tap2 create owner 5", 0},
    {"tap3 create group 6", 0},
    {"tap1 delete", 0},
    {"tap1 up", ENODEV},
};

/* A device changes hands: whose it is decides what may be done to it, and it is itself none the worse for it. */
static const struct script_line SCRIPT_HANDOVER[] = {
    {"tun0 release", ENODEV},
    {"tun0 adopt", ENODEV},
    {"tun0 create", 0},
    {"tun0 adopt", 0}, /* it is ours already */
    {"tun0 up", 0},
    {"tun0 address+ 10.0.0.1/24", 0},
    {"tun0 route+ 10.9.0.0/16", 0},
    {"tun0 release", 0},
    {"tun0 release", ENODEV},
    {"tun0 mtu 1400", ENODEV},
    {"tun0 address- 10.0.0.1/24", ENODEV},
    {"tun0 route- 10.9.0.0/16", ENODEV},
    {"tun0 delete", ENODEV},
    {"tun0 create", EEXIST},
    {"tun0 adopt", 0},
    {"tun0 mtu 1400", 0},
    {"tun0 route- 10.9.0.0/16", 0},
    {"tun0 delete", 0},
};

static const struct script_line SCRIPT_BRIDGE[] = {
    {"tap0 create", 0},     {"tun0 create", 0},      {"tun0 master br0", EINVAL},
    {"tap0 master br0", 0}, {"tap0 master none", 0}, {"br0 adopt", EINVAL},
};

static const struct script_line SCRIPT_ADDRESSES[] = {
    {"tun0 create", 0},
    {"tun0 address+ 10.0.0.1/24", 0},
    {"tun0 address+ 10.0.0.1/24", EEXIST},
    {"tun0 address+ 10.0.0.1/25", 0},
    {"tun0 address+ 10.0.0.2/24", 0},
    {"tun0 address+ 10.0.0.3/24", 0},
    {"tun0 address+ 10.0.1.1/32", 0},
    {"tun0 address+ fd00::1/64", 0},
    {"tun0 address+ fd00::1/64", EEXIST},
    {"tun0 address+ fd00::1/72", EEXIST},
    {"tun0 address+ fd00::2/64", 0},
    {"tun0 address- 10.0.0.9/24", EADDRNOTAVAIL},
    {"tun0 address- 10.0.0.1/26", EADDRNOTAVAIL},
    {"tun0 address- fd00::9/64", EADDRNOTAVAIL},
    {"tun0 address- fd00::2/63", EADDRNOTAVAIL},
    {"tun0 up", 0},
    {"tun0 address- 10.0.0.1/24", 0}, /* a secondary is promoted */
    {"tun0 address- 10.0.0.2/24", 0},
    {"tun0 address+ 10.0.0.2/24", 0},
    {"tun0 address- fd00::2/64", 0},
    {"tun0 down", 0}, /* loses what is IPv6 */
    {"tun0 address+ fd00::3/64", 0},
    {"tun0 up", 0},
    {"tun0 mtu 1279", 0}, /* loses it, too */
    {"tun0 address+ fd00::3/64", EINVAL},
    {"tun0 mtu 1280", 0},
    {"tun0 address+ fd00::3/64", 0},
    {"tun1 create", 0},
    {"tun1 address+ fd00::3/64", 0},
    {"tun1 address+ 10.0.0.2/24", 0},
};

static const struct script_line SCRIPT_ROUTES[] = {
    {"tun0 create", 0},
    {"tun1 create", 0},
    {"tun0 address+ 10.0.0.1/24", 0},
    {"tun0 address+ fd00::1/64", 0},
    {"tun0 route+ 10.9.0.0/16", ENETDOWN},
    {"tun0 route+ 10.9.0.0/16 via 10.0.0.9", ENETUNREACH}, /* so its subnet is not there either */
    {"tun0 route+ fd09::/16", ENETDOWN},
    {"tun0 route+ fd09::/16 via fe80::1", ENETDOWN},
    {"tun0 up", 0},
    {"tun1 up", 0},
    {"tun0 route+ 10.9.0.0/16 via 10.77.0.9", ENETUNREACH},
    {"tun0 route+ fd09::/16 via fd77::9", EHOSTUNREACH},
    {"tun0 route+ fd09::/16 via fd00::1", EINVAL},
    {"tun0 route+ 10.9.0.0/16 via 10.0.0.9", 0},
    {"tun0 route+ 10.9.0.0/16", EEXIST},
    {"tun1 route+ 10.9.0.0/16", EEXIST},
    {"tun1 route+ 10.9.0.0/16 metric 7", 0},
    {"tun1 route+ 10.9.0.0/16 table 100", 0},
    {"tun1 route+ 10.9.0.0/16 table 70000", 0},
    {"tun0 route+ fd09::/16 via fd00::9 metric 1024", 0},
    {"tun1 route+ fd09::/16 metric 1024", EEXIST},
    {"tun1 route+ fd09::/16 metric 1025", 0},
    {"tun1 route+ fd0a::/16 via fe80::7 metric 1024", 0},
    {"tun1 route+ fd0b::/16 metric 1024 table 70000", 0},
    {"tun0 route+ 0.0.0.0/0 metric 9", 0},
    {"tun0 route+ ::/0 metric 9", 0},
    {"tun0 route+ 10.0.0.0/24", EEXIST}, /* the address's own */
    {"tun0 route+ fd00::/64 metric 256", EEXIST},
    {"tun0 route+ 10.0.0.0/24 metric 5", 0},
    {"tun1 route+ 10.20.0.0/16", 0},
    {"tun1 route+ 10.21.0.0/16 via 10.20.0.1", 0}, /* on link by the route before */
    {"tun1 route+ 10.22.0.0/16 source 10.0.0.77", EINVAL},
    {"tun1 route+ 10.22.0.0/16 source 10.0.0.1", 0},
    {"tun1 route+ fd22::/16 metric 1024 source fd00::77", EINVAL},
    {"tun1 route+ fd22::/16 metric 1024 source fd00::1", 0},
    {"tun1 route- fd22::/16 metric 1024", 0}, /* what would become of it differs from kernel to kernel */
    {"tun0 route+ fd23::/16 metric 1024 source fd00::1", 0},
    {"tun0 address+ 10.0.0.2/32", 0},
    {"tun0 address- 10.0.0.1/24", 0}, /* takes the route with its source */
    {"tun0 address- fd00::1/64", 0},  /* takes only the source */
    {"tun0 route- 10.99.0.0/16", ESRCH},
    {"tun0 route- fd99::/16 metric 1024", ESRCH},
    {"tun0 route- 10.9.0.0/16 metric 7", ESRCH}, /* that one is tun1's */
    {"tun0 route- 10.9.0.0/16", 0},
    {"tun0 address- 10.0.0.2/32", 0}, /* the last: IPv4 leaves the device with all routes */
    {"tun1 address+ 10.30.0.1/24", 0},
    {"tun1 address+ fd30::1/64", 0},
    {"tun1 route+ 10.31.0.0/24", 0},
    {"tun1 route- 10.31.0.0/24", 0},
    {"tun1 route- 10.31.0.0/24", ESRCH},
    {"tun1 route- fd0a::/16 metric 1024", 0},
    {"tun1 down", 0}, /* all routes go, and the IPv6 addresses */
    {"tun1 up", 0},
    {"tun1 route+ 10.31.0.0/24", 0},
    {"tun1 mtu 1200", 0},
    {"tun1 route+ fd31::/64 metric 1024", ENODEV},
    {"tun1 delete", 0},
};

static const struct script_line SCRIPT_UNATTACHED[] = {
    {"tun0 create", 0},
    {"tun0 up", 0},
    {"tun0 route+ 10.40.0.0/16 type blackhole", 0},
    {"tun0 route+ 10.40.0.0/16 type unreachable", EEXIST},
    {"tun0 route+ 10.40.0.0/16", EEXIST},
    {"tun0 route+ 10.40.0.0/16 metric 3", 0},
    {"tun0 route+ 10.40.0.0/16 type prohibit metric 4", 0},
    {"tun0 route+ fd40::/32 type blackhole metric 1024", 0},
    {"tun0 route+ fd40::/32 metric 1024", EEXIST},
    {"tun0 route+ fd41::/32 type unreachable metric 1024", 0},
    {"tun0 route+ fd41::/32 type prohibit metric 5 table 100", 0},
    {"tun0 route+ fd42::/32 metric 1024", 0},
    {"tun0 route- fd42::/32 type blackhole metric 1024", ESRCH}, /* not the one on tun0 */
    {"tun0 route- 10.40.0.0/16 type prohibit", 0},               /* IPv4: metric 0 is any */
    {"tun0 route- 10.40.0.0/16 type prohibit", ESRCH},
    {"tun0 down", 0}, /* these stay */
    {"tun0 route- 10.40.0.0/16 type blackhole", 0},
    {"tun0 route- fd40::/32 type blackhole metric 1024", 0},
    {"tun0 route- fd41::/32 type unreachable metric 1024", 0},
    {"tun0 route- fd41::/32 type prohibit metric 5 table 100", 0},
    {"tun0 delete", 0},
};

static inline uint32_t script_number(const char *text)
{
    return strcmp(text, "none") == 0 ? OWNER_NONE : (uint32_t)strtoul(text, NULL, 10);
}

static inline void script_mac(const char *text, uint8_t mac[6])
{
    unsigned b[6] = {0};
    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]);
    for (int i = 0; i < 6; i++)
        mac[i] = (uint8_t)b[i];
}

/* A device's uuid in the scripts comes from its name. */
static inline struct uuid script_uuid(const char *name)
{
    struct uuid uuid = {.bytes = {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x80, 0, 0x80}};
    for (size_t i = 0; name[i] && i < 7; i++)
        uuid.bytes[9 + i] = (uint8_t)name[i];
    return uuid;
}

/* Reads a line into a step; false where it is none. */
static inline bool script_step(const char *text, struct step *ret_step)
{
    char copy[160], *state = NULL, *word[16] = {NULL};
    size_t words = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *at = strtok_r(copy, " ", &state); at && words < ARRAY_SIZE(word); at = strtok_r(NULL, " ", &state))
        word[words++] = at;
    if (words < 2)
        return false;
    struct step step = {.device.uuid = script_uuid(word[0])};
    snprintf(step.device.name, sizeof step.device.name, "%s", word[0]);
    const char *verb = word[1], *argument = words > 2 ? word[2] : "";

    if (strcmp(verb, "create") == 0) {
        step.kind = STEP_DEVICE_CREATE;
        step.create = (struct device_create){.kind = strncmp(word[0], "tap", 3) == 0 ? DEVICE_TAP : DEVICE_TUN,
                                             .queues = 1,
                                             .owner = OWNER_NONE,
                                             .group = OWNER_NONE};
        for (size_t i = 2; i + 1 < words; i += 2) {
            if (strcmp(word[i], "queues") == 0) {
                step.create.queues = script_number(word[i + 1]);
            } else if (strcmp(word[i], "owner") == 0) {
                step.create.owner = script_number(word[i + 1]);
            } else if (strcmp(word[i], "group") == 0) {
                step.create.group = script_number(word[i + 1]);
            } else {
                step.create.has_mac = true;
                script_mac(word[i + 1], step.create.mac);
            }
        }
    } else if (strcmp(verb, "adopt") == 0) {
        step.kind = STEP_DEVICE_ADOPT;
        step.adopt.kind = strncmp(word[0], "tap", 3) == 0 ? DEVICE_TAP : DEVICE_TUN;
    } else if (strcmp(verb, "release") == 0) {
        step.kind = STEP_DEVICE_RELEASE;
    } else if (strcmp(verb, "delete") == 0) {
        step.kind = STEP_DEVICE_DELETE;
    } else if (strncmp(verb, "address", 7) == 0) {
        step.kind = verb[7] == '+' ? STEP_ADDRESS_ADD : STEP_ADDRESS_DELETE;
        if (ip_prefix_parse(argument, &step.address))
            return false;
    } else if (strncmp(verb, "route", 5) == 0) {
        step.kind = verb[5] == '+' ? STEP_ROUTE_ADD : STEP_ROUTE_DELETE;
        step.route.table = 254;
        step.protocol = NET_PROTOCOL;
        if (ip_prefix_parse(argument, &step.route.to))
            return false;
        for (size_t i = 3; i + 1 < words; i += 2) {
            const char *value = word[i + 1];
            if (strcmp(word[i], "metric") == 0)
                step.route.metric = script_number(value);
            else if (strcmp(word[i], "table") == 0)
                step.route.table = script_number(value);
            else if (strcmp(word[i], "via") == 0      ? ip_addr_parse(value, &step.route.via)
                     : strcmp(word[i], "source") == 0 ? ip_addr_parse(value, &step.route.source)
                                                      : route_type_parse(value, &step.route.type))
                return false;
        }
    } else {
        struct link_settings *link = &step.link;
        step.kind = STEP_LINK_SET;
        if (strcmp(verb, "up") == 0 || strcmp(verb, "down") == 0) {
            link->set = LINK_UP;
            link->up = verb[0] == 'u';
        } else if (strcmp(verb, "mtu") == 0) {
            link->set = LINK_MTU;
            link->mtu = script_number(argument);
        } else if (strcmp(verb, "txqueuelen") == 0) {
            link->set = LINK_TXQUEUELEN;
            link->txqueuelen = script_number(argument);
        } else if (strcmp(verb, "owner") == 0) {
            link->set = LINK_OWNER;
            link->owner = script_number(argument);
        } else if (strcmp(verb, "group") == 0) {
            link->set = LINK_GROUP;
            link->group = script_number(argument);
        } else if (strcmp(verb, "mac") == 0) {
            link->set = LINK_MAC;
            script_mac(argument, link->mac);
        } else if (strcmp(verb, "master") == 0) {
            link->set = LINK_MASTER;
            snprintf(link->master, sizeof link->master, "%s", strcmp(argument, "none") == 0 ? "" : argument);
        } else {
            return false;
        }
    }
    *ret_step = step;
    return true;
}

/* Something that the kernel in memory has from the start. */
static inline bool script_add_other(struct kernel_fake *fake, const char *name)
{
    struct observed *state = &fake->state;
    if (array_grow((void **)&state->links, &state->link_capacity, state->link_count, sizeof *state->links))
        return false;
    state->links[state->link_count] = (struct observed_link){.ifindex = fake->next_ifindex++, .kind = OBSERVED_OTHER};
    snprintf(state->links[state->link_count++].name, DEVICE_NAME_SIZE, "%s", name);
    return true;
}

#endif

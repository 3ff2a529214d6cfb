/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TUN/TAP devices (drivers/net/tun.c).
 *
 * TUNSETIFF finds the device by its name, or makes it: without IFF_TUN_EXCL nothing says which of the two it was. So
 *   - creating sets IFF_TUN_EXCL, and makes the device persistent only when all else is done: until then it goes
 *     with the last descriptor, and neither an error nor a crash on the way leaves anything;
 *   - attaching looks first, and afterwards asks the descriptor itself: a device that TUNSETIFF has just made is not
 *     persistent, and goes again with the descriptor.
 */
#include "netlink.h"
#include "udev.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/ip.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IFF_PERSIST
#define IFF_PERSIST 0x0800 /* in what TUNGETIFF answers */
#endif
#define TUN_PATH "/dev/net/tun"

struct queue_fds {
    int fds[DEVICE_QUEUES_MAX];
    uint32_t count;
};

static void queue_fds_done(struct queue_fds *queues)
{
    while (queues->count > 0)
        close(queues->fds[--queues->count]);
}

/* Opens queues that are attached to nothing yet, in the netns of `ns`. */
static int queue_fds_open(struct net_ns *ns, uint32_t count, struct queue_fds *queues, struct err *ret_err)
{
    int back, error = netns_enter_of(ns, &back, ret_err);
    if (error)
        return error;
    while (!error && queues->count < count) {
        int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            error = -errno;
        else
            queues->fds[queues->count++] = fd;
    }
    netns_leave(back);
    return error ? err_set_kernel(ret_err, error, "open", "cannot open " TUN_PATH) : 0;
}

/* Attaches all of them to the device `name`, with these flags; EXCL is meant for the first, which makes it. */
static int queue_fds_attach(const struct queue_fds *queues, const char *name, unsigned flags)
{
    for (uint32_t i = 0; i < queues->count; i++) {
        struct ifreq request = {.ifr_flags = (short)flags};
        memcpy(request.ifr_name, name, strlen(name) + 1);
        if (ioctl(queues->fds[i], TUNSETIFF, &request) < 0)
            return -errno;
        if (strncmp(request.ifr_name, name, IFNAMSIZ) != 0)
            return -EINVAL;
        flags &= ~(unsigned)IFF_TUN_EXCL;
    }
    return 0;
}

/* Whether each of them is (still) a queue of the device `name`, and has `flags`. IFF_NO_PI is not looked at: TUNGETIFF
 * uses its bit for something else, too (IFF_NOFILTER), and shows it always. */
static bool queue_fds_are_of(const struct queue_fds *queues, const char *name, unsigned flags)
{
    flags &= ~(unsigned)IFF_NO_PI;
    for (uint32_t i = 0; i < queues->count; i++) {
        char now[DEVICE_NAME_SIZE];
        short now_flags;
        if (net_tun_name(queues->fds[i], now, &now_flags) || strcmp(now, name) != 0 ||
            ((unsigned short)now_flags & flags) != flags)
            return false;
    }
    return true;
}

static void queue_fds_give(struct queue_fds *queues, int *ret_fds)
{
    memcpy(ret_fds, queues->fds, queues->count * sizeof *ret_fds);
    queues->count = 0;
}

int net_tun_name(int fd, char ret_name[static DEVICE_NAME_SIZE], short *ret_flags)
{
    struct ifreq request = {.ifr_flags = 0};
    if (ioctl(fd, TUNGETIFF, &request) < 0)
        return -EBADFD; /* attached to nothing (EBADFD), or no queue at all (ENOTTY) */
    memcpy(ret_name, request.ifr_name, DEVICE_NAME_SIZE - 1);
    ret_name[DEVICE_NAME_SIZE - 1] = '\0';
    *ret_flags = request.ifr_flags;
    return 0;
}

/* The argument of both is an unsigned long, not a pointer to one. */
int net_tun_set_owner(int queue_fd, uint32_t owner, struct err *ret_err)
{
    if (ioctl(queue_fd, TUNSETOWNER, (unsigned long)(owner == OWNER_NONE ? TUN_OWNER_NOBODY : owner)) < 0)
        return err_set_kernel(ret_err, -errno, "TUNSETOWNER", "cannot set the owner to %u", owner);
    return 0;
}

int net_tun_set_group(int queue_fd, uint32_t group, struct err *ret_err)
{
    if (ioctl(queue_fd, TUNSETGROUP, (unsigned long)(group == OWNER_NONE ? TUN_OWNER_NOBODY : group)) < 0)
        return err_set_kernel(ret_err, -errno, "TUNSETGROUP", "cannot set the group to %u", group);
    return 0;
}

/* All of it is the device's, and outlives the descriptor by which it was set. */
int net_tun_plain(int queue_fd, const char *name, struct err *ret_err)
{
    int size = sizeof(struct virtio_net_hdr);
    if (ioctl(queue_fd, TUNSETOFFLOAD, 0UL) < 0)
        return err_set_kernel(ret_err, -errno, "TUNSETOFFLOAD", "cannot turn off the offloads of %s", name);
    if (ioctl(queue_fd, TUNSETVNETHDRSZ, &size) < 0)
        return err_set_kernel(ret_err, -errno, "TUNSETVNETHDRSZ", "cannot set the packets' header of %s", name);
    return 0;
}

/* ---- create ------------------------------------------------------------------------------------------------------ */

static int tun_name_in_use(struct net_ns *ns, const struct device_key *key, struct err *ret_err)
{
    struct link_info info;
    bool same =
        net_link_query(ns, key->name, 0, &info, NULL) == 0 && info.link.ours && uuid_equal(&info.link.uuid, &key->uuid);
    int error = err_set(ret_err, -EEXIST, same ? ERR_ALREADY_EXISTS : ERR_FOREIGN_DEVICE, "/name",
                        same ? "the device %s exists already" : "a device %s exists, and is not ours", key->name);
    if (ret_err) {
        ret_err->sys_errno = EEXIST;
        text_copy(ret_err->operation, sizeof ret_err->operation, "TUNSETIFF");
    }
    return error;
}

/* When an address that is the first of its subnet goes, let the others stay. */
static int tun_promote_secondaries(struct net_ns *ns, uint32_t ifindex, const char *name, struct err *ret_err)
{
    struct netlink_message message;
    struct ifinfomsg head = {.ifi_index = (int)ifindex};
    netlink_message_start(&message, RTM_NEWLINK, 0, &head, sizeof head);
    struct nlattr *families = netlink_nest_start(&message, IFLA_AF_SPEC);
    struct nlattr *inet = netlink_nest_start(&message, AF_INET);
    struct nlattr *conf = netlink_nest_start(&message, IFLA_INET_CONF);
    netlink_put_u32(&message, IPV4_DEVCONF_PROMOTE_SECONDARIES, 1);
    netlink_nest_end(&message, conf);
    netlink_nest_end(&message, inet);
    netlink_nest_end(&message, families);
    return netlink_request(ns, &message, NULL, NULL, "RTM_NEWLINK", ret_err, "cannot turn on promote_secondaries of %s",
                           name);
}

/* Everything between the making of a device and its becoming persistent. */
static int tun_set_up(struct net_ns *ns, const struct device_key *key, const struct device_create *create, int fd,
                      uint32_t *ret_ifindex, struct err *ret_err)
{
    struct link_info info;
    int error = net_link_query(ns, key->name, 0, &info, ret_err);
    if (!error)
        error = net_link_set_alias(ns, info.link.ifindex, &key->uuid, ret_err);
    if (!error)
        error = tun_promote_secondaries(ns, info.link.ifindex, key->name, ret_err);
    if (!error && create->has_mac) {
        struct link_settings mac = {.set = LINK_MAC};
        memcpy(mac.mac, create->mac, sizeof mac.mac);
        error = net_link_set(ns, info.link.ifindex, &mac, ret_err);
    }
    if (!error && create->owner != OWNER_NONE)
        error = net_tun_set_owner(fd, create->owner, ret_err);
    if (!error && create->group != OWNER_NONE)
        error = net_tun_set_group(fd, create->group, ret_err);
    /* with one of them set the other must not be, or nobody is both. In a user namespace this number may stand for no
     * one at all (EINVAL): the device is then that namespace's, and open to whom it gave /dev/net/tun */
    if (!error && create->owner == OWNER_NONE && create->group == OWNER_NONE &&
        net_tun_set_owner(fd, OWNER_NONE, NULL) != -EINVAL)
        error = net_tun_set_owner(fd, OWNER_NONE, ret_err);
    if (!error)
        *ret_ifindex = info.link.ifindex;
    return error;
}

static int tun_queues_check(uint32_t queues, struct err *ret_err)
{
    if (queues >= 1 && queues <= DEVICE_QUEUES_MAX)
        return 0;
    return err_set(ret_err, -EINVAL, ERR_OUT_OF_RANGE, "/queues", "a device has 1 to %d queues", DEVICE_QUEUES_MAX);
}

int net_tun_create(struct net_ns *ns, const struct device_key *key, const struct device_create *create, int *ret_fds,
                   uint32_t *ret_ifindex, struct err *ret_err)
{
    CLEANUP(queue_fds_done) struct queue_fds queues = {.count = 0};
    unsigned flags = IFF_NO_PI | IFF_VNET_HDR | (create->kind == DEVICE_TAP ? IFF_TAP : IFF_TUN) |
                     (create->queues > 1 ? IFF_MULTI_QUEUE : 0);
    uint32_t ifindex;
    /* the kernel would expand a '%d', cut a long name and invent one for "" */
    if (!device_name_is_valid(key->name))
        return err_set(ret_err, -EINVAL, ERR_INVALID_NAME, "/name", "not a name that a device can have");
    int error = tun_queues_check(create->queues, ret_err);
    if (!error)
        error = queue_fds_open(ns, create->queues, &queues, ret_err);
    if (error)
        return error;
    error = queue_fds_attach(&queues, key->name, flags | IFF_TUN_EXCL);
    if (error == -EBUSY || error == -EEXIST)
        return tun_name_in_use(ns, key, ret_err);
    if (error)
        return err_set_kernel(ret_err, error, "TUNSETIFF", "cannot create the device %s", key->name);
    error = tun_set_up(ns, key, create, queues.fds[0], &ifindex, ret_err);
    if (error)
        return error;
    /* somebody may have deleted or renamed it meanwhile, and a queue after the first may have made another */
    struct link_info now;
    if (!queue_fds_are_of(&queues, key->name, flags) || net_link_query(ns, key->name, 0, &now, NULL) ||
        now.link.ifindex != ifindex)
        return err_set_kernel(ret_err, -ENODEV, "TUNGETIFF", "the device %s went while it was made", key->name);
    if (ioctl(queues.fds[0], TUNSETPERSIST, 1) < 0)
        return err_set_kernel(ret_err, -errno, "TUNSETPERSIST", "cannot make the device %s persistent", key->name);
    udev_look_again(key);
    queue_fds_give(&queues, ret_fds);
    *ret_ifindex = ifindex;
    return 0;
}

/* ---- attach ------------------------------------------------------------------------------------------------------ */

static int tun_find(struct net_ns *ns, const struct device_key *key, struct link_info *ret_info, struct err *ret_err)
{
    int error = net_link_query(ns, key->name, 0, ret_info, ret_err);
    if (error)
        return error;
    if (!ret_info->link.ours || !uuid_equal(&ret_info->link.uuid, &key->uuid) || ret_info->link.kind == OBSERVED_OTHER)
        return err_set_kernel(ret_err, -ENODEV, "RTM_GETLINK", "the device %s is not the one that was meant",
                              key->name);
    return 0;
}

int net_tun_attach(struct net_ns *ns, const struct device_key *key, uint32_t queues, int *ret_fds,
                   uint32_t *ret_ifindex, struct err *ret_err)
{
    CLEANUP(queue_fds_done) struct queue_fds opened = {.count = 0};
    struct link_info before, after;
    if (!device_name_is_valid(key->name))
        return err_set(ret_err, -EINVAL, ERR_INVALID_NAME, "/name", "not a name that a device can have");
    int error = tun_queues_check(queues, ret_err);
    if (!error)
        error = tun_find(ns, key, &before, ret_err);
    if (error)
        return error;
    if (queues > 1 && !before.link.multi_queue)
        return err_set_kernel(ret_err, -EINVAL, "TUNSETIFF", "the device %s has a single queue", key->name);
    if (before.link.queue_count > 0)
        return err_set_kernel(ret_err, -EBUSY, "TUNSETIFF", "somebody else holds the device %s", key->name);

    unsigned flags = IFF_NO_PI | IFF_VNET_HDR | (before.link.kind == OBSERVED_TAP ? IFF_TAP : IFF_TUN) |
                     (before.link.multi_queue ? IFF_MULTI_QUEUE : 0);
    error = queue_fds_open(ns, queues, &opened, ret_err);
    if (error)
        return error;
    error = queue_fds_attach(&opened, key->name, flags);
    if (error)
        return err_set_kernel(ret_err, error, "TUNSETIFF", "cannot attach to the device %s", key->name);
    error = tun_find(ns, key, &after, ret_err);
    if (error)
        return error;
    if (after.link.ifindex != before.link.ifindex || !queue_fds_are_of(&opened, key->name, flags | IFF_PERSIST))
        return err_set_kernel(ret_err, -ENODEV, "TUNSETIFF", "the device %s went while it was attached to", key->name);
    if (after.link.multi_queue && after.link.queue_count != queues)
        return err_set_kernel(ret_err, -EBUSY, "TUNSETIFF", "somebody else holds the device %s", key->name);
    error = net_tun_plain(opened.fds[0], key->name, ret_err);
    if (error)
        return error;
    queue_fds_give(&opened, ret_fds);
    *ret_ifindex = after.link.ifindex;
    return 0;
}

/* ---- adopt ------------------------------------------------------------------------------------------------------- */

static int tun_adopt_check(const struct device_key *key, const struct device_adopt *adopt, const struct link_info *info,
                           struct err *ret_err)
{
    if (info->link.kind != (adopt->kind == DEVICE_TAP ? OBSERVED_TAP : OBSERVED_TUN))
        return err_set_kernel(ret_err, -EINVAL, "RTM_GETLINK", "%s is no %s device", key->name,
                              device_kind_name(adopt->kind));
    if (!info->link.persistent)
        return err_set_kernel(ret_err, -EINVAL, "RTM_GETLINK",
                              "the device %s is not persistent: it goes with the program that made it", key->name);
    if (info->link.has_alias)
        return err_set(ret_err, -EEXIST, ERR_FOREIGN_DEVICE, "/name",
                       "the device %s carries somebody's alias: that has to be taken off first", key->name);
    return 0;
}

int net_tun_adopt(struct net_ns *ns, const struct device_key *key, const struct device_adopt *adopt,
                  uint32_t *ret_ifindex, struct err *ret_err)
{
    struct link_info info;
    if (!device_name_is_valid(key->name))
        return err_set(ret_err, -EINVAL, ERR_INVALID_NAME, "/name", "not a name that a device can have");
    int error = net_link_query(ns, key->name, 0, &info, ret_err);
    if (error)
        return error;
    bool marked = info.link.ours && uuid_equal(&info.link.uuid, &key->uuid) && info.link.kind != OBSERVED_OTHER;
    error = marked ? 0 : tun_adopt_check(key, adopt, &info, ret_err);
    if (!error && !marked)
        error = tun_promote_secondaries(ns, info.link.ifindex, key->name, ret_err);
    if (!error && !marked)
        error = net_link_set_alias(ns, info.link.ifindex, &key->uuid, ret_err);
    if (!error && !marked)
        udev_look_again(key);
    if (!error)
        *ret_ifindex = info.link.ifindex;
    return error;
}

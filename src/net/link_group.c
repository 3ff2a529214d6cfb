/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deleting many devices at once.
 *
 * Each RTM_DELLINK waits until nobody in the kernel looks at the device any more, which is 20 ms for one device and
 * little more for hundreds that one message names; and the only name for several is their group (IFLA_GROUP), a number
 * that anybody may give to any device. So: look whether all of them are there and ours, and choose a number that nobody
 * has; give it to them; look again whether exactly they have it, and are ours still; and delete by it.
 *
 * Between that second look and the deletion somebody could give that very number to a device of his, or take our mark
 * off one of ours, and would lose it. What bounds this: the number is made up at random (24 bits) for this one deletion
 * and was nobody's a moment ago, so that nobody has a reason to use it; and the time between is that of one dump, some
 * milliseconds. The deletion of a single device has the same gap, with the alias, of one message.
 *
 * Who dies on the way leaves devices of ours with a number that means nothing: net_links_ungroup takes it off.
 */
#include "netlink.h"

#include <errno.h>
#include <linux/if_link.h>
#include <stdlib.h>
#include <string.h>

#define GROUP_FIRST  0x54000000U /* ours are these … */
#define GROUP_RANDOM 0x00ffffffU /* … and any of these bits */
#define GROUP_TRIES  10

static bool group_is_ours(uint32_t number)
{
    return (number & ~GROUP_RANDOM) == GROUP_FIRST;
}

static int members_by_name(const void *a, const void *b)
{
    const struct link_group_member *left = a, *right = b;
    return strcmp(left->key->name, right->key->name);
}

void link_group_done(struct link_group *group)
{
    free(group->members);
    *group = (struct link_group){0};
}

/* The one that this link is: by its name, and ours by its uuid. */
static struct link_group_member *member_find(const struct link_group *group, const struct link_info *info)
{
    struct device_key key;
    struct link_group_member wanted = {.key = &key};
    memcpy(key.name, info->link.name, sizeof key.name);
    struct link_group_member *found =
        bsearch(&wanted, group->members, group->count, sizeof *group->members, members_by_name);
    bool is = found && info->link.ours && info->link.kind != OBSERVED_OTHER &&
              uuid_equal(&info->link.uuid, &found->key->uuid);
    return is ? found : NULL;
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

struct group_look {
    struct link_group *group;
    size_t found;
    bool strangers; /* somebody else has the number */
};

static int links_dump(struct net_ns *ns, netlink_visit *visit, void *context, struct err *ret_err)
{
    struct netlink_message message;
    struct ifinfomsg head = {0};
    netlink_message_start(&message, RTM_GETLINK, 0, &head, sizeof head);
    netlink_put_u32(&message, IFLA_EXT_MASK, NETLINK_SKIP_STATS);
    return netlink_dump(ns, &message, visit, context, "RTM_GETLINK", ret_err);
}

static int gather_visit(const struct nlmsghdr *message, void *context)
{
    struct group_look *look = context;
    struct link_info info;
    int error = net_link_parse(message, &info);
    if (error)
        return error;
    look->strangers |= info.group == look->group->number;
    struct link_group_member *member = member_find(look->group, &info);
    if (!member)
        return 0;
    member->ifindex = info.link.ifindex;
    member->group_before = group_is_ours(info.group) ? 0 : info.group;
    look->found++;
    return 0;
}

static int confirm_visit(const struct nlmsghdr *message, void *context)
{
    struct group_look *look = context;
    struct link_info info;
    int error = net_link_parse(message, &info);
    if (error || info.group != look->group->number)
        return error;
    const struct link_group_member *member = member_find(look->group, &info);
    if (member && member->ifindex == info.link.ifindex)
        look->found++;
    else
        look->strangers = true;
    return 0;
}

/* A dump that was not interrupted, in which nobody else has the number, or so it says. */
static int group_look(struct net_ns *ns, struct link_group *group, netlink_visit *visit, struct group_look *ret_look,
                      struct err *ret_err)
{
    int error = -EAGAIN;
    for (int try = 0; error == -EAGAIN && try < GROUP_TRIES; try++) {
        *ret_look = (struct group_look){.group = group};
        error = links_dump(ns, visit, ret_look, ret_err);
    }
    return error;
}

int link_group_gather(struct net_ns *ns, const struct device_key *keys, size_t count, struct link_group *ret_group,
                      struct err *ret_err)
{
    struct link_group group = {.members = calloc(count, sizeof *group.members), .count = count};
    struct group_look look;
    uint32_t random;
    if (!group.members || random_bytes(&random, sizeof random)) {
        link_group_done(&group);
        return err_no_memory(ret_err);
    }
    group.number = GROUP_FIRST | (random & GROUP_RANDOM);
    for (size_t i = 0; i < count; i++)
        group.members[i].key = &keys[i];
    qsort(group.members, count, sizeof *group.members, members_by_name);
    int error = group_look(ns, &group, gather_visit, &look, ret_err);
    if (!error && look.strangers)
        error = err_set_kernel(ret_err, -EAGAIN, "RTM_GETLINK", "the group %u is somebody's", group.number);
    /* the same one twice is found once */
    if (!error && look.found != count)
        error = err_set(ret_err, -ENODEV, ERR_FOREIGN_DEVICE, "", "%zu of %zu devices are not there as they were meant",
                        count - look.found, count);
    if (error) {
        link_group_done(&group);
        return error;
    }
    *ret_group = group;
    return 0;
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

static int group_set(struct net_ns *ns, uint32_t ifindex, uint32_t number, struct err *ret_err)
{
    struct netlink_message message;
    struct ifinfomsg head = {.ifi_index = (int)ifindex};
    netlink_message_start(&message, RTM_NEWLINK, 0, &head, sizeof head);
    netlink_put_u32(&message, IFLA_GROUP, number);
    return netlink_request(ns, &message, NULL, NULL, "RTM_NEWLINK", ret_err,
                           "cannot set the group of the device with index %u", ifindex);
}

static void group_unmark(struct net_ns *ns, const struct link_group *group, size_t count)
{
    for (size_t i = 0; i < count; i++)
        group_set(ns, group->members[i].ifindex, group->members[i].group_before, NULL);
}

int link_group_mark(struct net_ns *ns, const struct link_group *group, struct err *ret_err)
{
    for (size_t i = 0; i < group->count; i++) {
        int error = group_set(ns, group->members[i].ifindex, group->number, ret_err);
        if (error) {
            group_unmark(ns, group, i);
            return error;
        }
    }
    return 0;
}

int link_group_delete(struct net_ns *ns, struct link_group *group, struct err *ret_err)
{
    struct netlink_message message;
    struct ifinfomsg head = {0}; /* no index, no name: all of the group */
    struct group_look look;
    int error = group_look(ns, group, confirm_visit, &look, ret_err);
    if (!error && (look.strangers || look.found != group->count))
        error = err_set_kernel(ret_err, -EAGAIN, "RTM_GETLINK", "others meddle with the devices of the group %u",
                               group->number);
    if (!error) {
        netlink_message_start(&message, RTM_DELLINK, 0, &head, sizeof head);
        netlink_put_u32(&message, IFLA_GROUP, group->number);
        error = netlink_request(ns, &message, NULL, NULL, "RTM_DELLINK", ret_err, "cannot delete %zu devices at once",
                                group->count);
    }
    if (error)
        group_unmark(ns, group, group->count);
    return error;
}

int net_links_delete(struct net_ns *ns, const struct device_key *keys, size_t count, uint32_t *ret_ifindexes,
                     struct err *ret_err)
{
    CLEANUP(link_group_done) struct link_group group = {0};
    int error = link_group_gather(ns, keys, count, &group, ret_err);
    if (!error)
        error = link_group_mark(ns, &group, ret_err);
    if (!error)
        error = link_group_delete(ns, &group, ret_err);
    for (size_t i = 0; !error && i < count; i++)
        ret_ifindexes[group.members[i].key - keys] = group.members[i].ifindex;
    return error;
}

/* ---- what was left behind ---------------------------------------------------------------------------------------- */

struct left_behind {
    uint32_t ifindex[STEP_RUN_MAX];
    size_t count;
};

static int left_behind_visit(const struct nlmsghdr *message, void *context)
{
    struct left_behind *left = context;
    struct link_info info;
    int error = net_link_parse(message, &info);
    if (!error && info.link.ours && info.link.kind != OBSERVED_OTHER && group_is_ours(info.group) &&
        left->count < ARRAY_SIZE(left->ifindex))
        left->ifindex[left->count++] = info.link.ifindex;
    return error;
}

int net_links_ungroup(struct net_ns *ns, struct err *ret_err)
{
    struct left_behind left = {.count = 0};
    int error = links_dump(ns, left_behind_visit, &left, ret_err);
    /* of an interrupted dump, what it did show is as true as before */
    for (size_t i = 0; i < left.count; i++)
        group_set(ns, left.ifindex[i], 0, NULL);
    return error == -EAGAIN ? 0 : error;
}

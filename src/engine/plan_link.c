/* SPDX-License-Identifier: Apache-2.0 */
/* The device itself: what it is made with, what is set of it, and how it is taken over and let go of. */
#include "planning.h"

#include <errno.h>
#include <string.h>

bool plan_link_will_do(const struct observed_link *link, const struct wanted *wanted)
{
    const struct device *now = wanted->now;

    if (link->kind != (now->kind == DEVICE_TAP ? OBSERVED_TAP : OBSERVED_TUN))
        return false;
    if (link->multi_queue != (now->queues > 1) || (wanted->before && wanted->before->queues != now->queues))
        return false;
    return strcmp(link->netns, now->netns) == 0 && strcmp(link->name, now->name) == 0;
}

static void wanted_mac(const struct wanted *wanted, uint8_t ret_mac[static 6])
{
    if (wanted->now->has_mac)
        memcpy(ret_mac, wanted->now->mac, sizeof(wanted->now->mac));
    else
        device_derived_mac(&wanted->uuid, ret_mac);
}

int plan_link_create(struct planning *p)
{
    const struct device *now = p->wanted->now;
    struct step *step = planning_add(p, STEP_DEVICE_CREATE);

    if (!step)
        return -ENOMEM;
    step->disturbs = p->link ? DISTURBS_RECREATE : DISTURBS_NONE; /* the one that was there is deleted before */
    step->create = (struct device_create){
        .kind = now->kind,
        .queues = now->queues,
        .owner = now->owner,
        .group = now->group,
        .has_mac = now->kind == DEVICE_TAP,
    };
    if (now->kind == DEVICE_TAP)
        wanted_mac(p->wanted, step->create.mac);
    return 0;
}

/* Which settings differ; of a device that is still to be made: which its making does not settle. */
static uint32_t link_differences(const struct planning *p, const uint8_t mac[static 6])
{
    const struct device *now = p->wanted->now;
    const struct observed_link *link = p->keep ? p->link : NULL;
    uint32_t set = 0;

    if (!link)
        return LINK_MTU | LINK_TXQUEUELEN | (now->master[0] ? LINK_MASTER : 0U) | (now->up ? LINK_UP : 0U);
    if (link->mtu != now->mtu)
        set |= LINK_MTU;
    if (link->txqueuelen != now->txqueuelen)
        set |= LINK_TXQUEUELEN;
    if (now->kind == DEVICE_TAP && memcmp(link->mac, mac, sizeof(link->mac)) != 0)
        set |= LINK_MAC;
    if (link->owner != now->owner)
        set |= LINK_OWNER;
    if (link->group != now->group)
        set |= LINK_GROUP;
    if (strcmp(link->master, now->master) != 0)
        set |= LINK_MASTER;
    if (link->up != now->up)
        set |= LINK_UP;
    return set;
}

/*
 * What a setting costs the packets of a device that is up. Linux sets the mtu and the owners without a gap, but
 *   - throws away what is queued when the length of the queue changes (net/core/dev.c:dev_qdisc_change_tx_queue_len,
 *     drivers/net/tun.c:tun_queue_resize),
 *   - takes the frames to a former mac for somebody else's until the neighbours have learnt the new one,
 *   - takes a port with all that it has learnt out of one bridge before it puts it into the next.
 */
static enum disturbance link_disturbance(const struct planning *p, uint32_t set)
{
    const uint32_t losing = LINK_TXQUEUELEN | LINK_MAC | LINK_MASTER | LINK_UP;

    return p->keep && p->link->up && (set & losing) ? DISTURBS_FLAP : DISTURBS_NONE;
}

int plan_link_set(struct planning *p)
{
    const struct device *now = p->wanted->now;
    uint8_t mac[6] = {0};
    struct step *step;
    uint32_t set;

    if (now->kind == DEVICE_TAP)
        wanted_mac(p->wanted, mac);
    set = link_differences(p, mac);
    if (set == 0)
        return 0;
    step = planning_add(p, STEP_LINK_SET);
    if (!step)
        return -ENOMEM;
    step->disturbs = link_disturbance(p, set);
    step->link = (struct link_settings){
        .set = set,
        .mtu = now->mtu,
        .txqueuelen = now->txqueuelen,
        .owner = now->owner,
        .group = now->group,
        .up = now->up,
    };
    memcpy(step->link.mac, mac, sizeof(mac));
    (void)text_copy(step->link.master, sizeof(step->link.master), now->master);
    return 0;
}

/* ---- taking over and letting go ---------------------------------------------------------------------------------- */

int plan_link_adopt(struct planning *p, struct err *ret_err)
{
    const struct device *now = p->wanted->now;
    const struct observed_link *link = plan_index_name(p->index, now->netns, now->name);
    struct step *step;

    if (!link)
        return err_set(ret_err, -ENODEV, ERR_NOT_FOUND, "/name", "there is no device %s%s%s to take over", now->name,
                       now->netns[0] ? " in the network namespace " : "", now->netns);
    if (link->has_alias)
        return err_set(ret_err, -EEXIST, ERR_FOREIGN_DEVICE, "/name",
                       "the device %s carries somebody's alias: that has to be taken off first", now->name);
    if (link->kind != (now->kind == DEVICE_TAP ? OBSERVED_TAP : OBSERVED_TUN))
        return err_set(ret_err, -EINVAL, ERR_INCOMPATIBLE, "/kind", "%s is no %s device", now->name,
                       device_kind_name(now->kind));
    if (link->multi_queue != (now->queues > 1))
        return err_set(ret_err, -EINVAL, ERR_INCOMPATIBLE, "/queues",
                       "%s was made for %s: that cannot be changed while it is taken over", now->name,
                       link->multi_queue ? "several queues" : "a single queue");
    step = planning_add(p, STEP_DEVICE_ADOPT);
    if (!step)
        return err_no_memory(ret_err);
    step->adopt.kind = now->kind;
    step->adopt.queues = now->worker.type != WORKER_NONE ? now->queues : 0;
    p->link = link;
    p->keep = true;
    return 0;
}

int plan_link_release(struct planning *p)
{
    struct step *step;

    if (p->worker) {
        step = planning_take_away(p, STEP_WORKER_STOP);
        if (!step)
            return -ENOMEM;
        step->disturbs = DISTURBS_FLAP;
    }
    return p->link && !planning_take_away(p, STEP_DEVICE_RELEASE) ? -ENOMEM : 0;
}

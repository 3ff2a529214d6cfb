/* SPDX-License-Identifier: Apache-2.0 */
/* The fake kernel's devices: made, set, deleted, and what goes with them. */
#include "fake.h"
#include "fake_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MTU_MIN     68
#define MTU_MAX_TUN 65535
#define MTU_MAX_TAP 65521

static struct observed_link *link_by_name(struct kernel_fake *fake, const char *netns, const char *name)
{
    for (size_t i = 0; i < fake->state.link_count; i++) {
        struct observed_link *link = &fake->state.links[i];
        if (strcmp(link->name, name) == 0 && strcmp(link->netns, netns) == 0)
            return link;
    }
    return NULL;
}

struct observed_link *fake_link_find(struct kernel_fake *fake, const struct device_key *key, struct err *ret_err)
{
    struct observed_link *link = link_by_name(fake, key->netns, key->name);
    if (link && link->ours && uuid_equal(&link->uuid, &key->uuid))
        return link;
    err_set_kernel(ret_err, -ENODEV, "RTM_GETLINK", "no device %s of ours", key->name);
    return NULL;
}

static int mac_check(enum observed_kind kind, const uint8_t mac[static 6], const char *name, struct err *ret_err)
{
    static const uint8_t zero[6];
    int error = 0;
    if (kind != OBSERVED_TAP)
        error = -EOPNOTSUPP;
    else if (mac[0] & 1 || memcmp(mac, zero, sizeof zero) == 0)
        error = -EADDRNOTAVAIL;
    return error ? err_set_kernel(ret_err, error, "RTM_NEWLINK", "cannot set the mac of %s", name) : 0;
}

int fake_device_create(struct kernel_fake *fake, const struct device_key *key, const struct device_create *create,
                       struct err *ret_err)
{
    const struct observed_link *other = link_by_name(fake, key->netns, key->name);
    bool tap = create->kind == DEVICE_TAP;
    if (!device_name_is_valid(key->name))
        return err_set(ret_err, -EINVAL, ERR_INVALID_NAME, "/name", "not a name that a device can have");
    if (create->queues < 1 || create->queues > DEVICE_QUEUES_MAX)
        return err_set(ret_err, -EINVAL, ERR_OUT_OF_RANGE, "/queues", "a device has 1 to %d queues", DEVICE_QUEUES_MAX);
    if (other) {
        bool same = other->ours && uuid_equal(&other->uuid, &key->uuid);
        err_set(ret_err, -EEXIST, same ? ERR_ALREADY_EXISTS : ERR_FOREIGN_DEVICE, "/name", "a device %s exists",
                key->name);
        if (ret_err) {
            ret_err->sys_errno = EEXIST;
            text_copy(ret_err->operation, sizeof ret_err->operation, "TUNSETIFF");
        }
        return -EEXIST;
    }
    if (create->has_mac) {
        int error = mac_check(tap ? OBSERVED_TAP : OBSERVED_TUN, create->mac, key->name, ret_err);
        if (error)
            return error;
    }

    struct observed *state = &fake->state;
    if (array_grow((void **)&state->links, &state->link_capacity, state->link_count, sizeof *state->links))
        return err_no_memory(ret_err);
    struct observed_link *link = &state->links[state->link_count++];
    *link = (struct observed_link){
        .ifindex = fake->next_ifindex++,
        .kind = tap ? OBSERVED_TAP : OBSERVED_TUN,
        .ours = true,
        .has_alias = true,
        .persistent = true,
        .uuid = key->uuid,
        .multi_queue = create->queues > 1,
        .mtu = 1500,
        .txqueuelen = tap ? 1000 : 500,
        .owner = create->owner,
        .group = create->group,
    };
    memcpy(link->netns, key->netns, sizeof link->netns);
    memcpy(link->name, key->name, sizeof link->name);
    if (create->has_mac)
        memcpy(link->mac, create->mac, sizeof link->mac);
    else if (tap)
        memcpy(link->mac, (uint8_t[6]){0x0a, 0, 0, 0, (uint8_t)(link->ifindex >> 8), (uint8_t)link->ifindex}, 6);
    return 0;
}

int fake_device_delete(struct kernel_fake *fake, const struct device_key *key, struct err *ret_err)
{
    struct observed_link *link = fake_link_find(fake, key, ret_err);
    if (!link)
        return -ENODEV;
    fake_routes_drop(link, 0);
    fake_addresses_drop(fake, link, AF_INET);
    fake_addresses_drop(fake, link, AF_INET6);
    free(link->addresses);
    free(link->routes);
    free(link->foreign_routes);
    struct observed *state = &fake->state;
    size_t index = (size_t)(link - state->links);
    memmove(link, link + 1, (state->link_count - index - 1) * sizeof *link);
    state->link_count--;
    return 0;
}

int fake_device_adopt(struct kernel_fake *fake, const struct device_key *key, const struct device_adopt *adopt,
                      struct err *ret_err)
{
    struct observed_link *link = link_by_name(fake, key->netns, key->name);
    if (!link)
        return err_set_kernel(ret_err, -ENODEV, "RTM_GETLINK", "no device %s", key->name);
    if (link->ours && uuid_equal(&link->uuid, &key->uuid))
        return 0;
    if (link->kind != (adopt->kind == DEVICE_TAP ? OBSERVED_TAP : OBSERVED_TUN) || !link->persistent)
        return err_set_kernel(ret_err, -EINVAL, "RTM_GETLINK", "%s is no persistent device of that kind", key->name);
    if (link->has_alias)
        return err_set(ret_err, -EEXIST, ERR_FOREIGN_DEVICE, "/name", "the device %s carries an alias", key->name);
    if (adopt->queues > 0 && link->queue_count > 0)
        return err_set_kernel(ret_err, -EBUSY, "TUNSETIFF", "somebody else holds the device %s", key->name);
    link->ours = link->has_alias = true;
    link->uuid = key->uuid;
    return 0;
}

int fake_device_release(struct kernel_fake *fake, const struct device_key *key, struct err *ret_err)
{
    struct observed_link *link = fake_link_find(fake, key, ret_err);
    if (!link)
        return -ENODEV;
    link->ours = link->has_alias = false;
    link->uuid = (struct uuid){0};
    return 0;
}

static int link_settings_check(struct kernel_fake *fake, const struct observed_link *link,
                               const struct link_settings *settings, struct err *ret_err)
{
    if (settings->set & LINK_MAC) {
        int error = mac_check(link->kind, settings->mac, link->name, ret_err);
        if (error)
            return error;
    }
    uint32_t mtu_max = link->kind == OBSERVED_TAP ? MTU_MAX_TAP : MTU_MAX_TUN;
    if (settings->set & LINK_MTU && (settings->mtu < MTU_MIN || settings->mtu > mtu_max))
        return err_set_kernel(ret_err, -EINVAL, "RTM_NEWLINK", "cannot set the mtu of %s to %u", link->name,
                              settings->mtu);
    if (!(settings->set & LINK_MASTER) || !settings->master[0])
        return 0;
    const struct observed_link *master = link_by_name(fake, link->netns, settings->master);
    if (!master)
        return err_set_kernel(ret_err, -ENODEV, "RTM_GETLINK", "no device %s", settings->master);
    int error = 0;
    if (master->kind != OBSERVED_OTHER || strcmp(master->name, "lo") == 0)
        error = -EOPNOTSUPP; /* not a bridge */
    else if (link->kind != OBSERVED_TAP)
        error = -EINVAL;
    return error ? err_set_kernel(ret_err, error, "RTM_NEWLINK", "cannot set the master of %s", link->name) : 0;
}

int fake_link_set(struct kernel_fake *fake, const struct device_key *key, const struct link_settings *settings,
                  struct err *ret_err)
{
    struct observed_link *link = fake_link_find(fake, key, ret_err);
    if (!link)
        return -ENODEV;
    int error = link_settings_check(fake, link, settings, ret_err);
    if (error)
        return error;
    bool was_up = link->up, was_small = link->mtu < FAKE_MTU_MIN_IPV6;
    if (settings->set & LINK_MAC)
        memcpy(link->mac, settings->mac, sizeof link->mac);
    if (settings->set & LINK_MTU)
        link->mtu = settings->mtu;
    if (settings->set & LINK_TXQUEUELEN)
        link->txqueuelen = settings->txqueuelen;
    if (settings->set & LINK_OWNER)
        link->owner = settings->owner;
    if (settings->set & LINK_GROUP)
        link->group = settings->group;
    if (settings->set & LINK_MASTER)
        memcpy(link->master, settings->master, sizeof link->master);
    if (settings->set & LINK_UP)
        link->up = link->carrier = settings->up; /* netd holds the queue: where it is up there is a carrier */

    bool small = link->mtu < FAKE_MTU_MIN_IPV6;
    if (small || (was_up && !link->up)) {
        fake_routes_drop(link, AF_INET6);
        fake_addresses_drop(fake, link, AF_INET6);
    }
    if (was_up && !link->up)
        fake_routes_drop(link, AF_INET);
    if (link->up && !small && (!was_up || was_small))
        return fake_link_local_add(link) ? err_no_memory(ret_err) : 0;
    return 0;
}

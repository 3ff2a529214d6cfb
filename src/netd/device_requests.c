/* SPDX-License-Identifier: Apache-2.0 */
/* The requests that change devices, addresses and routes. Each looks its device up in the kernel first. */
#include "devices.h"
#include "dispatch.h"
#include "worker.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Goes on with this request once the device's worker has ended. */
static int wait_for_worker(const struct request *request, struct netd_device *device, struct err *ret_err)
{
    struct waiter *waiter = waiter_new(request);
    if (!waiter)
        return err_no_memory(ret_err);
    worker_stop(device->worker, waiter);
    return ANSWER_LATER;
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

/* Of a device that was renamed or moved, and is to be made anew where it belongs: as long as it is ours still, it ends
 * with the last descriptor. */
static void device_make_mortal(const struct netd_device *device)
{
    struct device_key found = {.uuid = device->key.uuid};
    struct target target;
    if (queue_locate(device->queues[0], &found) < 0 || target_open(device->netd, &found, &target, NULL) < 0)
        return;
    target_done(&target);
    if (ioctl(device->queues[0], TUNSETPERSIST, 0) == 0)
        log_info("%s: goes, for it was moved away", found.name);
}

/* The table has an entry of this uuid. Where it stands for the very device that is asked for, that is a conflict. Else
 * what it stands for was deleted or moved away by hand: let go of it, worker and all. */
static int entry_clear(const struct request *request, struct netd_device *device, struct err *ret_err)
{
    const struct device_key *key = &request->packet->device;
    struct target target;
    bool stale = device->doomed || device_is_stale(device);
    if (!stale && target_open(request->netd, key, &target, NULL) == 0) {
        bool same = target_is(&target, device, key);
        target_done(&target);
        if (same)
            return err_set(ret_err, -EEXIST, ERR_ALREADY_EXISTS, "", "%s exists already", key->name);
    }
    if (!stale)
        device_make_mortal(device);
    device->doomed = true;
    if (device->worker)
        return wait_for_worker(request, device, ret_err);
    device_remove(device);
    return 0;
}

int handle_device_create(const struct request *request, struct err *ret_err)
{
    const struct device_key *key = &request->packet->device;
    const struct device_create *create = &request->packet->create;
    struct netd_device *device = devices_find(request->netd, &key->uuid);
    struct target target;
    int queues[DEVICE_QUEUES_MAX];
    uint32_t ifindex;

    int result = device ? entry_clear(request, device, ret_err) : 0;
    if (result != 0)
        return result;
    result = target_open_netns(request->netd, key->netns, &target, ret_err);
    if (result < 0)
        return result;
    result = net_tun_create(target.ns, key, create, queues, &ifindex, ret_err);
    if (result == 0) {
        result = devices_add(request->netd, key, ifindex, queues, create->queues, &device, ret_err);
        if (result < 0)
            net_link_delete(target.ns, ifindex, NULL);
        else
            log_info("%s: created", key->name);
    }
    target_done(&target);
    return result;
}

/* Ours no longer, in whatever way `end` ends that: its worker first, then our hold on its queues. `device` is its entry,
 * or NULL. Empties the target. */
static int device_end(const struct request *request, struct netd_device *device, struct target *target,
                      int (*end)(struct net_ns *ns, uint32_t ifindex, struct err *ret_err), const char *how,
                      struct err *ret_err)
{
    const struct device_key *key = &request->packet->device;
    /* another device with the same alias is not what the entry stands for */
    if (device && !target_is(target, device, key))
        device = NULL;
    if (device && device->worker) {
        target_done(target);
        return wait_for_worker(request, device, ret_err);
    }
    if (device)
        device_remove(device);
    int result = target_confirm(target, key, ret_err);
    if (result == 0)
        result = end(target->ns, target->link.ifindex, ret_err);
    if (result == 0)
        log_info("%s: %s", key->name, how);
    target_done(target);
    return result;
}

int handle_device_delete(const struct request *request, struct err *ret_err)
{
    const struct device_key *key = &request->packet->device;
    struct netd_device *device = devices_find(request->netd, &key->uuid);
    struct target target;
    int result = target_open(request->netd, key, &target, ret_err);
    if (result < 0) {
        if (device && !device->doomed && device_is_stale(device))
            device_abandon(device);
        return result;
    }
    return device_end(request, device, &target, net_link_delete, "deleted", ret_err);
}

/* Several at once; their keys and room for their indexes. */
struct devices {
    size_t count;
    struct device_key *keys;
    uint32_t *ifindexes;
};

static void devices_done(struct devices *devices)
{
    free(devices->keys);
    free(devices->ifindexes);
}

static int devices_read(const struct request *request, struct devices *ret_devices, struct err *ret_err)
{
    CLEANUP(devices_done) struct devices devices = {.count = request->packet->devices.count};
    devices.keys = calloc(devices.count, sizeof *devices.keys);
    devices.ifindexes = calloc(devices.count, sizeof *devices.ifindexes);
    if (!devices.keys || !devices.ifindexes)
        return err_no_memory(ret_err);
    for (size_t i = 0; i < devices.count; i++) {
        struct ipc_device device;
        memcpy(&device, request->text + i * sizeof device, sizeof device);
        memcpy(devices.keys[i].netns, request->packet->device.netns, sizeof devices.keys[i].netns);
        memcpy(devices.keys[i].name, device.name, sizeof devices.keys[i].name);
        devices.keys[i].uuid = device.uuid;
    }
    *ret_devices = devices;
    devices = (struct devices){0};
    return 0;
}

/* All or nothing, and only what needs no waiting and no second thought: with anything else, each is asked for by
 * itself. */
int handle_devices_delete(const struct request *request, struct err *ret_err)
{
    CLEANUP(devices_done) struct devices devices = {0};
    struct target target;
    int result = devices_read(request, &devices, ret_err);
    for (size_t i = 0; result == 0 && i < devices.count; i++) {
        const struct netd_device *device = devices_find(request->netd, &devices.keys[i].uuid);
        if (device && device->worker)
            result = err_set(ret_err, -EBUSY, ERR_WORKER_FAILED, "", "%s has a worker", devices.keys[i].name);
    }
    if (result == 0) /* where all of them have gone, the first look tells */
        result = target_open(request->netd, &devices.keys[0], &target, ret_err);
    if (result < 0)
        return result;
    result = net_links_delete(target.ns, devices.keys, devices.count, devices.ifindexes, ret_err);
    target_done(&target);
    for (size_t i = 0; result == 0 && i < devices.count; i++) {
        struct netd_device *device = devices_find(request->netd, &devices.keys[i].uuid);
        /* another device with the same alias is not what the entry stands for */
        if (device && device->ifindex == devices.ifindexes[i] && strcmp(device->key.netns, devices.keys[i].netns) == 0)
            device_remove(device);
        log_info("%s: deleted", devices.keys[i].name);
    }
    return result;
}

/* The queues of a device that has our mark are free, and held here from now on. */
static int adopt_queues(const struct request *request, struct err *ret_err)
{
    const struct device_key *key = &request->packet->device;
    struct netd_device *device;
    struct target target;
    int result = target_open(request->netd, key, &target, ret_err);
    if (result < 0)
        return result;
    result = target_hold(request->netd, &target, key, request->packet->adopt.queues, &device, ret_err);
    target_done(&target);
    return result;
}

/* Somebody else's device gets our mark. Its queues are taken when a worker needs them, as of every device; where one is
 * going to, whether they are free is found out now, by taking them. */
int handle_device_adopt(const struct request *request, struct err *ret_err)
{
    const struct device_key *key = &request->packet->device;
    const struct device_adopt *adopt = &request->packet->adopt;
    struct target target;
    uint32_t ifindex;
    int result = target_open(request->netd, key, &target, NULL);
    if (result == 0) { /* it has it already */
        target_done(&target);
        return adopt->queues > 0 ? adopt_queues(request, ret_err) : 0;
    }
    result = target_open_netns(request->netd, key->netns, &target, ret_err);
    if (result < 0)
        return result;
    result = net_tun_adopt(target.ns, key, adopt, &ifindex, ret_err);
    if (result == 0 && adopt->queues > 0) {
        result = adopt_queues(request, ret_err);
        if (result < 0)
            net_link_clear_alias(target.ns, ifindex, NULL);
    }
    if (result == 0)
        log_info("%s: taken over", key->name);
    target_done(&target);
    return result;
}

/* The opposite: it stays as it is, without our mark, our worker and our hold on its queues. */
int handle_device_release(const struct request *request, struct err *ret_err)
{
    const struct device_key *key = &request->packet->device;
    struct target target;
    int result = target_open(request->netd, key, &target, ret_err);
    if (result < 0)
        return result;
    return device_end(request, devices_find(request->netd, &key->uuid), &target, net_link_clear_alias, "let go of",
                      ret_err);
}

/* ---- link -------------------------------------------------------------------------------------------------------- */

/* Owner and group are the queue's business, not netlink's. */
static int link_set_owners(int queue, uint32_t set, uint32_t owner, uint32_t group, struct err *ret_err)
{
    int result = set & LINK_OWNER ? net_tun_set_owner(queue, owner, ret_err) : 0;
    if (result == 0 && set & LINK_GROUP)
        result = net_tun_set_group(queue, group, ret_err);
    return result;
}

static int link_set(const struct request *request, struct target *target, struct err *ret_err)
{
    const struct device_key *key = &request->packet->device;
    struct link_settings settings = request->packet->link;
    uint32_t owners = settings.set & (LINK_OWNER | LINK_GROUP);
    struct netd_device *device = NULL;
    int result = 0;

    settings.set &= ~owners;
    if (owners)
        result = target_hold(request->netd, target, key, 0, &device, ret_err);
    if (result == 0 && owners)
        result = link_set_owners(device->queues[0], owners, settings.owner, settings.group, ret_err);
    if (result == 0 && settings.set)
        result = net_link_set(target->ns, target->link.ifindex, &settings, ret_err);
    if (result < 0 && device) /* all of it or nothing */
        link_set_owners(device->queues[0], owners, target->link.owner, target->link.group, NULL);
    return result;
}

int handle_link_set(const struct request *request, struct err *ret_err)
{
    struct target target;
    int result = target_open(request->netd, &request->packet->device, &target, ret_err);
    if (result < 0)
        return result;
    result = link_set(request, &target, ret_err);
    target_done(&target);
    return result;
}

/* ---- addresses and routes ---------------------------------------------------------------------------------------- */

static int address_change(const struct request *request,
                          int (*change)(struct net_ns *, uint32_t, const struct ip_prefix *, struct err *),
                          struct err *ret_err)
{
    struct target target;
    int result = target_open(request->netd, &request->packet->device, &target, ret_err);
    if (result < 0)
        return result;
    result = change(target.ns, target.link.ifindex, &request->packet->address, ret_err);
    target_done(&target);
    return result;
}

int handle_address_add(const struct request *request, struct err *ret_err)
{
    return address_change(request, net_address_add, ret_err);
}

int handle_address_delete(const struct request *request, struct err *ret_err)
{
    return address_change(request, net_address_delete, ret_err);
}

int handle_route_add(const struct request *request, struct err *ret_err)
{
    struct target target;
    int result = target_open(request->netd, &request->packet->device, &target, ret_err);
    if (result < 0)
        return result;
    result = net_route_add(target.ns, target.link.ifindex, &request->packet->route, ret_err);
    target_done(&target);
    return result;
}

/* A route that belongs to no device is told by our protocol number alone, and may outlive the device that it came with.
 * Of another protocol (ipc_request_check lets boot and static pass, and unicast) it must go through the device of this
 * key, which carries our mark: the kernel compares protocol and device, and nothing else can go. */
int handle_route_delete(const struct request *request, struct err *ret_err)
{
    const struct device_key *key = &request->packet->device;
    const struct route *route = &request->packet->route;
    struct target target = {0};
    bool unattached = route_is_unattached(route);
    int result = unattached ? target_open_netns(request->netd, key->netns, &target, ret_err)
                            : target_open(request->netd, key, &target, ret_err);
    if (result < 0)
        return result;
    result = net_route_delete(target.ns, unattached ? 0 : target.link.ifindex, route,
                              (uint8_t)request->packet->protocol, ret_err);
    target_done(&target);
    return result;
}

/* ---- namespaces -------------------------------------------------------------------------------------------------- */

int handle_netns_socket(const struct request *request, struct err *ret_err)
{
    const char *name = request->packet->device.netns;
    struct net_ns *ns;
    int events CLEANUP(fd_done) = -1;
    int result = net_ns_open(name, &ns, ret_err);
    if (result < 0)
        return result;
    result = net_events_open(name, &events, ret_err);
    if (result == 0) {
        int fds[2] = {net_ns_fd(ns), events};
        request_answer(request, 0, NULL, fds, ARRAY_SIZE(fds));
        result = ANSWER_LATER;
    }
    net_ns_close(ns);
    return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "devices.h"

#include "dispatch.h"
#include "leftover.h"
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SWEEP_DELAY_NS  (100 * NSEC_PER_MSEC)
#define SWEEP_PERIOD_NS NSEC_PER_SEC

/* ---- the table --------------------------------------------------------------------------------------------------- */

struct netd_device *devices_find(const struct netd *netd, const struct uuid *uuid)
{
    for (size_t i = 0; i < netd->device_count; i++)
        if (uuid_equal(&netd->devices[i]->key.uuid, uuid))
            return netd->devices[i];
    return NULL;
}

bool devices_any_ends(const struct netd *netd)
{
    for (size_t i = 0; i < netd->device_count; i++)
        if (netd->devices[i]->worker && worker_ends(netd->devices[i]->worker))
            return true;
    return netd->leftovers;
}

static int netns_identity(const char *name, struct stat *ret_status)
{
    char path[sizeof "/run/netns/" + NETNS_NAME_SIZE];
    snprintf(path, sizeof path, "/run/netns/%s", name);
    return stat(path, ret_status) < 0 ? -errno : 0;
}

static void devices_sweep_by(struct netd *netd, int64_t at_ns)
{
    netd->sweep_ns = at_ns;
    devices_due_by(netd, at_ns);
}

static void queues_close(const int *queues, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        close(queues[i]);
}

int devices_add(struct netd *netd, const struct device_key *key, uint32_t ifindex, const int *queues,
                uint32_t queue_count, struct netd_device **ret_device, struct err *ret_err)
{
    void *devices = netd->devices;
    struct netd_device *device = calloc(1, sizeof *device);
    if (!device || array_grow(&devices, &netd->device_capacity, netd->device_count, sizeof *netd->devices) < 0) {
        free(device);
        queues_close(queues, queue_count);
        return err_no_memory(ret_err);
    }
    netd->devices = devices;
    *device = (struct netd_device){
        .netd = netd, .number = ++netd->last_number, .key = *key, .ifindex = ifindex, .queue_count = queue_count};
    memcpy(device->queues, queues, queue_count * sizeof(int));
    struct stat status;
    if (key->netns[0] && netns_identity(key->netns, &status) == 0) {
        device->netns_dev = status.st_dev;
        device->netns_ino = status.st_ino;
    }
    netd->devices[netd->device_count++] = device;
    if (key->netns[0] && netd->sweep_ns == 0)
        devices_sweep_by(netd, clock_monotonic_ns() + SWEEP_PERIOD_NS);
    *ret_device = device;
    return 0;
}

void device_remove(struct netd_device *device)
{
    struct netd *netd = device->netd;
    size_t i = 0;
    while (netd->devices[i] != device)
        i++;
    memmove(&netd->devices[i], &netd->devices[i + 1], (--netd->device_count - i) * sizeof netd->devices[0]);
    queues_close(device->queues, device->queue_count);
    free(device);
}

void device_abandon(struct netd_device *device)
{
    device->doomed = true;
    if (device->worker)
        worker_stop(device->worker, NULL); /* device_remove follows when it has ended */
    else
        device_remove(device);
}

void device_queues_trim(struct netd_device *device, uint32_t count)
{
    if (count < 1 || count >= device->queue_count)
        return;
    queues_close(device->queues + count, device->queue_count - count);
    device->queue_count = count;
}

bool device_is_stale(const struct netd_device *device)
{
    char name[DEVICE_NAME_SIZE];
    short flags;
    struct stat status;
    if (net_tun_name(device->queues[0], name, &flags) < 0)
        return true;
    /* our queues keep a netns alive that has lost its name: let go of it */
    return device->key.netns[0] && (netns_identity(device->key.netns, &status) < 0 ||
                                    status.st_dev != device->netns_dev || status.st_ino != device->netns_ino);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

void devices_sweep_soon(struct netd *netd)
{
    int64_t at_ns = clock_monotonic_ns() + SWEEP_DELAY_NS;
    if (netd->sweep_ns == 0 || netd->sweep_ns > at_ns)
        devices_sweep_by(netd, at_ns);
}

static void devices_sweep(struct netd *netd, int64_t now_ns)
{
    bool named = false;
    for (size_t i = netd->device_count; i-- > 0;) {
        if (i >= netd->device_count)
            continue;
        struct netd_device *device = netd->devices[i];
        named |= device->key.netns[0] != '\0';
        if (device->doomed || !device_is_stale(device))
            continue;
        log_warning("%s: the device has gone", device->key.name);
        device_abandon(device);
        dispatch_event(netd);
    }
    /* of other namespaces we hear nothing: look from time to time */
    netd->sweep_ns = named ? now_ns + SWEEP_PERIOD_NS : 0;
}

void devices_due_by(struct netd *netd, int64_t at_ns)
{
    if (at_ns < netd->due_ns)
        netd->due_ns = at_ns;
}

static int64_t devices_next(const struct netd *netd)
{
    int64_t due_ns = netd->sweep_ns ? netd->sweep_ns : INT64_MAX;
    for (size_t i = 0; i < netd->device_count; i++) {
        const struct netd_worker *worker = netd->devices[i]->worker;
        int64_t worker_ns = worker ? worker_due(worker) : INT64_MAX;
        if (worker_ns < due_ns)
            due_ns = worker_ns;
    }
    return due_ns;
}

void devices_tick(struct netd *netd, int64_t now_ns)
{
    if (netd->due_ns > now_ns)
        return;
    for (size_t i = netd->device_count; i-- > 0;) {
        /* ticking may remove this device, and requests that waited for that may then add or remove others */
        struct netd_worker *worker = i < netd->device_count ? netd->devices[i]->worker : NULL;
        if (worker && worker_due(worker) <= now_ns)
            worker_tick(worker, now_ns);
    }
    if (netd->sweep_ns && netd->sweep_ns <= now_ns)
        devices_sweep(netd, now_ns);
    netd->due_ns = devices_next(netd);
}

/* ---- the kernel's view ------------------------------------------------------------------------------------------- */

int target_open_netns(struct netd *netd, const char *netns, struct target *ret_target, struct err *ret_err)
{
    struct target target = {.ns = netd->own_ns, .ns_is_own = true};
    if (netns[0]) {
        target.ns_is_own = false;
        int result = net_ns_open(netns, &target.ns, ret_err);
        if (result < 0)
            return result;
    }
    *ret_target = target;
    return 0;
}

void target_done(struct target *target)
{
    if (!target->ns_is_own)
        net_ns_close(target->ns);
    target->ns = NULL;
}

static int target_look(struct target *target, const struct device_key *key, struct observed_link *ret_link,
                       struct err *ret_err)
{
    struct observed_link link = {0};
    int result = net_link_get(target->ns, key->name, &link, ret_err);
    if (result < 0)
        return result;
    if (!link.ours || !uuid_equal(&link.uuid, &key->uuid) || link.kind == OBSERVED_OTHER)
        return err_set(ret_err, -ENODEV, ERR_FOREIGN_DEVICE, "", "%s is not the device that was meant", key->name);
    *ret_link = link;
    return 0;
}

int target_open(struct netd *netd, const struct device_key *key, struct target *ret_target, struct err *ret_err)
{
    struct target target;
    int result = target_open_netns(netd, key->netns, &target, ret_err);
    if (result < 0)
        return result;
    result = target_look(&target, key, &target.link, ret_err);
    if (result < 0) {
        target_done(&target);
        return result;
    }
    *ret_target = target;
    return 0;
}

bool target_is(const struct target *target, const struct netd_device *device, const struct device_key *key)
{
    /* an ifindex means something within its netns only */
    return device->ifindex == target->link.ifindex && strcmp(device->key.netns, key->netns) == 0;
}

int target_confirm(struct target *target, const struct device_key *key, struct err *ret_err)
{
    struct observed_link link = {0};
    int result = target_look(target, key, &link, ret_err);
    if (result == 0 && link.ifindex != target->link.ifindex)
        result = err_set(ret_err, -ENODEV, ERR_FOREIGN_DEVICE, "", "%s was replaced just now", key->name);
    return result;
}

int target_hold(struct netd *netd, struct target *target, const struct device_key *key, uint32_t queues,
                struct netd_device **ret_device, struct err *ret_err)
{
    struct netd_device *device = devices_find(netd, &key->uuid);
    if (device && device->worker && (device->doomed || !target_is(target, device, key)))
        return err_set(ret_err, -EAGAIN, ERR_WORKER_FAILED, "", "the worker of an earlier %s is still ending",
                       key->name);
    if (device && !device->worker &&
        (!target_is(target, device, key) || device_is_stale(device) || (queues > 0 && device->queue_count != queues))) {
        device_remove(device); /* other queues than these are wanted: first let go of them */
        device = NULL;
    }
    if (!device) {
        int fds[DEVICE_QUEUES_MAX];
        uint32_t ifindex;
        uint32_t count = queues > 0 ? queues : 1;
        int result = net_tun_attach(target->ns, key, count, fds, &ifindex, ret_err);
        if (result == -EBUSY && leftover_of(netd, &key->uuid))
            return err_set(ret_err, -EAGAIN, ERR_WORKER_FAILED, "", "an earlier worker of %s is still ending",
                           key->name);
        if (result == 0)
            result = devices_add(netd, key, ifindex, fds, count, &device, ret_err);
        if (result < 0)
            return result;
    }
    device->key = *key; /* its name may be another one by now */
    *ret_device = device;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devices: the table of what is ours and held here: for each device its queue descriptors, and its worker.
 *
 * The table is not what is believed about the kernel: every request asks it again (target_open). A device without an
 * entry is simply one that nobody has needed the queues of since netd began.
 */
#ifndef NETD_DEVICES_H
#define NETD_DEVICES_H

#include "netd.h"

#include <sys/types.h>

struct netd_worker;

struct netd_device {
    struct netd *netd;
    uint64_t number;
    struct device_key key;
    dev_t netns_dev; /* what the netns' name meant when the entry was made */
    ino_t netns_ino;
    uint32_t ifindex;
    uint32_t queue_count; /* never 0 */
    int queues[DEVICE_QUEUES_MAX];
    bool doomed; /* the kernel's device has gone, or is to go: the entry goes with its worker */
    struct netd_worker *worker;
};

/* NULL where there is none. */
struct netd_device *devices_find(const struct netd *netd, const struct uuid *uuid);
/* Whether there is a process that is to end, or was killed, and has not gone yet: an address that it had is soon free. */
bool devices_any_ends(const struct netd *netd);
/* Takes the queues, on failure too. */
int devices_add(struct netd *netd, const struct device_key *key, uint32_t ifindex, const int *queues,
                uint32_t queue_count, struct netd_device **ret_device, struct err *ret_err);
/* Of a device without a worker: closes the queues and frees the entry. */
void device_remove(struct netd_device *device);
/* Of a device that is not what it was: removed now, or once its worker has ended. */
void device_abandon(struct netd_device *device);
/* Its queues lead nowhere any more, or its netns' name means another one. */
bool device_is_stale(const struct netd_device *device);
/* Where a queue's device is, and how it is called, by the kernel: fills in name and netns ("": our own). -EBADFD where
 * it leads to none, -ENOENT where its netns has no name. Takes descriptors of unknown origin. */
int queue_locate(int queue, struct device_key *key);
/* Keeps the first `count` queues only. */
void device_queues_trim(struct netd_device *device, uint32_t count);

/* Whoever sets a time at which something is to be done says so here: the loop, which turns for every event of
 * thousands of devices, looks at none of them before. Nothing is lost where nothing has to be done then after all. */
void devices_due_by(struct netd *netd, int64_t at_ns);
void devices_tick(struct netd *netd, int64_t now_ns);
/* Look for stale devices soon. */
void devices_sweep_soon(struct netd *netd);

/* ---- what a request means, looked up in the kernel --------------------------------------------------------------- */

struct target {
    struct net_ns *ns;
    bool ns_is_own; /* netd's, else to be closed */
    struct observed_link link;
};

/* A socket in the key's netns. -ENOENT where there is no such netns. */
int target_open_netns(struct netd *netd, const char *netns, struct target *ret_target, struct err *ret_err);
/* The device of this key: there, and ours by its alias. -ENODEV otherwise. */
int target_open(struct netd *netd, const struct device_key *key, struct target *ret_target, struct err *ret_err);
/* Whether the table's entry stands for this very device, and not for another one with the same alias. */
bool target_is(const struct target *target, const struct netd_device *device, const struct device_key *key);
/* Whether it still is, just before something is destroyed. */
int target_confirm(struct target *target, const struct device_key *key, struct err *ret_err);
void target_done(struct target *target);

/* The table's entry for it. Without one that is as it should be, opens queues: `queues` of them; 0 takes what is held,
 * and one where nothing is. */
int target_hold(struct netd *netd, struct target *target, const struct device_key *key, uint32_t queues,
                struct netd_device **ret_device, struct err *ret_err);

#endif

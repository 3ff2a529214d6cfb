/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netns: the netlink sockets that netd opened for us in named network namespaces, kept by name.
 *
 * A socket keeps its netns alive after `ip netns delete`, with every device in it. So an entry also remembers which
 * netns the name meant (device and inode of /run/netns/<name>), and is dropped once it means another, or none.
 */
#ifndef IPC_NETNS_H
#define IPC_NETNS_H

#include "client.h"

#include <sys/types.h>

struct netns_space {
    char name[NETNS_NAME_SIZE];
    dev_t dev;
    ino_t ino;
    struct net_ns *ns;
    int events;
};

struct netns_cache {
    struct netns_space **spaces;
    size_t count, capacity;
};
void netns_cache_done(struct netns_cache *cache);

/* NULL where there is none, or none that still is what the name means. */
struct netns_space *netns_cache_find(struct netns_cache *cache, const char *name);
/* Asks netd. -ENOENT where there is no such netns; else as ipc_client_call. */
int netns_cache_open(struct netns_cache *cache, struct ipc_client *client, const char *name, int64_t timeout_ms,
                     struct netns_space **ret_space, struct err *ret_err);
void netns_cache_drop(struct netns_cache *cache, const char *name);
/* Drops all but those named, and those that have become stale. */
void netns_cache_prune(struct netns_cache *cache, const char *const *names, size_t count);

#endif

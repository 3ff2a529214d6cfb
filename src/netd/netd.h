/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netd: the hands. One thread, one epoll loop; whatever could take long (a worker that starts, a worker that ends) is
 * waited for by the loop, and the request's answer goes out when it is over.
 */
#ifndef NETD_H
#define NETD_H

#include "tunwright/base.h"
#include "tunwright/net.h"

#include <limits.h>
#include <sys/resource.h>

/* A descriptor in the loop. The loop hands out one event at a time: a handler may remove and free any watch, its own
 * included. fd -1: not watched. */
struct watch {
    int fd;
    void (*ready)(void *context, uint32_t events);
    void *context;
};

struct netd_client;
struct netd_device;
struct leftover;

#define NETD_CLIENTS_MAX 64

struct netd {
    int epoll_fd;
    bool quit;
    struct watch signals;
    struct watch listener;
    int spare_fd;       /* given up to accept, and so to turn away, a client when there are no others */
    struct watch links; /* netlink events of our own netns */

    int workers_fd; /* <run-dir>/workers */
    int worker_dir_fd;
    char worker_dir[PATH_MAX]; /* absolute */
    struct service_user user, worker_user;
    struct rlimit worker_files; /* RLIMIT_NOFILE as it was given to us, for the workers */

    struct net_ns *own_ns;
    struct netd_device **devices; /* in the order of their numbers */
    size_t device_count, device_capacity;
    uint64_t last_number; /* of a device or a client: never used twice */
    int64_t sweep_ns;     /* when to look for devices that have vanished; 0: not */
    int64_t due_ns;       /* no device or worker has anything to do before; INT64_MAX: none at all */

    struct leftover *leftovers; /* killed, and not gone yet */

    struct netd_client *clients[NETD_CLIENTS_MAX];
    struct rate_limit refusals; /* log lines about them */
};

struct netd_options {
    const char *run_dir, *worker_dir, *user, *worker_user;
};

/* Makes the directories, adopts the workers that are there, listens. On failure netd_close what there is. */
int netd_open(struct netd *netd, const struct netd_options *options, struct err *ret_err);
/* Until SIGTERM, SIGINT or SIGHUP. */
int netd_run(struct netd *netd, struct err *ret_err);
/* Lets go of everything; workers and devices stay as they are. */
void netd_close(struct netd *netd);

/* ---- loop.c ------------------------------------------------------------------------------------------------------ */
/* Takes nothing: the watch's owner closes the descriptor, after watch_remove. */
int watch_add(struct netd *netd, struct watch *watch, int fd, uint32_t events, void (*ready)(void *, uint32_t),
              void *context);
void watch_set(struct netd *netd, struct watch *watch, uint32_t events);
void watch_remove(struct netd *netd, struct watch *watch);
void watch_close(struct netd *netd, struct watch *watch); /* watch_remove, and close(2) */

/* While it is on, no wait of this process is longer than a fraction of a second. What a peer has sent along with a
 * packet is closed here, by us or by the kernel, and a socket with SO_LINGER makes whoever closes it last wait as long
 * as its owner has chosen. A signal ends that wait. */
void loop_hurry(bool on);

/* Whether one more line about refused requests may be logged. */
bool netd_may_log(struct netd *netd);

/* Copies text of doubtful origin: control characters become blanks, what is not UTF-8 '?', what does not fit is cut. */
void text_copy_printable(char *out, size_t size, const char *text, size_t length);

#endif

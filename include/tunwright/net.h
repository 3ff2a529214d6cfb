/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net: the kernel's side. What was observed, the steps that change it, the netlink and TUN calls that do both
 * (libmnl), and the provider interface `struct kernel` behind which the engine sees either the real thing or a fake.
 */
#ifndef TUNWRIGHT_NET_H
#define TUNWRIGHT_NET_H

#include "tunwright/base.h"
#include "tunwright/model.h"
#include "tunwright/worker.h"

/* What marks ours: IFLA_IFALIAS "tunwright:<uuid>" on a device, rtm_protocol on a route, IFA_PROTO on an address
 * (kernels before 5.18 do not keep it: there, every address that is not link-local counts as ours). */
#define NET_ALIAS_PREFIX "tunwright:"
#define NET_PROTOCOL     84
/* Routes of these are an administrator's (RTPROT_BOOT, which is what ip-route(8) leaves, and RTPROT_STATIC). */
#define NET_PROTOCOL_BOOT   3
#define NET_PROTOCOL_STATIC 4

/* ---- observed ---------------------------------------------------------------------------------------------------- */

struct observed_address {
    struct ip_prefix prefix;
    bool ours;      /* IFA_PROTO 84 */
    bool by_kernel; /* made by the kernel itself: link-local, SLAAC, privacy addresses */
    bool has_peer;  /* point to point: which the document cannot say */
    bool secondary; /* IPv4: goes when its primary goes, unless promote_secondaries */
    bool tentative; /* IPv6 DAD has not ended */
    bool failed;    /* IPv6 DAD found a duplicate */
};

struct foreign_route {
    struct route route;
    uint8_t protocol; /* NET_PROTOCOL_BOOT or NET_PROTOCOL_STATIC */
};

enum observed_kind { OBSERVED_TUN, OBSERVED_TAP, OBSERVED_OTHER };

struct observed_link {
    char netns[NETNS_NAME_SIZE]; /* "": the daemon's own */
    char name[DEVICE_NAME_SIZE];
    uint32_t ifindex;
    enum observed_kind kind;
    bool ours;        /* has our alias */
    bool has_alias;   /* ours, or any other */
    struct uuid uuid; /* where ours */
    bool up;          /* IFF_UP */
    bool carrier;     /* IFF_LOWER_UP */
    bool multi_queue;
    bool persistent;      /* outlives whoever holds its queues */
    uint32_t queue_count; /* those that somebody holds, where it has several; else 0: the kernel does not tell */
    uint32_t mtu, txqueuelen;
    uint8_t mac[6];
    uint32_t owner, group; /* OWNER_NONE: not set */
    char master[DEVICE_NAME_SIZE];
    struct observed_address *addresses;
    size_t address_count;
    struct route *routes; /* only those of NET_PROTOCOL */
    size_t route_count;
    struct foreign_route
        *foreign_routes; /* of a TUN/TAP: unicast ones that an administrator made (protocol boot or static) */
    size_t foreign_route_count;
};

enum worker_state { WORKER_STARTING, WORKER_RUNNING, WORKER_RESTARTING, WORKER_FAILED, WORKER_STATE_N };
const char *worker_state_name(enum worker_state state);

struct observed_worker {
    struct uuid uuid; /* its device's */
    enum worker_state state;
    int32_t pid;        /* 0 while there is none */
    uint32_t restarts;  /* since it was attached */
    int64_t started_ns; /* CLOCK_REALTIME of the running process's start */
    uint64_t tag;       /* of its worker_spec */
    char program[WORKER_PROGRAM_SIZE];
    char detail[ERR_MESSAGE_MAX]; /* why it failed or exited last, else "" */
    char *status;                 /* owned: the last status body, "" where there is none; untrusted text */
};

/* A whole look at the kernel. Links: every TUN/TAP device, and whatever carries our alias; other links by name only
 * (kind OBSERVED_OTHER, without addresses and routes), so that a name in use is known. */
struct observed {
    struct observed_link *links;
    size_t link_count, link_capacity;
    struct route *unattached; /* of NET_PROTOCOL and without a device, all of them in the daemon's own netns … */
    size_t unattached_count, unattached_capacity;
    struct observed_worker *workers;
    size_t worker_count, worker_capacity;
};
void observed_done(struct observed *observed);
const struct observed_link *observed_link_find(const struct observed *observed, const char *netns, const char *name);
const struct observed_link *observed_link_of(const struct observed *observed, const struct uuid *uuid);
const struct observed_worker *observed_worker_of(const struct observed *observed, const struct uuid *uuid);

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* What can be done to the kernel, in the order of a plan: whatever takes away comes before whatever adds. But first of
 * all a device that is taken over gets our mark: without it nothing else may be done to it. */
enum step_kind {
    STEP_DEVICE_ADOPT,
    STEP_WORKER_STOP,
    STEP_ROUTE_DELETE,
    STEP_ADDRESS_DELETE,
    STEP_DEVICE_RELEASE,
    STEP_DEVICE_DELETE,
    STEP_DEVICE_CREATE,
    STEP_LINK_SET,
    STEP_ADDRESS_ADD,
    STEP_ROUTE_ADD,
    STEP_WORKER_START,
    STEP_WORKER_CONFIGURE,
    STEP_KIND_N
};
const char *step_kind_name(enum step_kind kind); /* "worker_stop", … */

/* Which device a step means. netd looks it up by name in the netns and refuses (-ENODEV, or -EEXIST for a create)
 * unless its alias holds this uuid. */
struct device_key {
    char netns[NETNS_NAME_SIZE];
    char name[DEVICE_NAME_SIZE];
    struct uuid uuid;
};

struct device_create {
    enum device_kind kind;
    uint32_t queues;
    uint32_t owner, group;
    bool has_mac;
    uint8_t mac[6];
};

/* A persistent TUN/TAP device of somebody else's, without an alias, becomes ours by getting our alias. */
struct device_adopt {
    enum device_kind kind;
    uint32_t queues; /* that a worker is going to be given: they must be free. 0: none */
};

enum link_setting {
    LINK_MTU = 1 << 0,
    LINK_TXQUEUELEN = 1 << 1,
    LINK_MAC = 1 << 2,
    LINK_OWNER = 1 << 3,
    LINK_GROUP = 1 << 4,
    LINK_MASTER = 1 << 5,
    LINK_UP = 1 << 6,
};
struct link_settings {
    uint32_t set; /* which of the following, enum link_setting */
    uint32_t mtu, txqueuelen;
    uint8_t mac[6];
    uint32_t owner, group;         /* OWNER_NONE takes it away */
    char master[DEVICE_NAME_SIZE]; /* "" takes it away */
    bool up;
};

/* What a step does to the traffic of its device; no step touches another's. */
enum disturbance {
    DISTURBS_NONE,     /* no packet is lost for it */
    DISTURBS_FLAP,     /* the device goes down and up, or its worker does: packets may be lost for a moment */
    DISTURBS_RECREATE, /* the device is taken away, to be made anew or for good */
    DISTURBANCE_N
};
const char *disturbance_name(enum disturbance disturbance); /* "none", "flap", "recreate" */

struct step {
    enum step_kind kind;
    enum disturbance disturbs;
    bool late; /* STEP_ADDRESS_DELETE: only once its successors are there */
    uint8_t
        protocol; /* STEP_ROUTE_DELETE: of the route that is meant: NET_PROTOCOL, or one that the document listed and
                         that never was marked: NET_PROTOCOL_BOOT, NET_PROTOCOL_STATIC */
    struct device_key device;
    union {
        struct device_adopt adopt;
        struct device_create create;
        struct link_settings link;
        struct ip_prefix address;
        struct route route;
        struct worker_spec worker; /* owns its config */
    };
};
void step_done(struct step *step);

#define STEP_RUN_MAX 512
struct step_result {
    int error; /* 0, or why not */
    struct err err;
};

/* ---- the provider interface -------------------------------------------------------------------------------------- */

struct link_stats {
    uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped, tx_dropped;
};

struct capture_order {
    uint32_t snaplen;                          /* 1 to CAPTURE_SNAPLEN_MAX bytes of each packet */
    uint32_t program_length;                   /* 0: all packets */
    const struct capture_instruction *program; /* borrowed */
};

/*
 * What the engine needs of a kernel. Two providers: kernel_netd_open (ipc.h: observes with its own netlink sockets,
 * changes through tunwright-netd) and kernel_fake_new (below). All calls but `stats` and `capture` come from one
 * thread; those from any.
 */
struct kernel;
struct kernel_ops {
    /* A complete look, in the daemon's netns and the named ones. An interrupted dump is repeated inside; a netns that
     * does not exist contributes nothing. -ENOTCONN with ERR_NETD_UNAVAILABLE while netd is away. *ret_observed must be
     * zeroed, and is the caller's to empty. */
    int (*observe)(struct kernel *kernel, const char *const *netns, size_t netns_count, struct observed *ret_observed,
                   struct err *ret_err);
    /* Carries out one step and waits for its result: on return it is in the kernel, or nothing of it is. Borrows.
     * -EAGAIN: not now, because of something that ends by itself; ask again a little later. */
    int (*apply)(struct kernel *kernel, const struct step *step, struct err *ret_err);
    /* Carries out up to STEP_RUN_MAX steps of one kind, each as `apply` would, and waits for all results: a refusal holds
     * up none of the others. Those of one device are begun in their order; what takes time, does so for all of them
     * together. *ret_results has room for `count`. NULL: this provider can do one at a time only. */
    void (*apply_run)(struct kernel *kernel, const struct step *steps, size_t count, struct step_result *ret_results);
    /* Maps a worker's counter page read-only; munmap(2) COUNTER_PAGE_SIZE bytes when done. -ENOENT: no such worker. */
    int (*page)(struct kernel *kernel, const struct uuid *device, const struct counter_page **ret_page,
                struct err *ret_err);
    /* The device's own counters, now. -ENODEV when it is gone. */
    int (*stats)(struct kernel *kernel, const char *netns, uint32_t ifindex, struct link_stats *ret_stats);
    /* Has a worker capture, from any thread: *ret_area is a capture area, and *ret_hold ends it when it is closed, or is at
     * its end of file when it has ended. Both are the caller's. -EBUSY: somebody does already. NULL: this provider
     * cannot. */
    int (*capture)(struct kernel *kernel, const struct uuid *device, const struct capture_order *order, int *ret_area,
                   int *ret_hold, struct err *ret_err);
    /* A descriptor to poll(2) for POLLIN: something changed, look again. Stays valid; owned by the provider. */
    int (*event_fd)(struct kernel *kernel);
    /* Empties it, reconnecting to netd where that is due; says whether to look again. */
    bool (*event_drain)(struct kernel *kernel);
    bool (*connected)(struct kernel *kernel);
    void (*close)(struct kernel *kernel);
};
struct kernel {
    const struct kernel_ops *ops;
};

/*
 * A kernel in memory, for tests: the refusals and side effects that plans must live with (EEXIST, ENODEV, ENETUNREACH
 * for a gateway that is not on link, ENETDOWN for a route through a device that is down, EADDRINUSE for two workers with
 * one address; setting a device down loses its routes and IPv6 addresses, deleting it everything). Its state is an open
 * book.
 */
struct kernel_fake {
    struct kernel kernel;
    struct observed state;
    size_t applied; /* steps carried out */
    size_t fail_at; /* the n-th apply from now (1 is the next) fails with fail_errno; 0: none */
    int fail_errno;
    bool disconnected; /* every call answers -ENOTCONN */
    struct step *log;  /* all steps carried out, without the config text */
    size_t log_count, log_capacity;
    uint32_t next_ifindex;
    int event_fd;
};
struct kernel_fake *kernel_fake_new(void);

/* ---- netlink and TUN: one network namespace ---------------------------------------------------------------------- */

/* A NETLINK_ROUTE socket that lives in one netns. Not thread-safe. */
struct net_ns;

/* name "": the caller's own. Else /run/netns/<name>: enters it for the time of socket(2), which takes CAP_SYS_ADMIN;
 * a process that cannot come back aborts. -ENOENT where there is no such netns. */
int net_ns_open(const char *name, struct net_ns **ret_ns, struct err *ret_err);
/* Takes a NETLINK_ROUTE socket that was opened in another netns. */
int net_ns_adopt(int fd, const char *name, struct net_ns **ret_ns, struct err *ret_err);
void net_ns_close(struct net_ns *ns);
int net_ns_fd(const struct net_ns *ns);

/* Adds what this netns holds: links, addresses and routes. -EAGAIN when dumps stay interrupted: then nothing was added.
 */
int net_observe(struct net_ns *ns, struct observed *observed, struct err *ret_err);
/* One link by name, without addresses and routes. -ENODEV. */
int net_link_get(struct net_ns *ns, const char *name, struct observed_link *ret_link, struct err *ret_err);
int net_link_stats(struct net_ns *ns, uint32_t ifindex, struct link_stats *ret_stats);

/* Changes, by ifindex. LINK_OWNER and LINK_GROUP are not netlink's: see net_tun_set_owner. What is set down, renumbered
 * and set up again is done in that order. */
int net_link_set(struct net_ns *ns, uint32_t ifindex, const struct link_settings *settings, struct err *ret_err);
int net_link_set_alias(struct net_ns *ns, uint32_t ifindex, const struct uuid *uuid, struct err *ret_err);
int net_link_clear_alias(struct net_ns *ns, uint32_t ifindex, struct err *ret_err);
int net_link_delete(struct net_ns *ns, uint32_t ifindex, struct err *ret_err);
/* Several of ours at once, in a small part of the time: all of them or none. The keys' netns is not looked at.
 * *ret_ifindexes has room for `count`. -ENODEV where one is not there, or not ours by its uuid; -EAGAIN where others
 * meddle. Either way net_link_delete may do for each what this could not do for all. */
int net_links_delete(struct net_ns *ns, const struct device_key *keys, size_t count, uint32_t *ret_ifindexes,
                     struct err *ret_err);
/* Cleans up after one that was killed in the middle. */
int net_links_ungroup(struct net_ns *ns, struct err *ret_err);
int net_address_add(struct net_ns *ns, uint32_t ifindex, const struct ip_prefix *address, struct err *ret_err);
int net_address_delete(struct net_ns *ns, uint32_t ifindex, const struct ip_prefix *address, struct err *ret_err);
/* -EAGAIN: its IPv6 source is still tentative (on tap for up to 2 s after the address was added, or the device set up).
 */
int net_route_add(struct net_ns *ns, uint32_t ifindex, const struct route *route, struct err *ret_err);
/* Only one of this protocol. */
int net_route_delete(struct net_ns *ns, uint32_t ifindex, const struct route *route, uint8_t protocol,
                     struct err *ret_err);

/* A socket that hears of links, addresses and routes of a netns changing (RTNLGRP_*). */
int net_events_open(const char *netns, int *ret_fd, struct err *ret_err);
/* Empties it; true where there was anything, or where something was lost (ENOBUFS). */
bool net_events_drain(int fd);

/*
 * TUN (drivers/net/tun.c). Creates a persistent device in the netns with IFF_TUN_EXCL, IFF_NO_PI, IFF_VNET_HDR, and IFF_MULTI_QUEUE
 * where queues > 1; marks it with the uuid's alias; turns promote_secondaries on. ret_fds receives `queues`
 * descriptors, non-blocking and close-on-exec. Any failure leaves no device. -EEXIST where the name is in use (by
 * anything).
 */
int net_tun_create(struct net_ns *ns, const struct device_key *key, const struct device_create *create, int *ret_fds,
                   uint32_t *ret_ifindex, struct err *ret_err);
/* New descriptors to a persistent device of ours that nobody holds. -ENODEV where it is not ours or not there; -EBUSY
 * where somebody holds it. Never makes a device. */
int net_tun_attach(struct net_ns *ns, const struct device_key *key, uint32_t queues, int *ret_fds,
                   uint32_t *ret_ifindex, struct err *ret_err);
/* Marks a persistent device of nobody's as ours, and turns promote_secondaries on; nothing else of it changes. -ENODEV
 * where there is none of that name; -EEXIST (ERR_FOREIGN_DEVICE) where it carries an alias; -EINVAL where it is no
 * persistent TUN/TAP device of that kind. Where it carries this very mark already, nothing is done. */
int net_tun_adopt(struct net_ns *ns, const struct device_key *key, const struct device_adopt *adopt,
                  uint32_t *ret_ifindex, struct err *ret_err);
/* The name and flags that a queue descriptor has now (TUNGETIFF); -EBADFD where it is none. */
int net_tun_name(int fd, char ret_name[static DEVICE_NAME_SIZE], short *ret_flags);
/* Turns off what a holder of the device may have asked for by TUNSETOFFLOAD: its packets come whole and finished, with a
 * virtio_net_hdr of 10 zero bytes before each. */
int net_tun_plain(int queue_fd, const char *name, struct err *ret_err);
int net_tun_set_owner(int queue_fd, uint32_t owner, struct err *ret_err);
int net_tun_set_group(int queue_fd, uint32_t group, struct err *ret_err);

#endif

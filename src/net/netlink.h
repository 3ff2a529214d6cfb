/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this module share: a netlink socket in one netns, messages going out, replies coming in.
 *
 * What arrives is bytes until it was checked: netlink_walk and the parse functions of each file are pure functions of
 * their input, never read outside it, and are fuzzed (tests/fuzz/fuzz_netlink.c).
 */
#ifndef TUNWRIGHT_NET_NETLINK_H
#define TUNWRIGHT_NET_NETLINK_H

#include "tunwright/net.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

struct net_ns {
    int fd;            /* NETLINK_ROUTE, blocking, with a receive timeout */
    uint32_t port;     /* its own nl_pid */
    uint32_t sequence; /* of the last request */
    bool own;          /* the caller's netns: what is opened without more ado lands there */
    char name[NETNS_NAME_SIZE];
};

/* ---- a message going out ----------------------------------------------------------------------------------------- */

#define NETLINK_MESSAGE_SIZE 1024 /* all that this module asks for fits; the put functions abort past it */

struct netlink_message {
    _Alignas(struct nlmsghdr) unsigned char bytes[NETLINK_MESSAGE_SIZE];
};

/* A request with a copy of its family header behind it; NLM_F_REQUEST is set for it. */
struct nlmsghdr *netlink_message_start(struct netlink_message *message, uint16_t type, unsigned flags,
                                       const void *header, size_t header_size);
void netlink_put(struct netlink_message *message, uint16_t type, const void *data, size_t size);
void netlink_put_u8(struct netlink_message *message, uint16_t type, uint8_t value);
void netlink_put_u32(struct netlink_message *message, uint16_t type, uint32_t value);
void netlink_put_text(struct netlink_message *message, uint16_t type, const char *text);
struct nlattr *netlink_nest_start(struct netlink_message *message, uint16_t type);
void netlink_nest_end(struct netlink_message *message, struct nlattr *nest);

/* ---- a message coming in ----------------------------------------------------------------------------------------- */

/* Called with each message of a reply that carries data. Not 0 (-errno) ends nothing, but is the result in the end. */
typedef int netlink_visit(const struct nlmsghdr *message, void *context);

/* libmnl's and the kernel's own macros for these are int, which mixes badly with sizes. */
#define NETLINK_HEAD_SIZE sizeof(struct nlmsghdr)
static inline size_t netlink_align(size_t size)
{
    return (size + 3) & ~(size_t)3;
}

#define NETLINK_TEXT_SIZE 128
struct netlink_reply {
    bool ended;                   /* the acknowledgement, or the end of the dump, was there */
    bool is_one;                  /* set by who asks: the first answer ends it, without an acknowledgement */
    bool interrupted;             /* NLM_F_DUMP_INTR: what was dumped is not one moment's state */
    int error;                    /* the kernel's, negative */
    int visit_error;              /* the first that a visit returned */
    char text[NETLINK_TEXT_SIZE]; /* the kernel's own words (extended ack), or "" */
};

/* Goes through `length` bytes (at an address aligned for nlmsghdr) as they were received, and adds to *reply. Messages
 * of another sequence or port are not ours and are passed over. -EBADMSG where the bytes are not netlink messages. */
int netlink_walk(const void *bytes, size_t length, uint32_t sequence, uint32_t port, netlink_visit *visit,
                 void *context, struct netlink_reply *reply);

/* Sets table[type] for each attribute with type < count, and the rest to NULL. Of a type, the last one counts. */
void netlink_attrs(const void *bytes, size_t length, const struct nlattr **table, size_t count);
/* The same for what follows a message's family header; false where the message is too short to have one. */
bool netlink_message_attrs(const struct nlmsghdr *message, size_t header_size, const struct nlattr **table,
                           size_t count);
/* The same for what is nested in an attribute (NULL: nothing). */
void netlink_nested_attrs(const struct nlattr *nest, const struct nlattr **table, size_t count);

/* The attribute's value; false, and nothing written, where it is NULL or not of the right size. */
bool netlink_u8(const struct nlattr *attr, uint8_t *ret_value);
bool netlink_u32(const struct nlattr *attr, uint32_t *ret_value);
bool netlink_bytes(const struct nlattr *attr, void *ret_bytes, size_t size);
/* Text with or without its NUL; false too where it does not fit. */
bool netlink_text(const struct nlattr *attr, char *ret_text, size_t size);
bool netlink_ip(const struct nlattr *attr, int family, struct ip_addr *ret_addr);

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* Sends a request that the kernel answers with one message, and asks for no acknowledgement besides: half the work, for
 * what is asked often. Negative errno of the kernel or of `visit`. */
int netlink_get(struct net_ns *ns, struct netlink_message *message, netlink_visit *visit, void *context);

/* Sends a request and waits for its acknowledgement. `visit` (may be NULL) gets what else the kernel answers. A refusal
 * is put into *ret_err as "<format…> (<the kernel's own words>): <strerror>", with `operation`. */
int netlink_request(struct net_ns *ns, struct netlink_message *message, netlink_visit *visit, void *context,
                    const char *operation, struct err *ret_err, const char *format, ...) PRINTF_LIKE(7, 8);

/* Sends a dump request and drains it to its end. -EAGAIN: it was interrupted, and what was visited is worth nothing. */
int netlink_dump(struct net_ns *ns, struct netlink_message *message, netlink_visit *visit, void *context,
                 const char *operation, struct err *ret_err);

/* ---- netns ------------------------------------------------------------------------------------------------------- */

/* Makes the calling thread enter a netns; *ret_back is what netns_leave takes. netns_enter_of: the one that the socket
 * lives in, which stays right when another netns was given the name meanwhile; *ret_back is -1 when that is where we
 * are. */
int netns_enter(const char *name, int *ret_back, struct err *ret_err);
int netns_enter_of(const struct net_ns *ns, int *ret_back, struct err *ret_err);
void netns_leave(int back);

/* ---- what the kernel shows: each a pure function of one message; -EBADMSG where it is not such a thing ----------- */

/*
 * Who may attach to a queue, to the kernel: with an owner set only he, with a group set only its members, with both
 * only who is both, with neither everybody who can open /dev/net/tun. And neither can be taken away again. So "nobody
 * but root" is this number, the last that a uid or gid can be and that nobody has; it is shown as OWNER_NONE.
 */
#define TUN_OWNER_NOBODY (UINT32_MAX - 1)

struct link_info {
    struct observed_link link; /* without master, addresses and routes */
    uint32_t master_ifindex;   /* 0: none */
    uint32_t group;            /* IFLA_GROUP; not that of whoever may use a queue, which is link.group */
};
int net_link_parse(const struct nlmsghdr *message, struct link_info *ret_info);

struct address_info {
    uint32_t ifindex;
    uint32_t flags; /* IFA_F_* */
    bool has_protocol;
    uint8_t protocol;                /* IFA_PROTO */
    struct observed_address address; /* `ours` and `by_kernel` by net_address_classify */
};
int net_address_parse(const struct nlmsghdr *message, int family, struct address_info *ret_info);
/* `keeps_protocol`: this kernel stores IFA_PROTO. */
void net_address_classify(struct address_info *info, bool keeps_protocol);

struct route_info {
    uint32_t ifindex; /* 0 where the route is unattached */
    uint8_t protocol; /* ours; or boot or static, and then it is a unicast one through a device */
    struct route route;
};
/* -ENOENT: a route, but none that we could have made, or that a document could have (another protocol, cached, several
 * next hops, …). */
int net_route_parse(const struct nlmsghdr *message, int family, struct route_info *ret_info);

/* One link, by name, or by ifindex where name is NULL. -ENODEV. */
int net_link_query(struct net_ns *ns, const char *name, uint32_t ifindex, struct link_info *ret_info,
                   struct err *ret_err);
/* Of an RTM_GETLINK: without counters, which is most of what it shows (IFLA_EXT_MASK). */
#define NETLINK_SKIP_STATS (1U << 3) /* RTEXT_FILTER_SKIP_STATS */

/* ---- net_links_delete, step by step (link_group.c) --------------------------------------------------------------- */

struct link_group_member {
    const struct device_key *key; /* borrowed */
    uint32_t ifindex;
    uint32_t group_before;
};
struct link_group {
    struct link_group_member *members; /* owned; sorted by name */
    size_t count;
    uint32_t number;
};
void link_group_done(struct link_group *group);
/* All of them, as they are in the kernel, and a number that nobody has. -ENODEV where not all of them are. */
int link_group_gather(struct net_ns *ns, const struct device_key *keys, size_t count, struct link_group *ret_group,
                      struct err *ret_err);
/* Both do all of it or nothing: what was marked has its old group again then. */
int link_group_mark(struct net_ns *ns, const struct link_group *group, struct err *ret_err);
int link_group_delete(struct net_ns *ns, struct link_group *group, struct err *ret_err);

/* net_link_stats by RTM_GETLINK, for kernels without RTM_GETSTATS. */
int net_link_stats_of_link(struct net_ns *ns, uint32_t ifindex, struct link_stats *ret_stats);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at a netns: dumps of links, of addresses, and of the routes of each protocol that matters, put together by
 * ifindex.
 *
 * A dump is not a moment's state: when the kernel says that it was interrupted, the whole look is thrown away and taken
 * again, since what is missing from such a dump must never be taken for gone. Between two dumps things may change as
 * well; what then belongs to no link is dropped, and the event that comes with the change makes the caller look again.
 */
#include "netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>

#define OBSERVE_TRIES    10
#define OBSERVE_WAIT_MS  2 /* more with each try: about 90 ms in all */
#define RTEXT_SKIP_STATS (1U << 3)

struct look {
    int family;       /* of the dump that is under way */
    uint8_t protocol; /* of the routes that it is to show */
    struct link_info *links;
    size_t link_count, link_capacity;
    struct address_info *addresses;
    size_t address_count, address_capacity;
    struct route_info *routes;
    size_t route_count, route_capacity;
};

static void look_done(struct look *look)
{
    free(look->links);
    free(look->addresses);
    free(look->routes);
    memset(look, 0, sizeof *look);
}

/* ---- the dumps --------------------------------------------------------------------------------------------------- */

static int look_visit_link(const struct nlmsghdr *message, void *context)
{
    struct look *look = context;
    struct link_info info;
    if (net_link_parse(message, &info))
        return 0;
    int error = array_grow((void **)&look->links, &look->link_capacity, look->link_count, sizeof info);
    if (!error)
        look->links[look->link_count++] = info;
    return error;
}

static int look_visit_address(const struct nlmsghdr *message, void *context)
{
    struct look *look = context;
    struct address_info info;
    if (net_address_parse(message, look->family, &info))
        return 0;
    int error = array_grow((void **)&look->addresses, &look->address_capacity, look->address_count, sizeof info);
    if (!error)
        look->addresses[look->address_count++] = info;
    return error;
}

static int look_visit_route(const struct nlmsghdr *message, void *context)
{
    struct look *look = context;
    struct route_info info;
    if (net_route_parse(message, look->family, &info) || info.protocol != look->protocol)
        return 0;
    int error = array_grow((void **)&look->routes, &look->route_capacity, look->route_count, sizeof info);
    if (!error)
        look->routes[look->route_count++] = info;
    return error;
}

/* Kernels with strict checks send only those of this protocol; the others everything, and the visit picks. */
static int look_take_routes(struct look *look, struct net_ns *ns, uint8_t protocol, struct err *ret_err)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    int error = 0;
    look->protocol = protocol;
    for (size_t i = 0; !error && i < ARRAY_SIZE(families); i++) {
        struct netlink_message message;
        struct rtmsg route = {.rtm_family = families[i], .rtm_protocol = protocol};
        look->family = families[i];
        netlink_message_start(&message, RTM_GETROUTE, 0, &route, sizeof route);
        error = netlink_dump(ns, &message, look_visit_route, look, "RTM_GETROUTE", ret_err);
    }
    return error;
}

static bool look_has_tun(const struct look *look)
{
    bool found = false;
    for (size_t i = 0; i < look->link_count && !found; i++)
        found = look->links[i].link.kind != OBSERVED_OTHER;
    return found;
}

static int look_take(struct look *look, struct net_ns *ns, struct err *ret_err)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    struct netlink_message message;
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
    netlink_message_start(&message, RTM_GETLINK, 0, &link, sizeof link);
    netlink_put_u32(&message, IFLA_EXT_MASK, RTEXT_SKIP_STATS);
    int error = netlink_dump(ns, &message, look_visit_link, look, "RTM_GETLINK", ret_err);
    for (size_t i = 0; !error && i < ARRAY_SIZE(families); i++) {
        struct ifaddrmsg address = {.ifa_family = families[i]};
        look->family = families[i];
        netlink_message_start(&message, RTM_GETADDR, 0, &address, sizeof address);
        error = netlink_dump(ns, &message, look_visit_address, look, "RTM_GETADDR", ret_err);
    }
    if (!error)
        error = look_take_routes(look, ns, NET_PROTOCOL, ret_err);
    /* only what goes through a TUN/TAP device is of interest of the rest */
    if (!error && look_has_tun(look))
        error = look_take_routes(look, ns, NET_PROTOCOL_BOOT, ret_err);
    if (!error && look_has_tun(look))
        error = look_take_routes(look, ns, NET_PROTOCOL_STATIC, ret_err);
    return error;
}

/* Linux keeps IFA_PROTO since 5.18, and others have it from there; a kernel that shows one keeps it, whatever its
 * number. */
static bool look_keeps_protocol(const struct look *look)
{
    for (size_t i = 0; i < look->address_count; i++) {
        if (look->addresses[i].has_protocol)
            return true;
    }
    struct utsname name;
    unsigned major = 0, minor = 0;
    return uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
           (major > 5 || (major == 5 && minor >= 18));
}

/* ---- putting together -------------------------------------------------------------------------------------------- */

static int link_compare(const void *a, const void *b)
{
    const struct link_info *first = a, *second = b;
    return (first->link.ifindex > second->link.ifindex) - (first->link.ifindex < second->link.ifindex);
}

static struct link_info *look_find_link(struct look *look, uint32_t ifindex)
{
    struct link_info key = {.link.ifindex = ifindex};
    if (!look->link_count)
        return NULL;
    return bsearch(&key, look->links, look->link_count, sizeof key, link_compare);
}

/* The link whose addresses and routes are wanted, or NULL. */
static struct observed_link *look_find_owner(struct look *look, uint32_t ifindex)
{
    struct link_info *info = ifindex ? look_find_link(look, ifindex) : NULL;
    return info && (info->link.kind != OBSERVED_OTHER || info->link.ours) ? &info->link : NULL;
}

static void look_finish_links(struct look *look, const char *netns)
{
    if (look->link_count)
        qsort(look->links, look->link_count, sizeof *look->links, link_compare);
    for (size_t i = 0; i < look->link_count; i++) {
        struct link_info *info = &look->links[i];
        memcpy(info->link.netns, netns, strlen(netns) + 1);
        struct link_info *master = info->master_ifindex ? look_find_link(look, info->master_ifindex) : NULL;
        if (master)
            memcpy(info->link.master, master->link.name, sizeof info->link.master);
    }
}

/* Counts first, so that each link gets an array of its own of the right size; then fills them in the dump's order. */
static int look_give_addresses(struct look *look, bool keeps_protocol)
{
    for (size_t i = 0; i < look->address_count; i++) {
        struct observed_link *link = look_find_owner(look, look->addresses[i].ifindex);
        if (link)
            link->address_count++;
    }
    for (size_t i = 0; i < look->link_count; i++) {
        struct observed_link *link = &look->links[i].link;
        if (link->address_count && !(link->addresses = calloc(link->address_count, sizeof *link->addresses)))
            return -ENOMEM;
        link->address_count = 0;
    }
    for (size_t i = 0; i < look->address_count; i++) {
        struct observed_link *link = look_find_owner(look, look->addresses[i].ifindex);
        if (!link)
            continue;
        net_address_classify(&look->addresses[i], keeps_protocol);
        link->addresses[link->address_count++] = look->addresses[i].address;
    }
    return 0;
}

/* The link that a foreign route belongs to, or NULL: only those of TUN/TAP devices are of interest. */
static struct observed_link *look_find_foreign_owner(struct look *look, const struct route_info *info)
{
    struct observed_link *link = look_find_owner(look, info->ifindex);
    return link && link->kind != OBSERVED_OTHER ? link : NULL;
}

static int look_give_routes(struct look *look)
{
    for (size_t i = 0; i < look->route_count; i++) {
        bool ours = look->routes[i].protocol == NET_PROTOCOL;
        struct observed_link *link =
            ours ? look_find_owner(look, look->routes[i].ifindex) : look_find_foreign_owner(look, &look->routes[i]);
        if (link)
            ++*(ours ? &link->route_count : &link->foreign_route_count);
    }
    for (size_t i = 0; i < look->link_count; i++) {
        struct observed_link *link = &look->links[i].link;
        if (link->route_count && !(link->routes = calloc(link->route_count, sizeof *link->routes)))
            return -ENOMEM;
        if (link->foreign_route_count &&
            !(link->foreign_routes = calloc(link->foreign_route_count, sizeof *link->foreign_routes)))
            return -ENOMEM;
        link->route_count = link->foreign_route_count = 0;
    }
    for (size_t i = 0; i < look->route_count; i++) {
        const struct route_info *info = &look->routes[i];
        bool ours = info->protocol == NET_PROTOCOL;
        struct observed_link *link = ours ? look_find_owner(look, info->ifindex) : look_find_foreign_owner(look, info);
        if (link && ours)
            link->routes[link->route_count++] = info->route;
        else if (link)
            link->foreign_routes[link->foreign_route_count++] =
                (struct foreign_route){.route = info->route, .protocol = info->protocol};
    }
    return 0;
}

static int look_give_unattached(const struct look *look, struct observed *observed)
{
    for (size_t i = 0; i < look->route_count; i++) {
        if (!route_is_unattached(&look->routes[i].route))
            continue;
        int error = array_grow((void **)&observed->unattached, &observed->unattached_capacity,
                               observed->unattached_count, sizeof *observed->unattached);
        if (error)
            return error;
        observed->unattached[observed->unattached_count++] = look->routes[i].route;
    }
    return 0;
}

/* Adds all of the look to *observed, or nothing. */
static int look_give(struct look *look, const char *netns, struct observed *observed)
{
    size_t links_before = observed->link_count, unattached_before = observed->unattached_count;
    look_finish_links(look, netns);
    int error = look_give_addresses(look, look_keeps_protocol(look));
    if (!error)
        error = look_give_routes(look);
    if (!error && !netns[0])
        error = look_give_unattached(look, observed);
    for (size_t i = 0; !error && i < look->link_count; i++) {
        error = array_grow((void **)&observed->links, &observed->link_capacity, observed->link_count,
                           sizeof *observed->links);
        if (!error)
            observed->links[observed->link_count++] = look->links[i].link;
    }
    if (error) {
        observed->link_count = links_before;
        observed->unattached_count = unattached_before;
        for (size_t i = 0; i < look->link_count; i++) {
            free(look->links[i].link.addresses);
            free(look->links[i].link.routes);
            free(look->links[i].link.foreign_routes);
        }
    }
    return error;
}

int net_observe(struct net_ns *ns, struct observed *observed, struct err *ret_err)
{
    for (int try = 1;; try++) {
        CLEANUP(look_done) struct look look = {0};
        int error = look_take(&look, ns, ret_err);
        if (!error) {
            error = look_give(&look, ns->name, observed);
            return error ? err_no_memory(ret_err) : 0;
        }
        if (error != -EAGAIN || try == OBSERVE_TRIES)
            return error;
        struct timespec wait = {.tv_nsec = (long)(OBSERVE_WAIT_MS * NSEC_PER_MSEC * try)};
        nanosleep(&wait, NULL);
    }
}

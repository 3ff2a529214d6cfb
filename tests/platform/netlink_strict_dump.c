/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With NETLINK_GET_STRICT_CHK a dump of routes can be asked for by protocol, and the kernel sends no others: a look at
 * a router with a full table costs what ours cost. And an extended ack says in words why a route was refused.
 */
#include "platform.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

struct request {
    struct nlmsghdr head;
    struct rtmsg route;
    unsigned char attributes[64];
};

static void put(struct request *request, unsigned short type, const void *data, size_t size)
{
    struct rtattr attr = {.rta_len = (unsigned short)(sizeof attr + size), .rta_type = type};
    unsigned char *at = (unsigned char *)request + request->head.nlmsg_len;
    memcpy(at, &attr, sizeof attr);
    memcpy(at + sizeof attr, data, size);
    request->head.nlmsg_len += (unsigned)(sizeof attr + ((size + 3) & ~(size_t)3));
}

static ssize_t ask(int fd, struct request *request, void *answer, size_t size)
{
    if (send(fd, request, request->head.nlmsg_len, 0) < 0)
        platform_broken("send");
    ssize_t length = recv(fd, answer, size, 0);
    if (length < 0)
        platform_broken("recv");
    return length;
}

/* Adds 10.<second>.0.0/16 on lo with this protocol: the kernel's answer, and its words in *ret_words (may be NULL). */
static int add_route(int fd, unsigned char second, unsigned char protocol, bool with_gateway, bool *ret_words)
{
    _Alignas(8) unsigned char answer[4096];
    unsigned char to[4] = {10, second, 0, 0}, via[4] = {172, 31, 9, 9};
    unsigned lo = 1;
    struct request request = {
        .head = {.nlmsg_len = sizeof request.head + sizeof request.route,
                 .nlmsg_type = RTM_NEWROUTE,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL},
        .route = {.rtm_family = AF_INET,
                  .rtm_dst_len = 16,
                  .rtm_table = RT_TABLE_MAIN,
                  .rtm_protocol = protocol,
                  .rtm_scope = with_gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                  .rtm_type = RTN_UNICAST},
    };
    put(&request, RTA_DST, to, sizeof to);
    put(&request, RTA_OIF, &lo, sizeof lo);
    if (with_gateway)
        put(&request, RTA_GATEWAY, via, sizeof via);
    ssize_t length = ask(fd, &request, answer, sizeof answer);
    struct nlmsghdr head;
    struct nlmsgerr error;
    memcpy(&head, answer, sizeof head);
    memcpy(&error, answer + sizeof head, sizeof error);
    if (head.nlmsg_type != NLMSG_ERROR)
        platform_broken("not an acknowledgement");
    if (ret_words)
        *ret_words = head.nlmsg_flags & NLM_F_ACK_TLVS && memmem(answer, (size_t)length, "gateway", 7);
    return error.error;
}

/* Counts the routes of a dump by protocol: ours and others. */
static void dump(int fd, unsigned char protocol, int *ret_ours, int *ret_others)
{
    _Alignas(8) unsigned char answer[32768];
    struct request request = {
        .head = {.nlmsg_len = sizeof request.head + sizeof request.route,
                 .nlmsg_type = RTM_GETROUTE,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .route = {.rtm_family = AF_INET, .rtm_protocol = protocol},
    };
    *ret_ours = *ret_others = 0;
    for (ssize_t length = ask(fd, &request, answer, sizeof answer);; length = recv(fd, answer, sizeof answer, 0)) {
        if (length < 0)
            platform_broken("recv");
        for (size_t at = 0; at + sizeof(struct nlmsghdr) <= (size_t)length;) {
            const struct nlmsghdr *head = (const void *)(answer + at);
            at += (head->nlmsg_len + 3) & ~3U;
            if (head->nlmsg_type == NLMSG_DONE)
                return;
            if (head->nlmsg_type == NLMSG_ERROR)
                platform_broken("the dump was refused");
            const struct rtmsg *route = (const void *)(head + 1);
            ++*(route->rtm_protocol == 84 ? ret_ours : ret_others);
        }
    }
}

int main(void)
{
    platform_start(false);
    int ours, others, on = 1;
    bool words = false;
    platform_up("lo");
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        platform_broken("socket");
    for (unsigned char i = 0; i < 4; i++) {
        if (add_route(fd, i, 84, false, NULL) || add_route(fd, (unsigned char)(100 + i), RTPROT_STATIC, false, NULL))
            platform_broken("RTM_NEWROUTE");
    }
    dump(fd, 84, &ours, &others);
    PROVE(ours == 4 && others > 4, "without strict checks the filter is not looked at: all routes come");
    PROVE(setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on) == 0, "strict checks can be turned on");
    dump(fd, 84, &ours, &others);
    PROVE(ours == 4 && others == 0, "with them, only those of the protocol that was asked for");
    dump(fd, 0, &ours, &others);
    PROVE(ours == 4 && others > 4, "and all of them where none was");

    PROVE(setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on) == 0, "extended acks can be turned on");
    PROVE(add_route(fd, 50, 84, true, &words) == -ENETUNREACH, "a gateway that is not on link is ENETUNREACH");
    PROVE(words, "and the kernel says it in words");
    PROVE(add_route(fd, 1, 84, false, NULL) == -EEXIST, "NLM_F_EXCL: a second route to the same is EEXIST");
    return platform_failed;
}

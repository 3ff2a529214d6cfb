/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the kernel, and what comes back.
 *
 * A request carries NLM_F_ACK, so that its reply always ends with one NLMSG_ERROR (0 for success), data or not. A dump
 * ends with NLMSG_DONE, and is drained to it whatever happens, so that the socket is at rest when the next request
 * starts. What a reply of an abandoned request left behind is told by its sequence number and passed over.
 */
#include "netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The kernel fills up to 32 KiB at a time when it sees that there is room for it (net/netlink: netlink_dump). */
#define RECEIVE_SIZE 32768

/* ---- a message going out ----------------------------------------------------------------------------------------- */

static struct nlmsghdr *message_head(struct netlink_message *message)
{
    return (struct nlmsghdr *)message->bytes;
}

struct nlmsghdr *netlink_message_start(struct netlink_message *message, uint16_t type, unsigned flags,
                                       const void *header, size_t header_size)
{
    memset(message, 0, sizeof *message);
    struct nlmsghdr *head = mnl_nlmsg_put_header(message->bytes);
    head->nlmsg_type = type;
    head->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    memcpy(mnl_nlmsg_put_extra_header(head, header_size), header, header_size);
    return head;
}

void netlink_put(struct netlink_message *message, uint16_t type, const void *data, size_t size)
{
    /* what is put here has a fixed largest size: not fitting is a fault in this module, not of any input */
    if (!mnl_attr_put_check(message_head(message), sizeof message->bytes, type, size, data))
        abort();
}

void netlink_put_u8(struct netlink_message *message, uint16_t type, uint8_t value)
{
    netlink_put(message, type, &value, sizeof value);
}

void netlink_put_u32(struct netlink_message *message, uint16_t type, uint32_t value)
{
    netlink_put(message, type, &value, sizeof value);
}

void netlink_put_text(struct netlink_message *message, uint16_t type, const char *text)
{
    netlink_put(message, type, text, strlen(text) + 1);
}

struct nlattr *netlink_nest_start(struct netlink_message *message, uint16_t type)
{
    struct nlattr *nest = mnl_attr_nest_start_check(message_head(message), sizeof message->bytes, type);
    if (!nest)
        abort();
    return nest;
}

void netlink_nest_end(struct netlink_message *message, struct nlattr *nest)
{
    mnl_attr_nest_end(message_head(message), nest);
}

/* ---- a message coming in ----------------------------------------------------------------------------------------- */

void netlink_attrs(const void *bytes, size_t length, const struct nlattr **table, size_t count)
{
    memset(table, 0, count * sizeof *table);
    const unsigned char *at = bytes;
    while (length >= sizeof(struct nlattr)) {
        const struct nlattr *attr = (const void *)at;
        if (attr->nla_len < sizeof *attr || attr->nla_len > length)
            return;
        uint16_t type = mnl_attr_get_type(attr);
        if (type < count)
            table[type] = attr;
        size_t step = netlink_align(attr->nla_len);
        if (step >= length)
            return;
        at += step;
        length -= step;
    }
}

bool netlink_message_attrs(const struct nlmsghdr *message, size_t header_size, const struct nlattr **table,
                           size_t count)
{
    size_t offset = NETLINK_HEAD_SIZE + netlink_align(header_size);
    if (message->nlmsg_len < NETLINK_HEAD_SIZE + header_size)
        return false;
    if (message->nlmsg_len <= offset)
        memset(table, 0, count * sizeof *table);
    else
        netlink_attrs((const unsigned char *)message + offset, message->nlmsg_len - offset, table, count);
    return true;
}

void netlink_nested_attrs(const struct nlattr *nest, const struct nlattr **table, size_t count)
{
    if (nest)
        netlink_attrs(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), table, count);
    else
        memset(table, 0, count * sizeof *table);
}

bool netlink_bytes(const struct nlattr *attr, void *ret_bytes, size_t size)
{
    if (!attr || mnl_attr_get_payload_len(attr) != size)
        return false;
    memcpy(ret_bytes, mnl_attr_get_payload(attr), size);
    return true;
}

bool netlink_u8(const struct nlattr *attr, uint8_t *ret_value)
{
    return netlink_bytes(attr, ret_value, sizeof *ret_value);
}

bool netlink_u32(const struct nlattr *attr, uint32_t *ret_value)
{
    return netlink_bytes(attr, ret_value, sizeof *ret_value);
}

bool netlink_text(const struct nlattr *attr, char *ret_text, size_t size)
{
    if (!attr)
        return false;
    const char *text = mnl_attr_get_payload(attr);
    size_t length = strnlen(text, mnl_attr_get_payload_len(attr));
    if (length >= size)
        return false;
    memcpy(ret_text, text, length);
    ret_text[length] = '\0';
    return true;
}

bool netlink_ip(const struct nlattr *attr, int family, struct ip_addr *ret_addr)
{
    struct ip_addr addr = {.family = (uint8_t)family};
    if (!netlink_bytes(attr, addr.bytes, family == AF_INET ? 4 : 16))
        return false;
    *ret_addr = addr;
    return true;
}

/* The text of an extended ack. `skip`: bytes between the message's head and its attributes. */
static void reply_take_text(const struct nlmsghdr *message, size_t skip, struct netlink_reply *reply)
{
    if (!(message->nlmsg_flags & NLM_F_ACK_TLVS) || message->nlmsg_len <= NETLINK_HEAD_SIZE + skip)
        return;
    const struct nlattr *table[NLMSGERR_ATTR_MSG + 1];
    netlink_attrs((const unsigned char *)message + NETLINK_HEAD_SIZE + skip,
                  message->nlmsg_len - NETLINK_HEAD_SIZE - skip, table, ARRAY_SIZE(table));
    netlink_text(table[NLMSGERR_ATTR_MSG], reply->text, sizeof reply->text);
}

static int reply_take_error(const struct nlmsghdr *message, struct netlink_reply *reply)
{
    struct nlmsgerr error;
    if (message->nlmsg_len < NETLINK_HEAD_SIZE + sizeof error)
        return -EBADMSG;
    memcpy(&error, mnl_nlmsg_get_payload(message), sizeof error);
    reply->ended = true;
    reply->error = error.error < 0 && error.error >= -4095 ? error.error : 0;
    size_t skip = sizeof error;
    if (!(message->nlmsg_flags & NLM_F_CAPPED) && error.msg.nlmsg_len > NETLINK_HEAD_SIZE) {
        /* the request itself comes back first */
        if (error.msg.nlmsg_len > message->nlmsg_len)
            return -EBADMSG;
        skip += netlink_align(error.msg.nlmsg_len - NETLINK_HEAD_SIZE);
    }
    reply_take_text(message, skip, reply);
    return 0;
}

static void reply_take_done(const struct nlmsghdr *message, struct netlink_reply *reply)
{
    int error = 0;
    reply->ended = true;
    if (message->nlmsg_len < NETLINK_HEAD_SIZE + sizeof error)
        return;
    memcpy(&error, mnl_nlmsg_get_payload(message), sizeof error);
    if (error < 0 && error >= -4095)
        reply->error = error;
    reply_take_text(message, sizeof error, reply);
}

int netlink_walk(const void *bytes, size_t length, uint32_t sequence, uint32_t port, netlink_visit *visit,
                 void *context, struct netlink_reply *reply)
{
    const unsigned char *at = bytes;
    while (length > 0) {
        const struct nlmsghdr *message = (const void *)at;
        if (length < NETLINK_HEAD_SIZE || message->nlmsg_len < NETLINK_HEAD_SIZE || message->nlmsg_len > length)
            return -EBADMSG;
        size_t step = netlink_align(message->nlmsg_len);
        if (step > length)
            step = length;
        at += step;
        length -= step;
        if (message->nlmsg_seq != sequence || message->nlmsg_pid != port)
            continue;
        if (message->nlmsg_flags & NLM_F_DUMP_INTR)
            reply->interrupted = true;
        int error = 0;
        if (message->nlmsg_type == NLMSG_ERROR) {
            error = reply_take_error(message, reply);
        } else if (message->nlmsg_type == NLMSG_DONE) {
            reply_take_done(message, reply);
        } else if (message->nlmsg_type >= NLMSG_MIN_TYPE && visit) {
            int visit_error = visit(message, context);
            if (visit_error && !reply->visit_error)
                reply->visit_error = visit_error;
            reply->ended = reply->ended || reply->is_one;
        }
        if (error)
            return error;
    }
    return 0;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static int socket_send(struct net_ns *ns, struct netlink_message *message)
{
    struct nlmsghdr *head = message_head(message);
    head->nlmsg_seq = ++ns->sequence;
    head->nlmsg_pid = ns->port;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    for (;;) {
        if (sendto(ns->fd, head, head->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) >= 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

/* Receives until the reply has ended. */
static int socket_receive(struct net_ns *ns, netlink_visit *visit, void *context, struct netlink_reply *reply)
{
    _Alignas(struct nlmsghdr) unsigned char bytes[RECEIVE_SIZE];
    while (!reply->ended) {
        struct sockaddr_nl from = {0};
        struct iovec vector = {.iov_base = bytes, .iov_len = sizeof bytes};
        struct msghdr packet = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &vector, .msg_iovlen = 1};
        ssize_t length = recvmsg(ns->fd, &packet, 0);
        if (length < 0) {
            if (errno == EINTR)
                continue;
            /* the receive timeout: the kernel answers in the sender's own context, so this does not just take long */
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
        if (length == 0)
            return -EPIPE;
        if (from.nl_pid != 0)
            continue; /* not from the kernel: another process with CAP_NET_ADMIN could send this */
        if (packet.msg_flags & MSG_TRUNC)
            return -EMSGSIZE;
        int error = netlink_walk(bytes, (size_t)length, ns->sequence, ns->port, visit, context, reply);
        if (error)
            return error;
    }
    return 0;
}

static int socket_ask(struct net_ns *ns, struct netlink_message *message, netlink_visit *visit, void *context,
                      struct netlink_reply *reply)
{
    int error = socket_send(ns, message);
    if (!error)
        error = socket_receive(ns, visit, context, reply);
    return error ? error : reply->error;
}

int netlink_get(struct net_ns *ns, struct netlink_message *message, netlink_visit *visit, void *context)
{
    struct netlink_reply reply = {.is_one = true};
    int error = socket_ask(ns, message, visit, context, &reply);
    return error ? error : reply.visit_error;
}

int netlink_request(struct net_ns *ns, struct netlink_message *message, netlink_visit *visit, void *context,
                    const char *operation, struct err *ret_err, const char *format, ...)
{
    struct netlink_reply reply = {0};
    message_head(message)->nlmsg_flags |= NLM_F_ACK;
    int error = socket_ask(ns, message, visit, context, &reply);
    if (!error && !reply.visit_error)
        return 0;

    char what[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (error && reply.text[0])
        return err_set_kernel(ret_err, error, operation, "%s (%s)", what, reply.text);
    return err_set_kernel(ret_err, error ? error : reply.visit_error, operation, "%s", what);
}

int netlink_dump(struct net_ns *ns, struct netlink_message *message, netlink_visit *visit, void *context,
                 const char *operation, struct err *ret_err)
{
    struct netlink_reply reply = {0};
    message_head(message)->nlmsg_flags |= NLM_F_DUMP;
    int error = socket_ask(ns, message, visit, context, &reply);
    /* a dump that was interrupted may also end in an error that another try does not meet */
    if (reply.ended && reply.interrupted)
        return err_set_kernel(ret_err, -EAGAIN, operation, "the kernel's state changed while it was read");
    if (!error)
        error = reply.visit_error;
    if (!error)
        return 0;
    if (reply.text[0])
        return err_set_kernel(ret_err, error, operation, "cannot read the kernel's state (%s)", reply.text);
    return err_set_kernel(ret_err, error, operation, "cannot read the kernel's state");
}

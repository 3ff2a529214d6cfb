/* SPDX-License-Identifier: Apache-2.0 */
#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define SOCKET_BUFFER_BYTES (4 << 20)

static int socket_option(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

/* -EINVAL for anything but a UDP socket that is bound to a port. */
static int socket_local(int fd, struct endpoint *ret_local)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    struct endpoint local;
    memset(&address, 0, sizeof address);
    if (socket_option(fd, SO_TYPE) != SOCK_DGRAM || socket_option(fd, SO_PROTOCOL) != IPPROTO_UDP)
        return -EINVAL;
    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0 || endpoint_from_sockaddr(&address, &local) < 0 ||
        local.port == 0)
        return -EINVAL;
    *ret_local = local;
    return 0;
}

bool socket_is_sound(int fd)
{
    struct endpoint local;
    return socket_local(fd, &local) == 0;
}

static bool socket_is_at(int fd, int32_t type, const struct endpoint *wanted)
{
    struct endpoint local;
    return type == SOCK_DGRAM && socket_local(fd, &local) == 0 && endpoint_equal(&local, wanted);
}

/* The buffers' size is a wish: without CAP_NET_ADMIN over the initial user namespace it ends at the system's limit. */
static void socket_buffers_set(int fd)
{
    int bytes = SOCKET_BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

/* ---- the way its packets take ------------------------------------------------------------------------------------ */

static int socket_way_read(int fd, struct socket_way *ret_way)
{
    struct socket_way way = {.changed = false};
    socklen_t size = sizeof way.mark, index_size = sizeof way.ifindex;
    if (getsockopt(fd, SOL_SOCKET, SO_MARK, &way.mark, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &way.ifindex, &index_size) < 0)
        return -errno;
    *ret_way = way;
    return 0;
}

/* A socket stays bound to an interface that has gone, even where another has its name by now. */
static bool socket_way_is_by(const struct socket_way *way, const char *interface)
{
    return interface[0] ? way->ifindex && (int)if_nametoindex(interface) == way->ifindex : !way->ifindex;
}

/* Only what differs: to bind a socket that is bound already takes CAP_NET_RAW. */
static int socket_way_set(int fd, const struct socket_way *now, uint32_t mark, const char *interface,
                          struct err *ret_err)
{
    int result;
    if (now->mark != mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0) {
        result = err_set_kernel(ret_err, -errno, "SO_MARK", "cannot mark its packets");
        if (ret_err)
            text_copy(ret_err->pointer, sizeof ret_err->pointer, "/worker/mark");
        return result;
    }
    if (!socket_way_is_by(now, interface) &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)) < 0) {
        if (errno == ENODEV)
            result = err_set_kernel(ret_err, -ENODEV, "SO_BINDTODEVICE", "there is no interface %s", interface);
        else
            result = err_set_kernel(ret_err, -errno, "SO_BINDTODEVICE", "cannot bind to the interface %s", interface);
        if (ret_err)
            text_copy(ret_err->pointer, sizeof ret_err->pointer, "/worker/interface");
        return result;
    }
    return 0;
}

static void socket_way_reset(int fd, const struct socket_way *before)
{
    setsockopt(fd, SOL_SOCKET, SO_MARK, &before->mark, sizeof before->mark);
    setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &before->ifindex, sizeof before->ifindex);
}

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

/* The interface comes before the address, which another worker may have on another interface. */
static int socket_open(const struct socket_spec *spec, const struct endpoint *local, int *ret_fd, struct err *ret_err)
{
    static const struct socket_way plain;
    struct sockaddr_storage address;
    char text[ENDPOINT_TEXT_SIZE];
    int on = 1;
    socklen_t size = endpoint_to_sockaddr(local, &address);
    int fd CLEANUP(fd_done) = socket(address.ss_family, spec->type | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "socket", "cannot make a socket");
    if (address.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
        return err_set_kernel(ret_err, -errno, "setsockopt", "cannot set IPV6_V6ONLY");
    socket_buffers_set(fd);
    int result = socket_way_set(fd, &plain, spec->mark, spec->interface, ret_err);
    if (result < 0)
        return result;
    if (bind(fd, (struct sockaddr *)&address, size) < 0) {
        int error = -errno;
        err_set_kernel(ret_err, error, "bind", "cannot bind %s", endpoint_print(local, text));
        if (ret_err)
            text_copy(ret_err->pointer, sizeof ret_err->pointer, "/worker/local");
        if (error == -EADDRINUSE && ret_err)
            ret_err->code = ERR_ADDRESS_IN_USE;
        return error;
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int socket_keep(int held, const struct socket_spec *spec, int *ret_fd, struct socket_way *ret_before,
                       struct err *ret_err)
{
    struct socket_way before;
    int result = socket_way_read(held, &before);
    if (result < 0)
        return err_set_kernel(ret_err, result, "getsockopt", "cannot keep a socket");
    int copy CLEANUP(fd_done) = fcntl(held, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return err_set_kernel(ret_err, -errno, "fcntl", "cannot keep a socket");
    before.changed = before.mark != spec->mark || !socket_way_is_by(&before, spec->interface);
    result = socket_way_set(copy, &before, spec->mark, spec->interface, ret_err);
    if (result < 0) {
        socket_way_reset(copy, &before);
        return result;
    }
    *ret_fd = copy;
    copy = -1;
    *ret_before = before;
    return 0;
}

static int socket_open_or_keep(const struct socket_spec *spec, const struct endpoint *local,
                               const struct socket_set *held, struct socket_set *sockets, struct err *ret_err)
{
    int *fd = &sockets->fds[sockets->count];
    for (uint32_t i = 0; held && i < held->count; i++)
        if (socket_is_at(held->fds[i], spec->type, local))
            return socket_keep(held->fds[i], spec, fd, &sockets->before[sockets->count], ret_err);
    return socket_open(spec, local, fd, ret_err);
}

int sockets_open(const struct socket_spec *specs, size_t spec_count, const struct socket_set *held,
                 struct socket_set *ret_sockets, struct err *ret_err)
{
    struct socket_set sockets = {.count = 0};
    for (size_t i = 0; i < spec_count; i++)
        for (uint32_t number = 0; number < specs[i].count; number++) {
            struct endpoint local = specs[i].local;
            local.port = (uint16_t)(local.port + number);
            int result = socket_open_or_keep(&specs[i], &local, held, &sockets, ret_err);
            if (result < 0) {
                sockets_undo(&sockets);
                sockets_close(&sockets);
                return result;
            }
            sockets.count++;
        }
    *ret_sockets = sockets;
    return 0;
}

void sockets_undo(struct socket_set *sockets)
{
    for (uint32_t i = 0; i < sockets->count; i++) {
        if (sockets->before[i].changed)
            socket_way_reset(sockets->fds[i], &sockets->before[i]);
    }
}

void sockets_close(struct socket_set *sockets)
{
    for (uint32_t i = 0; i < sockets->count; i++)
        fd_done(&sockets->fds[i]);
    sockets->count = 0;
}

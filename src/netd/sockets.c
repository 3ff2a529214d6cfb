/* SPDX-License-Identifier: Apache-2.0 */
#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
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

static bool socket_matches(int fd, const struct socket_spec *spec)
{
    struct endpoint local;
    return spec->type == SOCK_DGRAM && socket_local(fd, &local) == 0 && endpoint_equal(&local, &spec->local);
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

static int socket_open(const struct socket_spec *spec, int *ret_fd, struct err *ret_err)
{
    struct sockaddr_storage address;
    char text[ENDPOINT_TEXT_SIZE];
    int on = 1;
    socklen_t size = endpoint_to_sockaddr(&spec->local, &address);
    int fd CLEANUP(fd_done) = socket(address.ss_family, spec->type | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "socket", "cannot make a socket");
    if (address.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
        return err_set_kernel(ret_err, -errno, "setsockopt", "cannot set IPV6_V6ONLY");
    socket_buffers_set(fd);
    if (bind(fd, (struct sockaddr *)&address, size) < 0) {
        int error = -errno;
        err_set_kernel(ret_err, error, "bind", "cannot bind %s", endpoint_print(&spec->local, text));
        if (error == -EADDRINUSE && ret_err)
            ret_err->code = ERR_ADDRESS_IN_USE;
        return error;
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int socket_open_or_share(const struct socket_spec *spec, const int *held, size_t held_count, int *ret_fd,
                                struct err *ret_err)
{
    for (size_t i = 0; i < held_count; i++) {
        if (!socket_matches(held[i], spec))
            continue;
        int copy = fcntl(held[i], F_DUPFD_CLOEXEC, 0);
        if (copy < 0)
            return err_set_kernel(ret_err, -errno, "fcntl", "cannot keep a socket");
        *ret_fd = copy;
        return 0;
    }
    return socket_open(spec, ret_fd, ret_err);
}

int sockets_open(const struct socket_spec *specs, size_t count, const int *held, size_t held_count, int *ret_fds,
                 struct err *ret_err)
{
    for (size_t i = 0; i < count; i++) {
        int result = socket_open_or_share(&specs[i], held, held_count, &ret_fds[i], ret_err);
        if (result < 0) {
            sockets_close(ret_fds, i);
            return result;
        }
    }
    return 0;
}

void sockets_close(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fd_done(&fds[i]);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tunwright/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024

/* Removes a socket that nobody listens on any more. Anything else of that name stays. */
static int remove_stale(const struct sockaddr_un *address, struct err *ret_err)
{
    const char *path = address->sun_path;
    struct stat found;
    if (lstat(path, &found) < 0)
        return 0; /* bind says what is wrong, if anything is */
    if (!S_ISSOCK(found.st_mode))
        return err_set(ret_err, -EEXIST, ERR_INTERNAL, "", "%s exists and is not a socket", path);
    int fd CLEANUP(fd_done) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "socket", "cannot make a Unix socket");
    if (!connect(fd, (const struct sockaddr *)address, sizeof *address) || errno != ECONNREFUSED)
        return err_set(ret_err, -EADDRINUSE, ERR_ADDRESS_IN_USE, "",
                       "somebody listens on %s already: is another tunwrightd running there?", path);
    if (unlink(path) < 0)
        return err_set_kernel(ret_err, -errno, "unlink", "cannot remove the stale %s", path);
    return 0;
}

int http_listen_unix(const char *path, uint32_t gid, int *ret_fd, struct err *ret_err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (text_copy(address.sun_path, sizeof address.sun_path, path))
        return err_set(ret_err, -ENAMETOOLONG, ERR_INTERNAL, "", "%s is too long for a Unix socket (at most %zu bytes)",
                       path, sizeof address.sun_path - 1);
    int error = remove_stale(&address, ret_err);
    if (error)
        return error;
    int fd CLEANUP(fd_done) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "socket", "cannot make a Unix socket");

    /* born with its mode: neither open to all for a moment, nor changed through a path that somebody else might swap */
    mode_t mask = umask(0117);
    error = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    umask(mask);
    if (error)
        return err_set_kernel(ret_err, error, "bind", "cannot bind %s", path);
    if (gid != getegid() && lchown(path, (uid_t)-1, gid) < 0)
        error = err_set_kernel(ret_err, -errno, "lchown", "cannot give %s to group %u", path, gid);
    else if (listen(fd, BACKLOG) < 0)
        error = err_set_kernel(ret_err, -errno, "listen", "cannot listen on %s", path);
    if (error) {
        unlink(path);
        return error;
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* endpoint_parse, and port 0 besides. */
static int parse_listen(const char *text, struct endpoint *ret_endpoint)
{
    const char *colon = strrchr(text, ':');
    char with_port[ENDPOINT_TEXT_SIZE];
    if (!colon || strcmp(colon, ":0") != 0)
        return endpoint_parse(text, ret_endpoint);
    int length = snprintf(with_port, sizeof with_port, "%.*s:1", (int)(colon - text), text);
    if (length < 0 || length >= (int)sizeof with_port || endpoint_parse(with_port, ret_endpoint))
        return -EINVAL;
    ret_endpoint->port = 0;
    return 0;
}

static bool is_loopback(const struct ip_addr *addr)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    return addr->family == AF_INET ? addr->bytes[0] == 127 : !memcmp(addr->bytes, loopback6, sizeof loopback6);
}

static int bind_tcp(const char *text, const struct endpoint *endpoint, int *ret_fd, struct endpoint *ret_bound,
                    struct err *ret_err)
{
    struct sockaddr_storage storage;
    const int yes = 1;
    int fd CLEANUP(fd_done) = socket(endpoint->addr.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "socket", "cannot make a socket for %.64s", text);
    /* [::] means IPv6: whoever wants 0.0.0.0 as well says so, and an address has one form only */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        (endpoint->addr.family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes) < 0))
        return err_set_kernel(ret_err, -errno, "setsockopt", "cannot set up the socket for %.64s", text);
    socklen_t size = endpoint_to_sockaddr(endpoint, &storage);
    if (bind(fd, (struct sockaddr *)&storage, size) < 0)
        return err_set_kernel(ret_err, -errno, "bind", "cannot bind %.64s", text);
    if (listen(fd, BACKLOG) < 0)
        return err_set_kernel(ret_err, -errno, "listen", "cannot listen on %.64s", text);
    size = sizeof storage;
    if (getsockname(fd, (struct sockaddr *)&storage, &size) < 0)
        return err_set_kernel(ret_err, -errno, "getsockname", "cannot tell what %.64s became", text);
    int error = endpoint_from_sockaddr(&storage, ret_bound);
    if (error)
        return err_set(ret_err, error, ERR_INTERNAL, "", "cannot tell what %.64s became", text);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int http_listen_tcp(const char *address, bool with_tls, int *ret_fd, struct endpoint *ret_bound, struct err *ret_err)
{
    struct endpoint endpoint;
    if (parse_listen(address, &endpoint))
        return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "",
                       "\"%.64s\" is not an address and a port, like 127.0.0.1:8080 or [::1]:8080", address);
    if (!with_tls && !is_loopback(&endpoint.addr))
        return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "",
                       "%.64s is not a loopback address. This is plain HTTP with a token, which must not cross a "
                       "network: listen with TLS there, or on 127.0.0.1 or [::1]",
                       address);
    return bind_tcp(address, &endpoint, ret_fd, ret_bound, ret_err);
}

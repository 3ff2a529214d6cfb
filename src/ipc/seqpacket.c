/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seqpacket: packets over AF_UNIX with descriptors beside them.
 *
 * A descriptor that arrives is open in this process from that moment on, whatever the packet says. So every path out of
 * seqpacket_receive either hands all of them to the caller or closes all of them.
 */
#include "tunwright/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 64

/* Room for the control message, aligned as CMSG_FIRSTHDR expects. */
union seqpacket_control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
};

static void fds_close(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

int seqpacket_send(int fd, const void *head, size_t head_length, const void *text, size_t text_length, const int *fds,
                   size_t fd_count, int flags)
{
    /* an empty packet looks like the end of file to its receiver */
    if (fd_count > IPC_FDS_MAX || head_length + text_length == 0)
        return -EINVAL;

    union seqpacket_control control;
    struct iovec parts[2] = {{(void *)(uintptr_t)head, head_length}, {(void *)(uintptr_t)text, text_length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = text_length > 0 ? 2 : 1};
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
    }

    ssize_t sent;
    do
        sent = sendmsg(fd, &message, flags | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return -errno;
    return (size_t)sent == head_length + text_length ? 0 : -EIO;
}

/* All descriptors of a received message: at most IPC_FDS_MAX, for that is the room it was given. */
static size_t message_fds(struct msghdr *message, int fds[static IPC_FDS_MAX])
{
    size_t count = 0;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg; cmsg = CMSG_NXTHDR(message, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS || cmsg->cmsg_len < CMSG_LEN(0))
            continue;
        size_t here = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here && count < IPC_FDS_MAX; i++)
            memcpy(&fds[count++], CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
    }
    return count;
}

int seqpacket_receive(int fd, void *out, size_t size, size_t *ret_length, int *ret_fds, size_t *fd_count, int flags)
{
    size_t room = fd_count ? *fd_count : 0;
    if (fd_count)
        *fd_count = 0;

    union seqpacket_control control;
    struct iovec part = {out, size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    if (room == 0) /* then they are never open here at all */
        message.msg_controllen = 0;
    ssize_t length;
    do
        length = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    while (length < 0 && errno == EINTR);
    if (length < 0)
        return -errno;

    int fds[IPC_FDS_MAX];
    size_t count = message_fds(&message, fds);
    /* cut in its bytes or in its descriptors (the kernel has dropped those), or more than the caller can hold */
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || count > room) {
        fds_close(fds, count);
        return -EMSGSIZE;
    }
    if (length == 0) { /* end of file, or an empty packet, which nobody sends in good faith */
        fds_close(fds, count);
        count = 0;
    }
    if (count > 0) {
        memcpy(ret_fds, fds, count * sizeof(int));
        *fd_count = count;
    }
    *ret_length = (size_t)length;
    return 0;
}

static int address_of(const char *path, struct sockaddr_un *ret_address, struct err *ret_err)
{
    memset(ret_address, 0, sizeof *ret_address);
    ret_address->sun_family = AF_UNIX;
    if (path[0] == '\0' || text_copy(ret_address->sun_path, sizeof ret_address->sun_path, path) < 0)
        return err_set_kernel(ret_err, -ENAMETOOLONG, "bind", "%.100s…", path);
    return 0;
}

/* -EADDRINUSE where somebody answers at `address`, or where it is no socket; 0 where the file was left over from
 * somebody who is gone. */
static int socket_file_remove_stale(const struct sockaddr_un *address)
{
    struct stat status;
    /* connect(2) calls any file that is no socket refused, too */
    if (lstat(address->sun_path, &status) == 0 && !S_ISSOCK(status.st_mode))
        return -EADDRINUSE;
    int fd CLEANUP(fd_done) = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

int seqpacket_listen(const char *path, uint32_t mode, int *ret_fd, struct err *ret_err)
{
    struct sockaddr_un address;
    int result = address_of(path, &address, ret_err);
    if (result < 0)
        return result;
    int fd CLEANUP(fd_done) = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "socket", "cannot make a socket");
    /* the file is born with the mode that the socket has, and is not touched again: in a directory that is somebody
     * else's, its name may stand for another one at once */
    if (fchmod(fd, mode) < 0)
        return err_set_kernel(ret_err, -errno, "fchmod", "%s", path);

    result = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    if (result == -EADDRINUSE) {
        result = socket_file_remove_stale(&address);
        if (result == 0 && bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
            result = -errno;
    }
    if (result < 0)
        return err_set_kernel(ret_err, result, "bind", "%s", path);
    if (listen(fd, LISTEN_BACKLOG) < 0)
        return err_set_kernel(ret_err, -errno, "listen", "%s", path);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int seqpacket_connect(const char *path, int *ret_fd, struct err *ret_err)
{
    struct sockaddr_un address;
    int result = address_of(path, &address, ret_err);
    if (result < 0)
        return result;
    /* non-blocking for the connect alone: a full backlog is an answer too */
    int fd CLEANUP(fd_done) = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "socket", "cannot make a socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return err_set_kernel(ret_err, -errno, "connect", "%s", path);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
        return err_set_kernel(ret_err, -errno, "fcntl", "%s", path);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

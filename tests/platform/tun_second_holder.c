/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue descriptor that was passed on is the same queue: when the process that made it dies, carrier and waiting
 * packets stay. tunwright-netd holds one beside each worker for that reason.
 */
#include "platform.h"

#include <signal.h>
#include <sys/wait.h>

#define PACKETS 5

static void pass(int socket_fd, int fd)
{
    char byte = 0;
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof fd)];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    struct iovec vector = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    if (sendmsg(socket_fd, &message, 0) != 1)
        _exit(1);
}

static int receive(int socket_fd)
{
    char byte;
    int fd;
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof fd)];
    } control;
    struct iovec vector = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    if (recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message))
        platform_broken("recvmsg");
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

/* A process that makes a persistent device, passes its queue on where `socket_fd` is one, and waits to be killed. */
static pid_t holder(const char *name, int socket_fd)
{
    int ready[2];
    char byte = 0;
    if (pipe2(ready, O_CLOEXEC) < 0)
        platform_broken("pipe2");
    pid_t pid = fork();
    if (pid < 0)
        platform_broken("fork");
    if (pid == 0) {
        int fd = platform_tun_open();
        if (platform_tun_set(fd, name, IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, NULL) || ioctl(fd, TUNSETPERSIST, 1) < 0)
            _exit(1);
        if (socket_fd >= 0)
            pass(socket_fd, fd);
        if (write(ready[1], &byte, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    if (read(ready[0], &byte, 1) != 1)
        platform_broken("the holder's start");
    close(ready[0]);
    close(ready[1]);
    return pid;
}

int main(void)
{
    platform_start(true);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        platform_broken("socketpair");

    pid_t pid = holder("tun0", pair[0]);
    int fd = receive(pair[1]);
    platform_address("tun0", "10.11.12.1");
    platform_up("tun0");
    int errors = 0;
    for (int i = 0; i < PACKETS; i++)
        errors |= platform_send("10.11.12.2", (char)('a' + i));
    PROVE(errors == 0, "packets wait in the device's queue");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    usleep(200000); /* a carrier that goes is shown a moment later: nothing happens that could be waited for */
    PROVE((platform_flags("tun0") & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING),
          "the carrier stays when one of two holders is killed");
    PROVE(platform_read_datagrams(fd, 'a') == PACKETS, "and the other holder reads all that waited, in order");
    errors = platform_send("10.11.12.2", 'z');
    PROVE(errors == 0 && platform_read_datagrams(fd, 'z') == 1, "and what comes later");

    pid = holder("tun1", -1);
    platform_address("tun1", "10.11.13.1");
    platform_up("tun1");
    for (int i = 0; i < PACKETS; i++)
        platform_send("10.11.13.2", (char)('a' + i));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    PROVE(platform_becomes("tun1", IFF_RUNNING, 0), "without a second holder the carrier goes");
    int late = platform_tun_open();
    PROVE(platform_tun_set(late, "tun1", IFF_TUN | IFF_NO_PI, NULL) == 0 && platform_read_datagrams(late, 'a') == 0,
          "and what waited is lost to whoever attaches next");
    return platform_failed;
}

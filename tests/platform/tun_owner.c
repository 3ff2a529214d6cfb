/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may attach a queue. A multi-queue device with neither owner nor group is open to everybody who can open
 * /dev/net/tun (0666 with udev's rules), who then gets a share of its packets; and neither can be taken away again. So
 * net_tun_create sets an owner that nobody is.
 */
#include "platform.h"

#include <grp.h>
#include <sys/wait.h>

#define NOBODY_AT_ALL 4294967294UL
#define FLAGS         (IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE)

/* What TUNSETIFF answers to a process of that uid and gid: 0 or a negative errno. The descriptor is opened before. */
static int attach_as(unsigned uid, unsigned gid)
{
    int fd = platform_tun_open(), status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        platform_broken("fork");
    if (pid == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
            _exit(255);
        _exit(-platform_tun_set(fd, "tun0", FLAGS, NULL));
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == 255)
        platform_broken("another user");
    close(fd);
    return -WEXITSTATUS(status);
}

int main(void)
{
    platform_start(true);
    int fd = platform_tun_open();
    if (platform_tun_set(fd, "tun0", FLAGS | IFF_TUN_EXCL, NULL))
        platform_broken("TUNSETIFF");
    /* a newer kernel may refuse: then the owner that nobody is does no harm */
    printf("with neither owner nor group: %s\n", attach_as(1234, 1234) == 0 ? "anybody attaches" : "nobody attaches");
    PROVE(ioctl(fd, TUNSETOWNER, 4294967295UL) < 0 && errno == EINVAL, "an owner cannot be taken away (EINVAL)");
    PROVE(ioctl(fd, TUNSETGROUP, 4294967295UL) < 0 && errno == EINVAL, "nor can a group (EINVAL)");
    PROVE(ioctl(fd, TUNSETOWNER, 1234UL) == 0 && attach_as(1234, 1234) == 0, "the owner attaches");
    PROVE(attach_as(1235, 1234) == -EPERM, "another user does not");
    PROVE(ioctl(fd, TUNSETOWNER, NOBODY_AT_ALL) == 0, "the last number of all can be the owner");
    PROVE(attach_as(1234, 1234) == -EPERM && attach_as(65534, 65534) == -EPERM, "and then nobody attaches");
    int root = platform_tun_open();
    PROVE(platform_tun_set(root, "tun0", FLAGS, NULL) == 0, "but who has CAP_NET_ADMIN");
    return platform_failed;
}

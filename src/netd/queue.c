/* SPDX-License-Identifier: Apache-2.0 */
/* queue: where a queue descriptor leads to. */
#include "devices.h"

#include <dirent.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#ifndef TUNGETDEVNETNS
#define TUNGETDEVNETNS _IO('T', 227)
#endif

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The name of the netns that the queue's device lives in: "" for our own. */
static int queue_netns(int queue, char ret_name[static NETNS_NAME_SIZE])
{
    struct stat its, other;
    int fd CLEANUP(fd_done) = ioctl(queue, TUNGETDEVNETNS);
    if (fd < 0 || fstat(fd, &its) < 0)
        return -errno;
    if (stat("/proc/self/ns/net", &other) == 0 && same_file(&its, &other)) {
        ret_name[0] = '\0';
        return 0;
    }
    DIR *directory = opendir("/run/netns");
    int result = -ENOENT;
    for (struct dirent *entry; directory && result < 0 && (entry = readdir(directory));) {
        if (netns_name_is_valid(entry->d_name) && fstatat(dirfd(directory), entry->d_name, &other, 0) == 0 &&
            same_file(&its, &other))
            result = text_copy(ret_name, NETNS_NAME_SIZE, entry->d_name);
    }
    if (directory)
        closedir(directory);
    return result;
}

static bool is_tun_file(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(10, 200);
}

int queue_locate(int queue, struct device_key *key)
{
    short flags;
    /* no ioctl on what may be any file: first it must be /dev/net/tun */
    if (!is_tun_file(queue) || net_tun_name(queue, key->name, &flags) < 0 || !device_name_is_valid(key->name))
        return -EBADFD;
    return queue_netns(queue, key->netns);
}

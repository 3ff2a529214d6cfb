/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udev is told of a device when it is made, which is before it can carry our alias, and of an alias it is not told at
 * all. packaging/systemd/70-tunwright.rules knows our devices by it, so udev is asked to look again. sysfs shows the
 * namespace that it was mounted in, where the device may be another of the same name, or none: it must have our alias.
 */
#include "udev.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a small file of sysfs holds, without its newline; "" where it cannot be read. */
static void attribute_read(int directory, const char *name, char *ret_text, size_t size)
{
    int fd CLEANUP(fd_done) = openat(directory, name, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, ret_text, size - 1);
    ret_text[length > 0 ? length : 0] = '\0';
    ret_text[strcspn(ret_text, "\n")] = '\0';
}

void udev_look_again(const struct device_key *key)
{
    static const char change[] = "change";
    char path[sizeof "/sys/class/net/" + DEVICE_NAME_SIZE], uuid[UUID_TEXT_SIZE];
    char wanted[sizeof NET_ALIAS_PREFIX + UUID_TEXT_SIZE], found[sizeof wanted + 1];
    if (access("/run/udev/control", F_OK) != 0)
        return;
    snprintf(path, sizeof path, "/sys/class/net/%s", key->name);
    int directory CLEANUP(fd_done) = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return;
    snprintf(wanted, sizeof wanted, NET_ALIAS_PREFIX "%s", uuid_print(&key->uuid, uuid));
    attribute_read(directory, "ifalias", found, sizeof found);
    if (strcmp(found, wanted) != 0)
        return;
    int fd CLEANUP(fd_done) = openat(directory, "uevent", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, change, sizeof change - 1) < 0)
        return; /* nobody but udev is waiting for it */
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "page.h"

#include "tunwright/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

#define PAGE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int memfd_create_sealed(const char *name, size_t size, const void *head, size_t head_length, int *ret_fd,
                        struct err *ret_err)
{
    int fd CLEANUP(fd_done) = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "memfd_create", "cannot make %s", name);
    /* 0600 of our own: who gets it for reading cannot open it again for writing */
    if (ftruncate(fd, (off_t)size) < 0 || fchmod(fd, 0600) < 0 ||
        pwrite(fd, head, head_length, 0) != (ssize_t)head_length || fcntl(fd, F_ADD_SEALS, PAGE_SEALS) < 0)
        return err_set_kernel(ret_err, errno ? -errno : -EIO, "memfd_create", "cannot fill %s", name);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int page_create(int *ret_fd, struct err *ret_err)
{
    static const struct counter_page empty = {
        .magic = COUNTER_PAGE_MAGIC, .version = COUNTER_PAGE_VERSION, .slot_count = COUNTER_SLOTS};
    struct counter_page page = empty;
    page.since_ns = clock_realtime_ns();
    return memfd_create_sealed("tunwright-counters", COUNTER_PAGE_SIZE, &page, sizeof page, ret_fd, ret_err);
}

bool page_is_sound(int fd)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS); /* fails on whatever is no memfd */
    int flags = fcntl(fd, F_GETFL);
    return seals >= 0 && (seals & PAGE_SEALS) == PAGE_SEALS && flags >= 0 && (flags & O_ACCMODE) == O_RDWR &&
           fstat(fd, &status) == 0 && status.st_size == COUNTER_PAGE_SIZE;
}

int page_open_read_only(int fd, int *ret_fd, struct err *ret_err)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int copy = open(path, O_RDONLY | O_CLOEXEC);
    if (copy < 0)
        return err_set_kernel(ret_err, -errno, "open", "cannot open the counter page for reading");
    *ret_fd = copy;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/counters.h"

#include "tunwright/base.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

int counter_page_map(int fd, struct counter_page **ret_page, struct err *ret_err)
{
    struct counter_page *page;
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);

    if (fstat(fd, &status) < 0)
        return err_set_kernel(ret_err, -errno, "fstat", "the counter page");
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || status.st_size != COUNTER_PAGE_SIZE)
        return err_set(ret_err, -EINVAL, ERR_WORKER_FAILED, "",
                       "the counter page is not a sealed memory file of %d bytes", COUNTER_PAGE_SIZE);
    page = mmap(NULL, COUNTER_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return err_set_kernel(ret_err, -errno, "mmap", "the counter page");
    if (page->magic != COUNTER_PAGE_MAGIC || page->version != COUNTER_PAGE_VERSION ||
        page->slot_count != COUNTER_SLOTS) {
        counter_page_unmap(page);
        return err_set(ret_err, -EINVAL, ERR_WORKER_FAILED, "", "the counter page is not of a version known here");
    }
    __atomic_store_n(&page->features, WORKER_FEATURE_CAPTURE, __ATOMIC_RELAXED);
    *ret_page = page;
    return 0;
}

void counter_page_unmap(struct counter_page *page)
{
    if (page)
        munmap(page, COUNTER_PAGE_SIZE);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct counter_mapping *counter_mapping_new(struct kernel *kernel, const struct uuid *uuid)
{
    struct counter_mapping *mapping = calloc(1, sizeof(*mapping));
    const struct counter_page *page = NULL;

    if (!mapping)
        return NULL;
    if (kernel->ops->page(kernel, uuid, &page, NULL) < 0) {
        free(mapping);
        return NULL;
    }
    atomic_init(&mapping->references, 1);
    mapping->page = page;
    return mapping;
}

struct counter_mapping *counter_mapping_share(struct counter_mapping *mapping)
{
    if (mapping)
        atomic_fetch_add_explicit(&mapping->references, 1, memory_order_relaxed);
    return mapping;
}

void counter_mapping_release(struct counter_mapping *mapping)
{
    if (!mapping || atomic_fetch_sub_explicit(&mapping->references, 1, memory_order_acq_rel) != 1)
        return;
    (void)munmap((void *)(uintptr_t)mapping->page, COUNTER_PAGE_SIZE);
    free(mapping);
}

void engine_counters(struct engine *engine, const struct snapshot_device *device, struct counters *ret_counters)
{
    struct kernel *kernel = engine->kernel; /* set before the thread was started, and never again */

    memset(ret_counters, 0, sizeof(*ret_counters));
    if (device->present)
        ret_counters->has_kernel =
            kernel->ops->stats(kernel, device->stored.device->netns, device->ifindex, &ret_counters->kernel) == 0;
    if (device->counters) {
        const struct counter_page *page = device->counters->page;

        ret_counters->has_worker = true;
        ret_counters->since_ns = __atomic_load_n(&page->since_ns, __ATOMIC_RELAXED);
        counter_page_sum(page, &ret_counters->worker);
    }
    ret_counters->time_ns = clock_realtime_ns();
}

int engine_capture(struct engine *engine, const struct snapshot_device *device, const struct capture_order *order,
                   int *ret_area, int *ret_hold, struct err *ret_err)
{
    struct kernel *kernel = engine->kernel;
    const struct counter_mapping *counters = device->counters;

    if (!device->has_worker)
        return err_set(ret_err, -EOPNOTSUPP, ERR_WORKER_FAILED, "", "%s has no worker that could capture",
                       device->stored.device->name);
    if (!kernel->ops->capture || !counters || !counter_page_has_feature(counters->page, WORKER_FEATURE_CAPTURE))
        return err_set(ret_err, -EOPNOTSUPP, ERR_WORKER_FAILED, "", "the worker of %s cannot capture, or not yet",
                       device->stored.device->name);
    return kernel->ops->capture(kernel, &device->stored.uuid, order, ret_area, ret_hold, ret_err);
}

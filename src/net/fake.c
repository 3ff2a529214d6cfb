/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider over a kernel in memory. It does what tunwright-netd and the kernel do together, each step at once.
 */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define FAKE_PID_FIRST 1000 /* a worker's pid: this and its place in the order of starts */

static struct kernel_fake *fake_of(struct kernel *kernel)
{
    return (struct kernel_fake *)kernel; /* its first member */
}

static int fake_disconnected(struct err *ret_err)
{
    return err_set(ret_err, -ENOTCONN, ERR_NETD_UNAVAILABLE, "", "tunwright-netd cannot be reached");
}

/* ---- observe ----------------------------------------------------------------------------------------------------- */

/* Returns owned memory; NULL for nothing to copy, too. */
static void *copy_array(const void *items, size_t count, size_t size)
{
    void *copy = count ? calloc(count, size) : NULL;
    if (copy)
        memcpy(copy, items, count * size);
    return copy;
}

static bool netns_is_among(const char *netns, const char *const *list, size_t count)
{
    bool found = netns[0] == '\0';
    for (size_t i = 0; !found && i < count; i++)
        found = strcmp(netns, list[i]) == 0;
    return found;
}

static int observe_link(const struct observed_link *link, struct observed *observed)
{
    int error = array_grow((void **)&observed->links, &observed->link_capacity, observed->link_count, sizeof *link);
    if (error)
        return error;
    struct observed_link *copy = &observed->links[observed->link_count++];
    *copy = *link;
    copy->addresses = copy_array(link->addresses, link->address_count, sizeof *link->addresses);
    copy->routes = copy_array(link->routes, link->route_count, sizeof *link->routes);
    copy->foreign_routes = copy_array(link->foreign_routes, link->foreign_route_count, sizeof *link->foreign_routes);
    return (link->address_count && !copy->addresses) || (link->route_count && !copy->routes) ||
                   (link->foreign_route_count && !copy->foreign_routes)
               ? -ENOMEM
               : 0;
}

static int observe_worker(const struct observed_worker *worker, struct observed *observed)
{
    int error =
        array_grow((void **)&observed->workers, &observed->worker_capacity, observed->worker_count, sizeof *worker);
    if (error)
        return error;
    struct observed_worker *copy = &observed->workers[observed->worker_count++];
    *copy = *worker;
    copy->status = strdup(worker->status ? worker->status : "");
    return copy->status ? 0 : -ENOMEM;
}

static int fake_observe(struct kernel *kernel, const char *const *netns, size_t netns_count,
                        struct observed *ret_observed, struct err *ret_err)
{
    const struct kernel_fake *fake = fake_of(kernel);
    const struct observed *state = &fake->state;
    if (fake->disconnected)
        return fake_disconnected(ret_err);
    CLEANUP(observed_done)
    struct observed observed = {.unattached_count = state->unattached_count,
                                .unattached_capacity = state->unattached_count};
    observed.unattached = copy_array(state->unattached, state->unattached_count, sizeof *state->unattached);
    int error = state->unattached_count && !observed.unattached ? -ENOMEM : 0;
    for (size_t i = 0; !error && i < state->link_count; i++) {
        if (netns_is_among(state->links[i].netns, netns, netns_count))
            error = observe_link(&state->links[i], &observed);
    }
    for (size_t i = 0; !error && i < state->worker_count; i++)
        error = observe_worker(&state->workers[i], &observed);
    if (error)
        return err_no_memory(ret_err);
    *ret_observed = observed;
    memset(&observed, 0, sizeof observed);
    return 0;
}

/* ---- workers ----------------------------------------------------------------------------------------------------- */

static struct observed_worker *worker_find(struct kernel_fake *fake, const struct uuid *uuid)
{
    for (size_t i = 0; i < fake->state.worker_count; i++) {
        if (uuid_equal(&fake->state.workers[i].uuid, uuid))
            return &fake->state.workers[i];
    }
    return NULL;
}

/* What it was last told to be bound to is in the log. What stays where it is, a worker keeps. */
static bool worker_has_socket(struct kernel_fake *fake, const struct step *told, const struct socket_spec *socket,
                              bool keeps)
{
    bool has = false;
    for (size_t i = 0; !has && i < told->worker.socket_spec_count; i++) {
        const struct socket_spec *held = &told->worker.sockets[i];
        has = socket_specs_collide(held, socket) && !(keeps && ip_addr_equal(&held->local.addr, &socket->local.addr));
    }
    if (!has || !worker_find(fake, &told->device.uuid))
        return false;
    for (const struct step *later = told + 1; later < fake->log + fake->log_count; later++)
        if ((later->kind == STEP_WORKER_START || later->kind == STEP_WORKER_CONFIGURE) &&
            uuid_equal(&later->device.uuid, &told->device.uuid))
            return false;
    return true;
}

static int sockets_check(struct kernel_fake *fake, const struct device_key *key, const struct worker_spec *spec,
                         struct err *ret_err)
{
    for (size_t s = 0; s < spec->socket_spec_count; s++)
        for (size_t i = 0; i < fake->log_count; i++) {
            const struct step *told = &fake->log[i];
            if ((told->kind != STEP_WORKER_START && told->kind != STEP_WORKER_CONFIGURE) ||
                !worker_has_socket(fake, told, &spec->sockets[s], uuid_equal(&told->device.uuid, &key->uuid)))
                continue;
            err_set_kernel(ret_err, -EADDRINUSE, "bind", "a worker has the address");
            if (ret_err)
                ret_err->code = ERR_ADDRESS_IN_USE;
            return -EADDRINUSE;
        }
    return 0;
}

static int worker_start(struct kernel_fake *fake, const struct device_key *key, const struct worker_spec *spec,
                        struct err *ret_err)
{
    struct observed *state = &fake->state;
    if (!fake_link_find(fake, key, ret_err))
        return -ENODEV;
    if (worker_find(fake, &key->uuid))
        return err_set(ret_err, -EEXIST, ERR_ALREADY_EXISTS, "/worker", "the device %s has a worker", key->name);
    int result = sockets_check(fake, key, spec, ret_err);
    if (result < 0)
        return result;
    struct observed_worker worker = {
        .uuid = key->uuid,
        .state = WORKER_RUNNING,
        .pid = (int32_t)(FAKE_PID_FIRST + fake->applied),
        .started_ns = clock_realtime_ns(),
        .tag = spec->tag,
        .status = strdup(""),
    };
    memcpy(worker.program, spec->program, sizeof worker.program);
    if (!worker.status ||
        array_grow((void **)&state->workers, &state->worker_capacity, state->worker_count, sizeof worker)) {
        free(worker.status);
        return err_no_memory(ret_err);
    }
    state->workers[state->worker_count++] = worker;
    return 0;
}

static int worker_configure(struct kernel_fake *fake, const struct device_key *key, const struct worker_spec *spec,
                            struct err *ret_err)
{
    struct observed_worker *worker = worker_find(fake, &key->uuid);
    if (!worker)
        return err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "/worker", "the device %s has no worker", key->name);
    int result = sockets_check(fake, key, spec, ret_err);
    if (result < 0)
        return result;
    worker->tag = spec->tag;
    memcpy(worker->program, spec->program, sizeof worker->program);
    return 0;
}

static int worker_stop(struct kernel_fake *fake, const struct device_key *key, struct err *ret_err)
{
    struct observed *state = &fake->state;
    struct observed_worker *worker = worker_find(fake, &key->uuid);
    if (!worker)
        return err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "/worker", "the device %s has no worker", key->name);
    free(worker->status);
    size_t index = (size_t)(worker - state->workers);
    memmove(worker, worker + 1, (state->worker_count - index - 1) * sizeof *worker);
    state->worker_count--;
    return 0;
}

/* ---- apply ------------------------------------------------------------------------------------------------------- */

static int fake_carry_out(struct kernel_fake *fake, const struct step *step, struct err *ret_err)
{
    const struct device_key *key = &step->device;
    switch (step->kind) {
    case STEP_DEVICE_ADOPT:
        return fake_device_adopt(fake, key, &step->adopt, ret_err);
    case STEP_DEVICE_RELEASE:
        return fake_device_release(fake, key, ret_err);
    case STEP_WORKER_STOP:
        return worker_stop(fake, key, ret_err);
    case STEP_ROUTE_DELETE:
        return fake_route_delete(fake, key, &step->route, step->protocol, ret_err);
    case STEP_ADDRESS_DELETE:
        return fake_address_delete(fake, key, &step->address, ret_err);
    case STEP_DEVICE_DELETE:
        return fake_device_delete(fake, key, ret_err);
    case STEP_DEVICE_CREATE:
        return fake_device_create(fake, key, &step->create, ret_err);
    case STEP_LINK_SET:
        return fake_link_set(fake, key, &step->link, ret_err);
    case STEP_ADDRESS_ADD:
        return fake_address_add(fake, key, &step->address, ret_err);
    case STEP_ROUTE_ADD:
        return fake_route_add(fake, key, &step->route, ret_err);
    case STEP_WORKER_START:
        return worker_start(fake, key, &step->worker, ret_err);
    case STEP_WORKER_CONFIGURE:
        return worker_configure(fake, key, &step->worker, ret_err);
    case STEP_KIND_N:
        break;
    }
    return err_set(ret_err, -EINVAL, ERR_INTERNAL, "", "not a step");
}

static void fake_announce(const struct kernel_fake *fake)
{
    uint64_t one = 1;
    (void)!write(fake->event_fd, &one, sizeof one); /* full: then it is readable already */
}

static int fake_apply(struct kernel *kernel, const struct step *step, struct err *ret_err)
{
    struct kernel_fake *fake = fake_of(kernel);
    if (fake->disconnected)
        return fake_disconnected(ret_err);
    if (fake->fail_at > 0 && --fake->fail_at == 0)
        return err_set_kernel(ret_err, -abs(fake->fail_errno ? fake->fail_errno : EIO), "fake", "cannot do %s for %s",
                              step_kind_name(step->kind), step->device.name);
    if (array_grow((void **)&fake->log, &fake->log_capacity, fake->log_count, sizeof *fake->log))
        return err_no_memory(ret_err);
    int error = fake_carry_out(fake, step, ret_err);
    if (error)
        return error;
    struct step *logged = &fake->log[fake->log_count++];
    *logged = *step;
    if (step->kind == STEP_WORKER_START || step->kind == STEP_WORKER_CONFIGURE) {
        logged->worker.config = NULL; /* borrowed: the text is the caller's */
        logged->worker.config_length = 0;
    }
    fake->applied++;
    fake_announce(fake);
    return 0;
}

/* By whatever `apply` there is: tests put their own in front of ours. */
static void fake_apply_run(struct kernel *kernel, const struct step *steps, size_t count,
                           struct step_result *ret_results)
{
    for (size_t i = 0; i < count; i++) {
        ret_results[i] = (struct step_result){0};
        ret_results[i].error = kernel->ops->apply(kernel, &steps[i], &ret_results[i].err);
    }
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static int fake_page(struct kernel *kernel, const struct uuid *device, const struct counter_page **ret_page,
                     struct err *ret_err)
{
    struct kernel_fake *fake = fake_of(kernel);
    if (fake->disconnected)
        return fake_disconnected(ret_err);
    const struct observed_worker *worker = worker_find(fake, device);
    if (!worker)
        return err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "", "no such worker");
    void *memory = mmap(NULL, COUNTER_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return err_no_memory(ret_err);
    struct counter_page *page = memory;
    page->magic = COUNTER_PAGE_MAGIC;
    page->version = COUNTER_PAGE_VERSION;
    page->slot_count = COUNTER_SLOTS;
    page->since_ns = worker->started_ns;
    mprotect(memory, COUNTER_PAGE_SIZE, PROT_READ);
    *ret_page = page;
    return 0;
}

/* From any thread: so it looks at nothing. */
static int fake_stats(struct kernel *kernel, const char *netns, uint32_t ifindex, struct link_stats *ret_stats)
{
    (void)kernel;
    (void)netns;
    (void)ifindex;
    *ret_stats = (struct link_stats){0};
    return 0;
}

static int fake_event_fd(struct kernel *kernel)
{
    return fake_of(kernel)->event_fd;
}

static bool fake_event_drain(struct kernel *kernel)
{
    uint64_t count;
    return read(fake_of(kernel)->event_fd, &count, sizeof count) == sizeof count;
}

static bool fake_connected(struct kernel *kernel)
{
    return !fake_of(kernel)->disconnected;
}

static void fake_close(struct kernel *kernel)
{
    struct kernel_fake *fake = fake_of(kernel);
    observed_done(&fake->state);
    free(fake->log);
    fd_done(&fake->event_fd);
    free(fake);
}

static const struct kernel_ops FAKE_OPS = {
    .observe = fake_observe,
    .apply = fake_apply,
    .apply_run = fake_apply_run,
    .page = fake_page,
    .stats = fake_stats,
    .event_fd = fake_event_fd,
    .event_drain = fake_event_drain,
    .connected = fake_connected,
    .close = fake_close,
};

struct kernel_fake *kernel_fake_new(void)
{
    struct kernel_fake *fake = calloc(1, sizeof *fake);
    if (!fake)
        return NULL;
    fake->kernel.ops = &FAKE_OPS;
    fake->next_ifindex = 2; /* 1 is lo */
    fake->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fake->event_fd < 0) {
        free(fake);
        return NULL;
    }
    return fake;
}

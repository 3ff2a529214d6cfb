/* SPDX-License-Identifier: Apache-2.0 */
#include "netd.h"

#include "devices.h"
#include "dispatch.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/time.h>

int watch_add(struct netd *netd, struct watch *watch, int fd, uint32_t events, void (*ready)(void *, uint32_t),
              void *context)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(netd->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    *watch = (struct watch){.fd = fd, .ready = ready, .context = context};
    return 0;
}

void watch_set(struct netd *netd, struct watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (watch->fd >= 0)
        epoll_ctl(netd->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void watch_remove(struct netd *netd, struct watch *watch)
{
    /* explicitly: a descriptor that a child or a receiver holds too would stay in the set after its close(2) */
    if (watch->fd >= 0)
        epoll_ctl(netd->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->fd = -1;
}

void watch_close(struct netd *netd, struct watch *watch)
{
    int fd = watch->fd;
    watch_remove(netd, watch);
    fd_done(&fd);
}

void loop_hurry(bool on)
{
    static const struct itimerval off;
    static const struct itimerval soon = {.it_value.tv_usec = 200000, .it_interval.tv_usec = 10000};
    setitimer(ITIMER_REAL, on ? &soon : &off, NULL);
}

bool netd_may_log(struct netd *netd)
{
    if (!rate_limit_permits(&netd->refusals, clock_monotonic_ns()))
        return false;
    if (netd->refusals.suppressed > 0)
        log_warning("%llu lines about refusals were left out", (unsigned long long)netd->refusals.suppressed);
    netd->refusals.suppressed = 0;
    return true;
}

void text_copy_printable(char *out, size_t size, const char *text, size_t length)
{
    bool cut = length > size - 1;
    if (cut)
        length = size - 1;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        out[i] = byte < 0x20 || byte == 0x7f ? ' ' : (char)byte;
    }
    /* a cut may have gone through a character: let up to three bytes of it go */
    size_t kept = length;
    for (int i = 0; cut && i < 3 && kept > 0 && !utf8_is_valid(out, kept); i++)
        kept--;
    if (utf8_is_valid(out, kept))
        length = kept;
    else
        for (size_t i = 0; i < length; i++)
            if ((unsigned char)out[i] >= 0x80)
                out[i] = '?';
    while (length > 0 && out[length - 1] == ' ')
        length--;
    out[length] = '\0';
}

static int timeout_until(int64_t due_ns)
{
    if (due_ns == INT64_MAX)
        return -1;
    int64_t left_ns = due_ns - clock_monotonic_ns();
    if (left_ns <= 0)
        return 0;
    int64_t left_ms = (left_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

int netd_run(struct netd *netd, struct err *ret_err)
{
    while (!netd->quit) {
        struct epoll_event event;
        /* one at a time, so that no event of a batch can belong to what an earlier one's handler has freed; the kernel
         * moves a descriptor that stays ready to the end of its list, so everybody has a turn */
        int count = epoll_wait(netd->epoll_fd, &event, 1, timeout_until(netd->due_ns));
        if (count < 0 && errno != EINTR)
            return err_set_kernel(ret_err, -errno, "epoll_wait", "the loop broke");
        loop_hurry(true);
        if (count > 0) {
            const struct watch *watch = event.data.ptr;
            watch->ready(watch->context, event.events);
        }
        devices_tick(netd, clock_monotonic_ns());
        loop_hurry(false);
    }
    return 0;
}

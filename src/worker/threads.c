/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/threads.h"

#include "worker/forwarder.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>

/* Packets are in the lane's buffers: what is on the stack is small. Sanitizers put more on it. */
#ifdef TUNWRIGHT_SANITIZED
#define STACK_SIZE (1024 * 1024)
#else
#define STACK_SIZE (128 * 1024)
#endif
#define NAME_SIZE 16 /* the kernel's, with its NUL */

void threads_init(struct threads *threads)
{
    *threads = (struct threads){.stop_fd = -1, .news_fd = -1};
    sem_init(&threads->gate, 0, 0);
}

/* ---- on the thread ----------------------------------------------------------------------------------------------- */

static void thread_name(const struct lane *lane)
{
    char name[NAME_SIZE];

    /* "tw-tun0-1"; of a long name the beginning */
    snprintf(name, sizeof(name), "tw-%.9s-%zu", lane->config->device, lane->index);
    pthread_setname_np(pthread_self(), name);
}

/* All of them are the main thread's, but those that a fault of this one raises. */
static void thread_block_signals(void)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigset_t signals;

    sigfillset(&signals);
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        sigdelset(&signals, own[i]);
    pthread_sigmask(SIG_SETMASK, &signals, NULL);
}

static void thread_tell(struct threads *threads)
{
    if (!__atomic_exchange_n(&threads->told, true, __ATOMIC_ACQ_REL))
        eventfd_write(threads->news_fd, 1);
}

/* False: it is to end. */
static bool thread_turn(const struct thread *thread)
{
    struct lane *lane = thread->lane;
    struct pollfd stop = {.fd = thread->threads->stop_fd, .events = POLLIN};
    struct pollfd waits[] = {lane_wait_queue(lane), lane_wait_socket(lane), stop};

    if (poll(waits, ARRAY_SIZE(waits), lane_wait_ms(lane->timer_ns)) < 0)
        return true; /* out of memory for a moment */
    if (waits[2].revents != 0)
        return false;
    lane_on_queue(lane, waits[0].revents);
    lane_on_socket(lane, waits[1].revents);
    lane_on_time(lane);
    if (lane_publish(lane))
        thread_tell(thread->threads);
    return true;
}

static void *thread_main(void *argument)
{
    const struct thread *thread = argument;

    thread_block_signals();
    thread_name(thread->lane);
    while (sem_wait(&thread->threads->gate) < 0)
        continue;
    while (thread_turn(thread))
        continue;
    return NULL;
}

/* ---- on the main thread ------------------------------------------------------------------------------------------ */

int threads_start(struct threads *threads, struct lane *lanes, size_t lane_count, struct err *ret_err)
{
    pthread_attr_t shape;
    int r = 0;

    if (lane_count < 2)
        return 0;
    threads->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    threads->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (threads->stop_fd < 0 || threads->news_fd < 0)
        return err_set_kernel(ret_err, -errno, "eventfd", "the lanes");
    pthread_attr_init(&shape);
    pthread_attr_setstacksize(&shape, STACK_SIZE);
    for (size_t i = 1; i < lane_count && r == 0; i++) {
        struct thread *thread = &threads->all[i - 1];

        *thread = (struct thread){.threads = threads, .lane = &lanes[i]};
        r = -pthread_create(&thread->id, &shape, thread_main, thread);
        if (r == 0)
            threads->count = i;
    }
    pthread_attr_destroy(&shape);
    if (r == 0)
        return 0;
    threads_stop(threads);
    return err_set_kernel(ret_err, r, "pthread_create", "%zu lanes", lane_count);
}

void threads_go(struct threads *threads)
{
    for (size_t i = 0; i < threads->count; i++)
        sem_post(&threads->gate);
}

void threads_stop(struct threads *threads)
{
    if (threads->count > 0) {
        eventfd_write(threads->stop_fd, 1);
        threads_go(threads);
    }
    for (size_t i = 0; i < threads->count; i++)
        pthread_join(threads->all[i].id, NULL);
    threads->count = 0;
    fd_done(&threads->stop_fd);
    fd_done(&threads->news_fd);
}

void threads_hear(struct threads *threads)
{
    eventfd_t count;

    eventfd_read(threads->news_fd, &count);
}

void threads_take_news(struct threads *threads)
{
    /* an exchange, and no store: what was published before the flag was raised is to be seen after this */
    (void)__atomic_exchange_n(&threads->told, false, __ATOMIC_ACQ_REL);
}

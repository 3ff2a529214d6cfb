/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything the main thread waits for is in one epoll set: control, and lane 0. A wake-up goes through
 *
 *     control, listening socket, signal  ─ first, because they may change all the rest
 *     queue 0, socket 0                  ─ one bounded turn each (lane.h), in the order in which they became ready
 *     news of the other lanes            ─ which run on threads of their own (threads.h), where there are any
 *
 * so that control is heard between any two turns. There is no tick; a timer runs only while somebody has something to
 * say.
 */
#include "worker/loop.h"

#include "worker/control.h"
#include "worker/forwarder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGES_AT_ONCE   4
#define STATUS_INTERVAL_NS NSEC_PER_SEC
#define EVENTS_MAX         6 /* one of each source that is here */

struct loop {
    int epoll_fd, signal_fd;
    int control_fd; /* always the same number; `connected` says whether there is something behind */
    int listen_fd;
    bool connected;
    bool stop;
    struct forwarder *forwarder;           /* NULL before the first configuration */
    char *status;                          /* what was sent last; owned */
    int64_t status_sent_ns, status_due_ns; /* CLOCK_MONOTONIC; due 0: nothing to send */
    struct control_buffer buffer;
};

static int loop_watch(struct loop *loop, int fd, enum source source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};

    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void loop_unwatch(struct loop *loop, int fd)
{
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* Its first lane, and what the others have to say. */
static int loop_watch_forwarder(struct loop *loop, struct forwarder *forwarder, struct err *ret_err)
{
    int r = lane_watch(&forwarder->lanes[0], loop->epoll_fd);

    if (r == 0 && forwarder->threads.news_fd >= 0) {
        r = loop_watch(loop, forwarder->threads.news_fd, SOURCE_NEWS);
        if (r < 0)
            lane_unwatch(&forwarder->lanes[0]);
    }
    return r < 0 ? err_set_kernel(ret_err, r, "epoll_ctl", "the descriptors") : 0;
}

/* ---- control ----------------------------------------------------------------------------------------------------- */

static void loop_disconnect(struct loop *loop)
{
    loop_unwatch(loop, loop->control_fd);
    close(loop->control_fd);
    loop->connected = false;
}

static void loop_note_sending(const char *verb, int r)
{
    if (r < 0)
        log_warning("cannot send `%s` to netd: %s", verb, strerror(-r));
}

static void loop_send_status(struct loop *loop, const char *verb)
{
    char *text = forwarder_status(loop->forwarder);
    int r;

    if (!text)
        return;
    r = control_send(loop->control_fd, verb, text, strlen(text), NULL, 0);
    loop_note_sending(verb, r);
    free(loop->status);
    loop->status = text;
    loop->status_sent_ns = clock_monotonic_ns();
    loop->status_due_ns = 0;
    if (r == -EAGAIN) { /* netd is slow to read */
        text_done(&loop->status);
        loop->status_due_ns = loop->status_sent_ns + STATUS_INTERVAL_NS;
    }
}

static void loop_configure(struct loop *loop, struct control_message *message)
{
    struct forwarder *forwarder = NULL;
    struct err err = {0};
    int r;

    r = forwarder_new(message->packet, message->length, &message->head, message->fds, message->fd_count, &forwarder,
                      &err);
    message->fd_count = 0;
    if (r == 0)
        r = loop_watch_forwarder(loop, forwarder, &err);
    if (r < 0) {
        log_warning("configuration refused: %s%s%s", err.pointer, err.pointer[0] ? ": " : "", err.message);
        loop_note_sending("failed", control_send_failed(loop->control_fd, &err));
        forwarder_free(forwarder);
        return;
    }
    if (loop->forwarder)
        lane_unwatch(&loop->forwarder->lanes[0]);
    forwarder_free(loop->forwarder);
    loop->forwarder = forwarder;
    forwarder_begin(forwarder);
    loop_send_status(loop, "ready");
}

static void loop_attach(struct loop *loop)
{
    const struct forwarder *forwarder = loop->forwarder;
    int r;

    if (forwarder)
        r = control_send(loop->control_fd, "attached", forwarder->message, forwarder->message_length, forwarder->fds,
                         forwarder->fd_count);
    else
        r = control_send(loop->control_fd, "attached", "", 0, NULL, 0);
    loop_note_sending("attached", r);
    if (forwarder)
        loop_send_status(loop, "status");
}

static void loop_handle_message(struct loop *loop, struct control_message *message)
{
    if (strcmp(message->head.verb, "configure") == 0)
        loop_configure(loop, message);
    else if (strcmp(message->head.verb, "attach") == 0)
        loop_attach(loop);
    else if (strcmp(message->head.verb, "stop") == 0)
        loop->stop = true;
    while (message->fd_count > 0)
        fd_done(&message->fds[--message->fd_count]);
}

static void loop_on_control(struct loop *loop)
{
    for (int i = 0; i < MESSAGES_AT_ONCE && loop->connected && !loop->stop; i++) {
        struct control_message message;
        struct err err = {0};
        int r = control_receive(loop->control_fd, &loop->buffer, &message, &err);

        switch (r) {
        case 0:
            loop_handle_message(loop, &message);
            break;
        case -EPROTO:
            log_warning("a message from netd cannot be read: %s", err.message);
            loop_note_sending("failed", control_send_failed(loop->control_fd, &err));
            break;
        case -EAGAIN:
            return;
        default:
            loop_disconnect(loop);
            if (!loop->forwarder) {
                log_error("netd went away before it configured this worker");
                loop->stop = true;
            }
        }
    }
}

/* The newest netd is the one to listen to. */
static void loop_on_listen(struct loop *loop)
{
    int fd = accept4(loop->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            log_warning("cannot accept a new netd: %s", strerror(errno));
            loop_unwatch(loop, loop->listen_fd);
        }
        return;
    }
    if (loop->connected)
        loop_unwatch(loop, loop->control_fd);
    loop->connected = false;
    if (fd != loop->control_fd) {
        if (dup3(fd, loop->control_fd, O_CLOEXEC) < 0) {
            log_warning("cannot take a new netd's connection: %s", strerror(errno));
            close(fd);
            return;
        }
        close(fd);
    }
    loop->connected = loop_watch(loop, loop->control_fd, SOURCE_CONTROL) == 0;
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

/* Status that changed is sent, but not more often than once in an interval, and not where it is the same again. */
static void loop_note_news(struct loop *loop)
{
    if (loop->status_due_ns == 0)
        loop->status_due_ns = loop->status_sent_ns + STATUS_INTERVAL_NS;
}

static void loop_report(struct loop *loop)
{
    char *text;
    bool same;

    if (loop->status_due_ns == 0 || clock_monotonic_ns() < loop->status_due_ns)
        return;
    threads_take_news(&loop->forwarder->threads);
    text = forwarder_status(loop->forwarder);
    same = text && loop->status && strcmp(text, loop->status) == 0;
    free(text);
    loop->status_due_ns = 0;
    if (loop->connected && !same)
        loop_send_status(loop, "status");
}

static void loop_on_time(struct loop *loop)
{
    struct lane *lane = &loop->forwarder->lanes[0];

    lane_on_time(lane);
    if (lane_publish(lane))
        loop_note_news(loop);
    loop_report(loop);
}

/* Milliseconds for epoll_wait; -1: until something happens. */
static int loop_timeout_ms(const struct loop *loop)
{
    int64_t next = loop->status_due_ns, timer = loop->forwarder ? loop->forwarder->lanes[0].timer_ns : 0;

    return lane_wait_ms(timer != 0 && (next == 0 || timer < next) ? timer : next);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static void loop_handle_first(struct loop *loop, const struct epoll_event *event)
{
    switch ((enum source)event->data.u32) {
    case SOURCE_SIGNAL:
        loop->stop = true;
        break;
    case SOURCE_CONTROL:
        loop_on_control(loop);
        break;
    case SOURCE_LISTEN:
        loop_on_listen(loop);
        break;
    default:
        break;
    }
}

static void loop_handle_packets(struct loop *loop, const struct epoll_event *event)
{
    struct forwarder *forwarder = loop->forwarder;

    switch ((enum source)event->data.u32) {
    case SOURCE_QUEUE:
        lane_on_queue(&forwarder->lanes[0], event->events);
        break;
    case SOURCE_SOCKET:
        lane_on_socket(&forwarder->lanes[0], event->events);
        break;
    case SOURCE_NEWS:
        threads_hear(&forwarder->threads);
        loop_note_news(loop);
        break;
    default:
        break;
    }
}

static int loop_turn(struct loop *loop)
{
    struct epoll_event events[EVENTS_MAX];
    const struct forwarder *before = loop->forwarder;
    int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, loop_timeout_ms(loop));

    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count && !loop->stop; i++)
        loop_handle_first(loop, &events[i]);
    /* After a new configuration the events are about descriptors of the old one: they will be reported again. */
    for (int i = 0; i < count && !loop->stop && loop->forwarder && loop->forwarder == before; i++)
        loop_handle_packets(loop, &events[i]);
    if (loop->forwarder)
        loop_on_time(loop);
    return 0;
}

static int loop_open(struct loop *loop, struct err *ret_err)
{
    sigset_t signals;
    int r;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    loop->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (loop->signal_fd < 0)
        return err_set_kernel(ret_err, -errno, "signalfd", "SIGTERM");
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return err_set_kernel(ret_err, -errno, "epoll_create1", "the event loop");
    r = loop_watch(loop, loop->signal_fd, SOURCE_SIGNAL);
    if (r == 0)
        r = loop_watch(loop, loop->control_fd, SOURCE_CONTROL);
    if (r < 0)
        return err_set_kernel(ret_err, r, "epoll_ctl", "the control socket");
    loop->connected = true;
    r = fd_set_nonblocking(loop->listen_fd);
    if (r == 0)
        r = loop_watch(loop, loop->listen_fd, SOURCE_LISTEN);
    if (r < 0)
        log_warning("no listening socket, so no later netd can attach: %s", strerror(-r));
    return 0;
}

int loop_run(int control_fd, int listen_fd, struct err *ret_err)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    int r;

    if (!loop)
        return err_no_memory(ret_err);
    *loop = (struct loop){.epoll_fd = -1, .signal_fd = -1, .control_fd = control_fd, .listen_fd = listen_fd};
    r = loop_open(loop, ret_err);
    while (r == 0 && !loop->stop) {
        r = loop_turn(loop);
        if (r < 0)
            err_set_kernel(ret_err, r, "epoll_wait", "the event loop");
    }
    forwarder_free(loop->forwarder);
    fd_done(&loop->epoll_fd);
    fd_done(&loop->signal_fd);
    free(loop->status);
    free(loop);
    return r;
}

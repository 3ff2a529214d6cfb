/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread waits for control and for lane 0. A wake-up goes through
 *
 *     signal, control, listening socket  ─ first, because they may change all the rest
 *     queue 0, socket 0                  ─ one bounded turn each (lane.h)
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
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGES_AT_ONCE   4
#define STATUS_INTERVAL_NS NSEC_PER_SEC

struct loop {
    int signal_fd;
    int control_fd; /* always the same number; `connected` says whether there is something behind */
    int listen_fd;  /* -1 where none works */
    bool connected;
    bool stop;
    struct capture *capture;               /* NULL: nobody captures */
    struct forwarder *forwarder;           /* NULL before the first configuration */
    char *status;                          /* what was sent last; owned */
    int64_t status_sent_ns, status_due_ns; /* CLOCK_MONOTONIC; due 0: nothing to send */
    struct control_buffer buffer;
};

/* ---- control ----------------------------------------------------------------------------------------------------- */

static void loop_disconnect(struct loop *loop)
{
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
    char *text;
    int r;

    threads_take_news(&loop->forwarder->threads); /* whatever was due: this is the status with all of it */
    text = forwarder_status(loop->forwarder);
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
    if (r < 0) {
        log_warning("configuration refused: %s%s%s", err.pointer, err.pointer[0] ? ": " : "", err.message);
        loop_note_sending("failed", control_send_failed(loop->control_fd, &err));
        return;
    }
    forwarder_free(loop->forwarder);
    loop->forwarder = forwarder;
    forwarder->capture = loop->capture;
    forwarder_begin(forwarder);
    loop_send_status(loop, "ready");
}

/* Takes the new one; NULL ends the old one. */
static void loop_set_capture(struct loop *loop, struct capture *capture)
{
    if (loop->forwarder)
        forwarder_set_capture(loop->forwarder, capture);
    capture_close(loop->capture);
    loop->capture = capture;
}

static void loop_capture(struct loop *loop, const struct control_message *message)
{
    struct capture *capture;
    struct err err = {0};

    loop_set_capture(loop, NULL); /* first: it may be the same area, and lanes would go on writing where this begins */
    if (message->fd_count == 0)
        return;
    if (capture_open(message->fds[0], &capture, &err) < 0)
        log_warning("a capture is refused: %s", err.message);
    else
        loop_set_capture(loop, capture);
}

static void loop_attach(struct loop *loop)
{
    const struct forwarder *forwarder = loop->forwarder;
    int r;

    loop_set_capture(loop, NULL); /* the new netd knows of none, and could not end it */
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
    else if (strcmp(message->head.verb, "capture") == 0)
        loop_capture(loop, message);
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
            loop->listen_fd = -1;
        }
        return;
    }
    loop->connected = false;
    if (fd != loop->control_fd) {
        if (dup3(fd, loop->control_fd, O_CLOEXEC) < 0) {
            log_warning("cannot take a new netd's connection: %s", strerror(errno));
            close(fd);
            return;
        }
        close(fd);
    }
    loop->connected = true;
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

/* Milliseconds for poll; -1: until something happens. */
static int loop_timeout_ms(const struct loop *loop)
{
    int64_t next = loop->status_due_ns, timer = loop->forwarder ? loop->forwarder->lanes[0].timer_ns : 0;

    return lane_wait_ms(timer != 0 && (next == 0 || timer < next) ? timer : next);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static int loop_turn(struct loop *loop)
{
    enum { SIGNAL, CONTROL, LISTEN, QUEUE, SOCKET, NEWS };
    const struct pollfd nothing = {.fd = -1};
    struct forwarder *forwarder = loop->forwarder;
    struct pollfd waits[] = {
        [SIGNAL] = {.fd = loop->signal_fd, .events = POLLIN},
        [CONTROL] = {.fd = loop->connected ? loop->control_fd : -1, .events = POLLIN},
        [LISTEN] = {.fd = loop->listen_fd, .events = POLLIN},
        [QUEUE] = forwarder ? lane_wait_queue(&forwarder->lanes[0]) : nothing,
        [SOCKET] = forwarder ? lane_wait_socket(&forwarder->lanes[0]) : nothing,
        [NEWS] = {.fd = forwarder ? forwarder->threads.news_fd : -1, .events = POLLIN},
    };

    if (poll(waits, ARRAY_SIZE(waits), loop_timeout_ms(loop)) < 0)
        return errno == EINTR ? 0 : -errno;
    if (waits[SIGNAL].revents)
        loop->stop = true;
    if (waits[CONTROL].revents)
        loop_on_control(loop);
    if (waits[LISTEN].revents)
        loop_on_listen(loop);
    /* After a new configuration the rest is about descriptors of the old one: it is found again. */
    if (!loop->stop && forwarder && forwarder == loop->forwarder) {
        lane_on_queue(&forwarder->lanes[0], waits[QUEUE].revents);
        lane_on_socket(&forwarder->lanes[0], waits[SOCKET].revents);
        if (waits[NEWS].revents) {
            threads_hear(&forwarder->threads);
            loop_note_news(loop);
        }
    }
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
    loop->connected = true;
    r = fd_set_nonblocking(loop->listen_fd);
    if (r < 0) {
        log_warning("no listening socket, so no later netd can attach: %s", strerror(-r));
        loop->listen_fd = -1;
    }
    return 0;
}

int loop_run(int control_fd, int listen_fd, struct err *ret_err)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    int r;

    if (!loop)
        return err_no_memory(ret_err);
    *loop = (struct loop){.signal_fd = -1, .control_fd = control_fd, .listen_fd = listen_fd};
    r = loop_open(loop, ret_err);
    while (r == 0 && !loop->stop) {
        r = loop_turn(loop);
        if (r < 0)
            err_set_kernel(ret_err, r, "poll", "the event loop");
    }
    forwarder_free(loop->forwarder);
    capture_close(loop->capture);
    fd_done(&loop->signal_fd);
    free(loop->status);
    free(loop);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include "answer.h"
#include "capture_filter.h"
#include "capture_reader.h"
#include "handlers.h"
#include "pcapng.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define READ_SIZE    ((size_t)64 << 10)
#define GATHER_BYTES ((size_t)256 << 10) /* of blocks made at a time */

struct capture {
    struct http_server *server;
    struct MHD_Connection *connection;
    int client_fd; /* borrowed */
    int hold;      /* as long as it is open, netd lets the worker capture; -1: no more. Closed with the mutex */
    struct capture_reader reader;
    uint64_t left;     /* packets; UINT64_MAX: any number */
    int64_t until_ns;  /* CLOCK_MONOTONIC */
    bool is_over;      /* the last block is made */
    struct buf blocks; /* to be sent from `offset` on */
    size_t offset;

    /* guarded by the server's mutex */
    bool suspended;
    struct capture *next, *previous;
};

static void capture_free(struct capture *capture)
{
    if (capture->reader.area)
        (void)munmap(capture->reader.area, CAPTURE_AREA_SIZE);
    fd_done(&capture->hold);
    buf_done(&capture->blocks);
    free(capture);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

/* Whether the other end of a socket has gone, whatever it said before: TLS has a last word. Nothing of it is read. */
static bool is_at_end(int fd)
{
    struct pollfd socket = {.fd = fd, .events = POLLRDHUP};
    return fd < 0 || poll(&socket, 1, 0) > 0;
}

static bool capture_is_due(const struct capture *capture, int64_t now_ns)
{
    return !capture->left || now_ns >= capture->until_ns || is_at_end(capture->hold) || is_at_end(capture->client_fd);
}

static void capture_let_go(struct capture *capture)
{
    pthread_mutex_lock(&capture->server->mutex);
    fd_done(&capture->hold);
    capture->hold = -1;
    pthread_mutex_unlock(&capture->server->mutex);
}

/* Its time is over: the worker stops, and what waits is read still. That has an end even where the worker goes on. */
static void capture_expire(struct capture *capture)
{
    const uint64_t most = CAPTURE_RINGS * CAPTURE_RING_SIZE / sizeof(struct capture_record);
    if (capture->hold < 0)
        return;
    capture_let_go(capture);
    if (capture->left > most)
        capture->left = most;
}

static void capture_finish(struct capture *capture)
{
    uint64_t taken, lost;
    capture_reader_count(&capture->reader, &taken, &lost);
    capture->is_over = true;
    capture_let_go(capture); /* at once, and not when the client has read it all */
    if (lost > taken)
        taken = lost;
    pcapng_end(&capture->blocks, clock_realtime_ns(), taken, lost);
}

/* Makes blocks of what waits; of nothing, where nothing does. */
static void capture_gather(struct capture *capture)
{
    static _Thread_local uint8_t bytes[CAPTURE_SNAPLEN_MAX];
    struct capture_record record;
    int found = 0;
    int64_t now_ns = clock_monotonic_ns();
    capture->blocks.length = capture->offset = 0;
    if (now_ns >= capture->until_ns)
        capture_expire(capture);
    while (capture->left && capture->blocks.length < GATHER_BYTES) {
        found = capture_reader_next(&capture->reader, &record, bytes);
        if (found <= 0)
            break;
        pcapng_packet(&capture->blocks, &record, bytes);
        capture->left -= capture->left != UINT64_MAX;
    }
    if (found < 0 || (!capture->blocks.length && capture_is_due(capture, now_ns)) || !capture->left)
        capture_finish(capture);
}

/* ---- the library's callbacks ------------------------------------------------------------------------------------- */

static ssize_t capture_read(void *context, uint64_t position, char *out, size_t room)
{
    (void)position;
    struct capture *capture = context;
    struct http_server *server = capture->server;
    if (capture->offset == capture->blocks.length && !capture->is_over)
        capture_gather(capture);
    if (capture->blocks.failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t length = capture->blocks.length - capture->offset;
    if (length) {
        if (length > room)
            length = room;
        memcpy(out, capture->blocks.data + capture->offset, length);
        capture->offset += length;
        return (ssize_t)length;
    }
    if (capture->is_over)
        return MHD_CONTENT_READER_END_OF_STREAM;
    pthread_mutex_lock(&server->mutex);
    if (server->stopping) {
        capture->left = 0;
    } else {
        capture->suspended = true;
        MHD_suspend_connection(capture->connection);
    }
    pthread_mutex_unlock(&server->mutex);
    return 0;
}

static void capture_unlink(void *context)
{
    struct capture *capture = context;
    struct http_server *server = capture->server;
    pthread_mutex_lock(&server->mutex);
    if (capture->next)
        capture->next->previous = capture->previous;
    if (capture->previous)
        capture->previous->next = capture->next;
    else
        server->captures = capture->next;
    server->capture_count--;
    pthread_mutex_unlock(&server->mutex);
    capture_free(capture);
}

/* ---- the others' ------------------------------------------------------------------------------------------------- */

/* With the mutex. */
static void capture_resume(struct capture *capture)
{
    if (!capture->suspended)
        return;
    capture->suspended = false;
    MHD_resume_connection(capture->connection);
}

void captures_end_all(struct http_server *server)
{
    for (struct capture *capture = server->captures; capture; capture = capture->next)
        capture_resume(capture);
}

int64_t captures_tick(struct http_server *server, int64_t now_ns, int64_t most_ns)
{
    pthread_mutex_lock(&server->mutex);
    for (struct capture *capture = server->captures; capture; capture = capture->next) {
        if (capture->suspended && (capture_reader_has_some(&capture->reader) || capture_is_due(capture, now_ns)))
            capture_resume(capture);
        if (capture->hold >= 0 && now_ns >= capture->until_ns) /* also while the client reads nothing */
            (void)shutdown(capture->hold, SHUT_RDWR);
    }
    if (server->captures && now_ns + CAPTURE_EVERY_NS < most_ns)
        most_ns = now_ns + CAPTURE_EVERY_NS;
    pthread_mutex_unlock(&server->mutex);
    return most_ns;
}

/* ---- the request ------------------------------------------------------------------------------------------------- */

struct capture_wish {
    const char *filter;
    uint64_t snaplen, count, seconds;
    struct capture_instruction program[CAPTURE_PROGRAM_MAX];
    uint32_t program_length;
};

static int read_number(const struct request *request, const char *key, uint64_t most, uint64_t otherwise,
                       uint64_t *ret_value, struct err *ret_err)
{
    const char *text = request_query(request, key);
    uint64_t value = otherwise;
    if (text && (text_to_u64(text, most, &value) || !value))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "%s is a number from 1 to %llu", key,
                       (unsigned long long)most);
    *ret_value = value;
    return 0;
}

static int read_wish(const struct request *request, const struct device *device, struct capture_wish *wish,
                     struct err *ret_err)
{
    const char *filter = request_query(request, "filter");
    wish->filter = filter ? filter : "";
    int error = read_number(request, "snaplen", CAPTURE_SNAPLEN_MAX, CAPTURE_SNAPLEN_MAX, &wish->snaplen, ret_err);
    if (!error)
        error = read_number(request, "count", INT64_MAX, UINT64_MAX, &wish->count, ret_err);
    if (!error)
        error = read_number(request, "seconds", CAPTURE_SECONDS_MOST, CAPTURE_SECONDS, &wish->seconds, ret_err);
    if (!error)
        error = capture_filter_compile(wish->filter, device->kind, (uint32_t)wish->snaplen, wish->program,
                                       &wish->program_length, ret_err);
    return error;
}

static int capture_start(struct request *request, const struct snapshot_device *device, const struct capture_wish *wish,
                         struct capture *capture, struct err *ret_err)
{
    const struct capture_order order = {
        .snaplen = (uint32_t)wish->snaplen, .program_length = wish->program_length, .program = wish->program};
    int fd CLEANUP(fd_done) = -1;
    int error = engine_capture(request->server->engine, device, &order, &fd, &capture->hold, ret_err);
    if (error)
        return error;
    void *area = mmap(NULL, CAPTURE_AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (area == MAP_FAILED)
        return err_set_kernel(ret_err, -errno, "mmap", "cannot map the capture area");
    capture->reader.area = area;
    capture->server = request->server;
    capture->connection = request->connection;
    capture->client_fd = request->client->fd;
    capture->left = wish->count;
    capture->until_ns = clock_monotonic_ns() + (int64_t)wish->seconds * NSEC_PER_SEC;
    pcapng_begin(&capture->blocks, device->stored.device->name, device->stored.device->kind, order.snaplen,
                 wish->filter);
    return 0;
}

/* One of the few places, before a worker hears of it. */
static bool captures_reserve(struct http_server *server)
{
    pthread_mutex_lock(&server->mutex);
    bool has_room = server->capture_count < CAPTURES_MAX && !server->stopping;
    server->capture_count += has_room;
    pthread_mutex_unlock(&server->mutex);
    return has_room;
}

static void captures_give_back(struct http_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->capture_count--;
    pthread_mutex_unlock(&server->mutex);
}

/* Into its place. */
static void capture_link(struct capture *capture)
{
    struct http_server *server = capture->server;
    pthread_mutex_lock(&server->mutex);
    capture->next = server->captures;
    if (capture->next)
        capture->next->previous = capture;
    server->captures = capture;
    server->nudged = true;
    pthread_cond_signal(&server->tick);
    pthread_mutex_unlock(&server->mutex);
}

static void capture_answer(struct request *request, struct capture *capture)
{
    capture_link(capture);
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, READ_SIZE, capture_read, capture, capture_unlink);
    if (!response) {
        capture_unlink(capture);
        answer_no_memory(request);
        return;
    }
    answer_stream(request, "application/x-pcapng", response);
}

void capture_get(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = NULL;
    const struct snapshot_device *device = devices_find(request, &snapshot);
    struct err e;
    if (!device)
        return;
    struct capture_wish *wish = calloc(1, sizeof *wish);
    struct capture *capture = calloc(1, sizeof *capture);
    if (capture)
        capture->hold = -1;
    if (!wish || !capture) {
        answer_no_memory(request);
    } else if (read_wish(request, device->stored.device, wish, &e)) {
        answer_problem(request, &e);
    } else if (!strcmp(request->method, "HEAD")) {
        answer_stream(request, "application/x-pcapng",
                      MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
    } else if (!captures_reserve(request->server)) {
        answer_unavailable(request, ERR_LIMIT_EXCEEDED, "there are too many captures, or the daemon is shutting down");
    } else if (capture_start(request, device, wish, capture, &e)) {
        captures_give_back(request->server);
        answer_problem(request, &e);
    } else {
        capture_answer(request, capture);
        capture = NULL;
    }
    if (capture)
        capture_free(capture);
    free(wish);
}

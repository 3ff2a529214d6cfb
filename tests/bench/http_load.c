/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load on an HTTP server: connections that are kept alive, each with one request under way, for some seconds; and
 * connections that only watch a stream of server-sent events. One thread, epoll.
 *
 *     http_load ADDRESS PATH CONNECTIONS SECONDS [TOKEN]
 *     http_load ADDRESS PATH --watch CONNECTIONS SECONDS [TOKEN]
 *
 * ADDRESS is the path of a Unix socket, or 127.0.0.1:PORT. Requests: JSON with how many were answered with 200, and their
 * latencies. Watching: "watching" in a line of its own once each stream has begun, and at the end JSON with how many
 * messages ("event:") came in how many bytes. Watching ends early with an end of file on stdin.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE (256 << 10)
#define HEAD_MAX    4096

struct connection {
    int fd;
    int64_t asked_ns;
    size_t head_length; /* of the answer, as far as it is there */
    bool head_is_whole;
    uint64_t body_left;
    unsigned matched; /* of a watcher: how much of "event:" the last bytes were */
    char head[HEAD_MAX];
};

static struct {
    char request[1024];
    size_t request_length;
    int64_t until_ns;
    uint32_t *latencies_ns;
    size_t latency_count, latency_room;
    uint64_t bytes, messages;
    size_t begun; /* watchers whose stream has */
} run;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void give_up(const char *what)
{
    fprintf(stderr, "http_load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static int connect_to(const char *address)
{
    int fd;
    if (*address == '/') {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        if (strlen(address) >= sizeof to.sun_path)
            give_up("the socket's path is too long");
        strcpy(to.sun_path, address);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
            give_up(address);
    } else {
        struct sockaddr_in to = {.sin_family = AF_INET};
        char host[64];
        unsigned short port;
        if (sscanf(address, "%63[0-9.]:%hu", host, &port) != 2 || inet_pton(AF_INET, host, &to.sin_addr) != 1)
            give_up("no such address");
        to.sin_port = htons(port);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
            give_up(address);
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void ask(struct connection *c)
{
    c->head_length = 0;
    c->head_is_whole = false;
    c->asked_ns = now_ns();
    errno = 0;
    if (send(c->fd, run.request, run.request_length, MSG_NOSIGNAL) != (ssize_t)run.request_length)
        give_up("send");
}

static void note_latency(int64_t taken_ns)
{
    if (run.latency_count == run.latency_room) {
        run.latency_room = run.latency_room ? 2 * run.latency_room : 1 << 16;
        run.latencies_ns = realloc(run.latencies_ns, run.latency_room * sizeof *run.latencies_ns);
        if (!run.latencies_ns)
            give_up("memory");
    }
    run.latencies_ns[run.latency_count++] = taken_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)taken_ns;
}

/* Takes what belongs to the head; returns how much that was. */
static size_t take_head(struct connection *c, const char *data, size_t length)
{
    size_t before = c->head_length, room = HEAD_MAX - 1 - before;
    size_t taken = length < room ? length : room;
    memcpy(c->head + before, data, taken);
    c->head[before + taken] = '\0';
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
        c->head_length += taken;
        errno = 0;
        if (taken < length)
            give_up("an answer's head is too long");
        return taken;
    }
    c->head_length = (size_t)(end + 4 - c->head);
    c->head_is_whole = true;
    errno = 0;
    if (strncmp(c->head, "HTTP/1.1 200 ", 13) != 0)
        give_up(c->head);
    return c->head_length - before;
}

static void take_answer(struct connection *c, const char *data, size_t length)
{
    while (length) {
        if (!c->head_is_whole) {
            size_t taken = take_head(c, data, length);
            data += taken;
            length -= taken;
            if (!c->head_is_whole)
                return;
            const char *field = strcasestr(c->head, "\r\nContent-Length:");
            errno = 0;
            if (!field)
                give_up("an answer without Content-Length");
            c->body_left = strtoull(field + strlen("\r\nContent-Length:"), NULL, 10);
        }
        size_t taken = length < c->body_left ? length : (size_t)c->body_left;
        c->body_left -= taken;
        data += taken;
        length -= taken;
        errno = 0;
        if (c->body_left)
            return;
        if (length)
            give_up("more than was asked for");
        int64_t now = now_ns();
        note_latency(now - c->asked_ns);
        if (now >= run.until_ns)
            return;
        ask(c);
    }
}

static void take_stream(struct connection *c, const char *data, size_t length)
{
    static const char mark[] = "event:";
    while (length && !c->head_is_whole) {
        size_t taken = take_head(c, data, length);
        data += taken;
        length -= taken;
        run.begun += c->head_is_whole;
    }
    run.bytes += length;
    for (size_t i = 0; i < length; i++) {
        if (data[i] == mark[c->matched])
            c->matched++;
        else
            c->matched = data[i] == mark[0];
        if (c->matched == sizeof mark - 1) {
            run.messages++;
            c->matched = 0;
        }
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile_us(double share)
{
    if (!run.latency_count)
        return 0;
    size_t at = (size_t)((double)(run.latency_count - 1) * share);
    return run.latencies_ns[at] / 1e3;
}

/* False where a watcher was told to end. */
static bool turn(int epoll, bool watches, char *buffer)
{
    struct epoll_event events[256];
    int count = epoll_wait(epoll, events, 256, 50);
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (!c) {
            if (read(STDIN_FILENO, buffer, 1) <= 0)
                return false;
            continue;
        }
        ssize_t got = recv(c->fd, buffer, BUFFER_SIZE, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got <= 0) {
            errno = got < 0 ? errno : 0;
            give_up("the server closed a connection");
        }
        if (watches)
            take_stream(c, buffer, (size_t)got);
        else
            take_answer(c, buffer, (size_t)got);
    }
    return true;
}

int main(int argc, char **argv)
{
    bool watches = argc > 3 && !strcmp(argv[3], "--watch");
    if (argc < 5 + watches || argc > 6 + watches) {
        fprintf(stderr, "usage: http_load ADDRESS PATH [--watch] CONNECTIONS SECONDS [TOKEN]\n");
        return 2;
    }
    size_t connections = strtoul(argv[3 + watches], NULL, 10);
    double seconds = strtod(argv[4 + watches], NULL);
    const char *token = argc > 5 + watches ? argv[5 + watches] : NULL;
    run.request_length =
        (size_t)snprintf(run.request, sizeof run.request, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s%s\r\n", argv[2],
                         token ? "Authorization: Bearer " : "", token ? token : "", token ? "\r\n" : "");
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    char *buffer = malloc(BUFFER_SIZE);
    struct connection *all = calloc(connections ? connections : 1, sizeof *all);
    if (epoll < 0 || !buffer || !all || !connections)
        give_up("cannot begin");
    for (size_t i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = connect_to(argv[1]);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event) < 0)
            give_up("epoll_ctl");
    }
    if (watches) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
        epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event); /* a file cannot be waited for: then to the end */
    }

    int64_t started = now_ns();
    run.until_ns = started + (int64_t)(seconds * 1e9);
    for (size_t i = 0; i < connections; i++)
        ask(&all[i]);
    bool said = !watches;
    while (now_ns() < run.until_ns && turn(epoll, watches, buffer)) {
        if (!said && run.begun == connections) {
            puts("watching");
            fflush(stdout);
            said = true;
        }
    }
    double elapsed = (double)(now_ns() - started) / 1e9;
    if (watches) {
        printf("{\"streams\": %zu, \"messages\": %llu, \"bytes\": %llu, \"seconds\": %.3f}\n", run.begun,
               (unsigned long long)run.messages, (unsigned long long)run.bytes, elapsed);
        return 0;
    }
    qsort(run.latencies_ns, run.latency_count, sizeof *run.latencies_ns, by_size);
    printf(
        "{\"answers\": %zu, \"seconds\": %.3f, \"per_s\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
        "\"most_us\": %.1f}\n",
        run.latency_count, elapsed, (double)run.latency_count / elapsed, percentile_us(0.5), percentile_us(0.99),
        percentile_us(0.999), percentile_us(1));
    return 0;
}

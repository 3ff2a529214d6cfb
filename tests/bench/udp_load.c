/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udp_load: how many datagrams of one flow a path delivers, when they are sent as fast as the kernel takes them.
 *
 *     udp_load receive ADDRESS PORT SECONDS PAYLOAD_BYTES SEGMENTS
 *     udp_load send    ADDRESS PORT SECONDS PAYLOAD_BYTES SEGMENTS
 *
 * With SEGMENTS 1 each datagram is one of a sendmmsg or recvmmsg. With more, each send is that many by UDP_SEGMENT, and a
 * receiver takes what UDP_GRO put together; the two ends need not be alike. The receiver counts for SECONDS, and measures from its first datagram to its last,
 * so that it may be started early. Each prints one JSON object.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH         64
#define BATCH_BYTES   65000 /* of one send with UDP_SEGMENT */
#define ROOM          65536
#define DATAGRAMS_MAX 100000000ULL
#define BUFFER_BYTES  (8 << 20)

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

struct load {
    int fd;
    size_t payload_bytes;
    unsigned segments; /* in one send */
    int64_t duration_ns;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "udp_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static char rooms[BATCH * ROOM];
static struct iovec pieces[BATCH];
static struct mmsghdr messages[BATCH];
static union control controls[BATCH];

/* Side by side: rooms that lie 64 KB apart would share the same few lines of a cache. */
static void batch_prepare(size_t room, bool control)
{
    for (size_t i = 0; i < BATCH; i++) {
        pieces[i] = (struct iovec){.iov_base = rooms + i * room, .iov_len = room};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
        if (control)
            messages[i].msg_hdr.msg_control = controls[i].bytes;
    }
}

/* A full queue on the way, or a receiver that has ended. */
static bool is_refusal(int error)
{
    return error == ENOBUFS || error == EAGAIN || error == ECONNREFUSED || error == EINTR;
}

static int load_send(const struct load *load)
{
    uint64_t sent = 0, refused = 0;
    int64_t start = now_ns(), now = start;
    int size = (int)load->payload_bytes;

    batch_prepare(load->payload_bytes * load->segments, false);
    if (load->segments > 1 && setsockopt(load->fd, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0)
        fail("UDP_SEGMENT");
    while (now - start < load->duration_ns && sent < DATAGRAMS_MAX) {
        int n = load->segments > 1 ? (int)send(load->fd, rooms, pieces[0].iov_len, 0) < 0 ? -1 : 1
                                   : sendmmsg(load->fd, messages, BATCH, 0);
        if (n > 0)
            sent += (uint64_t)n * load->segments;
        else if (is_refusal(errno))
            refused++;
        else
            fail("send");
        now = now_ns();
    }
    printf("{\"sent\": %llu, \"refused_calls\": %llu, \"seconds\": %.6f}\n", (unsigned long long)sent,
           (unsigned long long)refused, (double)(now - start) / 1e9);
    return sent > 0 ? 0 : 1;
}

/* How long the datagrams of one message are; all but the last. */
static size_t message_segment(const struct mmsghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message->msg_hdr); c;
         c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)&message->msg_hdr, c)) {
        int value;

        if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_GRO)
            continue;
        memcpy(&value, CMSG_DATA(c), sizeof(value));
        return (size_t)value;
    }
    return message->msg_len;
}

static int load_receive(const struct load *load)
{
    uint64_t received = 0, odd = 0;
    int64_t start = now_ns(), first = 0, last = 0;
    struct timeval wake = {.tv_usec = 100000};
    bool gro = load->segments > 1;
    int on = 1;

    if (setsockopt(load->fd, SOL_SOCKET, SO_RCVTIMEO, &wake, sizeof(wake)) < 0)
        fail("SO_RCVTIMEO");
    if (gro && setsockopt(load->fd, SOL_UDP, UDP_GRO, &on, sizeof(on)) < 0)
        fail("UDP_GRO");
    batch_prepare(gro ? ROOM : load->payload_bytes + 1, gro); /* one that is longer is seen to be */
    puts("listening");
    fflush(stdout);
    while (now_ns() - start < load->duration_ns) {
        for (int i = 0; gro && i < BATCH; i++)
            messages[i].msg_hdr.msg_controllen = sizeof(controls[i]);
        int n = recvmmsg(load->fd, messages, BATCH, MSG_WAITFORONE, NULL);
        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR)
                continue;
            fail("recvmmsg");
        }
        last = now_ns();
        if (first == 0)
            first = last;
        for (int i = 0; i < n; i++) {
            if (message_segment(&messages[i]) == load->payload_bytes && messages[i].msg_len % load->payload_bytes == 0)
                received += messages[i].msg_len / load->payload_bytes;
            else
                odd++;
        }
    }
    printf("{\"received\": %llu, \"odd\": %llu, \"seconds\": %.6f}\n", (unsigned long long)received,
           (unsigned long long)odd, (double)(last - first) / 1e9);
    return 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: udp_load send|receive ADDRESS PORT SECONDS PAYLOAD_BYTES SEGMENTS\n"
                    "       SECONDS at most 60; SEGMENTS at most 64, PAYLOAD_BYTES of all at most 65000\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int size = BUFFER_BYTES;
    struct load load;

    if (argc != 7 || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1)
        return usage();
    address.sin_port = htons((uint16_t)atoi(argv[3]));
    double seconds = atof(argv[4]);
    load.payload_bytes = strtoul(argv[5], NULL, 10);
    load.segments = (unsigned)strtoul(argv[6], NULL, 10);
    if (!(seconds > 0 && seconds <= 60) || load.segments < 1 || load.segments > 64 || load.payload_bytes < 1 ||
        load.payload_bytes > BATCH_BYTES / load.segments)
        return usage();
    load.duration_ns = (int64_t)(seconds * 1e9);

    load.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (load.fd < 0)
        fail("socket");
    if (setsockopt(load.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(load.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (strcmp(argv[1], "receive") == 0) {
        if (bind(load.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
            fail("bind");
        return load_receive(&load);
    }
    if (strcmp(argv[1], "send") != 0)
        return usage();
    if (connect(load.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        fail("connect");
    return load_send(&load);
}

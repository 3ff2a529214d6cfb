/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udp_flood: how many 64-byte packets a path delivers in a second.
 *
 *     udp_flood receive ADDRESS PORT SECONDS
 *     udp_flood send    ADDRESS PORT SECONDS
 *
 * A packet is 64 bytes as IPv4 sees it: 20 of IP, 8 of UDP and 36 of payload, which begins with a serial number. The
 * sender hands the kernel as many as it takes, for SECONDS and at most PACKETS_MAX; the receiver counts for SECONDS,
 * and measures from its first packet to its last, so that it may be started early. Each prints one JSON object.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAYLOAD_BYTES 36
#define BATCH         64
#define PACKETS_MAX   100000000ULL
#define BUFFER_BYTES  (8 << 20)

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "udp_flood: %s: %s\n", what, strerror(errno));
    exit(1);
}

static char payload[BATCH][2048];
static struct iovec pieces[BATCH];
static struct mmsghdr messages[BATCH];

static void batch_prepare(size_t room)
{
    for (int i = 0; i < BATCH; i++) {
        pieces[i] = (struct iovec){.iov_base = payload[i], .iov_len = room};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    }
}

static int flood_send(int fd, int64_t duration_ns)
{
    uint64_t sent = 0, refused = 0;
    int64_t start = now_ns(), now = start;

    batch_prepare(PAYLOAD_BYTES);
    while (now - start < duration_ns && sent < PACKETS_MAX) {
        for (uint64_t i = 0; i < BATCH; i++) {
            uint64_t serial = sent + i;
            memcpy(payload[i], &serial, sizeof(serial));
        }
        int n = sendmmsg(fd, messages, BATCH, 0);
        if (n > 0)
            sent += (uint64_t)n;
        else if (errno == ENOBUFS || errno == EAGAIN || errno == ECONNREFUSED || errno == EINTR)
            refused++; /* a full queue on the way, or a receiver that has ended */
        else
            fail("sendmmsg");
        now = now_ns();
    }
    printf("{\"sent\": %llu, \"refused_calls\": %llu, \"seconds\": %.6f}\n", (unsigned long long)sent,
           (unsigned long long)refused, (double)(now - start) / 1e9);
    return sent > 0 ? 0 : 1;
}

static int flood_receive(int fd, int64_t duration_ns)
{
    uint64_t received = 0, odd = 0;
    int64_t start = now_ns(), first = 0, last = 0;
    struct timeval wake = {.tv_usec = 100000};

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wake, sizeof(wake)) < 0)
        fail("SO_RCVTIMEO");
    batch_prepare(sizeof(payload[0]));
    puts("listening");
    fflush(stdout);
    while (now_ns() - start < duration_ns) {
        int n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR)
                continue;
            fail("recvmmsg");
        }
        last = now_ns();
        if (first == 0)
            first = last;
        for (int i = 0; i < n; i++) {
            if (messages[i].msg_len == PAYLOAD_BYTES)
                received++;
            else
                odd++;
        }
    }
    printf("{\"received\": %llu, \"odd\": %llu, \"seconds\": %.6f}\n", (unsigned long long)received,
           (unsigned long long)odd, (double)(last - first) / 1e9);
    return 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int size = BUFFER_BYTES;

    if (argc != 5 || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1) {
        fprintf(stderr, "usage: udp_flood send|receive ADDRESS PORT SECONDS\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)atoi(argv[3]));
    double seconds = atof(argv[4]);
    if (!(seconds > 0 && seconds <= 60)) {
        fprintf(stderr, "udp_flood: seconds: more than 0, at most 60\n");
        return 2;
    }

    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (strcmp(argv[1], "receive") == 0) {
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
            fail("bind");
        return flood_receive(fd, (int64_t)(seconds * 1e9));
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        fail("connect");
    return flood_send(fd, (int64_t)(seconds * 1e9));
}

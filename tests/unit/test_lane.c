/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker with several queues: its main thread is one of this program's, and so a thread sanitizer sees all of it.
 * SOCK_SEQPACKET pairs take the place of the queues.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/checksum.h"
#include "worker/control.h"
#include "worker/forwarder.h"
#include "worker/loop.h"
#include "worker/split.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define LANES       4
#define DEVICE      "{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},\"worker\":"
#define ECHO        DEVICE "{\"type\":\"echo\"}}"
#define MONITOR     DEVICE "{\"type\":\"monitor\",\"log_rate\":3}}"

struct worker {
    pthread_t thread;
    int control, control_far;
    int page_fd;
    struct counter_page *page;
    int queue[LANES], queue_far[LANES]; /* ours, and the worker's */
    int wire[LANES], peer[LANES];       /* the worker's sockets, and whom they talk to; -1 */
    struct sockaddr_in wire_address[LANES];
    char udp[256]; /* a configuration that goes with them */
    char answer[8192];
};

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    struct err err = {0};

    return loop_run(w->control_far, -1, &err) < 0 ? w : NULL;
}

static int worker_start(void **state)
{
    struct worker *w = calloc(1, sizeof(*w));
    int pair[2];

    assert_non_null(w);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    w->control = pair[0];
    w->control_far = pair[1];
    w->page_fd = memfd_create("counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(w->page_fd, COUNTER_PAGE_SIZE), 0);
    w->page = mmap(NULL, COUNTER_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, w->page_fd, 0);
    assert_ptr_not_equal(w->page, MAP_FAILED);
    w->page->magic = COUNTER_PAGE_MAGIC;
    w->page->version = COUNTER_PAGE_VERSION;
    w->page->slot_count = COUNTER_SLOTS;
    assert_int_equal(fcntl(w->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    for (size_t i = 0; i < LANES; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        w->queue[i] = pair[0];
        w->queue_far[i] = pair[1];
        w->wire[i] = w->peer[i] = -1;
    }
    assert_int_equal(pthread_create(&w->thread, NULL, worker_main, w), 0);
    *state = w;
    return 0;
}

static int worker_end(void **state)
{
    struct worker *w = *state;
    void *failed;

    assert_int_equal(control_send(w->control, "stop", "", 0, NULL, 0), 0);
    assert_int_equal(pthread_join(w->thread, &failed), 0);
    assert_null(failed);
    munmap(w->page, COUNTER_PAGE_SIZE);
    fd_done(&w->page_fd);
    fd_done(&w->control);
    fd_done(&w->control_far);
    for (size_t i = 0; i < LANES; i++) {
        fd_done(&w->queue[i]);
        fd_done(&w->queue_far[i]);
        fd_done(&w->wire[i]);
        fd_done(&w->peer[i]);
    }
    free(w);
    return 0;
}

/* ---- control ----------------------------------------------------------------------------------------------------- */

static bool readable(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, timeout_ms) > 0;
}

static void hear(struct worker *w)
{
    ssize_t n;

    assert_true(readable(w->control, PATIENCE_MS));
    n = recv(w->control, w->answer, sizeof(w->answer) - 1, 0);
    assert_true(n > 0);
    w->answer[n] = '\0';
}

static void hear_of(struct worker *w, const char *text)
{
    do
        hear(w);
    while (!strstr(w->answer, text));
}

static void configure(struct worker *w, size_t queues, size_t sockets, const char *config, const char *answer)
{
    char head[64];
    int fds[1 + 2 * LANES];
    size_t count = 0;

    fds[count++] = w->page_fd;
    for (size_t i = 0; i < queues; i++)
        fds[count++] = w->queue_far[i];
    for (size_t i = 0; i < sockets; i++)
        fds[count++] = w->wire[i];
    snprintf(head, sizeof(head), "configure queues=%zu sockets=%zu", queues, sockets);
    assert_int_equal(control_send(w->control, head, config, strlen(config), fds, count), 0);
    do
        hear(w);
    while (strncmp(w->answer, "status\n", 7) == 0);
    if (strncmp(w->answer, answer, strlen(answer)) != 0)
        fail_msg("expected %s, got %s", answer, w->answer);
}

/* How many threads there are whose name begins like this. */
static size_t threads_named(const char *begin)
{
    DIR *directory = opendir("/proc/self/task");
    const struct dirent *entry;
    size_t count = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory))) {
        char path[300], name[32] = "";
        FILE *file;

        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        file = fopen(path, "re");
        if (!file)
            continue;
        if (fgets(name, sizeof(name), file) && strncmp(name, begin, strlen(begin)) == 0)
            count++;
        fclose(file);
    }
    closedir(directory);
    return count;
}

static void threads_become(const char *begin, size_t wanted)
{
    for (int waited = 0; waited < PATIENCE_MS && threads_named(begin) != wanted; waited += 5)
        poll(NULL, 0, 5);
    assert_int_equal(threads_named(begin), wanted);
}

/* ---- packets ----------------------------------------------------------------------------------------------------- */

#define PING_SIZE   32
#define PING_NUMBER 26 /* offset of ICMP's sequence number */

static void ping_make(uint8_t out[static PING_SIZE], uint16_t number)
{
    static const uint8_t ping[PING_SIZE] = {
        0x45, 0x00, 0x00, 0x20, 0x00, 0x07, 0x40, 0x00, 0x40, 0x01, 0x00, 0x00, 192, 168, 3,   11,
        192,  168,  3,    12,   0x08, 0x00, 0x00, 0x00, 0x12, 0x34, 0x00, 0x00, 'p', 'i', 'n', 'g',
    };
    uint16_t check;

    memcpy(out, ping, PING_SIZE);
    store_be16(out + PING_NUMBER, number);
    check = checksum_finish(checksum_add(0, out, 20));
    memcpy(out + 10, &check, 2);
    check = checksum_finish(checksum_add(0, out + 20, PING_SIZE - 20));
    memcpy(out + 22, &check, 2);
}

static void queue_put(const struct worker *w, size_t lane, uint16_t number)
{
    uint8_t bytes[DEVICE_HEADER_SIZE + PING_SIZE] = {0};

    ping_make(bytes + DEVICE_HEADER_SIZE, number);
    assert_int_equal(send(w->queue[lane], bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
}

/* UDP to an endpoint of the peer's: one of the worker's own, which came back. */
static void queue_put_own(const struct worker *w, size_t lane, size_t peer)
{
    uint8_t bytes[DEVICE_HEADER_SIZE + PING_SIZE] = {0}, *packet = bytes + DEVICE_HEADER_SIZE;
    struct sockaddr_in to;
    socklen_t length = sizeof(to);

    ping_make(packet, 0);
    assert_int_equal(getsockname(w->peer[peer], (struct sockaddr *)&to, &length), 0);
    packet[9] = 17;
    memcpy(packet + 16, &to.sin_addr, 4);
    memcpy(packet + 22, &to.sin_port, 2);
    assert_int_equal(send(w->queue[lane], bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
}

/* The number of the next ping, or of its answer, that the worker wrote to this queue. */
static uint16_t queue_get(const struct worker *w, size_t lane)
{
    uint8_t bytes[DEVICE_HEADER_SIZE + PING_SIZE + 1];

    assert_true(readable(w->queue[lane], PATIENCE_MS));
    assert_int_equal(recv(w->queue[lane], bytes, sizeof(bytes), 0), DEVICE_HEADER_SIZE + PING_SIZE);
    return load_be16(bytes + DEVICE_HEADER_SIZE + PING_NUMBER);
}

static uint64_t counter(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static void counter_becomes(const uint64_t *value, uint64_t wanted)
{
    for (int waited = 0; waited < PATIENCE_MS && counter(value) != wanted; waited += 5)
        poll(NULL, 0, 5);
    assert_int_equal(counter(value), wanted);
}

static bool bind_to(int *fd, uint16_t port, struct sockaddr_in *ret_address)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    *fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(*fd >= 0);
    *ret_address = address;
    return bind(*fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

/* Sockets for the worker and its peer, each on as many ports in a row. */
static void udp_open(struct worker *w)
{
    struct sockaddr_in peer;

    for (uint16_t port = 20000; port < 60000; port = (uint16_t)(port + 2 * LANES)) {
        bool all = true;

        for (size_t i = 0; i < LANES; i++) {
            fd_done(&w->wire[i]);
            fd_done(&w->peer[i]);
            all = bind_to(&w->wire[i], (uint16_t)(port + i), &w->wire_address[i]) && all;
            all = bind_to(&w->peer[i], (uint16_t)(port + LANES + i), &peer) && all;
        }
        if (all) {
            snprintf(w->udp, sizeof(w->udp),
                     DEVICE "{\"type\":\"udp\",\"local\":\"127.0.0.1:%u\",\"remote\":\"127.0.0.1:%u\"}}", port,
                     port + LANES);
            return;
        }
    }
    fail_msg("no free ports");
}

/* ---- each lane by itself ----------------------------------------------------------------------------------------- */

static void each_queue_has_its_lane(void **state)
{
    struct worker *w = *state;

    configure(w, LANES, 0, ECHO, "ready\n{\"type\":\"echo\",\"queues\":4,\"queues_gone\":0}");
    threads_become("tw-tun0-", LANES - 1);
    for (uint16_t i = 0; i < LANES; i++)
        for (uint16_t n = 0; n <= i; n++) {
            queue_put(w, i, (uint16_t)(10 * i + n));
            assert_int_equal(queue_get(w, i), 10 * i + n);
        }
    for (size_t i = 0; i < LANES; i++) {
        counter_becomes(&w->page->slots[i].device_out.packets, i + 1);
        assert_int_equal(counter(&w->page->slots[i].device_in.packets), i + 1);
    }
    configure(w, 1, 0, ECHO, "ready\n");
    threads_become("tw-tun0-", 0);
}

static void each_socket_has_its_lane(void **state)
{
    struct worker *w = *state;

    udp_open(w);
    configure(w, LANES, LANES, w->udp, "ready\n{\"type\":\"udp\",\"queues\":4,");
    for (uint16_t i = 0; i < LANES; i++) {
        struct sockaddr_in from;
        socklen_t length = sizeof(from);
        uint8_t bytes[100];

        queue_put(w, i, i);
        assert_true(readable(w->peer[i], PATIENCE_MS));
        assert_int_equal(recvfrom(w->peer[i], bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &length), PING_SIZE);
        assert_int_equal(from.sin_port, w->wire_address[i].sin_port);
        assert_int_equal(load_be16(bytes + PING_NUMBER), i);

        ping_make(bytes, (uint16_t)(100 + i));
        assert_int_equal(sendto(w->peer[i], bytes, PING_SIZE, 0, (struct sockaddr *)&w->wire_address[i], length),
                         PING_SIZE);
        assert_int_equal(queue_get(w, i), 100 + i);
        counter_becomes(&w->page->slots[i].device_out.packets, 1);
        /* the peer of one lane is a stranger to another */
        assert_int_equal(
            sendto(w->peer[i], bytes, PING_SIZE, 0, (struct sockaddr *)&w->wire_address[(i + 1) % LANES], length),
            PING_SIZE);
        counter_becomes(&w->page->slots[(i + 1) % LANES].drops[DROP_UNKNOWN_SOURCE], 1);
    }
    for (size_t i = 0; i < LANES; i++) {
        queue_put_own(w, i, LANES - 1 - i);
        counter_becomes(&w->page->slots[i].drops[DROP_LOOP], 1);
        assert_int_equal(counter(&w->page->slots[i].wire_out.packets), 1);
    }
}

static void pages_that_are_none(void **state)
{
    static const struct {
        struct counter_page head;
        off_t size;
        int seals;
        int result;
    } cases[] = {
#define HEAD(m, v, s) {.magic = (m), .version = (v), .slot_count = (s)}
        {HEAD(COUNTER_PAGE_MAGIC, COUNTER_PAGE_VERSION, COUNTER_SLOTS), COUNTER_PAGE_SIZE, F_SEAL_SHRINK, 0},
        {HEAD(COUNTER_PAGE_MAGIC + 1, COUNTER_PAGE_VERSION, COUNTER_SLOTS), COUNTER_PAGE_SIZE, F_SEAL_SHRINK, -EINVAL},
        {HEAD(COUNTER_PAGE_MAGIC, COUNTER_PAGE_VERSION + 1, COUNTER_SLOTS), COUNTER_PAGE_SIZE, F_SEAL_SHRINK, -EINVAL},
        {HEAD(COUNTER_PAGE_MAGIC, COUNTER_PAGE_VERSION, COUNTER_SLOTS - 1), COUNTER_PAGE_SIZE, F_SEAL_SHRINK, -EINVAL},
        {HEAD(COUNTER_PAGE_MAGIC, COUNTER_PAGE_VERSION, COUNTER_SLOTS), COUNTER_PAGE_SIZE - 1, F_SEAL_SHRINK, -EINVAL},
        {HEAD(COUNTER_PAGE_MAGIC, COUNTER_PAGE_VERSION, COUNTER_SLOTS), COUNTER_PAGE_SIZE, F_SEAL_GROW, -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int fd = memfd_create("counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        struct counter_page *page = NULL;
        struct err err = {0};

        assert_int_equal(ftruncate(fd, cases[i].size), 0);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, cases[i].seals), 0);
        assert_int_equal(pwrite(fd, &cases[i].head, 64, 0), 64);
        if (counter_page_map(fd, &page, &err) != cases[i].result)
            fail_msg("case %zu: %s", i, err.message);
        if (page)
            assert_int_equal(page->features, WORKER_FEATURE_CAPTURE);
        counter_page_unmap(page);
        close(fd);
    }
}

static void any_lane_has_news(void **state)
{
    struct worker *w = *state;

    udp_open(w);
    configure(w, LANES, LANES, w->udp, "ready\n");
    assert_non_null(strstr(w->answer, "\"wire_error\":null"));
    fd_done(&w->peer[2]);
    queue_put(w, 2, 1);
    hear_of(w, "\"wire_error\":\"ECONNREFUSED\"");
    fd_done(&w->queue[3]);
    hear_of(w, "\"queues_gone\":1");
    fd_done(&w->queue[0]);
    hear_of(w, "\"queues_gone\":2");
    queue_put(w, 1, 1); /* the others go on */
    assert_true(readable(w->peer[1], PATIENCE_MS));
}

static void attach(struct worker *w)
{
    assert_int_equal(control_send(w->control, "attach", "", 0, NULL, 0), 0);
    hear_of(w, "\"queues_gone\":");
}

/* The status that an attaching netd gets may be the one with the news, which another was still to be sent for. */
static void there_is_news_after_attaching(void **state)
{
    struct worker *w = *state;

    configure(w, LANES, 0, ECHO, "ready\n");
    fd_done(&w->queue[2]);
    do
        attach(w);
    while (!strstr(w->answer, "\"queues_gone\":1"));
    for (int i = 0; i < 20;
         i++) /* the main thread hears of it in one of them, and has nothing left to send in the next */
        attach(w);
    fd_done(&w->queue[3]);
    hear_of(w, "\"queues_gone\":2");
}

static void queue_put_with(const struct worker *w, struct virtio_net_hdr header, const uint8_t *ping)
{
    uint8_t bytes[DEVICE_HEADER_SIZE + PING_SIZE];

    memcpy(bytes, &header, DEVICE_HEADER_SIZE);
    memcpy(bytes + DEVICE_HEADER_SIZE, ping, PING_SIZE);
    assert_int_equal(send(w->queue[0], bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
}

/* What was waiting when a device's offloads were turned off. */
static void an_echo_gets_whole_packets(void **state)
{
    struct virtio_net_hdr header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20, .csum_offset = 2};
    struct worker *w = *state;
    const struct counter_slot *slot = &w->page->slots[0];
    uint8_t ping[PING_SIZE], answer[DEVICE_HEADER_SIZE + PING_SIZE];

    configure(w, 1, 0, ECHO, "ready\n");
    ping_make(ping, 1);
    store_be16(ping + 22, 0);
    queue_put_with(w, header, ping);
    assert_true(readable(w->queue[0], PATIENCE_MS));
    assert_int_equal(recv(w->queue[0], answer, sizeof(answer), 0), sizeof(answer));
    assert_int_equal(checksum_finish(checksum_add(0, answer + DEVICE_HEADER_SIZE + 20, PING_SIZE - 20)), 0);

    header.csum_start = PING_SIZE;
    queue_put_with(w, header, ping);
    counter_becomes(&slot->drops[DROP_MALFORMED], 1);
    header.csum_start = 20;
    header.csum_offset = 6;
    header.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4; /* which a ping is not */
    header.gso_size = 2;
    queue_put_with(w, header, ping);
    counter_becomes(&slot->drops[DROP_MALFORMED], 2);
    assert_int_equal(counter(&slot->device_in.packets), 3);
    ping[9] = PROTOCOL_UDP; /* with four bytes of payload */
    queue_put_with(w, header, ping);
    counter_becomes(&slot->device_in.packets, 5);
    assert_int_equal(counter(&slot->device_in.bytes), 3 * PING_SIZE + 2 * (PING_SIZE - 2));
}

static void monitors_share_one_log(void **state)
{
    struct worker *w = *state;

    configure(w, LANES, 0, MONITOR, "ready\n");
    for (uint16_t n = 0; n < 50; n++)
        for (size_t i = 0; i < LANES; i++)
            queue_put(w, i, n);
    for (size_t i = 0; i < LANES; i++)
        counter_becomes(&w->page->slots[i].drops[DROP_NOT_FORWARDED], 50);
}

/* ---- one configuration after another ----------------------------------------------------------------------------- */

struct stream {
    const struct worker *worker;
    size_t lane;
    uint16_t count;
    pthread_t thread;
};

/* An echo drops what the queue does not take: no more than so many are under way. */
#define STREAM_WINDOW 32
#define STREAM_LENGTH 5000

static void *stream_main(void *argument)
{
    const struct stream *stream = argument;

    for (int n = 0; n < stream->count + STREAM_WINDOW; n++) {
        if (n < stream->count)
            queue_put(stream->worker, stream->lane, (uint16_t)n);
        if (n >= STREAM_WINDOW)
            assert_int_equal(queue_get(stream->worker, stream->lane), n - STREAM_WINDOW);
    }
    return NULL;
}

static void configuring_again_loses_and_reorders_nothing(void **state)
{
    struct worker *w = *state;
    struct stream streams[LANES];

    configure(w, LANES, 0, ECHO, "ready\n");
    for (size_t i = 0; i < LANES; i++) {
        streams[i] = (struct stream){.worker = w, .lane = i, .count = STREAM_LENGTH};
        assert_int_equal(pthread_create(&streams[i].thread, NULL, stream_main, &streams[i]), 0);
    }
    for (int i = 0; i < 40; i++) {
        configure(w, i % 3 == 1 ? 1 : LANES, 0, i % 7 == 3 ? "{" : ECHO, i % 7 == 3 ? "failed\n" : "ready\n");
        poll(NULL, 0, 1);
    }
    configure(w, LANES, 0, ECHO, "ready\n");
    for (size_t i = 0; i < LANES; i++) {
        assert_int_equal(pthread_join(streams[i].thread, NULL), 0);
        assert_int_equal(counter(&w->page->slots[i].device_in.packets), STREAM_LENGTH);
    }
}

static void refused_configuration_leaves_all_lanes(void **state)
{
    struct worker *w = *state;

    udp_open(w);
    configure(w, LANES, LANES, w->udp, "ready\n");
    configure(w, LANES, LANES, ECHO, "failed\n{\"detail\":\"4 sockets where 0 are needed\"}");
    configure(w, LANES, 1, w->udp, "failed\n{\"detail\":\"1 sockets where 4 are needed\"}");
    configure(w, LANES, 2, w->udp, "failed\n{\"detail\":\"2 sockets where 4 are needed\"}");
    fd_done(&w->wire[3]);
    w->wire[3] = dup(w->wire[2]); /* of another port */
    configure(w, LANES, LANES, w->udp, "failed\n{\"detail\":\"/worker/local: ");
    for (uint16_t i = 0; i < LANES; i++) {
        queue_put(w, i, i);
        assert_true(readable(w->peer[i], PATIENCE_MS));
    }
    threads_become("tw-tun0-", LANES - 1);
}

/* ---- captures ---------------------------------------------------------------------------------------------------- */

/* netd tells of a capture again when it has configured a worker. The lanes write all the while, and nothing of what they
 * wrote may be written over: each packet that was taken is there. */
static void a_capture_that_is_told_of_again_goes_on(void **state)
{
    static const struct capture_area head = {
        .magic = CAPTURE_MAGIC, .version = CAPTURE_VERSION, .ring_count = CAPTURE_RINGS, .snaplen = PING_SIZE};
    struct worker *w = *state;
    int fd = memfd_create("capture", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct stream streams[LANES];
    struct capture_area *area;

    assert_int_equal(ftruncate(fd, CAPTURE_AREA_SIZE), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    area = mmap(NULL, CAPTURE_AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(area, MAP_FAILED);
    memcpy(area, &head, sizeof(head));
    configure(w, LANES, 0, ECHO, "ready\n");
    for (size_t i = 0; i < LANES; i++) {
        streams[i] = (struct stream){.worker = w, .lane = i, .count = STREAM_LENGTH};
        assert_int_equal(pthread_create(&streams[i].thread, NULL, stream_main, &streams[i]), 0);
    }
    for (int i = 0; i < 200; i++) {
        assert_int_equal(control_send(w->control, "capture", "", 0, &fd, 1), 0);
        poll(NULL, 0, 1);
    }
    for (size_t i = 0; i < LANES; i++)
        assert_int_equal(pthread_join(streams[i].thread, NULL), 0);
    configure(w, LANES, 0, ECHO, "ready\n"); /* all turns are over */
    for (size_t i = 0; i < LANES; i++) {
        const struct capture_ring *ring = &area->rings[i];
        uint64_t taken = counter(&ring->taken);

        assert_true(counter(&ring->taken) > 0);
        assert_int_equal(counter(&ring->lost), 0);
        assert_int_equal(counter(&ring->written), counter(&ring->taken) * (sizeof(struct capture_record) + PING_SIZE));
        queue_put(w, i, 1); /* there and back */
        counter_becomes(&ring->taken, taken + 2);
    }
    munmap(area, CAPTURE_AREA_SIZE);
    close(fd);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static void a_turn_is_bounded(void **state)
{
    struct worker *w = *state;
    static const char message[] = "configure queues=1 sockets=0\n" ECHO;
    const int fds[] = {dup(w->page_fd), dup(w->queue_far[0])};
    struct config_head head;
    struct forwarder *forwarder;
    struct err err = {0};
    int waiting = 0;

    assert_int_equal(config_head_parse(message, sizeof(message) - 1, &head, &err), 0);
    assert_int_equal(forwarder_new(message, sizeof(message) - 1, &head, fds, 2, &forwarder, &err), 0);
    forwarder_begin(forwarder);
    for (; waiting < 150; waiting++)
        queue_put(w, 0, (uint16_t)waiting);
    lane_on_queue(&forwarder->lanes[0], POLLIN);
    /* each is read and written */
    assert_int_equal(counter(&w->page->slots[0].device_out.packets), LANE_TURN / (2 * (LANE_CALL + PING_SIZE)) + 1);
    lane_on_queue(&forwarder->lanes[0], POLLIN);
    lane_on_queue(&forwarder->lanes[0], POLLIN);
    assert_int_equal(counter(&w->page->slots[0].device_out.packets), waiting);
    forwarder_free(forwarder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_queue_has_its_lane, worker_start, worker_end),
        cmocka_unit_test_setup_teardown(each_socket_has_its_lane, worker_start, worker_end),
        cmocka_unit_test(pages_that_are_none),
        cmocka_unit_test_setup_teardown(any_lane_has_news, worker_start, worker_end),
        cmocka_unit_test_setup_teardown(there_is_news_after_attaching, worker_start, worker_end),
        cmocka_unit_test_setup_teardown(an_echo_gets_whole_packets, worker_start, worker_end),
        cmocka_unit_test_setup_teardown(monitors_share_one_log, worker_start, worker_end),
        cmocka_unit_test_setup_teardown(configuring_again_loses_and_reorders_nothing, worker_start, worker_end),
        cmocka_unit_test_setup_teardown(refused_configuration_leaves_all_lanes, worker_start, worker_end),
        cmocka_unit_test_setup_teardown(a_capture_that_is_told_of_again_goes_on, worker_start, worker_end),
        cmocka_unit_test_setup_teardown(a_turn_is_bounded, worker_start, worker_end),
    };
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

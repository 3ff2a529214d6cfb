/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path_cost: what the worker's own functions cost, without a kernel in between: the same ones that tunwright-worker
 * calls, over memory that is as warm as in its loop.
 *
 *     path_cost MILLISECONDS
 *
 * Each is repeated for about so long, and the quickest of ten stretches counts: the others were disturbed. One JSON
 * object: {name: {"ns", "cycles", "instructions" (null where this machine does not count them), "packets", "bytes"}},
 * of one call, which is about so many packets and bytes.
 */
#include "worker/checksum.h"
#include "worker/merge.h"
#include "worker/split.h"
#include "worker/udp_unwrap.h"
#include "worker/wire_io.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STRETCHES 10
#define ROOM      (128 * 1024)

/* ---- measuring --------------------------------------------------------------------------------------------------- */

enum { NS, CYCLES, INSTRUCTIONS, FIGURE_N };

static int counter_fds[FIGURE_N] = {-1, -1, -1};

static void counters_open(void)
{
    static const uint64_t events[FIGURE_N] = {
        [CYCLES] = PERF_COUNT_HW_CPU_CYCLES,
        [INSTRUCTIONS] = PERF_COUNT_HW_INSTRUCTIONS,
    };

    for (int i = CYCLES; i < FIGURE_N; i++) {
        struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
                                       .size = sizeof(attr),
                                       .config = events[i],
                                       .exclude_kernel = 1,
                                       .exclude_hv = 1};

        counter_fds[i] = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    }
}

static uint64_t counter_read(int which)
{
    struct timespec t;
    uint64_t value = 0;

    if (which == NS) {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
    }
    if (counter_fds[which] < 0 || read(counter_fds[which], &value, sizeof(value)) != sizeof(value))
        return 0;
    return value;
}

struct task {
    const char *name;
    void (*call)(void);
    void (*without)(void); /* what of it is only for the measurement; NULL: nothing */
    size_t packets, bytes;
};

/* Figures of one call. */
static void measure_call(void (*call)(void), uint64_t duration_ns, double ret_figures[static FIGURE_N])
{
    uint64_t count = 0, before[FIGURE_N];
    double best[FIGURE_N];

    for (uint64_t start = counter_read(NS); counter_read(NS) - start < duration_ns / 20; count++) /* warms up, too */
        call();
    count = count * 20 / STRETCHES / 2 + 1;
    for (int stretch = 0; stretch < STRETCHES; stretch++) {
        for (int i = 0; i < FIGURE_N; i++)
            before[i] = counter_read(i);
        for (uint64_t n = 0; n < count; n++)
            call();
        for (int i = FIGURE_N - 1; i >= 0; i--) {
            double figure = (double)(counter_read(i) - before[i]) / (double)count;

            best[i] = stretch == 0 || figure < best[i] ? figure : best[i];
        }
    }
    memcpy(ret_figures, best, sizeof(best));
}

static void measure_task(const struct task *task, uint64_t duration_ns, bool first)
{
    static const char *const names[FIGURE_N] = {"ns", "cycles", "instructions"};
    double figures[FIGURE_N], less[FIGURE_N] = {0};

    measure_call(task->call, duration_ns, figures);
    if (task->without)
        measure_call(task->without, duration_ns, less);
    printf("%s\n  \"%s\": {", first ? "" : ",", task->name);
    for (int i = 0; i < FIGURE_N; i++) {
        if (i == NS || counter_fds[i] >= 0)
            printf("\"%s\": %.1f, ", names[i], figures[i] - less[i]);
        else
            printf("\"%s\": null, ", names[i]);
    }
    printf("\"packets\": %zu, \"bytes\": %zu}", task->packets, task->bytes);
}

/* ---- packets ----------------------------------------------------------------------------------------------------- */

struct sample {
    uint8_t bytes[PACKET_ROOM];
    size_t length, size;
    struct virtio_net_hdr header;
    struct packet_view view;
    struct split split;
    uint8_t segments[ROOM];
    size_t segment, segments_bytes, count;
};

static struct sample tcp, udp, remote, single;
static uint8_t room[ROOM] __attribute__((aligned(64)));
static volatile uint64_t sink;

static void must(bool right, const char *what)
{
    if (right)
        return;
    fprintf(stderr, "path_cost: %s\n", what);
    exit(1);
}

/* A super-packet as the kernel hands it over: IPv4, with `upper` bytes of TCP or UDP header. */
static void sample_make(struct sample *sample, uint8_t protocol, size_t upper, size_t size, size_t count)
{
    uint8_t *p = sample->bytes;
    uint16_t sum;

    sample->size = size;
    sample->length = IPV4_HEADER_SIZE + upper + size * count;
    for (size_t i = 0; i < sample->length; i++)
        p[i] = (uint8_t)(i * 7 + i / 251);
    memset(p, 0, IPV4_HEADER_SIZE + upper);
    p[0] = 0x45;
    store_be16(p + 2, (uint16_t)sample->length);
    p[6] = 0x40; /* DF */
    p[8] = 64;
    p[9] = protocol;
    memcpy(p + 12, (const uint8_t[]){192, 168, 3, 11, 192, 168, 3, 1}, 8);
    store_be16(p + 20, 1234);
    store_be16(p + 22, 5201);
    if (protocol == PROTOCOL_TCP) {
        p[32] = (uint8_t)(upper / 4 << 4);
        p[33] = 0x10; /* ACK */
        store_be16(p + 34, 512);
        memset(p + 40, 1, upper - 20); /* options: NOP */
    } else {
        store_be16(p + 24, (uint16_t)(upper + size * count));
    }
    sum = checksum_finish(checksum_add(0, p, IPV4_HEADER_SIZE));
    memcpy(p + 10, &sum, 2);
    sample->header = (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = protocol == PROTOCOL_TCP ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_UDP_L4,
        .hdr_len = (uint16_t)(IPV4_HEADER_SIZE + upper),
        .gso_size = (uint16_t)size,
        .csum_start = IPV4_HEADER_SIZE,
        .csum_offset = protocol == PROTOCOL_TCP ? SPLIT_TCP_CHECKSUM : SPLIT_UDP_CHECKSUM,
    };
    must(packet_parse_bare(p, sample->length, &sample->view) == 0 &&
             split_init(&sample->split, &sample->header, p, sample->length, &sample->view) == 0,
         "a packet of its own making is refused");
}

static void sample_split(struct sample *sample, uint8_t *out)
{
    struct split split = sample->split;

    sample->count = split_next(&split, out, ROOM, WIRE_BATCH_SEGMENTS, &sample->segment, &sample->segments_bytes);
}

/* As take_datagrams in udp_in.c does it. */
static void sample_merge(const struct sample *sample, bool usable)
{
    struct merge merge = {.count = 0};
    struct virtio_net_hdr header;
    size_t head = 0;

    for (size_t at = 0; at < sample->segments_bytes; at += sample->segment) {
        struct udp_arrival arrival;

        if (merge.verified && memcmp(room + at, merge.packet - head, head) == 0 &&
            merge_append_alike(&merge, room + at + head, sample->segment - head))
            continue;
        must(udp_unwrap(DEVICE_TUN, room + at, sample->segment, 0, &arrival) == PACKET_FORWARD, "a segment is refused");
        if (merge.count > 0 && merge_append(&merge, room + at + arrival.head, sample->segment - arrival.head,
                                            &arrival.view, &arrival.header))
            continue;
        must(merge.count == 0 || !usable, "segments are not merged");
        head = arrival.head;
        merge_begin(&merge, room + at + arrival.head, sample->segment - arrival.head, &arrival.view, &arrival.header,
                    true);
    }
    merge_finish(&merge, &header);
}

/* ---- the tasks --------------------------------------------------------------------------------------------------- */

static void split_tcp(void)
{
    sample_split(&tcp, room);
}

static void split_udp(void)
{
    sample_split(&udp, room);
}

static void split_remote(void)
{
    sample_split(&remote, room);
}

static void copy_tcp(void)
{
    memcpy(room, tcp.segments, tcp.segments_bytes);
}

static void copy_udp(void)
{
    memcpy(room, udp.segments, udp.segments_bytes);
}

static void copy_remote(void)
{
    memcpy(room, remote.segments, remote.segments_bytes);
}

static void merge_tcp(void)
{
    copy_tcp();
    sample_merge(&tcp, true);
}

static void merge_udp(void)
{
    copy_udp();
    sample_merge(&udp, true);
}

static void merge_remote(void)
{
    copy_remote();
    sample_merge(&remote, true);
}

static void inspect_single(void)
{
    static const struct endpoint elsewhere = {.addr = {.family = AF_INET, .bytes = {10, 32, 0, 1}}, .port = 5000};
    struct packet_view view;

    must(udp_inspect(DEVICE_TUN, single.bytes, 64, &elsewhere, 1, &view) == PACKET_FORWARD, "a packet is refused");
    memcpy(room, single.bytes, 64);
}

static void unwrap_single(void)
{
    struct udp_arrival arrival;
    struct merge merge;

    must(udp_unwrap(DEVICE_TUN, single.bytes, 64, 0, &arrival) == PACKET_FORWARD, "a packet is refused");
    merge_begin(&merge, single.bytes, 64, &arrival.view, &arrival.header, true);
}

static void sum_payload(void)
{
    sink = checksum_add(0, tcp.bytes, 1448);
}

static void sum_header(void)
{
    sink = checksum_add(0, tcp.bytes, 20);
}

static void copy_payload(void)
{
    sink = checksum_add_copy(0, room, tcp.bytes, 1448);
}

static void samples_make(void)
{
    static struct udp_head head;

    sample_make(&tcp, PROTOCOL_TCP, 32, 1420, 44);
    sample_make(&udp, PROTOCOL_UDP, 8, 1372, 46);
    sample_make(&remote, PROTOCOL_TCP, 32, 1408, 44);
    udp_head_make(4, &remote.header, &head);
    remote.split.head = head.bytes;
    remote.split.head_length = head.length;
    remote.split.leave_checksum = true;
    sample_make(&single, PROTOCOL_UDP, 8, 36, 1);
    sample_split(&tcp, tcp.segments);
    sample_split(&udp, udp.segments);
    sample_split(&remote, remote.segments);
    must(tcp.count == 44 && udp.count == 46 && remote.count == 44, "a super-packet is not cut whole");
}

int main(int argc, char **argv)
{
    static const struct task tasks[] = {
        {"split_tcp", split_tcp, NULL, 44, 44 * 1420},
        {"split_udp", split_udp, NULL, 46, 46 * 1372},
        {"split_tcp_gue", split_remote, NULL, 44, 44 * 1408},
        {"merge_tcp", merge_tcp, copy_tcp, 44, 44 * 1420},
        {"merge_udp", merge_udp, copy_udp, 46, 46 * 1372},
        {"merge_tcp_gue", merge_remote, copy_remote, 44, 44 * 1408},
        {"inspect_64", inspect_single, NULL, 1, 64},
        {"unwrap_64", unwrap_single, NULL, 1, 64},
        {"checksum_20", sum_header, NULL, 1, 20},
    };
    static const struct task variant_tasks[] = {
        {"checksum_1448", sum_payload, NULL, 1, 1448},
        {"checksum_copy_1448", copy_payload, NULL, 1, 1448},
    };
    static const char *const variant_names[CHECKSUM_VARIANT_N] = {"plain", "avx2", "avx512"};
    unsigned long duration_ms = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;

    if (duration_ms < 1 || duration_ms > 10000) {
        fprintf(stderr, "usage: path_cost MILLISECONDS\n");
        return 2;
    }
    counters_open();
    samples_make();
    printf("{");
    for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
        measure_task(&tasks[i], duration_ms * 1000000ULL, i == 0);
    for (enum checksum_variant v = 0; v < CHECKSUM_VARIANT_N; v++) {
        if (checksum_force(v) < 0)
            continue;
        for (size_t i = 0; i < ARRAY_SIZE(variant_tasks); i++) {
            char name[64];
            struct task task = variant_tasks[i];

            snprintf(name, sizeof(name), "%s_%s", task.name, variant_names[v]);
            task.name = name;
            measure_task(&task, duration_ms * 1000000ULL, false);
        }
    }
    printf("\n}\n");
    return 0;
}

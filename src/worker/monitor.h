/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WORKER_MONITOR_H
#define WORKER_MONITOR_H

#include "worker/packet.h"

#include <pthread.h>

#define MONITOR_TEXT_SIZE 160

/* Its lanes share one thing: the rate at which the log is written is the worker's. */
struct monitor {
    struct monitor *all; /* lane 0's, which holds the rest */
    pthread_mutex_t lock;
    struct rate_limit lines;
    uint64_t suppressed;
};

/* What a packet is, in a few words: "IPv4 192.168.3.11 > 192.168.3.12 ICMP". */
void monitor_describe(enum device_kind kind, const uint8_t *bytes, size_t length, char *out, size_t size);

#endif

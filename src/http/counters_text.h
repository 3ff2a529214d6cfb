/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counters_text: counters as JSON text, without a tree in between: a stream prints hundreds of devices many times a
 * second. Integers are printed in full, never through a double.
 */
#ifndef TUNWRIGHT_HTTP_COUNTERS_TEXT_H
#define TUNWRIGHT_HTTP_COUNTERS_TEXT_H

#include "tunwright/engine.h"

/* What two readings of one device are compared by. */
struct counters_mark {
    struct uuid uuid;
    char name[DEVICE_NAME_SIZE];
    int64_t time_ns;  /* CLOCK_MONOTONIC of the reading */
    uint32_t ifindex; /* 0: it had no counters of the kernel */
    struct counter_pair kernel_rx, kernel_tx;
    int64_t since_ns; /* 0: it had no worker */
    struct counter_pair device_in, device_out, wire_in, wire_out;
    uint64_t drops; /* for all reasons */
};
struct counters_mark counters_mark_of(const struct snapshot_device *device, const struct counters *counters,
                                      int64_t now_monotonic_ns);

/* The counters document, {"device": …, "worker": …}. */
void counters_print(struct buf *out, const struct snapshot_device *device, const struct counters *counters);
/* The same with `rates` at its end; null where `before` (which may be NULL) and `now` cannot be compared. */
void counters_print_with_rates(struct buf *out, const struct snapshot_device *device, const struct counters *counters,
                               const struct counters_mark *before, const struct counters_mark *now);

#endif

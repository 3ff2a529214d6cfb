/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history: what each device counted, second by second for ten minutes, and coarser for a day.
 *
 * A thread reads all devices' counters once a second, and adds what they increased by to three rings a device. The
 * rings are a file a device, mapped, in a directory that lives as long as the machine is up: they survive the daemon,
 * whatever ends it. What was not observed is a gap: nobody guesses what happened then, and what was counted meanwhile
 * shows nowhere.
 *
 * Steps are counted on CLOCK_BOOTTIME, from the machine's start: they are all of one length, whatever happens to the
 * wall clock, and a time in which the machine slept is a gap. Wall-clock times are worked out when somebody reads: where
 * that clock was set, the whole history shows the time as it is known now.
 */
#ifndef TUNWRIGHT_HISTORY_H
#define TUNWRIGHT_HISTORY_H

#include "tunwright/engine.h"

enum history_series {
    HISTORY_KERNEL_RX_PACKETS,
    HISTORY_KERNEL_RX_BYTES,
    HISTORY_KERNEL_TX_PACKETS,
    HISTORY_KERNEL_TX_BYTES,
    HISTORY_KERNEL_DROPPED, /* in both directions */
    HISTORY_WORKER_DEVICE_IN_PACKETS,
    HISTORY_WORKER_DEVICE_IN_BYTES,
    HISTORY_WORKER_DEVICE_OUT_PACKETS,
    HISTORY_WORKER_DEVICE_OUT_BYTES,
    HISTORY_WORKER_WIRE_IN_PACKETS,
    HISTORY_WORKER_WIRE_IN_BYTES,
    HISTORY_WORKER_WIRE_OUT_PACKETS,
    HISTORY_WORKER_WIRE_OUT_BYTES,
    HISTORY_WORKER_DROPS, /* for all reasons */
    HISTORY_SERIES_N
};
/* "kernel.rx_packets", "worker.device_in.bytes", … */
const char *history_series_name(enum history_series series);

enum history_scale { HISTORY_SECONDS, HISTORY_TENS, HISTORY_MINUTES, HISTORY_SCALE_N };
#define HISTORY_STEPS_MAX 1440
struct history_scale_size {
    unsigned step_s; /* a step's length */
    unsigned steps;  /* how many are kept */
};
extern const struct history_scale_size history_scale_sizes[HISTORY_SCALE_N]; /* 1 s × 600, 10 s × 720, 60 s × 1440 */

/* The last `count` steps, the oldest first. A step that was observed in part has what was seen of it. */
struct history_view {
    size_t count;
    int64_t end_ns; /* CLOCK_REALTIME, where the last step ended */
    struct history_step {
        bool has_kernel, has_worker; /* observed: its values are what they say */
        uint64_t values[HISTORY_SERIES_N];
    } * steps; /* owned */
};
void history_view_done(struct history_view *view);

struct history;
/* Keeps its files in the directory `path`, which it makes, and clears of those of devices that are no more. The engine is
 * borrowed. */
int history_start(struct engine *engine, const char *path, struct history **ret_history, struct err *ret_err);
/* Joins the thread. What was observed stays for the next start. */
void history_stop(struct history *history);

/* From any thread, without holding up the readings: `count` steps, at most those that are kept. Of a device that was not
 * read yet, and where `history` is NULL, none of them was observed. -ENOMEM. */
int history_read(struct history *history, const struct snapshot_device *device, enum history_scale scale, size_t count,
                 struct history_view *ret_view);

#endif

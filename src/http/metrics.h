/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: everything that can be counted, in the Prometheus text format 0.0.4.
 *
 * One metric is a HELP line, a TYPE line and its samples, all together. Names end in their unit; counters in _total. The
 * labels of a device are its name, and on tunwright_device_info what else names it; the user's own labels stand on
 * tunwright_device_label, one sample each, so that a change of them does not begin all series anew.
 */
#ifndef TUNWRIGHT_HTTP_METRICS_H
#define TUNWRIGHT_HTTP_METRICS_H

#include "answer_counts.h"

#include "tunwright/engine.h"

/* What the process says of itself (/proc/self). Zero where it cannot be had. */
struct process_facts {
    double start_time_s, cpu_s; /* since the epoch; user and system */
    uint64_t resident_bytes, virtual_bytes;
    uint64_t open_fds, max_fds;
};
void process_facts_read(struct process_facts *ret_facts);

struct metrics {
    const struct snapshot *snapshot;
    const struct counters *counters;   /* by the devices' places in the snapshot */
    const struct event_filter *filter; /* the devices that are shown */
    const struct answer_counts *answered;
    struct process_facts process;
    uint64_t newest_event;
    size_t streams, connections;
    bool files_tried;
};
/* Pure. */
void metrics_print(const struct metrics *metrics, struct buf *out);

#endif

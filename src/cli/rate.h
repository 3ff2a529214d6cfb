/* SPDX-License-Identifier: Apache-2.0 */
/* rate: what one device's entry in a message of counters says of its traffic. */
#ifndef TUNWRIGHT_CLI_RATE_H
#define TUNWRIGHT_CLI_RATE_H

#include <stdbool.h>

struct cJSON;

/* `in` came out of the tunnel to this host, `out` went into it: the kernel's rx and tx; packets that the worker dropped. */
struct rate {
    bool known;                                               /* there are rates: not in the first message */
    double in_packets, in_bits, out_packets, out_bits, drops; /* a second */
    double dropped;                                           /* since the beginning */
    const char *reason;                                       /* for most of those; borrowed from the entry, or "" */
};

void rate_of(const struct cJSON *entry, struct rate *ret_rate);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counters_cache: counters that several clients ask for at the same moment are read once. An answer is given again for
 * COUNTERS_FRESH_NS after its reading began, and says by its `time` when that was.
 */
#ifndef TUNWRIGHT_HTTP_COUNTERS_CACHE_H
#define TUNWRIGHT_HTTP_COUNTERS_CACHE_H

#include "answer.h"

#include <pthread.h>

#define COUNTERS_FRESH_NS    (NSEC_PER_MSEC / 5)
#define COUNTERS_CACHE_SLOTS 16

/* Zeroed, but for the mutex. */
struct counters_cache {
    pthread_mutex_t mutex;
    struct counters_slot {
        uint64_t sequence; /* the snapshot's */
        size_t place;      /* the device's in it */
        int64_t read_ns;   /* CLOCK_MONOTONIC */
        struct shared_response *answer;
    } slots[COUNTERS_CACHE_SLOTS];
};
void counters_cache_done(struct counters_cache *cache);

/* A reference, or NULL: there is none that is fresh. */
struct shared_response *counters_cache_find(struct counters_cache *cache, const struct snapshot *snapshot, size_t place,
                                            int64_t now_ns);
/* Keeps a reference of its own. */
void counters_cache_put(struct counters_cache *cache, const struct snapshot *snapshot, size_t place, int64_t read_ns,
                        struct shared_response *answer);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counters: one thread's stores into its slot of the counter page. Whoever reads does so whenever he likes: a value is
 * written whole or not at all, and nobody else writes, so a plain load and store are enough.
 */
#ifndef WORKER_COUNTERS_H
#define WORKER_COUNTERS_H

#include "tunwright/worker.h"

#include <stddef.h>

struct err;

static inline void counter_raise(uint64_t *counter, uint64_t by)
{
    __atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

static inline void counter_pair_add(struct counter_pair *pair, size_t bytes)
{
    counter_raise(&pair->packets, 1);
    counter_raise(&pair->bytes, bytes);
}

static inline void counter_pair_add_many(struct counter_pair *pair, size_t packets, size_t bytes)
{
    counter_raise(&pair->packets, packets);
    counter_raise(&pair->bytes, bytes);
}

static inline void counter_drop(struct counter_slot *slot, enum drop_reason reason)
{
    counter_raise(&slot->drops[reason], 1);
}

/* Maps the page behind the descriptor (borrowed) after checking that it is one, of this version, and that it cannot
 * shrink under us. counter_page_unmap takes it away again. */
int counter_page_map(int fd, struct counter_page **ret_page, struct err *ret_err);
void counter_page_unmap(struct counter_page *page);

#endif

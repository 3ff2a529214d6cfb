/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failure_limit: who failed too often to be listened to.
 *
 * Each source has a bucket: FAILURE_BURST failures at once, then one each FAILURE_INTERVAL_NS. A source is an IPv4
 * address, an IPv6 /64 (whoever has one address of it has them all), or a user on the Unix socket.
 *
 * The table has a fixed size and is never searched as a whole: a source's hash, with a seed that nobody outside knows,
 * leads to a set of FAILURE_WAYS entries. An entry is free again once its bucket is full. In a set without a free one, a
 * newcomer that fails takes the place of the one that owes least, and takes over what that one owes. So
 *
 *   - who never failed is never refused, however full the table is: a flood of strangers locks nobody out;
 *   - nobody's debt is forgotten for nothing. To push out a source that is refused, every other entry of its set must
 *     owe as much: FAILURE_BURST failures from each of FAILURE_WAYS sources of one set, at which nobody can aim, and
 *     again and again, for what they owe runs off as well. What was pushed out comes back, at its next failure, with the
 *     debt of the one whose place it takes: it won one guess;
 *   - the price: in a flood from thousands of sources a newcomer may be refused at its first failure, not its tenth.
 *
 * Whoever has more sources than the table has entries is slowed down by nothing but that one guess costs one request.
 * What stops them is that a token has 256 bits; refusing strangers as well would hand them the lock.
 */
#ifndef TUNWRIGHT_HTTP_FAILURE_LIMIT_H
#define TUNWRIGHT_HTTP_FAILURE_LIMIT_H

#include "tunwright/model.h"

#define FAILURE_BURST       10
#define FAILURE_INTERVAL_NS (6 * NSEC_PER_SEC)
#define FAILURE_SETS        512U
#define FAILURE_WAYS        8U

enum failure_source_kind { FAILURE_SOURCE_NONE, FAILURE_SOURCE_IPV4, FAILURE_SOURCE_IPV6, FAILURE_SOURCE_USER };
struct failure_source {
    enum failure_source_kind kind;
    uint64_t id; /* the address, the first 64 bits of it, or the uid */
};
struct failure_source failure_source_of_address(const struct ip_addr *addr);
struct failure_source failure_source_of_user(uint32_t uid);

struct failure_limit {
    uint64_t seed[2]; /* random */
    struct failure_entry {
        struct failure_source source; /* kind NONE: free */
        int64_t full_ns;              /* when the bucket is full again: what it owes is the time until then */
    } entries[FAILURE_SETS][FAILURE_WAYS];
};

/* How long the source is not to be listened to from `now_ns` on: 0 where it is. Time is CLOCK_MONOTONIC. */
int64_t failure_limit_wait_ns(const struct failure_limit *limit, struct failure_source source, int64_t now_ns);

/* The source failed. */
void failure_limit_note(struct failure_limit *limit, struct failure_source source, int64_t now_ns);

#endif

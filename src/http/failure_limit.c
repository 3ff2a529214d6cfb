/* SPDX-License-Identifier: Apache-2.0 */
#include "failure_limit.h"

struct failure_source failure_source_of_address(const struct ip_addr *addr)
{
    uint64_t id = 0;
    size_t size = addr->family == AF_INET ? 4 : 8;
    for (size_t i = 0; i < size; i++)
        id = id << 8 | addr->bytes[i];
    return (struct failure_source){addr->family == AF_INET ? FAILURE_SOURCE_IPV4 : FAILURE_SOURCE_IPV6, id};
}

struct failure_source failure_source_of_user(uint32_t uid)
{
    return (struct failure_source){FAILURE_SOURCE_USER, uid};
}

/* Two rounds of multiply and fold, with a secret before each: nobody sees the outcome, so it need not be more. */
static size_t set_of(const struct failure_limit *limit, struct failure_source source)
{
    uint64_t hash = source.id ^ (uint64_t)source.kind << 61;
    for (size_t i = 0; i < ARRAY_SIZE(limit->seed); i++) {
        hash = (hash ^ limit->seed[i]) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 32;
    }
    return hash % FAILURE_SETS;
}

static bool source_equal(struct failure_source a, struct failure_source b)
{
    return a.kind == b.kind && a.id == b.id;
}

int64_t failure_limit_wait_ns(const struct failure_limit *limit, struct failure_source source, int64_t now_ns)
{
    const struct failure_entry *set = limit->entries[set_of(limit, source)];
    for (size_t i = 0; i < FAILURE_WAYS; i++) {
        if (!source_equal(set[i].source, source))
            continue;
        int64_t wait = set[i].full_ns - now_ns - (FAILURE_BURST - 1) * FAILURE_INTERVAL_NS;
        return wait > 0 ? wait : 0;
    }
    return 0;
}

/* The source's own entry; else a free one; else the one that owes least, with what it owes. */
static struct failure_entry *entry_take(struct failure_limit *limit, struct failure_source source)
{
    struct failure_entry *set = limit->entries[set_of(limit, source)], *least = &set[0];
    for (size_t i = 0; i < FAILURE_WAYS; i++) {
        if (source_equal(set[i].source, source))
            return &set[i];
        if (set[i].full_ns < least->full_ns)
            least = &set[i];
    }
    least->source = source;
    return least;
}

void failure_limit_note(struct failure_limit *limit, struct failure_source source, int64_t now_ns)
{
    struct failure_entry *entry = entry_take(limit, source);
    const int64_t most_ns = now_ns + FAILURE_BURST * FAILURE_INTERVAL_NS;
    entry->full_ns = (entry->full_ns > now_ns ? entry->full_ns : now_ns) + FAILURE_INTERVAL_NS;
    if (entry->full_ns > most_ns)
        entry->full_ns = most_ns;
}

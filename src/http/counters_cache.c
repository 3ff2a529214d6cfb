/* SPDX-License-Identifier: Apache-2.0 */
#include "counters_cache.h"

void counters_cache_done(struct counters_cache *cache)
{
    for (size_t i = 0; i < COUNTERS_CACHE_SLOTS; i++)
        shared_response_release(cache->slots[i].answer);
    pthread_mutex_destroy(&cache->mutex);
}

struct shared_response *counters_cache_find(struct counters_cache *cache, const struct snapshot *snapshot, size_t place,
                                            int64_t now_ns)
{
    const struct counters_slot *slot = &cache->slots[place % COUNTERS_CACHE_SLOTS];
    struct shared_response *answer = NULL;
    pthread_mutex_lock(&cache->mutex);
    if (slot->sequence == snapshot->sequence && slot->place == place && now_ns - slot->read_ns < COUNTERS_FRESH_NS)
        answer = shared_response_share(slot->answer);
    pthread_mutex_unlock(&cache->mutex);
    return answer;
}

void counters_cache_put(struct counters_cache *cache, const struct snapshot *snapshot, size_t place, int64_t read_ns,
                        struct shared_response *answer)
{
    struct counters_slot *slot = &cache->slots[place % COUNTERS_CACHE_SLOTS];
    pthread_mutex_lock(&cache->mutex);
    struct shared_response *old = slot->answer;
    *slot = (struct counters_slot){snapshot->sequence, place, read_ns, shared_response_share(answer)};
    pthread_mutex_unlock(&cache->mutex);
    shared_response_release(old);
}

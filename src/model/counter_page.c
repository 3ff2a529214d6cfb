/* SPDX-License-Identifier: Apache-2.0 */
#include "tunwright/base.h"
#include "tunwright/worker.h"

#include <string.h>

static const char *const drop_reasons[] = {
    [DROP_NO_PEER] = "no_peer",
    [DROP_UNKNOWN_SOURCE] = "unknown_source",
    [DROP_TOO_BIG] = "too_big",
    [DROP_MALFORMED] = "malformed",
    [DROP_UNAUTHENTICATED] = "unauthenticated",
    [DROP_REPLAYED] = "replayed",
    [DROP_QUEUE_FULL] = "queue_full",
    [DROP_LOOP] = "loop",
    [DROP_ECN] = "ecn",
    [DROP_DEVICE_DOWN] = "device_down",
    [DROP_WIRE_ERROR] = "wire_error",
    [DROP_NOT_FORWARDED] = "not_forwarded",
    [DROP_RCVBUF_FULL] = "rcvbuf_full",
};
_Static_assert(ARRAY_SIZE(drop_reasons) == DROP_REASON_N, "a name for each reason");

const char *drop_reason_name(enum drop_reason reason)
{
    return (unsigned)reason < DROP_REASON_N ? drop_reasons[reason] : "unknown";
}

static void counter_pair_sum(const struct counter_pair *pair, struct counter_pair *sum)
{
    sum->packets += __atomic_load_n(&pair->packets, __ATOMIC_RELAXED);
    sum->bytes += __atomic_load_n(&pair->bytes, __ATOMIC_RELAXED);
}

/* The writer is another process, and not to be trusted: all slots are read whatever its slot_count says. */
void counter_page_sum(const struct counter_page *page, struct counter_slot *ret_sum)
{
    memset(ret_sum, 0, sizeof(*ret_sum));
    for (size_t i = 0; i < COUNTER_SLOTS; i++) {
        const struct counter_slot *slot = &page->slots[i];
        counter_pair_sum(&slot->device_in, &ret_sum->device_in);
        counter_pair_sum(&slot->wire_out, &ret_sum->wire_out);
        counter_pair_sum(&slot->wire_in, &ret_sum->wire_in);
        counter_pair_sum(&slot->device_out, &ret_sum->device_out);
        for (size_t reason = 0; reason < ARRAY_SIZE(slot->drops); reason++)
            ret_sum->drops[reason] += __atomic_load_n(&slot->drops[reason], __ATOMIC_RELAXED);
    }
}

bool counter_page_has_feature(const struct counter_page *page, uint32_t feature)
{
    return __atomic_load_n(&page->features, __ATOMIC_RELAXED) & feature;
}

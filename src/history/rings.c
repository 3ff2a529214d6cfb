/* SPDX-License-Identifier: Apache-2.0 */
#include "rings.h"

#include <sched.h>
#include <string.h>

const struct history_scale_size history_scale_sizes[HISTORY_SCALE_N] = {
    [HISTORY_SECONDS] = {1, 600},
    [HISTORY_TENS] = {10, 720},
    [HISTORY_MINUTES] = {60, 1440},
};
/* Where each ring's places are. The coarser ones have one more, for the step that is not over yet. */
static const struct scale_places {
    size_t first, count;
} scale_places[HISTORY_SCALE_N] = {{0, 600}, {600, 721}, {600 + 721, 1441}};
_Static_assert(600 + 721 + 1441 == RINGS_STEPS && HISTORY_STEPS_MAX == 1440, "the rings are as long as that");

static const char *const series_names[] = {
    [HISTORY_KERNEL_RX_PACKETS] = "kernel.rx_packets",
    [HISTORY_KERNEL_RX_BYTES] = "kernel.rx_bytes",
    [HISTORY_KERNEL_TX_PACKETS] = "kernel.tx_packets",
    [HISTORY_KERNEL_TX_BYTES] = "kernel.tx_bytes",
    [HISTORY_KERNEL_DROPPED] = "kernel.dropped",
    [HISTORY_WORKER_DEVICE_IN_PACKETS] = "worker.device_in.packets",
    [HISTORY_WORKER_DEVICE_IN_BYTES] = "worker.device_in.bytes",
    [HISTORY_WORKER_DEVICE_OUT_PACKETS] = "worker.device_out.packets",
    [HISTORY_WORKER_DEVICE_OUT_BYTES] = "worker.device_out.bytes",
    [HISTORY_WORKER_WIRE_IN_PACKETS] = "worker.wire_in.packets",
    [HISTORY_WORKER_WIRE_IN_BYTES] = "worker.wire_in.bytes",
    [HISTORY_WORKER_WIRE_OUT_PACKETS] = "worker.wire_out.packets",
    [HISTORY_WORKER_WIRE_OUT_BYTES] = "worker.wire_out.bytes",
    [HISTORY_WORKER_DROPS] = "worker.drops",
};
_Static_assert(ARRAY_SIZE(series_names) == HISTORY_SERIES_N, "each series has its name");

const char *history_series_name(enum history_series series)
{
    return (unsigned)series < HISTORY_SERIES_N ? series_names[series] : "unknown";
}

static bool series_is_kernels(size_t series)
{
    return series <= HISTORY_KERNEL_DROPPED;
}

/* ---- the head ---------------------------------------------------------------------------------------------------- */

void rings_format(struct rings_head *head, const struct uuid *uuid, const uint8_t boot_id[static 16])
{
    *head = (struct rings_head){
        .magic = RINGS_MAGIC,
        .version = RINGS_VERSION,
        .series = HISTORY_SERIES_N,
        .size = sizeof(struct rings_file),
    };
    memcpy(head->uuid, uuid->bytes, sizeof head->uuid);
    memcpy(head->boot_id, boot_id, sizeof head->boot_id);
}

bool rings_head_is_good(const struct rings_head *head, const struct uuid *uuid, const uint8_t boot_id[static 16],
                        int64_t now_s)
{
    if (head->magic != RINGS_MAGIC || head->version != RINGS_VERSION || head->series != HISTORY_SERIES_N ||
        head->size != sizeof(struct rings_file) || memcmp(head->uuid, uuid->bytes, sizeof head->uuid) != 0 ||
        memcmp(head->boot_id, boot_id, sizeof head->boot_id) != 0)
        return false;
    if (head->until_s < 0 || head->until_s > now_s + 1)
        return false;
    for (size_t scale = 0; scale < HISTORY_SCALE_N; scale++)
        if (head->newest[scale] < 0 || head->newest[scale] > (now_s + 1) / history_scale_sizes[scale].step_s)
            return false;
    return true;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* All stores release, all loads acquire: so none moves across those of `sequence`, and no fence is needed. */
#define shared_store(at, value) __atomic_store_n((at), (value), __ATOMIC_RELEASE)
#define shared_load(at)         __atomic_load_n((at), __ATOMIC_ACQUIRE)

static size_t place_of(size_t scale, int64_t step)
{
    return scale_places[scale].first + (size_t)step % scale_places[scale].count;
}

static uint64_t *record_at(const struct rings *rings, size_t place)
{
    return rings->file->pages[place / RINGS_RECORDS].records[place % RINGS_RECORDS];
}

static bool record_has_room(struct rings *rings, size_t place)
{
    size_t page = place / RINGS_RECORDS;
    if (!rings->has_room[page])
        rings->has_room[page] = !rings->make_room || rings->make_room(rings->context, page) == 0;
    return rings->has_room[page];
}

/* The ring's newest step is this one; what it passes over was not observed. */
static void ring_advance(struct rings *rings, size_t scale, int64_t step)
{
    struct rings_head *head = &rings->file->head;
    int64_t from = head->newest[scale] + 1, places = (int64_t)scale_places[scale].count;
    if (step < from)
        return;
    if (step - from >= places)
        from = step - places + 1;
    for (; from <= step; from++)
        shared_store(&head->flags[place_of(scale, from)], 0);
    shared_store(&head->newest[scale], step);
}

static bool values_are_zero(const uint64_t values[static HISTORY_SERIES_N])
{
    for (size_t i = 0; i < HISTORY_SERIES_N; i++)
        if (values[i])
            return false;
    return true;
}

static void ring_add(struct rings *rings, size_t scale, int64_t step, uint8_t seen,
                     const uint64_t values[static HISTORY_SERIES_N])
{
    ring_advance(rings, scale, step);
    size_t place = place_of(scale, step);
    uint8_t *flags = &rings->file->head.flags[place];
    uint8_t now = *flags;
    if (!values_are_zero(values)) {
        if (!record_has_room(rings, place))
            return; /* as if it had not been observed */
        uint64_t *record = record_at(rings, place);
        for (size_t i = 0; i < HISTORY_SERIES_N; i++)
            shared_store(&record[i], (now & RINGS_VALUES ? record[i] : 0) + values[i]);
        now |= RINGS_VALUES;
    }
    shared_store(flags, (uint8_t)(now | seen));
}

/* What of the two readings can be compared. What shrank was begun anew in between. */
static uint8_t increase(const struct rings_reading *before, const struct rings_reading *now,
                        uint64_t ret_values[static HISTORY_SERIES_N])
{
    uint8_t seen = 0;
    if (now->ifindex && now->ifindex == before->ifindex)
        seen |= RINGS_KERNEL;
    if (now->since_ns && now->since_ns == before->since_ns)
        seen |= RINGS_WORKER;
    for (size_t i = 0; i < HISTORY_SERIES_N; i++)
        if (now->values[i] < before->values[i])
            seen &= (uint8_t) ~(series_is_kernels(i) ? RINGS_KERNEL : RINGS_WORKER);
    for (size_t i = 0; i < HISTORY_SERIES_N; i++) {
        bool counts = seen & (series_is_kernels(i) ? RINGS_KERNEL : RINGS_WORKER);
        ret_values[i] = counts ? now->values[i] - before->values[i] : 0;
    }
    return seen;
}

/* The increase of several seconds, evenly. */
static void rings_spread(struct rings *rings, int64_t from_s, int64_t until_s, uint8_t seen,
                         const uint64_t values[static HISTORY_SERIES_N])
{
    uint64_t parts = (uint64_t)(until_s - from_s);
    for (uint64_t part = 0; part < parts; part++) {
        int64_t second = from_s + (int64_t)part;
        uint64_t share[HISTORY_SERIES_N];
        for (size_t i = 0; i < HISTORY_SERIES_N; i++)
            share[i] = values[i] / parts + (part < values[i] % parts);
        for (size_t scale = 0; scale < HISTORY_SCALE_N; scale++)
            ring_add(rings, scale, second / history_scale_sizes[scale].step_s, seen, share);
    }
}

void rings_sample(struct rings *rings, int64_t time_ns, const struct rings_reading *reading)
{
    int64_t now_s = (time_ns + NSEC_PER_SEC / 2) / NSEC_PER_SEC;
    if (now_s < 1 || (rings->has_base && now_s <= rings->base_s))
        return; /* too early: its increase is the next one's */
    uint64_t values[HISTORY_SERIES_N];
    uint8_t seen = 0;
    if (rings->has_base && now_s - rings->base_s <= RINGS_LATE_MAX_S)
        seen = increase(&rings->base, reading, values);

    __atomic_store_n(&rings->sequence, rings->sequence + 1, __ATOMIC_RELAXED);
    if (seen)
        rings_spread(rings, rings->base_s, now_s, seen, values);
    for (size_t scale = 0; scale < HISTORY_SCALE_N; scale++)
        ring_advance(rings, scale, (now_s - 1) / history_scale_sizes[scale].step_s);
    shared_store(&rings->file->head.until_s, now_s);
    shared_store(&rings->sequence, rings->sequence + 1);

    rings->base = *reading;
    rings->base_s = now_s;
    rings->has_base = true;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int64_t rings_copy(const struct rings *rings, enum history_scale scale, size_t count,
                          struct history_step *ret_steps)
{
    const struct rings_head *head = &rings->file->head;
    int64_t places = (int64_t)scale_places[scale].count, newest = shared_load(&head->newest[scale]);
    int64_t end = shared_load(&head->until_s) / history_scale_sizes[scale].step_s;
    for (size_t i = 0; i < count; i++) {
        int64_t step = end - (int64_t)(count - i);
        size_t place = step >= 0 ? place_of(scale, step) : 0;
        bool is_kept = step >= 0 && step <= newest && step > newest - places;
        uint8_t flags = is_kept ? shared_load(&head->flags[place]) : 0;
        ret_steps[i] = (struct history_step){.has_kernel = flags & RINGS_KERNEL, .has_worker = flags & RINGS_WORKER};
        const uint64_t *record = record_at(rings, place);
        for (size_t series = 0; series < HISTORY_SERIES_N && flags & RINGS_VALUES; series++)
            ret_steps[i].values[series] = shared_load(&record[series]);
    }
    return end * history_scale_sizes[scale].step_s;
}

int64_t rings_read(const struct rings *rings, enum history_scale scale, size_t count, struct history_step *ret_steps)
{
    for (;;) {
        uint64_t before = shared_load(&rings->sequence);
        if (!(before & 1)) {
            int64_t end_s = rings_copy(rings, scale, count, ret_steps);
            if (__atomic_load_n(&rings->sequence, __ATOMIC_RELAXED) == before)
                return end_s;
        }
        sched_yield(); /* the writer needs a microsecond */
    }
}

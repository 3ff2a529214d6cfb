/* SPDX-License-Identifier: Apache-2.0 */
#include "capture_reader.h"

#include <errno.h>
#include <string.h>

static uint64_t written_of(const struct capture_reader *reader, unsigned ring)
{
    return __atomic_load_n(&reader->area->rings[ring].written, __ATOMIC_ACQUIRE);
}

bool capture_reader_has_some(const struct capture_reader *reader)
{
    for (unsigned ring = 0; ring < CAPTURE_RINGS; ring++)
        if (written_of(reader, ring) != reader->read[ring])
            return true;
    return false;
}

static void ring_pass(struct capture_reader *reader, unsigned ring, uint64_t bytes)
{
    reader->read[ring] += bytes;
    __atomic_store_n(&reader->area->rings[ring].read, reader->read[ring], __ATOMIC_RELEASE);
}

/* The ring's next record, without its bytes: 1, 0 where there is none, or -EPROTO. */
static int ring_look(struct capture_reader *reader, unsigned ring, struct capture_record *ret_record)
{
    for (;;) {
        uint64_t waiting = written_of(reader, ring) - reader->read[ring];
        uint64_t at = reader->read[ring] % CAPTURE_RING_SIZE, to_end = CAPTURE_RING_SIZE - at;
        struct capture_record record;
        if (!waiting)
            return 0;
        if (waiting > CAPTURE_RING_SIZE || waiting % 8)
            return -EPROTO;
        if (to_end < sizeof record) { /* no room for a record: skipped without one */
            if (waiting < to_end)
                return -EPROTO;
            ring_pass(reader, ring, to_end);
            continue;
        }
        if (waiting < sizeof record)
            return -EPROTO;
        memcpy(&record, capture_ring_bytes(reader->area, ring) + at, sizeof record);
        if (record.kind == CAPTURE_SKIP) {
            if (!at || record.size != to_end || waiting < to_end) /* a whole ring of nothing, again and again */
                return -EPROTO;
            ring_pass(reader, ring, to_end);
            continue;
        }
        uint64_t size = (sizeof record + (uint64_t)record.captured + 7) & ~7ULL;
        if (record.captured > CAPTURE_SNAPLEN_MAX || record.size != size || size > to_end || size > waiting ||
            record.captured > record.length || (record.kind != CAPTURE_IN && record.kind != CAPTURE_OUT) ||
            (record.drop != CAPTURE_NOT_DROPPED && record.drop >= DROP_REASON_N) || record.time_ns < 0)
            return -EPROTO;
        *ret_record = record;
        return 1;
    }
}

int capture_reader_next(struct capture_reader *reader, struct capture_record *ret_record, uint8_t *ret_bytes)
{
    struct capture_record oldest = {0};
    unsigned from = CAPTURE_RINGS;
    for (unsigned ring = 0; ring < CAPTURE_RINGS; ring++) {
        struct capture_record record;
        int found = ring_look(reader, ring, &record);
        if (found < 0)
            return found;
        if (found && (from == CAPTURE_RINGS || record.time_ns < oldest.time_ns)) {
            oldest = record;
            from = ring;
        }
    }
    if (from == CAPTURE_RINGS)
        return 0;
    uint64_t at = reader->read[from] % CAPTURE_RING_SIZE;
    memcpy(ret_bytes, capture_ring_bytes(reader->area, from) + at + sizeof oldest, oldest.captured);
    ring_pass(reader, from, oldest.size);
    *ret_record = oldest;
    return 1;
}

void capture_reader_count(const struct capture_reader *reader, uint64_t *ret_taken, uint64_t *ret_lost)
{
    *ret_taken = *ret_lost = 0;
    for (unsigned ring = 0; ring < CAPTURE_RINGS; ring++) {
        *ret_taken += __atomic_load_n(&reader->area->rings[ring].taken, __ATOMIC_RELAXED);
        *ret_lost += __atomic_load_n(&reader->area->rings[ring].lost, __ATOMIC_RELAXED);
    }
}

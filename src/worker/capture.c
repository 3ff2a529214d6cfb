/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/capture.h"

#include "worker/bpf.h"
#include "worker/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static int area_map(int fd, struct capture_area **ret_area, struct err *ret_err)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    void *area;

    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &status) < 0 || status.st_size != CAPTURE_AREA_SIZE)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "that is no capture area");
    area = mmap(NULL, CAPTURE_AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (area == MAP_FAILED)
        return err_set_kernel(ret_err, -errno, "mmap", "the capture area");
    *ret_area = area;
    return 0;
}

/* What is used of the area from here on is copied before it is looked at. */
static int capture_take(struct capture *capture, struct err *ret_err)
{
    struct capture_area *area = capture->area;
    uint32_t length = __atomic_load_n(&area->program_length, __ATOMIC_RELAXED);
    uint32_t snaplen = __atomic_load_n(&area->snaplen, __ATOMIC_RELAXED);

    if (area->magic != CAPTURE_MAGIC || area->version != CAPTURE_VERSION || length > CAPTURE_PROGRAM_MAX)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "a capture area of another version");
    memcpy(capture->program, area->program, length * sizeof(capture->program[0]));
    if (length > 0 && !bpf_is_sound(capture->program, length))
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "the capture's program is not sound");
    capture->program_length = length;
    capture->snaplen = snaplen < CAPTURE_SNAPLEN_MAX ? snaplen : CAPTURE_SNAPLEN_MAX;
    for (size_t i = 0; i < CAPTURE_RINGS; i++) /* an earlier process may have been here */
        capture->lanes[i].written = __atomic_load_n(&area->rings[i].written, __ATOMIC_RELAXED) & ~7ULL;
    return 0;
}

int capture_open(int fd, struct capture **ret_capture, struct err *ret_err)
{
    struct capture *capture = aligned_alloc(64, sizeof(*capture));
    int r;

    if (!capture)
        return err_no_memory(ret_err);
    memset(capture, 0, sizeof(*capture));
    r = area_map(fd, &capture->area, ret_err);
    if (r == 0)
        r = capture_take(capture, ret_err);
    if (r < 0) {
        capture_close(capture);
        return r;
    }
    *ret_capture = capture;
    return 0;
}

void capture_close(struct capture *capture)
{
    if (!capture)
        return;
    if (capture->area)
        (void)munmap(capture->area, CAPTURE_AREA_SIZE);
    free(capture);
}

/* ---- packets ----------------------------------------------------------------------------------------------------- */

static struct capture_record *record_at(const struct capture *capture, size_t lane, uint64_t position)
{
    return (void *)(capture_ring_bytes(capture->area, (unsigned)lane) + position % CAPTURE_RING_SIZE);
}

/* A piece of the ring that does not go over its end. NULL: there is no room. */
static struct capture_record *ring_reserve(struct capture *capture, size_t lane, size_t size)
{
    struct capture_lane *own = &capture->lanes[lane];
    struct capture_ring *ring = &capture->area->rings[lane];
    uint64_t used = own->written - __atomic_load_n(&ring->read, __ATOMIC_ACQUIRE);
    uint64_t to_end = CAPTURE_RING_SIZE - own->written % CAPTURE_RING_SIZE;
    uint64_t skip = size <= to_end ? 0 : to_end;

    if (used > CAPTURE_RING_SIZE || skip + size > CAPTURE_RING_SIZE - used)
        return NULL;
    if (skip > 0) {
        struct capture_record *filler = record_at(capture, lane, own->written);

        /* the end may have room for less than a whole record */
        filler->size = (uint32_t)skip;
        if (skip >= sizeof(*filler))
            filler->kind = CAPTURE_SKIP;
        own->written += skip;
    }
    return record_at(capture, lane, own->written);
}

bool capture_begin(struct capture *capture, size_t lane, enum capture_kind kind, const uint8_t *bytes, size_t length)
{
    struct capture_ring *ring = &capture->area->rings[lane];
    uint32_t wanted = capture->snaplen;
    struct capture_record *record;
    size_t captured, size;

    capture_end(capture, lane, CAPTURE_NOT_DROPPED);
    if (capture->program_length > 0) {
        uint32_t taken = bpf_run(capture->program, bytes, length);

        if (taken == 0)
            return false;
        wanted = taken < wanted ? taken : wanted;
    }
    counter_raise(&ring->taken, 1);
    captured = length < wanted ? length : wanted;
    size = (sizeof(*record) + captured + 7) & ~(size_t)7;
    record = ring_reserve(capture, lane, size);
    if (!record) {
        counter_raise(&ring->lost, 1);
        return false;
    }
    *record = (struct capture_record){
        .size = (uint32_t)size,
        .captured = (uint32_t)captured,
        .length = (uint32_t)length,
        .kind = (uint8_t)kind,
        .drop = CAPTURE_NOT_DROPPED,
        .time_ns = clock_realtime_ns(),
    };
    memcpy(record + 1, bytes, captured);
    capture->lanes[lane].pending = record;
    capture->lanes[lane].size = size;
    return true;
}

void capture_end(struct capture *capture, size_t lane, unsigned drop)
{
    struct capture_lane *own = &capture->lanes[lane];
    struct capture_record *record = own->pending;

    if (!record)
        return;
    record->drop = (uint8_t)drop;
    own->pending = NULL;
    /* not its own word for it: the other end could have written there */
    own->written += own->size;
    __atomic_store_n(&capture->area->rings[lane].written, own->written, __ATOMIC_RELEASE);
}

void capture_packet(struct capture *capture, size_t lane, enum capture_kind kind, const uint8_t *bytes, size_t length,
                    unsigned drop)
{
    if (capture_begin(capture, lane, kind, bytes, length))
        capture_end(capture, lane, drop);
}

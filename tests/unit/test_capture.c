/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a capture area: what the worker's writes, tunwrightd's reads, whatever lies in the area. */
#include "http/capture_reader.h"
#include "netd/page.h"
#include "worker/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    int fd;
    struct capture *writer;
    struct capture_reader reader;
};

static int area_make(uint32_t snaplen, const struct capture_instruction *program, uint32_t length)
{
    struct capture_area *area = calloc(1, sizeof *area);
    struct err e = {0};
    int fd = -1;
    area->magic = CAPTURE_MAGIC;
    area->version = CAPTURE_VERSION;
    area->snaplen = snaplen;
    area->program_length = length;
    if (length)
        memcpy(area->program, program, length * sizeof *program);
    if (memfd_create_sealed("test", CAPTURE_AREA_SIZE, area, sizeof *area, &fd, &e))
        fail_msg("%s", e.message);
    free(area);
    return fd;
}

static struct world begin(uint32_t snaplen, const struct capture_instruction *program, uint32_t length)
{
    struct world world = {.fd = area_make(snaplen, program, length)};
    struct err e = {0};
    if (capture_open(world.fd, &world.writer, &e))
        fail_msg("%s", e.message);
    world.reader.area = mmap(NULL, CAPTURE_AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, world.fd, 0);
    assert_ptr_not_equal(world.reader.area, MAP_FAILED);
    return world;
}

static void end(struct world *world)
{
    capture_close(world->writer);
    munmap(world->reader.area, CAPTURE_AREA_SIZE);
    close(world->fd);
}

static uint8_t bytes[CAPTURE_SNAPLEN_MAX];

static void test_packets_come_out_as_they_went_in(void **state)
{
    (void)state;
    struct world world = begin(100, NULL, 0);
    struct capture_record record;
    uint8_t packet[300];
    memset(packet, 7, sizeof packet);
    assert_false(capture_reader_has_some(&world.reader));
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 0);
    capture_packet(world.writer, 0, CAPTURE_OUT, packet, 60, CAPTURE_NOT_DROPPED);
    capture_packet(world.writer, 3, CAPTURE_IN, packet, 300, DROP_ECN);
    capture_begin(world.writer, 0, CAPTURE_OUT, packet, 5); /* not let go yet */
    assert_true(capture_reader_has_some(&world.reader));
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 1);
    assert_int_equal(record.kind, CAPTURE_OUT);
    assert_int_equal(record.captured, 60);
    assert_int_equal(record.drop, CAPTURE_NOT_DROPPED);
    assert_memory_equal(bytes, packet, 60);
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 1);
    assert_int_equal(record.kind, CAPTURE_IN);
    assert_int_equal(record.length, 300);
    assert_int_equal(record.captured, 100);
    assert_int_equal(record.drop, DROP_ECN);
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 0);
    capture_end(world.writer, 0, DROP_LOOP);
    capture_end(world.writer, 0, DROP_ECN); /* there is none any more */
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 1);
    assert_int_equal(record.drop, DROP_LOOP);
    end(&world);
}

static void test_program_decides(void **state)
{
    (void)state;
    const struct capture_instruction program[] = {
        {.code = 0x30, .k = 0}, {.code = 0x15, .jt = 0, .jf = 1, .k = 1}, {.code = 0x06, .k = 2}, {.code = 0x06}};
    const struct capture_instruction all = {.code = 0x06, .k = UINT32_MAX};
    struct world world = begin(100, program, 4);
    struct capture_record record;
    const uint8_t no[] = {0, 9, 9}, yes[] = {1, 9, 9};
    capture_packet(world.writer, 0, CAPTURE_IN, no, 3, CAPTURE_NOT_DROPPED);
    capture_packet(world.writer, 0, CAPTURE_IN, yes, 3, CAPTURE_NOT_DROPPED);
    capture_packet(world.writer, 0, CAPTURE_IN, yes, 0, CAPTURE_NOT_DROPPED);
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 1);
    assert_int_equal(record.captured, 2);
    assert_int_equal(record.length, 3);
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 0);
    end(&world);
    world = begin(2, &all, 1); /* it takes more than was asked for */
    capture_packet(world.writer, 0, CAPTURE_IN, yes, 3, CAPTURE_NOT_DROPPED);
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 1);
    assert_int_equal(record.captured, 2);
    end(&world);
}

/* Many laps, of packets of all lengths, with a reader that falls behind now and then. */
static void test_wrap_and_loss(void **state)
{
    (void)state;
    struct world world = begin(CAPTURE_SNAPLEN_MAX, NULL, 0);
    struct capture_record record;
    uint8_t packet[3000];
    uint64_t sent = 0, seen = 0, taken, lost;
    uint32_t next = 0, random = 1;
    for (int i = 0; i < 40000; i++) {
        random = random * 1664525 + 1013904223;
        size_t length = 4 + (random >> 8) % (sizeof packet - 4);
        memset(packet, (int)sent, length);
        memcpy(packet, &sent, 4);
        capture_packet(world.writer, 5, CAPTURE_IN, packet, length, CAPTURE_NOT_DROPPED);
        sent++;
        if (i % 3000 > 1500)
            continue; /* asleep */
        for (int found = 1; found;) {
            found = capture_reader_next(&world.reader, &record, bytes);
            assert_true(found >= 0);
            if (!found)
                break;
            uint32_t number;
            memcpy(&number, bytes, 4);
            assert_true(number >= next);
            next = number + 1;
            for (uint32_t at = 4; at < record.captured; at++)
                assert_int_equal(bytes[at], (uint8_t)number);
            seen++;
        }
    }
    while (capture_reader_next(&world.reader, &record, bytes) > 0)
        seen++;
    capture_reader_count(&world.reader, &taken, &lost);
    assert_int_equal(taken, sent);
    assert_true(lost > 0);
    assert_int_equal(seen + lost, sent);
    end(&world);
}

/* Where the end is skipped, there must be room at the beginning. */
static void test_full_at_the_end(void **state)
{
    (void)state;
    struct world world = begin(CAPTURE_SNAPLEN_MAX, NULL, 0);
    struct capture_record record;
    uint8_t packet[1000] = {0};
    uint64_t taken, lost;
    capture_packet(world.writer, 0, CAPTURE_IN, packet, 8, CAPTURE_NOT_DROPPED); /* 32 bytes, which are free again */
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 1);
    for (unsigned i = 0; i < CAPTURE_RING_SIZE / 1024; i++) { /* the last has 992 bytes here, and 32 there */
        memset(packet, (int)i, sizeof packet);
        capture_packet(world.writer, 0, CAPTURE_IN, packet, sizeof packet, CAPTURE_NOT_DROPPED);
    }
    capture_reader_count(&world.reader, &taken, &lost);
    assert_int_equal(lost, 1);
    for (unsigned i = 0; i < CAPTURE_RING_SIZE / 1024 - 1; i++) {
        assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 1);
        assert_int_equal(bytes[999], (uint8_t)i);
    }
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 0);
    end(&world);
}

/* A frame may be longer than what a record takes, whatever is asked for. */
static void test_longest(void **state)
{
    (void)state;
    static uint8_t frame[65549];
    struct world world = begin(UINT32_MAX, NULL, 0);
    struct capture_record record;
    capture_packet(world.writer, 0, CAPTURE_IN, frame, sizeof frame, CAPTURE_NOT_DROPPED);
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 1);
    assert_int_equal(record.captured, CAPTURE_SNAPLEN_MAX);
    assert_int_equal(record.length, sizeof frame);
    end(&world);
}

static void test_next_worker_goes_on(void **state)
{
    (void)state;
    struct world world = begin(100, NULL, 0);
    struct capture_record record;
    struct err e = {0};
    capture_packet(world.writer, 0, CAPTURE_IN, bytes, 60, CAPTURE_NOT_DROPPED);
    capture_begin(world.writer, 0, CAPTURE_IN, bytes, 60);
    capture_close(world.writer); /* killed within */
    assert_int_equal(capture_open(world.fd, &world.writer, &e), 0);
    capture_packet(world.writer, 0, CAPTURE_OUT, bytes, 61, CAPTURE_NOT_DROPPED);
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 1);
    assert_int_equal(record.length, 60);
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 1);
    assert_int_equal(record.length, 61);
    assert_int_equal(capture_reader_next(&world.reader, &record, bytes), 0);
    end(&world);
}

static void test_areas_that_are_none(void **state)
{
    (void)state;
    const struct capture_instruction endless = {.code = 0x05, .k = UINT32_MAX};
    static const struct capture_area good = {
        .magic = CAPTURE_MAGIC, .version = CAPTURE_VERSION, .ring_count = CAPTURE_RINGS, .snaplen = 100};
    struct capture_area bad[] = {good, good, good};
    struct capture *writer;
    struct err e = {0};
    int fds[] = {area_make(100, &endless, 1), memfd_create("test", MFD_CLOEXEC), open("/dev/null", O_RDWR | O_CLOEXEC)};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        assert_int_equal(capture_open(fds[i], &writer, &e), -EINVAL);
        close(fds[i]);
    }
    bad[0].magic++;
    bad[1].version++;
    bad[2].program_length = CAPTURE_AREA_SIZE / sizeof(struct capture_instruction) / 2;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int fd = area_make(100, NULL, 0);
        assert_int_equal(pwrite(fd, &bad[i], sizeof bad[i], 0), sizeof bad[i]);
        assert_int_equal(capture_open(fd, &writer, &e), -EINVAL);
        close(fd);
    }
    for (int is_sealed = 0; is_sealed < 2; is_sealed++) { /* one could shrink, the other is too small */
        int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_int_equal(ftruncate(fd, is_sealed ? CAPTURE_AREA_SIZE - 4096 : CAPTURE_AREA_SIZE), 0);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, is_sealed ? F_SEAL_SHRINK : F_SEAL_GROW), 0);
        assert_int_equal(pwrite(fd, &good, sizeof good, 0), sizeof good);
        assert_int_equal(capture_open(fd, &writer, &e), -EINVAL);
        close(fd);
    }
}

/* ---- a worker that lies ------------------------------------------------------------------------------------------ */

static void test_reader_believes_nothing(void **state)
{
    (void)state;
    static const struct {
        uint64_t written;
        struct capture_record record;
    } rows[] = {
        {7, {0}},
        {8, {0}},
        {CAPTURE_RING_SIZE + 8, {0}},
        {UINT64_MAX, {0}},
        {32, {.size = 24, .captured = 8, .length = 8, .kind = 1, .drop = 255}},
        {32, {.size = 40, .captured = 9, .length = 9, .kind = 1, .drop = 255}},
        {64, {.size = 32, .captured = UINT32_MAX, .length = UINT32_MAX, .kind = 1, .drop = 255}},
        {CAPTURE_RING_SIZE, {.size = 65560, .captured = 65536, .length = 65536, .kind = 1, .drop = 255}},
        {32, {.size = 32, .captured = 8, .length = 7, .kind = 1, .drop = 255}},
        {32, {.size = 32, .captured = 8, .length = 8, .kind = 3, .drop = 255}},
        {32, {.size = 32, .captured = 8, .length = 8, .kind = 1, .drop = DROP_REASON_N}},
        {32, {.size = 32, .captured = 8, .length = 8, .kind = 1, .drop = 255, .time_ns = -1}},
        {32, {.size = 32, .kind = CAPTURE_SKIP}},
        {CAPTURE_RING_SIZE - 8, {.size = CAPTURE_RING_SIZE, .kind = CAPTURE_SKIP}},
        {CAPTURE_RING_SIZE, {.size = CAPTURE_RING_SIZE, .kind = CAPTURE_SKIP}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world world = begin(100, NULL, 0);
        struct capture_record record;
        memcpy(capture_ring_bytes(world.reader.area, 9), &rows[i].record, sizeof rows[i].record);
        world.reader.area->rings[9].written = rows[i].written;
        if (capture_reader_next(&world.reader, &record, bytes) != -EPROTO)
            fail_msg("row %zu", i);
        end(&world);
    }
}

static void test_writer_believes_nothing(void **state)
{
    (void)state;
    static const uint64_t positions[] = {1, 8, UINT64_MAX, CAPTURE_RING_SIZE, 1ULL << 63};
    uint64_t taken, lost;
    for (size_t i = 0; i < ARRAY_SIZE(positions); i++) {
        struct world world = begin(100, NULL, 0);
        for (int j = 0; j < 50000; j++) {
            world.reader.area->rings[0].read = positions[i] + (uint64_t)j;
            world.reader.area->rings[0].written = positions[i];
            capture_packet(world.writer, 0, CAPTURE_IN, bytes, 90, CAPTURE_NOT_DROPPED);
        }
        capture_reader_count(&world.reader, &taken, &lost);
        assert_int_equal(taken, 50000);
        end(&world);
    }
    struct world world = begin(100, NULL, 0);
    struct err e = {0};
    world.reader.area->rings[0].read = 8; /* more than was written */
    assert_false(capture_begin(world.writer, 0, CAPTURE_IN, bytes, 90));
    world.reader.area->rings[0].read = 0;
    assert_true(capture_begin(world.writer, 0, CAPTURE_IN, bytes, 90));
    world.writer->lanes[0].pending->size = 8;
    capture_end(world.writer, 0, CAPTURE_NOT_DROPPED);
    assert_int_equal(world.reader.area->rings[0].written, 24 + 96);
    capture_close(world.writer);
    world.reader.area->rings[0].written = 13;
    assert_int_equal(capture_open(world.fd, &world.writer, &e), 0);
    capture_packet(world.writer, 0, CAPTURE_IN, bytes, 90, CAPTURE_NOT_DROPPED);
    assert_int_equal(world.reader.area->rings[0].written, 8 + 24 + 96);
    end(&world);
}

/* ---- both at once ------------------------------------------------------------------------------------------------ */

static void *write_many(void *context)
{
    struct world *world = context;
    uint8_t packet[64];
    for (uint32_t i = 0; i < 200000; i++) {
        memset(packet, (int)i, sizeof packet);
        capture_packet(world->writer, 0, CAPTURE_IN, packet, 4 + i % 60, CAPTURE_NOT_DROPPED);
    }
    return NULL;
}

static void test_reader_beside_the_writer(void **state)
{
    (void)state;
    struct world world = begin(100, NULL, 0);
    struct capture_record record;
    uint64_t seen = 0, taken = 0, lost = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_many, &world), 0);
    while (taken < 200000 || seen + lost < taken) {
        int found = capture_reader_next(&world.reader, &record, bytes);
        assert_true(found >= 0);
        seen += (uint64_t)found;
        for (uint32_t at = 1; found && at < record.captured; at++)
            assert_int_equal(bytes[at], bytes[0]);
        if (!found)
            capture_reader_count(&world.reader, &taken, &lost);
    }
    pthread_join(thread, NULL);
    end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packets_come_out_as_they_went_in),
        cmocka_unit_test(test_program_decides),
        cmocka_unit_test(test_wrap_and_loss),
        cmocka_unit_test(test_full_at_the_end),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_next_worker_goes_on),
        cmocka_unit_test(test_areas_that_are_none),
        cmocka_unit_test(test_reader_believes_nothing),
        cmocka_unit_test(test_writer_believes_nothing),
        cmocka_unit_test(test_reader_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of a capture area as a worker might leave it: whatever lies there, reading it comes to an end. */
#include "http/capture_reader.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct capture_area *area;
    static uint8_t bytes[CAPTURE_SNAPLEN_MAX];
    struct capture_reader reader = {0};
    struct capture_record record;
    uint64_t positions[2];
    int found = 1;

    if (!area)
        area = calloc(1, CAPTURE_AREA_SIZE);
    if (!area || size < sizeof(positions))
        return 0;
    memcpy(positions, data, sizeof(positions));
    data += sizeof(positions);
    size -= sizeof(positions);
    if (size > CAPTURE_RING_SIZE)
        size = CAPTURE_RING_SIZE;
    reader.area = area;
    reader.read[3] = positions[0] & ~7ULL;
    area->rings[3].written = positions[1];
    /* from there on, and over the end */
    for (size_t i = 0; i < size; i++)
        capture_ring_bytes(area, 3)[(reader.read[3] + i) % CAPTURE_RING_SIZE] = data[i];
    for (unsigned count = 0; found == 1; count++) {
        MUST(count <= CAPTURE_RING_SIZE / sizeof(record));
        found = capture_reader_next(&reader, &record, bytes);
        if (found == 1)
            MUST(record.captured <= CAPTURE_SNAPLEN_MAX && record.captured <= record.length);
    }
    return 0;
}

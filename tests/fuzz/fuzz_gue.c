/* SPDX-License-Identifier: Apache-2.0 */
/* A datagram's payload: what is understood can be written again, and its checksum lies in the packet. */
#include "worker/gue.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t written[GUE_HEADER_MOST];
    struct gue gue;
    int header = gue_parse(data, size, &gue);
    size_t length;

    if (header < 0)
        return 0;
    MUST(gue_is_there(data, size) && (size_t)header <= size);
    length = gue_write(&gue, written);
    if (length == (size_t)header)
        MUST(memcmp(data, written, length) == 0);
    else /* private flags of which none was set */
        MUST(header == 8 && length == GUE_HEADER_SIZE);
    if (gue.remote_checksum)
        MUST(gue.start <= gue.offset && (size_t)header + gue.offset + 2 <= size);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A program, and a packet behind it: what is sound runs to its end, and reads the packet alone. */
#include "worker/bpf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct capture_instruction program[32];
    size_t length = size > 0 ? data[0] % 33 : 0;

    if (size < 1 + length * sizeof(program[0]))
        return 0;
    memcpy(program, data + 1, length * sizeof(program[0]));
    data += 1 + length * sizeof(program[0]);
    size -= 1 + length * sizeof(program[0]);
    if (!bpf_is_sound(program, length))
        return 0;
    uint8_t *packet = malloc(size + 1);
    if (!packet)
        return 0;
    memcpy(packet, data, size);
    bpf_run(program, packet, size);
    free(packet);
    return 0;
}

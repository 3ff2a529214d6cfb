/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/checksum.h"

#include <string.h>

uint64_t checksum_add(uint64_t sum, const void *data, size_t length)
{
    const uint8_t *bytes = data;
    uint64_t word;

    /* One's complement addition has no word size: eight bytes at a time with the carry put back at the end. */
    for (; length >= sizeof(word); bytes += sizeof(word), length -= sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        sum += word;
        sum += sum < word;
    }
    if (length > 0) {
        word = 0;
        memcpy(&word, bytes, length);
        sum += word;
        sum += sum < word;
    }
    return sum;
}

uint64_t checksum_add_pseudo(uint64_t sum, const void *addresses, size_t addresses_length, uint8_t protocol,
                             size_t length)
{
    uint8_t rest[8] = {0, 0, (uint8_t)(length >> 8), (uint8_t)length, 0, 0, 0, protocol};

    return checksum_add(checksum_add(sum, addresses, addresses_length), rest, sizeof(rest));
}

static uint16_t checksum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

uint16_t checksum_finish(uint64_t sum)
{
    return (uint16_t)~checksum_fold(sum);
}

void checksum_update(uint8_t field[static 2], const uint8_t before[static 2], const uint8_t after[static 2])
{
    uint16_t check, old, new;

    memcpy(&check, field, sizeof(check));
    memcpy(&old, before, sizeof(old));
    memcpy(&new, after, sizeof(new));
    /* RFC 1624, equation 3: HC' = ~(~HC + ~m + m') */
    check = checksum_finish((uint64_t)(uint16_t)~check + (uint16_t)~old + new);
    memcpy(field, &check, sizeof(check));
}

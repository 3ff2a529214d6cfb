/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checksum: the Internet checksum (RFC 1071) and its incremental update (RFC 1624).
 *
 * All 16-bit values are in memory order: a sum over bytes as they lie, stored as it comes, is right on any host.
 */
#ifndef WORKER_CHECKSUM_H
#define WORKER_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Adds `length` bytes to a running sum that starts at 0. Only the last piece may have an odd length. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t length);

/* The same over bytes that are copied on the way. The two may overlap where `to` lies before `from`. */
uint64_t checksum_add_copy(uint64_t sum, void *to, const void *from, size_t length);

/* Which instructions the two above use: the best that this processor has, which is chosen at the first call unless one
 * is forced (for tests; -ENOTSUP where the processor does not have it). */
enum checksum_variant { CHECKSUM_PLAIN, CHECKSUM_AVX2, CHECKSUM_AVX512, CHECKSUM_VARIANT_N };
int checksum_force(enum checksum_variant variant);
const char *checksum_variant_name(void); /* "plain", "avx2", "avx512" */

/* The pseudo-header of an upper layer: the two addresses as they lie one after the other (8 or 32 bytes), the protocol
 * and the upper layer's length. For IPv4's UDP and TCP and all of IPv6 the sum is the same (RFC 8200, 8.1). */
uint64_t checksum_add_pseudo(uint64_t sum, const void *addresses, size_t addresses_length, uint8_t protocol,
                             size_t length);

/* The complement of the folded sum: what is stored, and 0 over bytes that hold their own right checksum. */
uint16_t checksum_finish(uint64_t sum);

/* What the checksum at `field` becomes when a 16-bit word that it covers changes from `before` to `after`. */
void checksum_update(uint8_t field[static 2], const uint8_t before[static 2], const uint8_t after[static 2]);

#endif

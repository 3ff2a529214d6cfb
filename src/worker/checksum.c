/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One's complement addition has no word size and no byte order: words of 32 bits are added into lanes of 64, and all
 * that is carried is put back at the end. A lane would overflow after 2^32 words; no packet has so many.
 *
 * Short pieces are added eight bytes at a time with the carry put back at once: below 64 bytes that is the quickest.
 * Copying variants load a block whole before they store it, so that moving bytes to the left over themselves is right.
 */
#include "worker/checksum.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define HAVE_X86 1
#endif

#define BLOCK 64 /* bytes; shorter pieces are not worth a wide register */

static inline uint64_t add_carry(uint64_t sum, uint64_t word)
{
    sum += word;
    return sum + (sum < word);
}

static uint64_t plain_add(uint64_t sum, const uint8_t *bytes, size_t length)
{
    uint64_t word;

    for (; length >= sizeof(word); bytes += sizeof(word), length -= sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        sum = add_carry(sum, word);
    }
    if (length > 0) {
        word = 0;
        memcpy(&word, bytes, length);
        sum = add_carry(sum, word);
    }
    return sum;
}

static uint64_t plain_add_copy(uint64_t sum, uint8_t *to, const uint8_t *from, size_t length)
{
    uint64_t word;

    for (; length >= sizeof(word); to += sizeof(word), from += sizeof(word), length -= sizeof(word)) {
        memcpy(&word, from, sizeof(word));
        memcpy(to, &word, sizeof(word));
        sum = add_carry(sum, word);
    }
    if (length > 0) {
        word = 0;
        memcpy(&word, from, length);
        memcpy(to, &word, length);
        sum = add_carry(sum, word);
    }
    return sum;
}

#ifdef HAVE_X86

__attribute__((target("avx2"))) static inline uint64_t avx2_total(__m256i even, __m256i odd)
{
    uint64_t lanes[4], sum = 0;

    _mm256_storeu_si256((__m256i *)lanes, _mm256_add_epi64(even, odd));
    for (size_t i = 0; i < 4; i++)
        sum = add_carry(sum, lanes[i]);
    return sum;
}

/* `to` NULL: nothing is copied; the compiler makes two functions of it. */
__attribute__((target("avx2"), always_inline)) static inline uint64_t avx2_pass(uint64_t sum, uint8_t *to,
                                                                                const uint8_t *from, size_t length)
{
    const __m256i low = _mm256_set1_epi64x(0xffffffff);
    __m256i even = _mm256_setzero_si256(), odd = _mm256_setzero_si256();
    size_t at = 0;

    for (; at + BLOCK <= length; at += BLOCK) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(from + at));
        __m256i b = _mm256_loadu_si256((const __m256i *)(from + at + 32));

        if (to) {
            _mm256_storeu_si256((__m256i *)(to + at), a);
            _mm256_storeu_si256((__m256i *)(to + at + 32), b);
        }
        even = _mm256_add_epi64(even, _mm256_add_epi64(_mm256_and_si256(a, low), _mm256_and_si256(b, low)));
        odd = _mm256_add_epi64(odd, _mm256_add_epi64(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32)));
    }
    sum = add_carry(sum, avx2_total(even, odd));
    return to ? plain_add_copy(sum, to + at, from + at, length - at) : plain_add(sum, from + at, length - at);
}

__attribute__((target("avx2"))) static uint64_t avx2_add(uint64_t sum, const uint8_t *bytes, size_t length)
{
    return avx2_pass(sum, NULL, bytes, length);
}

__attribute__((target("avx2"))) static uint64_t avx2_add_copy(uint64_t sum, uint8_t *to, const uint8_t *from,
                                                              size_t length)
{
    return avx2_pass(sum, to, from, length);
}

__attribute__((target("avx512f,avx512bw"), always_inline)) static inline uint64_t avx512_pass(uint64_t sum, uint8_t *to,
                                                                                              const uint8_t *from,
                                                                                              size_t length)
{
    const __m512i low = _mm512_set1_epi64(0xffffffff);
    __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();
    size_t at = 0;

    if (to) { /* a first short one, after which no store crosses a cache line */
        size_t head = -(uintptr_t)to & (BLOCK - 2);
        __mmask64 mask = ((__mmask64)1 << head) - 1;
        __m512i a = _mm512_maskz_loadu_epi8(mask, from);

        _mm512_mask_storeu_epi8(to, mask, a);
        even = _mm512_and_si512(a, low);
        odd = _mm512_srli_epi64(a, 32);
        at = head;
    }
    for (; at + BLOCK <= length; at += BLOCK) {
        __m512i a = _mm512_loadu_si512(from + at);

        if (to)
            _mm512_storeu_si512(to + at, a);
        even = _mm512_add_epi64(even, _mm512_and_si512(a, low));
        odd = _mm512_add_epi64(odd, _mm512_srli_epi64(a, 32));
    }
    if (at < length) { /* the rest, masked: what is not there is zero and not touched */
        __mmask64 mask = (__mmask64)-1 >> (BLOCK - (length - at));
        __m512i a = _mm512_maskz_loadu_epi8(mask, from + at);

        if (to)
            _mm512_mask_storeu_epi8(to + at, mask, a);
        even = _mm512_add_epi64(even, _mm512_and_si512(a, low));
        odd = _mm512_add_epi64(odd, _mm512_srli_epi64(a, 32));
    }
    return add_carry(sum, (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(even, odd)));
}

__attribute__((target("avx512f,avx512bw"))) static uint64_t avx512_add(uint64_t sum, const uint8_t *bytes,
                                                                       size_t length)
{
    return avx512_pass(sum, NULL, bytes, length);
}

__attribute__((target("avx512f,avx512bw"))) static uint64_t avx512_add_copy(uint64_t sum, uint8_t *to,
                                                                            const uint8_t *from, size_t length)
{
    return avx512_pass(sum, to, from, length);
}

#endif

/* ---- which of them ----------------------------------------------------------------------------------------------- */

struct variant {
    const char *name;
    uint64_t (*add)(uint64_t sum, const uint8_t *bytes, size_t length);
    uint64_t (*add_copy)(uint64_t sum, uint8_t *to, const uint8_t *from, size_t length);
};

static const struct variant variants[] = {
    [CHECKSUM_PLAIN] = {"plain", plain_add, plain_add_copy},
#ifdef HAVE_X86
    [CHECKSUM_AVX2] = {"avx2", avx2_add, avx2_add_copy},
    [CHECKSUM_AVX512] = {"avx512", avx512_add, avx512_add_copy},
#endif
};

static const struct variant *_Atomic chosen;

static bool variant_is_there(enum checksum_variant variant)
{
    switch (variant) {
    case CHECKSUM_PLAIN:
        return true;
#ifdef HAVE_X86
    case CHECKSUM_AVX2:
        return __builtin_cpu_supports("avx2");
    case CHECKSUM_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
#endif
    default:
        return false;
    }
}

int checksum_force(enum checksum_variant variant)
{
    if (!variant_is_there(variant))
        return -ENOTSUP;
    atomic_store_explicit(&chosen, &variants[variant], memory_order_relaxed);
    return 0;
}

static const struct variant *variant_choose(void)
{
    enum checksum_variant best = CHECKSUM_VARIANT_N;

    while (checksum_force(--best) < 0)
        ;
    return &variants[best];
}

static inline const struct variant *variant_get(void)
{
    const struct variant *variant = atomic_load_explicit(&chosen, memory_order_relaxed);

    return variant ? variant : variant_choose();
}

const char *checksum_variant_name(void)
{
    return variant_get()->name;
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t length)
{
    return length < BLOCK ? plain_add(sum, data, length) : variant_get()->add(sum, data, length);
}

uint64_t checksum_add_copy(uint64_t sum, void *to, const void *from, size_t length)
{
    return length < BLOCK ? plain_add_copy(sum, to, from, length) : variant_get()->add_copy(sum, to, from, length);
}

/* ---- what is made of a sum --------------------------------------------------------------------------------------- */

uint64_t checksum_add_pseudo(uint64_t sum, const void *addresses, size_t addresses_length, uint8_t protocol,
                             size_t length)
{
    uint64_t rest = (uint64_t)htobe32((uint32_t)length) + htobe32(protocol);

    return add_carry(plain_add(sum, addresses, addresses_length), rest);
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "tunwright/base.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

int random_bytes(void *out, size_t length)
{
    uint8_t *at = out;
    while (length) {
        ssize_t got = getrandom(at, length, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        at += got;
        length -= (size_t)got;
    }
    return 0;
}

static bool has_dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

const char *uuid_print(const struct uuid *uuid, char out[static UUID_TEXT_SIZE])
{
    char *at = out;
    for (size_t i = 0; i < sizeof uuid->bytes; i++) {
        if (has_dash_before(i))
            *at++ = '-';
        *at++ = "0123456789abcdef"[uuid->bytes[i] >> 4];
        *at++ = "0123456789abcdef"[uuid->bytes[i] & 15];
    }
    *at = '\0';
    return out;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int uuid_parse(const char *text, struct uuid *ret_uuid)
{
    struct uuid uuid;
    if (strlen(text) != UUID_TEXT_SIZE - 1)
        return -EINVAL;
    for (size_t i = 0; i < sizeof uuid.bytes; i++) {
        if (has_dash_before(i) && *text++ != '-')
            return -EINVAL;
        int high = hex_digit(text[0]), low = hex_digit(text[1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    *ret_uuid = uuid;
    return 0;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool uuid_is_zero(const struct uuid *uuid)
{
    return uuid_equal(uuid, &(struct uuid){0});
}

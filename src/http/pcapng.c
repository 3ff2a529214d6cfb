/* SPDX-License-Identifier: Apache-2.0 */
#include "pcapng.h"

#include <stdio.h>
#include <string.h>

enum { BLOCK_SECTION = 0x0a0d0d0a, BLOCK_INTERFACE = 1, BLOCK_STATISTICS = 5, BLOCK_PACKET = 6 };
enum { LINK_ETHERNET = 1, LINK_RAW = 101 };
enum { /* options; a number means another thing in each kind of block */
       OPTION_END = 0,
       OPTION_COMMENT = 1,
       SECTION_APPLICATION = 4,
       INTERFACE_NAME = 2,
       INTERFACE_RESOLUTION = 9,
       INTERFACE_FILTER = 11,
       PACKET_FLAGS = 2,
       STATISTICS_RECEIVED = 4,
       STATISTICS_DROPPED = 5,
};

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

static void add_u16(struct buf *out, uint16_t value)
{
    buf_add(out, &value, sizeof value);
}

static void add_u32(struct buf *out, uint32_t value)
{
    buf_add(out, &value, sizeof value);
}

static void add_padded(struct buf *out, const void *bytes, size_t length)
{
    buf_add(out, bytes, length);
    buf_add(out, "\0\0\0", (4 - length % 4) % 4);
}

static void add_option(struct buf *out, uint16_t code, const void *value, size_t length)
{
    add_u16(out, code);
    add_u16(out, (uint16_t)length);
    add_padded(out, value, length);
}

/* Where the block begins, for block_end. */
static size_t block_begin(struct buf *out, uint32_t type)
{
    size_t at = out->length;
    add_u32(out, type);
    add_u32(out, 0);
    return at;
}

/* Its length stands at both of its ends. */
static void block_end(struct buf *out, size_t at)
{
    uint32_t length = (uint32_t)(out->length - at + sizeof length);
    add_u32(out, length);
    if (!out->failed)
        memcpy(out->data + at + sizeof(uint32_t), &length, sizeof length);
}

/* Nanoseconds since 1970, the high half first. */
static void add_time(struct buf *out, int64_t time_ns)
{
    add_u32(out, (uint32_t)((uint64_t)time_ns >> 32));
    add_u32(out, (uint32_t)time_ns);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

void pcapng_begin(struct buf *out, const char *device, enum device_kind kind, uint32_t snaplen, const char *filter)
{
    static const uint64_t unknown = UINT64_MAX; /* how long the section is */
    static const char application[] = "tunwright " TUNWRIGHT_VERSION;
    static const uint8_t nanoseconds = 9;
    char text[2048] = ""; /* its first byte 0: an expression */

    size_t section = block_begin(out, BLOCK_SECTION);
    add_u32(out, 0x1a2b3c4d);
    add_u16(out, 1);
    add_u16(out, 0);
    buf_add(out, &unknown, sizeof unknown);
    add_option(out, SECTION_APPLICATION, application, sizeof application - 1);
    add_option(out, OPTION_END, "", 0);
    block_end(out, section);

    size_t interface = block_begin(out, BLOCK_INTERFACE);
    add_u16(out, kind == DEVICE_TUN ? LINK_RAW : LINK_ETHERNET);
    add_u16(out, 0);
    add_u32(out, snaplen);
    add_option(out, INTERFACE_NAME, device, strlen(device));
    add_option(out, INTERFACE_RESOLUTION, &nanoseconds, sizeof nanoseconds);
    if (*filter && strlen(filter) < sizeof text - 1) {
        strcpy(text + 1, filter);
        add_option(out, INTERFACE_FILTER, text, 1 + strlen(filter));
    }
    add_option(out, OPTION_END, "", 0);
    block_end(out, interface);
}

void pcapng_packet(struct buf *out, const struct capture_record *record, const void *bytes)
{
    uint32_t flags = record->kind == CAPTURE_IN ? 1 : 2;
    char text[64];

    size_t packet = block_begin(out, BLOCK_PACKET);
    add_u32(out, 0); /* the interface */
    add_time(out, record->time_ns);
    add_u32(out, record->captured);
    add_u32(out, record->length);
    add_padded(out, bytes, record->captured);
    add_option(out, PACKET_FLAGS, &flags, sizeof flags);
    if (record->drop != CAPTURE_NOT_DROPPED) {
        int length = snprintf(text, sizeof text, "dropped: %s", drop_reason_name((enum drop_reason)record->drop));
        add_option(out, OPTION_COMMENT, text, (size_t)length);
    }
    add_option(out, OPTION_END, "", 0);
    block_end(out, packet);
}

void pcapng_end(struct buf *out, int64_t time_ns, uint64_t taken, uint64_t lost)
{
    size_t statistics = block_begin(out, BLOCK_STATISTICS);
    add_u32(out, 0);
    add_time(out, time_ns);
    add_option(out, STATISTICS_RECEIVED, &taken, sizeof taken);
    add_option(out, STATISTICS_DROPPED, &lost, sizeof lost);
    add_option(out, OPTION_END, "", 0);
    block_end(out, statistics);
}

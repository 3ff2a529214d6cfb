/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/gue.h"

#include <errno.h>

enum {
    GUE_VERSION = 0xc0,
    GUE_CONTROL = 0x20,
    GUE_WORDS = 0x1f,

    GUE_FLAG_PRIVATE = 0x0001,
    GUE_PRIVATE_REMOTE_CHECKSUM = 0x8000, /* of the upper half; nothing else is in the lower */
};

size_t gue_write(const struct gue *gue, uint8_t ret_header[static GUE_HEADER_MOST])
{
    size_t length = gue->remote_checksum ? GUE_HEADER_MOST : GUE_HEADER_SIZE;

    ret_header[0] = (uint8_t)((length - GUE_HEADER_SIZE) / 4);
    ret_header[1] = gue->protocol;
    store_be16(ret_header + 2, gue->remote_checksum ? GUE_FLAG_PRIVATE : 0);
    if (gue->remote_checksum) {
        store_be16(ret_header + 4, GUE_PRIVATE_REMOTE_CHECKSUM);
        store_be16(ret_header + 6, 0);
        store_be16(ret_header + 8, gue->start);
        store_be16(ret_header + 10, gue->offset);
    }
    return length;
}

int gue_parse(const uint8_t *bytes, size_t length, struct gue *ret_gue)
{
    struct gue gue = {0};
    size_t header, wanted = GUE_HEADER_SIZE;
    uint16_t flags;

    if (length < GUE_HEADER_SIZE || (bytes[0] & (GUE_VERSION | GUE_CONTROL)) != 0)
        return -EINVAL;
    header = GUE_HEADER_SIZE + (size_t)(bytes[0] & GUE_WORDS) * 4;
    gue.protocol = bytes[1];
    flags = load_be16(bytes + 2);
    if (header > length || (flags & ~GUE_FLAG_PRIVATE) != 0 ||
        (gue.protocol != PROTOCOL_IPV4 && gue.protocol != PROTOCOL_IPV6))
        return -EINVAL;
    if (flags & GUE_FLAG_PRIVATE) {
        wanted += 4;
        if (header < wanted || (load_be16(bytes + 4) & ~GUE_PRIVATE_REMOTE_CHECKSUM) != 0 || load_be16(bytes + 6) != 0)
            return -EINVAL;
        gue.remote_checksum = load_be16(bytes + 4) != 0;
    }
    if (gue.remote_checksum) {
        wanted += 4;
        if (header < wanted)
            return -EINVAL;
        gue.start = load_be16(bytes + 8);
        gue.offset = load_be16(bytes + 10);
        if (gue.offset < gue.start || (size_t)gue.offset + 2 > length - header)
            return -EINVAL;
    }
    if (header != wanted) /* what is left over is somebody's private data, and who does not know it drops it */
        return -EINVAL;
    *ret_gue = gue;
    return (int)header;
}

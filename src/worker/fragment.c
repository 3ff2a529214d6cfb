/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/fragment.h"

#include "worker/checksum.h"

#include <errno.h>
#include <string.h>

/* RFC 791: an option with this bit in its type goes into every fragment, others into the first only. */
#define OPTION_COPIED 0x80
enum { OPTION_END = 0, OPTION_NOTHING = 1 };

int fragmenter_init(struct fragmenter *ret_fragmenter, const uint8_t *bytes, const struct packet_view *view, size_t mtu)
{
    if (view->version != 4 || view->dont_fragment || mtu < view->header_length + 8)
        return -EMSGSIZE;
    *ret_fragmenter = (struct fragmenter){
        .payload = bytes + view->ip + view->header_length,
        .payload_length = view->ip_length - view->header_length,
        .payload_most = (mtu - view->header_length) & ~(size_t)7,
        .offset = view->fragment_offset,
        .more_fragments = view->more_fragments,
        .header_length = view->header_length,
    };
    memcpy(ret_fragmenter->header, bytes + view->ip, view->header_length);
    for (size_t i = IPV4_HEADER_SIZE; i < view->header_length;) {
        uint8_t type = ret_fragmenter->header[i];

        if (type == OPTION_END)
            break;
        if (type == OPTION_NOTHING) {
            i++;
            continue;
        }
        if (view->header_length - i < 2 || ret_fragmenter->header[i + 1] < 2 ||
            ret_fragmenter->header[i + 1] > view->header_length - i)
            return -EINVAL;
        i += ret_fragmenter->header[i + 1];
    }
    return 0;
}

/* Leaves the options that every fragment carries; init has checked their lengths. */
static void fragmenter_drop_options(struct fragmenter *fragmenter)
{
    uint8_t *header = fragmenter->header;
    size_t kept = IPV4_HEADER_SIZE;

    for (size_t i = IPV4_HEADER_SIZE; i < fragmenter->header_length && header[i] != OPTION_END;) {
        size_t size = header[i] == OPTION_NOTHING ? 1 : header[i + 1];

        if (header[i] & OPTION_COPIED) {
            memmove(header + kept, header + i, size);
            kept += size;
        }
        i += size;
    }
    while (kept % 4 != 0)
        header[kept++] = OPTION_END;
    fragmenter->header_length = kept;
    header[0] = (uint8_t)(0x40 | kept / 4);
}

bool fragmenter_next(struct fragmenter *fragmenter, struct fragment *ret_fragment)
{
    uint8_t *header = fragmenter->header;
    size_t left = fragmenter->payload_length - fragmenter->done;
    size_t size = left <= fragmenter->payload_most ? left : fragmenter->payload_most;
    bool more = size < left || fragmenter->more_fragments;
    uint16_t check;

    if (left == 0)
        return false;
    if (fragmenter->done > 0)
        fragmenter_drop_options(fragmenter);
    store_be16(header + 2, (uint16_t)(fragmenter->header_length + size));
    store_be16(header + 6, (uint16_t)((more ? 0x2000 : 0) | (fragmenter->offset + fragmenter->done) / 8));
    memset(header + 10, 0, 2);
    check = checksum_finish(checksum_add(0, header, fragmenter->header_length));
    memcpy(header + 10, &check, sizeof(check));
    *ret_fragment = (struct fragment){
        .header = header,
        .header_length = fragmenter->header_length,
        .payload = fragmenter->payload + fragmenter->done,
        .payload_length = size,
    };
    fragmenter->done += size;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fragment: an IPv4 packet cut into pieces that fit (RFC 791, 3.2), for one that allows it.
 */
#ifndef WORKER_FRAGMENT_H
#define WORKER_FRAGMENT_H

#include "worker/packet.h"

struct fragmenter {
    const uint8_t *payload; /* borrowed */
    size_t payload_length, done;
    size_t payload_most; /* of any but the last; a multiple of 8 */
    size_t offset;       /* of the packet itself, where it is a fragment already */
    bool more_fragments; /* … and not the last one */
    uint8_t header[IPV4_HEADER_MOST];
    size_t header_length;
};

/* One piece: header, then payload. Both are valid until the next piece. */
struct fragment {
    const uint8_t *header, *payload;
    size_t header_length, payload_length;
};

/* `bytes` stay the caller's and must outlive it. -EMSGSIZE: not with this mtu (bytes of IP packet), or not IPv4, or
 * with DF; -EINVAL: its options are no options. */
int fragmenter_init(struct fragmenter *ret_fragmenter, const uint8_t *bytes, const struct packet_view *view,
                    size_t mtu);
/* The next piece; false when all were given. */
bool fragmenter_next(struct fragmenter *fragmenter, struct fragment *ret_fragment);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gue: the header of Generic UDP Encapsulation (draft-ietf-intarea-gue, variant 0) as Linux's fou module writes and
 * reads it, with remote checksum offload (draft-herbert-remotecsumoffload) as the only option.
 *
 *      0                   1                   2                   3
 *     |0 0|C|  length | protocol      | flags                       |P|  length: 32-bit words after this one
 *     |R| private flags, where P is set                               |
 *     | start of the sum              | offset of the checksum        |  where R is set; both from the packet's first byte
 *
 * Remote checksum offload says on the wire what virtio_net_hdr says at a device: the packet's checksum is still to be
 * made, over all from `start` on, and belongs to `offset`, where the sum of the pseudo-header stands. What guards the
 * packet on its way is the outer UDP checksum, which covers it all, and which we always make. Another sender may leave it
 * out over IPv4 (0 in its place, which a socket does not tell of), and then nothing guards the packet.
 *
 * Variant 1 is a bare IP packet with no header at all: the first four bits tell them apart, where IP has its version.
 */
#ifndef WORKER_GUE_H
#define WORKER_GUE_H

#include "worker/packet.h"

#define GUE_HEADER_SIZE 4
#define GUE_HEADER_MOST 12 /* with remote checksum offload */

struct gue {
    uint8_t protocol;     /* of what follows: PROTOCOL_IPV4 or PROTOCOL_IPV6 */
    bool remote_checksum; /* and where, from the first byte behind the header on: */
    uint16_t start, offset;
};

/* Writes the header; how long it is. */
size_t gue_write(const struct gue *gue, uint8_t ret_header[static GUE_HEADER_MOST]);

/* Whether a datagram's payload begins with a GUE header, as far as its first four bits say. */
static inline bool gue_is_there(const uint8_t *bytes, size_t length)
{
    return length > 0 && bytes[0] >> 4 <= 3;
}

/* Reads the header; how long it is. -EINVAL: cut short, another version, a control message, with flags or data that are
 * not known here, not about IP, or with a checksum that would not lie behind `start` and in the packet. */
int gue_parse(const uint8_t *bytes, size_t length, struct gue *ret_gue);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * split: a super-packet, as a device with segmentation offloads hands it over, cut into the packets that belong on a
 * wire. Pure functions over memory.
 *
 * What comes out lies back to back and has one length but for the last, as UDP_SEGMENT wants it. Each segment is copied
 * once, and its checksum is made on the way.
 */
#ifndef WORKER_SPLIT_H
#define WORKER_SPLIT_H

#include "worker/packet.h"

#include <linux/virtio_net.h>

/* Linux 6.2, USO: younger than Debian 12's headers. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* Where in their headers the checksum is. */
enum { SPLIT_TCP_CHECKSUM = 16, SPLIT_UDP_CHECKSUM = 6 };

struct split {
    const uint8_t *packet; /* borrowed */
    size_t ip, upper;      /* offsets of the IP header, and of TCP's or UDP's */
    size_t ip_header;      /* bytes of IPv4's header with options, or IPv6's without extensions */
    size_t payload;        /* offset of what is cut: every segment has what is before it */
    size_t length;         /* of the whole */
    size_t size;           /* payload bytes of each segment but the last */
    size_t cut;            /* payload bytes that were handed out */
    uint8_t version, protocol;
    /* Sums of what is the same in every segment, folded: of IPv4's header, of the pseudo-header without the length, and
     * of TCP's or UDP's header. A segment's checksums are these and what differs, so that nothing is read back that was
     * written just before. */
    uint16_t ip_sum, pseudo_sum, upper_sum;
    /* For the user to set behind split_init. */
    const uint8_t *head; /* borrowed: what is written before each segment, and counts as part of it below */
    size_t head_length;
    bool leave_checksum; /* it is made elsewhere: its field gets the sum of the pseudo-header */
};

/*
 * Takes a packet with its virtio_net_hdr (virtio 1.2, 5.1.6) that names a segmentation. The header comes from another
 * host's program perhaps: only gso_type and gso_size are believed, and those only where the packet agrees; where the
 * headers end is read from the packet itself. -EINVAL where it is not a whole TCP or UDP packet of that type.
 * -EOPNOTSUPP for a type that is not cut here. `view` is what packet_parse made of it.
 */
int split_init(struct split *ret_split, const struct virtio_net_hdr *header, const uint8_t *packet, size_t length,
               const struct packet_view *view);

/*
 * Writes the next segments, at most `most` of them and no more bytes than fit into `room`, and returns how many: 0 when
 * all were handed out, or when not one fits. *ret_length is their length; the last of all may be shorter: *ret_bytes
 * counts all bytes that were written.
 */
size_t split_next(struct split *split, uint8_t *out, size_t room, size_t most, size_t *ret_length, size_t *ret_bytes);

/* Whether all segments were handed out. */
static inline bool split_is_done(const struct split *split)
{
    return split->payload + split->cut == split->length;
}

/* What the next segment will be long, with its head. */
static inline size_t split_next_length(const struct split *split)
{
    size_t left = split->length - split->payload - split->cut;

    return split->head_length + split->payload + (left < split->size ? left : split->size);
}

static inline uint16_t split_checksum_offset(const struct split *split)
{
    return split->protocol == PROTOCOL_TCP ? SPLIT_TCP_CHECKSUM : SPLIT_UDP_CHECKSUM;
}

/*
 * Finishes the checksum that the header (VIRTIO_NET_HDR_F_NEEDS_CSUM) says is still to be made: the field holds the sum
 * of the pseudo-header. 0, also where there is nothing to do; -EINVAL where it lies outside of the packet.
 */
int split_finish_checksum(const struct virtio_net_hdr *header, uint8_t *packet, size_t length);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge: packets that follow one another in a buffer, made one super-packet again where a device takes such: the reverse
 * of split, in place. Pure functions over memory.
 *
 * Only what the far end's kernel could have cut is put together, so that splitting the result gives the same bytes
 * again: one flow, the same headers but for what counts up, payloads of one size but for a last one that may be
 * shorter. Every checksum is verified before: what was corrupted on the way stays a packet of its own, with the wrong
 * checksum by which its receiver finds out. One that is still to be made (VIRTIO_NET_HDR_F_NEEDS_CSUM) is neither right
 * nor wrong: the user has seen to it that its field has the pseudo-header's sum, and that nothing was corrupted.
 */
#ifndef WORKER_MERGE_H
#define WORKER_MERGE_H

#include "worker/packet.h"
#include "worker/split.h"

#define MERGE_MOST 65000 /* bytes of one super-packet: its length fields hold 16 bits, and Linux keeps some of them */

struct merge {
    uint8_t *packet;            /* borrowed; the first packet, and behind it what was appended */
    size_t length;              /* of all of it now */
    size_t count;               /* packets in it; 0: there is no run */
    struct packet_view view;    /* of the first */
    size_t upper, payload;      /* offsets in the packet */
    size_t size;                /* payload bytes of each but the last */
    uint32_t next_sequence;     /* TCP */
    bool closed;                /* nothing may follow: it was not of a kind that is merged, was short, or was pushed */
    bool verified;              /* the first one's checksum is right */
    uint16_t pseudo_sum;        /* of the pseudo-header without the length, folded; set with `verified` … */
    uint16_t ip_sum;            /* … as that of the first one's IP header */
    struct virtio_net_hdr lone; /* what goes before the first if nothing is appended */
};

/* Begins a run with a packet that is whole, and with its header: all zeros, or with a checksum that is still to be made,
 * TCP's or UDP's own. `udp`: whether UDP may be merged, too. */
void merge_begin(struct merge *merge, uint8_t *packet, size_t length, const struct packet_view *view,
                 const struct virtio_net_hdr *header, bool udp);

/* Appends a packet that lies behind the run in the same memory; true: it is part of the run now, and its bytes have
 * moved. False: it and the run are as they were. */
bool merge_append(struct merge *merge, uint8_t *packet, size_t length, const struct packet_view *view,
                  const struct virtio_net_hdr *header);

/* The same for one whose headers are the first one's but for what counts up, which is found out by comparing them and
 * without a look at what they say: most of a run are such. False also where merge_append would take the packet. */
bool merge_append_alike(struct merge *merge, uint8_t *packet, size_t length);

/* The run as it is to be written to the device: its headers made right for all of it, and the virtio_net_hdr that
 * goes before it. A lone packet stays as it came, with the header it came with. */
void merge_finish(struct merge *merge, struct virtio_net_hdr *ret_header);

#endif

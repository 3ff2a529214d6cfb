/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udp_unwrap: whether a payload from the wire may go to the device, and whether a packet from the device may go on the
 * wire; and what stands before it there.
 */
#ifndef WORKER_UDP_UNWRAP_H
#define WORKER_UDP_UNWRAP_H

#include "worker/gue.h"
#include "worker/packet.h"

#include <linux/virtio_net.h>

/* What stands before a packet in its datagram: nothing or a GUE header. `checksum` says of the packet what that header
 * says: with VIRTIO_NET_HDR_F_NEEDS_CSUM one is still to be made. */
struct udp_head {
    size_t length;
    uint8_t bytes[GUE_HEADER_MOST];
    struct virtio_net_hdr checksum;
};

/* A GUE header for a packet of this IP version; of `checksum` only what is about checksums counts. */
void udp_head_make(uint8_t version, const struct virtio_net_hdr *checksum, struct udp_head *ret_head);

/* The GUE header that a payload begins with. -EINVAL: gue_parse refuses it, or it is about another version of IP. */
int udp_head_read(const uint8_t *bytes, size_t length, struct udp_head *ret_head);

/* Whether the checksum that is still to be made is TCP's or UDP's own, over all of a whole packet, and its field has the
 * sum of the pseudo-header: then it may be left to whoever gets the packet, for it can only come out right. */
bool udp_checksum_is_own(const uint8_t *packet, const struct packet_view *view, const struct virtio_net_hdr *checksum);

/* A packet that came in a datagram. */
struct udp_arrival {
    size_t head; /* the packet begins behind so many bytes */
    struct packet_view view;
    struct virtio_net_hdr header; /* as the device wants it: zeros, or its own checksum is still to be made */
};

/* From the wire: on tun an IP packet that fills the payload, bare or behind a GUE header, on tap an Ethernet frame. Takes
 * the outer congestion mark over into it (RFC 6040), and makes a checksum that was left to us where that is not the
 * packet's own. PACKET_FORWARD, DROP_MALFORMED or DROP_ECN. */
enum drop_reason udp_unwrap(enum device_kind kind, uint8_t *bytes, size_t length, uint8_t outer_tos,
                            struct udp_arrival *ret_arrival);

/* From the device: *ret_view has version 0 where a frame holds no IP that can be read, which is then carried as it is.
 * PACKET_FORWARD, DROP_MALFORMED, or DROP_LOOP where the packet is UDP to the peer's own endpoint, or to one of so
 * many ports from there on: one of ours, which the routing table sent back into the tunnel. */
enum drop_reason udp_inspect(enum device_kind kind, const uint8_t *bytes, size_t length, const struct endpoint *remote,
                             size_t ports, struct packet_view *ret_view);

/* Of packets that lie back to back, each as it came in a datagram: how long the first is. `length` where that cannot be
 * seen, or nothing follows. */
size_t udp_first_length(enum device_kind kind, const uint8_t *bytes, size_t length);

#endif

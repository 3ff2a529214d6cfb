/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udp_unwrap: whether a payload from the wire may go to the device, and whether a packet from the device may go on the
 * wire.
 */
#ifndef WORKER_UDP_UNWRAP_H
#define WORKER_UDP_UNWRAP_H

#include "worker/packet.h"

/* From the wire: a bare IP packet that fills the payload on tun, an Ethernet frame on tap. Takes the outer congestion
 * mark over into it (RFC 6040). PACKET_FORWARD, DROP_MALFORMED or DROP_ECN. */
enum drop_reason udp_unwrap(enum device_kind kind, uint8_t *bytes, size_t length, uint8_t outer_tos,
                            struct packet_view *ret_view);

/* From the device: *ret_view has version 0 where a frame holds no IP that can be read, which is then carried as it is.
 * PACKET_FORWARD, DROP_MALFORMED, or DROP_LOOP where the packet is UDP to the peer's own endpoint: one of ours, which
 * the routing table sent back into the tunnel. */
enum drop_reason udp_inspect(enum device_kind kind, const uint8_t *bytes, size_t length, const struct endpoint *remote,
                             struct packet_view *ret_view);

#endif

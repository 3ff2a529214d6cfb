/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icmp: telling the sender of a packet that it is too big for the tunnel.
 */
#ifndef WORKER_ICMP_H
#define WORKER_ICMP_H

#include "worker/packet.h"

/* Room for the longest answer: 1280 bytes of IPv6 and a frame's header with two VLAN tags. */
#define ICMP_ROOM (IPV6_MTU_LEAST + 32)

/*
 * Fragmentation needed (RFC 792, RFC 1191) or packet too big (RFC 4443, 3.2; RFC 8201) about the packet or frame in
 * `bytes`, with `mtu` the largest IP packet that would have passed. It quotes what fits into 576 or 1280 bytes of
 * answer. It seems to come from where the packet was going: the worker has no address of its own, and to the stack
 * behind the device that address belongs to the tunnel's side.
 *
 * Returns the answer's length, or 0 where none may be sent (RFC 1122, 3.2.2; RFC 4443, 2.4): about an ICMP error, a
 * fragment that is not the first, to or from anything but one host, or with an mtu below what IP promises.
 */
size_t icmp_too_big(const uint8_t *bytes, const struct packet_view *view, size_t mtu,
                    uint8_t ret_answer[static ICMP_ROOM]);

#endif

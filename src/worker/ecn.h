/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ecn: congestion marks through a tunnel (RFC 6040).
 */
#ifndef WORKER_ECN_H
#define WORKER_ECN_H

#include "worker/packet.h"

/* The outer TOS for an inner one: normal mode copies the ECN field as it is (RFC 6040, 4.1), and the DSCP goes along so
 * that the path treats the outer packet as it would the inner one. */
static inline uint8_t ecn_outer_tos(uint8_t inner_tos)
{
    return inner_tos;
}

/* Brings the inner IP header up to date with the outer TOS it arrived under (RFC 6040, 4.2); IPv4's header checksum
 * stays right, or as wrong as it was. DROP_ECN or PACKET_FORWARD. */
enum drop_reason ecn_decapsulate(uint8_t *bytes, const struct packet_view *view, uint8_t outer_tos);

#endif

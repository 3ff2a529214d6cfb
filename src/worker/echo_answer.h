/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echo_answer: a packet turned into what somebody at its destination would have said to it.
 */
#ifndef WORKER_ECHO_ANSWER_H
#define WORKER_ECHO_ANSWER_H

#include "worker/packet.h"

/* What a frame with an answer may be longer than the question: the option of a neighbour advertisement. */
#define ECHO_GROWTH 8

/*
 * Answers, in place: ICMP and ICMPv6 echo requests to any one host (RFC 792, RFC 4443), fragments of them each for
 * itself; on tap also ARP requests (RFC 826) and neighbour solicitations (RFC 4861), with a MAC derived from the
 * address that was asked for. Not answered is who looks for his own address (RFC 5227, RFC 4862): he would think it
 * taken.
 *
 * PACKET_FORWARD: the answer is *ret_length bytes; `bytes` must have ECHO_GROWTH of room behind `length`. Else
 * DROP_MALFORMED (lengths or checksums are wrong) or DROP_NOT_FORWARDED (there is no answer to this).
 */
enum drop_reason echo_answer(enum device_kind kind, uint8_t *bytes, size_t length, size_t *ret_length);

#endif

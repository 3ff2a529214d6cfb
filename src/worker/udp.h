/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udp: the bare packet or frame as the payload of one UDP datagram, to and from one peer.
 *
 *     device ─> inspect ─> fits the path? ─> batch: cut to segments, or copied ─> send
 *                              └─ too big: IPv4 that may be fragmented ─> fragments, each sent
 *                                          DF or IPv6 ─────────────────> ICMP back into the device
 *     wire ─> from the peer? ─> each datagram: unwrap ─> merge with the one before it ─> device
 *
 * One system call carries many packets where they allow it: super-packets and checksums come from and go to the device
 * (split.h, merge.h), and datagrams of one size leave and arrive together (UDP_SEGMENT, UDP_GRO). Nothing waits for
 * more: what is in hand is sent when the device has no more to read, or its turn is over.
 *
 * Every packet ends in one counter: wire_out or device_out, or one reason. One that was answered by ICMP is dropped,
 * too. A super-packet counts as the packets that are in it.
 */
#ifndef WORKER_UDP_H
#define WORKER_UDP_H

#include "worker/device_io.h"
#include "worker/icmp.h"
#include "worker/wire_io.h"

struct lane;

/* Datagrams on their way to the wire: of one length and TOS, but for the last, which may be shorter. */
struct udp_batch {
    size_t length, segment, count;
    uint8_t tos;
    bool closed; /* a shorter one is in it: none can follow */
    uint8_t bytes[WIRE_BATCH_BYTES + 64];
};

struct udp {
    struct wire wire;
    bool merges; /* whether the device takes super-packets from us */
    struct rate_limit answers;
    struct udp_batch batch;
    struct device_packet answer;  /* an ICMP message */
    struct device_packet segment; /* one packet cut out of a super-packet that does not fit the path */
};

/* udp_out.c: what came from the device. */
void udp_from_device(struct lane *lane, size_t length);
void udp_flush(struct lane *lane);

/* udp_in.c: what came from the wire. */
int udp_from_wire(struct lane *lane);

void udp_take_news(struct lane *lane);

#endif

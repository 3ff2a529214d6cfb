/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_io: the UDP socket, which comes bound and unconnected, and the path to the one peer.
 *
 * Outer packets are never fragmented on the way: DF is on, and the kernel tells of a path that is too narrow by
 * EMSGSIZE and in the socket's error queue. What was learnt holds for ten minutes; then the next packet that is too big
 * for it is tried again. No timer is needed for that, so an idle worker sleeps.
 */
#ifndef WORKER_WIRE_IO_H
#define WORKER_WIRE_IO_H

#include "tunwright/model.h"

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#define WIRE_BATCH_BYTES    65000 /* of one send: UDP's and IPv4's length fields, with room for the headers */
#define WIRE_BATCH_SEGMENTS 64    /* what every kernel with UDP_SEGMENT takes (UDP_MAX_SEGMENTS, since 6.9 it is 128) */

/* What the socket may be asked to do for many datagrams at once. */
enum wire_offload { WIRE_SEGMENT = 1 << 0, WIRE_GRO = 1 << 1 };

struct wire {
    int fd; /* borrowed */
    struct sockaddr_storage remote;
    socklen_t remote_length;
    size_t overhead;           /* bytes of outer IP and UDP header */
    size_t payload_max;        /* what may be sent now */
    uint32_t path_mtu;         /* bytes of outer IP packet; 0: not known */
    int64_t path_mtu_until_ns; /* CLOCK_MONOTONIC */
    int error;                 /* positive errno of what the network said last; 0 since the peer was heard */
    unsigned refusals;         /* batches in a row that the kernel did not understand */
    uint32_t overflows; /* what the kernel has dropped before it could be received; it counts on from 2^32 − 1 to 0 */
    bool segments, gro; /* whether UDP_SEGMENT and UDP_GRO are in use: the kernel may refuse either */
    bool lumps;         /* GRO was turned off: what was put together before may still be waiting */
    bool news;          /* path_mtu, error or segments changed; the user clears it */
};

/* One datagram, or several of one sender that UDP_GRO put together. */
struct wire_datagram {
    size_t length;
    size_t segment; /* the length of each but the last, which may be shorter; `length` where there is one */
    bool from_peer; /* from exactly the peer's address and port */
    bool cut;       /* it was longer than the room for it */
    bool lump;      /* it may be several, and the kernel did not say how long each is */
    uint8_t tos;    /* outer TOS or traffic class */
    uint32_t lost;  /* what the kernel dropped before it since the one before, mostly for want of room; what GRO has put
                     * together is one */
};

/* Checks that the socket is the one that was asked for and sets it up; setting up the same one again changes nothing.
 * Fails where it is not, or the kernel lacks an option that is needed. No offload is in use before wire_set_offload. */
int wire_init(struct wire *ret_wire, int fd, const struct endpoint *local, const struct endpoint *remote,
              struct err *ret_err);

/* Uses what of `wanted` (enum wire_offload) the kernel has, and nothing else. Nobody may be receiving meanwhile. */
void wire_set_offload(struct wire *wire, unsigned wanted);

/* The next datagram, one that may be empty. -EAGAIN: none is waiting. What the network had to say before is taken in.
 */
int wire_receive(struct wire *wire, uint8_t *out, size_t room, struct wire_datagram *ret_datagram);

/* Sends one datagram under this outer TOS. -EMSGSIZE: too big, and payload_max says for what, if it is below the
 * length; -EAGAIN, -ENOBUFS, -ENOMEM: not now; else the kernel's or the network's refusal. */
int wire_send(struct wire *wire, const struct iovec *parts, size_t part_count, uint8_t tos);

/* Sends datagrams of `segment` bytes each, the last of which may be shorter, that lie back to back: at most
 * WIRE_BATCH_SEGMENTS, WIRE_BATCH_BYTES and what `wire_fits`. All of them or none; errors as of wire_send. -EOPNOTSUPP: not
 * at once, send them one by one. */
int wire_send_batch(struct wire *wire, const uint8_t *bytes, size_t length, size_t segment, uint8_t tos);

/* As wire_send, but lets the outer packet be fragmented. */
int wire_send_fragmented(struct wire *wire, const struct iovec *parts, size_t part_count, uint8_t tos);

/* Whether a payload of this length may be sent, or at least tried. */
bool wire_fits(struct wire *wire, size_t length);

/* Empties the error queue. How many there were. */
size_t wire_errors_drain(struct wire *wire);

#endif

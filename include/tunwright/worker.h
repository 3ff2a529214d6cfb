/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker: the contract between tunwright-netd and any program that forwards a device's packets.
 *
 * A worker is started by tunwright-netd as an unprivileged user with
 *   fd 0, 1  /dev/null        fd 2  the log (stderr of tunwright-netd)
 *   fd 3     control: one end of a connected SOCK_SEQPACKET socket
 *   fd 4     a listening SOCK_SEQPACKET socket: here a later tunwright-netd connects
 * and with nothing else: no argument, no environment but PATH=, no other descriptor; in a session of its own.
 *
 * A message is one packet on fd 3: a head, one line of text that ends in '\n', and after it the body. The head is a
 * verb and blank-separated `key=value` words. Unknown verbs and words are to be ignored.
 *
 *   netd → worker   configure queues=1 sockets=1 tag=<16 hex> program=<name>\n{"device": {…}, "worker": {…}}
 *                       with file descriptors beside it (SCM_RIGHTS), in this order: the counter page, `queues`
 *                       queues of the device (non-blocking), `sockets` sockets that are bound already: none, or one
 *                       for each queue, in the order of queues. The first is the start; a later one replaces
 *                       configuration and all descriptors, and what did not change is the same open file again.
 *                   attach\n    from a later netd: answer `attached`, and end a capture
 *                   capture\n   with the descriptor of a capture area: write the packets into it that its program takes;
 *                       without one: end that
 *                   stop\n      finish: exit with 0 (so does SIGTERM)
 *   worker → netd   ready\n{status}         configured, forwarding
 *                   failed\n{"detail": …}   this configuration cannot be used; an earlier one stays in force
 *                   status\n{status}        at any time: an object for people, shown as status.worker in the API
 *                   attached\n<the last configure packet, head and body>   with that packet's descriptors, in its order
 *
 * A queue's packet has a struct virtio_net_hdr of 10 bytes before it (IFF_VNET_HDR, IFF_NO_PI), in both directions: zeros,
 * unless the worker turns on offloads by TUNSETOFFLOAD. netd turns them off before it starts a worker.
 *
 * When fd 3 reports end of file, netd is gone: keep forwarding. A new netd connects to fd 4: accept it, and make the
 * new connection fd 3. Packets that wait in the device's queue or the sockets are not lost when a worker dies: netd
 * holds a second descriptor of each, and passes them to the next worker.
 */
#ifndef TUNWRIGHT_WORKER_H
#define TUNWRIGHT_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#define WORKER_CONTROL_FD       3
#define WORKER_LISTEN_FD        4
#define WORKER_MESSAGE_MAX      (65536 + 256) /* bytes of one packet on fd 3 */
#define WORKER_STATUS_MAX       4096          /* bytes of a status body */
#define WORKER_FDS_MAX          40            /* 1 page, 16 queues, 16 sockets, and room */
#define WORKER_READY_TIMEOUT_MS 5000          /* how long netd waits for `ready` */

/* ---- the counter page -------------------------------------------------------------------------------------------- */

/* Why a packet was dropped: a closed set, with the same names in JSON, Prometheus and the dashboard. */
enum drop_reason {
    DROP_NO_PEER,        /* from the device, and there is nobody to send it to */
    DROP_UNKNOWN_SOURCE, /* from the wire, not from the peer's address and port */
    DROP_TOO_BIG,   /* does not fit the path's MTU and may not be fragmented; answered with ICMP where that may be */
    DROP_MALFORMED, /* lengths or headers that contradict each other, or that are not what the device carries */
    DROP_UNAUTHENTICATED,
    DROP_REPLAYED,
    DROP_QUEUE_FULL,    /* the socket or the device could not take it now (EAGAIN, ENOBUFS) */
    DROP_LOOP,          /* from the device, and addressed to the peer's own endpoint */
    DROP_ECN,           /* RFC 6040: congestion experienced outside, not ECN-capable inside */
    DROP_DEVICE_DOWN,   /* the device is down (EIO) */
    DROP_WIRE_ERROR,    /* the socket refused it: unreachable, not permitted, … */
    DROP_NOT_FORWARDED, /* read, and by design not sent on: the monitor's packets, what echo has no answer to */
    DROP_RCVBUF_FULL,   /* never received: the socket's receive buffer was full (SO_RXQ_OVFL); not in wire_in */
    DROP_REASON_N
};
/* "no_peer", "unknown_source", … */
const char *drop_reason_name(enum drop_reason reason);

/* One thread's counters, written by that thread alone with plain 64-bit stores; whoever reads adds the slots up. Ours
 * has a thread for each queue: slot i is queue i's.
 * Bytes: the inner packet's on the device side (an Ethernet frame without its FCS on tap), UDP payload on the wire
 * side. */
struct counter_pair {
    uint64_t packets, bytes;
};
struct counter_slot {
    struct counter_pair device_in;  /* read from the device */
    struct counter_pair wire_out;   /* sent by the socket */
    struct counter_pair wire_in;    /* received by the socket */
    struct counter_pair device_out; /* written to the device */
    uint64_t drops[16];             /* by enum drop_reason */
    uint64_t reserved[8];
} __attribute__((aligned(64)));
_Static_assert(DROP_REASON_N <= 16, "drops fit the slot");
_Static_assert(sizeof(struct counter_slot) == 256, "published layout");

/* The page: a sealed memfd of exactly COUNTER_PAGE_SIZE bytes, made by netd, in host byte order. It outlives a worker:
 * the next one goes on where it ended. */
#define COUNTER_PAGE_SIZE    8192
#define COUNTER_PAGE_MAGIC   0x54574350U /* "TWCP" */
#define COUNTER_PAGE_VERSION 1
#define COUNTER_SLOTS        16
struct counter_page {
    uint32_t magic;
    uint16_t version;
    uint16_t slot_count; /* COUNTER_SLOTS */
    int64_t since_ns;    /* CLOCK_REALTIME when the counters were zero */
    uint32_t features;   /* the worker's: what it can besides, WORKER_FEATURE_… */
    uint8_t reserved[236];
    struct counter_slot slots[COUNTER_SLOTS];
};
_Static_assert(sizeof(struct counter_page) <= COUNTER_PAGE_SIZE, "the page holds it");

#define WORKER_FEATURE_CAPTURE (1U << 0) /* `capture` */

/* Whether the worker says so. */
bool counter_page_has_feature(const struct counter_page *page, uint32_t feature);

/* The sum over all slots; each value is read once, atomically. */
void counter_page_sum(const struct counter_page *page, struct counter_slot *ret_sum);

/* ---- the capture area -------------------------------------------------------------------------------------------- */

/*
 * A sealed memfd of exactly CAPTURE_AREA_SIZE bytes, made by netd: the head, and for each thread of the worker a ring of
 * its own, which are holes until somebody writes there. The worker writes, tunwrightd reads, and neither believes the
 * other. A ring has room for what lies between `read` and `written`, which only grow, by multiples of 8; the byte at
 * position p is at p % CAPTURE_RING_SIZE. A record lies in one piece: where it would not, one of CAPTURE_SKIP fills the
 * ring's end. The worker never waits: what finds no room is lost, and counted.
 */
#define CAPTURE_MAGIC       0x54574341U /* "TWCA" */
#define CAPTURE_VERSION     1
#define CAPTURE_RINGS       COUNTER_SLOTS
#define CAPTURE_RING_SIZE   (2U << 20)
#define CAPTURE_HEAD_SIZE   16384U
#define CAPTURE_AREA_SIZE   (CAPTURE_HEAD_SIZE + CAPTURE_RINGS * CAPTURE_RING_SIZE)
#define CAPTURE_PROGRAM_MAX 1024
#define CAPTURE_SNAPLEN_MAX 65535

/* Classic BPF, as bpf(4) and linux/filter.h have it, on the packet from its IP header (tun) or Ethernet header (tap). */
struct capture_instruction {
    uint16_t code;
    uint8_t jt, jf;
    uint32_t k;
};

enum capture_kind { CAPTURE_SKIP, CAPTURE_IN, CAPTURE_OUT }; /* out: from the device to the wire */
#define CAPTURE_NOT_DROPPED 255

struct capture_record {
    uint32_t size;     /* of all of it: this, the bytes, and up to 7 more; of CAPTURE_SKIP only this and `kind` count */
    uint32_t captured; /* bytes that follow */
    uint32_t length;   /* the packet's */
    uint8_t kind;      /* enum capture_kind */
    uint8_t drop;      /* enum drop_reason, or CAPTURE_NOT_DROPPED */
    uint8_t reserved[2];
    int64_t time_ns; /* CLOCK_REALTIME */
};
_Static_assert(sizeof(struct capture_record) == 24, "published layout");

struct capture_ring {
    uint64_t written __attribute__((aligned(64))); /* the worker's, as are … */
    uint64_t taken;                                /* packets that the program took, and … */
    uint64_t lost;                                 /* … how many of them found no room */
    uint64_t read __attribute__((aligned(64)));    /* tunwrightd's */
};

struct capture_area {
    uint32_t magic;
    uint16_t version;
    uint16_t ring_count;     /* CAPTURE_RINGS */
    uint32_t snaplen;        /* bytes kept of a packet */
    uint32_t program_length; /* instructions; 0: all packets */
    struct capture_ring rings[CAPTURE_RINGS];
    struct capture_instruction program[CAPTURE_PROGRAM_MAX];
};
_Static_assert(sizeof(struct capture_area) <= CAPTURE_HEAD_SIZE, "the head holds it");

static inline uint8_t *capture_ring_bytes(struct capture_area *area, unsigned ring)
{
    return (uint8_t *)area + CAPTURE_HEAD_SIZE + (uint64_t)ring * CAPTURE_RING_SIZE;
}

#endif

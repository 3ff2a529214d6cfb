/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_io: a queue of the device, one packet or super-packet a call. Before each stands a virtio_net_hdr, which says
 * what the kernel left to us (segmentation, a checksum), or we to it.
 */
#ifndef WORKER_DEVICE_IO_H
#define WORKER_DEVICE_IO_H

#include "worker/packet.h"

#include <linux/virtio_net.h>
#include <sys/types.h>

#define DEVICE_HEADER_SIZE 10 /* sizeof(struct virtio_net_hdr) */

/* A packet with room before it. The header lies right before the bytes, which are aligned. */
struct device_packet {
    uint8_t headroom[6];
    struct virtio_net_hdr header;
    uint8_t bytes[PACKET_ROOM];
} __attribute__((aligned(16)));
_Static_assert(sizeof(struct virtio_net_hdr) == DEVICE_HEADER_SIZE, "what IFF_VNET_HDR puts before a packet");
_Static_assert(offsetof(struct device_packet, bytes) == 16, "the header ends where the bytes begin");

/* What a device may be asked to leave to us. */
enum device_offload {
    DEVICE_TSO = 1 << 0, /* TCP super-packets, and with them checksums */
    DEVICE_USO = 1 << 1, /* UDP's (Linux 6.2); only with DEVICE_TSO */
};

/* Turns on what of `wanted` the kernel knows, and all else off; says what came of it. */
unsigned device_set_offload(int queue_fd, unsigned wanted);

/* Reads the next packet into at most `room` bytes: its length, 0 where none is waiting, -ENODEV where the device is gone
 * for good. */
ssize_t device_read(int queue_fd, struct device_packet *out, size_t room);

/* Writes a packet; the DEVICE_HEADER_SIZE bytes before it are ours to write over. PACKET_FORWARD, or why it was not
 * taken; *ret_refused (may be NULL) says that the kernel did not understand it (EINVAL). */
enum drop_reason device_write(int queue_fd, uint8_t *bytes, size_t length, const struct virtio_net_hdr *header,
                              bool *ret_refused);

#endif

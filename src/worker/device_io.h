/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_io: one packet from or to a queue of the device.
 */
#ifndef WORKER_DEVICE_IO_H
#define WORKER_DEVICE_IO_H

#include "worker/packet.h"

#include <sys/types.h>

/* The packet's length; 0 where none is waiting; -ENODEV where the device behind the queue is gone, for good. */
ssize_t device_read(int queue_fd, uint8_t *out, size_t room);

/* PACKET_FORWARD: the device took it. Else why not. */
enum drop_reason device_write(int queue_fd, const uint8_t *bytes, size_t length);

#endif

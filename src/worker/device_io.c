/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/device_io.h"

#include <errno.h>
#include <unistd.h>

ssize_t device_read(int queue_fd, uint8_t *out, size_t room)
{
    for (;;) {
        ssize_t n = read(queue_fd, out, room);

        if (n > 0)
            return n;
        if (n < 0 && errno == EINTR)
            continue;
        /* A deleted device says EBADFD, and EFAULT while it is being deleted; end of file is not a TUN's. A device that
         * is only down has nothing to read and says so with EAGAIN. */
        return n < 0 && errno == EAGAIN ? 0 : -ENODEV;
    }
}

enum drop_reason device_write(int queue_fd, const uint8_t *bytes, size_t length)
{
    while (write(queue_fd, bytes, length) < 0) {
        switch (errno) {
        case EINTR:
            continue;
        case EAGAIN:
        case ENOBUFS:
        case ENOMEM:
            return DROP_QUEUE_FULL;
        case EINVAL: /* not of the device's kind to the kernel's eyes */
            return DROP_MALFORMED;
        default: /* EIO: down; EBADFD: deleted */
            return DROP_DEVICE_DOWN;
        }
    }
    return PACKET_FORWARD;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/device_io.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Linux 6.2: younger than Debian 12's headers. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

unsigned device_set_offload(int queue_fd, unsigned wanted)
{
    const unsigned long tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

    if ((wanted & DEVICE_TSO) && (wanted & DEVICE_USO) &&
        ioctl(queue_fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0)
        return DEVICE_TSO | DEVICE_USO;
    if ((wanted & DEVICE_TSO) && ioctl(queue_fd, TUNSETOFFLOAD, tso) == 0)
        return DEVICE_TSO;
    (void)ioctl(queue_fd, TUNSETOFFLOAD, 0UL);
    return 0;
}

ssize_t device_read(int queue_fd, struct device_packet *out, size_t room)
{
    for (;;) {
        ssize_t n = read(queue_fd, &out->header, DEVICE_HEADER_SIZE + room);

        if (n > DEVICE_HEADER_SIZE)
            return n - DEVICE_HEADER_SIZE;
        if (n < 0 && errno == EINTR)
            continue;
        /* A deleted device says EBADFD, and EFAULT while it is being deleted; end of file is not a TUN's. A device that
         * is only down has nothing to read and says so with EAGAIN. */
        return n < 0 && errno == EAGAIN ? 0 : -ENODEV;
    }
}

enum drop_reason device_write(int queue_fd, uint8_t *bytes, size_t length, const struct virtio_net_hdr *header,
                              bool *ret_refused)
{
    uint8_t *start = bytes - DEVICE_HEADER_SIZE;

    memcpy(start, header, DEVICE_HEADER_SIZE);
    while (write(queue_fd, start, DEVICE_HEADER_SIZE + length) < 0) {
        switch (errno) {
        case EINTR:
            continue;
        case EAGAIN:
        case ENOBUFS:
        case ENOMEM:
            return DROP_QUEUE_FULL;
        case EINVAL: /* not of the device's kind to the kernel's eyes */
            if (ret_refused)
                *ret_refused = true;
            return DROP_MALFORMED;
        default: /* EIO: down; EBADFD: deleted */
            return DROP_DEVICE_DOWN;
        }
    }
    return PACKET_FORWARD;
}

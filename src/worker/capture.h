/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture: packets copied into a capture area (tunwright/worker.h), of each lane into a ring of its own.
 *
 * Here nothing waits and no system call is made. A packet from the device is copied before it is handled, which may
 * change it, and let go to the reader after that, with what became of it.
 */
#ifndef WORKER_CAPTURE_H
#define WORKER_CAPTURE_H

#include "tunwright/base.h"
#include "tunwright/worker.h"

struct capture {
    struct capture_area *area; /* mapped; the other end writes to it, too */
    uint32_t snaplen;
    size_t program_length;
    struct capture_instruction program[CAPTURE_PROGRAM_MAX]; /* as it was checked */
    struct capture_lane {
        uint64_t written;
        size_t size;                    /* of what is pending */
        struct capture_record *pending; /* at `written`: filled, and not let go; NULL: none */
    } lanes[CAPTURE_RINGS] __attribute__((aligned(64)));
};

/* Borrows the descriptor. Refuses an area that could shrink, and a program that is not sound. */
int capture_open(int fd, struct capture **ret_capture, struct err *ret_err);
void capture_close(struct capture *capture);

/* The packet is wanted: copied, and to be let go by capture_end, with enum drop_reason or CAPTURE_NOT_DROPPED. One that was
 * begun before is let go as not dropped. */
bool capture_begin(struct capture *capture, size_t lane, enum capture_kind kind, const uint8_t *bytes, size_t length);
/* Where none is begun, it does nothing. */
void capture_end(struct capture *capture, size_t lane, unsigned drop);

/* Both at once. */
void capture_packet(struct capture *capture, size_t lane, enum capture_kind kind, const uint8_t *bytes, size_t length,
                    unsigned drop);

#endif

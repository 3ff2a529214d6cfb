/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture_reader: takes packets out of a capture area, which a worker writes: a program that reads untrusted packets, and
 * may say anything. What is read of the area is copied before it is looked at, and no position in it is believed.
 */
#ifndef TUNWRIGHT_HTTP_CAPTURE_READER_H
#define TUNWRIGHT_HTTP_CAPTURE_READER_H

#include "tunwright/base.h"
#include "tunwright/worker.h"

struct capture_reader {
    struct capture_area *area; /* borrowed, mapped */
    uint64_t read[CAPTURE_RINGS];
};

/* Whether there is anything to take. */
bool capture_reader_has_some(const struct capture_reader *reader);
/* The oldest of the packets that wait: 1, with a copy of it; 0: none does. -EPROTO: what is there makes no sense.
 * *ret_bytes has room for CAPTURE_SNAPLEN_MAX. */
int capture_reader_next(struct capture_reader *reader, struct capture_record *ret_record, uint8_t *ret_bytes);
void capture_reader_count(const struct capture_reader *reader, uint64_t *ret_taken, uint64_t *ret_lost);

#endif

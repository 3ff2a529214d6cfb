/* SPDX-License-Identifier: Apache-2.0 */
/* pcapng: a capture file's blocks (draft-ietf-opsawg-pcapng), in host byte order, appended to a buffer. */
#ifndef TUNWRIGHT_HTTP_PCAPNG_H
#define TUNWRIGHT_HTTP_PCAPNG_H

#include "tunwright/model.h"
#include "tunwright/worker.h"

/* The section and its one interface. */
void pcapng_begin(struct buf *out, const char *device, enum device_kind kind, uint32_t snaplen, const char *filter);
/* `bytes`: record->captured of them. */
void pcapng_packet(struct buf *out, const struct capture_record *record, const void *bytes);
/* How many packets the filter took, and how many of them are not in the file. */
void pcapng_end(struct buf *out, int64_t time_ns, uint64_t taken, uint64_t lost);

#endif

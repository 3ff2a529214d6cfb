/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document_cache: the answers that show a device, as it is in the newest snapshot. A document is a pure function of its snapshot,
 * and costs more to print than all the rest of its answer.
 */
#ifndef TUNWRIGHT_HTTP_DOCUMENT_CACHE_H
#define TUNWRIGHT_HTTP_DOCUMENT_CACHE_H

#include "request.h"

struct document_cache;

/* NULL: no memory. */
struct document_cache *document_cache_new(void);
void document_cache_free(struct document_cache *cache);

/* 200 with the device's document, as devices_document has it, and its ETag. No field can be added to it. */
void document_answer(struct request *request, const struct snapshot *snapshot, const struct snapshot_device *device);

#endif

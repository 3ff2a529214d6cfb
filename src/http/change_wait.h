/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change_wait: a request that waits for the engine.
 *
 * Ownership: the request owns the change from beginning to end, except that between change_wait_submit and the engine's
 * `done` it must not touch it. In that time the connection is suspended, and the library neither looks at a suspended
 * connection nor ends its request: a client that goes away is noticed at the attempt to answer. So whatever becomes of
 * the client, the change is carried out, `done` finds the request alive, and request_end frees both. http_stop waits
 * until the last change is done, and from when it begins no further one is submitted.
 */
#ifndef TUNWRIGHT_HTTP_CHANGE_WAIT_H
#define TUNWRIGHT_HTTP_CHANGE_WAIT_H

#include "request.h"

struct change_wait {
    struct change change;
    struct request *request;
};

/* A change of the device that the path names, for the handler to fill. Where the name cannot be one, or memory ran out,
 * the answer is given and NULL returned. The request owns it. */
struct change *change_wait_new(struct request *request, enum change_kind kind);

/* Hands it to the engine and suspends the connection: the handler must not touch the request any more. */
void change_wait_submit(struct request *request);

/* The answer, once the engine is done. */
void change_wait_answer(struct request *request);

void change_wait_free(struct change_wait *wait);

#endif

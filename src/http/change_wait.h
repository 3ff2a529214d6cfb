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
    /* of a success; NULL: the device, 201 where it, or that part of it, was created, else 200 */
    void (*answer)(struct request *request, const struct change *change);
};

/* A change, for the handler to fill: who asks, and on what terms, it says already. Where memory ran out, the answer is
 * given and NULL returned. The request owns it. */
struct change *change_wait_new(struct request *request, enum change_kind kind);
/* The same of the device that the path names: where the name cannot be one, the answer is given as well. */
struct change *change_wait_of_device(struct request *request, enum change_kind kind);

/* Hands it to the engine and suspends the connection: the handler must not touch the request any more. */
void change_wait_submit(struct request *request);

/* The answer, once the engine is done: a problem; a dry run's plan; or what the wait's `answer` gives, with
 * Tunwright-Changed and Tunwright-Confirm-By. */
void change_wait_answer(struct request *request);

/* An answer for change_wait.answer: 204, with the tag of the device if there still is one. */
void change_wait_gone(struct request *request, const struct change *change);

void change_wait_free(struct change_wait *wait);

#endif

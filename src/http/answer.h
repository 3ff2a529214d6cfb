/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer: JSON, nothing, or a problem document (RFC 9457). Each of these gives the request its one answer; what runs
 * out of memory on the way leaves it without one, and then the connection is closed.
 */
#ifndef TUNWRIGHT_HTTP_ANSWER_H
#define TUNWRIGHT_HTTP_ANSWER_H

#include "request.h"

#include <stdatomic.h>

struct cJSON;

/* Takes the tree (NULL: memory ran out). Compact, with a newline at the end. */
void answer_json(struct request *request, unsigned status, struct cJSON *json);
/* Text that has a secret in it, from malloc: taken, and wiped when it was sent. */
void answer_secret(struct request *request, unsigned status, char *text);
/* Adds an item to the array that answer_items takes. Takes the item; NULL, or no memory, makes *items NULL. */
void answer_item_add(struct cJSON **items, struct cJSON *item);
/* {"items": […], "next": null}; takes the array. */
void answer_items(struct request *request, struct cJSON *items);
/* The same with the path of the next page, NULL where this is the last; it stands in the field Link, too. */
void answer_page(struct request *request, struct cJSON *items, const char *next);
/* Its parts, for a page that says more: the object (takes the array; owned, NULL: no memory), and the field. */
struct cJSON *answer_page_to_json(struct cJSON *items, const char *next);
void answer_link_next(struct request *request, const char *next);
void answer_empty(struct request *request, unsigned status);
void answer_header(struct request *request, const char *name, const char *value);

/* Of a GET of something with this entity tag: whether its preconditions gave it an answer already, 304 or 412. */
bool answer_is_unchanged(struct request *request, const char *etag);

/* One fault; the status is its code's. */
void answer_problem(struct request *request, const struct err *e);
/* As the list has it: faults of fields become one validation_failed with all of them, anything else is the problem
 * itself and what follows it its `errors`. */
void answer_problems(struct request *request, const struct err_list *errors);
void answer_no_memory(struct request *request);
/* 503, to be tried again later, whatever status the code has otherwise. */
void answer_unavailable(struct request *request, enum err_code code, const char *detail);

/* A response that more than one request may give: it does not change any more. */
struct shared_response {
    atomic_size_t references;
    size_t length;                 /* of its body */
    struct MHD_Response *response; /* owned */
};
/* JSON text, which it empties. NULL: no memory. */
struct shared_response *shared_response_of_json(struct buf *text);
struct shared_response *shared_response_share(struct shared_response *shared); /* NULL stays NULL */
void shared_response_release(struct shared_response *shared);
/* 200. Takes the reference. No field can be added to the answer. */
void answer_shared(struct request *request, struct shared_response *shared);
/* At the end of the request. */
void answer_done(struct request *request);

/* 200 with a body that is made while it is sent. Takes the response. */
void answer_stream(struct request *request, const char *media_type, struct MHD_Response *response);

/* Adds text for people. Where it was cut in the middle of a character, what is not ASCII becomes '?': an answer is
 * UTF-8. */
bool answer_add_text(struct cJSON *object, const char *name, const char *text);

/* Pure: the status of a code, and the document. Returns owned, NULL when memory ran out. */
unsigned answer_status(enum err_code code);
struct cJSON *answer_problem_to_json(const struct err_list *errors);

#endif

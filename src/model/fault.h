/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault: how the model says what is wrong with a document: where (RFC 6901), and in words.
 */
#ifndef TUNWRIGHT_MODEL_FAULT_H
#define TUNWRIGHT_MODEL_FAULT_H

#include "tunwright/base.h"

/* A place in the document: a chain on the stack, written out only once there is a fault. NULL is the whole document. */
struct fault_path {
    const struct fault_path *parent;
    const char *name; /* a member's name; NULL: an array's element */
    size_t index;
};

/* Adds a fault at a member of `parent` (NULL: the document; member NULL: `parent` itself). Always -EINVAL. */
int fault_add(struct err_list *errors, const struct fault_path *parent, const char *member, enum err_code code,
              const char *format, ...) PRINTF_LIKE(5, 6);

/* What was given, in quotes, for a message: printable ASCII only ('?' for any other character), cut with "...". */
#define FAULT_TEXT_SIZE 64
const char *fault_text(const char *text, char out[static FAULT_TEXT_SIZE]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * body: what several handlers ask of a request's body.
 */
#ifndef TUNWRIGHT_HTTP_BODY_H
#define TUNWRIGHT_HTTP_BODY_H

#include "tunwright/base.h"

/* For a request whose path says all: the body must be empty, or {}. -EINVAL; `why` ends the sentence. */
int body_check_empty(const struct buf *body, const char *why, struct err_list *errors);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terms: on what terms a request is to be carried out. What they may be is its row's to say.
 */
#ifndef TUNWRIGHT_HTTP_TERMS_H
#define TUNWRIGHT_HTTP_TERMS_H

#include "head.h"
#include "target.h"

#include "tunwright/engine.h"

struct route_row;

struct terms {
    struct precondition precondition;
    bool dry_run;
    uint32_t confirm_s; /* 0: at once and for good */
};

/* -EINVAL with ERR_INVALID_QUERY or ERR_INVALID_REQUEST. A parameter that the row does not know is not looked at. */
int terms_read(const struct route_row *row, const struct target *target, const struct head *head,
               struct terms *ret_terms, struct err *ret_err);

#endif

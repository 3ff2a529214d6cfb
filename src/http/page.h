/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page: a list in pieces. The place of the next piece is a path with a query, which says the same as the one that is
 * being answered but for where to go on. Pure functions of the target.
 */
#ifndef TUNWRIGHT_HTTP_PAGE_H
#define TUNWRIGHT_HTTP_PAGE_H

#include "target.h"

#define PAGE_LIMIT_MAX     1000
#define PAGE_LIMIT_DEFAULT 100 /* of lists without an end in sight */

/* ?limit=: 1 to PAGE_LIMIT_MAX, `otherwise` without it. -EINVAL with ERR_INVALID_QUERY. */
int page_limit(const struct target *target, size_t otherwise, size_t *ret_limit, struct err *ret_err);

/* ?after=: a sequence, 0 without it. -EINVAL with ERR_INVALID_QUERY. */
int page_after(const struct target *target, uint64_t *ret_after, struct err *ret_err);

/* The same path and query with `key` set to `value`. Owned; NULL: no memory. */
char *page_next(const struct target *target, const char *key, const char *value);

#endif

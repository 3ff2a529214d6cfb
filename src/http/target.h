/* SPDX-License-Identifier: Apache-2.0 */
/*
 * target: the path and the query of a request, cut into pieces first and percent-decoded afterwards, once. A "%2F" is
 * part of its piece and never a separator.
 */
#ifndef TUNWRIGHT_HTTP_TARGET_H
#define TUNWRIGHT_HTTP_TARGET_H

#include "tunwright/base.h"

#define TARGET_LENGTH_MAX   2048
#define TARGET_SEGMENTS_MAX 8
#define TARGET_QUERY_MAX    8

struct target_query {
    const char *key, *value; /* a key without "=" has the value "" */
};

/* The pointers lead into `text`: do not copy the struct. */
struct target {
    size_t segment_count;
    const char *segments[TARGET_SEGMENTS_MAX];
    size_t query_count;
    struct target_query query[TARGET_QUERY_MAX];
    char text[TARGET_LENGTH_MAX + 1];
};

/*
 * Parses the origin form, "/v1/devices?x=y". Every piece is UTF-8 without control characters. -EINVAL with
 * ERR_INVALID_REQUEST or, for the query, ERR_INVALID_QUERY; -ENOENT with ERR_NOT_FOUND for a path deeper than any that
 * there is. After an error ret_target holds nothing.
 */
int target_parse(const char *raw, struct target *ret_target, struct err *ret_err);

/* NULL where the query does not have it. */
const char *target_query_find(const struct target *target, const char *key);

#endif

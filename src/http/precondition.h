/* SPDX-License-Identifier: Apache-2.0 */
/*
 * precondition: If-Match and If-None-Match (RFC 9110, 13.1.1 and 13.1.2). A pure function of the head.
 */
#ifndef TUNWRIGHT_HTTP_PRECONDITION_H
#define TUNWRIGHT_HTTP_PRECONDITION_H

#include "head.h"

#include "tunwright/engine.h"

/*
 * Each is "*" or a list of entity tags, over any number of field lines. A tag that none of ours can equal is left out,
 * so the list may come out empty: a weak one of If-Match, and one that is too long. In If-None-Match a weak tag counts
 * as the strong one (the weak comparison: a proxy that compresses weakens the tags that it passes on).
 * -EINVAL with ERR_INVALID_REQUEST: not a list, one without a tag, "*" beside a tag, or more tags than
 * PRECONDITION_TAGS_MAX that could be ours.
 */
int precondition_read(const struct head *head, struct precondition *ret_precondition, struct err *ret_err);

#endif

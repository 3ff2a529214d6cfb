/* SPDX-License-Identifier: Apache-2.0 */
/*
 * head: is a request's head one that every reader understands in the same way?
 *
 * libmicrohttpd accepts heads that a proxy before it, or the next version of it, would cut up differently: a body whose
 * end is told twice, folded lines, a blank before the colon, a bare CR or LF. Whoever sends one is refused (RFC
 * 9112, 2.2, 5 and 6). Pure functions of what the library hands out.
 */
#ifndef TUNWRIGHT_HTTP_HEAD_H
#define TUNWRIGHT_HTTP_HEAD_H

#include "tunwright/base.h"

#define HEAD_FIELDS_MAX 64

/* One field line. Borrows; the value need not be NUL-terminated. */
struct head_field {
    const char *name, *value;
    size_t name_length, value_length;
};

struct head {
    const char *method, *target, *version; /* NUL-terminated; the library cut the target at its '?' */
    size_t target_length;                  /* with the query, up to the first NUL */
    struct head_field fields[HEAD_FIELDS_MAX];
    size_t field_count;
    bool overflow; /* there were more fields */
};

/* What the fields say. The pointers borrow from the head. */
struct head_facts {
    bool has_body;        /* a length that is not zero, or chunks */
    bool length_is_known; /* not chunked */
    uint64_t body_length; /* where known */
    bool expects_continue;
    const struct head_field *host, *content_type, *content_encoding, *authorization, *cookie, *origin, *fetch_site;
};

/* -EINVAL with ERR_INVALID_REQUEST. */
int head_check(const struct head *head, struct head_facts *ret_facts, struct err *ret_err);

/*
 * The same head, as bytes in the library's buffer, where each line's end and each colon became a NUL: does one line
 * follow the other with nothing but CR LF between them? That is what tells a folded line, a bare LF and a NUL in a
 * value. `length` is the head's, from the method to the blank line's end. (A NUL beside a bare LF looks like CR LF.)
 */
bool head_is_contiguous(const struct head *head, size_t length);

/* Case-insensitive comparison of a field's value. */
bool head_value_is(const struct head_field *field, const char *text);

/* That type, with no parameter but charset=utf-8. */
bool head_media_type_is(const struct head_field *content_type, const char *type);

/* Whether a page of another site made a browser send this: Origin is neither absent nor this host, or Sec-Fetch-Site
 * says so. */
bool head_is_cross_site(const struct head_facts *facts, bool with_tls);

/* Whether the host is this machine's loopback: localhost, 127.0.0.0/8 or [::1], with any port. A name that an attacker
 * had resolved to it is not. */
bool head_host_is_loopback(const struct head_field *host);

/* Whether the host is localhost, an address, or one of the names (NULL: none), with any port. A page can have a name of
 * its own resolved to this machine, but not one of these. */
bool head_host_is_known(const struct head_field *host, const struct option_list *names);

#endif

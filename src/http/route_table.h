/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route_table: the one table of what can be asked. 404, 405 with Allow, HEAD, 413, 415 and who may ask follow from it.
 */
#ifndef TUNWRIGHT_HTTP_ROUTE_TABLE_H
#define TUNWRIGHT_HTTP_ROUTE_TABLE_H

#include "request.h"

#define ROUTE_QUERY_MAX  8
#define ROUTE_ALLOW_SIZE 64

enum route_flag {
    ROUTE_CHANGES = 1 << 0,     /* it changes something, and can be tried: ?dry_run=true */
    ROUTE_CONFIRMABLE = 1 << 1, /* of the configuration, so it can be made to wait for a confirmation: ?confirm_s=60 */
    ROUTE_CONDITIONAL = 1 << 2, /* If-Match and If-None-Match are minded */
    ROUTE_MERGE_PATCH = 1 << 3, /* its body may be application/merge-patch+json, too */
    ROUTE_MUTATION = ROUTE_CHANGES | ROUTE_CONFIRMABLE | ROUTE_CONDITIONAL,
    ROUTE_PATCH = ROUTE_MUTATION | ROUTE_MERGE_PATCH,
};

struct route_row {
    const char *method;                      /* a row for GET answers HEAD, too */
    const char *pattern;                     /* "/v1/devices/{name}": a {…} takes any one segment that is not empty */
    enum role role;                          /* the least that one must be */
    unsigned flags;                          /* enum route_flag */
    size_t body_limit;                       /* bytes; 0: it takes no body */
    void (*handle)(struct request *request); /* gives the answer, or submits a change */
    const char *query[ROUTE_QUERY_MAX];      /* the parameters it knows, no others are taken */
};

/*
 * The row for a method and a path. NULL where there is none: then ret_allow says which methods the path has ("GET,
 * HEAD, PUT"), and is empty where there is no such path. The variables borrow from the target.
 */
const struct route_row *route_table_find(const char *method, const struct target *target,
                                         const char *ret_variables[static REQUEST_VARIABLES_MAX],
                                         char ret_allow[static ROUTE_ALLOW_SIZE]);

/* The first parameter of the query that the row does not know, or NULL. */
const char *route_table_unknown_query(const struct route_row *row, const struct target *target);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_list: the devices that a list is about: those that who asks may see, that ?selector= matches, behind ?cursor=,
 * and no more than ?limit=.
 */
#ifndef TUNWRIGHT_HTTP_DEVICE_LIST_H
#define TUNWRIGHT_HTTP_DEVICE_LIST_H

#include "request.h"

#define DEVICE_LIST_QUERY "selector", "limit", "cursor" /* of a row whose handler makes one */

struct device_list {
    const struct snapshot *snapshot;        /* owned: a reference */
    const struct snapshot_device **devices; /* owned; they lead into the snapshot */
    size_t count;
    char *next; /* owned: the path of the next page, NULL: this is the last */
};

/* False: the query is wrong, or there is no memory, and the answer is given. */
bool device_list_make(struct request *request, struct device_list *ret_list);
void device_list_done(struct device_list *list); /* for CLEANUP */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intake: the documents that apply and diff are given. A file holds a device, a list of devices, {"devices": […]} with or
 * without "absent": […] (as in conf.d), or {"items": […]} as the API lists them. All files together name no device twice.
 */
#ifndef TUNWRIGHT_CLI_INTAKE_H
#define TUNWRIGHT_CLI_INTAKE_H

#include "tunwright/base.h"

struct cJSON;

#define INTAKE_FILE_MAX (32U << 20) /* what PUT /v1/config takes */

struct intake_item {
    const char *name;       /* borrowed from the document, or owned by the list of those that are absent */
    struct cJSON *document; /* owned, without `status`; a string: a device that is not to be there */
    char *source;           /* owned: the file */
};

struct intake {
    struct intake_item *items;
    size_t count, capacity;
    bool whole; /* begins as true: all files say {"devices": …}, so together they can be all that there is */
};
void intake_done(struct intake *intake);

/* Adds a file, all *.json of a directory in the order of their names, or what standard input has ("-"). -EINVAL where the
 * content is wrong, another errno where it cannot be read. */
int intake_add(struct intake *intake, const char *path, struct err *ret_err);
/* Whether the item is a device that is to be there. */
bool intake_is_wanted(const struct intake_item *item);
/* After the last: no device twice. Sorts nothing. */
int intake_check(const struct intake *intake, struct err *ret_err);

#endif

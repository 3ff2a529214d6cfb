/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expression: how a device is written on a command line. `mtu=1400`, `worker.remote=10.0.0.2:5000`, `labels.site=null` make
 * a merge patch (RFC 7396); `addresses+=…` and `addresses-=…` edit a list that was read before.
 *
 * What a value is, its field says: labels, names and MAC addresses are text whatever they look like; addresses are a list
 * with commas between; `routes` takes one route, `worker` a worker in the short forms below; any other value is JSON where
 * it can be read as such, else text. `null` is null everywhere, and text in double quotes is text.
 */
#ifndef TUNWRIGHT_CLI_EXPRESSION_H
#define TUNWRIGHT_CLI_EXPRESSION_H

#include "tunwright/base.h"

struct cJSON;

#define EXPRESSION_DEPTH_MAX 6

enum expression_kind { EXPRESSION_SET, EXPRESSION_ADD, EXPRESSION_REMOVE };

/* Whether it is one at all: something with '=' in it. */
bool expression_is_one(const char *text);
/* `mtu+=1`: what it does; its faults are those of the functions below. */
enum expression_kind expression_kind(const char *text);

/* Puts `FIELD=VALUE` into a patch. -EINVAL where it is none, or the field was given already. */
int expression_set(struct cJSON *patch, const char *text, struct err *ret_err);
/* As expression_set, with both parts told apart already. */
int expression_set_field(struct cJSON *patch, const char *field, const char *value, struct err *ret_err);
/* Edits the list of a device's document. `addresses-=` and `routes-=` of what is not there are faults (-ENOENT). */
int expression_edit(struct cJSON *document, const char *text, struct err *ret_err);

/* `10.9.0.0/16,via=10.0.0.2,metric=100` → {"to": …}. -EINVAL, -ENOMEM. */
int expression_route(const char *text, struct cJSON **ret_route, struct err *ret_err);
/* `udp,local=…,remote=…` → {"type": "udp", …}; `none` → null. A dot goes deeper: `offload.tso=false`. */
int expression_worker(const char *text, struct cJSON **ret_worker, struct err *ret_err);

#endif

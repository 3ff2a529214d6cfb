/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document: the parts of the device document that are documents of their own, too.
 */
#ifndef TUNWRIGHT_MODEL_DOCUMENT_H
#define TUNWRIGHT_MODEL_DOCUMENT_H

#include "field.h"
#include "tunwright/model.h"

/* json_read for a document's parser: what is wrong goes into the list. */
int document_read(const char *text, size_t length, cJSON **ret_json, struct err_list *errors);
/* For CLEANUP. */
void document_done(cJSON **json);
/* Puts out of memory into the list, where `result` says so; returns `result`. */
int document_result(int result, struct err_list *errors);

/* device_parse for a document that stands at `path`. Out of memory is put into the list, too. */
int device_decode(const cJSON *json, const char *name, bool name_may_be_pattern, const struct fault_path *path,
                  struct device **ret_device, struct err_list *errors);
/*
 * Reads and validates one entry. `to` is the route's destination where the request's path says it, else NULL. On
 * -EINVAL the entry is a hole (family 0, WORKER_NONE), so that the rules between entries pass it over.
 */
int route_decode(const cJSON *json, const struct ip_prefix *to, const struct fault_path *path, struct route *ret_route,
                 struct err_list *errors);
int worker_config_decode(const cJSON *json, const struct fault_path *path, struct worker_config *ret_worker,
                         struct err_list *errors);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handlers: what the rows of the route table call once a request is complete and permitted. Each gives the request its
 * answer (answer.h), or hands a change to the engine (change_wait.h).
 */
#ifndef TUNWRIGHT_HTTP_HANDLERS_H
#define TUNWRIGHT_HTTP_HANDLERS_H

#include "request.h"

struct cJSON;

/* meta.c */
void meta_health(struct request *request);
void meta_ready(struct request *request);
void meta_version(struct request *request);

/* assets.c */
void assets_get_page(struct request *request);
void assets_get(struct request *request);

/* session.c */
void session_get(struct request *request);
void session_post(struct request *request);
void session_delete(struct request *request);

/* openapi.c */
void openapi_get(struct request *request);

/* devices.c */
void devices_list(struct request *request);
void devices_post(struct request *request);
void devices_get(struct request *request);
void devices_put(struct request *request);
void devices_patch(struct request *request);
void devices_delete(struct request *request);
void devices_adopt(struct request *request);
void devices_release(struct request *request);
/* The document as GET answers it, with `status`. Returns owned, NULL when memory ran out. */
struct cJSON *devices_document(const struct snapshot_device *device);
/* Whether who asks may see it. */
bool devices_visible(const struct request *request, const struct snapshot_device *device);
/* 404, of the device that the path names: the same words where there is none, and where it is not to be seen. */
void devices_not_found(struct request *request);
/* Puts the device's ETag on the answer. */
void devices_tag(struct request *request, const struct snapshot_device *device);
/* Of a GET: whether its preconditions gave it an answer already, 304 or 412. */
bool devices_is_unchanged(struct request *request, const struct snapshot_device *device);
/* The device that the path names, in a snapshot that the caller releases; where there is none, both are NULL and the
 * answer is given. */
const struct snapshot_device *devices_find(struct request *request, const struct snapshot **ret_snapshot);
/* For CLEANUP. */
void devices_snapshot_done(const struct snapshot **snapshot);

/* addresses.c */
void addresses_list(struct request *request);
void addresses_put(struct request *request);
void addresses_delete(struct request *request);

/* config.c */
void config_get(struct request *request);
void config_put(struct request *request);
void config_get_pending(struct request *request);
void config_confirm(struct request *request);
void config_revert(struct request *request);

/* event_log.c */
void event_log_list(struct request *request);
void event_log_audit(struct request *request);

/* device_routes.c */
void device_routes_list(struct request *request);
void device_routes_put(struct request *request);
void device_routes_delete(struct request *request);

/* workers.c */
void workers_get(struct request *request);
void workers_put(struct request *request);
void workers_delete(struct request *request);

/* counters.c */
void counters_get(struct request *request);
void counters_list(struct request *request);

/* device_history.c */
void device_history_get(struct request *request);

/* capture.c */
void capture_get(struct request *request);

/* metrics.c */
void metrics_get(struct request *request);

/* tokens.c */
void tokens_list(struct request *request);
void tokens_post(struct request *request);
void tokens_delete(struct request *request);

/* watch.c */
void watch_get(struct request *request);

#endif

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

/* devices.c */
void devices_list(struct request *request);
void devices_post(struct request *request);
void devices_get(struct request *request);
void devices_put(struct request *request);
void devices_delete(struct request *request);
/* The document as GET answers it, with `status`. Returns owned, NULL when memory ran out. */
struct cJSON *devices_document(const struct snapshot_device *device);
/* The device that the path names, in a snapshot that the caller releases; where there is none, both are NULL and the
 * answer is given. */
const struct snapshot_device *devices_find(struct request *request, const struct snapshot **ret_snapshot);
/* For CLEANUP. */
void devices_snapshot_done(const struct snapshot **snapshot);

/* addresses.c */
void addresses_list(struct request *request);
void addresses_put(struct request *request);
void addresses_delete(struct request *request);

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
/* One device's counters, now, as a JSON object. Returns owned, NULL when memory ran out. */
struct cJSON *counters_to_json(struct engine *engine, const struct snapshot_device *device);

/* watch.c */
void watch_get(struct request *request);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_add: members of a JSON object. Each returns false where memory ran out. For text that may be cut in the middle of
 * a character see answer_add_text.
 */
#ifndef TUNWRIGHT_HTTP_JSON_ADD_H
#define TUNWRIGHT_HTTP_JSON_ADD_H

#include "tunwright/base.h"

struct cJSON;

/* Never through a double, which is exact to 2^53 only. */
bool json_add_u64(struct cJSON *object, const char *name, uint64_t value);
bool json_add_u64_or_null(struct cJSON *object, const char *name, bool is_there, uint64_t value);
bool json_add_text_or_null(struct cJSON *object, const char *name, const char *text); /* NULL or "": null */
bool json_add_time(struct cJSON *object, const char *name, int64_t realtime_ns);
bool json_add_mac_or_null(struct cJSON *object, const char *name, bool is_there, const uint8_t mac[6]);

/* Appends it as compact text. Takes the tree; NULL, or no memory, makes `out` failed. */
void json_print(struct buf *out, struct cJSON *json);

#endif

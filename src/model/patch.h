/* SPDX-License-Identifier: Apache-2.0 */
/* patch: JSON merge patches (RFC 7396), applied and made. */
#ifndef TUNWRIGHT_MODEL_PATCH_H
#define TUNWRIGHT_MODEL_PATCH_H

#include <cjson/cJSON.h>

/* Takes both and returns what is owned: the target changed by the patch. Neither may be NULL. */
cJSON *patch_apply(cJSON *target, cJSON *patch);

/* The patch that leads from `before` to `after`: owned, `after` itself where one of them is no object. An empty object
 * changes nothing. NULL: no memory. A null in `after` comes out as null, which removes the member: in our documents an
 * absent member and a null one are the same. */
cJSON *patch_make(const cJSON *before, const cJSON *after);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * assets: the dashboard's files, as a part of the program. cmake/embed_assets.py makes them of web/.
 */
#ifndef TUNWRIGHT_HTTP_ASSETS_H
#define TUNWRIGHT_HTTP_ASSETS_H

#include <stddef.h>

struct asset {
    const char *name; /* "app.js" */
    const char *media_type;
    const char *etag; /* with its quotes; of the content, the type and the fields */
    const unsigned char *data;
    size_t length;
};

/* What goes with each of them. */
struct asset_field {
    const char *name, *value;
};

extern const struct asset assets[];
extern const size_t asset_count;
extern const struct asset_field asset_fields[];
extern const size_t asset_field_count;

/* NULL where there is none of that name. */
const struct asset *asset_find(const char *name);

#endif

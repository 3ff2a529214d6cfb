/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dashboard is for everybody who gets as far as the socket: it is the same for all, says nothing of this host, and
 * has the form in it by which one says who one is. What it shows, it asks of the API.
 *
 * Its page may load what comes from here, and nothing else from anywhere: no script in the page, no style, no frame
 * around it (the fields are in cmake/embed_assets.py). A browser keeps the files and asks each time whether they are the
 * same still, so that a new daemon is never shown by the old one's page. What it keeps has its fields, too: they are a part
 * of the entity tag, and stand in a 304 as they would in the answer that is spared (RFC 9110, 15.4.5).
 */
#include "assets.h"

#include "answer.h"
#include "handlers.h"

#include <errno.h>
#include <string.h>

const struct asset *asset_find(const char *name)
{
    for (size_t i = 0; i < asset_count; i++)
        if (!strcmp(assets[i].name, name))
            return &assets[i];
    return NULL;
}

/* An answer is not to be kept; this one may be. */
static void add_fields(struct request *request)
{
    if (request->response)
        MHD_del_response_header(request->response, "Cache-Control", "no-store");
    answer_header(request, "Cache-Control", "no-cache");
    for (size_t i = 0; i < asset_field_count; i++)
        answer_header(request, asset_fields[i].name, asset_fields[i].value);
}

static void answer_asset(struct request *request, const char *name)
{
    const struct asset *asset = asset_find(name);
    if (!asset) {
        struct err e;
        err_set(&e, -ENOENT, ERR_NOT_FOUND, "", "the dashboard has no such file");
        answer_problem(request, &e);
        return;
    }
    if (answer_is_unchanged(request, asset->etag)) {
        if (request->status == 304)
            add_fields(request);
        return;
    }
    answer_stream(
        request, asset->media_type,
        MHD_create_response_from_buffer(asset->length, (void *)(uintptr_t)asset->data, MHD_RESPMEM_PERSISTENT));
    add_fields(request);
    answer_header(request, "ETag", asset->etag);
}

void assets_get_page(struct request *request)
{
    answer_asset(request, "index.html");
}

void assets_get(struct request *request)
{
    answer_asset(request, request->variables[0]);
}

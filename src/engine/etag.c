/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags and preconditions (RFC 9110, 8.8.3 and 13). */
#include "tunwright/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void hex_print(const uint8_t *bytes, size_t count, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < count; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

/* The first bytes of a uuid are the installation's: they would say the same of each device. */
const char *etag_of_device(const struct stored_device *device, char out[static ETAG_SIZE])
{
    char id[2 * 10 + 1];

    hex_print(device->uuid.bytes + 6, 10, id);
    (void)snprintf(out, ETAG_SIZE, "\"%s-%" PRIu64 "\"", id, device->generation);
    return out;
}

const char *etag_of_config(const struct snapshot *snapshot, char out[static ETAG_SIZE])
{
    char id[2 * 6 + 1];

    hex_print(snapshot->installation, 6, id);
    (void)snprintf(out, ETAG_SIZE, "\"config-%s-%" PRIu64 "\"", id, snapshot->revision);
    return out;
}

static bool list_holds(const struct etag_list *list, const char *etag)
{
    if (!etag)
        return false;
    if (list->any)
        return true;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->tags[i], etag) == 0)
            return true;
    return false;
}

int precondition_check(const struct precondition *precondition, const char *etag, struct err *ret_err)
{
    if (precondition->match.is_present && !list_holds(&precondition->match, etag))
        return err_set(ret_err, -ECANCELED, ERR_PRECONDITION_FAILED, "", "%s",
                       etag ? "it was changed meanwhile: If-Match names another version"
                            : "If-Match asks for what is not there");
    if (precondition->none_match.is_present && list_holds(&precondition->none_match, etag))
        return err_set(ret_err, -ECANCELED, ERR_PRECONDITION_FAILED, "", "%s",
                       precondition->none_match.any ? "there is one already, and If-None-Match asks for none"
                                                    : "If-None-Match names the version that is there");
    return 0;
}

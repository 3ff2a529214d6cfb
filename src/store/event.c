/* SPDX-License-Identifier: Apache-2.0 */
/* What happened, in the order in which it did. */
#include "database.h"

static const char *const event_type_names[] = {
    [EVENT_DEVICE_CREATED] = "device_created",
    [EVENT_DEVICE_CHANGED] = "device_changed",
    [EVENT_DEVICE_DELETED] = "device_deleted",
    [EVENT_DEVICE_STATE] = "device_state",
    [EVENT_WORKER_STATE] = "worker_state",
    [EVENT_CONFIRMATION_PENDING] = "confirmation_pending",
    [EVENT_CONFIG_CONFIRMED] = "config_confirmed",
    [EVENT_CONFIG_REVERTED] = "config_reverted",
    [EVENT_FILE_APPLIED] = "file_applied",
    [EVENT_FILE_FAILED] = "file_failed",
    [EVENT_TOKEN_CREATED] = "token_created",
    [EVENT_TOKEN_DELETED] = "token_deleted",
};
_Static_assert(ARRAY_SIZE(event_type_names) == EVENT_TYPE_N, "each type has its name");

const char *event_type_name(enum event_type type)
{
    return (unsigned)type < EVENT_TYPE_N ? event_type_names[type] : "unknown";
}

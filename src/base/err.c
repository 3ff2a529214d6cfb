/* SPDX-License-Identifier: Apache-2.0 */
#include "tunwright/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    [ERR_NONE] = "none",
    [ERR_INVALID_JSON] = "invalid_json",
    [ERR_BODY_TOO_LARGE] = "body_too_large",
    [ERR_UNSUPPORTED_MEDIA_TYPE] = "unsupported_media_type",
    [ERR_INVALID_QUERY] = "invalid_query",
    [ERR_INVALID_REQUEST] = "invalid_request",
    [ERR_VALIDATION_FAILED] = "validation_failed",
    [ERR_WRONG_TYPE] = "wrong_type",
    [ERR_UNKNOWN_FIELD] = "unknown_field",
    [ERR_MISSING_FIELD] = "missing_field",
    [ERR_OUT_OF_RANGE] = "out_of_range",
    [ERR_INVALID_VALUE] = "invalid_value",
    [ERR_INVALID_NAME] = "invalid_name",
    [ERR_INVALID_ADDRESS] = "invalid_address",
    [ERR_HOST_BITS_SET] = "host_bits_set",
    [ERR_DUPLICATE] = "duplicate",
    [ERR_INCOMPATIBLE] = "incompatible",
    [ERR_LIMIT_EXCEEDED] = "limit_exceeded",
    [ERR_UNAUTHENTICATED] = "unauthenticated",
    [ERR_FORBIDDEN] = "forbidden",
    [ERR_NOT_FOUND] = "not_found",
    [ERR_METHOD_NOT_ALLOWED] = "method_not_allowed",
    [ERR_ALREADY_EXISTS] = "already_exists",
    [ERR_FOREIGN_DEVICE] = "foreign_device",
    [ERR_ADDRESS_IN_USE] = "address_in_use",
    [ERR_PRECONDITION_FAILED] = "precondition_failed",
    [ERR_CONFIRMATION_PENDING] = "confirmation_pending",
    [ERR_NOTHING_PENDING] = "nothing_pending",
    [ERR_RATE_LIMITED] = "rate_limited",
    [ERR_CONTESTED] = "contested",
    [ERR_KERNEL_REFUSED] = "kernel_refused",
    [ERR_WORKER_FAILED] = "worker_failed",
    [ERR_DRIFTED] = "drifted",
    [ERR_NETD_UNAVAILABLE] = "netd_unavailable",
    [ERR_STORE_UNAVAILABLE] = "store_unavailable",
    [ERR_STORE_FULL] = "store_full",
    [ERR_OUT_OF_MEMORY] = "out_of_memory",
    [ERR_INTERNAL] = "internal",
};
static_assert(ARRAY_SIZE(names) == ERR_CODE_N, "every code has a name");

const char *err_code_name(enum err_code code)
{
    return (unsigned)code < ERR_CODE_N ? names[code] : "internal";
}

static void fill(struct err *e, enum err_code code, const char *pointer, const char *format, va_list arguments)
{
    *e = (struct err){.code = code};
    snprintf(e->pointer, sizeof e->pointer, "%s", pointer ? pointer : "");
    vsnprintf(e->message, sizeof e->message, format, arguments);
}

int err_set(struct err *e, int error, enum err_code code, const char *pointer, const char *format, ...)
{
    if (e) {
        va_list arguments;
        va_start(arguments, format);
        fill(e, code, pointer, format, arguments);
        va_end(arguments);
    }
    return error;
}

int err_set_kernel(struct err *e, int error, const char *operation, const char *format, ...)
{
    if (e) {
        va_list arguments;
        va_start(arguments, format);
        fill(e, ERR_KERNEL_REFUSED, "", format, arguments);
        va_end(arguments);
        e->sys_errno = abs(error);
        snprintf(e->operation, sizeof e->operation, "%s", operation);
        size_t length = strlen(e->message);
        snprintf(e->message + length, sizeof e->message - length, ": %s", strerror(abs(error)));
    }
    return error;
}

int err_no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, ERR_OUT_OF_MEMORY, "", "out of memory");
}

void err_list_add(struct err_list *list, enum err_code code, const char *pointer, const char *format, ...)
{
    if (list->count == ERR_LIST_MAX)
        return;
    va_list arguments;
    va_start(arguments, format);
    fill(&list->items[list->count++], code, pointer, format, arguments);
    va_end(arguments);
}

void err_list_add_err(struct err_list *list, const struct err *e)
{
    if (list->count < ERR_LIST_MAX)
        list->items[list->count++] = *e;
}

const char *errno_name(int error)
{
    const char *name = strerrorname_np(abs(error));
    if (name)
        return name;
    static _Thread_local char text[16];
    snprintf(text, sizeof text, "E%d", abs(error));
    return text;
}

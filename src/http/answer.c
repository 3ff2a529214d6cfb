/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a code means in HTTP ----------------------------------------------------------------------------------- */

struct code_row {
    unsigned status;
    const char *title;
};
static const struct code_row codes[] = {
    [ERR_NONE] = {500, "Internal error"},
    [ERR_INVALID_JSON] = {400, "Not the JSON it should be"},
    [ERR_BODY_TOO_LARGE] = {413, "Body too large"},
    [ERR_UNSUPPORTED_MEDIA_TYPE] = {415, "Unsupported media type"},
    [ERR_INVALID_QUERY] = {400, "Invalid query"},
    [ERR_INVALID_REQUEST] = {400, "Invalid request"},
    [ERR_VALIDATION_FAILED] = {400, "Validation failed"},
    [ERR_WRONG_TYPE] = {400, "Wrong type"},
    [ERR_UNKNOWN_FIELD] = {400, "Unknown field"},
    [ERR_MISSING_FIELD] = {400, "Missing field"},
    [ERR_OUT_OF_RANGE] = {400, "Out of range"},
    [ERR_INVALID_VALUE] = {400, "Invalid value"},
    [ERR_INVALID_NAME] = {400, "Invalid name"},
    [ERR_INVALID_ADDRESS] = {400, "Invalid address"},
    [ERR_HOST_BITS_SET] = {400, "Host bits set"},
    [ERR_DUPLICATE] = {400, "Duplicate"},
    [ERR_INCOMPATIBLE] = {400, "Fields that do not go together"},
    [ERR_LIMIT_EXCEEDED] = {400, "Limit exceeded"},
    [ERR_UNAUTHENTICATED] = {401, "Not authenticated"},
    [ERR_FORBIDDEN] = {403, "Not permitted"},
    [ERR_NOT_FOUND] = {404, "Not found"},
    [ERR_METHOD_NOT_ALLOWED] = {405, "Method not allowed"},
    [ERR_ALREADY_EXISTS] = {409, "It exists already"},
    [ERR_FOREIGN_DEVICE] = {409, "The device is not ours"},
    [ERR_ADDRESS_IN_USE] = {409, "Address in use"},
    [ERR_PRECONDITION_FAILED] = {412, "The precondition does not hold"},
    [ERR_CONFIRMATION_PENDING] = {409, "A change waits for its confirmation"},
    [ERR_NOTHING_PENDING] = {409, "Nothing waits for a confirmation"},
    [ERR_RATE_LIMITED] = {429, "Too many failures"},
    [ERR_CONTESTED] = {409, "Somebody works against it"},
    [ERR_KERNEL_REFUSED] = {422, "The kernel refused"},
    [ERR_WORKER_FAILED] = {422, "The worker failed"},
    [ERR_DRIFTED] = {409, "The kernel differs"},
    [ERR_NETD_UNAVAILABLE] = {503, "tunwright-netd cannot be reached"},
    [ERR_STORE_UNAVAILABLE] = {503, "The store cannot be written"},
    [ERR_STORE_FULL] = {507, "The store is full"},
    [ERR_OUT_OF_MEMORY] = {500, "Out of memory"},
    [ERR_INTERNAL] = {500, "Internal error"},
};
static_assert(ARRAY_SIZE(codes) == ERR_CODE_N, "every code has a status and a title");

static const struct code_row *code_row(enum err_code code)
{
    return &codes[(unsigned)code < ERR_CODE_N ? code : ERR_INTERNAL];
}

unsigned answer_status(enum err_code code)
{
    return code_row(code)->status;
}

/* The faults that concern a field: alone they are not a problem, but an entry of one. */
static bool is_fault_of_field(enum err_code code)
{
    return code >= ERR_WRONG_TYPE && code <= ERR_LIMIT_EXCEEDED;
}

/* ---- problem documents ------------------------------------------------------------------------------------------- */

bool answer_add_text(cJSON *object, const char *name, const char *text)
{
    size_t length = strlen(text);
    if (utf8_is_valid(text, length))
        return cJSON_AddStringToObject(object, name, text);
    char *ascii = strdup(text);
    for (size_t i = 0; ascii && i < length; i++)
        if ((unsigned char)ascii[i] >= 0x80)
            ascii[i] = '?';
    bool added = ascii && cJSON_AddStringToObject(object, name, ascii);
    free(ascii);
    return added;
}

static bool add_fault(cJSON *array, const struct err *e)
{
    cJSON *fault = cJSON_CreateObject();
    if (fault && answer_add_text(fault, "pointer", e->pointer) &&
        cJSON_AddStringToObject(fault, "code", err_code_name(e->code)) &&
        answer_add_text(fault, "detail", e->message) && cJSON_AddItemToArray(array, fault))
        return true;
    cJSON_Delete(fault);
    return false;
}

/* Several faults in one sentence: the first, and how many more. */
static void summarise(const struct err_list *errors, struct err *ret_problem)
{
    const struct err *first = &errors->items[0];
    *ret_problem = (struct err){.code = ERR_VALIDATION_FAILED};
    int length = snprintf(ret_problem->message, sizeof ret_problem->message - 32, "%s%s%s", first->pointer,
                          *first->pointer ? ": " : "", first->message);
    if (errors->count == 1 || length < 0)
        return;
    size_t used = strlen(ret_problem->message);
    snprintf(ret_problem->message + used, sizeof ret_problem->message - used, " (and %zu more)", errors->count - 1);
}

static cJSON *problem_to_json(const struct err *problem, unsigned status, const struct err *faults, size_t fault_count)
{
    char type[80];
    snprintf(type, sizeof type, "urn:tunwright:error:%s", err_code_name(problem->code));
    cJSON *json = cJSON_CreateObject(), *array = NULL;
    bool whole = json && cJSON_AddStringToObject(json, "type", type) &&
                 cJSON_AddStringToObject(json, "title", code_row(problem->code)->title) &&
                 cJSON_AddNumberToObject(json, "status", status) && answer_add_text(json, "detail", problem->message) &&
                 cJSON_AddStringToObject(json, "code", err_code_name(problem->code)) &&
                 (array = cJSON_AddArrayToObject(json, "errors"));
    for (size_t i = 0; whole && i < fault_count; i++)
        whole = add_fault(array, &faults[i]);
    if (whole && *problem->operation)
        whole = cJSON_AddStringToObject(json, "operation", problem->operation);
    if (whole && problem->sys_errno)
        whole = cJSON_AddStringToObject(json, "errno", errno_name(problem->sys_errno));
    if (whole)
        return json;
    cJSON_Delete(json);
    return NULL;
}

cJSON *answer_problem_to_json(const struct err_list *errors)
{
    if (!errors->count) {
        struct err unknown;
        err_set(&unknown, 0, ERR_INTERNAL, "", "the request failed, and nothing says why");
        return problem_to_json(&unknown, answer_status(ERR_INTERNAL), NULL, 0);
    }
    const struct err *first = &errors->items[0];
    if (is_fault_of_field(first->code)) {
        struct err problem;
        summarise(errors, &problem);
        return problem_to_json(&problem, answer_status(problem.code), errors->items, errors->count);
    }
    /* a problem that concerns one field stands in its own list, too */
    size_t skipped = *first->pointer ? 0 : 1;
    return problem_to_json(first, answer_status(first->code), first + skipped, errors->count - skipped);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

void answer_header(struct request *request, const char *name, const char *value)
{
    assert(!request->shared);
    if (request->response)
        MHD_add_response_header(request->response, name, value);
}

void answer_done(struct request *request)
{
    if (request->shared)
        shared_response_release(request->shared);
    else if (request->response)
        MHD_destroy_response(request->response);
    request->shared = NULL;
    request->response = NULL;
}

/* What each answer has. */
static void add_fields(struct MHD_Response *response)
{
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
}

static void answer_set(struct request *request, unsigned status, struct MHD_Response *response)
{
    answer_done(request);
    request->status = status;
    request->response = response;
    if (response)
        add_fields(response);
}

/* Takes the response, which has its fields already. NULL: no memory. */
static struct shared_response *shared_response_new(struct MHD_Response *response, size_t length)
{
    struct shared_response *shared = response ? malloc(sizeof *shared) : NULL;
    if (!shared) {
        if (response)
            MHD_destroy_response(response);
        return NULL;
    }
    atomic_init(&shared->references, 1);
    shared->length = length;
    shared->response = response;
    return shared;
}

struct shared_response *shared_response_of_json(struct buf *text)
{
    size_t length = text->length;
    char *body = buf_take(text);
    struct MHD_Response *response = body ? MHD_create_response_from_buffer(length, body, MHD_RESPMEM_MUST_FREE) : NULL;
    if (!response) {
        free(body);
        return NULL;
    }
    add_fields(response);
    MHD_add_response_header(response, "Content-Type", "application/json");
    return shared_response_new(response, length);
}

struct shared_response *shared_response_share(struct shared_response *shared)
{
    if (shared)
        atomic_fetch_add_explicit(&shared->references, 1, memory_order_relaxed);
    return shared;
}

void shared_response_release(struct shared_response *shared)
{
    if (!shared || atomic_fetch_sub_explicit(&shared->references, 1, memory_order_acq_rel) != 1)
        return;
    MHD_destroy_response(shared->response);
    free(shared);
}

void answer_shared(struct request *request, struct shared_response *shared)
{
    answer_done(request);
    request->status = 200;
    request->response = shared->response;
    request->shared = shared;
}

static void answer_tree(struct request *request, unsigned status, const char *media_type, cJSON *json)
{
    char *text = json ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    size_t length = text ? strlen(text) : 0;
    char *line = text ? realloc(text, length + 2) : NULL;
    if (!line) {
        free(text);
        answer_set(request, 500, NULL);
        return;
    }
    memcpy(line + length, "\n", 2);
    struct MHD_Response *response = MHD_create_response_from_buffer(length + 1, line, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(line);
    answer_set(request, status, response);
    answer_header(request, "Content-Type", media_type);
}

void answer_json(struct request *request, unsigned status, cJSON *json)
{
    if (json)
        answer_tree(request, status, "application/json", json);
    else
        answer_no_memory(request);
}

static void free_secret(void *text)
{
    OPENSSL_cleanse(text, strlen(text));
    free(text);
}

void answer_secret(struct request *request, unsigned status, char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(strlen(text), text, free_secret);
    if (!response)
        free_secret(text);
    answer_set(request, status, response);
    answer_header(request, "Content-Type", "application/json");
}

void answer_item_add(cJSON **items, cJSON *item)
{
    if (item && cJSON_AddItemToArray(*items, item))
        return;
    cJSON_Delete(item);
    cJSON_Delete(*items);
    *items = NULL;
}

cJSON *answer_page_to_json(cJSON *items, const char *next)
{
    cJSON *json = items ? cJSON_CreateObject() : NULL;
    if (!json || !cJSON_AddItemToObject(json, "items", items)) {
        cJSON_Delete(items);
        cJSON_Delete(json);
        return NULL;
    }
    if (next ? cJSON_AddStringToObject(json, "next", next) : cJSON_AddNullToObject(json, "next"))
        return json;
    cJSON_Delete(json);
    return NULL;
}

void answer_link_next(struct request *request, const char *next)
{
    struct buf link = {0};
    if (!next)
        return;
    buf_printf(&link, "<%s>; rel=\"next\"", next);
    if (!link.failed)
        answer_header(request, "Link", link.data);
    buf_done(&link);
}

void answer_page(struct request *request, cJSON *items, const char *next)
{
    answer_json(request, 200, answer_page_to_json(items, next));
    answer_link_next(request, next);
}

void answer_items(struct request *request, cJSON *items)
{
    answer_page(request, items, NULL);
}

void answer_empty(struct request *request, unsigned status)
{
    answer_set(request, status, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

bool answer_is_unchanged(struct request *request, const char *etag)
{
    const struct precondition match = {.match = request->terms.precondition.match};
    const struct precondition none_match = {.none_match = request->terms.precondition.none_match};
    struct err e;
    if (precondition_check(&match, etag, &e)) {
        answer_problem(request, &e);
        return true;
    }
    if (!precondition_check(&none_match, etag, &e))
        return false;
    answer_empty(request, 304);
    answer_header(request, "ETag", etag);
    return true;
}

void answer_problems(struct request *request, const struct err_list *errors)
{
    enum err_code code = errors->count ? errors->items[0].code : ERR_INTERNAL;
    unsigned status = answer_status(code);
    answer_tree(request, status, "application/problem+json", answer_problem_to_json(errors));
    if (status == 401)
        answer_header(request, "WWW-Authenticate", "Bearer realm=\"tunwright\"");
    if (status == 503)
        answer_header(request, "Retry-After", "1");
}

void answer_problem(struct request *request, const struct err *e)
{
    struct err_list errors = {.count = 0};
    err_list_add_err(&errors, e);
    answer_problems(request, &errors);
}

void answer_no_memory(struct request *request)
{
    struct err e;
    err_no_memory(&e);
    answer_problem(request, &e);
}

void answer_unavailable(struct request *request, enum err_code code, const char *detail)
{
    struct err e;
    err_set(&e, 0, code, "", "%s", detail);
    answer_tree(request, 503, "application/problem+json", problem_to_json(&e, 503, NULL, 0));
    answer_header(request, "Retry-After", "1");
}

void answer_stream(struct request *request, const char *media_type, struct MHD_Response *response)
{
    answer_set(request, 200, response);
    answer_header(request, "Content-Type", media_type);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library calls request_begin with the first line, request_continue once for the head, once for each piece of the
 * body, once when all is there, and again after each resume, and request_end when the answer is sent or the client is
 * gone.
 *
 * A refusal that the head decides is given after the body was read and thrown away, for a connection that is closed
 * over unread bytes may take the answer with it. It is given at once where the client waits for leave to send the body,
 * where that is too long to be thrown away, and where nobody can say where it ends.
 */
#include "request.h"

#include "answer.h"
#include "change_wait.h"
#include "identity.h"
#include "route_table.h"
#include "server.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISCARD_MAX (8U << 20)  /* bytes of a refused body that are read for politeness, or … */
#define BIG_BODY    (1U << 20)  /* … twice the limit of a row that takes more than this, … */
#define BODY_RATE   (256 << 10) /* … which may take its time if so many bytes come a second */

/* Zeroed. The connection keeps the last one: it is large, and the next request is likely to come. */
static struct request *request_new(struct client *client)
{
    struct request *request = client->spare;
    client->spare = NULL;
    if (!request)
        return calloc(1, sizeof *request);
    /* all but what its count, or its NUL, says is nothing: most of it */
    const size_t terms = offsetof(struct request, identity.selector.terms),
                 text = offsetof(struct request, target.text);
    const size_t terms_end = terms + sizeof request->identity.selector.terms;
    const size_t text_end = text + sizeof request->target.text;
    memset(request, 0, terms);
    memset((char *)request + terms_end, 0, text - terms_end);
    memset((char *)request + text_end, 0, sizeof *request - text_end);
    request->target.text[0] = '\0';
    return request;
}

void *request_begin(void *listener, const char *target, struct MHD_Connection *connection)
{
    struct http_server *server = ((struct listener *)listener)->server;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct client *client = info ? info->socket_context : NULL;
    struct request *request = client ? request_new(client) : NULL;
    if (!request)
        return NULL;
    request->server = server;
    request->client = client;
    request->connection = connection;
    request->started_ns = clock_monotonic_ns();
    server_client_deadline(client, request->started_ns + SERVER_REQUEST_NS);
    request->target_length = target ? strlen(target) : 0;
    target_parse(target ? target : "", &request->target, &request->target_error);

    pthread_mutex_lock(&server->mutex);
    server->requests++;
    pthread_mutex_unlock(&server->mutex);
    return request;
}

void request_end(void *listener, struct MHD_Connection *connection, void **context,
                 enum MHD_RequestTerminationCode reason)
{
    (void)listener, (void)connection, (void)reason;
    struct request *request = *context;
    if (!request)
        return;
    *context = NULL;
    struct http_server *server = request->server;
    server_client_deadline(request->client, clock_monotonic_ns() + SERVER_KEEP_ALIVE_NS);
    server_client_let_go(request->client);
    OPENSSL_cleanse(request->secret, sizeof request->secret);
    change_wait_free(request->wait);
    buf_done(&request->body);
    answer_done(request);
    if (!request->client->spare)
        request->client->spare = request;
    else
        free(request);

    pthread_mutex_lock(&server->mutex);
    server->requests--;
    pthread_cond_signal(&server->idle);
    pthread_mutex_unlock(&server->mutex);
}

const char *request_query(const struct request *request, const char *key)
{
    return target_query_find(&request->target, key);
}

/* Hands the answer to the library. Without one (memory ran out) the connection is closed. */
static enum MHD_Result request_answer(struct request *request)
{
    server_client_deadline(request->client, 0);
    request->phase = REQUEST_ANSWERED;
    log_debug("%s %s: %u after %lld us", request->method, request->path, request->response ? request->status : 0,
              (long long)((clock_monotonic_ns() - request->started_ns) / 1000));
    if (!request->response)
        return MHD_NO;
    answer_counts_add(&request->server->answered, request->method, request->status);
    return MHD_queue_response(request->connection, request->status, request->response);
}

static enum MHD_Result collect_field(void *context, enum MHD_ValueKind kind, const char *name, size_t name_length,
                                     const char *value, size_t value_length)
{
    (void)kind;
    struct head *head = context;
    if (head->field_count == HEAD_FIELDS_MAX) {
        head->overflow = true;
        return MHD_NO;
    }
    head->fields[head->field_count++] = (struct head_field){.name = name,
                                                            .name_length = name_length,
                                                            .value = value ? value : "",
                                                            .value_length = value ? value_length : 0};
    return MHD_YES;
}

/* How the bytes lie in the buffer is known of the 0.9 series. The 1.x series refuses by itself, when it is strict, what
 * this is there to find. */
static bool head_lies_as_it_came(const struct head *head, struct MHD_Connection *connection)
{
    if (strncmp(MHD_get_version(), "0.9.", 4) != 0)
        return true;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info && head_is_contiguous(head, info->header_size);
}

/* The facts borrow from the head. */
static int check_head(struct request *request, const struct head *head, struct head_facts *ret_facts,
                      struct err *ret_err)
{
    int error = head_check(head, ret_facts, ret_err);
    if (!error && !head_lies_as_it_came(head, request->connection))
        error = err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "",
                        "the request's head has a folded line in it, a line that does not end in CR LF, or a NUL");
    return error;
}

/* Whether what it came through, and who made it, is in order. */
static int check_origin(const struct request *request, const struct head_facts *facts, struct err *ret_err)
{
    const struct client *client = request->client;
    if (client->transport == TRANSPORT_PLAIN && !head_host_is_loopback(facts->host))
        return err_set(ret_err, -EACCES, ERR_FORBIDDEN, "",
                       "the Host field must be localhost or a loopback address: this is not open to anything else");
    if (client->transport == TRANSPORT_TLS && !head_host_is_known(facts->host, request->server->access.hosts))
        return err_set(ret_err, -EACCES, ERR_FORBIDDEN, "",
                       "the Host field must be an address, localhost, or a name that the daemon was told with --host");
    if (head_is_cross_site(facts, client->transport == TRANSPORT_TLS))
        return err_set(ret_err, -EACCES, ERR_FORBIDDEN, "", "requests that a page of another site makes are refused");
    return 0;
}

/* Who asks, and through what. */
static int check_access(struct request *request, const struct head_facts *facts, enum role role, struct err *ret_err)
{
    int error = identity_check_certificate(request, ret_err);
    if (!error)
        error = check_origin(request, facts, ret_err);
    if (error || role == ROLE_NOBODY)
        return error;
    error = identity_find(request, facts, ret_err);
    return error ? error : identity_check_role(&request->identity, role, ret_err);
}

static bool media_type_is_taken(const struct route_row *row, const struct head_field *content_type)
{
    return content_type &&
           (head_media_type_is(content_type, "application/json") ||
            (row->flags & ROUTE_MERGE_PATCH && head_media_type_is(content_type, "application/merge-patch+json")));
}

static int check_body(const struct request *request, const struct head_facts *facts, struct err *ret_err)
{
    const struct route_row *row = request->row;
    if (!row->body_limit)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "%s takes no body here", request->method);
    if (!media_type_is_taken(row, facts->content_type))
        return err_set(ret_err, -EINVAL, ERR_UNSUPPORTED_MEDIA_TYPE, "",
                       "the body must be JSON, and be sent with \"Content-Type: application/%s\"",
                       row->flags & ROUTE_MERGE_PATCH ? "merge-patch+json" : "json");
    if (facts->content_encoding && !head_value_is(facts->content_encoding, "identity"))
        return err_set(ret_err, -EINVAL, ERR_UNSUPPORTED_MEDIA_TYPE, "", "no Content-Encoding is taken");
    if (facts->length_is_known && facts->body_length > row->body_limit)
        return err_set(ret_err, -EFBIG, ERR_BODY_TOO_LARGE, "", "the body may have at most %zu bytes here",
                       row->body_limit);
    return 0;
}

/* What the request wants, and whether its body can be taken. `allow` is filled where the path has other methods. */
static int check_route(struct request *request, const struct head_facts *facts, const char *allow, struct err *ret_err)
{
    if (request->target_error.code) {
        *ret_err = request->target_error;
        return -EINVAL;
    }
    if (!request->row && !*allow)
        return err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "", "there is nothing at this path");
    if (!request->row)
        return err_set(ret_err, -EINVAL, ERR_METHOD_NOT_ALLOWED, "", "%.20s is not for this path; %s is",
                       request->method, allow);
    const char *unknown = route_table_unknown_query(request->row, &request->target);
    if (unknown)
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "there is no query parameter \"%.64s\" here", unknown);
    return facts->has_body ? check_body(request, facts, ret_err) : 0;
}

static uint64_t discard_max(const struct request *request)
{
    return request->row && request->row->body_limit > BIG_BODY ? 2 * request->row->body_limit : DISCARD_MAX;
}

static void answer_retry_after(struct request *request, unsigned seconds)
{
    char text[16];
    snprintf(text, sizeof text, "%u", seconds);
    answer_header(request, "Retry-After", text);
}

/* The head is there. */
static enum MHD_Result request_head(struct request *request, const char *version)
{
    struct err e;
    struct head head; /* it is large, and its count says what of the fields is to be read */
    head.method = request->method;
    head.target = request->path;
    head.version = version;
    head.target_length = request->target_length;
    head.field_count = 0;
    head.overflow = false;
    struct head_facts facts;
    request->phase = REQUEST_BODY;
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, collect_field, &head);
    if (check_head(request, &head, &facts, &e)) {
        answer_problem(request, &e);
        answer_header(request, "Connection", "close");
        return request_answer(request);
    }

    char allow[ROUTE_ALLOW_SIZE] = "";
    request->row = route_table_find(request->method, &request->target, request->variables, allow);
    /* what a path is there for is nobody's business who may not ask anything */
    enum role role = request->row ? request->row->role : ROLE_READER;
    unsigned wait_s = identity_wait_s(request);
    bool refused = (wait_s && err_set(&e, -EAGAIN, ERR_RATE_LIMITED, "",
                                      "too many failures came from where this comes from: wait %u s", wait_s)) ||
                   check_access(request, &facts, role, &e) || check_route(request, &facts, allow, &e) ||
                   terms_read(request->row, &request->target, &head, &request->terms, &e);
    if (!refused)
        return MHD_YES;
    answer_problem(request, &e);
    if (e.code == ERR_RATE_LIMITED)
        answer_retry_after(request, wait_s);
    if (e.code == ERR_METHOD_NOT_ALLOWED)
        answer_header(request, "Allow", allow);
    if (e.code == ERR_UNAUTHENTICATED || e.code == ERR_RATE_LIMITED || e.code == ERR_INVALID_REQUEST)
        answer_header(request, "Connection", "close"); /* each guess costs a connection, and so does a broken client */
    bool at_once = facts.expects_continue || (facts.length_is_known && facts.body_length > discard_max(request));
    return facts.has_body && at_once ? request_answer(request) : MHD_YES;
}

/* What comes slowly, but comes, is waited for. */
static void body_give_time(const struct request *request)
{
    server_client_deadline(request->client, 0);
    server_client_deadline(request->client, request->started_ns + SERVER_REQUEST_NS +
                                                (int64_t)request->body_seen * NSEC_PER_SEC / BODY_RATE);
}

static enum MHD_Result request_body(struct request *request, const char *data, size_t length)
{
    request->body_seen += length;
    if (request->response)
        return request->body_seen > discard_max(request) ? MHD_NO : MHD_YES;
    if (request->row->body_limit > BIG_BODY)
        body_give_time(request);
    if (request->body_seen <= request->row->body_limit) {
        buf_add(&request->body, data, length);
        if (!request->body.failed)
            return MHD_YES;
        answer_no_memory(request);
    } else {
        struct err e;
        err_set(&e, -EFBIG, ERR_BODY_TOO_LARGE, "", "the body may have at most %zu bytes here",
                request->row->body_limit);
        answer_problem(request, &e);
    }
    buf_done(&request->body);
    return request->response ? MHD_YES : MHD_NO;
}

static enum MHD_Result request_complete(struct request *request)
{
    server_client_deadline(request->client, 0);
    if (!request->response)
        request->row->handle(request);
    return request->phase == REQUEST_WAITING ? MHD_YES : request_answer(request);
}

static enum MHD_Result request_step(struct request *request, const char *url, const char *method, const char *version,
                                    const char *data, size_t length)
{
    switch (request->phase) {
    case REQUEST_NEW:
        request->method = method;
        request->path = url;
        return request_head(request, version);
    case REQUEST_BODY:
        return length ? request_body(request, data, length) : request_complete(request);
    case REQUEST_WAITING:
        change_wait_answer(request);
        return request_answer(request);
    case REQUEST_ANSWERED:
        break;
    }
    return MHD_YES;
}

enum MHD_Result request_continue(void *listener, struct MHD_Connection *connection, const char *url, const char *method,
                                 const char *version, const char *data, size_t *data_length, void **context)
{
    (void)connection;
    struct request *request = *context;
    if (!request)
        return MHD_NO;
    size_t length = *data_length;
    *data_length = 0;
    server_listener_begin(listener);
    enum MHD_Result result = request_step(request, url, method, version, data, length);
    server_listener_end(listener);
    return result;
}

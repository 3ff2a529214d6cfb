/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/caller.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct caller {
    const struct caller_settings *settings;
    CURLM *multi;
    char base[512]; /* what goes before a path */
    char authorization[4200];
};

struct caller_stream {
    struct caller *caller;
    CURL *easy;
    struct curl_slist *fields;
    char error[CURL_ERROR_SIZE];
    struct caller_reply reply;
    size_t head_length, most;
    caller_take take; /* NULL: a call, all of whose body is kept */
    void *context;
    int refused; /* why we ended it ourselves */
    bool ended;
    CURLcode code;
};

void caller_reply_done(struct caller_reply *reply)
{
    buf_done(&reply->body);
    *reply = (struct caller_reply){0};
}

const char *caller_where(const struct caller *caller)
{
    return caller->settings->url ? caller->settings->url : caller->settings->socket;
}

/* ---- settings ----------------------------------------------------------------------------------------------------- */

static bool is_loopback(const char *host)
{
    struct in_addr address;

    if (inet_pton(AF_INET, host, &address) == 1)
        return ntohl(address.s_addr) >> 24 == 127;
    return !strcmp(host, "localhost") || !strcmp(host, "[::1]");
}

/* Of an URL only scheme, host and port are ours to take, and a path that all others go below. */
static int check_url(struct caller *caller, struct err *ret_err)
{
    const char *url = caller->settings->url;
    char *scheme = NULL, *host = NULL, *user = NULL, *query = NULL;
    CURLU *parsed = curl_url();
    int error = 0;

    if (!parsed)
        return err_no_memory(ret_err);
    if (curl_url_set(parsed, CURLUPART_URL, url, 0) || curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(parsed, CURLUPART_HOST, &host, 0))
        error = err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "%.200s is not an URL", url);
    else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        error = err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "%.200s: an URL is http:// or https:// here", url);
    else if (!curl_url_get(parsed, CURLUPART_USER, &user, 0) || !curl_url_get(parsed, CURLUPART_QUERY, &query, 0))
        error = err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "the URL has neither a user nor a query");
    else if (!strcmp(scheme, "http") && !is_loopback(host))
        error = err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "",
                        "%.200s: over a network it is https://, so that nobody on the way reads the token", url);
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(query);
    curl_url_cleanup(parsed);
    if (error)
        return error;
    int length = snprintf(caller->base, sizeof caller->base, "%s", url);
    if (length < 0 || (size_t)length >= sizeof caller->base)
        return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "the URL is too long");
    while (length > 0 && caller->base[length - 1] == '/')
        caller->base[--length] = '\0';
    return 0;
}

static int check_token(struct caller *caller, struct err *ret_err)
{
    const char *token = caller->settings->token;
    size_t length = strlen(token);

    for (size_t i = 0; i < length; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "the token has characters that no token has");
    int printed = snprintf(caller->authorization, sizeof caller->authorization, "Authorization: Bearer %s", token);
    if (!length || printed < 0 || (size_t)printed >= sizeof caller->authorization)
        return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "the token is %s", length ? "too long" : "empty");
    return 0;
}

int caller_new(const struct caller_settings *settings, struct caller **ret_caller, struct err *ret_err)
{
    int error;

    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return err_no_memory(ret_err);
    struct caller *caller = calloc(1, sizeof *caller);
    if (!caller)
        return err_no_memory(ret_err);
    caller->settings = settings;
    caller->multi = curl_multi_init();
    strcpy(caller->base, "http://localhost");
    if (!caller->multi)
        error = err_no_memory(ret_err);
    else
        error = settings->url ? check_url(caller, ret_err) : 0;
    /* on the Unix socket the kernel says who we are, and the daemon takes no token */
    if (!error && settings->url && settings->token)
        error = check_token(caller, ret_err);
    if (error) {
        caller_free(caller);
        return error;
    }
    *ret_caller = caller;
    return 0;
}

void caller_free(struct caller *caller)
{
    if (!caller)
        return;
    if (caller->multi)
        curl_multi_cleanup(caller->multi);
    explicit_bzero(caller->authorization, sizeof caller->authorization);
    free(caller);
    curl_global_cleanup();
}

void caller_encode(struct buf *path, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++)
        if ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
            strchr("-._~", *at))
            buf_add(path, at, 1);
        else
            buf_printf(path, "%%%02X", *at);
}

/* ---- what comes --------------------------------------------------------------------------------------------------- */

/* Keeps a field's value, without blanks around it; one that is too long is as good as none. */
static void keep_field(char *out, size_t size, const char *value, size_t length)
{
    while (length && (*value == ' ' || *value == '\t')) {
        value++;
        length--;
    }
    while (length && strchr(" \t\r\n", value[length - 1]) && value[length - 1])
        length--;
    if (length < size && !memchr(value, '\0', length)) {
        memcpy(out, value, length);
        out[length] = '\0';
    }
}

static size_t on_head(char *line, size_t size, size_t count, void *context)
{
    struct caller_stream *stream = context;
    struct caller_reply *reply = &stream->reply;
    size_t length = size * count;

    stream->head_length += length;
    if (stream->head_length > CALLER_HEAD_MAX) {
        stream->refused = -EMSGSIZE;
        return 0;
    }
    if (length > 5 && !strncmp(line, "HTTP/", 5)) { /* the final answer's, after any 1xx */
        reply->type[0] = reply->etag[0] = reply->confirm_by[0] = '\0';
        reply->changed = false;
    }
    const char *colon = memchr(line, ':', length);
    if (!colon)
        return length;
    size_t name = (size_t)(colon - line), rest = length - name - 1;
    char text[8] = "";
    if (name == 4 && !strncasecmp(line, "etag", name))
        keep_field(reply->etag, sizeof reply->etag, colon + 1, rest);
    else if (name == 12 && !strncasecmp(line, "content-type", name))
        keep_field(reply->type, sizeof reply->type, colon + 1, rest);
    else if (name == 20 && !strncasecmp(line, "tunwright-confirm-by", name))
        keep_field(reply->confirm_by, sizeof reply->confirm_by, colon + 1, rest);
    else if (name == 17 && !strncasecmp(line, "tunwright-changed", name)) {
        keep_field(text, sizeof text, colon + 1, rest);
        reply->changed = !strcmp(text, "true");
    }
    return length;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct caller_stream *stream = context;
    size_t length = size * count;
    long status = 0;

    curl_easy_getinfo(stream->easy, CURLINFO_RESPONSE_CODE, &status);
    if (stream->take && status == 200) {
        stream->refused = stream->take(stream->context, data, length);
        return stream->refused ? 0 : length;
    }
    if (length > stream->most - stream->reply.body.length) {
        stream->refused = -EMSGSIZE;
        return 0;
    }
    buf_add(&stream->reply.body, data, length);
    if (stream->reply.body.failed) {
        stream->refused = -ENOMEM;
        return 0;
    }
    return length;
}

/* ---- requests ----------------------------------------------------------------------------------------------------- */

static bool add_field(struct caller_stream *stream, const char *name, const char *value)
{
    char text[4224];
    int length = snprintf(text, sizeof text, "%s%s", name, value);
    bool fits = length > 0 && (size_t)length < sizeof text;
    struct curl_slist *grown = fits ? curl_slist_append(stream->fields, text) : NULL;

    explicit_bzero(text, sizeof text);
    if (!grown)
        return false;
    stream->fields = grown;
    return true;
}

static bool set_fields(struct caller_stream *stream, const struct caller_call *call)
{
    bool fine = add_field(stream, "User-Agent: tunwright/", TUNWRIGHT_VERSION) && add_field(stream, "Expect:", "");

    if (call->body)
        fine = fine && add_field(stream, "Content-Type: ", call->type ? call->type : "application/json");
    if (call->if_match)
        fine = fine && add_field(stream, "If-Match: ", call->if_match);
    if (call->last_event_id)
        fine = fine && add_field(stream, "Last-Event-ID: ", call->last_event_id);
    if (stream->caller->authorization[0])
        fine = fine && add_field(stream, "", stream->caller->authorization);
    return fine;
}

#define SET(option, value) (code = code ? code : curl_easy_setopt(stream->easy, option, value))

static CURLcode set_options(struct caller_stream *stream, const struct caller_call *call, const char *url)
{
    const struct caller_settings *settings = stream->caller->settings;
    CURLcode code = CURLE_OK;

    SET(CURLOPT_URL, url);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROXY, ""); /* whatever the environment says: the token is for the daemon */
    SET(CURLOPT_ERRORBUFFER, stream->error);
    SET(CURLOPT_HEADERFUNCTION, on_head);
    SET(CURLOPT_HEADERDATA, stream);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, stream);
    SET(CURLOPT_PRIVATE, stream);
    SET(CURLOPT_CONNECTTIMEOUT, 10L);
    SET(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    if (!stream->take) {
        SET(CURLOPT_TIMEOUT, (long)settings->timeout_s);
    } else if (!call->may_be_silent) {
        SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
        SET(CURLOPT_LOW_SPEED_TIME, (long)CALLER_SILENCE_S);
    }
    if (!settings->url)
        SET(CURLOPT_UNIX_SOCKET_PATH, settings->socket);
    if (settings->ca)
        SET(CURLOPT_CAINFO, settings->ca);
    if (settings->cert)
        SET(CURLOPT_SSLCERT, settings->cert);
    if (settings->key)
        SET(CURLOPT_SSLKEY, settings->key);
    SET(CURLOPT_HTTPHEADER, stream->fields);
    if (call->body) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(call->body));
        SET(CURLOPT_POSTFIELDS, call->body); /* borrowed until the end */
    }
    SET(CURLOPT_CUSTOMREQUEST, call->method);
    return code;
}

int caller_stream_open(struct caller *caller, const struct caller_call *call, caller_take take, void *context,
                       struct caller_stream **ret_stream, struct err *ret_err)
{
    struct buf url = {0};
    struct caller_stream *stream = calloc(1, sizeof *stream);
    bool fine = false;

    if (!stream)
        return err_no_memory(ret_err);
    stream->caller = caller;
    stream->take = take;
    stream->context = context;
    stream->most = take ? CALLER_PROBLEM_MAX : CALLER_BODY_MAX;
    stream->easy = curl_easy_init();
    buf_add_text(&url, caller->base);
    buf_add_text(&url, call->path);
    if (stream->easy && !url.failed && set_fields(stream, call))
        fine = !set_options(stream, call, url.data) && !curl_multi_add_handle(caller->multi, stream->easy);
    buf_done(&url);
    if (!fine) {
        caller_stream_close(stream);
        return err_no_memory(ret_err);
    }
    *ret_stream = stream;
    return 0;
}

void caller_stream_close(struct caller_stream *stream)
{
    if (!stream)
        return;
    if (stream->easy) {
        curl_multi_remove_handle(stream->caller->multi, stream->easy);
        curl_easy_cleanup(stream->easy);
    }
    for (struct curl_slist *field = stream->fields; field; field = field->next)
        explicit_bzero(field->data, strlen(field->data)); /* one of them has the token */
    curl_slist_free_all(stream->fields);
    caller_reply_done(&stream->reply);
    free(stream);
}

int caller_turn(struct caller *caller, struct pollfd *fds, unsigned count, int timeout_ms, struct err *ret_err)
{
    struct curl_waitfd extra[4] = {0};
    int running = 0, left, numfds;

    if (count > ARRAY_SIZE(extra))
        return -EINVAL;
    for (unsigned i = 0; i < count; i++) {
        extra[i] = (struct curl_waitfd){.fd = fds[i].fd, .events = CURL_WAIT_POLLIN};
        fds[i].revents = 0;
    }
    CURLMcode code = curl_multi_perform(caller->multi, &running);
    bool news = false;
    for (CURLMsg *message; (message = curl_multi_info_read(caller->multi, &left));) {
        struct caller_stream *stream = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode result = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&stream);
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &stream->reply.status);
        stream->ended = news = true;
        stream->code = result;
    }
    if (!code)
        code = curl_multi_poll(caller->multi, extra, count, news ? 0 : timeout_ms, &numfds);
    for (unsigned i = 0; i < count; i++)
        fds[i].revents = extra[i].revents ? POLLIN : 0;
    return code ? err_no_memory(ret_err) : 0;
}

/* ---- how it ended ------------------------------------------------------------------------------------------------- */

static int explain(const struct caller_stream *stream, struct err *e)
{
    const char *where = caller_where(stream->caller);
    const char *detail = *stream->error ? stream->error : curl_easy_strerror(stream->code);
    long number = 0;

    switch (stream->code) {
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(e, -ETIMEDOUT, ERR_INTERNAL, "", "no answer from %.120s in time: %.150s", where, detail);
    case CURLE_OUT_OF_MEMORY:
        return err_no_memory(e);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return err_set(e, -EPROTO, ERR_INTERNAL, "", "what answers at %.120s is not tunwrightd: %.150s", where, detail);
    case CURLE_COULDNT_CONNECT:
        curl_easy_getinfo(stream->easy, CURLINFO_OS_ERRNO, &number);
        if (!stream->caller->settings->url && number)
            return err_set(e, -ECONNREFUSED, ERR_INTERNAL, "", "cannot reach the daemon at %.120s: %s%s", where,
                           strerror((int)number),
                           number == EACCES ? ". Root may, and who is in the group tunwright" : "");
        break;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return err_set(e, -ECONNREFUSED, ERR_INTERNAL, "", "the connection to %.120s broke: %.150s", where, detail);
    default:
        break;
    }
    return err_set(e, -ECONNREFUSED, ERR_INTERNAL, "", "cannot reach the daemon at %.120s: %.150s", where, detail);
}

bool caller_stream_ended(struct caller_stream *stream, int *ret_error, struct err *ret_err)
{
    if (!stream->ended)
        return false;
    if (stream->refused == -EMSGSIZE)
        *ret_error = err_set(ret_err, -EMSGSIZE, ERR_INTERNAL, "", "the answer of %.120s is longer than any may be",
                             caller_where(stream->caller));
    else if (stream->refused)
        *ret_error = stream->refused;
    else if (stream->code)
        *ret_error = explain(stream, ret_err);
    else
        *ret_error = 0;
    return true;
}

const struct caller_reply *caller_stream_reply(const struct caller_stream *stream)
{
    return &stream->reply;
}

void caller_stream_move(struct caller_stream *stream, struct caller_reply *ret_reply)
{
    *ret_reply = stream->reply;
    stream->reply = (struct caller_reply){0};
}

int caller_call(struct caller *caller, const struct caller_call *call, struct caller_reply *ret_reply,
                struct err *ret_err)
{
    struct caller_stream *stream;
    int error = caller_stream_open(caller, call, NULL, NULL, &stream, ret_err);

    if (error)
        return error;
    do
        error = caller_turn(caller, NULL, 0, 1000, ret_err);
    while (!error && !caller_stream_ended(stream, &error, ret_err));
    if (!error)
        caller_stream_move(stream, ret_reply);
    caller_stream_close(stream);
    return error;
}

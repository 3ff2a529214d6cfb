/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include "auth.h"
#include "capture.h"
#include "document_cache.h"
#include "watch.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX   4096U /* a listener */
#define DESCRIPTORS_KEPT  128U  /* for what is not a connection */
#define CONNECTION_MEMORY ((size_t)32 << 10)
#define REAP_EVERY_NS     (250 * NSEC_PER_MSEC)
#define BUSY_NS           (100 * NSEC_PER_MSEC) /* less goes into the bargain */
#define STOP_PATIENCE_NS  (2 * NSEC_PER_SEC)    /* for answers that are on their way when the server stops */

/* ---- connections ------------------------------------------------------------------------------------------------- */

void server_client_deadline(struct client *client, int64_t at_ns)
{
    /* the ticker only takes it away, once it is over */
    int64_t now_ns = atomic_load_explicit(&client->deadline_ns, memory_order_relaxed);
    if (!at_ns || !now_ns || at_ns < now_ns)
        atomic_store_explicit(&client->deadline_ns, at_ns, memory_order_relaxed);
}

/* Who it is, as far as the socket says. */
static void client_name(struct client *client, struct MHD_Connection *connection)
{
    struct endpoint endpoint;
    struct sockaddr_storage storage = {0};
    if (client->transport == TRANSPORT_UNIX) {
        client->role = auth_peer_role(client->fd, &client->server->access, &client->uid);
        client->source = failure_source_of_user(client->uid);
        text_copy(client->address, sizeof client->address, "unix");
        snprintf(client->name, sizeof client->name, "uid:%u", client->uid);
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (!info || !info->client_addr)
        return;
    memcpy(&storage, info->client_addr,
           info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    if (endpoint_from_sockaddr(&storage, &endpoint))
        return;
    client->source = failure_source_of_address(&endpoint.addr);
    endpoint_print(&endpoint, client->address);
}

static void client_begin(struct listener *listener, struct MHD_Connection *connection, void **context)
{
    struct http_server *server = listener->server;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct client *client = info ? calloc(1, sizeof *client) : NULL;
    *context = client; /* without one, request_begin refuses */
    if (!client)
        return;
    client->server = server;
    client->listener = listener;
    client->transport = listener->transport;
    client->fd = info->connect_fd;
    client_name(client, connection);
    client->deadline_ns = clock_monotonic_ns() + SERVER_REQUEST_NS;

    pthread_mutex_lock(&server->mutex);
    client->next = server->clients;
    if (client->next)
        client->next->previous = client;
    server->clients = client;
    pthread_mutex_unlock(&server->mutex);
}

/* The library closes the descriptor after this. */
static void client_end(void **context)
{
    struct client *client = *context;
    if (!client)
        return;
    *context = NULL;
    struct http_server *server = client->server;
    pthread_mutex_lock(&server->mutex);
    if (client->next)
        client->next->previous = client->previous;
    if (client->previous)
        client->previous->next = client->next;
    else
        server->clients = client->next;
    pthread_mutex_unlock(&server->mutex);
    free(client->spare);
    free(client);
}

static void notify_connection(void *listener, struct MHD_Connection *connection, void **context,
                              enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        client_begin(listener, connection, context);
    else
        client_end(context);
}

void server_client_hold(struct client *client, const struct token *token)
{
    struct held_token held = {.created_ns = token->created_ns,
                              .until_ns = token->expires_ns ? token->expires_ns : INT64_MAX};
    text_copy(held.name, sizeof held.name, token->name);
    if (client->verified && client->peer.expires_ns < held.until_ns)
        held.until_ns = client->peer.expires_ns;
    pthread_mutex_lock(&client->server->mutex);
    client->held = held;
    atomic_store_explicit(&client->holds, true, memory_order_relaxed);
    pthread_mutex_unlock(&client->server->mutex);
}

void server_client_let_go(struct client *client)
{
    if (!atomic_load_explicit(&client->holds, memory_order_relaxed))
        return;
    atomic_store_explicit(&client->holds, false, memory_order_relaxed);
    pthread_mutex_lock(&client->server->mutex);
    client->held = (struct held_token){.name = ""};
    pthread_mutex_unlock(&client->server->mutex);
}

static int compare_name(const void *name, const void *token)
{
    return strcmp(name, ((const struct token *)token)->name);
}

/* Whether what permitted the client's stream is still good. A token of the same name may be another one. */
static bool held_is_good(const struct held_token *held, const struct token_set *tokens, int64_t realtime_ns)
{
    if (!*held->name)
        return true;
    const struct token *token =
        tokens->count ? bsearch(held->name, tokens->tokens, tokens->count, sizeof *tokens->tokens, compare_name) : NULL;
    return token && token->created_ns == held->created_ns && held->until_ns > realtime_ns;
}

/* The time that a listener's thread spends on one client's long answer is not the others' fault. */
static bool listener_is_busy(const struct listener *listener, int64_t now)
{
    int64_t since = atomic_load(&listener->busy_since_ns);
    return since && now - since >= BUSY_NS;
}

void server_listener_begin(struct listener *listener)
{
    atomic_store_explicit(&listener->busy_since_ns, clock_monotonic_ns(), memory_order_release);
}

void server_listener_end(struct listener *listener)
{
    struct http_server *server = listener->server;
    int64_t lost = clock_monotonic_ns() - atomic_load(&listener->busy_since_ns);
    if (lost >= BUSY_NS) {
        pthread_mutex_lock(&server->mutex);
        for (struct client *client = server->clients; client; client = client->next)
            if (client->listener == listener && client->deadline_ns)
                client->deadline_ns += lost;
        pthread_mutex_unlock(&server->mutex);
    }
    atomic_store_explicit(&listener->busy_since_ns, 0, memory_order_release);
}

/* The library's own timeout begins anew with each byte: one byte a second would keep a connection for ever. */
static void clients_reap(struct http_server *server, int64_t now)
{
    const struct snapshot *snapshot = engine_snapshot(server->engine);
    int64_t realtime_ns = clock_realtime_ns();
    pthread_mutex_lock(&server->mutex);
    for (struct client *client = server->clients; client; client = client->next) {
        int64_t deadline_ns = atomic_load_explicit(&client->deadline_ns, memory_order_relaxed);
        bool is_late = deadline_ns && deadline_ns <= now && !listener_is_busy(client->listener, now);
        if (!is_late && held_is_good(&client->held, snapshot->tokens, realtime_ns))
            continue;
        client->deadline_ns = 0;
        client->held = (struct held_token){.name = ""};
        shutdown(client->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&server->mutex);
    snapshot_release(snapshot);
}

/* ---- the ticker -------------------------------------------------------------------------------------------------- */

static void *ticker(void *context)
{
    struct http_server *server = context;
    int64_t reap_at = 0;
    for (;;) {
        pthread_mutex_lock(&server->mutex);
        server->nudged = false;
        pthread_mutex_unlock(&server->mutex);

        int64_t now = clock_monotonic_ns();
        if (now >= reap_at) {
            clients_reap(server, now);
            reap_at = now + REAP_EVERY_NS;
        }
        int64_t wake_at = captures_tick(server, now, watch_tick(server, now));
        if (wake_at > reap_at)
            wake_at = reap_at;

        pthread_mutex_lock(&server->mutex);
        struct timespec until = {.tv_sec = wake_at / NSEC_PER_SEC, .tv_nsec = wake_at % NSEC_PER_SEC};
        while (!server->ticker_ends && !server->nudged &&
               pthread_cond_timedwait(&server->tick, &server->mutex, &until) != ETIMEDOUT)
            ;
        bool end = server->ticker_ends;
        pthread_mutex_unlock(&server->mutex);
        if (end)
            return NULL;
    }
}

void http_published(void *context)
{
    struct http_server *server = context;
    pthread_mutex_lock(&server->mutex);
    server->published++;
    server->nudged = true;
    pthread_cond_signal(&server->tick);
    pthread_mutex_unlock(&server->mutex);
}

/* ---- start and stop ---------------------------------------------------------------------------------------------- */

static void log_from_library(void *context, const char *format, va_list arguments) PRINTF_LIKE(2, 0);
static void log_from_library(void *context, const char *format, va_list arguments)
{
    (void)context;
    char line[256];
    int length = vsnprintf(line, sizeof line, format, arguments);
    if (length > 0)
        log_debug("libmicrohttpd: %.*s", (int)strcspn(line, "\n"), line);
}

/* The path stays as it came: target.c decodes it, piece by piece. */
static size_t keep_escapes(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context, (void)connection;
    return strlen(text);
}

static unsigned connections_permitted(size_t listeners)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return CONNECTIONS_MAX;
    rlim_t each =
        limit.rlim_cur > 2 * DESCRIPTORS_KEPT ? (limit.rlim_cur - DESCRIPTORS_KEPT) / listeners : DESCRIPTORS_KEPT;
    return each < CONNECTIONS_MAX ? (unsigned)each : CONNECTIONS_MAX;
}

/* None where there is no TLS. */
static void tls_options(const struct listener *listener, struct MHD_OptionItem items[static 5])
{
    const struct http_tls *tls = listener->server->tls;
    size_t count = 0;
    if (listener->transport == TRANSPORT_TLS) {
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, tls->certificate};
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, tls->key};
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(intptr_t)TLS_PRIORITIES};
        if (tls->client_ca)
            items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0, tls->client_ca};
    }
    items[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}

static int listener_start(struct listener *listener, unsigned connections, struct err *ret_err)
{
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG |
                           (listener->transport == TRANSPORT_TLS ? MHD_USE_TLS : 0);
    struct MHD_OptionItem secrets[5];
    tls_options(listener, secrets);
    /* clang-format off: one option a line */
    listener->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, request_continue, listener, MHD_OPTION_EXTERNAL_LOGGER, log_from_library, NULL,
        MHD_OPTION_LISTEN_SOCKET, listener->fd, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_CONNECTION_LIMIT,
        connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT,
        SERVER_IDLE_S, MHD_OPTION_NOTIFY_CONNECTION, notify_connection, listener, MHD_OPTION_NOTIFY_COMPLETED,
        request_end, listener, MHD_OPTION_URI_LOG_CALLBACK, request_begin, listener, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, NULL, MHD_OPTION_ARRAY, secrets, MHD_OPTION_END);
    /* clang-format on */
    if (!listener->daemon)
        return err_set(ret_err, -EIO, ERR_INTERNAL, "", "libmicrohttpd does not start");
    return 0;
}

/* With no change in hand and no stream suspended the library may be stopped: it aborts otherwise. */
static void listeners_stop(struct http_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        struct listener *listener = &server->listeners[i];
        if (listener->daemon)
            MHD_stop_daemon(listener->daemon);
        fd_done(&listener->fd);
    }
}

static void server_free(struct http_server *server)
{
    document_cache_free(server->documents);
    counters_cache_done(&server->counters);
    pthread_cond_destroy(&server->tick);
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->mutex);
    free(server);
}

static void ticker_stop(struct http_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->ticker_ends = true;
    pthread_cond_signal(&server->tick);
    pthread_mutex_unlock(&server->mutex);
    pthread_join(server->ticker, NULL);
}

static void listener_add(struct http_server *server, int fd, enum transport transport)
{
    server->listeners[server->listener_count++] = (struct listener){.server = server, .transport = transport, .fd = fd};
}

int http_start(const struct http_options *options, int unix_fd, const int *tcp_fds, size_t tcp_count,
               struct http_server **ret_server, struct err *ret_err)
{
    if (tcp_count > OPTION_LIST_MAX || options->tls_count > OPTION_LIST_MAX || (options->tls_count && !options->tls))
        return err_set(ret_err, -EINVAL, ERR_INTERNAL, "", "at most %d TCP listeners of each kind", OPTION_LIST_MAX);
    struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        return err_no_memory(ret_err);
    server->documents = document_cache_new();
    if (!server->documents) {
        free(server);
        return err_no_memory(ret_err);
    }
    server->engine = options->engine;
    server->history = options->history;
    atomic_init(&server->files_tried, !options->awaits_files);
    server->access.own_uid = options->own_uid;
    server->access.socket_gid = options->socket_gid;
    server->access.has_admin_gid = options->has_admin_gid;
    server->access.admin_gid = options->admin_gid;
    server->access.hosts = options->hosts;
    server->tls = options->tls;
    server->refusals = (struct rate_limit){.rate = 0.2, .burst = 5};
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&server->mutex, NULL);
    pthread_mutex_init(&server->counters.mutex, NULL);
    pthread_cond_init(&server->tick, &monotonic);
    pthread_cond_init(&server->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);

    int error = random_bytes(server->failures.seed, sizeof server->failures.seed);
    if (error) {
        server_free(server);
        return err_set_kernel(ret_err, error, "getrandom", "cannot start the server");
    }
    error = -pthread_create(&server->ticker, NULL, ticker, server);
    if (error) {
        server_free(server);
        return err_set_kernel(ret_err, error, "pthread_create", "cannot start a thread");
    }
    if (unix_fd >= 0)
        listener_add(server, unix_fd, TRANSPORT_UNIX);
    for (size_t i = 0; i < tcp_count; i++)
        listener_add(server, tcp_fds[i], TRANSPORT_PLAIN);
    for (size_t i = 0; i < options->tls_count; i++)
        listener_add(server, options->tls_fds[i], TRANSPORT_TLS);
    unsigned connections = connections_permitted(server->listener_count ? server->listener_count : 1);
    for (size_t i = 0; i < server->listener_count && !error; i++)
        error = listener_start(&server->listeners[i], connections, ret_err);
    if (server->tls)
        tls_wipe_key(server->tls);
    if (error) {
        http_stop(server);
        return error;
    }
    *ret_server = server;
    return 0;
}

void http_files_tried(struct http_server *server)
{
    atomic_store(&server->files_tried, true);
}

/* Nobody new; no stream goes on; the changes in hand are waited for, however long the engine takes; answers that are on
 * their way get a moment. */
void http_stop(struct http_server *server)
{
    if (!server)
        return;
    for (size_t i = 0; i < server->listener_count; i++)
        if (server->listeners[i].daemon)
            MHD_quiesce_daemon(server->listeners[i].daemon);

    pthread_mutex_lock(&server->mutex);
    server->stopping = true;
    watch_end_all(server);
    captures_end_all(server);
    while (server->changes)
        pthread_cond_wait(&server->idle, &server->mutex);
    int64_t until_ns = clock_monotonic_ns() + STOP_PATIENCE_NS;
    struct timespec until = {.tv_sec = until_ns / NSEC_PER_SEC, .tv_nsec = until_ns % NSEC_PER_SEC};
    while (server->requests && pthread_cond_timedwait(&server->idle, &server->mutex, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&server->mutex);

    ticker_stop(server);
    listeners_stop(server);
    server_free(server);
}

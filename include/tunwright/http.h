/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http: the REST API over libmicrohttpd. One route table; a read is answered from a snapshot, a change is queued to the
 * engine and its connection suspended until the result is there.
 */
#ifndef TUNWRIGHT_HTTP_H
#define TUNWRIGHT_HTTP_H

#include "tunwright/engine.h"
#include "tunwright/history.h"

struct http_server;
struct http_options {
    struct engine *engine;   /* borrowed */
    struct history *history; /* borrowed; NULL: nobody keeps one */
    uint32_t own_uid;        /* an admin on the Unix socket, as root is */
    uint32_t socket_gid;     /* its members are operators there */
    bool has_admin_gid;      /* members of … */
    uint32_t admin_gid;      /* … this group are admins */
    const int *tls_fds;      /* listeners with … */
    size_t tls_count;
    struct http_tls *tls;            /* … these; borrowed. NULL where there are none */
    const struct option_list *hosts; /* borrowed: more names for the Host field there; NULL: none */
    bool awaits_files;               /* not ready before http_files_tried */
};

/*
 * At the first start, before the engine has the store: adds the token "admin", with what stands in the file `path`, which
 * only its owner may be able to read. Where there is no such file, it is made. Later the file is neither needed nor read,
 * and if the token was deleted, that is so.
 */
int http_token_provision(const char *path, struct store *store, struct err *ret_err);

/* Listeners are bound by the caller (while it may still be root) and passed: the server takes them, even if it fails.
 */
int http_listen_unix(const char *path, uint32_t gid, int *ret_fd, struct err *ret_err);
/* "127.0.0.1:8080", "[::1]:8080"; without TLS -EINVAL for an address that is not loopback. Port 0: any, see *ret_bound. */
int http_listen_tcp(const char *address, bool with_tls, int *ret_fd, struct endpoint *ret_bound, struct err *ret_err);

/* For TLS listeners. The key's file must belong to root or to the user `owner`, and be readable by nobody else. The
 * server wipes the key once it started; the rest must live as long as the server. */
struct http_tls;
struct http_tls_files {
    const char *certificate, *key;
    const char *client_ca; /* NULL: clients need no certificate */
};
int http_tls_load(const struct http_tls_files *files, uint32_t owner, struct http_tls **ret_tls, struct err *ret_err);
void http_tls_free(struct http_tls *tls);

int http_start(const struct http_options *options, int unix_fd, const int *tcp_fds, size_t tcp_count,
               struct http_server **ret_server, struct err *ret_err);
/* The engine's on_publish: wakes the streams. */
void http_published(void *server);
/* The engine's on_progress: for the streams. */
void http_progress(void *server, const struct change_progress *progress);
/* From any thread: the start-up files were tried. */
void http_files_tried(struct http_server *server);
/* Ends streams, waits for the requests in hand, closes. The engine must still be running. */
void http_stop(struct http_server *server);

#endif

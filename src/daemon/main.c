/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tunwrightd: wiring only. What needs root is done first (directories, TCP sockets that may have a privileged port),
 * then the process becomes its user for good, and everything else is made by that user: the Unix socket, the token, the
 * database.
 */
#include "conf_dir.h"

#include "tunwright/base.h"
#include "tunwright/engine.h"
#include "tunwright/history.h"
#include "tunwright/http.h"
#include "tunwright/ipc.h"
#include "tunwright/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADMIN_GROUP "tunwright-admin"

struct options {
    const char *run_dir, *state_dir, *conf_dir, *user, *log_level;
    struct option_list listen, listen_tls, hosts;
    const char *tls_certificate, *tls_key, *tls_client_ca; /* "": none */
    const char *admin_group;                               /* "": ADMIN_GROUP, where there is one */
};

/* The engine starts before who listens to it, and ends after them: its news goes through here. */
struct news {
    pthread_mutex_t mutex;
    struct http_server *server; /* guarded, as the next; NULL: nobody listens */
    struct conf_dir *conf_dir;
};

struct daemon {
    struct options options;
    struct service_user user;
    bool has_admin_gid;
    uint32_t admin_gid;
    int tcp_fds[OPTION_LIST_MAX], tls_fds[OPTION_LIST_MAX];
    size_t tcp_count, tls_count;
    struct http_tls *tls;
    int unix_fd, signal_fd;
    char socket_path[PATH_MAX];
    struct store *store;
    struct kernel *kernel;
    struct engine *engine;
    struct history *history;
    struct http_server *server;
    struct conf_dir *conf_dir;
    struct news news;
};

/* ---- while it may still be root ---------------------------------------------------------------------------------- */

static int path_join(char out[static PATH_MAX], const char *directory, const char *name, struct err *ret_err)
{
    int length = snprintf(out, PATH_MAX, "%s/%s", directory, name);
    if (length < 0 || length >= PATH_MAX)
        return err_set(ret_err, -ENAMETOOLONG, ERR_INTERNAL, "", "the path %.64s... is too long", directory);
    return 0;
}

/* Makes a directory that belongs to the user. One that is there already stays as it is. */
static int directory_make(const char *path, mode_t mode, const struct service_user *user, struct err *ret_err)
{
    if (mkdir(path, mode) < 0)
        return errno == EEXIST ? 0 : err_set_kernel(ret_err, -errno, "mkdir", "cannot make the directory %s", path);
    int fd CLEANUP(fd_done) = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, mode) < 0 || (geteuid() == 0 && fchown(fd, user->uid, user->gid) < 0))
        return err_set_kernel(ret_err, -errno, "fchown", "cannot set up the directory %s", path);
    return 0;
}

static int listen_tcp(struct daemon *daemon, struct err *ret_err)
{
    const struct option_list *list = &daemon->options.listen;
    for (size_t i = 0; i < list->count; i++) {
        struct endpoint bound;
        char text[ENDPOINT_TEXT_SIZE];
        int error = http_listen_tcp(list->items[i], false, &daemon->tcp_fds[daemon->tcp_count], &bound, ret_err);
        if (error)
            return error;
        daemon->tcp_count++;
        log_info("listening on http://%s, for clients with a token", endpoint_print(&bound, text));
    }
    return 0;
}

/* The key may be root's alone: it is read while that can be. */
static int listen_tls(struct daemon *daemon, struct err *ret_err)
{
    const struct options *options = &daemon->options;
    const struct http_tls_files files = {options->tls_certificate, options->tls_key,
                                         *options->tls_client_ca ? options->tls_client_ca : NULL};
    bool has_files = *options->tls_certificate && *options->tls_key;
    if (!options->listen_tls.count) {
        if (*options->tls_certificate || *options->tls_key || *options->tls_client_ca || options->hosts.count)
            log_warning("the options for TLS are of no use without --listen-tls");
        return 0;
    }
    if (!has_files)
        return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "",
                       "--listen-tls takes --tls-certificate and --tls-key as well");
    int error = http_tls_load(&files, daemon->user.uid, &daemon->tls, ret_err);
    for (size_t i = 0; i < options->listen_tls.count && !error; i++) {
        struct endpoint bound;
        char text[ENDPOINT_TEXT_SIZE];
        error =
            http_listen_tcp(options->listen_tls.items[i], true, &daemon->tls_fds[daemon->tls_count], &bound, ret_err);
        if (error)
            return error;
        daemon->tls_count++;
        log_info("listening on https://%s, for clients with %s", endpoint_print(&bound, text),
                 files.client_ca ? "a certificate" : "a token");
    }
    return error;
}

static int admin_group_find(struct daemon *daemon, struct err *ret_err)
{
    const char *name = daemon->options.admin_group;
    int error = service_group_find(*name ? name : ADMIN_GROUP, &daemon->admin_gid, ret_err);
    daemon->has_admin_gid = !error;
    return error == -ENOENT && !*name ? 0 : error;
}

/* Ends root's part. A process that did not come from root stays who it is. */
static int become_user(struct daemon *daemon, struct err *ret_err)
{
    int error = 0;
    if (geteuid() == 0 && daemon->user.uid != 0)
        error = service_user_become(&daemon->user, ret_err);
        /* Nobody may read its memory, where the token's digest and requests are. Leak detection has to. */
#ifdef TUNWRIGHT_SANITIZED
    prctl(PR_SET_DUMPABLE, 1);
#else
    prctl(PR_SET_DUMPABLE, 0);
#endif
    return error;
}

static int user_find(struct daemon *daemon, struct err *ret_err)
{
    if (geteuid() == 0)
        return service_user_find(daemon->options.user, &daemon->user, ret_err);
    daemon->user = (struct service_user){.uid = geteuid(), .gid = getegid()};
    return 0;
}

static int start_as_root(struct daemon *daemon, struct err *ret_err)
{
    int error = user_find(daemon, ret_err);
    if (!error)
        error = directory_make(daemon->options.run_dir, 0755, &daemon->user, ret_err);
    if (!error)
        error = directory_make(daemon->options.state_dir, 0700, &daemon->user, ret_err);
    if (!error)
        error = admin_group_find(daemon, ret_err);
    if (!error)
        error = listen_tcp(daemon, ret_err);
    if (!error)
        error = listen_tls(daemon, ret_err);
    if (!error)
        error = become_user(daemon, ret_err);
    return error;
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

/* A connection is a descriptor; the default of 1,024 is few. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Before there are threads, so that all of them have the signals blocked. */
static int signals_open(int *ret_fd, struct err *ret_err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "signalfd", "cannot watch for signals");
    *ret_fd = fd;
    return 0;
}

static void news_pass(void *context)
{
    struct news *news = context;
    pthread_mutex_lock(&news->mutex);
    if (news->server)
        http_published(news->server);
    if (news->conf_dir)
        conf_dir_published(news->conf_dir);
    pthread_mutex_unlock(&news->mutex);
}

static void news_pass_progress(void *context, const struct change_progress *progress)
{
    struct news *news = context;
    pthread_mutex_lock(&news->mutex);
    if (news->server)
        http_progress(news->server, progress);
    pthread_mutex_unlock(&news->mutex);
}

static void news_set(struct news *news, struct http_server *server, struct conf_dir *conf_dir)
{
    pthread_mutex_lock(&news->mutex);
    news->server = server;
    news->conf_dir = conf_dir;
    pthread_mutex_unlock(&news->mutex);
}

static int start_store(struct daemon *daemon, struct err *ret_err)
{
    char path[PATH_MAX], token_path[PATH_MAX];
    int error = path_join(path, daemon->options.state_dir, "tunwright.db", ret_err);
    if (!error)
        error = path_join(token_path, daemon->options.state_dir, "admin.token", ret_err);
    if (error)
        return error;
    struct err e;
    error = store_open(path, &daemon->store, &e);
    if (error)
        return err_set(ret_err, error, e.code, "", "the database %s cannot be used: %s", path, e.message);
    return http_token_provision(token_path, daemon->store, ret_err);
}

static int start_engine(struct daemon *daemon, struct err *ret_err)
{
    char path[PATH_MAX];
    int error = path_join(path, daemon->options.run_dir, "netd.sock", ret_err);
    if (!error)
        error = kernel_netd_open(path, &daemon->kernel, ret_err);
    const struct engine_options options = {.store = daemon->store,
                                           .kernel = daemon->kernel,
                                           .on_publish = news_pass,
                                           .on_progress = news_pass_progress,
                                           .context = &daemon->news};
    return error ? error : engine_start(&options, &daemon->engine, ret_err);
}

/* Where no file can be kept, tunnels go on, and so does the daemon. */
static void start_history(struct daemon *daemon)
{
    char path[PATH_MAX];
    struct err e;
    int error = path_join(path, daemon->options.run_dir, "history", &e);
    if (!error)
        error = history_start(daemon->engine, path, &daemon->history, &e);
    if (error)
        log_warning("no history is kept: %s", e.message);
}

static int start_http(struct daemon *daemon, struct err *ret_err)
{
    const struct http_options options = {.engine = daemon->engine,
                                         .history = daemon->history,
                                         .own_uid = daemon->user.uid,
                                         .socket_gid = daemon->user.gid,
                                         .has_admin_gid = daemon->has_admin_gid,
                                         .admin_gid = daemon->admin_gid,
                                         .tls_fds = daemon->tls_fds,
                                         .tls_count = daemon->tls_count,
                                         .tls = daemon->tls,
                                         .hosts = &daemon->options.hosts,
                                         .awaits_files = true};
    int unix_fd = daemon->unix_fd;
    size_t tcp_count = daemon->tcp_count;
    daemon->unix_fd = -1; /* they are the server's now */
    daemon->tcp_count = daemon->tls_count = 0;
    int error = http_start(&options, unix_fd, daemon->tcp_fds, tcp_count, &daemon->server, ret_err);
    if (!error)
        news_set(&daemon->news, daemon->server, NULL);
    return error;
}

static void files_tried(void *server)
{
    http_files_tried(server);
}

static int start_conf_dir(struct daemon *daemon, struct err *ret_err)
{
    const struct conf_dir_options options = {.path = daemon->options.conf_dir,
                                             .own_uid = daemon->user.uid,
                                             .engine = daemon->engine,
                                             .on_tried = files_tried,
                                             .context = daemon->server};
    int error = conf_dir_start(&options, &daemon->conf_dir, ret_err);
    if (!error)
        news_set(&daemon->news, daemon->server, daemon->conf_dir);
    return error;
}

static int start(struct daemon *daemon, struct err *ret_err)
{
    raise_descriptor_limit();
    int error = signals_open(&daemon->signal_fd, ret_err);
    if (!error)
        error = start_as_root(daemon, ret_err);
    /* the socket before the store: where another daemon listens, its database is not touched */
    if (!error)
        error = path_join(daemon->socket_path, daemon->options.run_dir, "api.sock", ret_err);
    if (!error)
        error = http_listen_unix(daemon->socket_path, daemon->user.gid, &daemon->unix_fd, ret_err);
    if (!error)
        error = start_store(daemon, ret_err);
    if (!error)
        error = start_engine(daemon, ret_err);
    if (!error)
        start_history(daemon);
    if (!error)
        error = start_http(daemon, ret_err);
    if (!error)
        error = start_conf_dir(daemon, ret_err);
    return error;
}

/* In the reverse order, whatever was reached. */
static void stop(struct daemon *daemon)
{
    bool served = daemon->server || daemon->unix_fd >= 0;
    news_set(&daemon->news, NULL, NULL);
    conf_dir_stop(daemon->conf_dir);
    http_stop(daemon->server);
    history_stop(daemon->history);
    if (daemon->engine)
        engine_stop(daemon->engine);
    if (daemon->kernel)
        daemon->kernel->ops->close(daemon->kernel);
    if (daemon->store)
        store_close(daemon->store);
    for (size_t i = 0; i < daemon->tcp_count; i++)
        fd_done(&daemon->tcp_fds[i]);
    for (size_t i = 0; i < daemon->tls_count; i++)
        fd_done(&daemon->tls_fds[i]);
    http_tls_free(daemon->tls);
    fd_done(&daemon->unix_fd);
    if (served)
        unlink(daemon->socket_path);
    fd_done(&daemon->signal_fd);
}

static void hang_up(struct daemon *daemon)
{
    log_info("SIGHUP: reading the start-up files again");
    conf_dir_again(daemon->conf_dir);
}

static void wait_for_end(struct daemon *daemon)
{
    struct signalfd_siginfo info = {0};
    for (;;) {
        ssize_t length = read(daemon->signal_fd, &info, sizeof info);
        if (length == sizeof info && info.ssi_signo == SIGHUP)
            hang_up(daemon);
        else if (length >= 0 || errno != EINTR)
            break;
    }
    log_info("stopping on %s; tunnels go on", info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
}

int main(int argc, char **argv)
{
    struct daemon daemon = {
        .options = {.run_dir = "/run/tunwright",
                    .state_dir = "/var/lib/tunwright",
                    .conf_dir = "/etc/tunwright/conf.d",
                    .user = "tunwright",
                    .log_level = "info",
                    .tls_certificate = "",
                    .tls_key = "",
                    .tls_client_ca = "",
                    .admin_group = ""},
        .unix_fd = -1,
        .signal_fd = -1,
        .news = {.mutex = PTHREAD_MUTEX_INITIALIZER},
    };
    struct options *options = &daemon.options;
    const struct option_row rows[] = {
        {"run-dir", "DIR", "where api.sock is made and netd.sock is looked for", &options->run_dir, NULL, NULL},
        {"state-dir", "DIR", "where the database and admin.token are kept", &options->state_dir, NULL, NULL},
        {"conf-dir", "DIR", "start-up files: *.json, applied at the start and on SIGHUP", &options->conf_dir, NULL,
         NULL},
        {"user", "USER", "who to be when started by root: a name, or a number", &options->user, NULL, NULL},
        {"listen", "ADDR:PORT", "also listen on this loopback address; may be repeated", NULL, &options->listen, NULL},
        {"listen-tls", "ADDR:PORT", "also listen on this address, with TLS; may be repeated", NULL,
         &options->listen_tls, NULL},
        {"tls-certificate", "FILE", "the server's certificate and what leads to its CA, in PEM",
         &options->tls_certificate, NULL, NULL},
        {"tls-key", "FILE", "its key, in PEM, readable by root or USER alone", &options->tls_key, NULL, NULL},
        {"tls-client-ca", "FILE", "whose certificates each client needs, in PEM", &options->tls_client_ca, NULL, NULL},
        {"host", "NAME", "a name that clients may call this server by, with TLS; may be repeated", NULL,
         &options->hosts, NULL},
        {"admin-group", "GROUP", "whose members may do everything: a name, or a number", &options->admin_group, NULL,
         NULL},
        {"log-level", "LEVEL", "error, warning, info or debug", &options->log_level, NULL, NULL},
    };
    int result = options_read(argc, argv, "tunwrightd", "tunnels over HTTP: the API's daemon", rows, ARRAY_SIZE(rows));
    if (result)
        return result < 0 ? 2 : 0;
    enum log_level level;
    if (!log_level_parse(options->log_level, &level)) {
        fprintf(stderr, "tunwrightd: --log-level must be error, warning, info or debug\n");
        return 2;
    }
    log_open("tunwrightd", level);
    umask(022);

    struct err e;
    if (start(&daemon, &e)) {
        log_error("%s", e.message);
        stop(&daemon);
        return 1;
    }
    log_info("tunwrightd %s serves on %s", TUNWRIGHT_VERSION, daemon.socket_path);
    notify_service_manager("READY=1");
    wait_for_end(&daemon);
    notify_service_manager("STOPPING=1");
    stop(&daemon);
    return 0;
}

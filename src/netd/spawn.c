/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a worker loses its privileges: no_new_privs, then its user and group, then every descriptor but 0 to 4, then
 * execve(2). What is executed is a file of one directory, and both must belong to root (or to us) and be writable by
 * nobody else.
 *
 * The worker's listening socket is bound here, in a directory that only we may enter. But listen(2) is called by the
 * child after it has become the worker's user: whoever connects is told the credentials of the process that called it,
 * so a later netd learns the worker's pid from the kernel and not from the worker.
 */
#include "spawn.h"

#include "tunwright/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKER_SOCKET_NAME_SIZE (UUID_TEXT_SIZE + 5)

#define WORKER_BACKLOG 4
#define WORKER_PATH    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *worker_socket_name(const struct uuid *uuid, char out[static WORKER_SOCKET_NAME_SIZE])
{
    char text[UUID_TEXT_SIZE];
    snprintf(out, WORKER_SOCKET_NAME_SIZE, "%s.sock", uuid_print(uuid, text));
    return out;
}

void worker_socket_remove(const struct netd *netd, const struct uuid *uuid)
{
    char name[WORKER_SOCKET_NAME_SIZE];
    unlinkat(netd->workers_fd, worker_socket_name(uuid, name), 0);
}

static bool owner_is_trusted(const struct stat *status)
{
    return (status->st_uid == 0 || status->st_uid == geteuid()) && !(status->st_mode & 022);
}

static int program_check(const struct netd *netd, const char *program, struct err *ret_err)
{
    struct stat directory, file;
    int fd CLEANUP(fd_done) = openat(netd->worker_dir_fd, program, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_set(ret_err, -errno, ERR_WORKER_FAILED, "", "there is no worker program \"%s\"", program);
    if (fstat(fd, &file) < 0 || fstat(netd->worker_dir_fd, &directory) < 0)
        return err_set_kernel(ret_err, -errno, "fstat", "cannot look at the worker program");
    if (!S_ISREG(file.st_mode) || !owner_is_trusted(&file) || !owner_is_trusted(&directory))
        return err_set(ret_err, -EACCES, ERR_WORKER_FAILED, "",
                       "\"%s\" is not a program of root that nobody else may write to", program);
    return 0;
}

static int listener_bind(const struct netd *netd, const struct uuid *uuid, int *ret_fd, struct err *ret_err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[WORKER_SOCKET_NAME_SIZE];
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", netd->workers_fd,
             worker_socket_name(uuid, name));
    int fd CLEANUP(fd_done) = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "socket", "cannot make the worker's socket");
    worker_socket_remove(netd, uuid);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return err_set_kernel(ret_err, -errno, "bind", "cannot make the worker's socket");
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* ---- in the child ------------------------------------------------------------------------------------------------ */

static _Noreturn void child_fail(int control, const char *what, int error)
{
    char text[256];
    int length = snprintf(text, sizeof text, "failed\n%s: %s", what, strerror(error));
    (void)!send(control, text, length < (int)sizeof text ? (size_t)length : sizeof text - 1, MSG_NOSIGNAL);
    _exit(127);
}

/* fd 0 and 1 to nothing, 3 and 4 in their places. The originals are above 9 first, or one could overwrite the other. */
static int child_arrange(int *control, int listener)
{
    int high_control = fcntl(*control, F_DUPFD_CLOEXEC, 10);
    int high_listener = fcntl(listener, F_DUPFD_CLOEXEC, 10);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int high_null = null < 0 ? -1 : fcntl(null, F_DUPFD_CLOEXEC, 10);
    if (high_control < 0 || high_listener < 0 || high_null < 0)
        return -errno;
    if (dup2(high_null, 0) < 0 || dup2(high_null, 1) < 0 || dup2(high_control, WORKER_CONTROL_FD) < 0 ||
        dup2(high_listener, WORKER_LISTEN_FD) < 0)
        return -errno;
    *control = WORKER_CONTROL_FD;
    return close_range(WORKER_LISTEN_FD + 1, ~0U, 0) < 0 ? -errno : 0;
}

static int child_restrict(const struct netd *netd)
{
    struct rlimit no_core = {0, 0};
    sigset_t none;
    sigemptyset(&none);
    setsid(); /* fd 2 may be a terminal: who has it as its own may write into what root types there (TIOCSTI) */
    signal(SIGPIPE, SIG_DFL);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0 || setrlimit(RLIMIT_NOFILE, &netd->worker_files) < 0 ||
        setrlimit(RLIMIT_CORE, &no_core) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return 0;
}

static _Noreturn void child_run(const struct netd *netd, const char *program, pid_t parent, int control, int listener)
{
    char path[PATH_MAX + WORKER_PROGRAM_SIZE + 1];
    char sanitizers[2][1024];
    char *environment[4] = {(char *)(uintptr_t)WORKER_PATH};
    char *arguments[2] = {(char *)(uintptr_t)program, NULL};
    size_t count = 1;
    /* how the suite's sanitizers report; nobody else sets them */
    static const char *const passed[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS"};
    for (size_t i = 0; i < ARRAY_SIZE(passed); i++) {
        const char *value = getenv(passed[i]);
        if (value &&
            snprintf(sanitizers[i], sizeof sanitizers[i], "%s=%s", passed[i], value) < (int)sizeof sanitizers[i])
            environment[count++] = sanitizers[i];
    }
    snprintf(path, sizeof path, "%s/%s", netd->worker_dir, program);

    struct err why;
    int error = child_arrange(&control, listener);
    if (error < 0)
        child_fail(control, "cannot arrange descriptors", -error);
    error = child_restrict(netd);
    if (error < 0)
        child_fail(control, "cannot set limits", -error);
    error = service_user_become(&netd->worker_user, &why);
    if (error < 0)
        child_fail(control, "cannot become the worker's user", -error);
    if (listen(WORKER_LISTEN_FD, WORKER_BACKLOG) < 0)
        child_fail(control, "listen", errno);
    /* a netd that began before this took the socket for a left-over: nobody would ever find us */
    if (getppid() != parent)
        child_fail(control, "listen", ESRCH);
    execve(path, arguments, environment);
    child_fail(control, "execve", errno);
}

/* ---- in netd ----------------------------------------------------------------------------------------------------- */

int spawn_worker(struct netd *netd, const char *program, const struct uuid *uuid, struct spawned *ret_spawned,
                 struct err *ret_err)
{
    int listener CLEANUP(fd_done) = -1;
    int result = program_check(netd, program, ret_err);
    if (result == 0)
        result = listener_bind(netd, uuid, &listener, ret_err);
    if (result < 0)
        return result;

    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set_kernel(ret_err, -errno, "socketpair", "cannot make the worker's control socket");
    int ours CLEANUP(fd_done) = pair[0], theirs CLEANUP(fd_done) = pair[1];
    result = fd_set_nonblocking(ours);
    if (result < 0)
        return err_set_kernel(ret_err, result, "fcntl", "cannot set up the worker's control socket");

    pid_t self = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return err_set_kernel(ret_err, -errno, "fork", "cannot start a worker");
    if (pid == 0)
        child_run(netd, program, self, theirs, listener);
    int pidfd = pidfd_open(pid, 0); /* ours to reap: the number cannot have been given to another */
    if (pidfd < 0) {
        result = err_set_kernel(ret_err, -errno, "pidfd_open", "cannot watch a worker");
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return result;
    }
    *ret_spawned = (struct spawned){.pid = pid, .pidfd = pidfd, .control = ours};
    ours = -1;
    return 0;
}

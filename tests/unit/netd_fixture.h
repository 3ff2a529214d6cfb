/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real tunwright-netd, in a network and a mount namespace of the test's own, with a worker that is this test
 * program itself: netd finds a copy of it in its worker directory, under the name "worker-of-test".
 */
#ifndef TESTS_NETD_FIXTURE_H
#define TESTS_NETD_FIXTURE_H

#include "tunwright/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TEST_WORKER      "worker-of-test"
#define TEST_USER        65533
#define TEST_WORKER_USER 65534

/* ---- the worker -------------------------------------------------------------------------------------------------- */

struct test_worker {
    char packet[WORKER_MESSAGE_MAX];
    size_t length;
    int fds[WORKER_FDS_MAX];
    size_t fd_count;
};

static inline void test_worker_say(const char *text)
{
    seqpacket_send(WORKER_CONTROL_FD, text, strlen(text), NULL, 0, NULL, 0, 0);
}

/* Sends a descriptor whose last close(2) takes 30 s, and keeps none. Returns whether it could. */
static inline bool lingering_send(int to)
{
    static char full[65536];
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger patience = {.l_onoff = 1, .l_linger = 30};
    socklen_t size = sizeof any;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd CLEANUP(fd_done) = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&any, &size) < 0)
        return false;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&any, size) < 0 || fd_set_nonblocking(fd) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &patience, sizeof patience) < 0)
        return false;
    while (send(fd, full, sizeof full, MSG_NOSIGNAL) > 0)
        ; /* nobody reads it: the listener stays open, and never accepts */
    return seqpacket_send(to, "status\n{}", 9, NULL, 0, &fd, 1, 0) == 0;
}

/* Does what the configuration says: {"fail"}, {"mute"}, {"exit"}, {"crash"}, or works, and
 * then does what else it says. */
static inline void test_worker_configured(struct test_worker *worker)
{
    char text[128];
    worker->packet[worker->length] = '\0';
    bool quit = strstr(worker->packet, "hang up");
    if (strstr(worker->packet, "fail")) {
        test_worker_say("failed\n{\"detail\": \"it was told to\"}");
        return;
    }
    if (strstr(worker->packet, "mute"))
        return;
    if (strstr(worker->packet, "exit"))
        _exit(3);
    struct counter_page *page = mmap(NULL, COUNTER_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, worker->fds[0], 0);
    if (page == MAP_FAILED)
        _exit(4);
    page->slots[0].device_in.packets++;
    munmap(page, COUNTER_PAGE_SIZE);
    snprintf(text, sizeof text, "ready\n{\"fds\": %zu}", worker->fd_count);
    test_worker_say(text);
    if (strstr(worker->packet, "crash"))
        _exit(5);
    if (strstr(worker->packet, "linger"))
        lingering_send(WORKER_CONTROL_FD);
    if (strstr(worker->packet, "chat"))
        for (int i = 0; i < 400; i++) {
            snprintf(text, sizeof text, "status\n{\"i\": %d}", i);
            seqpacket_send(WORKER_CONTROL_FD, text, strlen(text), NULL, 0, NULL, 0, quit ? MSG_DONTWAIT : 0);
        }
    if (quit)
        shutdown(WORKER_CONTROL_FD, SHUT_RDWR);
}

static inline void test_worker_read(struct test_worker *worker, bool *connected)
{
    static char packet[WORKER_MESSAGE_MAX];
    static const char attached[] = "attached\n";
    int fds[WORKER_FDS_MAX];
    size_t length = 0, count = WORKER_FDS_MAX;
    if (seqpacket_receive(WORKER_CONTROL_FD, packet, sizeof packet - 1, &length, fds, &count, 0) < 0 || length == 0) {
        *connected = false;
        return;
    }
    if (strncmp(packet, "stop\n", 5) == 0)
        _exit(0);
    if (strncmp(packet, "attach\n", 7) == 0) {
        /* one that was taken over, and hands back other things than it was given */
        if (strstr(worker->packet, "lie-page"))
            worker->fds[0] = open("/dev/zero", O_RDWR | O_CLOEXEC);
        if (strstr(worker->packet, "lie-queue"))
            worker->fds[1] = open("/dev/zero", O_RDWR | O_CLOEXEC);
        if (strstr(worker->packet, "lie-socket"))
            worker->fds[2] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (strstr(worker->packet, "lie-count"))
            worker->fd_count--;
        if (strstr(worker->packet, "lie-head"))
            memcpy(worker->packet, "configure queues=2", 18);
        if (strstr(worker->packet, "lie-verb")) {
            test_worker_say("attached");
            return;
        }
        seqpacket_send(WORKER_CONTROL_FD, attached, sizeof attached - 1, worker->packet, worker->length, worker->fds,
                       worker->fd_count, 0);
        return;
    }
    if (strncmp(packet, "configure ", 10) != 0)
        return;
    for (size_t i = 0; i < worker->fd_count; i++)
        close(worker->fds[i]);
    memcpy(worker->packet, packet, length);
    memcpy(worker->fds, fds, count * sizeof(int));
    worker->length = length;
    worker->fd_count = count;
    test_worker_configured(worker);
}

static inline _Noreturn void test_worker_run(void)
{
    static struct test_worker worker;
    bool connected = true;
    for (;;) {
        struct pollfd ready[2] = {{.fd = connected ? WORKER_CONTROL_FD : -1, .events = POLLIN},
                                  {.fd = WORKER_LISTEN_FD, .events = POLLIN}};
        if (poll(ready, 2, 60000) <= 0)
            _exit(6); /* forgotten by its test */
        if (ready[1].revents) {
            int fd = accept(WORKER_LISTEN_FD, NULL, NULL);
            if (fd >= 0 && dup2(fd, WORKER_CONTROL_FD) >= 0)
                connected = true;
            close(fd);
        } else if (ready[0].revents) {
            test_worker_read(&worker, &connected);
        }
    }
}

/* ---- netd -------------------------------------------------------------------------------------------------------- */

struct netd_fixture {
    char dir[64];
    char run_dir[96], worker_dir[96], socket[128];
    char program[512];
    const char *cannot_run; /* why */
    pid_t pid;
};
static struct netd_fixture fixture;

static inline int file_copy(const char *from, const char *to, mode_t mode)
{
    int in CLEANUP(fd_done) = open(from, O_RDONLY | O_CLOEXEC);
    int out CLEANUP(fd_done) = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    struct stat status;
    if (in < 0 || out < 0 || fstat(in, &status) < 0)
        return -errno;
    for (off_t left = status.st_size; left > 0;) {
        ssize_t sent = sendfile(out, in, NULL, (size_t)left);
        if (sent <= 0)
            return -EIO;
        left -= sent;
    }
    return fchmod(out, mode) < 0 ? -errno : 0;
}

/* TUNWRIGHT_NETD, or where the build puts it beside this program. */
static inline bool netd_program_find(void)
{
    const char *given = getenv("TUNWRIGHT_NETD");
    char self[256];
    if (given) {
        snprintf(fixture.program, sizeof fixture.program, "%s", given);
    } else {
        ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
        self[length > 0 ? length : 0] = '\0';
        char *slash = strrchr(self, '/');
        if (slash)
            *slash = '\0';
        snprintf(fixture.program, sizeof fixture.program, "%s/../tunwright-netd", self);
    }
    return access(fixture.program, X_OK) == 0;
}

static inline bool mount_private_netns(void)
{
    mkdir("/run/netns", 0755);
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", "/run/netns", "tmpfs", 0, "mode=0755") == 0;
}

static inline int fixture_set_up(void **state)
{
    (void)state;
    char path[160];
    snprintf(fixture.dir, sizeof fixture.dir, "/tmp/test_netd.%d", (int)getpid());
    snprintf(fixture.run_dir, sizeof fixture.run_dir, "%s/run", fixture.dir);
    snprintf(fixture.worker_dir, sizeof fixture.worker_dir, "%s/workers", fixture.dir);
    snprintf(fixture.socket, sizeof fixture.socket, "%s/netd.sock", fixture.run_dir);
    if (geteuid() != 0)
        fixture.cannot_run = "not root";
    else if (!netd_program_find())
        fixture.cannot_run = "tunwright-netd is not built";
    else if (access("/dev/net/tun", R_OK | W_OK) < 0)
        fixture.cannot_run = "no /dev/net/tun";
    else if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || !mount_private_netns())
        fixture.cannot_run = "cannot make namespaces";
    if (fixture.cannot_run)
        return 0;
    umask(022);
    snprintf(path, sizeof path, "%s/" TEST_WORKER, fixture.worker_dir);
    if (mkdir(fixture.dir, 0755) < 0 || mkdir(fixture.worker_dir, 0755) < 0 ||
        file_copy("/proc/self/exe", path, 0755) < 0)
        return -1;
    /* 127.0.0.1 for the sockets */
    return system("ip link set lo up") == 0 ? 0 : -1;
}

static inline int fixture_tear_down(void **state)
{
    (void)state;
    char command[160];
    if (fixture.cannot_run)
        return 0;
    umount2("/run/netns", MNT_DETACH);
    snprintf(command, sizeof command, "rm -rf '%s'", fixture.dir);
    return system(command) == 0 ? 0 : -1;
}

static inline void wait_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* Starts it, and waits until it answers. */
static inline void netd_start(void)
{
    fixture.pid = fork();
    if (fixture.pid == 0) {
        execl(fixture.program, "tunwright-netd", "--run-dir", fixture.run_dir, "--worker-dir", fixture.worker_dir,
              "--user", "65533", "--worker-user", "65534", "--log-level", "debug", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000; i++) {
        int fd = -1;
        if (waitpid(fixture.pid, NULL, WNOHANG) != 0)
            break;
        if (seqpacket_connect(fixture.socket, &fd, NULL) == 0) {
            close(fd);
            return;
        }
        wait_ms(10);
    }
    fixture.pid = 0;
}

/* Returns the exit status, or -signal. */
static inline int netd_end(int signal_number)
{
    int status = 0;
    if (fixture.pid <= 0)
        return 0;
    kill(fixture.pid, signal_number);
    waitpid(fixture.pid, &status, 0);
    fixture.pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* The processor time that it has used, in ms. */
static inline long netd_busy_ms(void)
{
    char path[32], text[512] = "";
    unsigned long user = 0, system_time = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)fixture.pid);
    int fd CLEANUP(fd_done) = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    const char *rest = strrchr(text, ')');
    assert_int_equal(sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system_time), 2);
    return (long)((user + system_time) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK));
}

static inline bool netd_lives(void)
{
    return fixture.pid > 0 && waitpid(fixture.pid, NULL, WNOHANG) == 0;
}

/* ---- through the provider ---------------------------------------------------------------------------------------- */

#define NEEDS_NETD()                                                                                                   \
    do {                                                                                                               \
        if (fixture.cannot_run) {                                                                                      \
            print_message("skipped: %s\n", fixture.cannot_run);                                                        \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

static struct kernel *kernel;

static inline int netd_set_up(void **state)
{
    (void)state;
    if (fixture.cannot_run)
        return 0;
    netd_start();
    return fixture.pid > 0 ? kernel_netd_open(fixture.socket, &kernel, NULL) : -1;
}

static inline struct device_key key_of(const char *netns, const char *name, uint8_t number)
{
    struct device_key key = {.uuid.bytes = {0xaa, 1, 2, 3, 4, 5, 0x80, 7, 0x80, [15] = number}};
    text_copy(key.netns, sizeof key.netns, netns);
    text_copy(key.name, sizeof key.name, name);
    return key;
}

static inline int apply(const struct step *step, struct err *ret_err)
{
    struct err err = {0};
    int result = kernel->ops->apply(kernel, step, &err);
    if (ret_err)
        *ret_err = err;
    else if (result < 0)
        print_message("%s: %s\n", step_kind_name(step->kind), err.message);
    return result;
}

static inline int create(const struct device_key *key, uint32_t queues, struct err *ret_err)
{
    struct step step = {.kind = STEP_DEVICE_CREATE,
                        .device = *key,
                        .create = {.kind = DEVICE_TUN, .queues = queues, .owner = OWNER_NONE, .group = OWNER_NONE}};
    return apply(&step, ret_err);
}

static inline int delete (const struct device_key *key, struct err *ret_err)
{
    struct step step = {.kind = STEP_DEVICE_DELETE, .device = *key};
    return apply(&step, ret_err);
}

static inline int set_up(const struct device_key *key, bool up)
{
    struct step step = {.kind = STEP_LINK_SET, .device = *key, .link = {.set = LINK_UP, .up = up}};
    return apply(&step, NULL);
}

/* `local` may be NULL. */
/* Borrows config. */
static inline struct step work_step(enum step_kind kind, const struct device_key *key, const char *config,
                                    const char *local, uint32_t queues)
{
    struct step step = {.kind = kind,
                        .device = *key,
                        .worker = {.program = TEST_WORKER,
                                   .queues = queues,
                                   .socket_spec_count = local ? 1 : 0,
                                   .tag = fnv1a(FNV1A_START, config, strlen(config)),
                                   .config = (char *)(uintptr_t)config,
                                   .config_length = strlen(config)}};
    if (local) {
        step.worker.sockets[0] = (struct socket_spec){.type = SOCK_DGRAM, .count = 1};
        assert_int_equal(endpoint_parse(local, &step.worker.sockets[0].local), 0);
    }
    return step;
}

static inline int work(enum step_kind kind, const struct device_key *key, const char *config, const char *local,
                       uint32_t queues, struct err *ret_err)
{
    struct step step = work_step(kind, key, config, local, queues);
    return apply(&step, ret_err);
}

static inline int start(const struct device_key *key, const char *config)
{
    return work(STEP_WORKER_START, key, config, NULL, 1, NULL);
}

static inline int stop(const struct device_key *key)
{
    struct step step = {.kind = STEP_WORKER_STOP, .device = *key};
    return apply(&step, NULL);
}

static inline int look(const char *netns, struct observed *ret_observed)
{
    const char *names[1] = {netns};
    memset(ret_observed, 0, sizeof *ret_observed);
    struct err err = {0};
    int result = kernel->ops->observe(kernel, names, netns[0] ? 1 : 0, ret_observed, &err);
    if (result < 0)
        print_message("observe: %s\n", err.message);
    return result;
}

/* A copy of the worker as it is seen now; state WORKER_STATE_N: there is none. Its status goes into `status`. */
static inline struct observed_worker worker_of(const struct device_key *key, char status[static 128])
{
    struct observed observed;
    struct observed_worker worker = {.state = WORKER_STATE_N};
    status[0] = '\0';
    assert_int_equal(look("", &observed), 0);
    const struct observed_worker *found = observed_worker_of(&observed, &key->uuid);
    if (found) {
        worker = *found;
        snprintf(status, 128, "%s", found->status);
        worker.status = NULL;
    }
    observed_done(&observed);
    return worker;
}

/* Waits for a state, and for another process than `not_pid`. */
static inline struct observed_worker worker_await(const struct device_key *key, enum worker_state state,
                                                  int32_t not_pid)
{
    char status[128];
    struct observed_worker worker = {0};
    for (int i = 0; i < 500; i++) {
        worker = worker_of(key, status);
        if (worker.state == state && (not_pid == 0 || worker.pid != not_pid))
            return worker;
        wait_ms(20);
    }
    fail_msg("the worker is in state %d, process %d", worker.state, worker.pid);
    return worker;
}

static inline uint64_t page_packets(const struct device_key *key)
{
    const struct counter_page *page;
    assert_int_equal(kernel->ops->page(kernel, &key->uuid, &page, NULL), 0);
    assert_int_equal(page->magic, COUNTER_PAGE_MAGIC);
    assert_true(page->since_ns > 0);
    uint64_t packets = page->slots[0].device_in.packets;
    munmap((void *)(uintptr_t)page, COUNTER_PAGE_SIZE);
    return packets;
}

static inline int netd_tear_down(void **state)
{
    (void)state;
    if (fixture.cannot_run)
        return 0;
    struct observed observed;
    if (look("", &observed) == 0) {
        for (size_t i = 0; i < observed.link_count; i++) {
            const struct observed_link *link = &observed.links[i];
            struct device_key key = {.uuid = link->uuid};
            memcpy(key.name, link->name, sizeof key.name);
            if (link->ours)
                delete (&key, NULL);
        }
        observed_done(&observed);
    }
    kernel->ops->close(kernel);
    return netd_end(SIGTERM);
}

/* The main function of a program of such tests: it is the worker too. */
#define NETD_TEST_MAIN(tests)                                                                                          \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        (void)argc;                                                                                                    \
        const char *slash = strrchr(argv[0], '/');                                                                     \
        if (strcmp(slash ? slash + 1 : argv[0], TEST_WORKER) == 0)                                                     \
            test_worker_run();                                                                                         \
        return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);                                       \
    }

#endif

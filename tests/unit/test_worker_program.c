/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real tunwright-worker, with this program in netd's part. A SOCK_SEQPACKET pair takes the place of the TUN queue:
 * a packet queue as well, and one that needs no root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tunwright/model.h"
#include "tunwright/worker.h"
#include "worker/checksum.h"
#include "worker/packet.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define ECHO        "{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},\"worker\":{\"type\":\"echo\"}}"
#define UDP                                                                                                            \
    "{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},"                                                                \
    "\"worker\":{\"type\":\"udp\",\"local\":\"127.0.0.1:1\",\"remote\":\"127.0.0.1:2\"}}"
#define MONITOR "{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},\"worker\":{\"type\":\"monitor\",\"log_rate\":0}}"

struct program {
    pid_t pid;
    int control;
    struct sockaddr_un listening;
    socklen_t listening_length;
    int page_fd;
    struct counter_page *page;
    int queue, queue_far; /* ours, and the worker's */
    int wire, peer;       /* the worker's socket, and whom it talks to; -1 where there is none */
    char message[1024];   /* the last configure packet */
    size_t message_length;
    char answer[WORKER_MESSAGE_MAX];
    size_t answer_length;
};

/* ---- the program ------------------------------------------------------------------------------------------------- */

static void program_execute(int control, int listening)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 64);
    char *slash;
    char *arguments[] = {path, NULL};

    if (length < 0)
        _exit(126);
    path[length] = '\0';
    slash = strrchr(path, '/');
    strcpy(slash, "/../tunwright-worker");
    control = fcntl(control, F_DUPFD, 10);
    listening = fcntl(listening, F_DUPFD, 10);
    dup2(control, WORKER_CONTROL_FD);
    dup2(listening, WORKER_LISTEN_FD);
    close_range(5, ~0U, 0);
    execv(path, arguments);
    _exit(127);
}

static void program_make_page(struct program *p)
{
    p->page_fd = memfd_create("counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(p->page_fd >= 0);
    assert_int_equal(ftruncate(p->page_fd, COUNTER_PAGE_SIZE), 0);
    p->page = mmap(NULL, COUNTER_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, p->page_fd, 0);
    assert_ptr_not_equal(p->page, MAP_FAILED);
    p->page->magic = COUNTER_PAGE_MAGIC;
    p->page->version = COUNTER_PAGE_VERSION;
    p->page->slot_count = COUNTER_SLOTS;
    assert_int_equal(fcntl(p->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
}

static int program_start(void **state)
{
    struct program *p = calloc(1, sizeof(*p));
    int control[2], queue[2], listening;

    assert_non_null(p);
    p->wire = p->peer = -1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, queue), 0);
    listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(listening >= 0);
    p->listening.sun_family = AF_UNIX; /* an abstract name that the kernel picks */
    assert_int_equal(bind(listening, (struct sockaddr *)&p->listening, sizeof(sa_family_t)), 0);
    p->listening_length = sizeof(p->listening);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&p->listening, &p->listening_length), 0);
    assert_int_equal(listen(listening, 4), 0);
    program_make_page(p);
    p->queue = queue[0];
    p->queue_far = queue[1];
    p->control = control[0];
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0)
        program_execute(control[1], listening);
    close(control[1]);
    close(listening);
    *state = p;
    return 0;
}

static int program_end(void **state)
{
    struct program *p = *state;

    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    munmap(p->page, COUNTER_PAGE_SIZE);
    fd_done(&p->page_fd);
    fd_done(&p->control);
    fd_done(&p->queue);
    fd_done(&p->queue_far);
    fd_done(&p->wire);
    fd_done(&p->peer);
    free(p);
    return 0;
}

static void program_exits_with(struct program *p, int wanted)
{
    int status = -1;

    for (int waited = 0; waited < PATIENCE_MS; waited += 10) {
        if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
            p->pid = 0;
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), wanted);
            return;
        }
        poll(NULL, 0, 10);
    }
    fail_msg("the worker did not exit");
}

/* ---- control ----------------------------------------------------------------------------------------------------- */

static void control_tell(const struct program *p, const char *text, size_t length, const int *fds, size_t fd_count)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int) * WORKER_FDS_MAX)] = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd_count > 0) {
        struct cmsghdr *c;

        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
    }
    assert_int_equal(sendmsg(p->control, &message, MSG_NOSIGNAL), length);
}

static bool readable(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, timeout_ms) > 0;
}

/* The next message; its descriptors, up to three, where they are asked for. */
static void control_hear(struct program *p, int *ret_fds, size_t *ret_count)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int) * 3)];
    struct iovec part = {.iov_base = p->answer, .iov_len = sizeof(p->answer) - 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    struct cmsghdr *c;
    ssize_t n;

    if (ret_fds) {
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
    }
    assert_true(readable(p->control, PATIENCE_MS));
    n = recvmsg(p->control, &message, 0);
    assert_true(n > 0);
    p->answer[n] = '\0';
    p->answer_length = (size_t)n;
    if (!ret_fds)
        return;
    assert_false(message.msg_flags & MSG_CTRUNC);
    c = CMSG_FIRSTHDR(&message);
    *ret_count = c ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
    if (c)
        memcpy(ret_fds, CMSG_DATA(c), *ret_count * sizeof(int));
}

static void answer_begins_with(const struct program *p, const char *text)
{
    if (strncmp(p->answer, text, strlen(text)) != 0)
        fail_msg("expected %s…, got %s", text, p->answer);
}

static void configure_with(struct program *p, const char *config, const char *answer)
{
    const int fds[] = {p->page_fd, p->queue_far, p->wire};
    size_t sockets = p->wire >= 0;

    p->message_length =
        (size_t)snprintf(p->message, sizeof(p->message),
                         "configure queues=1 sockets=%zu tag=0123456789abcdef program=w\n%s", sockets, config);
    control_tell(p, p->message, p->message_length, fds, 2 + sockets);
    do
        control_hear(p, NULL, NULL);
    while (strncmp(p->answer, "status\n", 7) == 0);
    answer_begins_with(p, answer);
}

/* ---- packets ----------------------------------------------------------------------------------------------------- */

static const uint8_t ping[] = {
    0x45, 0x00, 0x00, 0x20, 0x00, 0x07, 0x40, 0x00, 0x40, 0x01, 0x00, 0x00, 192, 168, 3,   11,
    192,  168,  3,    12,   0x08, 0x00, 0x00, 0x00, 0x12, 0x34, 0x00, 0x01, 'p', 'i', 'n', 'g',
};

static void put_checksums(uint8_t *packet, size_t length)
{
    uint16_t check;

    memset(packet + 10, 0, 2);
    check = checksum_finish(checksum_add(0, packet, 20));
    memcpy(packet + 10, &check, 2);
    memset(packet + 22, 0, 2);
    check = checksum_finish(checksum_add(0, packet + 20, length - 20));
    memcpy(packet + 22, &check, 2);
}

static void queue_put(const struct program *p, const void *bytes, size_t length)
{
    static const struct virtio_net_hdr plain;
    struct iovec parts[] = {
        {.iov_base = (void *)(uintptr_t)&plain, .iov_len = sizeof(plain)},
        {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    assert_int_equal(sendmsg(p->queue, &message, MSG_NOSIGNAL), sizeof(plain) + length);
}

static size_t queue_get(const struct program *p, uint8_t *out, size_t room)
{
    static const struct virtio_net_hdr plain;
    struct virtio_net_hdr header;
    struct iovec parts[] = {{.iov_base = &header, .iov_len = sizeof(header)}, {.iov_base = out, .iov_len = room}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n;

    assert_true(readable(p->queue, PATIENCE_MS));
    n = recvmsg(p->queue, &message, 0);
    assert_true(n > (ssize_t)sizeof(header));
    assert_memory_equal(&header, &plain, sizeof(header));
    return (size_t)n - sizeof(header);
}

static void answers_ping(const struct program *p)
{
    uint8_t packet[sizeof(ping)], answer[100];

    memcpy(packet, ping, sizeof(packet));
    put_checksums(packet, sizeof(packet));
    queue_put(p, packet, sizeof(packet));
    assert_int_equal(queue_get(p, answer, sizeof(answer)), sizeof(packet));
    assert_int_equal(answer[20], 0);
    assert_int_equal(answer[15], 12);
    assert_int_equal(answer[19], 11);
}

static uint64_t counter(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static void counter_becomes(const uint64_t *value, uint64_t wanted)
{
    for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
        if (counter(value) == wanted)
            return;
        poll(NULL, 0, 5);
    }
    assert_int_equal(counter(value), wanted);
}

/* ---- all types --------------------------------------------------------------------------------------------------- */

static void echo_answers_and_counts(void **state)
{
    struct program *p = *state;
    struct counter_slot *slot = &p->page->slots[0];

    slot->device_in.packets = 1ULL << 60; /* what an earlier worker left */
    configure_with(p, ECHO, "ready\n{");
    answers_ping(p);
    queue_put(p, ping, sizeof(ping)); /* without its checksums */
    counter_becomes(&slot->drops[DROP_MALFORMED], 1);
    queue_put(p, "junk", 4);
    counter_becomes(&slot->drops[DROP_MALFORMED], 2);
    assert_int_equal(counter(&slot->device_in.packets), (1ULL << 60) + 3);
    assert_int_equal(counter(&slot->device_in.bytes), 2 * sizeof(ping) + 4);
    assert_int_equal(counter(&slot->device_out.packets), 1);
    assert_int_equal(counter(&slot->device_out.bytes), sizeof(ping));
    control_tell(p, "stop\n", 5, NULL, 0);
    program_exits_with(p, 0);
}

static void monitor_drops_and_counts(void **state)
{
    struct program *p = *state;
    struct counter_slot *slot = &p->page->slots[0];

    configure_with(p, MONITOR, "ready\n{");
    for (int i = 0; i < 100; i++)
        queue_put(p, ping, sizeof(ping));
    counter_becomes(&slot->drops[DROP_NOT_FORWARDED], 100);
    assert_int_equal(counter(&slot->device_in.packets), 100);
    assert_int_equal(counter(&slot->device_in.bytes), 100 * sizeof(ping));
    assert_false(readable(p->queue, 0));
}

static void sigterm_ends_it_and_a_terminal_does_not(void **state)
{
    struct program *p = *state;

    configure_with(p, ECHO, "ready\n{");
    kill(p->pid, SIGINT);
    kill(p->pid, SIGHUP);
    kill(p->pid, SIGPIPE);
    answers_ping(p);
    kill(p->pid, SIGTERM);
    program_exits_with(p, 0);
}

/* ---- configuration ----------------------------------------------------------------------------------------------- */

static int open_descriptors(pid_t pid)
{
    char path[64];
    struct stat status;
    int count = 0;

    for (int fd = 0; fd < 256; fd++) {
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
        count += lstat(path, &status) == 0;
    }
    return count;
}

static void refused_configuration_leaves_the_old(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},\"worker\":{\"type\":\"none\"}}",
        "{\"device\":{\"name\":\"tun0\",\"kind\":\"bus\"},\"worker\":{\"type\":\"echo\"}}",
        "{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},\"worker\":{\"type\":\"echo\",\"x\":1}}",
        UDP, /* needs a socket */
    };
    struct program *p = *state;
    const int fds[] = {p->queue_far, p->queue_far};
    int before;

    configure_with(p, bad[0], "failed\n{\"detail\":\"");
    configure_with(p, ECHO, "ready\n{");
    before = open_descriptors(p->pid);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        configure_with(p, bad[i], "failed\n{\"detail\":\"");
    control_tell(p, "configure queues=1 sockets=0\n" ECHO, sizeof("configure queues=1 sockets=0\n" ECHO) - 1, NULL, 0);
    control_hear(p, NULL, NULL);
    answer_begins_with(p, "failed\n"); /* no descriptors */
    control_tell(p, "configure queues=1 sockets=0\n" ECHO, sizeof("configure queues=1 sockets=0\n" ECHO) - 1, fds, 2);
    control_hear(p, NULL, NULL);
    answer_begins_with(p, "failed\n"); /* the first is no page */
    control_tell(p, "\0\0\0", 3, fds, 2);
    control_hear(p, NULL, NULL);
    answer_begins_with(p, "failed\n");
    control_tell(p, "whatever a=b\n", 13, fds, 2); /* unknown: ignored, and its descriptors closed */
    answers_ping(p);
    assert_int_equal(open_descriptors(p->pid), before);
    configure_with(p, MONITOR, "ready\n{");
    queue_put(p, ping, sizeof(ping));
    counter_becomes(&p->page->slots[0].drops[DROP_NOT_FORWARDED], 1);
}

static void configuring_again_loses_and_leaks_nothing(void **state)
{
    struct program *p = *state;
    uint8_t answer[100];
    int before;

    configure_with(p, ECHO, "ready\n{");
    before = open_descriptors(p->pid);
    for (int i = 0; i < 50; i++) {
        uint8_t packet[sizeof(ping)];

        memcpy(packet, ping, sizeof(packet));
        packet[27] = (uint8_t)i;
        put_checksums(packet, sizeof(packet));
        queue_put(p, packet, sizeof(packet));
        configure_with(p, i % 7 == 3 ? "{" : ECHO, i % 7 == 3 ? "failed\n" : "ready\n");
    }
    for (int i = 0; i < 50; i++) {
        assert_int_equal(queue_get(p, answer, sizeof(answer)), sizeof(ping));
        assert_int_equal(answer[27], i);
    }
    assert_int_equal(open_descriptors(p->pid), before);
}

/* ---- netd goes and comes ----------------------------------------------------------------------------------------- */

static void attach(struct program *p)
{
    struct stat mine, theirs;
    int fds[3];
    size_t count;

    fd_done(&p->control);
    answers_ping(p); /* without any netd */
    p->control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(p->control, (struct sockaddr *)&p->listening, p->listening_length), 0);
    control_tell(p, "attach\n", 7, NULL, 0);
    control_hear(p, fds, &count);
    assert_int_equal(p->answer_length, 9 + p->message_length);
    assert_memory_equal(p->answer, "attached\n", 9);
    assert_memory_equal(p->answer + 9, p->message, p->message_length);
    assert_int_equal(count, 2);
    assert_int_equal(fstat(p->page_fd, &mine), 0);
    assert_int_equal(fstat(fds[0], &theirs), 0);
    assert_int_equal(mine.st_ino, theirs.st_ino);
    assert_int_equal(fstat(p->queue_far, &mine), 0);
    assert_int_equal(fstat(fds[1], &theirs), 0);
    assert_int_equal(mine.st_ino, theirs.st_ino);
    close(fds[0]);
    close(fds[1]);
    control_hear(p, NULL, NULL);
    answer_begins_with(p, "status\n{");
}

static void a_later_netd_gets_the_last_configuration(void **state)
{
    struct program *p = *state;
    char first[sizeof(p->message)];
    size_t first_length;

    configure_with(p, ECHO, "ready\n{");
    attach(p);
    attach(p);
    memcpy(first, p->message, sizeof(first));
    first_length = p->message_length;
    configure_with(p, "{", "failed\n");
    memcpy(p->message, first, sizeof(first)); /* the last one in force */
    p->message_length = first_length;
    attach(p);
    configure_with(p, ECHO " ", "ready\n{");
    attach(p);
    control_tell(p, "stop\n", 5, NULL, 0);
    program_exits_with(p, 0);
}

static void nobody_to_work_for(void **state)
{
    struct program *p = *state;

    fd_done(&p->control); /* before it was configured */
    program_exits_with(p, 0);
}

static void a_deleted_device_is_told_and_not_polled(void **state)
{
    struct program *p = *state;
    struct timespec before, after;
    clockid_t clock;

    configure_with(p, ECHO, "ready\n{");
    fd_done(&p->queue);
    control_hear(p, NULL, NULL);
    answer_begins_with(p, "status\n{");
    assert_non_null(strstr(p->answer, "\"queues_gone\":1"));
    assert_int_equal(clock_getcpuclockid(p->pid, &clock), 0);
    assert_int_equal(clock_gettime(clock, &before), 0);
    poll(NULL, 0, 300);
    assert_int_equal(clock_gettime(clock, &after), 0);
    assert_true((after.tv_sec - before.tv_sec) * NSEC_PER_SEC + after.tv_nsec - before.tv_nsec < 100 * NSEC_PER_MSEC);
    control_tell(p, "stop\n", 5, NULL, 0);
    program_exits_with(p, 0);
}

/* ---- udp --------------------------------------------------------------------------------------------------------- */

/* A socket on loopback that tells the TOS it hears; its address as text. */
static int udp_socket(int family, struct sockaddr_storage *ret_address, char ret_text[static ENDPOINT_TEXT_SIZE])
{
    struct endpoint endpoint = {.addr.family = (uint8_t)family};
    socklen_t length;
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

    if (fd < 0)
        return -1;
    assert_int_equal(ip_addr_parse(family == AF_INET ? "127.0.0.1" : "::1", &endpoint.addr), 0);
    length = endpoint_to_sockaddr(&endpoint, ret_address);
    if (bind(fd, (struct sockaddr *)ret_address, length) < 0) {
        close(fd);
        return -1;
    }
    length = sizeof(*ret_address);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, &length), 0);
    assert_int_equal(endpoint_from_sockaddr(ret_address, &endpoint), 0);
    endpoint_print(&endpoint, ret_text);
    if (family == AF_INET)
        setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on));
    else
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof(on));
    return fd;
}

static void udp_configure(struct program *p, int family, struct sockaddr_storage *ret_wire)
{
    char local[ENDPOINT_TEXT_SIZE], remote[ENDPOINT_TEXT_SIZE], config[512];
    struct sockaddr_storage peer;

    p->wire = udp_socket(family, ret_wire, local);
    p->peer = udp_socket(family, &peer, remote);
    if (p->wire < 0 || p->peer < 0)
        skip(); /* no IPv6 here */
    snprintf(config, sizeof(config),
             "{\"device\":{\"name\":\"tun0\",\"kind\":\"tun\"},"
             "\"worker\":{\"type\":\"udp\",\"local\":\"%s\",\"remote\":\"%s\"}}",
             local, remote);
    configure_with(p, config, "ready\n{");
    assert_non_null(strstr(p->answer, "\"path_mtu\":6553")); /* loopback: 65535 in IPv4, 65536 in IPv6 */
}

/* The next datagram at the peer, and the TOS it came with. */
static size_t peer_get(const struct program *p, uint8_t *out, size_t room, uint8_t *ret_tos)
{
    _Alignas(struct cmsghdr) uint8_t control[64];
    struct iovec part = {.iov_base = out, .iov_len = room};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t n;

    assert_true(readable(p->peer, PATIENCE_MS));
    n = recvmsg(p->peer, &message, 0);
    assert_true(n >= 0);
    assert_non_null(CMSG_FIRSTHDR(&message));
    *ret_tos = *CMSG_DATA(CMSG_FIRSTHDR(&message));
    return (size_t)n;
}

static void peer_put(int fd, const struct sockaddr_storage *wire, const void *bytes, size_t length, int tos)
{
    socklen_t size = wire->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

    if (wire->ss_family == AF_INET)
        assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)), 0);
    else
        assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos)), 0);
    assert_int_equal(sendto(fd, bytes, length, 0, (const struct sockaddr *)wire, size), length);
}

static void udp_both_ways(struct program *p, int family)
{
    struct counter_slot *slot = &p->page->slots[0];
    struct sockaddr_storage wire, stranger_address;
    char stranger_text[ENDPOINT_TEXT_SIZE];
    uint8_t packet[sizeof(ping)], out[100], tos;
    int stranger;

    udp_configure(p, family, &wire);
    memcpy(packet, ping, sizeof(packet));
    packet[1] = 0xb9;
    put_checksums(packet, sizeof(packet));
    queue_put(p, packet, sizeof(packet));
    assert_int_equal(peer_get(p, out, sizeof(out), &tos), sizeof(packet));
    assert_memory_equal(out, packet, sizeof(packet));
    assert_int_equal(tos, 0xb9);

    peer_put(p->peer, &wire, packet, sizeof(packet), 3); /* congestion on the way */
    assert_int_equal(queue_get(p, out, sizeof(out)), sizeof(packet));
    assert_int_equal(out[1], 0xbb);
    assert_int_equal(checksum_finish(checksum_add(0, out, 20)), 0);
    packet[1] = 0xb8;
    put_checksums(packet, sizeof(packet));
    peer_put(p->peer, &wire, packet, sizeof(packet), 3);
    counter_becomes(&slot->drops[DROP_ECN], 1);

    stranger = udp_socket(family, &stranger_address, stranger_text);
    peer_put(stranger, &wire, packet, sizeof(packet), 0);
    counter_becomes(&slot->drops[DROP_UNKNOWN_SOURCE], 1);
    close(stranger);
    peer_put(p->peer, &wire, packet, sizeof(packet) - 1, 0);
    peer_put(p->peer, &wire, packet, 0, 0);
    counter_becomes(&slot->drops[DROP_MALFORMED], 2);
    queue_put(p, "\x10nothing of IP", 14);
    counter_becomes(&slot->drops[DROP_MALFORMED], 3);
    assert_false(readable(p->queue, 0));

    assert_int_equal(counter(&slot->device_in.packets), 2);
    assert_int_equal(counter(&slot->wire_out.packets), 1);
    assert_int_equal(counter(&slot->wire_out.bytes), sizeof(packet));
    assert_int_equal(counter(&slot->wire_in.packets), 5);
    assert_int_equal(counter(&slot->wire_in.bytes), 4 * sizeof(packet) - 1);
    assert_int_equal(counter(&slot->device_out.packets), 1);
}

static void udp_over_ipv4(void **state)
{
    udp_both_ways(*state, AF_INET);
}

static void udp_over_ipv6(void **state)
{
    udp_both_ways(*state, AF_INET6);
}

static void udp_too_big(void **state)
{
    struct program *p = *state;
    struct counter_slot *slot = &p->page->slots[0];
    struct sockaddr_storage wire;
    static uint8_t packet[65535], out[65536];
    uint8_t tos;
    size_t first, second;

    udp_configure(p, AF_INET, &wire);
    memcpy(packet, ping, sizeof(ping));
    store_be16(packet + 2, 65535);
    packet[9] = 17;
    put_checksums(packet, sizeof(packet));
    queue_put(p, packet, sizeof(packet)); /* DF is set: told what fits */
    assert_int_equal(queue_get(p, out, sizeof(out)), 576);
    assert_int_equal(out[20], 3);
    assert_int_equal(out[21], 4);
    assert_int_equal(load_be16(out + 26), 65507);
    assert_memory_equal(out + 28, packet, 548);
    counter_becomes(&slot->drops[DROP_TOO_BIG], 1);

    packet[6] = 0; /* DF is not: in two pieces */
    put_checksums(packet, sizeof(packet));
    queue_put(p, packet, sizeof(packet));
    first = peer_get(p, out, sizeof(out), &tos);
    assert_int_equal(first, 65500);
    assert_int_equal(out[6] & 0x20, 0x20);
    second = peer_get(p, out, sizeof(out), &tos);
    assert_int_equal(first + second - 20, sizeof(packet));
    assert_int_equal(load_be16(out + 6), (first - 20) / 8);
    counter_becomes(&slot->wire_out.bytes, first + second);
    assert_int_equal(counter(&slot->wire_out.packets), 2);
    assert_int_equal(counter(&slot->drops[DROP_TOO_BIG]), 1);
}

static void udp_survives_a_refusing_peer(void **state)
{
    struct program *p = *state;
    struct counter_slot *slot = &p->page->slots[0];
    struct sockaddr_storage wire;
    uint8_t packet[sizeof(ping)];

    udp_configure(p, AF_INET, &wire);
    fd_done(&p->peer);
    memcpy(packet, ping, sizeof(packet));
    put_checksums(packet, sizeof(packet));
    /* Many in one batch: the refusal of one is known when the next is to be sent. */
    kill(p->pid, SIGSTOP);
    for (int i = 0; i < 20; i++)
        queue_put(p, packet, sizeof(packet));
    kill(p->pid, SIGCONT);
    do
        control_hear(p, NULL, NULL);
    while (!strstr(p->answer, "\"wire_error\":\"ECONNREFUSED\""));
    /* sent each, not one fails for what became of another */
    counter_becomes(&slot->wire_out.packets, 20);
    assert_int_equal(counter(&slot->drops[DROP_WIRE_ERROR]), 0);
    control_tell(p, "stop\n", 5, NULL, 0);
    program_exits_with(p, 0);
}

static void udp_wants_the_socket_it_was_promised(void **state)
{
    struct program *p = *state;
    struct sockaddr_storage address;
    char local[ENDPOINT_TEXT_SIZE];

    p->wire = udp_socket(AF_INET, &address, local);
    configure_with(p, UDP, "failed\n{\"detail\":\"/worker/local: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(echo_answers_and_counts, program_start, program_end),
        cmocka_unit_test_setup_teardown(monitor_drops_and_counts, program_start, program_end),
        cmocka_unit_test_setup_teardown(sigterm_ends_it_and_a_terminal_does_not, program_start, program_end),
        cmocka_unit_test_setup_teardown(refused_configuration_leaves_the_old, program_start, program_end),
        cmocka_unit_test_setup_teardown(configuring_again_loses_and_leaks_nothing, program_start, program_end),
        cmocka_unit_test_setup_teardown(a_later_netd_gets_the_last_configuration, program_start, program_end),
        cmocka_unit_test_setup_teardown(nobody_to_work_for, program_start, program_end),
        cmocka_unit_test_setup_teardown(a_deleted_device_is_told_and_not_polled, program_start, program_end),
        cmocka_unit_test_setup_teardown(udp_over_ipv4, program_start, program_end),
        cmocka_unit_test_setup_teardown(udp_over_ipv6, program_start, program_end),
        cmocka_unit_test_setup_teardown(udp_too_big, program_start, program_end),
        cmocka_unit_test_setup_teardown(udp_survives_a_refusing_peer, program_start, program_end),
        cmocka_unit_test_setup_teardown(udp_wants_the_socket_it_was_promised, program_start, program_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

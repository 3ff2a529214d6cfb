/* SPDX-License-Identifier: Apache-2.0 */
/* Packets with descriptors: whatever arrives, none is left open by accident. */
#include "tunwright/ipc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2];

static int set_up(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int tear_down(void **state)
{
    (void)state;
    fd_done(&ends[0]);
    fd_done(&ends[1]);
    return 0;
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void passes_text(void **state)
{
    (void)state;
    char out[16];
    size_t length = 0;
    assert_int_equal(seqpacket_send(ends[0], "head", 4, "text", 4, NULL, 0, 0), 0);
    assert_int_equal(seqpacket_send(ends[0], "x", 1, NULL, 0, NULL, 0, 0), 0);
    assert_int_equal(seqpacket_receive(ends[1], out, sizeof out, &length, NULL, NULL, 0), 0);
    assert_int_equal(length, 8);
    assert_memory_equal(out, "headtext", 8);
    assert_int_equal(seqpacket_receive(ends[1], out, 1, &length, NULL, NULL, 0), 0);
    assert_int_equal(length, 1);
    assert_int_equal(seqpacket_receive(ends[1], out, 1, &length, NULL, NULL, MSG_DONTWAIT), -EAGAIN);
    assert_int_equal(seqpacket_send(ends[0], "", 0, NULL, 0, NULL, 0, 0), -EINVAL);
}

static void passes_descriptors(void **state)
{
    (void)state;
    char out[4];
    size_t length = 0, count = IPC_FDS_MAX, before = open_descriptors();
    int fds[IPC_FDS_MAX], sent[IPC_FDS_MAX];
    struct stat a, b;
    for (size_t i = 0; i < IPC_FDS_MAX; i++)
        sent[i] = (int)(i % 2);
    sent[0] = ends[0];
    assert_int_equal(seqpacket_send(ends[0], "x", 1, NULL, 0, sent, IPC_FDS_MAX, 0), 0);
    assert_int_equal(seqpacket_receive(ends[1], out, sizeof out, &length, fds, &count, 0), 0);
    assert_int_equal(count, IPC_FDS_MAX);
    assert_int_equal(open_descriptors(), before + IPC_FDS_MAX);
    assert_int_equal(fcntl(fds[3], F_GETFD), FD_CLOEXEC);
    assert_int_equal(fstat(fds[0], &a), 0);
    assert_int_equal(fstat(ends[0], &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    assert_int_equal(seqpacket_send(ends[0], "x", 1, NULL, 0, sent, IPC_FDS_MAX + 1, 0), -EINVAL);
}

/* A sender of its own, which may send what seqpacket_send would not. */
static void send_raw(const void *data, size_t length, size_t fd_count)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int) * 64)];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {(void *)(uintptr_t)data, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
        *cmsg = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int) * fd_count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        for (size_t i = 0; i < fd_count; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &ends[0], sizeof(int));
    }
    assert_int_equal(sendmsg(ends[0], &message, 0), length);
}

static void surplus_is_closed(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        size_t length, fd_count, room, fd_room;
        int expected;
    } cases[] = {
        {"more than there is room for", 1, 3, 4, 2, -EMSGSIZE},         {"no room for any", 1, 1, 4, 0, -EMSGSIZE},
        {"more than any packet has", 1, 60, 4, IPC_FDS_MAX, -EMSGSIZE}, {"a packet cut short", 9, 2, 4, 2, -EMSGSIZE},
        {"a packet cut short, without", 9, 0, 4, 2, -EMSGSIZE},         {"an empty packet", 0, 2, 4, 2, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char out[8] = "";
        int fds[IPC_FDS_MAX];
        size_t length = 99, count = cases[i].fd_room, before = open_descriptors();
        send_raw("123456789", cases[i].length, cases[i].fd_count);
        int result = seqpacket_receive(ends[1], out, cases[i].room, &length, fds, &count, 0);
        if (result != cases[i].expected || count != 0 || open_descriptors() != before)
            fail_msg("%s: %d, %zu descriptors", cases[i].what, result, count);
    }
}

static void end_of_file(void **state)
{
    (void)state;
    char out[4];
    size_t length = 99;
    fd_done(&ends[0]);
    assert_int_equal(seqpacket_receive(ends[1], out, sizeof out, &length, NULL, NULL, 0), 0);
    assert_int_equal(length, 0);
    assert_int_equal(seqpacket_send(ends[1], "x", 1, NULL, 0, NULL, 0, 0), -EPIPE);
}

static void listens(void **state)
{
    (void)state;
    char directory[] = "/tmp/test_seqpacket.XXXXXX", path[64], out[4], longer[200];
    int listener = -1, second = -1, client = -1;
    struct stat file;
    struct err err;
    size_t length = 0;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/sock", directory);
    mode_t before = umask(07);

    assert_true(seqpacket_connect(path, &client, &err) == -ENOENT);
    assert_int_equal(seqpacket_listen(path, 0666, &listener, &err), 0);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0660);
    assert_int_equal(seqpacket_listen(path, 0600, &second, &err), -EADDRINUSE);
    assert_int_equal(err.sys_errno, EADDRINUSE);
    assert_int_equal(seqpacket_connect(path, &client, &err), 0);
    assert_false(fcntl(client, F_GETFL) & O_NONBLOCK);
    close(accept(listener, NULL, NULL)); /* the second listener's question whether anybody is there */
    int accepted = accept(listener, NULL, NULL);
    assert_int_equal(seqpacket_send(client, "hi", 2, NULL, 0, NULL, 0, 0), 0);
    assert_int_equal(seqpacket_receive(accepted, out, sizeof out, &length, NULL, NULL, 0), 0);
    assert_int_equal(length, 2);
    close(accepted);
    fd_done(&client);

    /* what is left over is removed; what is no socket is not */
    fd_done(&listener);
    assert_int_equal(seqpacket_connect(path, &client, &err), -ECONNREFUSED);
    assert_int_equal(seqpacket_listen(path, 0600, &listener, &err), 0);
    fd_done(&listener);
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_true(seqpacket_listen(path, 0600, &listener, &err) < 0);
    assert_int_equal(access(path, F_OK), 0);

    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(seqpacket_listen(longer, 0600, &listener, &err), -ENAMETOOLONG);
    assert_int_equal(seqpacket_connect("", &client, &err), -ENAMETOOLONG);
    umask(before);
    unlink(path);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(passes_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(passes_descriptors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(surplus_is_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(end_of_file, set_up, tear_down),
        cmocka_unit_test(listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

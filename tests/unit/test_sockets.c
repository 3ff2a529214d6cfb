/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's sockets as netd opens and keeps them: ports, mark and interface. In a network namespace of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "netd/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct socket_spec spec_of(const char *local, uint32_t count, uint32_t mark, const char *interface)
{
    struct socket_spec spec = {.type = SOCK_DGRAM, .count = count, .mark = mark};
    assert_int_equal(endpoint_parse(local, &spec.local), 0);
    assert_int_equal(text_copy(spec.interface, sizeof spec.interface, interface), 0);
    return spec;
}

static void expect_way(int fd, const char *local, uint32_t mark, const char *interface)
{
    char found[IFNAMSIZ] = "", text[ENDPOINT_TEXT_SIZE];
    struct sockaddr_storage address;
    struct endpoint bound;
    uint32_t found_mark = UINT32_MAX;
    socklen_t size = sizeof found_mark, name_size = sizeof found, address_size = sizeof address;
    memset(&address, 0, sizeof address);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &address_size), 0);
    assert_int_equal(endpoint_from_sockaddr(&address, &bound), 0);
    assert_string_equal(endpoint_print(&bound, text), local);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_MARK, &found_mark, &size), 0);
    assert_int_equal(found_mark, mark);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, found, &name_size), 0);
    assert_string_equal(found, interface);
}

/* Two descriptors of one open socket: what is set on one is set on the other. */
static bool same_socket(int a, int b)
{
    uint64_t cookies[2] = {0};
    socklen_t size = sizeof cookies[0];
    assert_int_equal(getsockopt(a, SOL_SOCKET, SO_COOKIE, &cookies[0], &size), 0);
    assert_int_equal(getsockopt(b, SOL_SOCKET, SO_COOKIE, &cookies[1], &size), 0);
    return cookies[0] == cookies[1];
}

static void a_range_of_ports(void **state)
{
    struct socket_spec specs[2] = {spec_of("127.0.0.1:5000", 3, 7, "lo"), spec_of("[::1]:5000", 1, 0, "")};
    struct socket_set sockets;
    (void)state;
    assert_int_equal(sockets_open(specs, 2, NULL, &sockets, NULL), 0);
    assert_int_equal(sockets.count, 4);
    expect_way(sockets.fds[0], "127.0.0.1:5000", 7, "lo");
    expect_way(sockets.fds[1], "127.0.0.1:5001", 7, "lo");
    expect_way(sockets.fds[2], "127.0.0.1:5002", 7, "lo");
    expect_way(sockets.fds[3], "[::1]:5000", 0, "");
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(socket_is_sound(sockets.fds[i]));
        assert_int_equal(fcntl(sockets.fds[i], F_GETFD), FD_CLOEXEC);
        assert_true(fcntl(sockets.fds[i], F_GETFL) & O_NONBLOCK);
    }
    sockets_close(&sockets);
    assert_int_equal(sockets.count, 0);

    assert_int_equal(sockets_open(NULL, 0, NULL, &sockets, NULL), 0);
    assert_int_equal(sockets.count, 0);
}

static void any_address_of_either_family(void **state)
{
    struct socket_spec specs[2] = {spec_of("[::]:5000", 1, 0, ""), spec_of("0.0.0.0:5000", 1, 0, "")};
    struct socket_set sockets;
    (void)state;
    assert_int_equal(sockets_open(specs, 2, NULL, &sockets, NULL), 0);
    sockets_close(&sockets);
}

static void what_is_not_sound(void **state)
{
    int fds[] = {socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                 socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), open("/dev/null", O_RDWR | O_CLOEXEC)};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        assert_true(fds[i] >= 0);
        assert_false(socket_is_sound(fds[i]));
        close(fds[i]);
    }
}

/* The same open socket goes on, and what is new of its way is set at once; other ports are other sockets. */
static void kept_and_led_another_way(void **state)
{
    struct socket_spec before = spec_of("127.0.0.1:5000", 2, 7, ""), after = spec_of("127.0.0.1:5001", 2, 0, "lo");
    struct socket_set held, next, again;
    (void)state;
    assert_int_equal(sockets_open(&before, 1, NULL, &held, NULL), 0);
    assert_int_equal(sockets_open(&after, 1, &held, &next, NULL), 0);
    assert_true(same_socket(held.fds[1], next.fds[0]));
    assert_int_equal(fcntl(next.fds[0], F_GETFD), FD_CLOEXEC);
    assert_false(same_socket(held.fds[1], next.fds[1]));
    expect_way(held.fds[0], "127.0.0.1:5000", 7, "");
    expect_way(held.fds[1], "127.0.0.1:5001", 0, "lo");
    expect_way(next.fds[1], "127.0.0.1:5002", 0, "lo");

    /* it did not come into force */
    sockets_undo(&next);
    sockets_close(&next);
    expect_way(held.fds[1], "127.0.0.1:5001", 7, "");

    /* it did, and then all of it is taken away again */
    assert_int_equal(sockets_open(&after, 1, &held, &next, NULL), 0);
    sockets_close(&held);
    before = spec_of("127.0.0.1:5001", 1, 0, "");
    assert_int_equal(sockets_open(&before, 1, &next, &again, NULL), 0);
    expect_way(next.fds[0], "127.0.0.1:5001", 0, "");
    expect_way(next.fds[1], "127.0.0.1:5002", 0, "lo");
    sockets_close(&next);
    sockets_close(&again);
}

static void an_interface_that_is_not_there(void **state)
{
    struct socket_spec before = spec_of("127.0.0.1:5000", 2, 7, "lo"),
                       after = spec_of("127.0.0.1:5000", 2, 9, "nowhere0");
    struct socket_set held, next;
    struct err err = {0};
    (void)state;
    assert_int_equal(sockets_open(&after, 1, NULL, &next, &err), -ENODEV);
    assert_string_equal(err.pointer, "/worker/interface");
    assert_string_equal(err.operation, "SO_BINDTODEVICE");
    assert_int_equal(err.code, ERR_KERNEL_REFUSED);
    assert_non_null(strstr(err.message, "nowhere0"));

    assert_int_equal(sockets_open(&before, 1, NULL, &held, NULL), 0);
    assert_int_equal(sockets_open(&after, 1, &held, &next, &err), -ENODEV);
    expect_way(held.fds[0], "127.0.0.1:5000", 7, "lo");
    expect_way(held.fds[1], "127.0.0.1:5001", 7, "lo");
    sockets_close(&held);
}

static int interface_make(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    assert_int_equal(text_copy(request.ifr_name, sizeof request.ifr_name, name), 0);
    assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
    return fd;
}

static int bound_to(int fd)
{
    int ifindex = -1;
    socklen_t size = sizeof ifindex;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &ifindex, &size), 0);
    return ifindex;
}

/* The kernel leaves a socket bound to it, by which nothing goes out any more. */
static void an_interface_that_has_gone(void **state)
{
    struct socket_spec by = spec_of("127.0.0.1:5000", 1, 0, "gone0"), plain = spec_of("127.0.0.1:5000", 1, 0, "");
    struct socket_set held, next;
    int interface = interface_make("gone0");
    (void)state;
    assert_int_equal(sockets_open(&by, 1, NULL, &held, NULL), 0);
    int first = bound_to(held.fds[0]);
    assert_int_equal(first, if_nametoindex("gone0"));
    close(interface);
    assert_int_equal(sockets_open(&by, 1, &held, &next, NULL), -ENODEV);
    assert_int_equal(bound_to(held.fds[0]), first);

    assert_int_equal(sockets_open(&plain, 1, &held, &next, NULL), 0);
    assert_int_equal(bound_to(next.fds[0]), 0);
    sockets_undo(&next); /* to none, and so not by another */
    sockets_close(&next);
    assert_int_equal(bound_to(held.fds[0]), first);

    interface = interface_make("gone0");
    assert_int_not_equal(if_nametoindex("gone0"), first);
    assert_int_equal(sockets_open(&by, 1, &held, &next, NULL), 0);
    assert_int_equal(bound_to(next.fds[0]), if_nametoindex("gone0"));
    sockets_close(&next);
    sockets_close(&held);
    close(interface);
}

/* It says which of them it is, leaves none, and those that were kept are as they were. */
static void a_port_that_is_taken(void **state)
{
    struct socket_spec taken = spec_of("127.0.0.1:5002", 1, 0, ""), before = spec_of("127.0.0.1:5000", 1, 7, ""),
                       after = spec_of("127.0.0.1:5000", 4, 9, "");
    struct socket_set other, held, next = {.count = 99};
    struct err err = {0};
    (void)state;
    assert_int_equal(sockets_open(&taken, 1, NULL, &other, NULL), 0);
    assert_int_equal(sockets_open(&before, 1, NULL, &held, NULL), 0);
    assert_int_equal(sockets_open(&after, 1, &held, &next, &err), -EADDRINUSE);
    assert_int_equal(err.code, ERR_ADDRESS_IN_USE);
    assert_string_equal(err.pointer, "/worker/local");
    assert_non_null(strstr(err.message, "127.0.0.1:5002"));
    assert_int_equal(next.count, 99);
    expect_way(held.fds[0], "127.0.0.1:5000", 7, "");
    sockets_close(&other);
    assert_int_equal(sockets_open(&after, 1, &held, &next, &err), 0);
    assert_int_equal(next.count, 4);
    sockets_close(&next);
    sockets_close(&held);
}

/* What the kernel takes side by side, and what not: by the rule, and by trying. */
static void who_collides(void **state)
{
    static const struct {
        const char *local;
        uint32_t count;
        const char *interface;
        bool collides;
    } cases[] = {
        {"127.0.0.1:5000", 1, "", false},   {"127.0.0.1:5000", 10, "", false}, {"127.0.0.1:5000", 11, "", true},
        {"127.0.0.1:5010", 1, "", true},    {"127.0.0.1:5013", 1, "", true},   {"127.0.0.1:5013", 16, "lo", true},
        {"127.0.0.1:5014", 16, "", false},  {"127.0.0.1:5005", 16, "", true},  {"[::1]:5010", 4, "", false},
        {"127.0.0.2:5010", 4, "lo", false}, {"127.0.0.1:5010", 4, "lo", true},
    };
    struct socket_spec one = spec_of("127.0.0.1:5010", 4, 0, "lo");
    struct socket_set held, next;
    (void)state;
    assert_int_equal(sockets_open(&one, 1, NULL, &held, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct socket_spec other = spec_of(cases[i].local, cases[i].count, 0, cases[i].interface);
        int result = sockets_open(&other, 1, NULL, &next, NULL);
        if (result == 0)
            sockets_close(&next);
        if (socket_specs_collide(&one, &other) != cases[i].collides ||
            socket_specs_collide(&other, &one) != cases[i].collides || (result == -EADDRINUSE) != cases[i].collides)
            fail_msg("%s, %u: %d", cases[i].local, (unsigned)cases[i].count, result);
    }
    sockets_close(&held);
    struct socket_spec another = spec_of("127.0.0.1:5010", 4, 0, "eth7");
    assert_false(socket_specs_collide(&one, &another));
}

/* Those that are bound to every address: of their family only. */
static void who_collides_with_all_addresses(void **state)
{
    static const char *const locals[] = {"0.0.0.0:5010", "127.0.0.1:5010", "127.0.0.2:5010",
                                         "[::]:5010",    "[::1]:5010",     "0.0.0.0:5011"};
    static const bool collide[ARRAY_SIZE(locals)][ARRAY_SIZE(locals)] = {
        {1, 1, 1}, {1, 1}, {1, 0, 1}, {0, 0, 0, 1, 1}, {0, 0, 0, 1, 1}, {[5] = 1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(locals); i++)
        for (size_t j = 0; j < ARRAY_SIZE(locals); j++) {
            struct socket_spec one = spec_of(locals[i], 1, 0, ""), other = spec_of(locals[j], 1, 0, "");
            struct socket_set held, next;
            assert_int_equal(sockets_open(&one, 1, NULL, &held, NULL), 0);
            int result = sockets_open(&other, 1, NULL, &next, NULL);
            if (result == 0)
                sockets_close(&next);
            sockets_close(&held);
            if (socket_specs_collide(&one, &other) != collide[i][j] || (result == -EADDRINUSE) != collide[i][j])
                fail_msg("%s, %s: %d", locals[i], locals[j], result);
        }
    struct socket_spec all = spec_of("0.0.0.0:5010", 1, 0, "lo"), another = spec_of("127.0.0.1:5010", 1, 0, "eth7");
    assert_false(socket_specs_collide(&all, &another));
}

/* A namespace of our own, with nothing but lo. */
static int unshare_network(void **state)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    (void)state;
    if (unshare(CLONE_NEWNET) < 0) {
        printf("needs root, for a network namespace\n");
        return -1;
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result = ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
    return result;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_of_ports),
        cmocka_unit_test(any_address_of_either_family),
        cmocka_unit_test(what_is_not_sound),
        cmocka_unit_test(kept_and_led_another_way),
        cmocka_unit_test(an_interface_that_is_not_there),
        cmocka_unit_test(an_interface_that_has_gone),
        cmocka_unit_test(a_port_that_is_taken),
        cmocka_unit_test(who_collides),
        cmocka_unit_test(who_collides_with_all_addresses),
    };
    return cmocka_run_group_tests(tests, unshare_network, NULL);
}

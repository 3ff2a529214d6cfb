/* SPDX-License-Identifier: Apache-2.0 */
/* The real tunwright-netd through the real provider: devices, and the door. */
#include "netd_fixture.h"

#include "ipc/client.h"

#include <linux/if_tun.h>
#include <net/if.h>
#include <stdalign.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

/* ---- devices ----------------------------------------------------------------------------------------------------- */

static void device_life(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 1);
    struct observed observed;
    struct link_stats stats;
    struct err err;

    assert_true(kernel->ops->connected(kernel));
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(create(&key, 1, &err), -EEXIST);
    assert_int_equal(err.code, ERR_ALREADY_EXISTS);
    assert_int_equal(set_up(&key, true), 0);

    struct step step = {.kind = STEP_ADDRESS_ADD, .device = key};
    ip_prefix_parse("192.168.3.11/24", &step.address);
    assert_int_equal(apply(&step, NULL), 0);
    assert_int_equal(apply(&step, &err), -EEXIST);
    assert_int_equal(err.code, ERR_KERNEL_REFUSED);
    assert_int_equal(err.sys_errno, EEXIST);

    struct step route = {.kind = STEP_ROUTE_ADD, .device = key, .route = {.table = 254, .metric = 7}};
    ip_prefix_parse("10.9.0.0/16", &route.route.to);
    assert_int_equal(apply(&route, NULL), 0);

    assert_int_equal(look("", &observed), 0);
    const struct observed_link *link = observed_link_find(&observed, "", "tun0");
    assert_non_null(link);
    assert_true(link->ours && link->up && link->carrier);
    assert_int_equal(link->address_count >= 1, 1);
    assert_int_equal(link->route_count, 1);
    assert_int_equal(kernel->ops->stats(kernel, "", link->ifindex, &stats), 0);
    assert_int_equal(kernel->ops->stats(kernel, "", 9999, &stats), -ENODEV);
    observed_done(&observed);

    /* the same name with another uuid is another device, and so is another name with this uuid */
    struct device_key other = key_of("", "tun0", 2);
    assert_int_equal(delete (&other, &err), -ENODEV);
    other = key_of("", "tun1", 1);
    assert_int_equal(delete (&other, &err), -ENODEV);
    assert_int_equal(create(&key, 1, &err), -EEXIST);

    route.kind = STEP_ROUTE_DELETE;
    route.protocol = NET_PROTOCOL;
    assert_int_equal(apply(&route, NULL), 0);
    assert_int_equal(delete (&key, NULL), 0);
    assert_int_equal(delete (&key, &err), -ENODEV);
}

static void foreign_device(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "foreign", 3);
    struct step step = {.kind = STEP_ADDRESS_ADD, .device = key};
    struct err err;
    assert_int_equal(system("ip tuntap add foreign mode tun"), 0);
    ip_prefix_parse("192.168.3.11/24", &step.address);
    assert_int_equal(create(&key, 1, &err), -EEXIST);
    assert_int_equal(err.code, ERR_FOREIGN_DEVICE);
    assert_int_equal(apply(&step, &err), -ENODEV);
    assert_int_equal(delete (&key, &err), -ENODEV);
    assert_int_equal(work(STEP_WORKER_START, &key, "{}", NULL, 1, &err), -ENODEV);
    assert_int_equal(system("ip link delete foreign"), 0);
}

static int adopt(const struct device_key *key, enum device_kind kind, uint32_t queues, struct err *ret_err)
{
    struct step step = {.kind = STEP_DEVICE_ADOPT, .device = *key, .adopt = {.kind = kind, .queues = queues}};
    return apply(&step, ret_err);
}

static int release(const struct device_key *key, struct err *ret_err)
{
    struct step step = {.kind = STEP_DEVICE_RELEASE, .device = *key};
    return apply(&step, ret_err);
}

/* What ip(8) says of a device, its addresses and routes; without what its traffic changes. */
static char *ip_says(const char *name)
{
    char command[512], *text = calloc(1, 16384);
    assert_non_null(text);
    snprintf(command, sizeof command,
             "(ip -d link show dev %s; ip address show dev %s; ip route show dev %s table all; ip -6 route show dev %s "
             "table all) | sed 's/,LOWER_UP//; s/NO-CARRIER,//; s/state [A-Z]* //; s/ linkdown//'",
             name, name, name, name);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = fread(text, 1, 16383, pipe);
    assert_int_equal(pclose(pipe), 0);
    assert_true(length > 0);
    return text;
}

static void adopted_device(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "theirs", 3), other = key_of("", "theirs", 4), absent = key_of("", "absent", 3);
    struct observed observed;
    struct step step = {.kind = STEP_ROUTE_DELETE, .device = key, .route = {.table = 254}};
    struct err err;
    assert_int_equal(
        system("ip tuntap add theirs mode tun && ip link set theirs up mtu 1400 &&"
               "ip address add 192.168.3.11/24 dev theirs && ip address add fd00:3::1/64 dev theirs nodad &&"
               "ip route add 10.9.0.0/16 via 192.168.3.1 metric 7 && ip route add fd09::/32 dev theirs &&"
               "ip route add 10.8.0.0/16 dev theirs proto static && ip route add 10.7.0.0/16 dev theirs "
               "proto bird && sleep 0.2"),
        0);
    char *was = ip_says("theirs");
    assert_int_equal(look("", &observed), 0);
    const struct observed_link *link = observed_link_find(&observed, "", "theirs");
    assert_non_null(link);
    assert_true(link->persistent && !link->has_alias && !link->ours);
    assert_int_equal(link->route_count, 0);
    assert_int_equal(link->foreign_route_count, 3);
    observed_done(&observed);

    assert_int_equal(adopt(&key, DEVICE_TAP, 0, &err), -EINVAL);
    assert_int_equal(adopt(&absent, DEVICE_TUN, 0, &err), -ENODEV);
    assert_int_equal(adopt(&key, DEVICE_TUN, 0, NULL), 0);
    assert_int_equal(adopt(&key, DEVICE_TUN, 0, NULL), 0);
    assert_int_equal(adopt(&other, DEVICE_TUN, 0, &err), -EEXIST);
    assert_int_equal(err.code, ERR_FOREIGN_DEVICE);
    assert_int_equal(release(&other, &err), -ENODEV);
    assert_int_equal(release(&key, NULL), 0);
    char *is = ip_says("theirs");
    assert_string_equal(is, was);
    free(is);

    /* with a worker, and back: twice, for the first carrier of its life makes the kernel give it a link-local address */
    for (int i = 0; i < 2; i++) {
        free(was);
        was = ip_says("theirs");
        assert_int_equal(adopt(&key, DEVICE_TUN, 1, NULL), 0);
        assert_int_equal(start(&key, "{}"), 0);
        assert_int_equal(release(&key, NULL), 0); /* the worker first */
    }
    is = ip_says("theirs");
    assert_string_equal(is, was);
    free(is);
    free(was);

    /* what was listed may go; what is a routing daemon's cannot even be named */
    assert_int_equal(ip_prefix_parse("10.9.0.0/16", &step.route.to), 0);
    step.route.metric = 7;
    step.protocol = NET_PROTOCOL_BOOT;
    assert_int_equal(apply(&step, &err), -ENODEV); /* without our mark nothing goes */
    assert_int_equal(adopt(&key, DEVICE_TUN, 0, NULL), 0);
    step.protocol = NET_PROTOCOL;
    assert_int_equal(apply(&step, &err), -ESRCH);
    step.protocol = NET_PROTOCOL_BOOT;
    assert_int_equal(apply(&step, NULL), 0);
    step.route.metric = 0;
    assert_int_equal(ip_prefix_parse("10.7.0.0/16", &step.route.to), 0);
    for (unsigned protocol = 0; protocol < 256; protocol++) {
        step.protocol = (uint8_t)protocol;
        assert_true(apply(&step, &err) < 0);
    }
    assert_int_equal(system("ip route show 10.7.0.0/16 | grep -q theirs"), 0);
    assert_int_equal(delete (&key, NULL), 0);
}

static void adopted_queues(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "theirs", 3);
    struct observed observed;
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    struct err err;
    assert_int_equal(system("ip link add bridge0 type bridge"), 0);
    struct device_key bridge = key_of("", "bridge0", 5);
    assert_int_equal(adopt(&bridge, DEVICE_TAP, 0, &err), -EINVAL);

    /* a queue that somebody holds: all right until a worker needs it */
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    memcpy(request.ifr_name, "theirs", 7);
    assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
    assert_int_equal(adopt(&key, DEVICE_TUN, 0, &err), -EINVAL); /* it goes with its program */
    assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
    assert_int_equal(adopt(&key, DEVICE_TUN, 1, &err), -EBUSY);
    assert_int_equal(look("", &observed), 0);
    assert_false(observed_link_find(&observed, "", "theirs")->has_alias);
    observed_done(&observed);
    assert_int_equal(adopt(&key, DEVICE_TUN, 0, NULL), 0);
    assert_int_equal(work(STEP_WORKER_START, &key, "{}", NULL, 1, &err), -EBUSY);
    assert_int_equal(adopt(&key, DEVICE_TUN, 1, &err), -EBUSY); /* it stays ours all the same */
    assert_int_equal(look("", &observed), 0);
    assert_true(observed_link_find(&observed, "", "theirs")->ours);
    observed_done(&observed);
    close(fd);
    assert_int_equal(start(&key, "{}"), 0);
    assert_int_equal(delete (&key, NULL), 0);

    /* several of them */
    assert_int_equal(system("ip tuntap add theirs mode tap multi_queue"), 0);
    assert_int_equal(adopt(&key, DEVICE_TAP, 3, NULL), 0);
    assert_int_equal(look("", &observed), 0);
    assert_int_equal(observed_link_find(&observed, "", "theirs")->queue_count, 3);
    observed_done(&observed);
    assert_int_equal(release(&key, NULL), 0);
    assert_int_equal(look("", &observed), 0);
    assert_int_equal(observed_link_find(&observed, "", "theirs")->queue_count, 0);
    assert_true(observed_link_find(&observed, "", "theirs")->persistent);
    observed_done(&observed);
    assert_int_equal(system("ip link delete theirs"), 0);
}

static void owners(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("", "tun0", 4);
    struct observed observed;
    struct step step = {
        .kind = STEP_LINK_SET, .device = key, .link = {.set = LINK_OWNER | LINK_MTU, .owner = 1000, .mtu = 1400}};
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(netd_end(SIGKILL), -SIGKILL); /* and with it the queues that netd held */
    netd_start();
    assert_int_equal(apply(&step, NULL), 0);
    assert_int_equal(look("", &observed), 0);
    const struct observed_link *link = observed_link_find(&observed, "", "tun0");
    assert_non_null(link);
    assert_int_equal(link->owner, 1000);
    assert_int_equal(link->mtu, 1400);
    observed_done(&observed);
}

static void named_netns(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct device_key key = key_of("blue", "tun0", 5);
    struct observed observed;
    struct link_stats stats;
    struct err err;
    assert_int_equal(create(&key, 1, &err), -ENOENT);
    assert_int_equal(system("ip netns add blue"), 0);
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(start(&key, "{}"), 0);
    assert_int_equal(look("blue", &observed), 0);
    const struct observed_link *link = observed_link_find(&observed, "blue", "tun0");
    assert_non_null(link);
    assert_true(link->ours);
    assert_int_equal(kernel->ops->stats(kernel, "blue", link->ifindex, &stats), 0);
    int32_t pid = observed_worker_of(&observed, &key.uuid)->pid;
    observed_done(&observed);

    /* a new netd finds the worker's device where it is */
    assert_int_equal(netd_end(SIGKILL), -SIGKILL);
    netd_start();
    assert_int_equal(worker_await(&key, WORKER_RUNNING, 0).pid, pid);

    /* the name goes: so does our hold on what it meant, and its worker */
    assert_int_equal(system("ip netns delete blue"), 0);
    worker_await(&key, WORKER_STATE_N, 0);
    assert_int_equal(look("blue", &observed), 0);
    assert_null(observed_link_find(&observed, "blue", "tun0"));
    observed_done(&observed);
    assert_int_equal(kernel->ops->stats(kernel, "blue", 2, &stats), -ENODEV);

    assert_int_equal(system("ip netns add blue"), 0);
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_int_equal(delete (&key, NULL), 0);
    assert_int_equal(system("ip netns delete blue"), 0);
}

/* ---- the door ---------------------------------------------------------------------------------------------------- */

static void other_user_refused(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct stat file;
    assert_int_equal(stat(fixture.socket, &file), 0);
    assert_int_equal(file.st_uid, TEST_USER);
    assert_int_equal(file.st_mode & 07777, 0600);
    assert_int_equal(chmod(fixture.socket, 0666), 0);
    for (uint32_t uid = TEST_USER; uid <= TEST_WORKER_USER; uid++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct ipc_client client = {.fd = -1};
            if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
                _exit(9);
            _exit(ipc_client_connect(&client, fixture.socket, 3000, NULL) == 0 ? 0 : 1);
        }
        int status = 0;
        waitpid(pid, &status, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), uid == TEST_USER ? 0 : 1);
    }
}

static int raw_connect(bool greet)
{
    struct ipc_client client = {.fd = -1};
    if (greet)
        assert_int_equal(ipc_client_connect(&client, fixture.socket, 3000, NULL), 0);
    else
        assert_int_equal(seqpacket_connect(fixture.socket, &client.fd, NULL), 0);
    return client.fd;
}

/* The error of the reply; 1: the connection was closed instead. */
static int raw_ask(int fd, const void *packet, size_t length, const int *fds, size_t fd_count)
{
    alignas(struct ipc_reply) char reply[sizeof(struct ipc_reply) + WORKER_STATUS_MAX];
    const struct ipc_reply *checked;
    const char *text;
    size_t got = 0;
    if (seqpacket_send(fd, packet, length, NULL, 0, fds, fd_count, 0) < 0)
        return 1;
    if (seqpacket_receive(fd, reply, sizeof reply, &got, NULL, NULL, 0) < 0 || got == 0)
        return 1;
    assert_int_equal(ipc_reply_check(reply, got, &checked, &text, NULL), 0);
    return checked->error;
}

static void malformed_packets(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct ipc_request good = {.magic = IPC_MAGIC, .size = sizeof good, .op = IPC_WORKER_STOP, .serial = 1};
    good.device = key_of("", "tun0", 16);
    struct {
        const char *what;
        int expected;
        size_t length;
        struct ipc_request request;
    } cases[] = {
        {"as it should be", 0, sizeof good, good}, {"short", 1, sizeof good - 1, good},  {"one byte", 1, 1, good},
        {"long", -EINVAL, sizeof good + 1, good},  {"magic", 1, sizeof good, good},      {"size", 1, sizeof good, good},
        {"op", -EINVAL, sizeof good, good},        {"uuid", -EINVAL, sizeof good, good},
    };
    cases[4].request.magic++;
    cases[5].request.size++;
    cases[6].request.op = IPC_OP_N;
    memset(&cases[7].request.device.uuid, 0, sizeof(struct uuid));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char packet[sizeof good + 1] = {0};
        memcpy(packet, &cases[i].request, sizeof good);
        int fd = raw_connect(true);
        int result = raw_ask(fd, packet, cases[i].length, NULL, 0);
        close(fd);
        if (result != cases[i].expected)
            fail_msg("%s: %d", cases[i].what, result);
    }

    int fd = raw_connect(false); /* not a word before the hello */
    assert_int_equal(raw_ask(fd, &good, sizeof good, NULL, 0), 1);
    close(fd);
    fd = raw_connect(true); /* no descriptors */
    assert_int_equal(raw_ask(fd, &good, sizeof good, &fd, 1), 1);
    close(fd);
    fd = raw_connect(true); /* far too long */
    char *big = calloc(1, IPC_PACKET_MAX + 1);
    assert_non_null(big);
    memcpy(big, &good, sizeof good);
    assert_int_equal(raw_ask(fd, big, IPC_PACKET_MAX + 1, NULL, 0), 1);
    free(big);
    close(fd);
    fd = raw_connect(true); /* asks, asks, and never listens */
    good.op = IPC_WORKER_LIST;
    for (int i = 0; i < 100000 && seqpacket_send(fd, &good, sizeof good, NULL, 0, NULL, 0, MSG_DONTWAIT) == 0; i++)
        ;
    assert_true(netd_lives());
    assert_true(kernel->ops->connected(kernel));
    struct device_key key = key_of("", "tun0", 17);
    assert_int_equal(create(&key, 1, NULL), 0);
    close(fd);
}

static void many_clients(void **state)
{
    (void)state;
    NEEDS_NETD();
    int fds[100];
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (seqpacket_connect(fixture.socket, &fds[i], NULL) < 0)
            fds[i] = -1;
    struct device_key key = key_of("", "tun0", 18);
    assert_int_equal(create(&key, 1, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fd_done(&fds[i]);
    assert_true(netd_lives());
}

/* What a client sends along takes as long to close as it likes: not netd's time. */
static void lingering_descriptor(void **state)
{
    (void)state;
    NEEDS_NETD();
    int fd = raw_connect(true);
    kill(fixture.pid, SIGSTOP); /* else it could be done with it before us, and the last close(2) ours */
    bool sent = lingering_send(fd);
    kill(fixture.pid, SIGCONT);
    assert_true(sent);
    wait_ms(100);
    struct device_key key = key_of("", "tun0", 19);
    int64_t begin_ns = clock_monotonic_ns();
    assert_int_equal(create(&key, 1, NULL), 0);
    assert_true(clock_monotonic_ns() - begin_ns < 3 * NSEC_PER_SEC);
    close(fd);
}

static void no_descriptors_left(void **state)
{
    (void)state;
    NEEDS_NETD();
    struct rlimit few, before;
    int fds[40];
    char byte;
    assert_int_equal(prlimit(fixture.pid, RLIMIT_NOFILE, NULL, &before), 0);
    few = (struct rlimit){24, before.rlim_max};
    assert_int_equal(prlimit(fixture.pid, RLIMIT_NOFILE, &few, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        assert_int_equal(seqpacket_connect(fixture.socket, &fds[i], NULL), 0);
    /* the last one hears at once that there is no room, and netd goes to sleep */
    struct pollfd last = {.fd = fds[ARRAY_SIZE(fds) - 1], .events = POLLIN};
    assert_int_equal(poll(&last, 1, 3000), 1);
    assert_int_equal(recv(last.fd, &byte, 1, 0), 0);
    long before_ms = netd_busy_ms();
    wait_ms(500);
    assert_in_range(netd_busy_ms() - before_ms, 0, 250);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fd_done(&fds[i]);
    assert_int_equal(prlimit(fixture.pid, RLIMIT_NOFILE, &before, NULL), 0);
    wait_ms(100);
    fds[0] = raw_connect(true);
    close(fds[0]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(device_life, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(foreign_device, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(adopted_device, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(adopted_queues, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(owners, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(named_netns, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(other_user_refused, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(malformed_packets, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(many_clients, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(lingering_descriptor, netd_set_up, netd_tear_down),
    cmocka_unit_test_setup_teardown(no_descriptors_left, netd_set_up, netd_tear_down),
};

NETD_TEST_MAIN(tests)

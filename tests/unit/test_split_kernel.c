/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own segmentation against split: a super-packet is written to one device, the kernel passes it on to another
 * that takes no super-packets, and what is read there must be what split makes of it, byte by byte.
 *
 *     tun: in0 ─> IP forwarding ─> out0      the hop limit is one less
 *     tap: in1 ─> bridge ─> out1             nothing changes
 *
 * And the kernel's merging (GRO) against merge: segments are written to a device, and what it passes on to another that
 * takes super-packets is what merge makes of the same segments.
 *
 *     tun: in2 ─> GRO ─> IP forwarding ─> out2
 *
 * In a network namespace of this process's own: takes root and /dev/net/tun.
 */
#include "../platform/platform.h"
#include "super_packet.h"

#include <linux/ipv6.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sys/mount.h>

#define ROUNDS     400
#define FRAME_MOST 1500 /* the devices' mtu */

static const char *cannot_run; /* why, or NULL */
static int in[2], out[2];      /* tun and tap */
static bool takes_udp;         /* super-packets of UDP: Linux 6.2 */
static int gro_in, gro_out;    /* -1: cannot be tried here */
static uint8_t packet[PACKET_ROOM], segments[128 * 1024];

/* ---- the namespace ----------------------------------------------------------------------------------------------- */

static int device_open(const char *name, int flags)
{
    int fd = platform_tun_open();

    if (platform_tun_set(fd, name, flags | IFF_NO_PI | IFF_TUN_EXCL, NULL) < 0)
        platform_broken(name);
    platform_up(name);
    return fd;
}

static void address_v6(const char *name, const char *address)
{
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct in6_ifreq request = {.ifr6_prefixlen = 64, .ifr6_ifindex = (int)if_nametoindex(name)};

    inet_pton(AF_INET6, address, &request.ifr6_addr);
    if (fd < 0 || ioctl(fd, SIOCSIFADDR, &request) < 0)
        platform_broken("SIOCSIFADDR");
    close(fd);
}

static void set(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        platform_broken(path);
    close(fd);
}

static void bridge(const char *one, const char *other)
{
    const char *const ports[] = {one, other};
    int fd = platform_socket();

    if (ioctl(fd, SIOCBRADDBR, "br0") < 0) {
        cannot_run = "no bridge in this kernel";
        close(fd);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
        struct ifreq request = {.ifr_name = "br0", .ifr_ifindex = (int)if_nametoindex(ports[i])};

        if (ioctl(fd, SIOCBRADDIF, &request) < 0)
            platform_broken("SIOCBRADDIF");
    }
    platform_up("br0");
    close(fd);
}

/* A device that holds what it gets for others to follow: merging waits for the end of a burst, here for a timer. */
static void set_up_gro(void)
{
    static const char *const settings[][2] = {{"/sys/class/net/in2/gro_flush_timeout", "20000000"},
                                              {"/sys/class/net/in2/napi_defer_hard_irqs", "1"}};

    gro_in = gro_out = -1;
    /* the namespace's own devices are in a sysfs that was mounted in it */
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
        return;
    gro_in = device_open("in2", IFF_TUN | IFF_NAPI);
    gro_out = device_open("out2", IFF_TUN | IFF_VNET_HDR);
    if (ioctl(gro_out, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)) < 0)
        platform_broken("TUNSETOFFLOAD");
    platform_address("in2", "10.3.0.1");
    platform_address("out2", "10.4.0.1");
    address_v6("in2", "fd00:3::1");
    address_v6("out2", "fd00:4::1");
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        if (access(settings[i][0], W_OK) < 0) { /* Linux 5.8 */
            gro_in = -1;
            return;
        }
        set(settings[i][0], settings[i][1]);
    }
}

static int set_up(void **state)
{
    (void)state;
    if (geteuid() != 0)
        cannot_run = "needs root";
    else if (access("/dev/net/tun", R_OK | W_OK) < 0)
        cannot_run = "needs /dev/net/tun";
    else if (unshare(CLONE_NEWNET) < 0)
        cannot_run = "may not make a network namespace";
    if (cannot_run)
        return 0;
    in[0] = device_open("in0", IFF_TUN | IFF_VNET_HDR);
    out[0] = device_open("out0", IFF_TUN); /* neither headers nor offloads: the kernel has to do it all */
    in[1] = device_open("in1", IFF_TAP | IFF_VNET_HDR);
    out[1] = device_open("out1", IFF_TAP);
    platform_address("in0", "10.1.0.1");
    platform_address("out0", "10.2.0.1");
    address_v6("in0", "fd00:1::1");
    address_v6("out0", "fd00:2::1");
    set("/proc/sys/net/ipv4/ip_forward", "1");
    set("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    bridge("in1", "out1");
    takes_udp = ioctl(out[0], TUNSETOFFLOAD, 0x01UL | 0x02 | 0x04 | 0x20 | 0x40) == 0; /* with USO4 and USO6 */
    if (ioctl(out[0], TUNSETOFFLOAD, 0UL) < 0)
        platform_broken("TUNSETOFFLOAD");
    set_up_gro();
    return 0;
}

/* ---- both ways --------------------------------------------------------------------------------------------------- */

/* Addresses with a way to the other device, and a hop limit that suffices for it. The checksum's field again has the
 * pseudo-header's sum. */
static void direct(uint8_t *bytes, const struct packet_view *view, const struct virtio_net_hdr *header, size_t length,
                   bool to_gro)
{
    static const char *const addresses[2][2][2] = {{{"10.1.0.2", "10.2.0.2"}, {"10.3.0.2", "10.4.0.2"}},
                                                   {{"fd00:1::2", "fd00:2::2"}, {"fd00:3::2", "fd00:4::2"}}};
    uint8_t *ip = bytes + view->ip;
    bool v4 = view->version == 4;

    if (view->ip > 0)
        memcpy(bytes, (uint8_t[]){0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1}, 12);
    ip[v4 ? 8 : 7] = 64;
    inet_pton(v4 ? AF_INET : AF_INET6, addresses[!v4][to_gro][0], ip + (v4 ? 12 : 8));
    inet_pton(v4 ? AF_INET : AF_INET6, addresses[!v4][to_gro][1], ip + (v4 ? 16 : 24));
    if (v4) {
        store_be16(ip + 10, 0);
        store_be16(ip + 10, naive_checksum(0, ip, 20));
    }
    store_be16(bytes + header->csum_start + header->csum_offset,
               (uint16_t)~naive_checksum(naive_pseudo(bytes, view, length - header->csum_start), NULL, 0));
}

/* What forwarding does. */
static void forward(uint8_t *ip)
{
    if (ip[0] >> 4 == 6) {
        ip[7]--;
        return;
    }
    ip[8]--;
    store_be16(ip + 10, 0);
    store_be16(ip + 10, naive_checksum(0, ip, 20));
}

/* The next packet that is ours; there are others (router solicitations, multicast listener reports). */
static size_t receive(enum device_kind kind, uint8_t protocol, uint8_t *bytes, size_t room)
{
    struct pollfd wait = {.fd = out[kind == DEVICE_TAP], .events = POLLIN};

    for (;;) {
        struct packet_view view;
        ssize_t length;

        if (poll(&wait, 1, 2000) != 1)
            return 0;
        length = read(wait.fd, bytes, room);
        if (length > 0 && packet_parse(kind, bytes, (size_t)length, &view) == 0 && view.protocol == protocol)
            return (size_t)length;
    }
}

static void show(const char *name, const uint8_t *bytes, size_t length)
{
    print_message("%s, %zu bytes:", name, length);
    for (size_t i = 0; i < length && i < 80; i++)
        print_message(" %02x", bytes[i]);
    print_message("\n");
}

static void compare(const struct recipe *recipe)
{
    static uint8_t with_header[sizeof(struct virtio_net_hdr) + sizeof(packet)];
    struct virtio_net_hdr header;
    size_t length = recipe_make(recipe, packet, &header), segment, bytes, index = 0;
    struct packet_view view;
    struct split split;

    assert_int_equal(packet_parse(recipe->kind, packet, length, &view), 0);
    direct(packet, &view, &header, length, false);
    memcpy(with_header, &header, sizeof(header));
    memcpy(with_header + sizeof(header), packet, length);
    assert_int_equal(write(in[recipe->kind == DEVICE_TAP], with_header, sizeof(header) + length),
                     sizeof(header) + length);
    if (recipe->kind == DEVICE_TUN)
        forward(packet);
    assert_int_equal(split_init(&split, &header, packet, length, &view), 0);
    while (split_next(&split, segments, sizeof(segments), 1, &segment, &bytes) == 1) {
        uint8_t came[2048];
        size_t came_length = receive(recipe->kind, recipe->protocol, came, sizeof(came));

        if (came_length != bytes || memcmp(came, segments, bytes) != 0) {
            show("split's", segments, bytes);
            show("the kernel's", came, came_length);
            fail_msg("version %d, protocol %d, flags %02x, %zu bytes of payload by %zu: segment %zu differs",
                     recipe->version, recipe->protocol, recipe->flags, recipe->payload_length, recipe->size, index);
        }
        index++;
    }
}

/* More than one segment, none longer than the devices take, and any flags that the kernel cuts. */
static struct recipe recipe_for(enum device_kind kind, uint8_t version, uint8_t protocol)
{
    struct recipe recipe = recipe_random();
    size_t headers = (version == 4 ? 20U : 40U) + (protocol == PROTOCOL_TCP ? 20U + recipe.options : 8U);

    recipe.kind = kind;
    recipe.version = version;
    recipe.protocol = protocol;
    recipe.flags = (uint8_t)(0x10 | (random_below(256) & 0xc9)); /* CWR, ECE, PSH, FIN */
    if (recipe.size > FRAME_MOST - headers)
        recipe.size = FRAME_MOST - headers;
    recipe.payload_length = recipe.size + 1 + random_below((uint32_t)recipe.size * 40);
    return recipe;
}

static void compare_many(enum device_kind kind, uint8_t version, uint8_t protocol)
{
    if (!cannot_run && protocol == PROTOCOL_UDP && !takes_udp) {
        print_message("skipped: this kernel takes no UDP super-packets\n");
        skip();
    }
    if (cannot_run) {
        print_message("skipped: %s\n", cannot_run);
        skip();
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct recipe recipe = recipe_for(kind, version, protocol);

        compare(&recipe);
    }
}

static void test_tcp_v4(void **state)
{
    (void)state;
    compare_many(DEVICE_TUN, 4, PROTOCOL_TCP);
}

static void test_tcp_v6(void **state)
{
    (void)state;
    compare_many(DEVICE_TUN, 6, PROTOCOL_TCP);
}

static void test_udp_v4(void **state)
{
    (void)state;
    compare_many(DEVICE_TUN, 4, PROTOCOL_UDP);
}

static void test_udp_v6(void **state)
{
    (void)state;
    compare_many(DEVICE_TUN, 6, PROTOCOL_UDP);
}

static void test_frames(void **state)
{
    (void)state;
    for (uint8_t version = 4; version <= 6; version += 2) {
        compare_many(DEVICE_TAP, version, PROTOCOL_TCP);
        if (takes_udp)
            compare_many(DEVICE_TAP, version, PROTOCOL_UDP);
    }
}

/* ---- merging ----------------------------------------------------------------------------------------------------- */

/* The next super-packet or packet of TCP, behind its header; how many bytes of packet. */
static size_t receive_merged(uint8_t *bytes, struct virtio_net_hdr *ret_header)
{
    static uint8_t room[sizeof(struct virtio_net_hdr) + PACKET_ROOM];
    struct pollfd wait = {.fd = gro_out, .events = POLLIN};

    for (;;) {
        struct packet_view view;
        ssize_t length;

        if (poll(&wait, 1, 2000) != 1)
            return 0;
        length = read(wait.fd, room, sizeof(room));
        if (length <= (ssize_t)sizeof(*ret_header))
            continue;
        length -= (ssize_t)sizeof(*ret_header);
        memcpy(ret_header, room, sizeof(*ret_header));
        memcpy(bytes, room + sizeof(*ret_header), (size_t)length);
        if (packet_parse(DEVICE_TUN, bytes, (size_t)length, &view) == 0 && view.protocol == PROTOCOL_TCP)
            return (size_t)length;
    }
}

/* How many packets at the beginning of `bytes` the kernel made into one, which must be what merge makes of them. */
static size_t compare_merged(uint8_t *bytes, size_t length, size_t segment)
{
    static uint8_t came[PACKET_ROOM];
    struct virtio_net_hdr header, wanted;
    size_t came_length = receive_merged(came, &header), headers, used = segment < length ? segment : length, count = 1;
    struct packet_view view;
    struct merge merge;

    assert_int_not_equal(came_length, 0);
    assert_int_equal(packet_parse(DEVICE_TUN, bytes, used, &view), 0);
    merge_begin(&merge, bytes, used, &view, &no_header, true);
    headers = merge.payload;
    for (; merge.length < came_length && used < length; count++) {
        size_t here = length - used < segment ? length - used : segment;

        assert_int_equal(packet_parse(DEVICE_TUN, bytes + used, here, &view), 0);
        assert_true(merge_append(&merge, bytes + used, here, &view, &no_header));
        used += here;
    }
    merge_finish(&merge, &wanted);
    forward(merge.packet);
    assert_int_equal(came_length, merge.length);
    if (memcmp(came, merge.packet, came_length) != 0) {
        show("merge's", merge.packet, merge.length);
        show("the kernel's", came, came_length);
        fail_msg("%zu packets with %zu bytes of headers were merged otherwise", count, headers);
    }
    if (count > 1) {
        wanted.hdr_len = header.hdr_len; /* the kernel says how much of it lies in one piece */
        assert_memory_equal(&header, &wanted, sizeof(header));
    }
    return count;
}

static void test_merging(void **state)
{
    size_t packets = 0, merged = 0;

    (void)state;
    if (cannot_run || gro_in < 0) {
        print_message("skipped: %s\n", cannot_run ? cannot_run : "no sysfs of its own");
        skip();
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct recipe recipe = recipe_for(DEVICE_TUN, round % 2 ? 4 : 6, PROTOCOL_TCP);
        struct virtio_net_hdr header;
        size_t length, segment, bytes, at = 0;
        struct packet_view view;
        struct split split;

        recipe.flags &= 0x58; /* neither FIN nor CWR */
        length = recipe_make(&recipe, packet, &header);
        assert_int_equal(packet_parse(DEVICE_TUN, packet, length, &view), 0);
        direct(packet, &view, &header, length, true);
        assert_int_equal(split_init(&split, &header, packet, length, &view), 0);
        (void)split_next(&split, segments, sizeof(segments), 64, &segment, &bytes);
        for (size_t i = 0; i < bytes; i += segment) {
            size_t here = bytes - i < segment ? bytes - i : segment;

            assert_int_equal(write(gro_in, segments + i, here), here);
            packets++;
        }
        while (at < bytes) {
            size_t count = compare_merged(segments + at, bytes - at, segment);

            merged += count > 1 ? count : 0;
            at += count * segment;
        }
    }
    print_message("%zu of %zu packets were merged\n", merged, packets);
    assert_true(merged > packets / 2); /* where a clock tick falls in between it merges less */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp_v4), cmocka_unit_test(test_tcp_v6), cmocka_unit_test(test_udp_v4),
        cmocka_unit_test(test_udp_v6), cmocka_unit_test(test_frames), cmocka_unit_test(test_merging),
    };

    (void)platform_failed;
    alarm(60); /* nothing here waits for longer */
    srand(5);
    return cmocka_run_group_tests(tests, set_up, NULL);
}

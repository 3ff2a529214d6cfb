/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the udp worker does where the kernel refuses an offload, or has no room: the worker's own code, between a packet
 * socket in the place of the device's queue and a UDP socket in the place of the peer.
 *
 * Whatever is refused, the peer and the device must get the very bytes that they get where nothing is offloaded.
 */
#include "fallback_bench.h"

static void nothing_offloaded(void **state)
{
    struct worker *w = *state;

    worker_configure(w, ALL_OFF);
    expect_delivery_out(w, true);
    expect_delivery_in(w);
    assert_int_equal(seen.sends_of_segments + seen.writes_of_super, 0);
    assert_int_equal(seen.offload, 0);
    for (const char *const *name =
             (const char *const[]){"tso", "uso", "merge", "udp_segment", "udp_gro", "checksum", NULL};
         *name; name++)
        expect_report(w, *name, false);
}

static void everything_offloaded(void **state)
{
    struct worker *w = *state;

    worker_configure(w, "");
    expect_delivery_out(w, false);
    expect_delivery_in(w);
    assert_true(seen.sends_of_segments > 10 && seen.writes_of_super > 10 && seen.writes_of_udp_super > 3);
    assert_true(seen.sends < counters(w)->wire_out.packets / 4);
    for (const char *const *name = (const char *const[]){"tso", "uso", "merge", "udp_segment", "udp_gro", NULL}; *name;
         name++)
        expect_report(w, *name, true);
    expect_report(w, "checksum", false); /* which takes a GUE header */
}

/* Each switch by itself: what it is for is not used, and the report says so. */
static void each_switch(void **state)
{
    static const char *const names[] = {"tso", "uso", "merge", "udp_segment", "udp_gro"};
    struct worker *w = *state;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char fields[64];

        memset(&seen, 0, sizeof(seen));
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        snprintf(fields, sizeof(fields), "\"offload\":{\"%s\":false}", names[i]);
        worker_configure(w, fields);
        for (size_t other = 0; other < ARRAY_SIZE(names); other++)
            expect_report(w, names[other], other != i && !(i == 0 && other == 1)); /* no uso without tso */
        expect_delivery_out(w, false); /* what was in the queue when it was turned off */
        assert_int_equal(seen.sends_of_segments == 0, strcmp(names[i], "udp_segment") == 0);
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        expect_delivery_in(w);
        assert_int_equal(seen.writes_of_super == 0, strcmp(names[i], "merge") == 0 || strcmp(names[i], "udp_gro") == 0);
        assert_int_equal((seen.offload & TUN_F_TSO4) == 0, i == 0);
        assert_int_equal((seen.offload & TUN_F_USO4) == 0, i <= 1);
    }
}

static void no_uso(void **state)
{
    struct worker *w = *state;

    refusal.offload_uso = EINVAL;
    worker_configure(w, "");
    expect_report(w, "tso", true);
    expect_report(w, "uso", false);
    expect_delivery_out(w, false);
    expect_delivery_in(w);
    assert_true(seen.writes_of_super > 0);
    assert_int_equal(seen.writes_of_udp_super, 0); /* nor would it understand them */
}

static void no_tso(void **state)
{
    struct worker *w = *state;

    refusal.offload = EINVAL;
    worker_configure(w, "");
    expect_report(w, "tso", false);
    expect_report(w, "uso", false);
    expect_delivery_out(w, true);
    expect_delivery_in(w);
}

/* Linux 6.6.44 and 6.10.3. The first is written again as packets, and there is no second. */
static void super_packets_refused_by_the_device(void **state)
{
    struct worker *w = *state;

    refusal.write_super = EINVAL;
    worker_configure(w, "");
    expect_report(w, "merge", true);
    expect_delivery_in(w);
    assert_int_equal(seen.writes_of_super, 1);
    expect_report(w, "merge", false);
    expect_report(w, "tso", true);
}

/* EIO: the way out has no checksum offload, and will not have any. */
static void segments_refused_for_good(void **state)
{
    struct worker *w = *state;

    refusal.send_segments = EIO;
    worker_configure(w, "");
    expect_report(w, "udp_segment", true);
    expect_delivery_out(w, false);
    assert_int_equal(seen.sends_of_segments, 1);
    expect_report(w, "udp_segment", false);
}

/* EMSGSIZE, with a path that takes each by itself; EINVAL, which older kernels say of it: both may end. */
static void segments_refused_now_and_then(void **state)
{
    static const int errors[] = {EMSGSIZE, EINVAL};
    struct worker *w = *state;

    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        memset(&seen, 0, sizeof(seen));
        refusal.send_segments = errors[i];
        worker_configure(w, "");
        expect_delivery_out(w, false);
        assert_true(seen.sends_of_segments > 10);
        expect_report(w, "udp_segment", true);
    }
}

/* An IPv4 UDP packet, or a super-packet of such. */
static void offer_udp(const struct worker *w, size_t size, size_t payload_length, uint8_t tos, bool dont_fragment)
{
    static uint8_t bytes[PACKET_ROOM];
    const struct recipe recipe = {.version = 4,
                                  .protocol = PROTOCOL_UDP,
                                  .tos = tos,
                                  .dont_fragment = dont_fragment,
                                  .size = size,
                                  .payload_length = payload_length};
    struct virtio_net_hdr header;
    size_t length = recipe_make(&recipe, bytes, &header);

    if (payload_length <= size)
        header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    device_offer(w, &header, bytes, length);
}

/* What goes with what, in as few sends as can be: of payloads, each with 28 bytes of headers, the sends' lengths. */
static void batches(void **state)
{
    static const struct {
        struct {
            size_t size, payload;
            uint8_t tos;
            unsigned times;
        } offers[3];
        size_t sends[ARRAY_SIZE(seen.lengths)];
    } cases[] = {
        {{{972, 20 * 972, 0, 2}}, {40 * 1000}},
        /* what a full batch has no room for waits for the next */
        {{{172, 66 * 172, 0, 1}, {172, 10 * 172, 0, 1}}, {64 * 200, 12 * 200}},
        {{{72, 72, 0, 65}}, {64 * 100, 100}},
        {{{1372, 1372, 0, 47}}, {46 * 1400, 1400}}, /* 65000 bytes */
        {{{1372, 47 * 1372, 0, 1}}, {46 * 1400, 1400}},
        /* a shorter one is the last, a longer one the first */
        {{{972, 5 * 972 + 272, 0, 1}, {972, 2 * 972, 0, 1}, {272, 272, 0, 2}}, {5300, 2300, 300}},
        {{{972, 2 * 972, 0, 1}, {472, 2 * 472, 0, 1}, {972, 972, 0, 1}}, {2000, 1000, 1000}},
        {{{972, 972, 0, 1}, {972, 972, 4, 2}, {972, 3 * 972, 8, 1}}, {1000, 2000, 3000}},
    };
    struct worker *w = *state;

    worker_configure(w, "");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct row *got = calloc(1, sizeof(*got));

        memset(&seen, 0, sizeof(seen));
        for (size_t k = 0; k < ARRAY_SIZE(cases[i].offers); k++)
            for (unsigned n = 0; n < cases[i].offers[k].times; n++)
                offer_udp(w, cases[i].offers[k].size, cases[i].offers[k].payload, cases[i].offers[k].tos, false);
        lane_on_queue(&w->forwarder->lanes[0], POLLIN);
        peer_take_all(w, got);
        for (size_t k = 0; k < ARRAY_SIZE(seen.lengths); k++)
            if (seen.lengths[k] != cases[i].sends[k])
                fail_msg("case %zu: send %zu has %zu bytes", i, k, seen.lengths[k]);
        for (size_t k = 0; k < got->count; k++) {
            size_t length;
            const uint8_t *packet = row_get(got, k, &length);

            assert_packet_right(DEVICE_TUN, packet, length);
        }
        free(got);
    }
    assert_int_equal(counters(w)->wire_out.packets, counters(w)->device_in.packets);
}

/* What is sent takes from the turn, at once and one by one: there are more packets than one turn has. */
static void sends_are_charged(void **state)
{
    struct worker *w = *state;

    worker_configure(w, "");
    for (uint8_t i = 0; i < 150; i++)
        offer_udp(w, 72, 72, i & 1 ? 4 : 0, false); /* each by itself */
    lane_on_queue(&w->forwarder->lanes[0], POLLIN);
    /* each is read and sent, the last is sent after that */
    assert_int_equal(counters(w)->device_in.packets, (LANE_TURN / (LANE_CALL + 100) + 2) / 2);
    lane_on_queue(&w->forwarder->lanes[0], POLLIN);
    lane_on_queue(&w->forwarder->lanes[0], POLLIN);
    assert_int_equal(counters(w)->wire_out.packets, 150);

    memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
    worker_configure(w, ALL_OFF);
    for (uint8_t i = 0; i < 150; i++)
        offer_udp(w, 72, 72, 0, false);
    lane_on_queue(&w->forwarder->lanes[0], POLLIN);
    assert_int_equal(counters(w)->device_in.packets, WIRE_BATCH_SEGMENTS + 1);
}

static void no_udp_segment(void **state)
{
    struct worker *w = *state;

    refusal.segment = ENOPROTOOPT;
    worker_configure(w, "");
    expect_report(w, "udp_segment", false);
    expect_delivery_out(w, false);
    assert_int_equal(seen.sends_of_segments, 0);
}

static void no_udp_gro(void **state)
{
    struct worker *w = *state;

    refusal.gro = ENOPROTOOPT;
    worker_configure(w, "");
    expect_report(w, "udp_gro", false);
    expect_delivery_in(w);
}

/* Puts the fragments of IPv4 packets together again, which come one after the other. */
static void row_reassemble(struct row *row)
{
    static uint8_t whole[PACKET_ROOM];
    struct row *put = calloc(1, sizeof(*put));
    size_t held = 0;

    for (size_t i = 0; i < row->count; i++) {
        size_t length;
        const uint8_t *packet = row_get(row, i, &length);
        uint16_t fragment = packet[0] >> 4 == 4 ? load_be16(packet + 6) : 0;

        if (!(fragment & 0x3fff)) {
            row_add(put, packet, length);
            continue;
        }
        assert_int_equal(naive_checksum(0, packet, 20), 0);
        assert_int_equal((fragment & 0x1fff) * 8, held ? held - 20 : 0);
        if (held)
            assert_memory_equal(packet + 4, whole + 4, 2); /* of the same packet */
        else
            memcpy(whole, packet, held = 20);
        memcpy(whole + held, packet + 20, length - 20);
        held += length - 20;
        if (fragment & 0x2000)
            continue;
        store_be16(whole + 2, (uint16_t)held);
        store_be16(whole + 6, 0);
        store_be16(whole + 10, 0);
        store_be16(whole + 10, naive_checksum(0, whole, 20));
        row_add(put, whole, held);
        held = 0;
    }
    assert_int_equal(held, 0);
    *row = *put;
    free(put);
}

enum { PATH = 600 };

/* The path takes less than the segments. IPv4 packets that may be fragmented arrive in fragments, IPv6 ones that nobody
 * can make smaller in a datagram that is; the others are dropped and answered with what would fit. */
static void expect_narrow_path(struct worker *w, const char *fields, size_t head)
{
    struct row *all = all_offers(), *wanted = calloc(1, sizeof(*wanted)), *answers = calloc(1, sizeof(*answers)), *got;
    size_t dropped = 0;
    char *status;

    for (size_t i = 0; i < all->count; i++) {
        size_t length;
        const uint8_t *packet = row_get(all, i, &length);

        if (length + head > PATH && packet[0] >> 4 == 4 && packet[6] & 0x40)
            dropped++;
        else
            row_add(wanted, packet, length);
    }
    refusal.datagram_most = PATH;
    worker_configure(w, fields);
    got = send_all(w, false);
    assert_int_equal(counters(w)->wire_out.packets, got->count);
    assert_int_equal(counters(w)->wire_out.bytes, got->used);
    row_unwrap(got);
    row_reassemble(got);
    expect_same(got, wanted);
    assert_int_equal(counters(w)->drops[DROP_TOO_BIG], dropped);
    device_take_all(w, answers);
    assert_in_range(answers->count, 1, 100 + 5); /* at most so many a second */
    assert_true(answers->count <= dropped);
    assert_int_equal(counters(w)->device_out.packets, answers->count);
    for (size_t i = 0; i < answers->count; i++) {
        size_t length;
        const uint8_t *answer = row_get(answers, i, &length);

        assert_true(answer[0] == 0x45 && answer[9] == 1 && answer[20] == 3 && answer[21] == 4);
        assert_int_equal(load_be16(answer + 26), PATH - head);
    }
    w->forwarder->lanes[0].news = true;
    lane_publish(&w->forwarder->lanes[0]);
    status = forwarder_status(w->forwarder);
    assert_non_null(strstr(status, "\"path_mtu\":628"));
    free(status);
    expect_report(w, "udp_segment", true);
    free(all);
    free(wanted);
    free(answers);
    free(got);
}

static void a_narrow_path(void **state)
{
    static const struct {
        const char *fields;
        size_t head; /* the longest */
    } cases[] = {{"", 0}, {GUE, 12}, {GUE ",\"offload\":{\"checksum\":false}", 4}};
    struct worker *w = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        expect_narrow_path(w, cases[i].fields, cases[i].head);
    }
}

/* The first that is too big is a packet by itself. */
static void answers_about_packets_too_big(void **state)
{
    static uint8_t bytes[PACKET_ROOM];
    const struct recipe v6 = {.version = 6, .protocol = PROTOCOL_UDP, .size = 1400, .payload_length = 1400};
    struct worker *w = *state;
    struct row *got = calloc(1, sizeof(*got));
    struct virtio_net_hdr header;
    size_t length;

    refusal.datagram_most = PATH;
    worker_configure(w, "");
    w->forwarder->lanes[0].udp.answers.rate = 0; /* no more than the first 100 */
    for (unsigned i = 0; i < 150; i++)
        offer_udp(w, 1000, 1000, 0, true);
    for (unsigned i = 0; i < 4; i++)
        lane_on_queue(&w->forwarder->lanes[0], POLLIN);
    device_take_all(w, got);
    assert_int_equal(counters(w)->drops[DROP_TOO_BIG], 150);
    assert_int_equal(got->count, 100);

    /* IPv6 need not go below 1280, whatever the path takes */
    worker_configure(w, "");
    length = recipe_make(&v6, bytes, &header);
    header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    device_offer(w, &header, bytes, length);
    lane_on_queue(&w->forwarder->lanes[0], POLLIN);
    got->count = got->used = 0;
    device_take_all(w, got);
    assert_int_equal(counters(w)->drops[DROP_TOO_BIG], 151);
    assert_int_equal(got->count, 1);
    assert_int_equal(got->bytes[40], 2);
    assert_int_equal(load_be32(got->bytes + 44), 1280);

    /* without one fragment the others are of no use */
    refusal.send = ENOBUFS;
    refusal.sends_left = 1;
    memset(&seen, 0, sizeof(seen));
    offer_udp(w, 1400, 1400, 0, false);
    lane_on_queue(&w->forwarder->lanes[0], POLLIN);
    assert_int_equal(counters(w)->wire_out.packets, 1);
    assert_int_equal(counters(w)->drops[DROP_QUEUE_FULL], 1);
    assert_int_equal(seen.sends, 2);
    free(got);
}

/* No room, or no permission: each packet of the batch is counted, and the next ones go out. */
static void no_room_on_the_wire(void **state)
{
    static const struct {
        int error;
        enum drop_reason reason;
    } cases[] = {
        {ENOBUFS, DROP_QUEUE_FULL}, {EAGAIN, DROP_QUEUE_FULL}, {ENOMEM, DROP_QUEUE_FULL}, {EPERM, DROP_WIRE_ERROR}};
    struct worker *w = *state;

    worker_configure(w, "");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct row *got;
        const struct counter_slot *now = counters(w);

        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        refusal.send = cases[i].error;
        refusal.sends_left = 5;
        got = send_all(w, false);
        assert_int_equal(now->wire_out.packets, got->count);
        assert_true(got->count > 0 && now->drops[cases[i].reason] > 0);
        assert_int_equal(now->drops[cases[i].reason], now->device_in.packets - now->wire_out.packets);
        expect_all_counted(w);
        free(got);
        refusal.send = 0;
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        expect_delivery_out(w, false);
        expect_report(w, "udp_segment", true);
    }
}

/* Pieces of a frame are no frames: not even what may be fragmented is. The sender of the other hears of it. */
static void frames_too_big(void **state)
{
    static uint8_t bytes[PACKET_ROOM];
    struct recipe recipe = {
        .kind = DEVICE_TAP, .version = 4, .protocol = PROTOCOL_UDP, .size = 1000, .payload_length = 1000};
    struct worker *w = *state;
    struct row *got = calloc(1, sizeof(*got));

    refusal.datagram_most = PATH;
    device_kind = "tap";
    worker_configure(w, "");
    for (unsigned i = 0; i < 2; i++) {
        struct virtio_net_hdr header;
        size_t length;

        recipe.dont_fragment = i == 1;
        length = recipe_make(&recipe, bytes, &header);
        header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
        bytes[0] = bytes[6] = 2; /* stations, not groups */
        device_offer(w, &header, bytes, length);
        lane_on_queue(&w->forwarder->lanes[0], POLLIN);
        assert_int_equal(counters(w)->drops[DROP_TOO_BIG], i + 1);
        device_take_all(w, got);
        assert_int_equal(got->count, i);
    }
    assert_int_equal(counters(w)->wire_out.packets, 0);
    assert_memory_equal(got->bytes, bytes + 6, 6);
    assert_memory_equal(got->bytes + 6, bytes, 6);
    assert_int_equal(load_be16(got->bytes + 14 + 26), PATH - 14);
    free(got);
}

/* What is gone is waited for no more: poll would return at once, for ever. */
static void descriptors_that_are_gone(void **state)
{
    struct worker *w = *state;
    struct lane *lane;

    worker_configure(w, "");
    lane = &w->forwarder->lanes[0];
    lane_on_socket(lane, POLLIN | POLLERR);
    lane_on_queue(lane, POLLIN | POLLERR); /* there was something to read, and there is nothing wrong */
    assert_int_not_equal(lane_wait_socket(lane).fd, -1);
    assert_int_not_equal(lane_wait_queue(lane).fd, -1);
    lane_on_socket(lane, POLLHUP);
    lane_on_queue(lane, POLLERR);
    assert_int_equal(lane_wait_socket(lane).fd, -1);
    assert_int_equal(lane_wait_queue(lane).fd, -1);
}

/* What became of a packet is known when the batch was sent. */
static void captured_with_what_became_of_it(void **state)
{
    static const struct capture_area head = {
        .magic = CAPTURE_MAGIC, .version = CAPTURE_VERSION, .ring_count = CAPTURE_RINGS, .snaplen = 60};
    static const uint8_t wanted[] = {DROP_QUEUE_FULL, DROP_QUEUE_FULL, CAPTURE_NOT_DROPPED};
    struct worker *w = *state;
    int fd = memfd_create("capture", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const struct capture_record *record;
    struct capture *capture;
    struct err err = {0};

    assert_int_equal(ftruncate(fd, CAPTURE_AREA_SIZE), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    assert_int_equal(pwrite(fd, &head, sizeof(head), 0), sizeof(head));
    assert_int_equal(capture_open(fd, &capture, &err), 0);
    worker_configure(w, "");
    forwarder_set_capture(w->forwarder, capture);
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        refusal.send = i < 2 ? ENOBUFS : 0;
        offer_udp(w, 1000, 1000, 0, false);
        if (i > 0) /* two in the first turn */
            lane_on_queue(&w->forwarder->lanes[0], POLLIN);
    }
    record = (const void *)capture_ring_bytes(capture->area, 0);
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        assert_int_equal(record->kind, CAPTURE_OUT);
        assert_int_equal(record->length, 1028);
        assert_int_equal(record->drop, wanted[i]);
        record = (const void *)((const uint8_t *)record + record->size);
    }
    forwarder_set_capture(w->forwarder, NULL);
    capture_close(capture);
    close(fd);
}

/* What the device says of a packet does not fit it. */
static void malformed(void **state)
{
    uint8_t bytes[1100];
    const struct recipe recipe = {.version = 4, .protocol = PROTOCOL_UDP, .size = 500, .payload_length = 1000};
    struct worker *w = *state;
    struct virtio_net_hdr header;
    size_t length = recipe_make(&recipe, bytes, &header);

    worker_configure(w, "");
    header.gso_size = 0;
    device_offer(w, &header, bytes, length);
    header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    header.csum_start = (uint16_t)length;
    device_offer(w, &header, bytes, length);
    lane_on_queue(&w->forwarder->lanes[0], POLLIN);
    assert_int_equal(counters(w)->drops[DROP_MALFORMED], 2);
    assert_int_equal(counters(w)->device_in.bytes, 2 * length);
    assert_int_equal(seen.sends, 0);
    expect_all_counted(w);
}

static void no_room_in_the_device(void **state)
{
    static const struct {
        int error;
        enum drop_reason reason;
    } cases[] = {{ENOBUFS, DROP_QUEUE_FULL},
                 {EAGAIN, DROP_QUEUE_FULL},
                 {ENOMEM, DROP_QUEUE_FULL},
                 {EIO, DROP_DEVICE_DOWN},
                 {EBADFD, DROP_DEVICE_DOWN}};
    uint8_t one[DEVICE_HEADER_SIZE + 20] = {0};
    struct worker *w = *state;
    struct row *wanted = all_offers();

    worker_configure(w, "");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct row *got;

        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        refusal.write = cases[i].error;
        got = receive_all(w, wanted);
        assert_int_equal(got->count, 0);
        assert_int_equal(counters(w)->drops[cases[i].reason], wanted->count);
        expect_all_counted(w);
        lane_to_device(&w->forwarder->lanes[0], one + DEVICE_HEADER_SIZE, 20);
        assert_int_equal(counters(w)->drops[cases[i].reason], wanted->count + 1);
        refusal.write = 0;
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        expect_delivery_in(w);
        expect_report(w, "merge", true);
        free(got);
    }
    free(wanted);
}

static void cut_datagrams(void **state)
{
    struct worker *w = *state;
    struct row *wanted = all_offers(), *got;

    worker_configure(w, "");
    refusal.receive_flags = MSG_TRUNC;
    got = receive_all(w, wanted);
    assert_int_equal(got->count, 0);
    assert_int_equal(counters(w)->drops[DROP_MALFORMED], wanted->count);
    expect_all_counted(w);
    free(got);
    free(wanted);
}

static void gro_configure(struct worker *w, const char *header, bool on)
{
    char fields[128];

    snprintf(fields, sizeof(fields), "%s,\"offload\":{\"udp_gro\":%s}", header, on ? "true" : "false");
    worker_configure(w, fields);
}

/* What was put together before UDP_GRO went off is waiting still; and the reverse. */
static void gro_turned_off_and_on(void **state)
{
    static const char *const headers[] = {"\"header\":\"none\"", GUE};
    struct worker *w = *state;
    struct row *wanted = all_offers(), *wrapped = calloc(1, sizeof(*wrapped));

    for (size_t i = 0; i < wanted->count; i++) {
        uint8_t bytes[2048];
        struct udp_head head;
        size_t length;
        const uint8_t *packet = row_get(wanted, i, &length);

        udp_head_make(packet[0] >> 4, &no_header, &head);
        memcpy(bytes, head.bytes, head.length);
        memcpy(bytes + head.length, packet, length);
        row_add(wrapped, bytes, head.length + length);
    }
    for (size_t i = 0; i < 2 * ARRAY_SIZE(headers); i++) {
        const struct row *sent = i < 2 ? wanted : wrapped;
        struct row *got = calloc(1, sizeof(*got));

        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        for (size_t at = 0, round = 0; at < sent->count; round++) {
            gro_configure(w, headers[i / 2], round % 2 == 0);
            for (int some = 0; some < 4 && at < sent->count; some++)
                at = peer_send_some(w, sent, at);
            gro_configure(w, headers[i / 2], round % 2 != 0);
            lane_on_socket(&w->forwarder->lanes[0], POLLIN);
            device_take_all(w, got);
        }
        expect_same(got, wanted);
        assert_int_equal(counters(w)->wire_in.packets, wanted->count);
        expect_all_counted(w);
        free(got);
    }
    free(wanted);
    free(wrapped);
}

/* Behind GUE headers: with checksums left to the far end, and without. */
static void gue(void **state)
{
    static const char *const fields[] = {GUE, GUE ",\"offload\":{\"checksum\":false}", GUE "," ALL_OFF};
    struct worker *w = *state;
    struct row *wanted = all_offers();

    for (size_t i = 0; i < 2 * ARRAY_SIZE(fields); i++) {
        struct row *got;

        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        refusal.send_segments = i % 2 ? EIO : 0;
        worker_configure(w, fields[i / 2]);
        expect_report(w, "checksum", i / 2 == 0);
        got = send_all(w, false);
        assert_int_equal(got->used, wanted->used + wanted->count * (i / 2 == 0 ? GUE_HEADER_MOST : GUE_HEADER_SIZE));
        assert_int_equal(counters(w)->wire_out.bytes, got->used);
        assert_int_equal(counters(w)->device_in.bytes, wanted->used);
        row_unwrap(got);
        expect_same(got, wanted);
        expect_all_counted(w);
        free(got);
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        expect_delivery_in(w); /* bare ones are understood, too */
    }
    free(wanted);
}

/* In one flow, put together by the kernel: each GUE header is looked at, also behind many that are right. */
static void one_bad_head_of_many(void **state)
{
    const struct recipe recipe = {.version = 4, .protocol = PROTOCOL_UDP, .size = 500, .payload_length = 3000};
    struct worker *w = *state;
    struct row *sent = calloc(1, sizeof(*sent)), *got = calloc(1, sizeof(*got));
    uint8_t whole[4096], bytes[1024];
    struct virtio_net_hdr header;
    struct packet_view view;
    struct split split;
    struct udp_head head;
    size_t length = recipe_make(&recipe, whole, &header), segment, used;

    assert_int_equal(packet_parse(DEVICE_TUN, whole, length, &view), 0);
    assert_int_equal(split_init(&split, &header, whole, length, &view), 0);
    udp_head_make(4, &no_header, &head);
    for (size_t i = 0; split_next(&split, bytes + head.length, sizeof(bytes) - head.length, 1, &segment, &used) == 1;
         i++) {
        memcpy(bytes, head.bytes, head.length);
        bytes[3] |= i == 3 ? 0x80 : 0; /* a flag that nobody knows */
        row_add(sent, bytes, head.length + used);
    }
    assert_int_equal(sent->count, 6);
    worker_configure(w, GUE);
    for (size_t at = 0; at < sent->count;)
        at = peer_send_some(w, sent, at);
    lane_on_socket(&w->forwarder->lanes[0], POLLIN);
    device_take_all(w, got);
    assert_int_equal(counters(w)->wire_in.packets, 6);
    assert_int_equal(counters(w)->drops[DROP_MALFORMED], 1);
    assert_int_equal(got->count, 5);
    expect_all_counted(w);
    free(sent);
    free(got);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, worker_setup, worker_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_offloaded),
        CASE(everything_offloaded),
        CASE(each_switch),
        CASE(no_uso),
        CASE(no_tso),
        CASE(super_packets_refused_by_the_device),
        CASE(segments_refused_for_good),
        CASE(segments_refused_now_and_then),
        CASE(batches),
        CASE(sends_are_charged),
        CASE(no_udp_segment),
        CASE(no_udp_gro),
        CASE(a_narrow_path),
        CASE(answers_about_packets_too_big),
        CASE(frames_too_big),
        CASE(descriptors_that_are_gone),
        CASE(captured_with_what_became_of_it),
        CASE(malformed),
        CASE(no_room_on_the_wire),
        CASE(no_room_in_the_device),
        CASE(cut_datagrams),
        CASE(gro_turned_off_and_on),
        CASE(gue),
        CASE(one_bad_head_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the udp worker does where the kernel refuses an offload, or has no room: the worker's own code, between a packet
 * socket in the place of the device's queue and a UDP socket in the place of the peer.  *
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

/* The path takes less than the segments. IPv4 packets that may be fragmented arrive in fragments, IPv6 ones that nobody
 * can make smaller in a datagram that is; the others are dropped and answered with what would fit. */
static void a_narrow_path(void **state)
{
    enum { PATH = 600 };
    struct worker *w = *state;
    struct row *all = all_offers(), *wanted = calloc(1, sizeof(*wanted)), *answers = calloc(1, sizeof(*answers)), *got;
    size_t dropped = 0;
    char *status;

    for (size_t i = 0; i < all->count; i++) {
        size_t length;
        const uint8_t *packet = row_get(all, i, &length);

        if (length > PATH && packet[0] >> 4 == 4 && packet[6] & 0x40)
            dropped++;
        else
            row_add(wanted, packet, length);
    }
    refusal.datagram_most = PATH;
    worker_configure(w, "");
    got = send_all(w, false);
    row_reassemble(got);
    expect_same(got, wanted);
    assert_int_equal(counters(w)->drops[DROP_TOO_BIG], dropped);
    device_take_all(w, answers);
    assert_in_range(answers->count, 1, 100 + 5); /* at most so many a second */
    assert_true(answers->count <= dropped);
    for (size_t i = 0; i < answers->count; i++) {
        size_t length;
        const uint8_t *answer = row_get(answers, i, &length);

        assert_true(answer[0] == 0x45 && answer[9] == 1 && answer[20] == 3 && answer[21] == 4);
        assert_int_equal(load_be16(answer + 26), PATH);
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

/* No room: each packet of the batch is counted, and the next ones go out. */
static void no_room_on_the_wire(void **state)
{
    static const int errors[] = {ENOBUFS, EAGAIN, ENOMEM};
    struct worker *w = *state;

    worker_configure(w, "");
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        struct row *got;
        const struct counter_slot *now = counters(w);

        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        refusal.send = errors[i];
        refusal.sends_left = 5;
        got = send_all(w, false);
        assert_int_equal(now->wire_out.packets, got->count);
        assert_true(got->count > 0 && now->drops[DROP_QUEUE_FULL] > 0);
        assert_int_equal(now->drops[DROP_QUEUE_FULL], now->device_in.packets - now->wire_out.packets);
        expect_all_counted(w);
        free(got);
        refusal.send = 0;
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        expect_delivery_out(w, false);
        expect_report(w, "udp_segment", true);
    }
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
        row_unwrap(got);
        expect_same(got, wanted);
        expect_all_counted(w);
        free(got);
        memset(&w->page->slots[0], 0, sizeof(w->page->slots[0]));
        expect_delivery_in(w); /* bare ones are understood, too */
    }
    free(wanted);
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
        CASE(no_udp_segment),
        CASE(no_udp_gro),
        CASE(a_narrow_path),
        CASE(no_room_on_the_wire),
        CASE(no_room_in_the_device),
        CASE(cut_datagrams),
        CASE(gro_turned_off_and_on),
        CASE(gue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First byte: tun or tap; the next two: the MTU; the rest: a packet that does not fit. An answer about it is whole and
 * about no answer, and fragments of it fit and are as long as it was together.
 */
#include "worker/fragment.h"
#include "worker/icmp.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer_check(enum device_kind kind, const uint8_t *bytes, const struct packet_view *view, size_t mtu)
{
    uint8_t answer[ICMP_ROOM], again[ICMP_ROOM];
    struct packet_view answer_view;
    size_t length = icmp_too_big(bytes, view, mtu, answer);

    if (length == 0)
        return;
    MUST(length <= sizeof(answer));
    MUST(packet_parse(kind, answer, length, &answer_view) == 0);
    MUST(answer_view.version == view->version && answer_view.ip_length == length - view->ip);
    MUST(icmp_too_big(answer, &answer_view, mtu, again) == 0);
}

static void fragments_check(const uint8_t *bytes, const struct packet_view *view, size_t mtu)
{
    struct fragmenter fragmenter;
    struct fragment piece;
    size_t done = 0;

    if (fragmenter_init(&fragmenter, bytes, view, mtu) < 0)
        return;
    while (fragmenter_next(&fragmenter, &piece)) {
        MUST(piece.header_length + piece.payload_length <= mtu && piece.payload_length > 0);
        MUST(piece.payload == bytes + view->ip + view->header_length + done);
        done += piece.payload_length;
    }
    MUST(done == view->ip_length - view->header_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct packet_view view;
    enum device_kind kind;
    size_t mtu;

    if (size < 3 || size > 70000)
        return 0;
    kind = data[0] & 1 ? DEVICE_TAP : DEVICE_TUN;
    mtu = load_be16(data + 1);
    if (packet_parse(kind, data + 3, size - 3, &view) < 0)
        return 0;
    answer_check(kind, data + 3, &view, mtu);
    fragments_check(data + 3, &view, mtu);
    return 0;
}

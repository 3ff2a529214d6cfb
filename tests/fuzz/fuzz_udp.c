/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First byte: tun or tap; the second: the outer TOS; the rest: a payload from the wire. What passes is still a packet
 * of the device's kind and differs in its congestion mark only; the other way it is not malformed either. Behind a GUE
 * header its checksum may differ, too.
 */
#include "worker/monitor.h"
#include "worker/udp_unwrap.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct endpoint remote = {.addr = {.family = AF_INET, .bytes = {10, 33, 0, 1}}, .port = 5000};
    char text[MONITOR_TEXT_SIZE];
    enum device_kind kind;
    enum drop_reason reason, inspected;
    struct packet_view view;
    struct udp_arrival arrival;
    bool gue;
    uint8_t *bytes;
    size_t length, differing = 0;

    if (size < 2 || size > 70000)
        return 0;
    kind = data[0] & 1 ? DEVICE_TAP : DEVICE_TUN;
    length = size - 2;
    bytes = malloc(length > 0 ? length : 1);
    MUST(bytes);
    memcpy(bytes, data + 2, length);
    inspected = udp_inspect(kind, bytes, length, &remote, 1, &view);
    MUST(inspected == PACKET_FORWARD || inspected == DROP_MALFORMED || inspected == DROP_LOOP);
    monitor_describe(kind, bytes, length, text, sizeof(text));
    gue = kind == DEVICE_TUN && gue_is_there(bytes, length);
    reason = udp_unwrap(kind, bytes, length, data[1], &arrival);
    MUST(reason == PACKET_FORWARD || reason == DROP_MALFORMED || reason == DROP_ECN);
    MUST(gue || (reason == DROP_MALFORMED) == (inspected == DROP_MALFORMED));
    for (size_t i = 0; i < length; i++)
        differing += bytes[i] != data[2 + i];
    MUST(differing <= (reason == PACKET_FORWARD ? 3U : 0U) + (gue ? 2U : 0U));
    if (reason == PACKET_FORWARD) {
        MUST(gue == (arrival.head > 0) && arrival.head < length);
        MUST(gue || arrival.header.flags == 0);
        if (arrival.header.flags)
            MUST(udp_checksum_is_own(bytes + arrival.head, &arrival.view, &arrival.header));
        if (kind == DEVICE_TUN)
            MUST(packet_parse_bare(bytes + arrival.head, length - arrival.head, &view) == 0);
    }
    free(bytes);
    return 0;
}

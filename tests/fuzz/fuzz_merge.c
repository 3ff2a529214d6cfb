/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams from the wire, back to back: the first byte says of what kind, the next two how long each is. */
#include "worker/merge.h"
#include "worker/udp_unwrap.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[PACKET_ROOM];
    struct virtio_net_hdr header;
    struct merge merge = {0};
    size_t segment, head = 0;

    if (size < 4 || size - 3 > sizeof(bytes))
        return 0;
    enum device_kind kind = data[0] & 1 ? DEVICE_TAP : DEVICE_TUN;
    segment = 1 + load_be16(data + 1) % 2000u;
    size -= 3;
    memcpy(bytes, data + 3, size);
    for (size_t at = 0; at < size; at += segment) {
        size_t here = size - at < segment ? size - at : segment;
        uint8_t *packet = bytes + at;
        struct udp_arrival arrival;

        if (merge.verified && here > head && memcmp(packet, merge.packet - head, head) == 0 &&
            merge_append_alike(&merge, packet + head, here - head))
            continue;
        if (udp_unwrap(kind, packet, here, 0, &arrival) != PACKET_FORWARD)
            continue;
        packet += arrival.head;
        here -= arrival.head;
        if (merge.count > 0 && merge_append(&merge, packet, here, &arrival.view, &arrival.header))
            continue;
        if (merge.count > 0)
            merge_finish(&merge, &header);
        head = arrival.head;
        merge_begin(&merge, packet, here, &arrival.view, &arrival.header, data[0] & 2);
    }
    if (merge.count > 0)
        merge_finish(&merge, &header);
    return 0;
}

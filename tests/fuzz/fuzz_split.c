/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio_net_hdr and a packet, as a device hands them over; what is cut is merged again, and must be what it was. */
#include "worker/merge.h"
#include "worker/split.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct virtio_net_hdr no_header;
    static uint8_t packet[PACKET_ROOM], segments[1 << 18];
    struct virtio_net_hdr header;
    struct packet_view view;
    struct split split;
    size_t length, segment, bytes;

    if (size < 1 + sizeof(header) || size - 1 - sizeof(header) > sizeof(packet))
        return 0;
    enum device_kind kind = data[0] & 1 ? DEVICE_TAP : DEVICE_TUN;
    memcpy(&header, data + 1, sizeof(header));
    length = size - 1 - sizeof(header);
    memcpy(packet, data + 1 + sizeof(header), length);
    if (packet_parse(kind, packet, length, &view) < 0)
        return 0;
    if (header.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
        (void)split_finish_checksum(&header, packet, length);
        return 0;
    }
    if (split_init(&split, &header, packet, length, &view) < 0)
        return 0;
    while (split_next(&split, segments, sizeof(segments), 64, &segment, &bytes) > 0) {
        struct merge merge = {0};

        for (size_t at = 0; at < bytes; at += segment) {
            size_t here = bytes - at < segment ? bytes - at : segment;

            require(packet_parse(kind, segments + at, here, &view) == 0);
            if (merge.count > 0 && merge_append(&merge, segments + at, here, &view, &no_header))
                continue;
            if (merge.count > 0)
                merge_finish(&merge, &header);
            merge_begin(&merge, segments + at, here, &view, &no_header, true);
        }
        merge_finish(&merge, &header);
        require(merge.length <= MERGE_MOST || merge.count == 1);
    }
    return 0;
}

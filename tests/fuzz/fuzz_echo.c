/* SPDX-License-Identifier: Apache-2.0 */
/* First byte: tun or tap; the rest: what was read from it. An answer has right checksums, and gets none itself. */
#include "worker/checksum.h"
#include "worker/echo_answer.h"

#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer_check(enum device_kind kind, uint8_t *bytes, size_t length)
{
    struct packet_view view;
    struct packet_upper upper;
    uint64_t pseudo = 0;

    MUST(packet_parse(kind, bytes, length, &view) == 0);
    if (view.version == 0)
        return;
    MUST(view.ip + view.ip_length == length);
    MUST(packet_find_upper(bytes, &view, &upper) == 0);
    if (view.version == 4)
        MUST(checksum_finish(checksum_add(0, bytes + view.ip, view.header_length)) == 0);
    else
        pseudo = checksum_add_pseudo(0, packet_source(bytes, &view), 32, PROTOCOL_ICMPV6, upper.length);
    if (!upper.fragmented)
        MUST(checksum_finish(checksum_add(pseudo, bytes + upper.offset, upper.length)) == 0);
    if (upper.first)
        MUST(echo_answer(kind, bytes, length, &length) == DROP_NOT_FORWARDED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum device_kind kind;
    enum drop_reason reason;
    uint8_t *bytes;
    size_t length;

    if (size < 1 || size > 70000)
        return 0;
    kind = data[0] & 1 ? DEVICE_TAP : DEVICE_TUN;
    bytes = malloc(size - 1 + ECHO_GROWTH);
    MUST(bytes);
    memcpy(bytes, data + 1, size - 1);
    reason = echo_answer(kind, bytes, size - 1, &length);
    if (reason == PACKET_FORWARD) {
        MUST(length <= size - 1 + ECHO_GROWTH);
        answer_check(kind, bytes, length);
    } else {
        MUST(reason == DROP_MALFORMED || reason == DROP_NOT_FORWARDED);
        MUST(memcmp(bytes, data + 1, size - 1) == 0);
    }
    free(bytes);
    return 0;
}

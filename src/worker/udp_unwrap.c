/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/udp_unwrap.h"

#include "worker/ecn.h"

#include <string.h>

static enum drop_reason udp_parse(enum device_kind kind, const uint8_t *bytes, size_t length,
                                  struct packet_view *ret_view)
{
    if (kind == DEVICE_TUN)
        return packet_parse_bare(bytes, length, ret_view) < 0 ? DROP_MALFORMED : PACKET_FORWARD;
    if (length < ETHERNET_HEADER_SIZE)
        return DROP_MALFORMED;
    /* A tap is a cable: what is in the frame is not its business, as long as it is a frame. */
    if (packet_parse_frame(bytes, length, ret_view) < 0)
        *ret_view = (struct packet_view){0};
    else
        (void)packet_parse_ip(bytes, length, ret_view);
    return PACKET_FORWARD;
}

enum drop_reason udp_unwrap(enum device_kind kind, uint8_t *bytes, size_t length, uint8_t outer_tos,
                            struct packet_view *ret_view)
{
    enum drop_reason reason = udp_parse(kind, bytes, length, ret_view);

    if (reason != PACKET_FORWARD || ret_view->version == 0)
        return reason;
    return ecn_decapsulate(bytes, ret_view, outer_tos);
}

static bool udp_is_to(const uint8_t *bytes, const struct packet_view *view, const struct endpoint *remote)
{
    struct packet_upper upper;

    if (remote->addr.family != (view->version == 4 ? AF_INET : AF_INET6) ||
        memcmp(packet_destination(bytes, view), remote->addr.bytes, packet_address_size(view)) != 0)
        return false;
    return packet_find_upper(bytes, view, &upper) == 0 && upper.protocol == PROTOCOL_UDP && upper.first &&
           upper.length >= UDP_HEADER_SIZE && load_be16(bytes + upper.offset + 2) == remote->port;
}

enum drop_reason udp_inspect(enum device_kind kind, const uint8_t *bytes, size_t length, const struct endpoint *remote,
                             struct packet_view *ret_view)
{
    enum drop_reason reason = udp_parse(kind, bytes, length, ret_view);

    if (reason == PACKET_FORWARD && ret_view->version != 0 && udp_is_to(bytes, ret_view, remote))
        return DROP_LOOP;
    return reason;
}

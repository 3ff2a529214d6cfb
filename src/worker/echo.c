/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echo: answers ping, and on tap the questions that come before one.
 */
#include "worker/echo_answer.h"
#include "worker/forwarder.h"

_Static_assert(ECHO_GROWTH <= LANE_GROWTH, "an answer fits behind the longest question");

static void echo_begin(struct forwarder *forwarder)
{
    forwarder_set_offload(forwarder, 0);
}

static void echo_from_device(struct lane *lane, size_t length)
{
    size_t answer_length;
    enum drop_reason reason = echo_answer(lane->config->kind, lane->packet.bytes, length, &answer_length);

    if (reason == PACKET_FORWARD)
        lane_to_device(lane, lane->packet.bytes, answer_length);
    else
        counter_drop(lane->counters, reason);
}

const struct forwarder_type echo_type = {
    .type = WORKER_ECHO,
    .begin = echo_begin,
    .from_device = echo_from_device,
};

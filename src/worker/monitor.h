/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WORKER_MONITOR_H
#define WORKER_MONITOR_H

#include "worker/packet.h"

#define MONITOR_TEXT_SIZE 160

/* What a packet is, in a few words: "IPv4 192.168.3.11 > 192.168.3.12 ICMP". */
void monitor_describe(enum device_kind kind, const uint8_t *bytes, size_t length, char *out, size_t size);

#endif

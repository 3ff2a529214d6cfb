/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture_filter: a filter expression as pcap-filter(7) has it, compiled by libpcap to classic BPF.
 *
 * libpcap would ask the resolver for what it does not know. So that no request makes us ask the network, only words of the
 * grammar get that far: hosts, networks and ports have to be numbers.
 */
#ifndef TUNWRIGHT_HTTP_CAPTURE_FILTER_H
#define TUNWRIGHT_HTTP_CAPTURE_FILTER_H

#include "tunwright/model.h"
#include "tunwright/worker.h"

#define CAPTURE_FILTER_MAX 1024 /* bytes of an expression */

/* -EINVAL with ERR_INVALID_QUERY. An empty expression is a program of no instructions: all packets. */
int capture_filter_compile(const char *expression, enum device_kind kind, uint32_t snaplen,
                           struct capture_instruction ret_program[static CAPTURE_PROGRAM_MAX], uint32_t *ret_length,
                           struct err *ret_err);

#endif

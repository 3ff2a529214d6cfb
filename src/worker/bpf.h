/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf: classic BPF, which says how many bytes of a packet are wanted. A program is checked once, and can then neither
 * read outside of the packet nor run for ever: it only jumps forward, within itself, and its last instruction returns.
 */
#ifndef WORKER_BPF_H
#define WORKER_BPF_H

#include "tunwright/worker.h"

#include <stddef.h>

/* Whether it may be run. */
bool bpf_is_sound(const struct capture_instruction *program, size_t length);

/* Of a sound program: what it returns, 0 for none of the packet. Reading past the packet's end returns 0. */
uint32_t bpf_run(const struct capture_instruction *program, const uint8_t *packet, size_t length);

#endif

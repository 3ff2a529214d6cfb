/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/bpf.h"

#include <linux/filter.h>
#include <string.h>

/* linux/bpf_common.h leaves these to linux/filter.h of the kernel itself. */
#ifndef BPF_MOD
#define BPF_MOD 0x90
#endif
#ifndef BPF_XOR
#define BPF_XOR 0xa0
#endif

/* ---- checking ---------------------------------------------------------------------------------------------------- */

static bool load_is_sound(const struct capture_instruction *at)
{
    switch (at->code) {
    case BPF_LD | BPF_W | BPF_ABS:
    case BPF_LD | BPF_H | BPF_ABS:
    case BPF_LD | BPF_B | BPF_ABS:
    case BPF_LD | BPF_W | BPF_IND:
    case BPF_LD | BPF_H | BPF_IND:
    case BPF_LD | BPF_B | BPF_IND:
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_IMM:
    case BPF_LDX | BPF_B | BPF_MSH:
        return true;
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
        return at->k < BPF_MEMWORDS;
    default:
        return false;
    }
}

static bool alu_is_sound(const struct capture_instruction *at)
{
    bool by_constant = BPF_SRC(at->code) == BPF_K;

    switch (at->code & ~(BPF_X | BPF_K)) {
    case BPF_ALU | BPF_ADD:
    case BPF_ALU | BPF_SUB:
    case BPF_ALU | BPF_MUL:
    case BPF_ALU | BPF_OR:
    case BPF_ALU | BPF_AND:
    case BPF_ALU | BPF_XOR:
        return true;
    case BPF_ALU | BPF_DIV:
    case BPF_ALU | BPF_MOD:
        return !by_constant || at->k != 0;
    case BPF_ALU | BPF_LSH:
    case BPF_ALU | BPF_RSH:
        return !by_constant || at->k < 32;
    case BPF_ALU | BPF_NEG:
        return by_constant;
    default:
        return false;
    }
}

/* `left`: instructions behind this one. */
static bool jump_is_sound(const struct capture_instruction *at, size_t left)
{
    switch (at->code) {
    case BPF_JMP | BPF_JA:
        return at->k < left;
    case BPF_JMP | BPF_JEQ | BPF_K:
    case BPF_JMP | BPF_JEQ | BPF_X:
    case BPF_JMP | BPF_JGT | BPF_K:
    case BPF_JMP | BPF_JGT | BPF_X:
    case BPF_JMP | BPF_JGE | BPF_K:
    case BPF_JMP | BPF_JGE | BPF_X:
    case BPF_JMP | BPF_JSET | BPF_K:
    case BPF_JMP | BPF_JSET | BPF_X:
        return at->jt < left && at->jf < left;
    default:
        return false;
    }
}

static bool instruction_is_sound(const struct capture_instruction *at, size_t left)
{
    switch (BPF_CLASS(at->code)) {
    case BPF_LD:
    case BPF_LDX:
        return load_is_sound(at);
    case BPF_ST:
    case BPF_STX:
        return BPF_CLASS(at->code) == at->code && at->k < BPF_MEMWORDS;
    case BPF_ALU:
        return alu_is_sound(at);
    case BPF_JMP:
        return jump_is_sound(at, left);
    case BPF_RET:
        return at->code == (BPF_RET | BPF_K) || at->code == (BPF_RET | BPF_A);
    default: /* BPF_MISC */
        return at->code == (BPF_MISC | BPF_TAX) || at->code == (BPF_MISC | BPF_TXA);
    }
}

bool bpf_is_sound(const struct capture_instruction *program, size_t length)
{
    if (length == 0 || length > CAPTURE_PROGRAM_MAX || BPF_CLASS(program[length - 1].code) != BPF_RET)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!instruction_is_sound(&program[i], length - 1 - i))
            return false;
    return true;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

struct machine {
    uint32_t a, x;
    uint32_t memory[BPF_MEMWORDS];
    const uint8_t *packet;
    size_t length;
};

/* False: there is no such place in the packet. */
static bool load(struct machine *m, uint16_t size, uint64_t at)
{
    size_t bytes = size == BPF_W ? 4 : size == BPF_H ? 2 : 1;
    uint32_t value = 0;

    if (at > m->length || bytes > m->length - at)
        return false;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | m->packet[at + i];
    m->a = value;
    return true;
}

/* False: it divides by zero. */
static bool calculate(struct machine *m, uint16_t code, uint32_t by)
{
    switch (BPF_OP(code)) {
    case BPF_ADD:
        m->a += by;
        return true;
    case BPF_SUB:
        m->a -= by;
        return true;
    case BPF_MUL:
        m->a *= by;
        return true;
    case BPF_DIV:
        m->a = by ? m->a / by : 0;
        return by != 0;
    case BPF_MOD:
        m->a = by ? m->a % by : 0;
        return by != 0;
    case BPF_AND:
        m->a &= by;
        return true;
    case BPF_OR:
        m->a |= by;
        return true;
    case BPF_XOR:
        m->a ^= by;
        return true;
    case BPF_LSH:
        m->a = by < 32 ? m->a << by : 0;
        return true;
    case BPF_RSH:
        m->a = by < 32 ? m->a >> by : 0;
        return true;
    default: /* BPF_NEG */
        m->a = 0U - m->a;
        return true;
    }
}

static bool compare(uint16_t code, uint32_t a, uint32_t with)
{
    switch (BPF_OP(code)) {
    case BPF_JEQ:
        return a == with;
    case BPF_JGT:
        return a > with;
    case BPF_JGE:
        return a >= with;
    default: /* BPF_JSET */
        return a & with;
    }
}

static bool load_any(struct machine *m, const struct capture_instruction *at)
{
    uint32_t a = m->a;

    switch (BPF_MODE(at->code)) {
    case BPF_ABS:
        return load(m, BPF_SIZE(at->code), at->k);
    case BPF_IND:
        return load(m, BPF_SIZE(at->code), (uint64_t)m->x + at->k);
    case BPF_MSH: /* four times the low half of a byte: an IPv4 header's length */
        if (!load(m, BPF_B, at->k))
            return false;
        m->x = (m->a & 15) * 4;
        m->a = a;
        return true;
    default:
        a = BPF_MODE(at->code) == BPF_IMM   ? at->k
            : BPF_MODE(at->code) == BPF_MEM ? m->memory[at->k]
                                            : (uint32_t)m->length;
        *(BPF_CLASS(at->code) == BPF_LD ? &m->a : &m->x) = a;
        return true;
    }
}

uint32_t bpf_run(const struct capture_instruction *program, const uint8_t *packet, size_t length)
{
    struct machine m = {.packet = packet, .length = length};

    for (const struct capture_instruction *at = program;; at++) {
        uint32_t operand = BPF_SRC(at->code) == BPF_X ? m.x : at->k;

        switch (BPF_CLASS(at->code)) {
        case BPF_LD:
        case BPF_LDX:
            if (!load_any(&m, at))
                return 0;
            break;
        case BPF_ST:
            m.memory[at->k] = m.a;
            break;
        case BPF_STX:
            m.memory[at->k] = m.x;
            break;
        case BPF_ALU:
            if (!calculate(&m, at->code, operand))
                return 0;
            break;
        case BPF_JMP:
            at += BPF_OP(at->code) == BPF_JA ? at->k : compare(at->code, m.a, operand) ? at->jt : at->jf;
            break;
        case BPF_RET:
            return BPF_RVAL(at->code) == BPF_A ? m.a : at->k;
        default:
            if (BPF_MISCOP(at->code) == BPF_TAX)
                m.x = m.a;
            else
                m.a = m.x;
            break;
        }
    }
}

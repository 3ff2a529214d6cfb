/* SPDX-License-Identifier: Apache-2.0 */
#include "capture_filter.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* What is none of these has to be a number or an address. `protochain` makes a loop, which no worker would run. */
static const char *const words[] = {
    "ah",
    "and",
    "arp",
    "broadcast",
    "carp",
    "dst",
    "esp",
    "ether",
    "greater",
    "host",
    "icmp",
    "icmp-echo",
    "icmp-echoreply",
    "icmp-paramprob",
    "icmp-redirect",
    "icmp-sourcequench",
    "icmp-timxceed",
    "icmp-unreach",
    "icmp6",
    "icmp6type",
    "icmpcode",
    "icmptype",
    "igmp",
    "ip",
    "ip6",
    "len",
    "less",
    "mask",
    "multicast",
    "net",
    "not",
    "or",
    "pim",
    "port",
    "portrange",
    "proto",
    "rarp",
    "sctp",
    "src",
    "tcp",
    "tcp-ack",
    "tcp-cwr",
    "tcp-ece",
    "tcp-fin",
    "tcp-push",
    "tcp-rst",
    "tcp-syn",
    "tcp-urg",
    "tcpflags",
    "udp",
    "vlan",
    "vrrp",
};

/* What goes on as one word for libpcap's scanner. */
static bool is_of_word(char c)
{
    return isalnum((unsigned char)c) || strchr("-._:\\", c);
}

static bool word_has_only(const char *word, const char *characters)
{
    return !word[strspn(word, characters)];
}

/* 5, 10.0.0, 0x1f, and 2:2 as in tcp[2:2]. With a dot too many it would be a name. */
static bool word_is_number(const char *word)
{
    size_t groups = 0, digits;
    if (!strncmp(word, "0x", 2))
        return word[2] && word_has_only(word + 2, "0123456789abcdefABCDEF");
    for (;; word++) {
        digits = strspn(word, "0123456789");
        if (!digits || ++groups > 4)
            return false;
        word += digits;
        if (*word != '.')
            break;
    }
    return !*word || (*word == ':' && groups == 1 && word[1] && word_has_only(word + 1, "0123456789"));
}

/* 80-90; anywhere else but behind `portrange` that is a name, too. */
static bool word_is_range(const char *word)
{
    size_t digits = strspn(word, "0123456789");
    return digits && word[digits] == '-' && word[digits + 1] && word_has_only(word + digits + 1, "0123456789");
}

static bool word_is_address(const char *word)
{
    unsigned char bytes[16];
    unsigned mac[6];
    int end = 0;
    if (!strchr(word, ':') || !word_has_only(word, "0123456789abcdefABCDEF:."))
        return false;
    return inet_pton(AF_INET6, word, bytes) == 1 || (sscanf(word, "%2x:%2x:%2x:%2x:%2x:%2x%n", &mac[0], &mac[1],
                                                            &mac[2], &mac[3], &mac[4], &mac[5], &end) == 6 &&
                                                     !word[end]);
}

/* What may stand here depends on the word before: behind `host` or `port`, "\tcp" would be a name, too. */
static bool word_is_known(const char *text, size_t length, const char **before)
{
    const char *last = *before;
    char word[48];
    if (length >= sizeof word)
        return false;
    memcpy(word, text, length);
    word[length] = '\0';
    bool is_escaped = *word == '\\'; /* a protocol's name that is a keyword, too */
    *before = "";
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (!strcmp(words[i], word + is_escaped)) {
            *before = is_escaped ? "" : words[i];
            return !is_escaped || !strcmp(last, "proto");
        }
    return (!strcmp(last, "portrange") && word_is_range(word)) || word_is_number(word) || word_is_address(word);
}

static int expression_check(const char *expression, struct err *ret_err)
{
    if (strlen(expression) > CAPTURE_FILTER_MAX)
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "filter has %d bytes at most", CAPTURE_FILTER_MAX);
    const char *before = "";
    for (const char *at = expression; *at;) {
        size_t length = 0;
        while (at[length] && is_of_word(at[length]) && (length || *at != '-'))
            length++;
        if (length && !word_is_known(at, length, &before))
            return err_set(
                ret_err, -EINVAL, ERR_INVALID_QUERY, "",
                "filter: \"%.*s\" is no word of pcap-filter(7) that is known here; hosts, networks and ports "
                "are numbers",
                length < 40 ? (int)length : 40, at);
        if (!length && (!isprint((unsigned char)*at) || !strchr(" ()[]!&|<>=+-*/%^", *at)))
            return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "",
                           "filter: there is a character in it that has no meaning");
        if (!length && *at != ' ')
            before = "";
        at += length ? length : 1;
    }
    return 0;
}

static int program_take(const struct bpf_program *compiled, struct capture_instruction *program, uint32_t *ret_length,
                        struct err *ret_err)
{
    if (compiled->bf_len > CAPTURE_PROGRAM_MAX)
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "filter: it takes more than %d instructions",
                       CAPTURE_PROGRAM_MAX);
    for (unsigned i = 0; i < compiled->bf_len; i++) {
        const struct bpf_insn *at = &compiled->bf_insns[i];
        program[i] = (struct capture_instruction){.code = at->code, .jt = at->jt, .jf = at->jf, .k = at->k};
    }
    *ret_length = compiled->bf_len;
    return 0;
}

int capture_filter_compile(const char *expression, enum device_kind kind, uint32_t snaplen,
                           struct capture_instruction ret_program[static CAPTURE_PROGRAM_MAX], uint32_t *ret_length,
                           struct err *ret_err)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER; /* not every libpcap can do more */
    struct bpf_program compiled;
    int error = expression_check(expression, ret_err);
    if (error)
        return error;
    if (!expression[strspn(expression, " ")]) {
        *ret_length = 0;
        return 0;
    }
    pthread_mutex_lock(&one_at_a_time);
    pcap_t *nothing = pcap_open_dead(kind == DEVICE_TUN ? DLT_RAW : DLT_EN10MB, (int)snaplen);
    if (!nothing) {
        error = err_no_memory(ret_err);
    } else if (pcap_compile(nothing, &compiled, expression, 1, PCAP_NETMASK_UNKNOWN) < 0) {
        error = err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "filter: %.200s", pcap_geterr(nothing));
    } else {
        error = program_take(&compiled, ret_program, ret_length, ret_err);
        pcap_freecode(&compiled);
    }
    if (nothing)
        pcap_close(nothing);
    pthread_mutex_unlock(&one_at_a_time);
    return error;
}

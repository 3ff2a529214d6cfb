/* SPDX-License-Identifier: Apache-2.0 */
/* A filter expression: what comes of it is a program that may be run, and nobody is asked for a name on the way. */
#include "http/capture_filter.h"
#include "worker/bpf.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In the place of libc's, for libpcap: it asks with numbers, too. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret_list)
{
    unsigned char address[16];
    (void)hints, (void)ret_list;
    MUST(!service && name && (inet_pton(AF_INET6, name, address) == 1 || inet_pton(AF_INET, name, address) == 1));
    return EAI_FAIL;
}

struct hostent *gethostbyname(const char *name)
{
    (void)name;
    abort();
}

struct netent *getnetbyname(const char *name)
{
    (void)name;
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct capture_instruction program[CAPTURE_PROGRAM_MAX];
    uint32_t length;
    struct err err = {0};
    char text[512];

    if (size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (int kind = DEVICE_TUN; kind <= DEVICE_TAP; kind++) {
        if (capture_filter_compile(text, (enum device_kind)kind, 100, program, &length, &err) == 0)
            MUST(length == 0 || bpf_is_sound(program, length));
        else
            MUST(err.code == ERR_INVALID_QUERY && err.message[0]);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tunwright/model.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const uint8_t ip_mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static uint8_t ip_addr_bits(const struct ip_addr *addr)
{
    return addr->family == AF_INET ? 32 : 128;
}

size_t ip_addr_size(const struct ip_addr *addr)
{
    return addr->family == AF_INET ? 4 : 16;
}

int ip_addr_parse(const char *text, struct ip_addr *ret_addr)
{
    struct ip_addr addr = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};

    if (inet_pton(addr.family, text, addr.bytes) != 1)
        return -EINVAL;
    if (addr.family == AF_INET6 && memcmp(addr.bytes, ip_mapped_prefix, sizeof(ip_mapped_prefix)) == 0)
        return -EINVAL;
    *ret_addr = addr;
    return 0;
}

const char *ip_addr_print(const struct ip_addr *addr, char out[static IP_ADDR_TEXT_SIZE])
{
    if (addr->family == 0 || !inet_ntop(addr->family, addr->bytes, out, IP_ADDR_TEXT_SIZE))
        out[0] = '\0';
    return out;
}

bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool ip_addr_is_any(const struct ip_addr *addr)
{
    static const uint8_t zero[16];
    return addr->family != 0 && memcmp(addr->bytes, zero, sizeof(zero)) == 0;
}

bool ip_addr_is_multicast(const struct ip_addr *addr)
{
    if (addr->family == AF_INET)
        return (addr->bytes[0] & 0xf0) == 0xe0;
    return addr->family == AF_INET6 && addr->bytes[0] == 0xff;
}

int ip_prefix_parse(const char *text, struct ip_prefix *ret_prefix)
{
    char addr_text[IP_ADDR_TEXT_SIZE];
    struct ip_prefix prefix;
    uint64_t length;

    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof(addr_text))
        return -EINVAL;
    memcpy(addr_text, text, (size_t)(slash - text));
    addr_text[slash - text] = '\0';
    if (ip_addr_parse(addr_text, &prefix.addr) < 0 || text_to_u64(slash + 1, ip_addr_bits(&prefix.addr), &length) < 0)
        return -EINVAL;
    prefix.length = (uint8_t)length;
    *ret_prefix = prefix;
    return 0;
}

const char *ip_prefix_print(const struct ip_prefix *prefix, char out[static IP_PREFIX_TEXT_SIZE])
{
    char addr[IP_ADDR_TEXT_SIZE];
    snprintf(out, IP_PREFIX_TEXT_SIZE, "%s/%u", ip_addr_print(&prefix->addr, addr), (unsigned)prefix->length);
    return out;
}

bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->length == b->length && ip_addr_equal(&a->addr, &b->addr);
}

struct ip_prefix ip_prefix_network(const struct ip_prefix *prefix)
{
    struct ip_prefix network = *prefix;
    for (size_t i = 0; i < sizeof(network.addr.bytes); i++) {
        size_t kept = prefix->length > i * 8 ? prefix->length - i * 8 : 0;
        if (kept < 8)
            network.addr.bytes[i] &= (uint8_t)(0xff00 >> kept);
    }
    return network;
}

bool ip_prefix_same_network(const struct ip_prefix *a, const struct ip_prefix *b)
{
    struct ip_prefix first = ip_prefix_network(a), second = ip_prefix_network(b);
    return ip_prefix_equal(&first, &second);
}

bool ip_prefix_has_host_bits(const struct ip_prefix *prefix)
{
    struct ip_prefix network = ip_prefix_network(prefix);
    return !ip_addr_equal(&network.addr, &prefix->addr);
}

int endpoint_parse(const char *text, struct endpoint *ret_endpoint)
{
    char addr_text[IP_ADDR_TEXT_SIZE];
    struct endpoint endpoint;
    uint64_t port;

    bool bracketed = text[0] == '[';
    const char *start = bracketed ? text + 1 : text;
    const char *end = strchr(start, bracketed ? ']' : ':');
    if (!end || (size_t)(end - start) >= sizeof(addr_text))
        return -EINVAL;
    memcpy(addr_text, start, (size_t)(end - start));
    addr_text[end - start] = '\0';
    if (ip_addr_parse(addr_text, &endpoint.addr) < 0 || (endpoint.addr.family == AF_INET6) != bracketed)
        return -EINVAL;
    if (bracketed)
        end++;
    if (*end != ':' || text_to_u64(end + 1, UINT16_MAX, &port) < 0 || port == 0)
        return -EINVAL;
    endpoint.port = (uint16_t)port;
    *ret_endpoint = endpoint;
    return 0;
}

const char *endpoint_print(const struct endpoint *endpoint, char out[static ENDPOINT_TEXT_SIZE])
{
    char addr[IP_ADDR_TEXT_SIZE];
    const char *format = endpoint->addr.family == AF_INET6 ? "[%s]:%u" : "%s:%u";
    snprintf(out, ENDPOINT_TEXT_SIZE, format, ip_addr_print(&endpoint->addr, addr), (unsigned)endpoint->port);
    return out;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    return a->port == b->port && ip_addr_equal(&a->addr, &b->addr);
}

socklen_t endpoint_to_sockaddr(const struct endpoint *endpoint, struct sockaddr_storage *ret_address)
{
    memset(ret_address, 0, sizeof(*ret_address));
    if (endpoint->addr.family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(endpoint->port)};
        memcpy(&in.sin_addr, endpoint->addr.bytes, sizeof(in.sin_addr));
        memcpy(ret_address, &in, sizeof(in));
        return sizeof(in);
    }
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(endpoint->port)};
    memcpy(&in6.sin6_addr, endpoint->addr.bytes, sizeof(in6.sin6_addr));
    memcpy(ret_address, &in6, sizeof(in6));
    return sizeof(in6);
}

int endpoint_from_sockaddr(const struct sockaddr_storage *address, struct endpoint *ret_endpoint)
{
    struct endpoint endpoint = {0};

    if (address->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        endpoint.addr.family = AF_INET;
        memcpy(endpoint.addr.bytes, &in.sin_addr, sizeof(in.sin_addr));
        endpoint.port = ntohs(in.sin_port);
    } else if (address->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof(in6));
        endpoint.addr.family = AF_INET6;
        memcpy(endpoint.addr.bytes, &in6.sin6_addr, sizeof(in6.sin6_addr));
        endpoint.port = ntohs(in6.sin6_port);
    } else {
        return -EAFNOSUPPORT;
    }
    *ret_endpoint = endpoint;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "auth.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static bool peer_has_group(int fd, gid_t wanted)
{
    gid_t few[64], *groups = few, *more = NULL;
    socklen_t size = sizeof few;
    int result = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
    if (result < 0 && errno == ERANGE) {
        /* the kernel said how much it is; a process cannot change what its connections were made with */
        groups = more = malloc(size);
        if (!more)
            return false;
        result = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
    }
    bool found = false;
    for (size_t i = 0; result == 0 && i < size / sizeof *groups; i++)
        found = found || groups[i] == wanted;
    free(more);
    return found;
}

enum role auth_peer_role(int fd, const struct access *access, uint32_t *ret_uid)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    *ret_uid = (uint32_t)-1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || size != sizeof peer)
        return ROLE_NOBODY;
    *ret_uid = peer.uid;
    if (peer.uid == 0 || peer.uid == access->own_uid)
        return ROLE_ADMIN;
    if (access->has_admin_gid && (peer.gid == access->admin_gid || peer_has_group(fd, access->admin_gid)))
        return ROLE_ADMIN;
    if (peer.gid == access->socket_gid || peer_has_group(fd, access->socket_gid))
        return ROLE_OPERATOR;
    return ROLE_NOBODY;
}

bool auth_bearer(const struct head_field *authorization, const char **ret_token, size_t *ret_length)
{
    static const char scheme[] = "Bearer";
    if (!authorization || authorization->value_length < sizeof scheme ||
        strncasecmp(authorization->value, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *at = authorization->value + sizeof scheme - 1,
               *end = authorization->value + authorization->value_length;
    if (*at != ' ')
        return false;
    while (at < end && *at == ' ')
        at++;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *ret_token = at;
    *ret_length = (size_t)(end - at);
    return true;
}

void auth_cookie_name(const char *host, char ret_name[static AUTH_COOKIE_NAME_SIZE])
{
    const char *colon = host ? strrchr(host, ':') : NULL;
    uint64_t port;
    text_copy(ret_name, AUTH_COOKIE_NAME_SIZE, "tunwright");
    if (colon && !strchr(colon, ']') && !text_to_u64(colon + 1, UINT16_MAX, &port))
        snprintf(ret_name, AUTH_COOKIE_NAME_SIZE, "tunwright-%u", (unsigned)port & UINT16_MAX);
}

/* RFC 6265, 4.2.1: pairs with "; " between. */
bool auth_cookie(const struct head_field *cookie, const char *name, const char **ret_token, size_t *ret_length)
{
    const size_t name_length = strlen(name);
    const char *at = cookie ? cookie->value : NULL, *end = cookie ? at + cookie->value_length : NULL;
    while (at < end) {
        const char *next = memchr(at, ';', (size_t)(end - at)), *stop = next ? next : end;
        while (at < stop && (*at == ' ' || *at == '\t'))
            at++;
        if ((size_t)(stop - at) > name_length && !memcmp(at, name, name_length) && at[name_length] == '=') {
            at += name_length + 1;
            while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t'))
                stop--;
            *ret_token = at;
            *ret_length = (size_t)(stop - at);
            return true;
        }
        at = next ? next + 1 : end;
    }
    return false;
}

int auth_digest(const char *token, size_t length, uint8_t ret_digest[static TOKEN_DIGEST_SIZE])
{
    return EVP_Digest(token, length, ret_digest, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

const struct token *auth_token_of_digest(const struct token_set *tokens, const uint8_t digest[static TOKEN_DIGEST_SIZE])
{
    const struct token *found = NULL;
    for (size_t i = 0; i < tokens->count; i++)
        if (CRYPTO_memcmp(tokens->tokens[i].digest, digest, TOKEN_DIGEST_SIZE) == 0 &&
            tokens->tokens[i].kind == TOKEN_BEARER)
            found = &tokens->tokens[i];
    return found;
}

const struct token *auth_token_of_certificate(const struct token_set *tokens, const char *common_name)
{
    for (size_t i = 0; i < tokens->count; i++)
        if (tokens->tokens[i].kind == TOKEN_CERTIFICATE && !strcmp(tokens->tokens[i].name, common_name))
            return &tokens->tokens[i];
    return NULL;
}

int auth_secret_make(char ret_secret[static AUTH_SECRET_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bits[(AUTH_SECRET_SIZE - 1) / 2];
    int error = random_bytes(bits, sizeof bits);
    if (error)
        return error;
    for (size_t i = 0; i < sizeof bits; i++) {
        ret_secret[2 * i] = digits[bits[i] >> 4];
        ret_secret[2 * i + 1] = digits[bits[i] & 15];
    }
    ret_secret[AUTH_SECRET_SIZE - 1] = '\0';
    OPENSSL_cleanse(bits, sizeof bits);
    return 0;
}

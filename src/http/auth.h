/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth: who is asking. On the Unix socket the kernel's word for it, read once for a connection; over TCP a bearer token
 * (RFC 6750).
 */
#ifndef TUNWRIGHT_HTTP_AUTH_H
#define TUNWRIGHT_HTTP_AUTH_H

#include "head.h"
#include "server.h"

/* Whether the process at the other end of a Unix socket is root, our own user, or a member of the socket's group, by
 * its own group or a supplementary one. */
bool auth_peer_is_permitted(int fd, const struct access *access);

/* Whether the field is "Bearer <token>" with the token whose SHA-256 we know; compared in constant time. NULL: it is
 * not there. */
bool auth_token_is_right(const struct head_field *authorization, const char *token_sha256_hex);

/* SHA-256 in lower-case hex. */
int auth_token_digest(const char *token, size_t length, char ret_hex[static 65]);

#endif

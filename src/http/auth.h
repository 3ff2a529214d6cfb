/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth: what a client can show. On the Unix socket the kernel's word for who it is, read once for a connection;
 * elsewhere a bearer token (RFC 6750), of which only the SHA-256 is known here.
 */
#ifndef TUNWRIGHT_HTTP_AUTH_H
#define TUNWRIGHT_HTTP_AUTH_H

#include "head.h"
#include "server.h"

/* What the process at the other end of a Unix socket may, by its user, its own group or a supplementary one; ROLE_NOBODY
 * where it is neither. *ret_uid is (uid_t)-1 where the kernel does not say. */
enum role auth_peer_role(int fd, const struct access *access, uint32_t *ret_uid);

/* The token of a field "Bearer <token>": borrows from it. False for anything else. */
bool auth_bearer(const struct head_field *authorization, const char **ret_token, size_t *ret_length);

/* Whether the token is the one whose SHA-256 is known in hex; compared in constant time. */
bool auth_token_is_right(const char *token, size_t length, const char *sha256_hex);

/* SHA-256 in lower-case hex. */
int auth_token_digest(const char *token, size_t length, char ret_hex[static 65]);

#endif

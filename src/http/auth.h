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

/*
 * A browser sends a cookie to every port of a host, and keeps one of a name for all of them: where the Host field names a
 * port (NULL: there is none), so does the cookie, "tunwright-8080", and two daemons behind one address are two.
 */
#define AUTH_COOKIE_NAME_SIZE 16
void auth_cookie_name(const char *host, char ret_name[static AUTH_COOKIE_NAME_SIZE]);
/* The value of the cookie of that name in a field "a=b; c=d": borrows from it. False where there is none, or no field. */
bool auth_cookie(const struct head_field *cookie, const char *name, const char **ret_token, size_t *ret_length);

/* SHA-256. -ENOMEM. */
int auth_digest(const char *token, size_t length, uint8_t ret_digest[static TOKEN_DIGEST_SIZE]);

/* The tokens that these are of, or NULL. Every one is looked at, so that the time says nothing. */
const struct token *auth_token_of_digest(const struct token_set *tokens,
                                         const uint8_t digest[static TOKEN_DIGEST_SIZE]);
const struct token *auth_token_of_certificate(const struct token_set *tokens, const char *common_name);

/* A new secret: 64 hex digits and a NUL. */
int auth_secret_make(char ret_secret[static AUTH_SECRET_SIZE]);

#endif

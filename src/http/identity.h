/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity: who asks, and what it may. The kernel's word on the Unix socket; a token elsewhere.
 */
#ifndef TUNWRIGHT_HTTP_IDENTITY_H
#define TUNWRIGHT_HTTP_IDENTITY_H

#include "request.h"

/* How long the client is not to be listened to, for it failed too often: whole seconds, 0 where it is. Whether the
 * daemon lives is told even so, and the dashboard, which says why nothing else is. */
unsigned identity_wait_s(const struct request *request);

/* Where each client needs a certificate: verifies the connection's, at its first request. -EACCES with
 * ERR_UNAUTHENTICATED. */
int identity_check_certificate(struct request *request, struct err *ret_err);

/* Fills the request's identity. -EACCES with ERR_UNAUTHENTICATED, or on the Unix socket ERR_FORBIDDEN, where nobody
 * knows who it is. */
int identity_find(struct request *request, const struct head_facts *facts, struct err *ret_err);

/* The same by a token that came in the request's body, which is wiped; on the Unix socket it is not looked at, for the
 * kernel has said who it is. */
int identity_find_by_secret(struct request *request, char *secret, size_t length, struct err *ret_err);

/* -EACCES with ERR_FORBIDDEN where it is less than that. */
int identity_check_role(const struct identity *identity, enum role role, struct err *ret_err);

#endif

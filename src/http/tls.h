/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls: what a TLS listener is started with, and whose certificate a client showed.
 *
 * The library does the handshake and only asks for a certificate: a client without one, or with any at all, gets
 * through. So each connection's certificate is verified here, once, before its first request is looked at.
 */
#ifndef TUNWRIGHT_HTTP_TLS_H
#define TUNWRIGHT_HTTP_TLS_H

#include "tunwright/http.h"

#include <microhttpd.h>

/* TLS 1.2 and 1.3, with forward secrecy and authenticated ciphers only. */
#define TLS_PRIORITIES                                                                                                 \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-CIPHER-ALL:+AES-256-GCM:+CHACHA20-POLY1305:"            \
    "+AES-128-GCM:-MAC-ALL:+AEAD"

struct http_tls {
    char *certificate, *key, *client_ca; /* PEM, owned; client_ca: NULL where clients need no certificate */
    size_t key_length;
};

/* The key was handed on: its text is not needed any more. */
void tls_wipe_key(struct http_tls *tls);

struct tls_peer {
    char common_name[TOKEN_NAME_SIZE]; /* "": none, or one that no token can have */
    int64_t expires_ns;                /* CLOCK_REALTIME: the certificate is good until then */
};
/* Verifies the client's certificate, for use by a client, against the listener's CA. -EACCES with
 * ERR_UNAUTHENTICATED. */
int tls_peer_verify(struct MHD_Connection *connection, struct tls_peer *ret_peer, struct err *ret_err);

#endif

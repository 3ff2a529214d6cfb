/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture: one client that captures a device's packets.
 *
 * The worker writes them into a capture area without telling anybody. The ticker looks there every CAPTURE_EVERY_NS, as
 * long as somebody captures, and resumes who has something to be sent. The rest is as with streams (stream.h): the library
 * asks for more until there is nothing, and then the connection is suspended; `suspended` is guarded by the server's
 * mutex. What a slow client does not take stays in the area, and the worker counts what finds no room there.
 */
#ifndef TUNWRIGHT_HTTP_CAPTURE_H
#define TUNWRIGHT_HTTP_CAPTURE_H

#include "server.h"

#define CAPTURE_EVERY_NS     (20 * NSEC_PER_MSEC)
#define CAPTURES_MAX         16
#define CAPTURE_SECONDS_MOST 86400
#define CAPTURE_SECONDS      3600 /* where nobody says */

/* Wakes who has something to be sent, or is at its end. When to come again, or `most_ns`. */
int64_t captures_tick(struct http_server *server, int64_t now_ns, int64_t most_ns);
/* With the mutex: the server stops. */
void captures_end_all(struct http_server *server);

#endif

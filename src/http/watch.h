/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch: server-sent events (WHATWG HTML, 9.2), the part that the server's clock drives.
 */
#ifndef TUNWRIGHT_HTTP_WATCH_H
#define TUNWRIGHT_HTTP_WATCH_H

#include "server.h"

/* On the ticker, without the mutex: makes the counters that are due, wakes streams that have something to send. Returns
 * when to call again, in CLOCK_MONOTONIC; earlier where the engine published. */
int64_t watch_tick(struct http_server *server, int64_t now_ns);

/* With the mutex, after `stopping` was set: wakes every stream, which then ends. */
void watch_end_all(struct http_server *server);

#endif

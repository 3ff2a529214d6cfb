/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed: counters that several streams get: of one filter, at one interval, at the same moments.
 *
 * The ticker works in rounds, on a grid of FEED_GRID_NS. A round reads each device once that any feed which is due
 * wants, and prints one text for each of those feeds. The reading is kept by the feeds it was made for: their next
 * rates are differences to it.
 *
 * A new stream gets its first counters with the next round, without rates, from a feed that exists for that moment only;
 * then it joins a feed whose moments suit it, within a tenth of the interval, or founds one. So a thousand streams that
 * came one by one are at most about ten feeds.
 */
#ifndef TUNWRIGHT_HTTP_FEED_H
#define TUNWRIGHT_HTTP_FEED_H

#include "stream.h"

#define FEED_GRID_NS (100 * NSEC_PER_MSEC)

/* The first moment of the grid that is not before. */
int64_t feed_grid_up(int64_t at_ns);

/* With the mutex. 0 or -ENOMEM. */
int feed_join(struct stream *stream, int64_t now_ns);
void feed_leave(struct http_server *server, struct feed *feed);

/* On the ticker, without the mutex: gives the streams of the feeds that are due their counters, and does not resume
 * them. */
void feed_round(struct http_server *server, int64_t now_ns);
/* With the mutex: when the next one is due, or `most_ns`. */
int64_t feed_next_due(const struct http_server *server, int64_t most_ns);

#endif

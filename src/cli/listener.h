/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener: a stream of /v1/watch that comes back by itself. After a break it waits 0.2 s, then longer each time up to 5 s,
 * and asks for what followed the last event that it saw (Last-Event-ID). What the daemon refuses (4xx) ends it.
 */
#ifndef TUNWRIGHT_CLI_LISTENER_H
#define TUNWRIGHT_CLI_LISTENER_H

#include "cli/cli.h"
#include "cli/sse.h"

struct listener {
    struct cli *cli;
    const char *path; /* borrowed */
    sse_take take;
    void *context;
    bool silent; /* says nothing of breaks */
    struct caller_stream *stream;
    struct sse sse;
    char last_id[SSE_WORD_SIZE];
    int64_t again_ns; /* when to try again; 0: a stream is open */
    unsigned breaks;  /* since the last message */
    bool connected;   /* once at least */
    int ended;        /* what `take` returned */
};

/* CLI_DONE, or why it cannot begin. */
enum cli_exit listener_open(struct listener *listener, struct cli *cli, const char *path, sse_take take, void *context);
void listener_close(struct listener *listener);
/* Waits at most timeout_ms for something, and does it. *ret_ended where `take` ended it (its value is listener->ended).
 * Otherwise than CLI_DONE: it is over, which was said. */
enum cli_exit listener_turn(struct listener *listener, struct pollfd *fds, unsigned count, int timeout_ms,
                            bool *ret_ended);

#endif

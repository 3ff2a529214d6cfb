/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listener.h"

#include <errno.h>
#include <string.h>

#define AGAIN_FIRST_MS 200
#define AGAIN_MOST_MS  5000

static int on_message(void *context, const struct sse_message *message)
{
    struct listener *listener = context;

    listener->breaks = 0;
    text_copy(listener->last_id, sizeof listener->last_id, message->id);
    listener->ended = listener->take(listener->context, message);
    return listener->ended;
}

static int on_data(void *context, const char *data, size_t length)
{
    struct listener *listener = context;

    listener->connected = true;
    return sse_feed(&listener->sse, data, length, on_message, listener);
}

static enum cli_exit open_stream(struct listener *listener)
{
    const struct caller_call call = {
        .method = "GET", .path = listener->path, .last_event_id = *listener->last_id ? listener->last_id : NULL};
    struct err e = {0};
    struct cli *cli = listener->cli;
    int error = cli->caller ? 0 : caller_new(&cli->settings, &cli->caller, &e);

    sse_done(&listener->sse);
    text_copy(listener->sse.id, sizeof listener->sse.id, listener->last_id);
    if (!error)
        error = caller_stream_open(cli->caller, &call, on_data, listener, &listener->stream, &e);
    listener->again_ns = 0;
    return error ? cli_fail(error, &e) : CLI_DONE;
}

enum cli_exit listener_open(struct listener *listener, struct cli *cli, const char *path, sse_take take, void *context)
{
    *listener = (struct listener){.cli = cli, .path = path, .take = take, .context = context};
    return open_stream(listener);
}

void listener_close(struct listener *listener)
{
    caller_stream_close(listener->stream);
    listener->stream = NULL;
    sse_done(&listener->sse);
}

/* The stream has ended: whether it is worth another try. */
static enum cli_exit after_end(struct listener *listener, int error, const struct err *e)
{
    const struct caller_reply *reply = caller_stream_reply(listener->stream);
    enum cli_exit exit = CLI_DONE;
    unsigned wait_ms = AGAIN_FIRST_MS;

    if (!error && reply->status != 200 && reply->status != 503)
        exit = cli_problem(reply, NULL);
    else if (error && !listener->connected)
        exit = cli_fail(error, e); /* it was never there */
    else if (error == -EMSGSIZE || error == -EPROTO || error == -ENOMEM)
        exit =
            cli_fail(error, e->message[0] ? e : &(struct err){.message = "the stream has a message that is too long"});
    caller_stream_close(listener->stream);
    listener->stream = NULL;
    if (exit)
        return exit;
    for (unsigned i = 0; i < listener->breaks && wait_ms < AGAIN_MOST_MS; i++)
        wait_ms *= 2;
    if (!listener->breaks++ && !listener->silent)
        cli_complain("the stream of %s broke: trying again", caller_where(listener->cli->caller));
    listener->again_ns = clock_monotonic_ns() + (wait_ms < AGAIN_MOST_MS ? wait_ms : AGAIN_MOST_MS) * NSEC_PER_MSEC;
    return CLI_DONE;
}

enum cli_exit listener_turn(struct listener *listener, struct pollfd *fds, unsigned count, int timeout_ms,
                            bool *ret_ended)
{
    struct err e = {0};
    int error = 0;

    *ret_ended = false;
    if (!listener->stream) {
        int64_t left_ms = (listener->again_ns - clock_monotonic_ns()) / NSEC_PER_MSEC;
        if (left_ms <= 0) {
            enum cli_exit exit = open_stream(listener);
            if (exit)
                return exit;
        } else if (timeout_ms < 0 || left_ms < timeout_ms) {
            timeout_ms = (int)left_ms + 1;
        }
    }
    error = caller_turn(listener->cli->caller, fds, count, timeout_ms, &e);
    if (error)
        return cli_fail(error, &e);
    if (!listener->stream || !caller_stream_ended(listener->stream, &error, &e))
        return CLI_DONE;
    if (listener->ended) {
        *ret_ended = true;
        return CLI_DONE;
    }
    return after_end(listener, error, &e);
}

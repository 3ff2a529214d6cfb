/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include "cli/sse.h"

#include "tunwright/model.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

struct progress_listener {
    struct sse sse;
    const char *operation;
};

static bool shown;

void progress_clear(void)
{
    if (!shown)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    shown = false;
}

void progress_show(unsigned long done, unsigned long total)
{
    static int64_t last_ns;
    int64_t now_ns = clock_monotonic_ns();

    if (!isatty(STDERR_FILENO) || (done < total && now_ns - last_ns < NSEC_PER_SEC / 10))
        return;
    last_ns = now_ns;
    if (done >= total) {
        progress_clear();
        return;
    }
    fprintf(stderr, "\r\033[K%lu of %lu", done, total);
    fflush(stderr);
    shown = true;
}

static unsigned long whole(double value)
{
    return isfinite(value) && value >= 0 && value < 1e9 ? (unsigned long)value : 0;
}

static int on_message(void *context, const struct sse_message *message)
{
    const struct progress_listener *listener = context;
    cJSON *json = NULL;

    if (strcmp(message->event, "progress") != 0 || json_read(message->data, message->length, &json, NULL) < 0)
        return 0;
    unsigned long done = whole(json_number(json, "done")), total = whole(json_number(json, "total"));
    if (!strcmp(json_text(json, "operation"), listener->operation) && done < total)
        progress_show(done, total);
    cJSON_Delete(json);
    return 0;
}

static int on_data(void *context, const char *data, size_t length)
{
    struct progress_listener *listener = context;
    return sse_feed(&listener->sse, data, length, on_message, listener);
}

int progress_call(struct cli *cli, const struct caller_call *call, const char *operation,
                  struct caller_reply *ret_reply, struct err *ret_err)
{
    struct progress_listener listener = {.operation = operation};
    const struct caller_call watch = {.method = "GET", .path = "/v1/watch?topics=progress"};
    struct caller_stream *stream = NULL, *work = NULL;
    struct err ignored;
    int error;

    if (!isatty(STDERR_FILENO))
        return caller_call(cli->caller, call, ret_reply, ret_err);
    /* a daemon that tells no progress, or does not tell us, refuses this, which is no trouble */
    error = caller_stream_open(cli->caller, &watch, on_data, &listener, &stream, &ignored);
    error = caller_stream_open(cli->caller, call, NULL, NULL, &work, ret_err);
    while (!error && !caller_stream_ended(work, &error, ret_err))
        error = caller_turn(cli->caller, NULL, 0, 1000, ret_err);
    progress_show(1, 1);
    if (!error)
        caller_stream_move(work, ret_reply);
    caller_stream_close(work);
    caller_stream_close(stream);
    sse_done(&listener.sse);
    return error;
}

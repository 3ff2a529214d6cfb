/* SPDX-License-Identifier: Apache-2.0 */
/* capture: pcapng goes through as it comes, and ends with the daemon, with Ctrl-C, or with whoever reads it. */
#include "cli/change.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct output {
    const char *path; /* NULL: standard output */
    int fd;           /* -1: not open yet; a capture that is refused leaves no file */
    unsigned long long bytes;
    int error; /* negative errno of writing */
};

static int on_data(void *context, const char *data, size_t length)
{
    struct output *output = context;

    if (output->fd < 0)
        output->fd = open(output->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
    if (output->fd < 0)
        return output->error = -errno;
    output->bytes += length;
    while (length) {
        ssize_t written = write(output->fd, data, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return output->error = -errno;
        data += written;
        length -= (size_t)written;
    }
    return 0;
}

static int capture_path(const struct arguments *arguments, struct buf *path, struct err *ret_err)
{
    static const struct {
        const char *flag, *parameter;
        uint64_t most;
    } numbers[] = {{"snaplen", "snaplen", 65535}, {"count", "count", INT64_MAX}, {"for", "seconds", 86400}};
    const char *filter = arguments_text(arguments, "filter");
    char mark = '?';

    change_device_path(path, arguments->items[0], "/capture");
    if (filter) {
        buf_printf(path, "%cfilter=", mark);
        caller_encode(path, filter);
        mark = '&';
    }
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uint64_t value = 0;
        int error = arguments_number(arguments, numbers[i].flag, 1, numbers[i].most, &value, ret_err);
        if (error)
            return error;
        if (value) {
            buf_printf(path, "%c%s=%llu", mark, numbers[i].parameter, (unsigned long long)value);
            mark = '&';
        }
    }
    return path->failed ? err_no_memory(ret_err) : 0;
}

/* Whether there is such a device; says so where there is none. */
static enum cli_exit find_device(struct cli *cli, const char *name)
{
    struct caller_reply reply = {0};
    struct buf path = {0};

    change_device_path(&path, name, "");
    enum cli_exit exit = path.failed
                             ? cli_no_memory()
                             : cli_call(cli, &(struct caller_call){.method = "GET", .path = path.data}, name, &reply);
    buf_done(&path);
    caller_reply_done(&reply);
    return exit;
}

static enum cli_exit tell_end(struct cli *cli, const struct output *output, int error, const struct err *e,
                              const struct caller_reply *reply, const char *name)
{
    enum cli_exit exit;

    if (output->error == -EPIPE)
        return CLI_DONE; /* the reader has had enough */
    if (output->error) {
        cli_complain("cannot write %s: %s", output->path ? output->path : "it", strerror(-output->error));
        return CLI_TROUBLE;
    }
    if (error)
        return cli_fail(error, e);
    if (reply->status == 404 && (exit = find_device(cli, name)))
        return exit;
    if (reply->status == 404 || reply->status == 501) {
        cli_complain("this daemon cannot capture");
        return CLI_FAILED;
    }
    return reply->status == 200 ? CLI_DONE : cli_problem(reply, name);
}

/* Until the stream ends, or a signal ends it. */
static enum cli_exit run(struct cli *cli, const char *path, const char *name, struct output *output, int signal_fd)
{
    const struct caller_call call = {.method = "GET", .path = path, .may_be_silent = true};
    struct caller_stream *stream = NULL;
    struct pollfd poll = {.fd = signal_fd, .events = POLLIN};
    struct err e = {0};
    int error = caller_new(&cli->settings, &cli->caller, &e), ended = 0;

    if (!error)
        error = caller_stream_open(cli->caller, &call, on_data, output, &stream, &e);
    while (!error && !poll.revents && !caller_stream_ended(stream, &ended, &e))
        error = caller_turn(cli->caller, &poll, 1, 1000, &e);
    error = error ? error : ended;
    enum cli_exit exit = poll.revents && !output->error ? CLI_DONE
                         : stream ? tell_end(cli, output, error, &e, caller_stream_reply(stream), name)
                                  : cli_fail(error, &e);
    caller_stream_close(stream);
    return exit;
}

enum cli_exit command_capture(struct cli *cli, const struct arguments *arguments)
{
    const char *file = arguments_text(arguments, "write");
    struct output output = {.path = file && strcmp(file, "-") != 0 ? file : NULL, .fd = -1};
    struct buf path = {0};
    struct err e = {0};
    sigset_t signals;

    if (!output.path && cli->terminal) {
        cli_complain("a capture is not for a terminal: -w FILE, or pipe it into `wireshark -k -i -` or `tcpdump -r -`");
        return CLI_USAGE;
    }
    if (!output.path)
        output.fd = STDOUT_FILENO;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int signal_fd CLEANUP(fd_done) = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    int error = capture_path(arguments, &path, &e);
    enum cli_exit exit = error ? cli_fail(error, &e) : run(cli, path.data, arguments->items[0], &output, signal_fd);
    if (!exit && isatty(STDERR_FILENO))
        cli_complain("%llu bytes", output.bytes);
    if (output.path && output.fd >= 0 && close(output.fd) < 0 && !exit) {
        cli_complain("cannot write %s: %s", output.path, strerror(errno));
        exit = CLI_TROUBLE;
    }
    buf_done(&path);
    return exit;
}

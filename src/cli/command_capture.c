/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture: pcapng goes through as it comes, and ends with the daemon, with Ctrl-C, or with whoever reads it.
 *
 * The signals that end it come by a descriptor, which is looked at wherever something is waited for: also for somebody to
 * read what is written. Standard output is not ours alone and stays as it is, so pieces go there that find room once
 * poll(2) says that there is some.
 */
#include "cli/change.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

struct output {
    const char *path; /* NULL: standard output */
    int fd;           /* -1: not open yet; a capture that is refused leaves no file */
    int signal_fd;    /* borrowed */
    unsigned long long bytes;
    bool interrupted;
    int error; /* negative errno of writing */
};

#define FIFO_AGAIN_MS 100

static int output_fail(struct output *output, int error)
{
    return output->error = error;
}

static int output_interrupt(struct output *output)
{
    output->interrupted = true;
    return -EINTR;
}

static bool is_fifo(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISFIFO(status.st_mode);
}

/* Where it is a FIFO, as soon as somebody reads there. */
static int output_open(struct output *output)
{
    struct pollfd signal = {.fd = output->signal_fd, .events = POLLIN};

    for (;;) {
        output->fd = open(output->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
        if (output->fd >= 0)
            return 0;
        if (errno != ENXIO || !is_fifo(output->path))
            return output_fail(output, -errno);
        if (poll(&signal, 1, FIFO_AGAIN_MS) > 0)
            return output_interrupt(output);
    }
}

/* Waits for room. A signal ends it where there is none. */
static int output_wait(struct output *output)
{
    struct pollfd fds[] = {{.fd = output->fd, .events = POLLOUT}, {.fd = output->signal_fd, .events = POLLIN}};

    while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
        if (errno != EINTR)
            return output_fail(output, -errno);
    return !fds[0].revents && fds[1].revents ? output_interrupt(output) : 0;
}

static int on_data(void *context, const char *data, size_t length)
{
    struct output *output = context;
    int error = output->fd < 0 ? output_open(output) : 0;

    while (!error && length) {
        error = output_wait(output);
        if (error)
            break;
        ssize_t written = write(output->fd, data, length < PIPE_BUF ? length : PIPE_BUF);
        if (written < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (written < 0)
            return output_fail(output, -errno);
        output->bytes += (unsigned long long)written;
        data += written;
        length -= (size_t)written;
    }
    return error;
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
static enum cli_exit run(struct cli *cli, const char *path, const char *name, struct output *output)
{
    const struct caller_call call = {.method = "GET", .path = path, .may_be_silent = true};
    struct caller_stream *stream = NULL;
    struct pollfd poll = {.fd = output->signal_fd, .events = POLLIN};
    struct err e = {0};
    int error = caller_new(&cli->settings, &cli->caller, &e), ended = 0;

    if (!error)
        error = caller_stream_open(cli->caller, &call, on_data, output, &stream, &e);
    while (!error && !poll.revents && !output->interrupted && !caller_stream_ended(stream, &ended, &e))
        error = caller_turn(cli->caller, &poll, 1, 1000, &e);
    error = error ? error : ended;
    bool stopped = (poll.revents || output->interrupted) && !output->error;
    enum cli_exit exit = stopped  ? CLI_DONE
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
    int signal_fd CLEANUP(fd_done) = output.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    int error = capture_path(arguments, &path, &e);
    enum cli_exit exit = error ? cli_fail(error, &e) : run(cli, path.data, arguments->items[0], &output);
    if (!exit && isatty(STDERR_FILENO))
        cli_complain("%llu bytes", output.bytes);
    if (output.path && output.fd >= 0 && close(output.fd) < 0 && !exit) {
        cli_complain("cannot write %s: %s", output.path, strerror(errno));
        exit = CLI_TROUBLE;
    }
    buf_done(&path);
    return exit;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#define TAKE "\033[?1049h\033[?25l\033[?7l" /* the other screen, no cursor, no line goes over the edge */
#define GIVE "\033[0m\033[?7h\033[?25h\033[?1049l"

static struct {
    bool taken, at_exit;
    struct termios before;
    int signal_fd;
    sigset_t mask_before;
} terminal = {.signal_fd = -1};

static int write_all(const char *data, size_t length)
{
    while (length) {
        ssize_t written = write(STDOUT_FILENO, data, length);
        if (written < 0 && errno == EAGAIN) { /* somebody else made it nonblocking */
            poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, 1000);
            continue;
        }
        if (written < 0 && errno != EINTR)
            return -EIO;
        if (written > 0) {
            data += written;
            length -= (size_t)written;
        }
    }
    return 0;
}

static void take(void)
{
    struct termios raw = terminal.before;

    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: Ctrl-C and Ctrl-Z are signals */
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    write_all(TAKE, strlen(TAKE));
    terminal.taken = true;
}

static void give(void)
{
    if (!terminal.taken)
        return;
    terminal.taken = false;
    write_all(GIVE, strlen(GIVE));
    tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal.before);
}

int terminal_enter(struct err *ret_err)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP};
    sigset_t signals;

    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &terminal.before) < 0)
        return err_set(ret_err, -ENOTTY, ERR_INTERNAL, "", "there is no terminal here; --once prints one table");
    sigemptyset(&signals);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        sigaddset(&signals, numbers[i]);
    sigprocmask(SIG_BLOCK, &signals, &terminal.mask_before);
    terminal.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (terminal.signal_fd < 0) {
        int error = -errno;
        sigprocmask(SIG_SETMASK, &terminal.mask_before, NULL);
        return err_set_kernel(ret_err, error, "signalfd", "cannot listen for signals");
    }
    if (!terminal.at_exit)
        terminal.at_exit = atexit(give) == 0;
    take();
    return 0;
}

void terminal_leave(void)
{
    give();
    if (terminal.signal_fd < 0)
        return;
    close(terminal.signal_fd);
    terminal.signal_fd = -1;
    sigprocmask(SIG_SETMASK, &terminal.mask_before, NULL);
}

int terminal_signal_fd(void)
{
    return terminal.signal_fd;
}

/* As the shell expects it: stopped by the signal itself, with its own terminal. */
static void stop(void)
{
    sigset_t only;

    give();
    sigemptyset(&only);
    sigaddset(&only, SIGTSTP);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &only, NULL); /* here it stops, and goes on with SIGCONT */
    sigprocmask(SIG_BLOCK, &only, NULL);
    take();
}

enum terminal_news terminal_signal(void)
{
    struct signalfd_siginfo info;

    if (read(terminal.signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return TERMINAL_NOTHING;
    if (info.ssi_signo == SIGTSTP) {
        stop();
        return TERMINAL_RESIZED;
    }
    return info.ssi_signo == SIGWINCH ? TERMINAL_RESIZED : TERMINAL_END;
}

enum terminal_news terminal_key(char *ret_key)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    if (poll(&input, 1, 0) <= 0)
        return TERMINAL_NOTHING;
    ssize_t length = read(STDIN_FILENO, ret_key, 1);
    if (length == 1)
        return TERMINAL_KEY;
    /* readable and nothing there: the other end is gone */
    return length < 0 && (errno == EINTR || errno == EAGAIN) ? TERMINAL_NOTHING : TERMINAL_END;
}

void terminal_size(unsigned *ret_rows, unsigned *ret_columns)
{
    struct winsize size = {0};

    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    *ret_rows = size.ws_row ? size.ws_row : 24;
    *ret_columns = size.ws_col ? size.ws_col : 80;
}

int terminal_draw(const struct buf *frame)
{
    struct buf text = {0};

    buf_add_text(&text, "\033[H");
    buf_add(&text, frame->length ? frame->data : "", frame->length);
    buf_add_text(&text, "\033[J");
    int error = text.failed ? -ENOMEM : write_all(text.data, text.length);
    buf_done(&text);
    return error;
}

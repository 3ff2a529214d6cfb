/* SPDX-License-Identifier: Apache-2.0 */
#include "tunwright/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static const struct {
    const char *name;
    int priority; /* syslog(3)'s, as sd-daemon(3) prefixes them */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARNING] = {"warning", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};
static_assert(ARRAY_SIZE(levels) == LOG_LEVEL_N, "every level has a name");

/* Written once by log_open, before there are threads. */
static const char *log_program = "tunwright";
static enum log_level log_most = LOG_LEVEL_INFO;
static bool log_to_journal;

void log_open(const char *program, enum log_level most)
{
    log_program = program;
    log_most = most;
    log_to_journal = getenv("JOURNAL_STREAM") != NULL;
}

bool log_level_parse(const char *text, enum log_level *ret_level)
{
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
        if (!strcmp(text, levels[i].name)) {
            *ret_level = (enum log_level)i;
            return true;
        }
    return false;
}

bool log_wants(enum log_level level)
{
    return level <= log_most;
}

void log_line(enum log_level level, const char *format, ...)
{
    if (!log_wants(level))
        return;
    int saved_errno = errno;
    char line[LINE_MAX_BYTES];
    int head;
    if (log_to_journal) {
        head = snprintf(line, sizeof line, "<%d>", levels[level].priority);
    } else {
        char now[CLOCK_TEXT_SIZE];
        head = snprintf(line, sizeof line, "%s %s[%d] %s: ", clock_print(clock_realtime_ns(), now), log_program,
                        (int)getpid(), levels[level].name);
    }
    size_t start = head > 0 && (size_t)head < sizeof line ? (size_t)head : 0;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + start, sizeof line - start - 1, format, arguments);
    va_end(arguments);
    size_t length = strlen(line);
    for (size_t i = start; i < length; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[length++] = '\n';
    /* A log that cannot be written is not a reason to fail. */
    ssize_t written = write(STDERR_FILENO, line, length);
    (void)written;
    errno = saved_errno;
}

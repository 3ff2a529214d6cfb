/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal: the whole of it, for a while. What was there before is back afterwards: by terminal_leave, and where the process
 * ends without that, at exit. Signals that end or stop a process, and a changed size, come by a descriptor, so nothing ends
 * it in between.
 */
#ifndef TUNWRIGHT_CLI_TERMINAL_H
#define TUNWRIGHT_CLI_TERMINAL_H

#include "tunwright/base.h"

enum terminal_news { TERMINAL_NOTHING, TERMINAL_RESIZED, TERMINAL_KEY, TERMINAL_END };

/* Takes the terminal of standard input and output; -ENOTTY where there is none. */
int terminal_enter(struct err *ret_err);
void terminal_leave(void);
/* Becomes readable with a signal. A key makes standard input readable. */
int terminal_signal_fd(void);
/* What a signal means. Ctrl-Z is dealt with in here: the terminal is given back for as long as the process is stopped. */
enum terminal_news terminal_signal(void);
/* The next key, if there is one; TERMINAL_END where nobody sits there any more. */
enum terminal_news terminal_key(char *ret_key);
void terminal_size(unsigned *ret_rows, unsigned *ret_columns);
/* Draws a frame, its lines ended by TERMINAL_LINE, over the one before. -EIO. */
int terminal_draw(const struct buf *frame);
#define TERMINAL_LINE "\033[K\r\n"

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* plain: text of strangers, made fit for a terminal. What moves the cursor, colours or hides text, is written as \u001b. */
#ifndef TUNWRIGHT_CLI_PLAIN_H
#define TUNWRIGHT_CLI_PLAIN_H

#include "tunwright/base.h"

enum plain_keep { PLAIN_LINE, PLAIN_LINES }; /* the second lets line feeds pass */

/* Appends the text with control characters (C0, DEL, C1), those that turn the direction of writing, line and paragraph
 * separators, and bytes that are not UTF-8, as escapes. As JSON it means the same as before, where it was JSON. */
void plain_add(struct buf *out, const char *text, size_t length, enum plain_keep keep);
/* How many columns of a terminal the text takes; of text that plain_add wrote. */
size_t plain_width(const char *text);
/* The length of its longest beginning that takes at most so many columns. */
size_t plain_cut(const char *text, size_t columns);

#endif

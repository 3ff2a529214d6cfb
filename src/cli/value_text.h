/* SPDX-License-Identifier: Apache-2.0 */
/* value_text: parts of a device's document in words, as the command line takes them: `udp,local=…,remote=…`. */
#ifndef TUNWRIGHT_CLI_VALUE_TEXT_H
#define TUNWRIGHT_CLI_VALUE_TEXT_H

#include "tunwright/base.h"

struct cJSON;

/* Appends any value. What it appends is not plain yet. */
void value_text_add(struct buf *out, const struct cJSON *value);

#endif

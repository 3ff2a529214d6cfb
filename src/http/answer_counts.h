/* SPDX-License-Identifier: Apache-2.0 */
/* answer_counts: how many answers of which kind were given. From any thread. */
#ifndef TUNWRIGHT_HTTP_ANSWER_COUNTS_H
#define TUNWRIGHT_HTTP_ANSWER_COUNTS_H

#include <stdatomic.h>

enum answer_method {
    ANSWER_GET,
    ANSWER_HEAD,
    ANSWER_POST,
    ANSWER_PUT,
    ANSWER_PATCH,
    ANSWER_DELETE,
    ANSWER_OTHER, /* a client may send any word: it does not become a label */
    ANSWER_METHOD_N
};
const char *answer_method_name(enum answer_method method); /* "GET", …, "other" */

#define ANSWER_CLASS_N 5 /* 1xx to 5xx */
struct answer_counts {
    atomic_ullong of[ANSWER_METHOD_N][ANSWER_CLASS_N];
};
void answer_counts_add(struct answer_counts *counts, const char *method, unsigned status);

#endif

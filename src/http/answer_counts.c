/* SPDX-License-Identifier: Apache-2.0 */
#include "answer_counts.h"

#include "tunwright/base.h"

#include <string.h>

static const char *const names[] = {
    [ANSWER_GET] = "GET",     [ANSWER_HEAD] = "HEAD",     [ANSWER_POST] = "POST",   [ANSWER_PUT] = "PUT",
    [ANSWER_PATCH] = "PATCH", [ANSWER_DELETE] = "DELETE", [ANSWER_OTHER] = "other",
};
static_assert(ARRAY_SIZE(names) == ANSWER_METHOD_N, "each method has its name");

const char *answer_method_name(enum answer_method method)
{
    return names[(unsigned)method < ANSWER_METHOD_N ? method : ANSWER_OTHER];
}

void answer_counts_add(struct answer_counts *counts, const char *method, unsigned status)
{
    unsigned row = 0;
    if (status < 100 || status >= 100 * (ANSWER_CLASS_N + 1))
        return;
    while (row < ANSWER_OTHER && strcmp(method, names[row]) != 0)
        row++;
    atomic_fetch_add_explicit(&counts->of[row][status / 100 - 1], 1, memory_order_relaxed);
}

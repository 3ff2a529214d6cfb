/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: what the targets of the model share. */
#ifndef TUNWRIGHT_FUZZ_H
#define TUNWRIGHT_FUZZ_H

#include "tunwright/model.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Faults where it was refused, and only then, all of which can be shown. */
static inline void faults_check(int result, const struct err_list *errors)
{
    MUST((result < 0) == (errors->count > 0));
    for (size_t i = 0; i < errors->count; i++) {
        const struct err *e = &errors->items[i];
        MUST(e->message[0] != '\0' && utf8_is_valid(e->message, strlen(e->message)));
        MUST(utf8_is_valid(e->pointer, strlen(e->pointer)));
    }
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken as a selector means the same when it is written out again. */
#include "fuzz.h"

static char *selector_text(const struct selector *selector)
{
    struct buf text = {0};

    for (size_t i = 0; i < selector->count; i++) {
        const struct selector_term *term = &selector->terms[i];
        bool valued = term->op == SELECTOR_EQUAL || term->op == SELECTOR_NOT_EQUAL;
        buf_add_text(&text, i > 0 ? "," : "");
        buf_add_text(&text, term->op == SELECTOR_ABSENT ? "!" : "");
        buf_add_text(&text, term->label.key);
        buf_add_text(&text, term->op == SELECTOR_NOT_EQUAL ? "!=" : valued ? "=" : "");
        buf_add_text(&text, term->label.value);
    }
    return buf_take(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct label labels[] = {{"a", "1"}, {"site", "berlin"}};
    const struct device device = {.labels = labels, .label_count = 2};
    struct selector selector, again;
    struct err err = {0};

    char *text = strndup((const char *)data, size);
    MUST(text);
    if (selector_parse(text, &selector, &err) == 0) {
        char *printed = selector_text(&selector);
        MUST(printed && strcmp(printed, text) == 0 && selector_parse(printed, &again, NULL) == 0);
        MUST(selector_matches(&selector, &device) == selector_matches(&again, &device));
        free(printed);
    } else {
        MUST(err.message[0] != '\0' && utf8_is_valid(err.message, strlen(err.message)));
    }
    free(text);
    return 0;
}

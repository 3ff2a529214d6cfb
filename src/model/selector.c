/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <errno.h>
#include <string.h>

static int selector_refuse(struct err *ret_err, const char *term, size_t length, const char *what)
{
    char shown[FAULT_TEXT_SIZE], text[FAULT_TEXT_SIZE];
    size_t most = length < sizeof(text) - 1 ? length : sizeof(text) - 1;

    /* cut at a whole character: fault_text goes by characters */
    while (most < length && most > 0 && ((unsigned char)term[most] & 0xc0) == 0x80)
        most--;
    memcpy(text, term, most);
    text[most] = '\0';
    return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "%s in the selector: %s", fault_text(text, shown), what);
}

/* What stands between two commas. */
static int term_parse(const char *text, size_t length, struct selector_term *ret_term, struct err *ret_err)
{
    struct selector_term term = {.op = SELECTOR_PRESENT};
    const char *key = text, *equals = memchr(text, '=', length);
    size_t key_length = equals ? (size_t)(equals - text) : length;

    if (equals && key_length > 0 && equals[-1] == '!') {
        term.op = SELECTOR_NOT_EQUAL;
        key_length--;
    } else if (equals) {
        term.op = SELECTOR_EQUAL;
    } else if (length > 0 && text[0] == '!') {
        term.op = SELECTOR_ABSENT;
        key++;
        key_length--;
    }
    if (key_length < sizeof(term.label.key))
        memcpy(term.label.key, key, key_length);
    if (!label_key_is_valid(term.label.key))
        return selector_refuse(ret_err, text, length,
                               "a term is KEY=VALUE, KEY!=VALUE, KEY or !KEY, with a label's key");
    if (equals) {
        size_t value_length = length - (size_t)(equals + 1 - text);
        if (value_length >= sizeof(term.label.value))
            return selector_refuse(ret_err, text, length, "a label's value has at most 255 bytes");
        memcpy(term.label.value, equals + 1, value_length);
        if (!label_value_is_valid(term.label.value))
            return selector_refuse(ret_err, text, length, "a label's value has no control characters");
    }
    *ret_term = term;
    return 0;
}

int selector_parse(const char *text, struct selector *ret_selector, struct err *ret_err)
{
    size_t left = strnlen(text, SELECTOR_TEXT_SIZE), count = 0;
    struct selector_term terms[SELECTOR_TERMS_MAX];

    if (left == SELECTOR_TEXT_SIZE)
        return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "a selector has at most %d bytes",
                       SELECTOR_TEXT_SIZE - 1);
    if (!utf8_is_valid(text, left))
        return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "the selector is not UTF-8");
    for (bool more = left > 0; more;) {
        const char *comma = memchr(text, ',', left);
        size_t length = comma ? (size_t)(comma - text) : left;
        if (count == SELECTOR_TERMS_MAX)
            return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "a selector has at most %d terms",
                           SELECTOR_TERMS_MAX);
        int result = term_parse(text, length, &terms[count++], ret_err);
        if (result < 0)
            return result;
        more = comma != NULL;
        text += length + more;
        left -= length + more;
    }
    memset(ret_selector, 0, sizeof(*ret_selector));
    ret_selector->count = count;
    memcpy(ret_selector->terms, terms, count * sizeof(*terms));
    return 0;
}

/* The label's value, NULL: there is none. Labels are sorted by key. */
static const char *label_find(const struct device *device, const char *key)
{
    size_t low = 0, high = device->label_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(device->labels[middle].key, key);
        if (order == 0)
            return device->labels[middle].value;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool term_holds(const struct selector_term *term, const struct device *device)
{
    const char *value = label_find(device, term->label.key);

    switch (term->op) {
    case SELECTOR_EQUAL:
        return value && strcmp(value, term->label.value) == 0;
    case SELECTOR_NOT_EQUAL:
        return !value || strcmp(value, term->label.value) != 0;
    case SELECTOR_PRESENT:
        return value != NULL;
    case SELECTOR_ABSENT:
        break;
    }
    return value == NULL;
}

bool selector_matches(const struct selector *selector, const struct device *device)
{
    for (size_t i = 0; i < selector->count; i++) {
        if (!term_holds(&selector->terms[i], device))
            return false;
    }
    return true;
}

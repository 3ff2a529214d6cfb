/* SPDX-License-Identifier: Apache-2.0 */
/*
 * word: the closed sets of words that the document knows, one list for each enum.
 */
#ifndef TUNWRIGHT_MODEL_WORD_H
#define TUNWRIGHT_MODEL_WORD_H

#include <stddef.h>

struct word_list {
    const char *const *words; /* by the enum's value */
    size_t count;
    size_t first; /* values below it have a word, but no document may say it */
};

extern const struct word_list device_kind_words, route_type_words, worker_type_words, drift_policy_words,
    udp_header_words, role_words, token_kind_words;

/* "unknown" for a value that is none. */
const char *word_name(const struct word_list *list, unsigned value);
/* -EINVAL for a word that is not in the list. */
int word_parse(const struct word_list *list, const char *text, unsigned *ret_value);
/* "tun, tap", for a message. */
#define WORD_LIST_TEXT_SIZE 128
const char *word_list_print(const struct word_list *list, char out[static WORD_LIST_TEXT_SIZE]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "configure_head.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

size_t configure_head_print(const struct configure_head *head, char out[static CONFIGURE_HEAD_SIZE])
{
    int length = snprintf(out, CONFIGURE_HEAD_SIZE,
                          "configure queues=%" PRIu32 " sockets=%" PRIu32 " tag=%016" PRIx64 " program=%s\n",
                          head->queues, head->sockets, head->tag, head->program);
    return (size_t)length; /* numbers of 10 digits at most, and a name of 63: it fits */
}

static int count_parse(const char *value, uint32_t least, uint32_t most, uint32_t *ret_count)
{
    uint64_t number;
    if (text_to_u64(value, most, &number) < 0 || number < least)
        return -EINVAL;
    *ret_count = (uint32_t)number;
    return 0;
}

static int tag_parse(const char *value, uint64_t *ret_tag)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t tag = 0;
    if (strlen(value) != 16)
        return -EINVAL;
    for (size_t i = 0; i < 16; i++) {
        const char *digit = strchr(digits, value[i]);
        if (!digit)
            return -EINVAL;
        tag = tag << 4 | (uint64_t)(digit - digits);
    }
    *ret_tag = tag;
    return 0;
}

enum head_word { WORD_QUEUES, WORD_SOCKETS, WORD_TAG, WORD_PROGRAM, HEAD_WORD_N };

static const char *const word_keys[HEAD_WORD_N] = {"queues=", "sockets=", "tag=", "program="};

static int word_parse(enum head_word word, const char *value, struct configure_head *head)
{
    switch (word) {
    case WORD_QUEUES:
        return count_parse(value, 1, DEVICE_QUEUES_MAX, &head->queues);
    case WORD_SOCKETS:
        return count_parse(value, 0, WORKER_SOCKETS_MAX, &head->sockets);
    case WORD_TAG:
        return tag_parse(value, &head->tag);
    case WORD_PROGRAM:
        return netns_name_is_valid(value) ? text_copy(head->program, sizeof head->program, value) : -EINVAL;
    case HEAD_WORD_N:
        break;
    }
    return -EINVAL;
}

int configure_head_parse(const char *text, size_t length, struct configure_head *ret_head)
{
    static const char verb[] = "configure ";
    char line[CONFIGURE_HEAD_SIZE];
    struct configure_head head = {0};
    unsigned seen = 0;

    if (length >= sizeof line || memchr(text, '\0', length))
        return -EINVAL;
    memcpy(line, text, length);
    line[length] = '\0';
    if (strncmp(line, verb, sizeof verb - 1) != 0)
        return -EINVAL;

    for (char *next = line + sizeof verb - 1; next;) {
        char *text_of_word = strsep(&next, " ");
        unsigned word = 0;
        while (word < HEAD_WORD_N && strncmp(text_of_word, word_keys[word], strlen(word_keys[word])) != 0)
            word++;
        if (word == HEAD_WORD_N || seen & 1U << word)
            return -EINVAL;
        seen |= 1U << word;
        if (word_parse((enum head_word)word, text_of_word + strlen(word_keys[word]), &head) < 0)
            return -EINVAL;
    }
    if (seen != (1U << HEAD_WORD_N) - 1)
        return -EINVAL;
    *ret_head = head;
    return 0;
}

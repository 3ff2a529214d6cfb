/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <string.h>

/* Not ctype.h: what is a letter must not depend on a locale. */
static bool name_letter_or_digit(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* [A-Za-z0-9][A-Za-z0-9_.-]* over exactly `length` bytes, at least one. */
static bool name_text_is_valid(const char *text, size_t length)
{
    if (length == 0 || !name_letter_or_digit(text[0]))
        return false;
    for (size_t i = 1; i < length; i++) {
        if (!name_letter_or_digit(text[i]) && text[i] != '_' && text[i] != '.' && text[i] != '-')
            return false;
    }
    return true;
}

static bool name_is_all_digits(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
    }
    return true;
}

bool device_name_is_valid(const char *name)
{
    static const char *const taken[] = {"all", "default", "lo"};
    size_t length = strnlen(name, DEVICE_NAME_SIZE);

    if (length >= DEVICE_NAME_SIZE || !name_text_is_valid(name, length) || name_is_all_digits(name, length))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
        if (strcmp(name, taken[i]) == 0)
            return false;
    }
    return true;
}

bool device_name_pattern_is_valid(const char *name)
{
    size_t length = strnlen(name, DEVICE_NAME_SIZE);

    if (length >= DEVICE_NAME_SIZE)
        return false;
    if (length < 3 || strcmp(name + length - 2, "%d") != 0)
        return device_name_is_valid(name);
    /* What stands before the number may be a name that is taken: "lo%d" makes lo0. But digits before it make digits. */
    return name_text_is_valid(name, length - 2) && !name_is_all_digits(name, length - 2);
}

bool interface_name_is_valid(const char *name)
{
    static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@+-";
    size_t length = strnlen(name, DEVICE_NAME_SIZE);

    return length > 0 && length < DEVICE_NAME_SIZE && strspn(name, characters) == length && !strchr(".@+-", name[0]);
}

bool netns_name_is_valid(const char *name)
{
    size_t length = strnlen(name, NETNS_NAME_SIZE);
    return length < NETNS_NAME_SIZE && name_text_is_valid(name, length);
}

bool label_key_is_valid(const char *key)
{
    size_t length = strnlen(key, LABEL_KEY_SIZE);
    return length < LABEL_KEY_SIZE && name_text_is_valid(key, length);
}

bool label_value_is_valid(const char *value)
{
    if (strnlen(value, LABEL_VALUE_SIZE) >= LABEL_VALUE_SIZE)
        return false;
    /* U+0080 to U+009F are control characters too. */
    for (const unsigned char *at = (const unsigned char *)value; *at != '\0'; at++) {
        if (*at < ' ' || *at == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0))
            return false;
    }
    return true;
}

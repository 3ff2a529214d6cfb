/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <errno.h>
#include <string.h>

static int refuse(struct err *ret_err, const char *text, const char *what)
{
    return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "%.160s: %s", text, what);
}

static const struct command_option *find_in(const struct command_option *options, size_t count, const char *flag,
                                            size_t length, char letter)
{
    for (size_t i = 0; i < count; i++)
        if (flag ? strlen(options[i].flag) == length && !strncmp(options[i].flag, flag, length)
                 : options[i].letter == letter)
            return &options[i];
    return NULL;
}

/* By its name, or where `flag` is NULL by its letter. */
static const struct command_option *find_option(const struct command *command, const char *flag, size_t length,
                                                char letter)
{
    const struct command_option *found = NULL;

    if (command)
        found = find_in(command->options, command->option_count, flag, length, letter);
    return found ? found : find_in(common_options, common_option_count, flag, length, letter);
}

/* A word that is a command, alone ("list") or with the next ("token create"). Returns how many words it takes. */
static int find_command(const char *word, const char *next, const struct command **ret_command)
{
    size_t length = strlen(word);
    bool begins = false;

    for (size_t i = 0; i < command_count; i++) {
        const char *name = commands[i].name;
        if (!strcmp(name, word)) {
            *ret_command = &commands[i];
            return 1;
        }
        if (!strncmp(name, word, length) && name[length] == ' ') {
            begins = true;
            if (next && !strcmp(name + length + 1, next)) {
                *ret_command = &commands[i];
                return 2;
            }
        }
    }
    return begins ? -1 : 0;
}

/* The words that are not options, nor their values, in `words`; the command's own options are not known yet, so those
 * before it must be common ones. */
static int read_command(struct arguments *arguments, int count, char **items, int *ret_at, struct err *ret_err)
{
    for (int i = 0; i < count; i++) {
        const char *item = items[i];
        if (*item == '-' && item[1]) {
            const char *equal = strchr(item, '=');
            const struct command_option *option =
                item[1] == '-' ? find_option(NULL, item + 2, equal ? (size_t)(equal - item - 2) : strlen(item + 2), 0)
                               : find_option(NULL, NULL, 0, item[1]);
            if (!option)
                return refuse(ret_err, item, "there is no such option before a command");
            if (option->argument && !(item[1] == '-' ? equal != NULL : item[2] != '\0'))
                i++;
            continue;
        }
        int words = find_command(item, i + 1 < count ? items[i + 1] : NULL, &arguments->command);
        if (words < 0)
            return refuse(ret_err, item, "this takes one more word: list, create or delete");
        if (!words)
            return refuse(ret_err, item, "there is no such command; `tunwright help` has them all");
        *ret_at = i;
        return words;
    }
    *ret_at = count;
    return 0;
}

static int keep_value(struct arguments *arguments, const struct command_option *option, const char *text,
                      struct err *ret_err)
{
    if (arguments->value_count == ARGUMENTS_MAX)
        return refuse(ret_err, option->flag, "these are too many options");
    if (!option->repeats && arguments_have(arguments, option->flag) && option->argument)
        return refuse(ret_err, option->flag, "this option is given twice");
    arguments->values[arguments->value_count].option = option;
    arguments->values[arguments->value_count++].text = text;
    return 0;
}

/* "--flag", "--flag=value"; *at is where the value may stand. */
static int read_long(struct arguments *arguments, int count, char **items, int *at, struct err *ret_err)
{
    const char *item = items[*at], *equal = strchr(item, '=');
    size_t length = equal ? (size_t)(equal - item - 2) : strlen(item + 2);
    const struct command_option *option = find_option(arguments->command, item + 2, length, 0);

    if (!option)
        return refuse(ret_err, item, "there is no such option here");
    if (!option->argument)
        return equal ? refuse(ret_err, item, "this option takes no value") : keep_value(arguments, option, "", ret_err);
    if (!equal && *at + 1 >= count)
        return refuse(ret_err, item, "this option takes a value");
    return keep_value(arguments, option, equal ? equal + 1 : items[++*at], ret_err);
}

/* "-n", "-nl SELECTOR", "-ojson" */
static int read_letters(struct arguments *arguments, int count, char **items, int *at, struct err *ret_err)
{
    for (const char *letter = items[*at] + 1; *letter; letter++) {
        const struct command_option *option = find_option(arguments->command, NULL, 0, *letter);
        int error;
        if (!option)
            return refuse(ret_err, items[*at], "there is no such option here");
        if (option->argument) {
            if (!letter[1] && *at + 1 >= count)
                return refuse(ret_err, items[*at], "this option takes a value");
            return keep_value(arguments, option, letter[1] ? letter + 1 : items[++*at], ret_err);
        }
        if ((error = keep_value(arguments, option, "", ret_err)))
            return error;
    }
    return 0;
}

int arguments_read(struct arguments *ret_arguments, int count, char **items, struct err *ret_err)
{
    struct arguments *arguments = ret_arguments;
    int at = 0, error = 0;
    bool options_end = false;

    memset(arguments, 0, sizeof *arguments);
    int words = read_command(arguments, count, items, &at, ret_err);
    if (words < 0)
        return words;
    for (int i = 0; i < count && !error; i++) {
        char *item = items[i];
        if (words && i == at)
            i += words - 1;
        else if (!options_end && !strcmp(item, "--"))
            options_end = true;
        else if (!options_end && item[0] == '-' && item[1] == '-')
            error = read_long(arguments, count, items, &i, ret_err);
        else if (!options_end && item[0] == '-' && item[1])
            error = read_letters(arguments, count, items, &i, ret_err);
        else if (arguments->count == ARGUMENTS_MAX)
            error = refuse(ret_err, item, "these are too many arguments");
        else
            arguments->items[arguments->count++] = item;
    }
    const struct command *command = arguments->command;
    if (error || !command || arguments_have(arguments, "help") || arguments_have(arguments, "version"))
        return error;
    if (arguments->count < command->least)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "%s: this takes %s", command->name,
                       command->arguments);
    if (arguments->count > command->most)
        return refuse(ret_err, arguments->items[command->most], "this argument is one too many");
    return 0;
}

const char *arguments_next(const struct arguments *arguments, const char *flag, size_t *at)
{
    while (*at < arguments->value_count) {
        size_t i = (*at)++;
        if (!strcmp(arguments->values[i].option->flag, flag))
            return arguments->values[i].text;
    }
    return NULL;
}

const char *arguments_text(const struct arguments *arguments, const char *flag)
{
    size_t at = 0;
    const char *last = NULL;

    for (const char *text; (text = arguments_next(arguments, flag, &at));)
        last = text;
    return last;
}

bool arguments_have(const struct arguments *arguments, const char *flag)
{
    return arguments_text(arguments, flag) != NULL;
}

int arguments_number(const struct arguments *arguments, const char *flag, uint64_t least, uint64_t most,
                     uint64_t *ret_value, struct err *ret_err)
{
    const char *text = arguments_text(arguments, flag);
    uint64_t value;

    if (!text)
        return 0;
    if (text_to_u64(text, most, &value) < 0 || value < least)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "--%s %.60s: this must be a number from %llu to %llu",
                       flag, text, (unsigned long long)least, (unsigned long long)most);
    *ret_value = value;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command: the table of commands. A row is all there is to a command: the parser, the help and the completion of three
 * shells are made from it. Adding one is adding a row (command.c) and its function (command_<noun>.c).
 */
#ifndef TUNWRIGHT_CLI_COMMAND_H
#define TUNWRIGHT_CLI_COMMAND_H

#include "cli/cli.h"

/* What a value is completed with: words with blanks between, or one of these. */
#define COMPLETE_DEVICE "@device"
#define COMPLETE_FILE   "@file"
#define COMPLETE_TOKEN  "@token"
#define COMPLETE_FIELD  "@field" /* of a device, as `set` takes them */

struct command_option {
    const char *flag;     /* without the dashes */
    char letter;          /* or 0 */
    const char *argument; /* its name in the help, NULL for a switch */
    const char *help;
    const char *complete; /* or NULL */
    bool repeats;
};

struct arguments;

struct command {
    const char *name;      /* "show", "token create" */
    const char *arguments; /* for the usage: "NAME FIELD=VALUE..." */
    const char *summary;   /* one line */
    const char *detail;    /* more lines, or NULL */
    const struct command_option *options;
    size_t option_count;
    unsigned least, most;     /* positional arguments */
    const char *first, *rest; /* how they are completed, or NULL */
    enum cli_exit (*run)(struct cli *cli, const struct arguments *arguments);
};

extern const struct command commands[];
extern const size_t command_count;
/* Those of every command. */
extern const struct command_option common_options[];
extern const size_t common_option_count;

#define ARGUMENTS_MAX 1024

/* Of the counters' stream, as api/openapi.yaml has it. */
#define INTERVAL_LEAST_MS 100
#define INTERVAL_MOST_MS  60000

struct arguments {
    const struct command *command; /* NULL: none was named */
    size_t count, value_count;
    const char *items[ARGUMENTS_MAX]; /* the positional ones */
    struct {
        const struct command_option *option;
        const char *text;
    } values[ARGUMENTS_MAX];
};

/* Reads a command line (without the program's name), options anywhere. 0, or -EINVAL with what is wrong. */
int arguments_read(struct arguments *ret_arguments, int count, char **items, struct err *ret_err);
bool arguments_have(const struct arguments *arguments, const char *flag);
/* The last that was given, or NULL. */
const char *arguments_text(const struct arguments *arguments, const char *flag);
/* The next after *at, which begins with 0; NULL where there are no more. */
const char *arguments_next(const struct arguments *arguments, const char *flag, size_t *at);
/* A number from `least` to `most`; *ret_value stays as it is where the option was not given. */
int arguments_number(const struct arguments *arguments, const char *flag, uint64_t least, uint64_t most,
                     uint64_t *ret_value, struct err *ret_err);

/* The usage of one command, or the overview. */
void help_command(const struct command *command, struct buf *out);
void help_overview(struct buf *out);
/* The completion for bash, zsh or fish; false for another shell. */
bool completion_print(const char *shell, struct buf *out);

/* The rows' functions, by file. */
/* command_devices.c */
enum cli_exit command_list(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_show(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_create(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_set(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_delete(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_adopt(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_release(struct cli *cli, const struct arguments *arguments);
/* command_apply.c */
enum cli_exit command_apply(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_diff(struct cli *cli, const struct arguments *arguments);
/* command_config.c */
enum cli_exit command_export(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_pending(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_confirm(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_revert(struct cli *cli, const struct arguments *arguments);
/* command_watch.c */
enum cli_exit command_watch(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_events(struct cli *cli, const struct arguments *arguments);
/* command_capture.c */
enum cli_exit command_capture(struct cli *cli, const struct arguments *arguments);
/* command_top.c */
enum cli_exit command_top(struct cli *cli, const struct arguments *arguments);
/* command_tokens.c */
enum cli_exit command_token_list(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_token_create(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_token_delete(struct cli *cli, const struct arguments *arguments);
/* command_meta.c */
enum cli_exit command_completion(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_version(struct cli *cli, const struct arguments *arguments);
enum cli_exit command_help(struct cli *cli, const struct arguments *arguments);

#endif

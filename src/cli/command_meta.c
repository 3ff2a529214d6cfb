/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <cjson/cJSON.h>
#include <string.h>

enum cli_exit command_completion(struct cli *cli, const struct arguments *arguments)
{
    struct buf text = {0};

    (void)cli;
    if (!completion_print(arguments->items[0], &text)) {
        cli_complain("%s: this must be bash, zsh or fish", arguments->items[0]);
        return CLI_USAGE;
    }
    enum cli_exit exit = cli_write(&text);
    buf_done(&text);
    return exit;
}

enum cli_exit command_version(struct cli *cli, const struct arguments *arguments)
{
    struct caller_reply reply = {0};
    cJSON *version = NULL;
    enum cli_exit exit = cli->format == CLI_JSON ? CLI_DONE : cli_print("tunwright %s\n", TUNWRIGHT_VERSION);

    (void)arguments;
    if (!exit)
        exit = cli_get(cli, "/v1/version", &reply, &version);
    if (!exit && cli->format == CLI_JSON)
        exit = cli_json(cli, &reply.body);
    else if (!exit)
        exit = cli_print("tunwrightd %s, API %s, at %s\n", json_text(version, "version"), json_text(version, "api"),
                         caller_where(cli->caller));
    cJSON_Delete(version);
    caller_reply_done(&reply);
    return exit;
}

enum cli_exit command_help(struct cli *cli, const struct arguments *arguments)
{
    struct buf text = {0};
    const char *first = arguments->count > 0 ? arguments->items[0] : NULL;
    const char *second = arguments->count > 1 ? arguments->items[1] : NULL;
    bool found = !first;

    (void)cli;
    if (!first)
        help_overview(&text);
    for (size_t i = 0; first && i < command_count; i++) {
        const char *name = commands[i].name;
        size_t length = strlen(first);
        bool begins = !strncmp(name, first, length) && name[length] == ' ';
        if (second ? begins && !strcmp(name + length + 1, second) : begins || !strcmp(name, first)) {
            buf_add_text(&text, text.length ? "\n" : "");
            help_command(&commands[i], &text);
            found = true;
        }
    }
    enum cli_exit exit = CLI_USAGE;
    if (found)
        exit = cli_write(&text);
    else
        cli_complain("%s: there is no such command; `tunwright help` has them all", first);
    buf_done(&text);
    return exit;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

static void print_options(const struct command_option *options, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        char left[96], letter[8] = "    ";
        if (options[i].letter)
            snprintf(letter, sizeof letter, "-%c, ", options[i].letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, options[i].flag, options[i].argument ? " " : "",
                 options[i].argument ? options[i].argument : "");
        if (strlen(left) > 26)
            buf_printf(out, "  %s\n  %-26s %s\n", left, "", options[i].help);
        else
            buf_printf(out, "  %-26s %s\n", left, options[i].help);
    }
}

void help_command(const struct command *command, struct buf *out)
{
    buf_printf(out, "usage: tunwright %s%s%s [OPTION]...\n\n%s\n", command->name, *command->arguments ? " " : "",
               command->arguments, command->summary);
    if (command->detail)
        buf_printf(out, "\n%s\n", command->detail);
    buf_add_text(out, "\n");
    print_options(command->options, command->option_count, out);
    if (command->option_count)
        buf_add_text(out, "\n");
    print_options(common_options, common_option_count, out);
}

void help_overview(struct buf *out)
{
    buf_add_text(out, "usage: tunwright COMMAND [ARGUMENT]... [OPTION]...\n\n");
    for (size_t i = 0; i < command_count; i++) {
        char left[96];
        snprintf(left, sizeof left, "%s %s", commands[i].name, commands[i].arguments);
        buf_printf(out, "  %-30s %s\n", left, commands[i].summary);
    }
    buf_add_text(out, "\nOf all commands:\n\n");
    print_options(common_options, common_option_count, out);
    buf_add_text(out, "\n`tunwright COMMAND --help` has more; tunwright(1) has all of it, with examples.\n"
                      "Exit status: 0 done, 1 refused, 2 usage, 3 nobody there, 4 not found, 5 conflict, 6 differs,\n"
                      "7 too late, 8 the daemon failed, 9 trouble here.\n");
}

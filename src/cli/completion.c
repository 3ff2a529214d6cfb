/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is printed is a script whose words are all from the table of commands; names of devices and tokens are asked of the
 * daemon while somebody types, by `tunwright list -o name`, and of them only those that a device can have are taken.
 */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#define FIELDS                                                                                                         \
    "up= mtu= txqueuelen= queues= mac= owner= group= netns= master= drift= addresses= addresses+= addresses-= "        \
    "routes= routes+= routes-= worker= worker.local= worker.remote= labels."

/* A single-quoted word for the shells; none of ours has a single quote in it but in its help. */
static void add_quoted(struct buf *out, const char *text, const char *quote)
{
    buf_add_text(out, "'");
    for (; *text; text++)
        if (*text == '\'')
            buf_add_text(out, quote);
        else
            buf_add(out, text, 1);
    buf_add_text(out, "'");
}

/* What the completion of a value is, as an expression of bash or zsh that gives words; NULL: files. */
static const char *words_of(const char *complete)
{
    if (!complete)
        return "";
    if (!strcmp(complete, COMPLETE_FILE))
        return NULL;
    if (!strcmp(complete, COMPLETE_DEVICE))
        return "$(_tunwright_names list)";
    if (!strcmp(complete, COMPLETE_TOKEN))
        return "$(_tunwright_names token list)";
    if (!strcmp(complete, COMPLETE_FIELD))
        return FIELDS;
    return complete;
}

static void add_options(struct buf *out, const struct command_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, " --%s", options[i].flag);
}

/* The first words of all commands, each once; "@command" completes to them, too. */
static void add_commands(struct buf *out)
{
    const char *before = "";

    for (size_t i = 0; i < command_count; i++) {
        size_t length = strcspn(commands[i].name, " ");
        if (strncmp(before, commands[i].name, length) != 0 || (before[length] && before[length] != ' '))
            buf_printf(out, "%s%.*s", i ? " " : "", (int)length, commands[i].name);
        before = commands[i].name;
    }
}

static void add_subcommands(struct buf *out, const char *word)
{
    size_t length = strlen(word);

    for (size_t i = 0; i < command_count; i++)
        if (!strncmp(commands[i].name, word, length) && commands[i].name[length] == ' ')
            buf_printf(out, " %s", commands[i].name + length + 1);
}

/* `NAME) …` of a case for each option with a value: what goes behind it. */
static void add_value_cases(struct buf *out, const char *command, const struct command_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *words = words_of(options[i].complete);
        if (!options[i].argument)
            continue;
        buf_printf(out, "    '%s --%s'", command, options[i].flag);
        if (options[i].letter)
            buf_printf(out, " | '%s -%c'", command, options[i].letter);
        if (words)
            buf_printf(out, ") offered=\"%s\"; return ;;\n", words);
        else
            buf_add_text(out, ") offered=@file; return ;;\n");
    }
}

static void add_first(struct buf *out, const char *complete)
{
    if (complete && !strcmp(complete, "@command"))
        add_commands(out);
    else
        buf_add_text(out, words_of(complete) ? words_of(complete) : "");
}

/* The part that bash and zsh share: a function that sets `offered` for what was typed before, given as arguments. */
static void add_choice(struct buf *out)
{
    buf_add_text(out, "# Device and token names, and nothing else that the daemon may say.\n"
                      "_tunwright_names() { tunwright \"$@\" -o name 2>/dev/null </dev/null | "
                      "grep -E '^[A-Za-z0-9][A-Za-z0-9_.-]*$'; }\n\n"
                      "# What may follow the words so far: sets `offered`, and `flags` for a word that begins with -.\n"
                      "_tunwright_choose() {\n"
                      "  local command='' count=0 word before=''\n"
                      "  offered='' flags=''\n"
                      "  for word in \"$@\"; do\n"
                      "    case \"$command\" in\n"
                      "    '' | token)\n"
                      "      case \"$word\" in -*) ;; *) command=\"${command:+$command }$word\" ;; esac ;;\n"
                      "    *) case \"$word\" in -*) ;; *) count=$((count + 1)) ;; esac ;;\n"
                      "    esac\n"
                      "    before=$word\n"
                      "  done\n"
                      "  case \"$command $before\" in\n");
    for (size_t i = 0; i < command_count; i++) {
        add_value_cases(out, commands[i].name, commands[i].options, commands[i].option_count);
        add_value_cases(out, commands[i].name, common_options, common_option_count);
    }
    add_value_cases(out, "", common_options, common_option_count);
    buf_add_text(out, "  esac\n  flags='");
    add_options(out, common_options, common_option_count);
    buf_add_text(out, "'\n  case \"$command\" in\n  '') offered='");
    add_commands(out);
    buf_add_text(out, "' ;;\n  token) offered='");
    add_subcommands(out, "token");
    buf_add_text(out, "' ;;\n");
    for (size_t i = 0; i < command_count; i++) {
        buf_printf(out, "  '%s')\n    case $count in 0) offered=\"", commands[i].name);
        add_first(out, commands[i].first);
        buf_add_text(out, "\" ;; *) offered=\"");
        add_first(out, commands[i].rest);
        buf_add_text(out, "\" ;; esac\n    flags='");
        add_options(out, commands[i].options, commands[i].option_count);
        buf_add_text(out, "'\"$flags\" ;;\n");
    }
    buf_add_text(out, "  esac\n}\n\n");
}

static void print_bash(struct buf *out)
{
    buf_add_text(out, "# tunwright completion bash\n");
    add_choice(out);
    buf_add_text(out, "_tunwright() {\n"
                      "  local offered flags current=${COMP_WORDS[COMP_CWORD]}\n"
                      "  COMPREPLY=()\n"
                      "  _tunwright_choose \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"\n"
                      "  if [[ $offered == @file ]]; then\n"
                      "    compopt -o default 2>/dev/null\n"
                      "    return\n"
                      "  fi\n"
                      "  [[ $current == -* || -z $offered ]] && offered=$flags\n"
                      "  mapfile -t COMPREPLY < <(compgen -W \"$offered\" -- \"$current\")\n"
                      "  [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=.,] ]] && compopt -o nospace 2>/dev/null\n"
                      "  return 0\n"
                      "}\n"
                      "complete -F _tunwright tunwright\n");
}

static void print_zsh(struct buf *out)
{
    buf_add_text(out, "#compdef tunwright\n");
    add_choice(out);
    buf_add_text(out, "_tunwright() {\n"
                      "  local -a typed choices\n"
                      "  typed=(\"${(@)words[2,CURRENT-1]}\")\n"
                      "  local offered flags\n"
                      "  _tunwright_choose \"${typed[@]}\"\n"
                      "  if [[ $offered == @file ]]; then\n"
                      "    _files\n"
                      "    return\n"
                      "  fi\n"
                      "  [[ $PREFIX == -* || -z $offered ]] && offered=$flags\n"
                      "  choices=(${=offered})\n"
                      "  compadd -Q -S '' -- ${choices:#*[^=.,]}\n"
                      "  compadd -- ${choices:#*[=.,]}\n"
                      "}\n"
                      "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _tunwright \"$@\"; "
                      "else compdef _tunwright tunwright; fi\n");
}

static void add_fish_words(struct buf *out, const char *complete)
{
    if (!complete)
        return;
    if (!strcmp(complete, COMPLETE_DEVICE) || !strcmp(complete, COMPLETE_TOKEN)) {
        buf_printf(out, " -a '(__tunwright_names %s)'", strcmp(complete, COMPLETE_TOKEN) ? "list" : "token list");
    } else if (!strcmp(complete, COMPLETE_FILE)) {
        buf_add_text(out, " -F");
    } else {
        buf_add_text(out, " -a '");
        add_first(out, complete);
        buf_add_text(out, "'");
    }
}

static void add_fish_options(struct buf *out, const char *condition, const struct command_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "complete -c tunwright%s -l %s", condition, options[i].flag);
        if (options[i].letter)
            buf_printf(out, " -s %c", options[i].letter);
        if (options[i].argument)
            buf_add_text(out, options[i].complete && !strcmp(options[i].complete, COMPLETE_FILE) ? " -r" : " -x");
        add_fish_words(out, options[i].complete);
        buf_add_text(out, " -d ");
        add_quoted(out, options[i].help, "\\'");
        buf_add_text(out, "\n");
    }
}

static void print_fish(struct buf *out)
{
    buf_add_text(out,
                 "# tunwright completion fish\n"
                 "function __tunwright_names\n"
                 "    tunwright $argv -o name 2>/dev/null </dev/null | string match -r '^[A-Za-z0-9][A-Za-z0-9_.-]*$'\n"
                 "end\n"
                 "complete -c tunwright -f\n");
    for (size_t i = 0; i < command_count; i++) {
        const char *name = commands[i].name, *blank = strchr(name, ' ');
        char condition[128];
        if (blank) {
            if (i == 0 || strncmp(commands[i - 1].name, name, (size_t)(blank - name + 1)) != 0)
                buf_printf(out, "complete -c tunwright -n __fish_use_subcommand -a %.*s -d 'tokens'\n",
                           (int)(blank - name), name);
            buf_printf(
                out, "complete -c tunwright -n '__fish_seen_subcommand_from %.*s; and not __fish_seen_subcommand_from",
                (int)(blank - name), name);
            add_subcommands(out, "token");
            buf_printf(out, "' -a %s -d ", blank + 1);
            snprintf(condition, sizeof condition,
                     " -n '__fish_seen_subcommand_from %.*s; and __fish_seen_subcommand_from %s'", (int)(blank - name),
                     name, blank + 1);
        } else {
            buf_printf(out, "complete -c tunwright -n __fish_use_subcommand -a %s -d ", name);
            snprintf(condition, sizeof condition,
                     " -n '__fish_seen_subcommand_from %s; and not __fish_seen_subcommand_from token'", name);
        }
        add_quoted(out, commands[i].summary, "\\'");
        buf_add_text(out, "\n");
        if (commands[i].first) {
            buf_printf(out, "complete -c tunwright%s", condition);
            add_fish_words(out, commands[i].first);
            buf_add_text(out, "\n");
        }
        if (commands[i].rest && commands[i].rest != commands[i].first) {
            buf_printf(out, "complete -c tunwright%s", condition);
            add_fish_words(out, commands[i].rest);
            buf_add_text(out, "\n");
        }
        add_fish_options(out, condition, commands[i].options, commands[i].option_count);
    }
    add_fish_options(out, "", common_options, common_option_count);
}

bool completion_print(const char *shell, struct buf *out)
{
    if (!strcmp(shell, "bash"))
        print_bash(out);
    else if (!strcmp(shell, "zsh"))
        print_zsh(out);
    else if (!strcmp(shell, "fish"))
        print_fish(out);
    else
        return false;
    return true;
}

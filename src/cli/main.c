/* SPDX-License-Identifier: Apache-2.0 */
/* tunwright: the command line of the API. What it does is in the table of command.c. */
#include "cli/command.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define TOKEN_MAX 4096

/* A flag, or its variable; an empty one is as good as none. */
static const char *setting(const struct arguments *arguments, const char *flag, const char *variable)
{
    const char *text = arguments_text(arguments, flag);

    if (!text)
        text = getenv(variable);
    return text && *text ? text : NULL;
}

static int read_token_file(const char *path, char out[static TOKEN_MAX + 2], struct err *ret_err)
{
    FILE *file = fopen(path, "re");

    if (!file)
        return err_set_kernel(ret_err, -errno, "open", "cannot read the token in %.200s", path);
    size_t length = fread(out, 1, TOKEN_MAX + 1, file);
    bool failed = ferror(file);
    fclose(file);
    if (failed || length > TOKEN_MAX)
        return err_set(ret_err, -EIO, ERR_INTERNAL, "", "%.200s holds no token", path);
    out[length] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    return 0;
}

/* The token is not taken from the command line, which everybody on the machine can read. */
static int read_settings(struct cli *cli, const struct arguments *arguments, char token[static TOKEN_MAX + 2],
                         struct err *ret_err)
{
    struct caller_settings *settings = &cli->settings;
    const char *file = setting(arguments, "token-file", "TUNWRIGHT_TOKEN_FILE"), *text = getenv("TUNWRIGHT_TOKEN");
    const char *format = setting(arguments, "output", "TUNWRIGHT_OUTPUT");
    uint64_t timeout_s = CALLER_TIMEOUT_S;
    int error = arguments_number(arguments, "timeout", 1, 86400, &timeout_s, ret_err);

    settings->timeout_s = (unsigned)timeout_s;
    settings->socket = arguments_text(arguments, "socket");
    /* of both, the one on the command line counts */
    settings->url = settings->socket ? arguments_text(arguments, "url") : setting(arguments, "url", "TUNWRIGHT_URL");
    if (settings->socket && settings->url)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "--socket and --url: one of them");
    if (!settings->socket)
        settings->socket = setting(arguments, "socket", "TUNWRIGHT_SOCKET");
    if (!settings->socket)
        settings->socket = CALLER_SOCKET;
    settings->ca = setting(arguments, "ca", "TUNWRIGHT_CA");
    settings->cert = setting(arguments, "cert", "TUNWRIGHT_CERT");
    settings->key = setting(arguments, "key", "TUNWRIGHT_KEY");
    if (!error && settings->url && (arguments_have(arguments, "token-file") || !text || !*text) && file) {
        error = read_token_file(file, token, ret_err);
        settings->token = token;
    } else if (!error && settings->url && text && *text) {
        settings->token = text;
    }
    if (format && !strcmp(format, "json"))
        cli->format = CLI_JSON;
    else if (format && !strcmp(format, "name"))
        cli->format = CLI_NAME;
    else if (format && strcmp(format, "table") != 0)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "--output %.60s: this must be table, json or name",
                       format);
    cli->terminal = isatty(STDOUT_FILENO);
    const char *kind = getenv("TERM"), *plain = getenv("NO_COLOR");
    cli->colour = cli->terminal && !(plain && *plain) && kind && *kind && strcmp(kind, "dumb") != 0;
    return error;
}

static enum cli_exit print_help(const struct command *command)
{
    struct buf text = {0};

    if (command)
        help_command(command, &text);
    else
        help_overview(&text);
    enum cli_exit exit = cli_write(&text);
    buf_done(&text);
    return exit;
}

int main(int argc, char **argv)
{
    static struct arguments arguments;
    static char token[TOKEN_MAX + 2];
    const struct rlimit no_core = {0, 0};
    struct cli cli = {0};
    struct err e = {0};
    enum cli_exit exit;

    setlocale(LC_CTYPE, "");
    setrlimit(RLIMIT_CORE, &no_core); /* it may hold a token */
    signal(SIGPIPE, SIG_IGN);         /* a reader that went away is an error of write(2) */
    if (arguments_read(&arguments, argc - 1, argv + 1, &e) < 0) {
        cli_complain("%s", e.message);
        return CLI_USAGE;
    }
    if (arguments_have(&arguments, "version"))
        return (int)cli_print("tunwright %s\n", TUNWRIGHT_VERSION);
    if (arguments_have(&arguments, "help"))
        return (int)print_help(arguments.command);
    if (!arguments.command) {
        cli_complain("which command? `tunwright help` has them all");
        return CLI_USAGE;
    }
    int error = read_settings(&cli, &arguments, token, &e);
    exit = error ? cli_fail(error, &e) : arguments.command->run(&cli, &arguments);
    cli_done(&cli);
    explicit_bzero(token, sizeof token);
    return (int)exit;
}

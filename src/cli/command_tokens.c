/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/change.h"
#include "cli/plain.h"
#include "cli/table.h"

#include <cjson/cJSON.h>
#include <string.h>

enum cli_exit command_token_list(struct cli *cli, const struct arguments *arguments)
{
    static const char *const heads[] = {"NAME", "KIND", "ROLE", "SELECTOR", "CREATED", "EXPIRES"};
    struct caller_reply reply = {0};
    struct table table;
    struct buf text = {0};
    cJSON *list = NULL;
    const cJSON *token;
    enum cli_exit exit = cli_get(cli, "/v1/tokens", &reply, &list);

    (void)arguments;
    table_begin(&table, heads, ARRAY_SIZE(heads));
    cJSON_ArrayForEach (token, json_array(list, "items")) {
        const char *selector = json_text(token, "selector"), *expires = json_text(token, "expires");
        const char *name = json_text(token, "name");
        if (cli->format == CLI_NAME) {
            plain_add(&text, name, strlen(name), PLAIN_LINE);
            buf_add_text(&text, "\n");
            continue;
        }
        table_add(&table, TONE_BOLD, "%s", name);
        table_add(&table, TONE_NONE, "%s", json_text(token, "kind"));
        table_add(&table, TONE_NONE, "%s", json_text(token, "role"));
        table_add(&table, TONE_NONE, "%s", *selector ? selector : "-");
        table_add(&table, TONE_NONE, "%s", json_text(token, "created"));
        table_add(&table, TONE_NONE, "%s", *expires ? expires : "never");
    }
    if (!exit && cli->format == CLI_TABLE)
        table_print(&table, cli->colour, SIZE_MAX, 0, "\n", &text);
    if (!exit)
        exit = cli->format == CLI_JSON ? cli_json(cli, &reply.body) : cli_write(&text);
    table_done(&table);
    buf_done(&text);
    cJSON_Delete(list);
    caller_reply_done(&reply);
    return exit;
}

/* The secret alone goes to standard output, so that `>file` keeps it and nothing else. */
static enum cli_exit print_secret(const struct caller_reply *reply)
{
    cJSON *token = NULL;
    enum cli_exit exit = cli_tree(reply, &token);

    if (exit)
        return exit;
    if (*json_text(token, "token"))
        exit = cli_print("%s\n", json_text(token, "token"));
    else
        exit = cli_print("%s: created\n", json_text(token, "name"));
    cJSON *secret = cJSON_GetObjectItemCaseSensitive(token, "token");
    if (cJSON_IsString(secret))
        explicit_bzero(secret->valuestring, strlen(secret->valuestring));
    cJSON_Delete(token);
    return exit;
}

enum cli_exit command_token_create(struct cli *cli, const struct arguments *arguments)
{
    static const char *const options[] = {"role", "kind", "selector", "expires"};
    struct caller_reply reply = {0};
    cJSON *body = cJSON_CreateObject();
    bool fine = cJSON_AddStringToObject(body, "name", arguments->items[0]);
    enum cli_exit exit;

    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (arguments_have(arguments, options[i]))
            fine = fine && cJSON_AddStringToObject(body, options[i], arguments_text(arguments, options[i]));
    const struct change change = {.method = "POST",
                                  .path = "/v1/tokens",
                                  .body = body,
                                  .name = arguments->items[0],
                                  .quiet = !arguments_have(arguments, "dry-run")};
    exit = fine ? change_make(cli, arguments, &change, &reply) : cli_no_memory();
    if (!exit && change.quiet)
        exit = cli->format == CLI_JSON ? cli_json(cli, &reply.body) : print_secret(&reply);
    if (reply.body.length)
        explicit_bzero(reply.body.data, reply.body.length);
    caller_reply_done(&reply);
    cJSON_Delete(body);
    return exit;
}

enum cli_exit command_token_delete(struct cli *cli, const struct arguments *arguments)
{
    struct buf path = {0};

    buf_add_text(&path, "/v1/tokens/");
    caller_encode(&path, arguments->items[0]);
    const struct change change = {
        .method = "DELETE", .path = path.data, .name = arguments->items[0], .done = "deleted"};
    enum cli_exit exit = path.failed ? cli_no_memory() : change_make(cli, arguments, &change, NULL);
    buf_done(&path);
    return exit;
}

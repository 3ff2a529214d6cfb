/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/change.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

/* ---- export ------------------------------------------------------------------------------------------------------- */

static enum cli_exit write_file(const char *path, const struct buf *body)
{
    FILE *file = fopen(path, "we");

    if (!file) {
        cli_complain("cannot write %s: %s", path, strerror(errno));
        return CLI_TROUBLE;
    }
    bool failed = body->length && fwrite(body->data, 1, body->length, file) != body->length;
    failed = failed || (body->length && body->data[body->length - 1] != '\n' && fputc('\n', file) == EOF);
    failed = fclose(file) != 0 || failed;
    if (!failed)
        return CLI_DONE;
    cli_complain("cannot write %s: %s", path, strerror(errno));
    return CLI_TROUBLE;
}

/* Of a configuration, the devices that are named; each must be there. */
static enum cli_exit pick(const struct arguments *arguments, cJSON *config, struct buf *ret_body)
{
    cJSON *devices = cJSON_DetachItemFromObjectCaseSensitive(config, "devices");
    cJSON *picked = cJSON_AddArrayToObject(config, "devices");
    enum cli_exit exit = picked ? CLI_DONE : cli_no_memory();

    for (size_t i = 0; i < arguments->count && !exit; i++) {
        cJSON *device = devices ? devices->child : NULL;
        while (device && strcmp(json_text(device, "name"), arguments->items[i]) != 0)
            device = device->next;
        if (!device) {
            cli_complain("there is no device %s", arguments->items[i]);
            exit = CLI_NOT_FOUND;
        } else if (!cJSON_AddItemToArray(picked, cJSON_DetachItemViaPointer(devices, device))) {
            exit = cli_no_memory();
        }
    }
    char *text = exit ? NULL : cJSON_PrintUnformatted(config);
    if (!exit && !text)
        exit = cli_no_memory();
    if (text)
        buf_add_text(ret_body, text);
    cJSON_free(text);
    cJSON_Delete(devices);
    return exit;
}

/* {"items": [{…, "status": …}]} as a configuration. */
static enum cli_exit configuration_of(cJSON *list, cJSON **ret_config)
{
    cJSON *items = cJSON_DetachItemFromObjectCaseSensitive(list, "items"), *config = cJSON_CreateObject(), *device;

    cJSON_ArrayForEach (device, items) {
        cJSON_DeleteItemFromObjectCaseSensitive(device, "status");
    }
    if (!items || !config || !cJSON_AddItemToObject(config, "devices", items)) {
        cJSON_Delete(items);
        cJSON_Delete(config);
        cli_complain("the daemon's answer is no list of devices");
        return CLI_TROUBLE;
    }
    *ret_config = config;
    return CLI_DONE;
}

enum cli_exit command_export(struct cli *cli, const struct arguments *arguments)
{
    const char *file = arguments_text(arguments, "write"), *selector = arguments_text(arguments, "selector");
    struct caller_reply reply = {0};
    struct buf body = {0}, path = {0};
    cJSON *config = NULL, *list = NULL;
    enum cli_exit exit;

    if (selector) { /* the configuration as a whole has no selector: from the list, then */
        buf_add_text(&path, "/v1/devices?selector=");
        caller_encode(&path, selector);
        exit = path.failed ? cli_no_memory() : cli_get(cli, path.data, &reply, &list);
        if (!exit)
            exit = configuration_of(list, &config);
    } else {
        exit = cli_get(cli, "/v1/config", &reply, &config);
    }
    if (!exit && arguments->count) {
        exit = pick(arguments, config, &body);
    } else if (!exit && selector) {
        char *text = cJSON_PrintUnformatted(config);
        buf_add_text(&body, text ? text : "");
        body.failed = body.failed || !text;
        cJSON_free(text);
    } else if (!exit) {
        buf_add(&body, reply.body.data, reply.body.length);
    }
    if (!exit && body.failed)
        exit = cli_no_memory();
    if (!exit)
        exit = file && strcmp(file, "-") != 0 ? write_file(file, &body) : cli_json(cli, &body);
    cJSON_Delete(config);
    cJSON_Delete(list);
    caller_reply_done(&reply);
    buf_done(&body);
    buf_done(&path);
    return exit;
}

/* ---- what waits --------------------------------------------------------------------------------------------------- */

enum cli_exit command_pending(struct cli *cli, const struct arguments *arguments)
{
    struct caller_reply reply = {0};
    cJSON *json = NULL;
    enum cli_exit exit = cli_get(cli, "/v1/config/confirm", &reply, &json);
    const cJSON *pending = json_object(json, "pending");
    const char *operation = json_text(pending, "operation");

    (void)arguments;
    if (!exit && cli->format != CLI_TABLE)
        exit = cli_json(cli, &reply.body);
    else if (!exit && !pending)
        exit = cli_print("nothing waits to be confirmed\n");
    else if (!exit)
        exit =
            cli_print("%s of %s waits %.0f s more, until %s\n", *operation ? operation : "a change",
                      json_text(pending, "actor"), json_number(pending, "remaining_s"), json_text(pending, "deadline"));
    cJSON_Delete(json);
    caller_reply_done(&reply);
    return exit;
}

enum cli_exit command_confirm(struct cli *cli, const struct arguments *arguments)
{
    struct caller_reply reply = {0};
    enum cli_exit exit =
        cli_call(cli, &(struct caller_call){.method = "POST", .path = "/v1/config/confirm"}, NULL, &reply);

    (void)arguments;
    if (!exit)
        exit = cli->format == CLI_JSON ? cli_json(cli, &reply.body) : cli_print("confirmed\n");
    caller_reply_done(&reply);
    return exit;
}

enum cli_exit command_revert(struct cli *cli, const struct arguments *arguments)
{
    bool dry = arguments_have(arguments, "dry-run");
    const char *path = dry ? "/v1/config/revert?dry_run=true" : "/v1/config/revert";
    struct caller_reply reply = {0};
    enum cli_exit exit = cli_call(cli, &(struct caller_call){.method = "POST", .path = path}, NULL, &reply);

    if (!exit && dry)
        exit = change_print_plan(cli, &reply);
    else if (!exit)
        exit = cli->format == CLI_JSON ? cli_json(cli, &reply.body) : cli_print("as it was before\n");
    caller_reply_done(&reply);
    return exit;
}

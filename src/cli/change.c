/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/change.h"

#include "cli/plan_text.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

void change_device_path(struct buf *path, const char *name, const char *rest)
{
    buf_add_text(path, "/v1/devices/");
    caller_encode(path, name);
    buf_add_text(path, rest);
}

int change_query(struct buf *path, const struct arguments *arguments, struct err *ret_err)
{
    const char *mark = path->length && strchr(path->data, '?') ? "&" : "?";
    uint64_t confirm_s = 0;
    int error = arguments_number(arguments, "confirm", 1, 86400, &confirm_s, ret_err);

    if (!error && confirm_s && arguments_have(arguments, "dry-run"))
        error = err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "--dry-run and --confirm do not go together");
    if (error)
        return error;
    if (arguments_have(arguments, "dry-run"))
        buf_printf(path, "%sdry_run=true", mark);
    else if (confirm_s)
        buf_printf(path, "%sconfirm_s=%u", mark, (unsigned)confirm_s);
    return path->failed ? err_no_memory(ret_err) : 0;
}

void change_say_pending(const struct caller_reply *reply)
{
    if (*reply->confirm_by)
        cli_complain("this stays if `tunwright confirm` comes by %s, and is taken back otherwise", reply->confirm_by);
}

const cJSON *change_ask(void *context, const char *device)
{
    struct change_asked *asked = context;
    struct caller_reply reply = {0};
    struct err e = {0};
    struct buf path = {0};

    cJSON_Delete(asked->document);
    asked->document = NULL;
    change_device_path(&path, device, "");
    /* it only makes the plan read better: where it cannot be had, the plan does without */
    if (!path.failed &&
        caller_call(asked->cli->caller, &(struct caller_call){.method = "GET", .path = path.data}, &reply, &e) == 0 &&
        reply.status == 200)
        cli_tree(&reply, &asked->document);
    buf_done(&path);
    caller_reply_done(&reply);
    return asked->document;
}

enum cli_exit change_print_plan(struct cli *cli, const struct caller_reply *reply)
{
    struct change_asked asked = {.cli = cli};
    struct plan_tally tally = {0};
    struct buf text = {0};
    cJSON *plan = NULL;

    if (cli->format == CLI_JSON)
        return cli_json(cli, &reply->body);
    enum cli_exit exit = cli_tree(reply, &plan);
    if (exit)
        return exit;
    plan_text_add(&text, plan, change_ask, &asked, cli->colour, &tally);
    plan_text_add_tally(&text, &tally);
    exit = cli_write(&text);
    cJSON_Delete(asked.document);
    cJSON_Delete(plan);
    plan_tally_done(&tally);
    buf_done(&text);
    return exit;
}

/* "tun0: created", and why it is not ready where it is not. */
static enum cli_exit say_done(struct cli *cli, const struct change *change, const struct caller_reply *reply)
{
    const char *word = change->done           ? change->done
                       : reply->status == 201 ? "created"
                       : reply->changed       ? "changed"
                                              : "unchanged";
    cJSON *device = NULL;

    if (cli->format == CLI_JSON)
        return reply->body.length ? cli_json(cli, &reply->body) : CLI_DONE;
    if (reply->body.length && cli_tree(reply, &device) != CLI_DONE)
        return CLI_TROUBLE;
    const char *name = *json_text(device, "name") ? json_text(device, "name") : change->name;
    const cJSON *status = json_object(device, "status");
    const char *state = json_text(status, "state"), *detail = json_text(json_object(status, "reason"), "detail");
    enum cli_exit exit;
    if (cli->format == CLI_NAME)
        exit = cli_print("%s\n", name);
    else if (*state && strcmp(state, "ready") != 0)
        exit = cli_print("%s: %s, and is %s%s%s\n", name, word, state, *detail ? ": " : "", detail);
    else
        exit = cli_print("%s: %s\n", name, word);
    cJSON_Delete(device);
    return exit;
}

enum cli_exit change_make(struct cli *cli, const struct arguments *arguments, const struct change *change,
                          struct caller_reply *reply)
{
    struct caller_reply own = {0};
    struct buf path = {0};
    struct err e = {0};
    bool dry = arguments_have(arguments, "dry-run");
    char *body = change->body ? cJSON_PrintUnformatted(change->body) : NULL;

    buf_add_text(&path, change->path);
    int error = change_query(&path, arguments, &e);
    if (!error && change->body && !body)
        error = err_no_memory(&e);
    const struct caller_call call = {.method = change->method,
                                     .path = path.data,
                                     .body = body,
                                     .type = change->type,
                                     .if_match =
                                         change->if_match ? change->if_match : arguments_text(arguments, "if-match")};
    enum cli_exit exit = error ? cli_fail(error, &e) : cli_call(cli, &call, change->name, &own);
    if (!exit && dry && !change->quiet)
        exit = change_print_plan(cli, &own);
    else if (!exit && !change->quiet)
        exit = say_done(cli, change, &own);
    if (!exit)
        change_say_pending(&own);
    cJSON_free(body);
    buf_done(&path);
    if (reply && !exit)
        *reply = own;
    else
        caller_reply_done(&own);
    return exit;
}

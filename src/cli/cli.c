/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "cli/plain.h"
#include "cli/progress.h"
#include "cli/terminal.h"

#include "tunwright/model.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void cli_done(struct cli *cli)
{
    caller_free(cli->caller);
    cli->caller = NULL;
}

void cli_complain(const char *format, ...)
{
    struct buf line = {0};
    char text[2048];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buf_add_text(&line, "tunwright: ");
    plain_add(&line, text, strlen(text), PLAIN_LINE);
    buf_add_text(&line, "\n");
    fflush(stdout);
    progress_clear();
    terminal_leave(); /* what is said is to stay */
    if (!line.failed)
        fputs(line.data, stderr);
    buf_done(&line);
}

enum cli_exit cli_fail(int error, const struct err *e)
{
    if (e->message[0])
        cli_complain("%s%s%s", e->pointer, *e->pointer ? ": " : "", e->message);
    if (e->code == ERR_KERNEL_REFUSED) /* a file of ours */
        return CLI_TROUBLE;
    switch (error) {
    case -ECONNREFUSED:
        return CLI_UNREACHABLE;
    case -ETIMEDOUT:
        return CLI_TIMEOUT;
    case -EINVAL:
        return CLI_USAGE;
    case -ENOENT:
        return CLI_NOT_FOUND;
    default:
        return CLI_TROUBLE;
    }
}

enum cli_exit cli_no_memory(void)
{
    cli_complain("out of memory");
    return CLI_TROUBLE;
}

/* ---- looking into trees ------------------------------------------------------------------------------------------- */

const char *json_text(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) && item->valuestring ? item->valuestring : "";
}

double json_number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

const cJSON *json_object(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsObject(item) ? item : NULL;
}

const cJSON *json_array(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsArray(item) ? item : NULL;
}

/* ---- calls -------------------------------------------------------------------------------------------------------- */

static enum cli_exit exit_of_status(long status)
{
    if (status == 404)
        return CLI_NOT_FOUND;
    if (status == 409 || status == 412)
        return CLI_CONFLICT;
    if (status >= 500)
        return CLI_FAILED;
    return status >= 400 ? CLI_REFUSED : CLI_TROUBLE;
}

enum cli_exit cli_problem(const struct caller_reply *reply, const char *about)
{
    const char *between = about && *about ? ": " : "";
    cJSON *problem = NULL;
    const cJSON *fault;
    unsigned said = 0;

    about = about ? about : "";
    if (strcmp(reply->type, "application/problem+json") != 0 || reply->status < 400 ||
        json_read(reply->body.length ? reply->body.data : "", reply->body.length, &problem, NULL) < 0) {
        cli_complain("%s%sthe answer is HTTP %ld, and none of tunwrightd", about, between, reply->status);
        return reply->status >= 500 ? CLI_FAILED : CLI_TROUBLE;
    }
    const char *operation = json_text(problem, "operation"), *number = json_text(problem, "errno");
    struct buf kernel = {0}; /* what the kernel was asked and answered */
    buf_add_text(&kernel, "");
    if (*operation || *number)
        buf_printf(&kernel, " (%s%s%s)", operation, *operation && *number ? ", " : "", number);
    cJSON_ArrayForEach (fault, json_array(problem, "errors")) {
        const char *pointer = json_text(fault, "pointer");
        if (++said > ERR_LIST_MAX)
            break;
        cli_complain("%s%s%s%s%s%s", about, between, pointer, *pointer ? ": " : "", json_text(fault, "detail"),
                     kernel.failed ? "" : kernel.data);
    }
    if (!said)
        cli_complain("%s%s%s%s", about, between, json_text(problem, "detail"), kernel.failed ? "" : kernel.data);
    if (reply->status == 401)
        cli_complain("a token comes from --token-file FILE, or from TUNWRIGHT_TOKEN");
    if (strstr(json_text(problem, "detail"), "POST /v1/config/confirm")) /* it tells programs what to do */
        cli_complain("`tunwright confirm` keeps it, `tunwright revert` takes it back");
    buf_done(&kernel);
    cJSON_Delete(problem);
    return exit_of_status(reply->status);
}

enum cli_exit cli_call(struct cli *cli, const struct caller_call *call, const char *about,
                       struct caller_reply *ret_reply)
{
    struct caller_reply reply = {0};
    struct err e = {0};
    int error = cli->caller ? 0 : caller_new(&cli->settings, &cli->caller, &e);

    if (!error)
        error = caller_call(cli->caller, call, &reply, &e);
    if (error)
        return cli_fail(error, &e);
    if (reply.status < 200 || reply.status > 299) {
        enum cli_exit exit = cli_problem(&reply, about);
        caller_reply_done(&reply);
        return exit;
    }
    if (reply.body.length && strcmp(reply.type, "application/json") != 0) {
        cli_complain("what answers at %s is not tunwrightd: its answer is no JSON", caller_where(cli->caller));
        caller_reply_done(&reply);
        return CLI_TROUBLE;
    }
    *ret_reply = reply;
    return CLI_DONE;
}

enum cli_exit cli_tree(const struct caller_reply *reply, cJSON **ret_json)
{
    struct err e = {0};
    int error = json_read(reply->body.length ? reply->body.data : "", reply->body.length, ret_json, &e);

    if (!error)
        return CLI_DONE;
    cli_complain("the daemon's answer: %s", e.message);
    return CLI_TROUBLE;
}

enum cli_exit cli_get(struct cli *cli, const char *path, struct caller_reply *reply, cJSON **ret_json)
{
    struct caller_reply own = {0};
    enum cli_exit exit = cli_call(cli, &(struct caller_call){.method = "GET", .path = path}, NULL, &own);

    if (exit)
        return exit;
    exit = cli_tree(&own, ret_json);
    if (reply && !exit)
        *reply = own;
    else
        caller_reply_done(&own);
    return exit;
}

/* ---- output ------------------------------------------------------------------------------------------------------- */

enum cli_exit cli_write(const struct buf *text)
{
    if (text->failed)
        return cli_no_memory();
    progress_clear();
    if ((text->length && fwrite(text->data, 1, text->length, stdout) != text->length) || fflush(stdout) != 0) {
        if (errno != EPIPE) /* whoever reads has had enough: `| head` */
            cli_complain("cannot write: %s", strerror(errno));
        return CLI_TROUBLE;
    }
    return CLI_DONE;
}

enum cli_exit cli_json(const struct cli *cli, const struct buf *body)
{
    struct buf text = {0};
    const char *data = body->length ? body->data : "";

    if (cli->terminal)
        plain_add(&text, data, body->length, PLAIN_LINES);
    else
        buf_add(&text, data, body->length);
    if (body->length && data[body->length - 1] != '\n')
        buf_add_text(&text, "\n");
    enum cli_exit exit = cli_write(&text);
    buf_done(&text);
    return exit;
}

enum cli_exit cli_print(const char *format, ...)
{
    char text[4096];
    struct buf line = {0};
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0)
        return cli_no_memory();
    plain_add(&line, text, strlen(text), PLAIN_LINES);
    enum cli_exit exit = cli_write(&line);
    buf_done(&line);
    return exit;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply and diff. Everything is tried first, by dry runs, and shown; only where nothing is refused is anything done. There
 * are two ways to do it:
 *
 *   - each device by a PUT of its own (and each that is to be absent by a DELETE): nothing else is touched, and where one
 *     fails after all, those before it stay as they were made;
 *   - all by one PUT of the configuration, which is all or nothing: with --together on top of what is there, with --prune
 *     in place of it. It is bound by If-Match to the configuration that the plan was made for; where somebody changes that
 *     meanwhile, it begins again.
 */
#include "cli/change.h"
#include "cli/intake.h"
#include "cli/plan_text.h"
#include "cli/progress.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ATTEMPTS 5 /* to catch the configuration while nobody else changes it */

struct job {
    struct cli *cli;
    const struct arguments *arguments;
    struct intake intake;
    bool only_plan, is_diff;
    struct buf text; /* the plan in words */
    struct plan_tally tally;
};

/* ---- both ways ---------------------------------------------------------------------------------------------------- */

static bool plan_changes(const cJSON *plan)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(plan, "changed"));
}

static enum cli_exit show_plan(struct job *job)
{
    if (job->cli->format != CLI_TABLE)
        return CLI_DONE;
    plan_text_add_tally(&job->text, &job->tally);
    return cli_write(&job->text);
}

/* Somebody who sits there is asked before devices go. */
static enum cli_exit ask_first(const struct job *job)
{
    char answer[16] = "";

    if (!job->tally.deleted || arguments_have(job->arguments, "yes") || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return CLI_DONE;
    fprintf(stderr, "%u device%s would be deleted. Go on? [y/N] ", job->tally.deleted,
            job->tally.deleted == 1 ? "" : "s");
    fflush(stderr);
    if (fgets(answer, sizeof answer, stdin) && (!strcmp(answer, "y\n") || !strcmp(answer, "yes\n")))
        return CLI_DONE;
    cli_complain("nothing was changed");
    return CLI_REFUSED;
}

/* ---- each by itself ----------------------------------------------------------------------------------------------- */

/* "tun0 (site.json)", for messages. */
static void add_about(struct buf *about, const struct intake_item *item)
{
    buf_printf(about, "%s (%s)", item->name, item->source);
}

/* Makes one call for an item. A device that is to be absent and is, is no fault: the reply's status stays 404. */
static enum cli_exit call_item(struct job *job, const struct intake_item *item, const char *query,
                               struct caller_reply *reply)
{
    struct buf path = {0}, about = {0};
    struct err e = {0};
    bool wanted = intake_is_wanted(item);
    char *body = wanted ? cJSON_PrintUnformatted(item->document) : NULL;
    enum cli_exit exit = CLI_DONE;
    int error = 0;

    change_device_path(&path, item->name, query);
    add_about(&about, item);
    if (path.failed || about.failed || (wanted && !body))
        error = err_no_memory(&e);
    if (!error && !job->cli->caller)
        error = caller_new(&job->cli->settings, &job->cli->caller, &e);
    const struct caller_call call = {.method = wanted ? "PUT" : "DELETE", .path = path.data, .body = body};
    if (!error)
        error = caller_call(job->cli->caller, &call, reply, &e);
    if (error)
        exit = cli_fail(error, &e);
    else if ((reply->status < 200 || reply->status > 299) && (wanted || reply->status != 404))
        exit = cli_problem(reply, about.data);
    cJSON_free(body);
    buf_done(&path);
    buf_done(&about);
    return exit;
}

static enum cli_exit plan_item(struct job *job, const struct intake_item *item, struct change_asked *asked,
                               bool *ret_changes)
{
    struct caller_reply reply = {0};
    cJSON *plan = NULL;
    enum cli_exit exit = call_item(job, item, "?dry_run=true", &reply);

    if (!exit && reply.status != 404 && !(exit = cli_tree(&reply, &plan))) {
        *ret_changes = plan_changes(plan);
        plan_text_add(&job->text, plan, change_ask, asked, job->cli->colour, &job->tally);
        if (job->only_plan && job->cli->format == CLI_JSON)
            exit = cli_json(job->cli, &reply.body);
    }
    cJSON_Delete(plan);
    caller_reply_done(&reply);
    return exit;
}

static enum cli_exit plan_each(struct job *job, bool *changes, size_t *ret_count)
{
    struct change_asked asked = {.cli = job->cli};
    enum cli_exit worst = CLI_DONE;
    size_t count = 0, all = job->intake.count;

    for (size_t i = 0; i < all; i++) {
        enum cli_exit exit = plan_item(job, &job->intake.items[i], &asked, &changes[i]);
        count += changes[i];
        worst = worst ? worst : exit;
        /* what is wrong with one document is told together with what is wrong with others; a daemon that is gone, once */
        if (exit == CLI_UNREACHABLE || exit == CLI_TIMEOUT || exit == CLI_TROUBLE)
            break;
        progress_show(i + 1, all);
    }
    progress_show(1, 1);
    cJSON_Delete(asked.document);
    *ret_count = count;
    return worst;
}

static enum cli_exit do_item(struct job *job, const struct intake_item *item)
{
    struct caller_reply reply = {0};
    struct buf query = {0};
    struct err e = {0};
    int error = change_query(&query, job->arguments, &e);
    enum cli_exit exit = error ? cli_fail(error, &e) : call_item(job, item, query.length ? query.data : "", &reply);

    if (!exit && job->cli->format == CLI_JSON && reply.body.length && reply.status != 404)
        exit = cli_json(job->cli, &reply.body);
    else if (!exit && job->cli->format == CLI_NAME)
        exit = cli_print("%s\n", item->name);
    else if (!exit && job->cli->format == CLI_TABLE)
        exit = cli_print("%s: %s\n", item->name,
                         !intake_is_wanted(item) ? "deleted"
                         : reply.status == 201   ? "created"
                         : reply.changed         ? "changed"
                                                 : "unchanged");
    if (!exit)
        change_say_pending(&reply);
    caller_reply_done(&reply);
    buf_done(&query);
    return exit;
}

static enum cli_exit do_each(struct job *job, const bool *changes, size_t count)
{
    enum cli_exit exit = CLI_DONE;
    size_t done = 0;

    for (size_t i = 0; i < job->intake.count && !exit; i++) {
        if (!changes[i])
            continue;
        exit = do_item(job, &job->intake.items[i]);
        if (!exit)
            progress_show(++done, count);
    }
    progress_show(1, 1);
    if (exit && count > 1)
        cli_complain("%zu of %zu changes were made, and no more", done, count);
    return exit;
}

static enum cli_exit run_each(struct job *job)
{
    bool *changes = calloc(job->intake.count + 1, sizeof *changes);
    size_t count = 0;

    if (!changes)
        return cli_no_memory();
    enum cli_exit exit = plan_each(job, changes, &count);
    if (exit && job->intake.count > 1 && !job->only_plan)
        cli_complain("nothing was changed");
    if (!exit && count > 1 && arguments_have(job->arguments, "confirm")) {
        cli_complain("--confirm is for one change, and these are %zu: make them one, with --together", count);
        exit = CLI_USAGE;
    }
    if (!exit)
        exit = show_plan(job);
    if (!exit && job->only_plan)
        exit = job->is_diff && count ? CLI_DIFFERS : CLI_DONE;
    else if (!exit && !(exit = ask_first(job)))
        exit = do_each(job, changes, count);
    free(changes);
    return exit;
}

/* ---- all in one transaction --------------------------------------------------------------------------------------- */

static const cJSON *find_device(const cJSON *devices, const char *name)
{
    const cJSON *device;

    cJSON_ArrayForEach (device, devices) {
        if (!strcmp(json_text(device, "name"), name))
            return device;
    }
    return NULL;
}

static const cJSON *device_before(void *context, const char *name)
{
    return find_device(json_array(context, "devices"), name);
}

static bool is_named(const struct intake *intake, const char *name)
{
    for (size_t i = 0; i < intake->count; i++)
        if (!strcmp(intake->items[i].name, name))
            return true;
    return false;
}

/* The configuration that is wanted, as text; NULL without memory. */
static char *wanted_config(const struct job *job, const cJSON *now)
{
    cJSON *config = cJSON_CreateObject(), *devices = cJSON_AddArrayToObject(config, "devices");
    bool fine = devices, prune = arguments_have(job->arguments, "prune");
    const cJSON *device;

    if (!prune)
        cJSON_ArrayForEach (device, json_array(now, "devices")) {
            if (!is_named(&job->intake, json_text(device, "name")))
                fine = fine && cJSON_AddItemReferenceToArray(devices, (cJSON *)device);
        }
    for (size_t i = 0; i < job->intake.count; i++)
        if (intake_is_wanted(&job->intake.items[i]))
            fine = fine && cJSON_AddItemReferenceToArray(devices, job->intake.items[i].document);
    char *text = fine ? cJSON_PrintUnformatted(config) : NULL;
    cJSON_Delete(config);
    return text;
}

/* PUT of the configuration. Where somebody was faster, *ret_again, and nothing is said. */
static enum cli_exit put_config(struct job *job, const char *body, const char *etag, bool dry,
                                struct caller_reply *reply, bool *ret_again)
{
    struct buf path = {0};
    struct err e = {0};
    int error = 0;

    buf_add_text(&path, "/v1/config");
    if (dry)
        buf_add_text(&path, "?dry_run=true");
    else
        error = change_query(&path, job->arguments, &e);
    const struct caller_call call = {.method = "PUT", .path = path.data, .body = body, .if_match = *etag ? etag : NULL};
    if (!error && path.failed)
        error = err_no_memory(&e);
    if (!error)
        error = dry ? caller_call(job->cli->caller, &call, reply, &e)
                    : progress_call(job->cli, &call, "PUT /v1/config", reply, &e);
    buf_done(&path);
    if (error)
        return cli_fail(error, &e);
    *ret_again = reply->status == 412;
    if (*ret_again || (reply->status >= 200 && reply->status <= 299))
        return CLI_DONE;
    return cli_problem(reply, NULL);
}

static enum cli_exit carry_out(struct job *job, const char *body, const char *etag, bool *ret_again)
{
    struct caller_reply reply = {0};
    enum cli_exit exit = put_config(job, body, etag, false, &reply, ret_again);

    if (!exit && !*ret_again && job->cli->format == CLI_JSON)
        exit = cli_json(job->cli, &reply.body);
    else if (!exit && !*ret_again && job->cli->format == CLI_TABLE)
        exit = cli_print("done\n");
    if (!exit && !*ret_again)
        change_say_pending(&reply);
    caller_reply_done(&reply);
    return exit;
}

/* One attempt, for the configuration that is there now. */
static enum cli_exit attempt(struct job *job, bool *ret_again)
{
    struct caller_reply now_reply = {0}, reply = {0};
    cJSON *now = NULL, *plan = NULL;
    char *body = NULL;
    bool changes = false;
    enum cli_exit exit = cli_get(job->cli, "/v1/config", &now_reply, &now);

    job->text.length = 0;
    plan_tally_done(&job->tally);
    if (!exit && !(body = wanted_config(job, now)))
        exit = cli_no_memory();
    if (!exit)
        exit = put_config(job, body, now_reply.etag, true, &reply, ret_again);
    if (!exit && !*ret_again && !(exit = cli_tree(&reply, &plan))) {
        changes = plan_changes(plan);
        plan_text_add(&job->text, plan, device_before, now, job->cli->colour, &job->tally);
        exit = job->only_plan && job->cli->format == CLI_JSON ? cli_json(job->cli, &reply.body) : show_plan(job);
    }
    if (!exit && !*ret_again && job->only_plan)
        exit = job->is_diff && changes ? CLI_DIFFERS : CLI_DONE;
    else if (!exit && !*ret_again && changes && !(exit = ask_first(job)))
        exit = carry_out(job, body, now_reply.etag, ret_again);
    cJSON_free(body);
    cJSON_Delete(plan);
    cJSON_Delete(now);
    caller_reply_done(&reply);
    caller_reply_done(&now_reply);
    return exit;
}

static enum cli_exit run_together(struct job *job)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        bool again = false;
        enum cli_exit exit = attempt(job, &again);
        if (exit || !again)
            return exit;
        cli_complain("somebody changed the configuration meanwhile: looking again");
    }
    cli_complain("others change the configuration all the time: nothing was changed");
    return CLI_CONFLICT;
}

/* ---- the commands ------------------------------------------------------------------------------------------------- */

static enum cli_exit read_files(struct job *job)
{
    size_t at = 0;
    struct err e = {0};
    int error = 0;

    if (!arguments_have(job->arguments, "file")) {
        cli_complain("which files? -f FILE, -f DIRECTORY, or -f - for standard input");
        return CLI_USAGE;
    }
    for (const char *path; !error && (path = arguments_next(job->arguments, "file", &at));)
        error = intake_add(&job->intake, path, &e);
    if (!error)
        error = intake_check(&job->intake, &e);
    if (!error)
        return CLI_DONE;
    cli_fail(error, &e);
    return e.code == ERR_KERNEL_REFUSED || error == -ENOMEM ? CLI_TROUBLE : CLI_REFUSED;
}

static enum cli_exit run(struct cli *cli, const struct arguments *arguments, bool is_diff)
{
    struct job job = {.cli = cli,
                      .arguments = arguments,
                      .intake = {.whole = true},
                      .only_plan = is_diff || arguments_have(arguments, "dry-run"),
                      .is_diff = is_diff};
    bool prune = arguments_have(arguments, "prune");
    struct buf query = {0};
    struct err e = {0};
    int error = change_query(&query, arguments, &e); /* what is wrong with the options, before anything is read */
    enum cli_exit exit = error ? cli_fail(error, &e) : read_files(&job);

    buf_done(&query);
    if (!exit && prune && !job.intake.whole) {
        cli_complain("--prune takes files that say {\"devices\": [...]}: they are then all that there is to be");
        exit = CLI_USAGE;
    }
    if (!exit)
        exit = prune || arguments_have(arguments, "together") ? run_together(&job) : run_each(&job);
    intake_done(&job.intake);
    plan_tally_done(&job.tally);
    buf_done(&job.text);
    return exit;
}

enum cli_exit command_apply(struct cli *cli, const struct arguments *arguments)
{
    return run(cli, arguments, false);
}

enum cli_exit command_diff(struct cli *cli, const struct arguments *arguments)
{
    return run(cli, arguments, true);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"
#include "cli/figure.h"
#include "cli/listener.h"
#include "cli/plain.h"
#include "cli/rate.h"
#include "cli/table.h"

#include "tunwright/model.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

#define LAST_DEFAULT 50
#define END          1 /* what a message's taker returns for the last */

struct watching {
    struct cli *cli;
    uint64_t left;      /* messages until the end; 0: no end */
    enum cli_exit exit; /* of printing */
};

static enum table_tone tone_of_event(const char *type, const char *detail)
{
    if (strstr(type, "failed") || !strncmp(detail, "failed", 6) || !strncmp(detail, "conflict", 8))
        return TONE_BAD;
    if (!strncmp(detail, "degraded", 8) || !strcmp(type, "confirmation_pending") || !strcmp(type, "config_reverted"))
        return TONE_WARN;
    return TONE_NONE;
}

static void add_event(struct buf *out, const cJSON *event, bool colour)
{
    const char *type = json_text(event, "type"), *device = json_text(event, "device"),
               *detail = json_text(event, "detail");
    enum table_tone tone = tone_of_event(type, detail);
    struct buf line = {0};

    buf_printf(&line, "%s  %-15s %-20s %s", json_text(event, "time"), *device ? device : "-", type, detail);
    buf_add_text(out, colour ? table_tone_escape(tone) : "");
    plain_add(out, line.failed ? "" : line.data, line.length, PLAIN_LINE);
    buf_printf(out, "%s\n", colour && tone ? "\033[0m" : "");
    buf_done(&line);
}

static void add_counters(struct buf *out, const cJSON *counters)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, json_array(counters, "items")) {
        struct rate rate;
        struct buf line = {0};
        char in[FIGURE_SIZE], in_bits[FIGURE_SIZE], out_packets[FIGURE_SIZE], out_bits[FIGURE_SIZE], drops[FIGURE_SIZE];
        rate_of(item, &rate);
        if (!rate.known)
            continue;
        buf_printf(&line, "%s  %-15s %-20s in %s packets/s %sbit/s, out %s packets/s %sbit/s, dropped %s/s",
                   json_text(item, "time"), json_text(item, "device"), "counters", figure_print(rate.in_packets, in),
                   figure_print(rate.in_bits, in_bits), figure_print(rate.out_packets, out_packets),
                   figure_print(rate.out_bits, out_bits), figure_print(rate.drops, drops));
        plain_add(out, line.failed ? "" : line.data, line.length, PLAIN_LINE);
        buf_add_text(out, "\n");
        buf_done(&line);
    }
}

static int on_message(void *context, const struct sse_message *message)
{
    struct watching *watching = context;
    const struct buf raw = {.data = (char *)message->data, .length = message->length};
    struct buf text = {0};
    cJSON *json = NULL;
    bool shown = true; /* the first counters have no rates yet, and are no line */

    if (watching->cli->format == CLI_JSON) {
        watching->exit = cli_json(watching->cli, &raw);
    } else if (json_read(message->data, message->length, &json, NULL) < 0) {
        cli_complain("a message that is no JSON is passed over");
    } else {
        if (!strcmp(message->event, "counters"))
            add_counters(&text, json);
        else if (!strcmp(message->event, "gap"))
            buf_printf(&text, "(events %.0f to %.0f are no longer kept)\n", json_number(json, "after") + 1,
                       json_number(json, "oldest") - 1);
        else
            add_event(&text, json, watching->cli->colour);
        shown = text.length > 0;
        watching->exit = cli_write(&text);
    }
    cJSON_Delete(json);
    buf_done(&text);
    return watching->exit || (shown && watching->left && --watching->left == 0) ? END : 0;
}

static int watch_path(const struct arguments *arguments, struct buf *path, struct err *ret_err)
{
    static const char *const passed_on[] = {"device", "selector"};
    uint64_t interval_ms = 0, after = UINT64_MAX;
    int error = arguments_number(arguments, "interval", INTERVAL_LEAST_MS, INTERVAL_MOST_MS, &interval_ms, ret_err);

    if (!error)
        error = arguments_number(arguments, "after", 0, INT64_MAX, &after, ret_err);
    if (error)
        return error;
    buf_printf(path, "/v1/watch?topics=events%s", arguments_have(arguments, "counters") ? ",counters" : "");
    for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
        if (arguments_have(arguments, passed_on[i])) {
            buf_printf(path, "&%s=", passed_on[i]);
            caller_encode(path, arguments_text(arguments, passed_on[i]));
        }
    if (interval_ms)
        buf_printf(path, "&interval_ms=%u", (unsigned)interval_ms);
    if (after != UINT64_MAX)
        buf_printf(path, "&after=%llu", (unsigned long long)after);
    return path->failed ? err_no_memory(ret_err) : 0;
}

enum cli_exit command_watch(struct cli *cli, const struct arguments *arguments)
{
    struct watching watching = {.cli = cli};
    struct listener listener = {0};
    struct buf path = {0};
    struct err e = {0};
    uint64_t for_s = 0;
    bool ended = false;
    int error = watch_path(arguments, &path, &e);

    if (!error)
        error = arguments_number(arguments, "count", 1, UINT32_MAX, &watching.left, &e);
    if (!error)
        error = arguments_number(arguments, "for", 1, 86400 * 365, &for_s, &e);
    int64_t end_ns = clock_monotonic_ns() + (int64_t)for_s * NSEC_PER_SEC;
    enum cli_exit exit = error ? cli_fail(error, &e) : listener_open(&listener, cli, path.data, on_message, &watching);
    while (!exit && !ended) {
        int64_t left_ms = for_s ? (end_ns - clock_monotonic_ns()) / NSEC_PER_MSEC : 1000;
        if (left_ms <= 0) {
            /* who waits for so many messages, and for so long at most, is told which it was */
            exit = watching.left ? CLI_TIMEOUT : CLI_DONE;
            break;
        }
        exit = listener_turn(&listener, NULL, 0, left_ms < 1000 ? (int)left_ms : 1000, &ended);
    }
    listener_close(&listener);
    buf_done(&path);
    return exit ? exit : watching.exit;
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

/* The path of the last so many: where they begin is asked for first. */
static enum cli_exit events_path(struct cli *cli, const struct arguments *arguments, struct buf *path)
{
    uint64_t last = LAST_DEFAULT, after = UINT64_MAX;
    struct err e = {0};
    cJSON *list = NULL;
    int error = arguments_number(arguments, "last", 1, 1000, &last, &e);

    if (!error)
        error = arguments_number(arguments, "after", 0, INT64_MAX, &after, &e);
    if (error)
        return cli_fail(error, &e);
    if (after == UINT64_MAX) {
        enum cli_exit exit = cli_get(cli, "/v1/events?limit=1", NULL, &list);
        if (exit)
            return exit;
        double newest = json_number(list, "newest");
        after = newest >= 0 && newest < 9e15 && newest > (double)last ? (uint64_t)newest - last : 0;
        cJSON_Delete(list);
    }
    buf_printf(path, "/v1/events?limit=%llu&after=%llu", (unsigned long long)last, (unsigned long long)after);
    if (arguments_have(arguments, "device")) {
        buf_add_text(path, "&device=");
        caller_encode(path, arguments_text(arguments, "device"));
    }
    return path->failed ? cli_no_memory() : CLI_DONE;
}

enum cli_exit command_events(struct cli *cli, const struct arguments *arguments)
{
    struct caller_reply reply = {0};
    struct buf path = {0}, text = {0};
    cJSON *list = NULL;
    const cJSON *event;
    enum cli_exit exit = events_path(cli, arguments, &path);

    if (!exit)
        exit = cli_get(cli, path.data, &reply, &list);
    if (!exit && cli->format == CLI_JSON) {
        exit = cli_json(cli, &reply.body);
    } else if (!exit) {
        cJSON_ArrayForEach (event, json_array(list, "items")) {
            add_event(&text, event, cli->colour);
        }
        exit = cli_write(&text);
    }
    cJSON_Delete(list);
    caller_reply_done(&reply);
    buf_done(&path);
    buf_done(&text);
    return exit;
}

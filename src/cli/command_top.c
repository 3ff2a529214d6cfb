/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top: one table of all devices. Rates come with the counters' stream, names and states from the list of devices, which is
 * asked for again whenever the stream tells of an event, at most once a second.
 */
#include "cli/command.h"
#include "cli/figure.h"
#include "cli/listener.h"
#include "cli/plain.h"
#include "cli/rate.h"
#include "cli/table.h"
#include "cli/terminal.h"

#include "tunwright/model.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum top_order { ORDER_NAME, ORDER_RATE, ORDER_DROPS };

struct top {
    struct cli *cli;
    enum top_order order;
    bool once;
    cJSON *counters, *list;       /* the last message; GET /v1/devices. Owned */
    struct caller_stream *asking; /* for a new list; NULL: none is asked for */
    bool stale, rated;            /* the list is old; the last message had rates, or nothing to rate */
    bool redraw;
    int64_t asked_ns;
    struct buf list_path;
};

struct row {
    const cJSON *entry, *device;
    struct rate rate;
};

/* ---- rows --------------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct row *one = a, *other = b;
    return strcmp(json_text(one->entry, "device"), json_text(other->entry, "device"));
}

static int by_number(double one, double other)
{
    return one > other ? -1 : one < other ? 1 : 0;
}

static int by_rate(const void *a, const void *b)
{
    const struct row *one = a, *other = b;
    int order = by_number(one->rate.in_bits + one->rate.out_bits, other->rate.in_bits + other->rate.out_bits);
    return order ? order : by_name(a, b);
}

static int by_drops(const void *a, const void *b)
{
    const struct row *one = a, *other = b;
    int order = by_number(one->rate.drops, other->rate.drops);
    order = order ? order : by_number(one->rate.dropped, other->rate.dropped);
    return order ? order : by_name(a, b);
}

static int device_by_name(const void *name, const void *device)
{
    return strcmp(name, json_text(*(const cJSON *const *)device, "name"));
}

static int devices_by_name(const void *a, const void *b)
{
    return strcmp(json_text(*(const cJSON *const *)a, "name"), json_text(*(const cJSON *const *)b, "name"));
}

/* Owned, *ret_count of them; NULL without memory. */
static struct row *make_rows(const struct top *top, size_t *ret_count)
{
    static int (*const orders[])(const void *, const void *) = {by_name, by_rate, by_drops};
    const cJSON *items = json_array(top->counters, "items"), *listed = json_array(top->list, "items"), *item;
    size_t count = (size_t)cJSON_GetArraySize(items), known = (size_t)cJSON_GetArraySize(listed), at = 0;
    struct row *rows = calloc(count + 1, sizeof *rows);
    const cJSON **devices = calloc(known + 1, sizeof *devices);

    if (rows && devices) {
        cJSON_ArrayForEach (item, listed) {
            devices[at++] = item;
        }
        qsort(devices, known, sizeof *devices, devices_by_name);
        at = 0;
        cJSON_ArrayForEach (item, items) {
            const cJSON **found = bsearch(json_text(item, "device"), devices, known, sizeof *devices, device_by_name);
            rows[at].entry = item;
            rows[at].device = found ? *found : NULL;
            rate_of(item, &rows[at++].rate);
        }
        qsort(rows, count, sizeof *rows, orders[top->order]);
        *ret_count = count;
    } else {
        free(rows);
        rows = NULL;
    }
    free(devices);
    return rows;
}

static void add_figure(struct table *table, bool known, double value, enum table_tone tone)
{
    char text[FIGURE_SIZE];

    table_add(table, known && value > 0 ? tone : TONE_DIM, "%s", known ? figure_print(value, text) : "-");
}

static void add_row(struct table *table, const struct row *row)
{
    const cJSON *device = row->device;
    const char *state = json_text(json_object(device, "status"), "state");
    const char *worker = json_text(json_object(row->entry, "worker"), "type");
    const struct rate *rate = &row->rate;
    char dropped[FIGURE_SIZE];

    table_add(table, TONE_BOLD, "%s", json_text(row->entry, "device"));
    table_add(table, TONE_NONE, "%s", device ? json_text(device, "kind") : "?");
    table_add(table, !strcmp(state, "ready") ? TONE_GOOD : !*state ? TONE_DIM : TONE_BAD, "%s", *state ? state : "?");
    table_add(table, TONE_NONE, "%s", *worker ? worker : "-");
    add_figure(table, rate->known, rate->in_packets, TONE_NONE);
    add_figure(table, rate->known, rate->in_bits, TONE_NONE);
    add_figure(table, rate->known, rate->out_packets, TONE_NONE);
    add_figure(table, rate->known, rate->out_bits, TONE_NONE);
    add_figure(table, rate->known, rate->drops, TONE_BAD);
    figure_print(rate->dropped, dropped);
    table_add(table, rate->dropped > 0 ? TONE_WARN : TONE_DIM, "%s%s%s", dropped, *rate->reason ? " " : "",
              rate->reason);
}

/* The table, and above it on a terminal a line of sums. */
static void make_frame(const struct top *top, struct buf *frame, unsigned rows_most, unsigned columns, const char *end)
{
    static const char *const heads[] = {"NAME",      "KIND",       "STATE",      "WORKER",  ">IN pkt/s",
                                        ">IN bit/s", ">OUT pkt/s", ">OUT bit/s", ">DROP/s", "DROPPED"};
    static const char *const orders[] = {"name", "rate", "drops"};
    char in[FIGURE_SIZE], out[FIGURE_SIZE];
    struct rate sum = {0};
    struct table table;
    struct buf line = {0}, plain = {0};
    size_t count = 0, ready = 0;
    struct row *rows = make_rows(top, &count);

    table_begin(&table, heads, ARRAY_SIZE(heads));
    for (size_t i = 0; rows && i < count; i++) {
        sum.in_bits += rows[i].rate.in_bits;
        sum.out_bits += rows[i].rate.out_bits;
        ready += !strcmp(json_text(json_object(rows[i].device, "status"), "state"), "ready");
        add_row(&table, &rows[i]);
    }
    if (!top->once) {
        buf_printf(&line, "%zu device%s, %zu ready  in %sbit/s  out %sbit/s  by %s  q ends it  %s", count,
                   count == 1 ? "" : "s", ready, figure_print(sum.in_bits, in), figure_print(sum.out_bits, out),
                   orders[top->order], caller_where(top->cli->caller));
        plain_add(&plain, line.failed ? "" : line.data, line.length, PLAIN_LINE);
        if (!plain.failed)
            buf_add(frame, plain.data, plain_cut(plain.data, columns));
        buf_add_text(frame, end);
        rows_most = rows_most > 4 ? rows_most - 4 : 1; /* this line, the head, "more", and where the cursor is */
    }
    table_print(&table, top->cli->colour, rows_most, columns, end, frame);
    if (table_rows(&table) > rows_most)
        buf_printf(frame, "... and %zu more%s", table_rows(&table) - rows_most, end);
    table_done(&table);
    buf_done(&line);
    buf_done(&plain);
    free(rows);
}

/* ---- what comes --------------------------------------------------------------------------------------------------- */

static int on_message(void *context, const struct sse_message *message)
{
    struct top *top = context;
    cJSON *json = NULL;

    if (strcmp(message->event, "counters") != 0) {
        top->stale = true; /* something happened: states and names may be others */
        return 0;
    }
    if (json_read(message->data, message->length, &json, NULL) < 0)
        return 0;
    const cJSON *first = json_array(json, "items") ? json_array(json, "items")->child : NULL;
    top->rated = !first || json_object(first, "rates");
    cJSON_Delete(top->counters);
    top->counters = json;
    top->redraw = true;
    return top->once && top->rated ? 1 : 0;
}

/* Asks for the list beside the stream, and takes it when it has come. What cannot be had is asked for again. */
static enum cli_exit follow_list(struct top *top)
{
    struct err e = {0};
    int error = 0;
    cJSON *list = NULL;

    if (top->asking && caller_stream_ended(top->asking, &error, &e)) {
        const struct caller_reply *reply = caller_stream_reply(top->asking);
        if (!error && reply->status == 200 && json_read(reply->body.data, reply->body.length, &list, NULL) == 0) {
            cJSON_Delete(top->list);
            top->list = list;
            top->redraw = true;
        } else {
            top->stale = true;
        }
        caller_stream_close(top->asking);
        top->asking = NULL;
    }
    if (top->asking || !top->stale || clock_monotonic_ns() - top->asked_ns < NSEC_PER_SEC)
        return CLI_DONE;
    top->stale = false;
    top->asked_ns = clock_monotonic_ns();
    const struct caller_call call = {.method = "GET", .path = top->list_path.data};
    error = caller_stream_open(top->cli->caller, &call, NULL, NULL, &top->asking, &e);
    return error ? cli_fail(error, &e) : CLI_DONE;
}

static bool take_keys(struct top *top)
{
    enum terminal_news news;

    for (char key = 0; (news = terminal_key(&key)) == TERMINAL_KEY;) {
        if (key == 'q' || key == 'Q')
            return false;
        top->order = key == 'n' ? ORDER_NAME : key == 'r' ? ORDER_RATE : key == 'd' ? ORDER_DROPS : top->order;
        top->redraw = true;
    }
    return news != TERMINAL_END;
}

static enum cli_exit draw(struct top *top)
{
    struct buf frame = {0};
    unsigned rows, columns;

    terminal_size(&rows, &columns);
    make_frame(top, &frame, rows, columns, TERMINAL_LINE);
    int error = frame.failed ? -ENOMEM : terminal_draw(&frame);
    buf_done(&frame);
    top->redraw = false;
    return error ? CLI_TROUBLE : CLI_DONE;
}

static enum cli_exit run_live(struct top *top, struct listener *listener)
{
    enum cli_exit exit = CLI_DONE;
    bool ended = false;

    listener->silent = true; /* its words would be drawn over */
    while (!exit) {
        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = terminal_signal_fd(), .events = POLLIN}};
        if (top->redraw && (exit = draw(top)))
            break;
        exit = listener_turn(listener, fds, ARRAY_SIZE(fds), 500, &ended);
        if (!exit)
            exit = follow_list(top);
        enum terminal_news news = terminal_signal();
        if (news == TERMINAL_END || !take_keys(top))
            break;
        if (news == TERMINAL_RESIZED)
            top->redraw = true;
    }
    return exit;
}

static enum cli_exit run_once(struct top *top, struct listener *listener, unsigned interval_ms)
{
    int64_t end_ns = clock_monotonic_ns() + (2 * interval_ms + 20000) * NSEC_PER_MSEC;
    enum cli_exit exit = CLI_DONE;
    struct buf frame = {0};
    bool ended = false;

    while (!exit && !ended && clock_monotonic_ns() < end_ns)
        exit = listener_turn(listener, NULL, 0, 500, &ended);
    if (!exit && !ended) {
        cli_complain("no counters came in time");
        exit = CLI_TIMEOUT;
    }
    if (!exit)
        make_frame(top, &frame, UINT32_MAX, 0, "\n");
    if (!exit)
        exit = cli_write(&frame);
    buf_done(&frame);
    return exit;
}

static int top_options(struct top *top, const struct arguments *arguments, struct buf *path, uint64_t *interval_ms,
                       struct err *ret_err)
{
    const char *selector = arguments_text(arguments, "selector"), *sort = arguments_text(arguments, "sort");
    int error = arguments_number(arguments, "interval", INTERVAL_LEAST_MS, INTERVAL_MOST_MS, interval_ms, ret_err);

    if (error)
        return error;
    if (sort && strcmp(sort, "rate") != 0 && strcmp(sort, "name") != 0 && strcmp(sort, "drops") != 0)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "--sort %.60s: this must be name, rate or drops",
                       sort);
    top->order = !sort || *sort == 'r' ? ORDER_RATE : *sort == 'n' ? ORDER_NAME : ORDER_DROPS;
    buf_printf(path, "/v1/watch?topics=counters,events&interval_ms=%u", (unsigned)*interval_ms);
    buf_add_text(&top->list_path, "/v1/devices");
    if (selector) {
        buf_add_text(path, "&selector=");
        caller_encode(path, selector);
        buf_add_text(&top->list_path, "?selector=");
        caller_encode(&top->list_path, selector);
    }
    return path->failed || top->list_path.failed ? err_no_memory(ret_err) : 0;
}

enum cli_exit command_top(struct cli *cli, const struct arguments *arguments)
{
    struct top top = {.cli = cli, .once = arguments_have(arguments, "once")};
    struct listener listener = {0};
    struct buf path = {0};
    struct err e = {0};
    uint64_t interval_ms = 1000;
    int error = top_options(&top, arguments, &path, &interval_ms, &e);
    enum cli_exit exit = error ? cli_fail(error, &e) : CLI_DONE;

    if (!exit && cli->format != CLI_TABLE) {
        cli_complain("top is for people; `tunwright watch --counters -o json` has the same for programs");
        exit = CLI_USAGE;
    }
    if (!exit) /* who is not there is told before the terminal is taken */
        exit = cli_get(cli, top.list_path.data, NULL, &top.list);
    if (!exit)
        exit = listener_open(&listener, cli, path.data, on_message, &top);
    if (!exit && top.once) {
        exit = run_once(&top, &listener, (unsigned)interval_ms);
    } else if (!exit && (error = terminal_enter(&e))) {
        cli_fail(error, &e);
        exit = CLI_USAGE;
    } else if (!exit) {
        top.redraw = true;
        exit = run_live(&top, &listener);
        terminal_leave();
    }
    caller_stream_close(top.asking);
    listener_close(&listener);
    cJSON_Delete(top.counters);
    cJSON_Delete(top.list);
    buf_done(&top.list_path);
    buf_done(&path);
    return exit;
}

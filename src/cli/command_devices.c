/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/change.h"
#include "cli/expression.h"
#include "cli/figure.h"
#include "cli/plain.h"
#include "cli/table.h"
#include "cli/value_text.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>

/* ---- looking ------------------------------------------------------------------------------------------------------ */

static enum table_tone tone_of_state(const char *state)
{
    return !strcmp(state, "ready") ? TONE_GOOD : !strcmp(state, "pending") ? TONE_WARN : TONE_BAD;
}

/* "10.0.0.1/24 fd00::1/64", of many the first two. */
static void add_addresses(struct table *table, const cJSON *device)
{
    const cJSON *addresses = json_array(device, "addresses"), *item;
    struct buf text = {0};
    int count = cJSON_GetArraySize(addresses), shown = 0;

    buf_add_text(&text, count ? "" : "-");
    cJSON_ArrayForEach (item, addresses) {
        if (shown++ == 2)
            break;
        buf_printf(&text, "%s%s", shown > 1 ? " " : "", cJSON_IsString(item) ? item->valuestring : "");
    }
    if (count > 2)
        buf_printf(&text, " +%d", count - 2);
    table_add(table, TONE_NONE, "%s", text.failed ? "" : text.data);
    buf_done(&text);
}

static void add_worker(struct table *table, const cJSON *device)
{
    const cJSON *worker = json_object(device, "worker"), *status = json_object(json_object(device, "status"), "worker");
    const char *type = json_text(worker, "type"), *remote = json_text(worker, "remote"),
               *state = json_text(status, "state");
    bool odd = *state && strcmp(state, "running") != 0;

    table_add(table, odd ? TONE_BAD : TONE_NONE, "%s%s%s%s%s%s", worker ? type : "-", *remote ? " " : "", remote,
              odd ? " (" : "", odd ? state : "", odd ? ")" : "");
}

static void add_labels(struct table *table, const cJSON *device)
{
    struct buf text = {0};

    buf_add_text(&text, "");
    value_text_add(&text, json_object(device, "labels"));
    table_add(table, TONE_DIM, "%s", text.failed ? "" : text.data);
    buf_done(&text);
}

static enum cli_exit print_list(struct cli *cli, const cJSON *items)
{
    static const char *const heads[] = {"NAME", "KIND", "STATE", ">MTU", "ADDRESSES", "WORKER", "LABELS"};
    struct table table;
    struct buf text = {0};
    const cJSON *device;

    table_begin(&table, heads, ARRAY_SIZE(heads));
    cJSON_ArrayForEach (device, items) {
        const char *state = json_text(json_object(device, "status"), "state");
        table_add(&table, TONE_BOLD, "%s", json_text(device, "name"));
        table_add(&table, TONE_NONE, "%s", json_text(device, "kind"));
        table_add(&table, tone_of_state(state), "%s", state);
        table_add(&table, TONE_NONE, "%.0f", json_number(device, "mtu"));
        add_addresses(&table, device);
        add_worker(&table, device);
        add_labels(&table, device);
    }
    if (table_rows(&table) || cli->terminal)
        table_print(&table, cli->colour, SIZE_MAX, 0, "\n", &text);
    enum cli_exit exit = cli_write(&text);
    table_done(&table);
    buf_done(&text);
    return exit;
}

enum cli_exit command_list(struct cli *cli, const struct arguments *arguments)
{
    const char *selector = arguments_text(arguments, "selector");
    struct caller_reply reply = {0};
    struct buf path = {0};
    cJSON *list = NULL;
    const cJSON *device;

    buf_add_text(&path, "/v1/devices");
    if (selector) {
        buf_add_text(&path, "?selector=");
        caller_encode(&path, selector);
    }
    enum cli_exit exit = path.failed ? cli_no_memory() : cli_get(cli, path.data, &reply, &list);
    if (!exit && cli->format == CLI_JSON)
        exit = cli_json(cli, &reply.body);
    else if (!exit && cli->format == CLI_NAME)
        cJSON_ArrayForEach (device, json_array(list, "items"))
            exit = exit ? exit : cli_print("%s\n", json_text(device, "name"));
    else if (!exit)
        exit = print_list(cli, json_array(list, "items"));
    cJSON_Delete(list);
    caller_reply_done(&reply);
    buf_done(&path);
    return exit;
}

/* ---- show --------------------------------------------------------------------------------------------------------- */

struct sheet {
    struct buf text;
    bool colour;
};

static void sheet_line(struct sheet *sheet, const char *head, enum table_tone tone, const char *format, ...)
    PRINTF_LIKE(4, 5);
static void sheet_line(struct sheet *sheet, const char *head, enum table_tone tone, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    bool coloured = sheet->colour && tone != TONE_NONE;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buf_printf(&sheet->text, "%-11s %s", head, coloured ? table_tone_escape(tone) : "");
    plain_add(&sheet->text, text, strlen(text), PLAIN_LINE);
    buf_printf(&sheet->text, "%s\n", coloured ? "\033[0m" : "");
}

static void sheet_value(struct sheet *sheet, const char *head, const cJSON *value)
{
    struct buf text = {0};

    value_text_add(&text, value);
    if (text.length && !text.failed)
        sheet_line(sheet, head, TONE_NONE, "%s", text.data);
    buf_done(&text);
}

static void sheet_values(struct sheet *sheet, const char *head, const cJSON *list)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, list) {
        sheet_value(sheet, head, item);
        head = "";
    }
}

static void sheet_member(struct sheet *sheet, const cJSON *device, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(device, key);

    if (value && !cJSON_IsNull(value))
        sheet_value(sheet, key, value);
}

static void sheet_status(struct sheet *sheet, const cJSON *status)
{
    const char *state = json_text(status, "state"), *detail = json_text(json_object(status, "reason"), "detail");
    const cJSON *worker = json_object(status, "worker"), *deviation;

    sheet_line(sheet, "state", tone_of_state(state), "%s%s%s", state, *detail ? ": " : "", detail);
    cJSON_ArrayForEach (deviation, json_array(status, "deviations")) {
        struct buf text = {0};
        buf_printf(&text, "%s: wanted ", json_text(deviation, "pointer"));
        value_text_add(&text, cJSON_GetObjectItemCaseSensitive(deviation, "wanted"));
        buf_add_text(&text, ", found ");
        value_text_add(&text, cJSON_GetObjectItemCaseSensitive(deviation, "found"));
        sheet_line(sheet, "differs", TONE_BAD, "%s", text.failed ? "" : text.data);
        buf_done(&text);
    }
    if (worker) {
        const char *why = json_text(worker, "detail"), *is = json_text(worker, "state");
        sheet_line(sheet, "", strcmp(is, "running") ? TONE_BAD : TONE_NONE, "worker %s, pid %.0f, %.0f restarts%s%s",
                   is, json_number(worker, "pid"), json_number(worker, "restarts"), *why ? ": " : "", why);
        const char *error = json_text(json_object(worker, "report"), "wire_error");
        if (*error)
            sheet_line(sheet, "", TONE_BAD, "last error on the wire: %s", error);
    }
}

static void sheet_pair(struct sheet *sheet, const char *head, const cJSON *from, const char *packets, const char *bytes,
                       const char *words)
{
    char count[FIGURE_SIZE], size[FIGURE_SIZE];

    sheet_line(sheet, head, TONE_NONE, "%-14s %7s packets  %7sB", words,
               figure_print(json_number(from, packets), count), figure_print(json_number(from, bytes), size));
}

static void sheet_counters(struct sheet *sheet, const cJSON *counters)
{
    const cJSON *kernel = json_object(counters, "kernel"), *worker = json_object(counters, "worker"), *drop;

    if (kernel) {
        sheet_pair(sheet, "traffic", kernel, "tx_packets", "tx_bytes", "into tunnel");
        sheet_pair(sheet, "", kernel, "rx_packets", "rx_bytes", "out of tunnel");
    }
    if (json_object(worker, "wire_out")) {
        sheet_pair(sheet, "", json_object(worker, "wire_out"), "packets", "bytes", "to the wire");
        sheet_pair(sheet, "", json_object(worker, "wire_in"), "packets", "bytes", "from the wire");
    }
    cJSON_ArrayForEach (drop, json_object(worker, "drops")) {
        char count[FIGURE_SIZE];
        if (cJSON_IsNumber(drop) && drop->valuedouble > 0)
            sheet_line(sheet, "dropped", TONE_WARN, "%-14s %7s packets", drop->string,
                       figure_print(drop->valuedouble, count));
    }
}

static enum cli_exit print_device(struct cli *cli, const cJSON *device, const cJSON *counters)
{
    static const char *const rest[] = {"mac", "owner", "group", "netns", "master", "labels"};
    struct sheet sheet = {.colour = cli->colour};
    const cJSON *status = json_object(device, "status");

    sheet_line(&sheet, "name", TONE_BOLD, "%s", json_text(device, "name"));
    sheet_line(&sheet, "kind", TONE_NONE, "%s, %s, mtu %.0f, queues %.0f, txqueuelen %.0f", json_text(device, "kind"),
               cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(device, "up")) ? "up" : "down", json_number(device, "mtu"),
               json_number(device, "queues"), json_number(device, "txqueuelen"));
    sheet_status(&sheet, status);
    sheet_values(&sheet, "addresses", json_array(device, "addresses"));
    sheet_values(&sheet, "routes", json_array(device, "routes"));
    sheet_member(&sheet, device, "worker");
    for (size_t i = 0; i < ARRAY_SIZE(rest); i++)
        sheet_member(&sheet, device, rest[i]);
    sheet_line(&sheet, "drift", TONE_NONE, "%s", json_text(device, "drift"));
    sheet_line(&sheet, "changed", TONE_NONE, "%s, generation %.0f", json_text(status, "changed"),
               json_number(status, "generation"));
    if (counters)
        sheet_counters(&sheet, counters);
    enum cli_exit exit = cli_write(&sheet.text);
    buf_done(&sheet.text);
    return exit;
}

static enum cli_exit print_counters(struct cli *cli, const cJSON *counters)
{
    static const char *const heads[] = {"WHERE", "WHAT", ">COUNT"};
    static const char *const places[] = {"kernel", "worker"};
    struct table table;
    struct buf text = {0};

    table_begin(&table, heads, ARRAY_SIZE(heads));
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        const cJSON *group, *item;
        cJSON_ArrayForEach (group, json_object(counters, places[i])) {
            for (item = cJSON_IsObject(group) ? group->child : group; item;
                 item = cJSON_IsObject(group) ? item->next : NULL) {
                if (!cJSON_IsNumber(item))
                    continue;
                table_add(&table, TONE_NONE, "%s", places[i]);
                table_add(&table, TONE_NONE, "%s%s%s", group->string, item == group ? "" : ".",
                          item == group ? "" : item->string);
                table_add(&table, TONE_NONE, "%.0f", item->valuedouble);
            }
        }
    }
    table_print(&table, cli->colour, SIZE_MAX, 0, "\n", &text);
    enum cli_exit exit = cli_write(&text);
    table_done(&table);
    buf_done(&text);
    return exit;
}

enum cli_exit command_show(struct cli *cli, const struct arguments *arguments)
{
    bool only_counters = arguments_have(arguments, "counters");
    struct buf path = {0}, counters_path = {0};
    struct caller_reply reply = {0};
    cJSON *device = NULL, *counters = NULL;

    change_device_path(&path, arguments->items[0], "");
    change_device_path(&counters_path, arguments->items[0], "/counters");
    enum cli_exit exit = path.failed || counters_path.failed ? cli_no_memory() : CLI_DONE;
    if (!exit && only_counters)
        exit = cli_get(cli, counters_path.data, &reply, &counters);
    else if (!exit)
        exit = cli_get(cli, path.data, &reply, &device);
    if (!exit && !device && cli->format == CLI_TABLE)
        exit = print_counters(cli, counters);
    else if (!exit && cli->format == CLI_JSON)
        exit = cli_json(cli, &reply.body);
    else if (!exit && cli->format == CLI_NAME)
        exit = cli_print("%s\n", json_text(device ? device : counters, device ? "name" : "device"));
    else if (!exit && !(exit = cli_get(cli, counters_path.data, NULL, &counters)))
        exit = print_device(cli, device, counters);
    cJSON_Delete(device);
    cJSON_Delete(counters);
    caller_reply_done(&reply);
    buf_done(&path);
    buf_done(&counters_path);
    return exit;
}

/* ---- changing ----------------------------------------------------------------------------------------------------- */

/* Options that are a field of the same name. */
static const char *const plain_options[] = {"kind",  "mtu",   "queues", "txqueuelen", "mac",
                                            "owner", "group", "netns",  "master",     "drift"};

static int add_labels_of(cJSON *document, const struct arguments *arguments, struct err *ret_err)
{
    size_t at = 0;
    int error = 0;

    for (const char *text; !error && (text = arguments_next(arguments, "label", &at));) {
        struct buf field = {0};
        buf_printf(&field, "labels.%s", text);
        error = field.failed ? err_no_memory(ret_err) : expression_set(document, field.data, ret_err);
        buf_done(&field);
    }
    return error;
}

/* Each of a repeated option is one more entry of a list. */
static int add_entries(cJSON *document, const struct arguments *arguments, const char *flag, const char *list,
                       struct err *ret_err)
{
    size_t at = 0;
    int error = 0;

    for (const char *text; !error && (text = arguments_next(arguments, flag, &at));) {
        struct buf edit = {0};
        buf_printf(&edit, "%s+=%s", list, text);
        error = edit.failed ? err_no_memory(ret_err) : expression_edit(document, edit.data, ret_err);
        buf_done(&edit);
    }
    return error;
}

static int new_document(const struct arguments *arguments, cJSON *document, struct err *ret_err)
{
    const char *worker = arguments_text(arguments, "worker");
    int error = expression_set_field(document, "name", arguments->items[0], ret_err);

    if (!error && !arguments_have(arguments, "kind"))
        error = cJSON_AddStringToObject(document, "kind", "tun") ? 0 : err_no_memory(ret_err);
    for (size_t i = 0; i < ARRAY_SIZE(plain_options) && !error; i++)
        if (arguments_have(arguments, plain_options[i]))
            error =
                expression_set_field(document, plain_options[i], arguments_text(arguments, plain_options[i]), ret_err);
    if (!error && arguments_have(arguments, "down"))
        error = expression_set(document, "up=false", ret_err);
    if (!error && worker)
        error = expression_set_field(document, "worker", worker, ret_err);
    if (!error)
        error = add_labels_of(document, arguments, ret_err);
    if (!error)
        error = add_entries(document, arguments, "address", "addresses", ret_err);
    if (!error)
        error = add_entries(document, arguments, "route", "routes", ret_err);
    for (size_t i = 1; i < arguments->count && !error; i++)
        error = expression_kind(arguments->items[i]) == EXPRESSION_SET
                    ? expression_set(document, arguments->items[i], ret_err)
                    : expression_edit(document, arguments->items[i], ret_err);
    return error;
}

enum cli_exit command_create(struct cli *cli, const struct arguments *arguments)
{
    cJSON *document = cJSON_CreateObject();
    struct err e = {0};
    int error = document ? new_document(arguments, document, &e) : err_no_memory(&e);
    enum cli_exit exit;

    if (error)
        exit = cli_fail(error, &e);
    else
        exit = change_make(
            cli, arguments,
            &(struct change){.method = "POST", .path = "/v1/devices", .body = document, .name = arguments->items[0]},
            NULL);
    cJSON_Delete(document);
    return exit;
}

/* A worker that is given as a whole takes the place of the one that is there: what only that one has, goes. */
static int replace_worker(cJSON *patch, const cJSON *device, struct err *ret_err)
{
    cJSON *worker = cJSON_GetObjectItemCaseSensitive(patch, "worker");
    const cJSON *member;

    cJSON_ArrayForEach (member, json_object(device, "worker")) {
        if (!cJSON_GetObjectItemCaseSensitive(worker, member->string) && !cJSON_AddNullToObject(worker, member->string))
            return err_no_memory(ret_err);
    }
    return 0;
}

/* The lists that are edited, as they are to be, into the patch. */
static int edit_lists(cJSON *patch, cJSON *device, const struct arguments *arguments, struct err *ret_err)
{
    static const char *const lists[] = {"addresses", "routes"};
    int error = 0;
    bool edited[ARRAY_SIZE(lists)] = {0};

    for (size_t i = 1; i < arguments->count && !error; i++) {
        if (expression_kind(arguments->items[i]) == EXPRESSION_SET)
            continue;
        error = expression_edit(device, arguments->items[i], ret_err);
        for (size_t k = 0; k < ARRAY_SIZE(lists); k++)
            if (*arguments->items[i] == *lists[k])
                edited[k] = true;
    }
    for (size_t k = 0; k < ARRAY_SIZE(lists) && !error; k++) {
        if (!edited[k])
            continue;
        if (cJSON_GetObjectItemCaseSensitive(patch, lists[k]))
            return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "%s: this is set and edited at once", lists[k]);
        cJSON *copy = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(device, lists[k]), true);
        if (!copy || !cJSON_AddItemToObject(patch, lists[k], copy)) {
            cJSON_Delete(copy);
            return err_no_memory(ret_err);
        }
    }
    return error;
}

/* The merge patch that all fields make. `device` is what was read, NULL where that was not needed. */
static int make_patch(const struct arguments *arguments, cJSON *device, cJSON *patch, struct err *ret_err)
{
    int error = 0;
    bool whole_worker = false;

    for (size_t i = 1; i < arguments->count && !error; i++) {
        if (expression_kind(arguments->items[i]) == EXPRESSION_SET)
            error = expression_set(patch, arguments->items[i], ret_err);
        whole_worker = whole_worker || !strncmp(arguments->items[i], "worker=", 7);
    }
    if (!error && device && whole_worker && json_object(patch, "worker"))
        error = replace_worker(patch, device, ret_err);
    if (!error && device)
        error = edit_lists(patch, device, arguments, ret_err);
    return error;
}

/* Whether the device has to be read first: its lists are edited, or its worker is replaced. */
static bool needs_device(const struct arguments *arguments)
{
    for (size_t i = 1; i < arguments->count; i++)
        if (expression_kind(arguments->items[i]) != EXPRESSION_SET || !strncmp(arguments->items[i], "worker=", 7))
            return true;
    return false;
}

enum cli_exit command_set(struct cli *cli, const struct arguments *arguments)
{
    cJSON *patch = cJSON_CreateObject(), *device = NULL;
    struct caller_reply reply = {0};
    struct buf path = {0};
    struct err e = {0};
    enum cli_exit exit = CLI_DONE;

    change_device_path(&path, arguments->items[0], "");
    if (!patch || path.failed)
        exit = cli_no_memory();
    /* what is wrong without asking is said without asking */
    int error = exit ? 0 : make_patch(arguments, NULL, patch, &e);
    if (!exit && !error && needs_device(arguments)) {
        exit = cli_get(cli, path.data, &reply, &device);
        cJSON_Delete(patch);
        patch = exit ? NULL : cJSON_CreateObject();
        if (!exit)
            error = patch ? make_patch(arguments, device, patch, &e) : err_no_memory(&e);
    }
    if (error)
        exit = cli_fail(error, &e);
    /* what was worked out from what was read holds only for that */
    const char *tag = device && !arguments_have(arguments, "if-match") && *reply.etag ? reply.etag : NULL;
    if (!exit)
        exit = change_make(cli, arguments,
                           &(struct change){.method = "PATCH",
                                            .path = path.data,
                                            .body = patch,
                                            .type = MERGE_PATCH,
                                            .if_match = tag,
                                            .name = arguments->items[0]},
                           NULL);
    cJSON_Delete(patch);
    cJSON_Delete(device);
    caller_reply_done(&reply);
    buf_done(&path);
    return exit;
}

enum cli_exit command_delete(struct cli *cli, const struct arguments *arguments)
{
    enum cli_exit worst = CLI_DONE;

    if (arguments->count > 1 && (arguments_have(arguments, "confirm") || arguments_have(arguments, "if-match"))) {
        cli_complain("--confirm and --if-match are for one device: each is a change of its own");
        return CLI_USAGE;
    }
    /* the first that cannot be is told by the status, and the others are tried nevertheless */
    for (size_t i = 0; i < arguments->count; i++) {
        struct buf path = {0};
        change_device_path(&path, arguments->items[i], "");
        const struct change change = {
            .method = "DELETE", .path = path.data, .name = arguments->items[i], .done = "deleted"};
        enum cli_exit exit = path.failed ? cli_no_memory() : change_make(cli, arguments, &change, NULL);
        worst = worst ? worst : exit;
        buf_done(&path);
    }
    return worst;
}

enum cli_exit command_adopt(struct cli *cli, const struct arguments *arguments)
{
    const char *netns = arguments_text(arguments, "netns");
    cJSON *patch = cJSON_CreateObject();
    struct buf path = {0};
    struct err e = {0};
    int error = patch ? 0 : err_no_memory(&e);
    enum cli_exit exit;

    change_device_path(&path, arguments->items[0], "/adopt");
    if (netns) {
        buf_add_text(&path, "?netns=");
        caller_encode(&path, netns);
    }
    for (size_t i = 1; i < arguments->count && !error; i++)
        error = expression_set(patch, arguments->items[i], &e);
    if (!error && path.failed)
        error = err_no_memory(&e);
    if (error)
        exit = cli_fail(error, &e);
    else
        exit = change_make(cli, arguments,
                           &(struct change){.method = "POST",
                                            .path = path.data,
                                            .body = patch,
                                            .type = MERGE_PATCH,
                                            .name = arguments->items[0],
                                            .done = "adopted"},
                           NULL);
    cJSON_Delete(patch);
    buf_done(&path);
    return exit;
}

enum cli_exit command_release(struct cli *cli, const struct arguments *arguments)
{
    struct buf path = {0};

    change_device_path(&path, arguments->items[0], "/release");
    const struct change change = {.method = "POST", .path = path.data, .name = arguments->items[0], .done = "released"};
    enum cli_exit exit = path.failed ? cli_no_memory() : change_make(cli, arguments, &change, NULL);
    buf_done(&path);
    return exit;
}

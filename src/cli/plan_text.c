/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plan_text.h"

#include "cli/plain.h"
#include "cli/table.h"
#include "cli/value_text.h"

#include <cjson/cJSON.h>
#include <string.h>

#define DISTURBED_MAX 8 /* names in the last line */

static const char *const disturbances[] = {"none", "flap", "recreate"}; /* each worse than the one before */

void plan_tally_done(struct plan_tally *tally)
{
    buf_done(&tally->disturbed);
    *tally = (struct plan_tally){0};
}

/* Appends a line of the details of a device. `text` (emptied) is made plain. */
static void add_line(struct buf *out, const char *pointer, const char *between, struct buf *text)
{
    buf_add_text(out, "    ");
    plain_add(out, pointer, strlen(pointer), PLAIN_LINE);
    buf_add_text(out, between);
    if (text->failed)
        out->failed = true;
    else
        plain_add(out, text->length ? text->data : "", text->length, PLAIN_LINE);
    buf_add_text(out, "\n");
    text->length = 0;
}

static bool has_item(const cJSON *list, const cJSON *wanted)
{
    const cJSON *item;

    for (item = list ? list->child : NULL; item; item = item->next)
        if (cJSON_Compare(item, wanted, true))
            return true;
    return false;
}

static void add_list(struct buf *out, const char *pointer, const cJSON *now, const cJSON *then)
{
    struct buf text = {0};
    const cJSON *item;
    size_t length = out->length;

    cJSON_ArrayForEach (item, now)
        if (!has_item(then, item)) {
            value_text_add(&text, item);
            add_line(out, pointer, " - ", &text);
        }
    cJSON_ArrayForEach (item, then)
        if (!has_item(now, item)) {
            value_text_add(&text, item);
            add_line(out, pointer, " + ", &text);
        }
    if (out->length == length) {
        value_text_add(&text, then);
        add_line(out, pointer, " in another order: ", &text);
    }
    buf_done(&text);
}

/* What a merge patch changes; `now` may be NULL: not known. */
static void add_patch(struct buf *out, const char *above, const cJSON *patch, const cJSON *now, unsigned depth)
{
    const cJSON *member;

    cJSON_ArrayForEach (member, patch) {
        struct buf pointer = {0}, text = {0};
        const cJSON *old = cJSON_GetObjectItemCaseSensitive(now, member->string);
        buf_printf(&pointer, "%s/%s", above, member->string ? member->string : "");
        const char *place = pointer.failed ? "/" : pointer.data;
        if (cJSON_IsObject(member) && depth < 4 && (!old || cJSON_IsObject(old))) {
            add_patch(out, place, member, old, depth + 1);
        } else if (cJSON_IsArray(member) && (cJSON_IsArray(old) || !now)) {
            if (now)
                add_list(out, place, old, member);
            else
                value_text_add(&text, member), add_line(out, place, ": ", &text);
        } else {
            if (old && !cJSON_IsNull(old))
                value_text_add(&text, old);
            else
                buf_add_text(&text, now ? "(none)" : "");
            buf_add_text(&text, text.length ? " -> " : "");
            if (cJSON_IsNull(member))
                buf_add_text(&text, "(none)");
            else
                value_text_add(&text, member);
            add_line(out, place, ": ", &text);
        }
        buf_done(&pointer);
        buf_done(&text);
    }
}

/* Of a new device, what is not as it would be anyway. */
static bool goes_without_saying(const cJSON *member)
{
    const char *key = member->string ? member->string : "";

    if (cJSON_IsNull(member) || !strcmp(key, "name"))
        return true;
    if (cJSON_IsArray(member) || cJSON_IsObject(member))
        return !member->child;
    return (!strcmp(key, "up") && cJSON_IsTrue(member)) ||
           (!strcmp(key, "txqueuelen") && member->valuedouble >= 1000 && member->valuedouble <= 1000) ||
           (!strcmp(key, "queues") && member->valuedouble <= 1) ||
           (!strcmp(key, "drift") && cJSON_IsString(member) && !strcmp(member->valuestring, "repair"));
}

static void add_document(struct buf *out, const cJSON *document)
{
    const cJSON *member, *item;

    cJSON_ArrayForEach (member, document) {
        struct buf text = {0};
        if (goes_without_saying(member))
            continue;
        if (cJSON_IsArray(member)) {
            cJSON_ArrayForEach (item, member) {
                value_text_add(&text, item);
                add_line(out, member->string, ": ", &text);
            }
        } else {
            value_text_add(&text, member);
            add_line(out, member->string, ": ", &text);
        }
        buf_done(&text);
    }
}

static void add_head(struct buf *out, char sign, enum table_tone tone, const char *device, const char *word,
                     bool colour)
{
    buf_printf(out, "%s%c ", colour ? table_tone_escape(tone) : "", sign);
    plain_add(out, device, strlen(device), PLAIN_LINE);
    buf_printf(out, "%s%s\n", word, colour ? "\033[0m" : "");
}

static void add_difference(struct buf *out, const cJSON *difference, plan_before before, void *context, bool colour,
                           struct plan_tally *tally)
{
    const char *device = json_text(difference, "device"), *action = json_text(difference, "action");
    const cJSON *patch = json_object(difference, "patch");

    if (!*device) { /* of tokens */
        device = json_text(difference, "token");
        patch = NULL;
    }
    if (!strcmp(action, "created")) {
        tally->created++;
        add_head(out, '+', TONE_GOOD, device, "", colour);
        add_document(out, patch);
    } else if (!strcmp(action, "deleted")) {
        tally->deleted++;
        add_head(out, '-', TONE_BAD, device, "", colour);
    } else if (!strcmp(action, "changed")) {
        tally->changed++;
        add_head(out, '~', TONE_WARN, device, "", colour);
        add_patch(out, "", patch, before ? before(context, device) : NULL, 0);
    } else {
        bool adopted = !strcmp(action, "adopted");
        tally->others++;
        add_head(out, adopted ? '>' : '<', TONE_WARN, device, adopted ? " is taken over" : " is let go", colour);
        add_document(out, patch);
    }
}

static int disturbance(const cJSON *step)
{
    for (int i = (int)ARRAY_SIZE(disturbances) - 1; i > 0; i--)
        if (!strcmp(json_text(step, "disturbs"), disturbances[i]))
            return i;
    return 0;
}

/* Each device that is disturbed, with the worst that is done to it. */
static void count_disturbances(const cJSON *plan, struct plan_tally *tally)
{
    cJSON *worst = cJSON_CreateObject();
    const cJSON *step;
    cJSON *device;

    cJSON_ArrayForEach (step, json_array(plan, "steps")) {
        const char *name = json_text(step, "device");
        int now = disturbance(step);
        tally->steps++;
        device = cJSON_GetObjectItemCaseSensitive(worst, name);
        if (device && now > (int)device->valuedouble)
            cJSON_SetNumberValue(device, now);
        else if (!device && now)
            cJSON_AddNumberToObject(worst, name, now);
    }
    cJSON_ArrayForEach (device, worst) {
        if (++tally->disturbed_count <= DISTURBED_MAX)
            buf_printf(&tally->disturbed, "%s%s (%s)", tally->disturbed.length ? ", " : "", device->string,
                       disturbances[(int)device->valuedouble]);
    }
    cJSON_Delete(worst);
}

void plan_text_add(struct buf *out, const cJSON *plan, plan_before before, void *context, bool colour,
                   struct plan_tally *tally)
{
    const cJSON *difference;

    cJSON_ArrayForEach (difference, json_array(plan, "differences"))
        add_difference(out, difference, before, context, colour, tally);
    count_disturbances(plan, tally);
}

void plan_text_add_tally(struct buf *out, const struct plan_tally *tally)
{
    unsigned all = tally->created + tally->changed + tally->deleted + tally->others;
    const struct {
        unsigned count;
        const char *words;
    } parts[] = {{tally->created, "to create"},
                 {tally->changed, "to change"},
                 {tally->deleted, "to delete"},
                 {tally->others, "to take over or let go"}};
    const char *between = "plan: ";

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (parts[i].count) {
            buf_printf(out, "%s%u %s", between, parts[i].count, parts[i].words);
            between = ", ";
        }
    if (!all)
        buf_printf(out, "plan: nothing differs%s", tally->steps ? ", but the kernel" : "");
    if (tally->steps)
        buf_printf(out, "; %u step%s", tally->steps, tally->steps == 1 ? "" : "s");
    if (tally->disturbed.length) {
        buf_add_text(out, "; disturbs ");
        plain_add(out, tally->disturbed.data, tally->disturbed.length, PLAIN_LINE);
        if (tally->disturbed_count > DISTURBED_MAX)
            buf_printf(out, " and %u more", tally->disturbed_count - DISTURBED_MAX);
    }
    buf_add_text(out, "\n");
}

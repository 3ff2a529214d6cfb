/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line reads: a stream of events, whose messages are looked into and printed, and words of its own. Whatever
 * comes, what is printed cannot move a terminal's cursor. */
#include "fuzz.h"

#include "cli/expression.h"
#include "cli/plain.h"
#include "cli/plan_text.h"
#include "cli/rate.h"
#include "cli/sse.h"

static void check_plain(const struct buf *text)
{
    for (size_t i = 0; i < text->length; i++)
        MUST((unsigned char)text->data[i] >= ' ' || text->data[i] == '\n');
    MUST(!text->length || utf8_is_valid(text->data, text->length));
}

static int on_message(void *context, const struct sse_message *message)
{
    struct buf text = {0};
    struct plan_tally tally = {0};
    struct rate rate;
    cJSON *json = NULL;

    (void)context;
    MUST(strlen(message->event) < SSE_WORD_SIZE && strlen(message->id) < SSE_WORD_SIZE);
    plain_add(&text, message->data, message->length, PLAIN_LINES);
    check_plain(&text);
    text.length = 0;
    if (json_read(message->data, message->length, &json, NULL) == 0) {
        plan_text_add(&text, json, NULL, NULL, false, &tally);
        plan_text_add_tally(&text, &tally);
        check_plain(&text);
        rate_of(json, &rate);
        cJSON_Delete(json);
    }
    plan_tally_done(&tally);
    buf_done(&text);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sse sse = {0};
    struct err err = {0};
    cJSON *patch = cJSON_CreateObject();

    for (size_t at = 0; at < size; at += 7)
        MUST(sse_feed(&sse, (const char *)data + at, size - at < 7 ? size - at : 7, on_message, NULL) == 0);
    sse_done(&sse);

    char *text = strndup((const char *)data, size);
    MUST(text && patch);
    if (expression_kind(text) == EXPRESSION_SET)
        MUST(expression_set(patch, text, &err) == 0 || err.message[0]);
    else
        MUST(expression_edit(patch, text, &err) == 0 || err.message[0]);
    free(text);
    cJSON_Delete(patch);
    return 0;
}

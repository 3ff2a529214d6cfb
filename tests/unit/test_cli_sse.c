/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/sse.h"

#include <errno.h>
#include <string.h>

/* Writes each message as event|id|data; */
static int note(void *context, const struct sse_message *message)
{
    buf_printf(context, "%s|%s|%s;", message->event, message->id, message->data);
    return !strcmp(message->data, "stop") ? 42 : 0;
}

/* The same in pieces of every size, which makes no difference. */
static void reads(const char *stream, const char *expected)
{
    size_t length = strlen(stream);

    for (size_t piece = 1; piece <= length; piece++) {
        struct sse sse = {0};
        struct buf out = {0};
        buf_add_text(&out, "");
        for (size_t at = 0; at < length; at += piece)
            assert_int_equal(sse_feed(&sse, stream + at, length - at < piece ? length - at : piece, note, &out), 0);
        assert_string_equal(out.data, expected);
        buf_done(&out);
        sse_done(&sse);
    }
}

static void test_messages(void **state)
{
    (void)state;
    reads(": watching\nid: 1\n\nid: 2\nevent: worker_state\ndata: {\"a\":1}\n\n", "worker_state|2|{\"a\":1};");
    reads("data: a\ndata: b\n\n", "message||a\nb;");
    reads("data: a\r\n\r\ndata:b\r\rdata\n\n", "message||a;message||b;message||;");
    reads("\xef\xbb\xbf"
          "data: a\n\n",
          "message||a;");
    reads("event: x\n\ndata: a\n\n", "message||a;"); /* an event without data is forgotten */
    reads("id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", "message|7|a;message|7|b;message||c;");
    reads("data: never ended", "");
    reads("dat: a\ndatax: b\nretry: 5\n\n", "");
    reads("data:  two\n\n", "message|| two;");
    reads("", "");
}

static void test_limits(void **state)
{
    struct sse sse = {0};
    struct buf out = {0};
    char *large = malloc(1U << 20);
    int error = 0;

    (void)state;
    memset(large, 'a', 1U << 20);
    /* a line without an end */
    for (int i = 0; i < 64 && !error; i++)
        error = sse_feed(&sse, large, 1U << 20, note, &out);
    assert_int_equal(error, -EMSGSIZE);
    assert_true(sse.line.length <= SSE_MESSAGE_MAX);
    sse_done(&sse);
    /* a message without an end */
    for (size_t i = 0; i < 1U << 20; i += 8)
        memcpy(large + i, "data: a\n", 8);
    error = 0;
    for (int i = 0; i < 256 && !error; i++)
        error = sse_feed(&sse, large, 1U << 20, note, &out);
    assert_int_equal(error, -EMSGSIZE);
    sse_done(&sse);
    /* names that are too long are as if they were not there */
    char line[200] = "event: ";
    memset(line + 7, 'x', 100);
    strcpy(line + 107, "\ndata: a\n\n");
    assert_int_equal(sse_feed(&sse, line, strlen(line), note, &out), 0);
    assert_string_equal(out.data, "message||a;");
    /* who takes messages can end it */
    assert_int_equal(sse_feed(&sse, "data: stop\n\ndata: more\n\n", 24, note, &out), 42);
    sse_done(&sse);
    buf_done(&out);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_messages), cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

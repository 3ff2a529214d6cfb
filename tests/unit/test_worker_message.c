/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker says to netd, and the `configure` head that comes back from one. */
#include "netd/netd.h"
#include "netd/worker_message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void head_round_trip(void **state)
{
    (void)state;
    struct configure_head head = {.queues = 16, .sockets = 4, .tag = 0x0123456789abcdefULL}, back;
    char line[CONFIGURE_HEAD_SIZE];
    memset(head.program, 'p', sizeof head.program - 1);
    size_t length = configure_head_print(&head, line);
    assert_int_equal(length, strlen(line));
    assert_int_equal(line[length - 1], '\n');
    assert_int_equal(configure_head_parse(line, length - 1, &back), 0);
    assert_memory_equal(&back, &head, sizeof head);

    head = (struct configure_head){.queues = 1, .program = "tunwright-worker"};
    configure_head_print(&head, line);
    assert_string_equal(line, "configure queues=1 sockets=0 tag=0000000000000000 program=tunwright-worker\n");
}

static void head_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "configure",
        "configure ",
        "configured queues=1 sockets=0 tag=0000000000000000 program=w",
        "attach queues=1 sockets=0 tag=0000000000000000 program=w",
        "configure queues=1 sockets=0 tag=0000000000000000",
        "configure queues=1 sockets=0 program=w",
        "configure queues=1 tag=0000000000000000 program=w",
        "configure sockets=0 tag=0000000000000000 program=w",
        "configure queues=1  sockets=0 tag=0000000000000000 program=w",
        "configure queues=1 sockets=0 tag=0000000000000000 program=w ",
        "configure queues=1 sockets=0 tag=0000000000000000 program=w x=y",
        "configure queues=1 queues=1 sockets=0 tag=0000000000000000 program=w",
        "configure queues=0 sockets=0 tag=0000000000000000 program=w",
        "configure queues=17 sockets=0 tag=0000000000000000 program=w",
        "configure queues=01 sockets=0 tag=0000000000000000 program=w",
        "configure queues=+1 sockets=0 tag=0000000000000000 program=w",
        "configure queues=-1 sockets=0 tag=0000000000000000 program=w",
        "configure queues= sockets=0 tag=0000000000000000 program=w",
        "configure queues=99999999999999999999999 sockets=0 tag=0000000000000000 program=w",
        "configure queues=1 sockets=17 tag=0000000000000000 program=w",
        "configure queues=1 sockets=0 tag=000000000000000 program=w",
        "configure queues=1 sockets=0 tag=00000000000000000 program=w",
        "configure queues=1 sockets=0 tag=000000000000000G program=w",
        "configure queues=1 sockets=0 tag=000000000000000A program=w",
        "configure queues=1 sockets=0 tag=0000000000000000 program=",
        "configure queues=1 sockets=0 tag=0000000000000000 program=../w",
        "configure queues=1 sockets=0 tag=0000000000000000 program=.",
        "configure queues=1 sockets=0 tag=0000000000000000 program=w\t",
        "configure queues=1 sockets=0 tag=0000000000000000 "
        "program=pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp",
    };
    struct configure_head head;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        if (configure_head_parse(lines[i], strlen(lines[i]), &head) != -EINVAL)
            fail_msg("taken: %s", lines[i]);
    static const char nul[] = "configure queues=1 sockets=0 tag=0000000000000000 program=w\0w";
    assert_int_equal(configure_head_parse(nul, sizeof nul - 1, &head), -EINVAL);
    assert_int_equal(configure_head_parse(nul, strlen(nul), &head), 0);
}

static void messages(void **state)
{
    (void)state;
    static const struct {
        const char *packet;
        enum worker_verb verb;
        const char *body;
    } cases[] = {
        {"ready\n{}", VERB_READY, "{}"},     {"ready\n", VERB_READY, ""},
        {"ready a=b\n{}", VERB_READY, "{}"}, {"failed\nwhy\nthat", VERB_FAILED, "why\nthat"},
        {"status\n{}", VERB_STATUS, "{}"},   {"readyness\n{}", VERB_UNKNOWN, "{}"},
        {"Ready\n{}", VERB_UNKNOWN, "{}"},   {"\n{}", VERB_UNKNOWN, "{}"},
        {" ready\n{}", VERB_UNKNOWN, "{}"},
    };
    struct worker_message message;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(worker_message_parse(cases[i].packet, strlen(cases[i].packet), &message), 0);
        assert_int_equal(message.verb, cases[i].verb);
        assert_int_equal(message.body_length, strlen(cases[i].body));
        assert_memory_equal(message.body, cases[i].body, message.body_length);
    }
    assert_int_equal(worker_message_parse("ready", 5, &message), -EINVAL);
    assert_int_equal(worker_message_parse("", 0, &message), -EINVAL);
}

static void attached(void **state)
{
    (void)state;
    static const char packet[] =
        "attached\nconfigure queues=2 sockets=1 tag=00000000000000ff program=w\n{\"worker\": {}}";
    static const char *const refused[] = {
        "attached\n",
        "attached\nconfigure queues=2 sockets=1 tag=00000000000000ff program=w",
        "attached\nconfigure queues=2 sockets=1 tag=00000000000000ff program=w\n",
        "attached\n\nconfigure queues=2 sockets=1 tag=00000000000000ff program=w\n{}",
        "attached\nfailed\n{}",
    };
    struct worker_message message;
    assert_int_equal(worker_message_parse(packet, sizeof packet - 1, &message), 0);
    assert_int_equal(message.verb, VERB_ATTACHED);
    assert_int_equal(message.head.queues, 2);
    assert_int_equal(message.head.sockets, 1);
    assert_int_equal(message.head.tag, 255);
    assert_int_equal(message.config_length, 14);
    assert_memory_equal(message.config, "{\"worker\": {}}", 14);
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        assert_int_equal(worker_message_parse(refused[i], strlen(refused[i]), &message), -EINVAL);
}

static void printable(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"a\nb\tc\x1b[0m\x7f", "a b c [0m"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"bad \xff here", "bad ? here"},
        {"0123456789abcdef", "0123456789abcde"},
        {"0123456789abcd\xc3\xbc", "0123456789abcd"},
        {"0123456789abc\xe2\x82\xac", "0123456789abc"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char out[16];
        text_copy_printable(out, sizeof out, cases[i].text, strlen(cases[i].text));
        assert_string_equal(out, cases[i].expected);
    }
    char out[16];
    text_copy_printable(out, sizeof out, "a\0b", 3);
    assert_string_equal(out, "a b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_round_trip), cmocka_unit_test(head_refused), cmocka_unit_test(messages),
        cmocka_unit_test(attached),        cmocka_unit_test(printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

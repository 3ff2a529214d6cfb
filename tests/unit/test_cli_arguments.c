/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines, and what is made from the table of commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/command.h"
#include "cli/intake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct arguments arguments;

/* Reads words with blanks between; they live until the next call. */
static int reads(const char *line, struct err *e)
{
    static char copy[512];
    char *items[32], *rest = copy;
    int count = 0;

    snprintf(copy, sizeof copy, "%s", line);
    for (char *item; *copy && (item = strsep(&rest, " "));)
        items[count++] = item;
    return arguments_read(&arguments, count, items, e);
}

static void takes(const char *line, const char *command, size_t count)
{
    struct err e = {0};

    if (reads(line, &e) < 0)
        fail_msg("%s: %s", line, e.message);
    assert_string_equal(arguments.command ? arguments.command->name : "", command);
    assert_int_equal(arguments.count, count);
}

/* Returns what it says, until the next call. */
static const char *refuses(const char *line)
{
    static struct err e;

    e = (struct err){0};
    if (reads(line, &e) != -EINVAL || !e.message[0])
        fail_msg("%s should be refused", line);
    return e.message;
}

static void test_lines(void **state)
{
    size_t at = 0;
    uint64_t number = 5;
    struct err e = {0};

    (void)state;
    takes("", "", 0);
    takes("list", "list", 0);
    takes("--socket /x show tun0 -ojson", "show", 1);
    assert_string_equal(arguments_text(&arguments, "socket"), "/x");
    assert_string_equal(arguments_text(&arguments, "output"), "json");
    assert_false(arguments_have(&arguments, "counters"));
    takes("--socket=/x token create ci --role reader", "token create", 1);
    assert_string_equal(arguments.items[0], "ci");
    takes("create tun0 -a 1 --address=2 -w echo", "create", 1);
    assert_string_equal(arguments_next(&arguments, "address", &at), "1");
    assert_string_equal(arguments_next(&arguments, "address", &at), "2");
    assert_null(arguments_next(&arguments, "address", &at));
    takes("set tun0 routes-=10.9.0.0/16 -n", "set", 2);
    takes("show -- -x", "show", 1);
    takes("apply -nyf -", "apply", 0);
    assert_string_equal(arguments_text(&arguments, "file"), "-");
    takes("show --help", "show", 0); /* who asks for help has not everything together yet */
    takes("set tun0 mtu=1 --confirm 60", "set", 2);
    assert_int_equal(arguments_number(&arguments, "confirm", 1, 100, &number, &e), 0);
    assert_int_equal(number, 60);
    assert_int_equal(arguments_number(&arguments, "confirm", 1, 59, &number, &e), -EINVAL);
    assert_int_equal(arguments_number(&arguments, "dry-run", 1, 59, &number, &e), 0);
    assert_int_equal(number, 60);

    refuses("lists");
    refuses("token");
    refuses("token show");
    assert_string_equal(refuses("show"), "show: this takes NAME");
    assert_string_equal(refuses("set tun0"), "set: this takes NAME FIELD=VALUE...");
    refuses("show a b");
    refuses("list --colour");
    refuses("list -x");
    refuses("list --output");
    refuses("list -o");
    refuses("list -o json -o json");
    refuses("create tun0 --down=yes");
    refuses("--role list");
}

/* Each row can be reached by its own name and completed, and says what it does. */
static void test_table(void **state)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};

    (void)state;
    for (size_t i = 0; i < command_count; i++) {
        struct buf help = {0};
        char line[128];
        struct err e = {0};
        snprintf(line, sizeof line, "%s --help", commands[i].name);
        assert_int_equal(reads(line, &e), 0);
        assert_ptr_equal(arguments.command, &commands[i]);
        assert_non_null(commands[i].run);
        help_command(&commands[i], &help);
        for (size_t k = 0; k < commands[i].option_count; k++) {
            assert_non_null(strstr(help.data, commands[i].options[k].flag));
            for (size_t m = 0; m < common_option_count; m++) {
                assert_string_not_equal(commands[i].options[k].flag, common_options[m].flag);
                assert_true(!commands[i].options[k].letter ||
                            commands[i].options[k].letter != common_options[m].letter);
            }
        }
        buf_done(&help);
    }
    for (size_t s = 0; s < ARRAY_SIZE(shells); s++) {
        struct buf script = {0};
        assert_true(completion_print(shells[s], &script));
        for (size_t i = 0; i < command_count; i++) {
            const char *blank = strchr(commands[i].name, ' ');
            assert_non_null(strstr(script.data, blank ? blank + 1 : commands[i].name));
        }
        buf_done(&script);
    }
    assert_false(completion_print("csh", &(struct buf){0}));
}

/* What a file of that content comes to: its names with commas between, or the fault. */
static void intake_is(const char *content, bool whole, const char *names)
{
    char path[] = "/tmp/tunwright-test-XXXXXX";
    struct intake intake = {.whole = true};
    struct buf found = {0};
    struct err e = {0};
    int fd = mkstemp(path);

    assert_true(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
    close(fd);
    int error = intake_add(&intake, path, &e);
    unlink(path);
    if (!error)
        error = intake_check(&intake, &e);
    buf_add_text(&found, error ? "!" : "");
    for (size_t i = 0; i < intake.count && !error; i++)
        buf_printf(&found, "%s%s%s", i ? "," : "", intake_is_wanted(&intake.items[i]) ? "" : "-", intake.items[i].name);
    assert_string_equal(found.data, names);
    assert_true(error ? e.message[0] != '\0' : intake.whole == whole);
    buf_done(&found);
    intake_done(&intake);
}

static void test_intake(void **state)
{
    (void)state;
    intake_is("{\"name\":\"a\",\"kind\":\"tun\",\"status\":{}}", false, "a");
    intake_is("[{\"name\":\"a\"},{\"name\":\"b\"}]", false, "a,b");
    intake_is("{\"devices\":[{\"name\":\"b\"},{\"name\":\"a\"}]}", true, "b,a");
    intake_is("{\"devices\":[{\"name\":\"b\"}],\"absent\":[\"c\"]}", true, "b,-c");
    intake_is("{\"absent\":[\"c\"]}", true, "-c");
    intake_is("{\"items\":[{\"name\":\"a\"}],\"next\":null}", false, "a");
    intake_is("{\"devices\":[]}", true, "");
    intake_is("[]", false, "");
    intake_is("", false, "!");
    intake_is("7", false, "!");
    intake_is("{", false, "!");
    intake_is("{}", false, "!");
    intake_is("{\"kind\":\"tun\"}", false, "!");
    intake_is("{\"name\":7}", false, "!");
    intake_is("[\"a\"]", false, "!");
    intake_is("[7]", false, "!");
    intake_is("{\"devices\":7}", false, "!");
    intake_is("{\"devices\":[],\"absent\":[{\"name\":\"a\"}]}", false, "!");
    intake_is("{\"devices\":[],\"more\":1}", false, "!");
    intake_is("[{\"name\":\"a\"},{\"name\":\"a\"}]", false, "!");
    intake_is("{\"devices\":[{\"name\":\"a\"}],\"absent\":[\"a\"]}", false, "!");
    intake_is("{\"name\":\"a\",\"name\":\"b\"}", false, "!"); /* JSON that two readers read differently */
    intake_is("[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]", false, "!");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_intake)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up files: which names count, who may have written them, and what is read. */
#include "daemon/conf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char path[64];
    int fd;
};

static int place_make(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    strcpy(place->path, "/tmp/test-conf-XXXXXX");
    assert_non_null(mkdtemp(place->path));
    assert_int_equal(chmod(place->path, 0755), 0);
    place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(place->fd >= 0);
    *state = place;
    return 0;
}

static int place_remove(void **state)
{
    struct place *place = *state;
    struct conf_names names = {0};
    int fd CLEANUP(fd_done) = -1;
    struct err e;
    assert_int_equal(chmod(place->path, 0755), 0);
    assert_int_equal(conf_names_read(place->path, geteuid(), &names, &fd, &e), 0);
    for (size_t i = 0; i < names.count; i++)
        assert_true(!unlinkat(place->fd, names.items[i], 0) || !unlinkat(place->fd, names.items[i], AT_REMOVEDIR));
    conf_names_done(&names);
    unlinkat(place->fd, "other", 0);
    assert_int_equal(rmdir(place->path), 0);
    close(place->fd);
    free(place);
    return 0;
}

static void put(const struct place *place, const char *name, const char *text, size_t length)
{
    int fd = openat(place->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, length), length);
    assert_int_equal(fchmod(fd, 0644), 0);
    close(fd);
}

static void expect_refused(const struct place *place, const char *name, uint32_t own_uid, int error, enum err_code code,
                           const char *said)
{
    struct conf_file file = {0};
    struct err e = {0};
    assert_int_equal(conf_file_read(place->fd, name, own_uid, &file, &e), error);
    assert_int_equal(e.code, code);
    if (!strstr(e.message, said))
        fail_msg("\"%s\" is not in: %s", said, e.message);
    assert_null(file.text);
}

static void test_names_that_are_meant(void **state)
{
    (void)state;
    static const char *const meant[] = {"a.json", "10-site.json", "a.b.json", "-.json", "x y.json"};
    static const char *const others[] = {".json", ".hidden.json", "a.json~",    "a.JSON",   "json",
                                         "",      "README.txt",   "a.json.bak", ".a.json.", "a.json.dpkg-dist"};
    for (size_t i = 0; i < ARRAY_SIZE(meant); i++)
        assert_true(conf_name_is_meant(meant[i]));
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_false(conf_name_is_meant(others[i]));
}

static void expect_cut(const char *name, size_t size, const char *expected)
{
    char out[64];
    memset(out, 'x', sizeof out);
    conf_name_cut(out, size, name);
    assert_string_equal(out, expected);
}

static void test_names_are_cut_between_characters(void **state)
{
    (void)state;
    expect_cut("abc", 4, "abc");
    expect_cut("abcd", 4, "abc");
    expect_cut("", 1, "");
    expect_cut("a", 1, "");
    expect_cut("a\xc3\xa4", 4, "a\xc3\xa4");                /* ä fits */
    expect_cut("a\xc3\xa4", 3, "a");                        /* it does not */
    expect_cut("\xf0\x9f\x90\x98z", 5, "\xf0\x9f\x90\x98"); /* four bytes */
    expect_cut("\xf0\x9f\x90\x98z", 4, "");
}

static void test_names_are_in_order(void **state)
{
    struct place *place = *state;
    static const char *const given[] = {"b.json", "10-b.json", "9-a.json", "B.json", ".x.json", "notes.txt", "a.json"};
    static const char *const expected[] = {"10-b.json", "9-a.json", "B.json", "a.json", "b.json"};
    for (size_t i = 0; i < ARRAY_SIZE(given); i++)
        put(place, given[i], "{}", 2);
    struct conf_names names = {0};
    struct err e;
    int fd CLEANUP(fd_done) = -1;
    assert_int_equal(conf_names_read(place->path, geteuid(), &names, &fd, &e), 0);
    assert_true(fd >= 0);
    assert_int_equal(names.count, ARRAY_SIZE(expected));
    for (size_t i = 0; i < names.count; i++)
        assert_string_equal(names.items[i], expected[i]);
    conf_names_done(&names);
    unlinkat(place->fd, ".x.json", 0);
    unlinkat(place->fd, "notes.txt", 0);
}

static void test_no_directory(void **state)
{
    (void)state;
    struct conf_names names = {0};
    struct err e;
    int fd = -1;
    assert_int_equal(conf_names_read("/nonexistent/conf.d", 0, &names, &fd, &e), -ENOENT);
    assert_int_equal(conf_names_read("/etc/passwd", 0, &names, &fd, &e), -ENOTDIR);
    assert_int_equal(fd, -1);
}

static void test_directory_of_everybody(void **state)
{
    struct place *place = *state;
    struct conf_names names = {0};
    struct err e;
    int fd = -1;
    assert_int_equal(chmod(place->path, 0777), 0);
    assert_int_equal(conf_names_read(place->path, geteuid(), &names, &fd, &e), -EPERM);
    assert_non_null(strstr(e.message, "everybody may write the directory"));
}

static void test_directory_of_somebody_else(void **state)
{
    struct place *place = *state;
    struct conf_names names = {0};
    struct err e;
    int fd = -1;
    if (geteuid() == 0)
        assert_int_equal(chown(place->path, 12345, 12345), 0);
    int error = conf_names_read(place->path, geteuid() + 1, &names, &fd, &e);
    if (geteuid() == 0)
        assert_int_equal(chown(place->path, 0, 0), 0);
    assert_int_equal(error, -EPERM);
    assert_non_null(strstr(e.message, "it must belong to root or to the daemon's user"));
}

static void test_a_file(void **state)
{
    struct place *place = *state;
    static const char text[] = "{\"devices\": []}\n";
    static const char *const names[] = {"a.json", "with blank and \xc3\xa4.json"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct conf_file file = {0};
        struct err e;
        uint8_t digest[32];
        put(place, names[i], text, strlen(text));
        assert_int_equal(conf_file_read(place->fd, names[i], geteuid(), &file, &e), 0);
        assert_int_equal(file.length, strlen(text));
        assert_string_equal(file.text, text);
        EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL);
        assert_memory_equal(file.digest, digest, sizeof digest);
        conf_file_done(&file);
        assert_null(file.text);
    }
}

static void test_an_empty_file(void **state)
{
    struct place *place = *state;
    static const uint8_t begin[] = {0xe3, 0xb0, 0xc4, 0x42}; /* SHA-256 of nothing */
    struct conf_file file = {0};
    struct err e;
    put(place, "a.json", "", 0);
    assert_int_equal(conf_file_read(place->fd, "a.json", geteuid(), &file, &e), 0);
    assert_int_equal(file.length, 0);
    assert_string_equal(file.text, "");
    assert_memory_equal(file.digest, begin, sizeof begin);
    conf_file_done(&file);
}

static void test_bytes_of_any_kind(void **state)
{
    struct place *place = *state;
    struct conf_file file = {0};
    struct err e;
    put(place, "a.json", "\0\xff\0", 3);
    assert_int_equal(conf_file_read(place->fd, "a.json", geteuid(), &file, &e), 0);
    assert_int_equal(file.length, 3);
    assert_memory_equal(file.text, "\0\xff\0", 4);
    conf_file_done(&file);
}

static void test_writers(void **state)
{
    struct place *place = *state;
    uint32_t own = geteuid();
    put(place, "a.json", "{}", 2);
    assert_int_equal(fchmodat(place->fd, "a.json", 0646, 0), 0);
    expect_refused(place, "a.json", own, -EPERM, ERR_FORBIDDEN, "everybody may write the file");
    assert_int_equal(fchmodat(place->fd, "a.json", 0664, 0), 0);
    struct conf_file file = {0};
    struct err e;
    assert_int_equal(conf_file_read(place->fd, "a.json", own, &file, &e), 0); /* a group is somebody's choice */
    conf_file_done(&file);
    if (own == 0)
        assert_int_equal(fchownat(place->fd, "a.json", 12345, 12345, 0), 0);
    expect_refused(place, "a.json", own + 1, -EPERM, ERR_FORBIDDEN, "it must belong to root or to the daemon's user");
    if (own == 0) { /* the daemon's own */
        assert_int_equal(conf_file_read(place->fd, "a.json", 12345, &file, &e), 0);
        conf_file_done(&file);
    }
}

static void test_no_regular_file(void **state)
{
    struct place *place = *state;
    uint32_t own = geteuid();
    put(place, "other", "{}", 2);
    assert_int_equal(symlinkat("other", place->fd, "link.json"), 0);
    expect_refused(place, "link.json", own, -ELOOP, ERR_FORBIDDEN, "symbolic link");
    assert_int_equal(mkfifoat(place->fd, "fifo.json", 0644), 0); /* nobody writes: it must not be waited for */
    expect_refused(place, "fifo.json", own, -EPERM, ERR_FORBIDDEN, "no regular file");
    assert_int_equal(mkdirat(place->fd, "dir.json", 0755), 0);
    expect_refused(place, "dir.json", own, -EPERM, ERR_FORBIDDEN, "no regular file");
    expect_refused(place, "none.json", own, -ENOENT, ERR_KERNEL_REFUSED, "none.json");
}

static void test_sizes(void **state)
{
    struct place *place = *state;
    put(place, "a.json", "", 0);
    int fd = openat(place->fd, "a.json", O_WRONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, CONF_FILE_SIZE_MAX + 1), 0);
    expect_refused(place, "a.json", geteuid(), -EFBIG, ERR_BODY_TOO_LARGE, "33554433 bytes");
    assert_int_equal(ftruncate(fd, CONF_FILE_SIZE_MAX), 0);
    struct conf_file file = {0};
    struct err e;
    assert_int_equal(conf_file_read(place->fd, "a.json", geteuid(), &file, &e), 0);
    assert_int_equal(file.length, CONF_FILE_SIZE_MAX);
    conf_file_done(&file);
    close(fd);
}

static void test_names_that_cannot_be_told(void **state)
{
    struct place *place = *state;
    expect_refused(place, "a\nb.json", geteuid(), -EINVAL, ERR_INVALID_NAME, "control characters");
    expect_refused(place, "a\x7f.json", geteuid(), -EINVAL, ERR_INVALID_NAME, "control characters");
    expect_refused(place, "\xff.json", geteuid(), -EINVAL, ERR_INVALID_NAME, "UTF-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_that_are_meant),
        cmocka_unit_test(test_names_are_cut_between_characters),
        cmocka_unit_test_setup_teardown(test_names_are_in_order, place_make, place_remove),
        cmocka_unit_test(test_no_directory),
        cmocka_unit_test_setup_teardown(test_directory_of_everybody, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_directory_of_somebody_else, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_a_file, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_an_empty_file, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_bytes_of_any_kind, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_writers, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_no_regular_file, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_sizes, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_names_that_cannot_be_told, place_make, place_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

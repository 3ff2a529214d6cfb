/* SPDX-License-Identifier: Apache-2.0 */
#include "history/history_file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct uuid uuid = {.bytes = {0xab, 2, 3}}, other = {.bytes = {0xcd}};
#define FILE_NAME   "ab020300-0000-0000-0000-000000000000.history"
#define BACKUP_NAME "ab020300-0000-0000-0000-000000000000.backups" /* somebody else's */

static struct {
    char base[64], path[96];
    struct history_directory directory;
} world;

static int begin(void **state)
{
    struct err e = {0};
    (void)state;
    strcpy(world.base, "/tmp/test-history-XXXXXX");
    assert_non_null(mkdtemp(world.base));
    snprintf(world.path, sizeof world.path, "%s/history", world.base);
    if (history_directory_open(world.path, &world.directory, &e))
        fail_msg("%s", e.message);
    return 0;
}

static bool keep_none(void *context, const struct uuid *found)
{
    (void)context, (void)found;
    return false;
}

static int end(void **state)
{
    (void)state;
    history_directory_sweep(&world.directory, keep_none, NULL);
    history_directory_close(&world.directory);
    assert_int_equal(rmdir(world.path), 0);
    return rmdir(world.base);
}

static struct rings_file *must_open(const struct uuid *which, int64_t now_s)
{
    struct rings_file *file = NULL;
    struct err e = {0};
    if (history_file_open(&world.directory, which, now_s, &file, &e))
        fail_msg("%s", e.message);
    return file;
}

static bool is_there(const char *name)
{
    return faccessat(world.directory.fd, name, F_OK, 0) == 0;
}

static blkcnt_t blocks(void)
{
    struct stat status;
    assert_int_equal(fstatat(world.directory.fd, FILE_NAME, &status, 0), 0);
    return status.st_blocks;
}

static void test_what_was_written_is_there_again(void **state)
{
    (void)state;
    struct rings_file *file = must_open(&uuid, 100);
    struct stat status;
    blkcnt_t empty = blocks();
    file->head.until_s = 42;
    assert_int_equal(history_file_make_room(&world.directory, &uuid, 3), 0);
    blkcnt_t made = blocks();
    file->pages[3].records[0][0] = 7;
    history_file_close(file);
    if (made > empty) /* not every file system can */
        assert_int_equal(blocks(), made);
    file = must_open(&uuid, 100);
    assert_int_equal(file->head.until_s, 42);
    assert_int_equal(file->pages[3].records[0][0], 7);
    history_file_close(file);
    assert_int_equal(fstatat(world.directory.fd, FILE_NAME, &status, 0), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(status.st_size, 78 * 4096);
    assert_true(status.st_blocks * 512 <= 4 * 4096); /* the rest are holes */
    assert_int_equal(stat(world.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
}

/* ---- files that cannot be used ----------------------------------------------------------------------------------- */

static void spoil_length(void)
{
    int fd = openat(world.directory.fd, FILE_NAME, O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, 4096), 0);
    close(fd);
}

static void spoil_head(void)
{
    int fd = openat(world.directory.fd, FILE_NAME, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 0), 1);
    close(fd);
}

static void spoil_owner(void)
{
    struct rings_file *file = must_open(&other, 100);
    file->head.until_s = 42;
    history_file_close(file);
    assert_int_equal(
        renameat(world.directory.fd, "cd000000-0000-0000-0000-000000000000.history", world.directory.fd, FILE_NAME), 0);
}

static void spoil_time(void)
{
    struct rings_file *file = must_open(&uuid, 100);
    file->head.until_s = 102;
    history_file_close(file);
}

static void spoil_kind(void)
{
    assert_int_equal(renameat(world.directory.fd, FILE_NAME, world.directory.fd, "../good"), 0);
    assert_int_equal(symlinkat("../good", world.directory.fd, FILE_NAME), 0);
}

static void test_bad_file_is_made_anew(void **state)
{
    (void)state;
    static void (*const spoil[])(void) = {spoil_length, spoil_head, spoil_owner, spoil_time, spoil_kind};
    for (size_t i = 0; i < ARRAY_SIZE(spoil); i++) {
        struct rings_file *file = must_open(&uuid, 100);
        file->head.until_s = 42;
        history_file_close(file);
        spoil[i]();
        file = must_open(&uuid, 100);
        assert_int_equal(file->head.until_s, 0);
        assert_memory_equal(file->head.uuid, uuid.bytes, 16);
        history_file_close(file);
    }
    assert_int_equal(unlinkat(world.directory.fd, "../good", 0), 0);
}

static void test_another_run_of_the_machine(void **state)
{
    (void)state;
    struct rings_file *file = must_open(&uuid, 100);
    file->head.until_s = 42;
    history_file_close(file);
    world.directory.boot_id[0] ^= 1;
    file = must_open(&uuid, 100);
    assert_int_equal(file->head.until_s, 0);
    history_file_close(file);
}

static void test_what_cannot_be_made(void **state)
{
    (void)state;
    struct rings_file *file;
    struct err e = {0};
    assert_int_equal(mkdirat(world.directory.fd, FILE_NAME, 0700), 0);
    assert_true(history_file_open(&world.directory, &uuid, 100, &file, &e) < 0);
    assert_int_equal(unlinkat(world.directory.fd, FILE_NAME, AT_REMOVEDIR), 0);
    assert_true(history_file_make_room(&world.directory, &uuid, 0) < 0);
}

/* ---- the directory ----------------------------------------------------------------------------------------------- */

static bool keep_other(void *context, const struct uuid *found)
{
    ++*(size_t *)context;
    return uuid_equal(found, &other);
}

static void test_sweep(void **state)
{
    (void)state;
    size_t asked = 0;
    history_file_close(must_open(&uuid, 100));
    history_file_close(must_open(&other, 100));
    int fd = openat(world.directory.fd, BACKUP_NAME, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    history_directory_sweep(&world.directory, keep_other, &asked);
    assert_int_equal(asked, 2);
    assert_false(is_there(FILE_NAME));
    assert_true(is_there("cd000000-0000-0000-0000-000000000000.history"));
    assert_true(is_there(BACKUP_NAME));
    history_file_remove(&world.directory, &other);
    assert_false(is_there("cd000000-0000-0000-0000-000000000000.history"));
    assert_int_equal(unlinkat(world.directory.fd, BACKUP_NAME, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_written_is_there_again, begin, end),
        cmocka_unit_test_setup_teardown(test_bad_file_is_made_anew, begin, end),
        cmocka_unit_test_setup_teardown(test_another_run_of_the_machine, begin, end),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_made, begin, end),
        cmocka_unit_test_setup_teardown(test_sweep, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

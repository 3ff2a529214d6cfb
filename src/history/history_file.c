/* SPDX-License-Identifier: Apache-2.0 */
#include "history_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SUFFIX ".history"
#define NAME_SIZE   (UUID_TEXT_SIZE + sizeof NAME_SUFFIX)

static const char *name_of(const struct uuid *uuid, char out[static NAME_SIZE])
{
    char text[UUID_TEXT_SIZE];
    snprintf(out, NAME_SIZE, "%s" NAME_SUFFIX, uuid_print(uuid, text));
    return out;
}

static bool name_parse(const char *name, struct uuid *ret_uuid)
{
    char text[UUID_TEXT_SIZE];
    size_t length = UUID_TEXT_SIZE - 1;
    if (strlen(name) != length + strlen(NAME_SUFFIX) || strcmp(name + length, NAME_SUFFIX) != 0)
        return false;
    memcpy(text, name, length);
    text[length] = '\0';
    return uuid_parse(text, ret_uuid) == 0;
}

/* ---- the directory ----------------------------------------------------------------------------------------------- */

/* Zeros where it cannot be had: then a file is told by its times alone. */
static void boot_id_read(uint8_t out[static 16])
{
    char text[UUID_TEXT_SIZE] = "";
    struct uuid uuid;
    memset(out, 0, 16);
    int fd CLEANUP(fd_done) = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1 && uuid_parse(text, &uuid) == 0)
        memcpy(out, uuid.bytes, 16);
}

int history_directory_open(const char *path, struct history_directory *ret_directory, struct err *ret_err)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set_kernel(ret_err, -errno, "mkdir", "cannot make the directory %s", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "open", "cannot use the directory %s", path);
    *ret_directory = (struct history_directory){.fd = fd};
    boot_id_read(ret_directory->boot_id);
    return 0;
}

void history_directory_close(struct history_directory *directory)
{
    fd_done(&directory->fd);
    directory->fd = -1;
}

void history_directory_sweep(const struct history_directory *directory,
                             bool (*is_kept)(void *context, const struct uuid *uuid), void *context)
{
    int fd = openat(directory->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        fd_done(&fd);
        return;
    }
    for (const struct dirent *entry = readdir(list); entry; entry = readdir(list)) {
        struct uuid uuid;
        if (name_parse(entry->d_name, &uuid) && !is_kept(context, &uuid))
            (void)unlinkat(directory->fd, entry->d_name, 0);
    }
    (void)closedir(list);
}

/* ---- one file ---------------------------------------------------------------------------------------------------- */

static bool file_is_good(int fd, const struct history_directory *directory, const struct uuid *uuid, int64_t now_s)
{
    struct rings_head head;
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == sizeof(struct rings_file) &&
           pread(fd, &head, sizeof head, 0) == sizeof head &&
           rings_head_is_good(&head, uuid, directory->boot_id, now_s);
}

/* The head is written, and takes its page; the rest is a hole. */
static int file_make(const struct history_directory *directory, const struct uuid *uuid, const char *name, int *ret_fd)
{
    struct rings_head head;
    rings_format(&head, uuid, directory->boot_id);
    (void)unlinkat(directory->fd, name, 0);
    int fd = openat(directory->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int error = 0;
    ssize_t written = pwrite(fd, &head, sizeof head, 0);
    if (written != sizeof head)
        error = written < 0 ? -errno : -ENOSPC;
    if (!error && ftruncate(fd, sizeof(struct rings_file)) < 0)
        error = -errno;
    if (error) {
        (void)unlinkat(directory->fd, name, 0);
        close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

int history_file_open(const struct history_directory *directory, const struct uuid *uuid, int64_t now_s,
                      struct rings_file **ret_file, struct err *ret_err)
{
    char name[NAME_SIZE];
    int fd CLEANUP(fd_done) = openat(directory->fd, name_of(uuid, name), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && !file_is_good(fd, directory, uuid, now_s))
        fd_done(&fd), fd = -1;
    if (fd < 0) {
        int error = file_make(directory, uuid, name, &fd);
        if (error)
            return err_set_kernel(ret_err, error, "open", "cannot make a device's history");
    }
    void *file = mmap(NULL, sizeof(struct rings_file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED)
        return err_set_kernel(ret_err, -errno, "mmap", "cannot map a device's history");
    *ret_file = file;
    return 0;
}

void history_file_close(struct rings_file *file)
{
    if (file)
        (void)munmap(file, sizeof *file);
}

void history_file_remove(const struct history_directory *directory, const struct uuid *uuid)
{
    char name[NAME_SIZE];
    (void)unlinkat(directory->fd, name_of(uuid, name), 0);
}

int history_file_make_room(const struct history_directory *directory, const struct uuid *uuid, size_t page)
{
    char name[NAME_SIZE];
    int fd CLEANUP(fd_done) = openat(directory->fd, name_of(uuid, name), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    off_t at = (off_t)(offsetof(struct rings_file, pages) + page * sizeof(struct rings_page));
    if (fallocate(fd, 0, at, sizeof(struct rings_page)) < 0 && errno != EOPNOTSUPP)
        return -errno;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "conf_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names ------------------------------------------------------------------------------------------------------- */

bool conf_name_is_meant(const char *name)
{
    static const char suffix[] = ".json";
    size_t length = strlen(name);
    return name[0] != '.' && length >= sizeof suffix && !strcmp(name + length - (sizeof suffix - 1), suffix);
}

void conf_name_cut(char *out, size_t size, const char *name)
{
    size_t length = strnlen(name, size);
    if (length == size) {
        length--;
        while (length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(out, name, length);
    out[length] = '\0';
}

/* A name appears in logs, events and the audit log. */
static bool name_is_clean(const char *name)
{
    for (const char *at = name; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    return utf8_is_valid(name, strlen(name));
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void conf_names_done(struct conf_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct conf_names){0};
}

static int names_add(struct conf_names *names, const char *name, struct err *ret_err)
{
    if (array_grow(&names->items, &names->capacity, names->count, sizeof *names->items))
        return err_no_memory(ret_err);
    char *copy = strdup(name);
    if (!copy)
        return err_no_memory(ret_err);
    names->items[names->count++] = copy;
    return 0;
}

/* ---- who may have written it ------------------------------------------------------------------------------------- */

static int check_writers(const struct stat *status, uint32_t own_uid, const char *what, struct err *ret_err)
{
    if (status->st_uid != 0 && status->st_uid != own_uid)
        return err_set(ret_err, -EPERM, ERR_FORBIDDEN, "",
                       "the %s belongs to user %u; it must belong to root or to the daemon's user %u", what,
                       status->st_uid, own_uid);
    if (status->st_mode & S_IWOTH)
        return err_set(ret_err, -EPERM, ERR_FORBIDDEN, "", "everybody may write the %s (chmod o-w)", what);
    return 0;
}

/* ---- the directory ----------------------------------------------------------------------------------------------- */

static int names_collect(DIR *stream, struct conf_names *names, struct err *ret_err)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry)
            return errno ? err_set_kernel(ret_err, -errno, "getdents64", "cannot read the directory") : 0;
        int error = conf_name_is_meant(entry->d_name) ? names_add(names, entry->d_name, ret_err) : 0;
        if (error)
            return error;
    }
}

int conf_names_read(const char *path, uint32_t own_uid, struct conf_names *ret_names, int *ret_fd, struct err *ret_err)
{
    int fd CLEANUP(fd_done) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "open", "cannot open the directory");
    struct stat status;
    if (fstat(fd, &status) < 0)
        return err_set_kernel(ret_err, -errno, "fstat", "cannot open the directory");
    int error = check_writers(&status, own_uid, "directory", ret_err);
    if (error)
        return error;
    int second = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* closedir takes one */
    DIR *stream = second < 0 ? NULL : fdopendir(second);
    if (!stream) {
        error = err_set_kernel(ret_err, -errno, "open", "cannot read the directory");
        fd_done(&second);
        return error;
    }
    struct conf_names names = {0};
    error = names_collect(stream, &names, ret_err);
    closedir(stream);
    if (error) {
        conf_names_done(&names);
        return error;
    }
    if (names.count)
        qsort(names.items, names.count, sizeof *names.items, compare_names);
    *ret_names = names;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* ---- a file ------------------------------------------------------------------------------------------------------ */

void conf_file_done(struct conf_file *file)
{
    free(file->text);
    *file = (struct conf_file){0};
}

static int open_refused(int error, const char *name, struct err *ret_err)
{
    if (error == -ELOOP)
        return err_set(ret_err, error, ERR_FORBIDDEN, "", "it is a symbolic link, and none is followed");
    if (error == -EACCES)
        return err_set_kernel(ret_err, error, "open", "the daemon's user %u may not read it", geteuid());
    return err_set_kernel(ret_err, error, "open", "cannot open %s", name);
}

static int check_file(int fd, uint32_t own_uid, struct err *ret_err)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return err_set_kernel(ret_err, -errno, "fstat", "cannot look at it");
    if (!S_ISREG(status.st_mode))
        return err_set(ret_err, -EPERM, ERR_FORBIDDEN, "", "it is no regular file");
    if (status.st_size > (off_t)CONF_FILE_SIZE_MAX)
        return err_set(ret_err, -EFBIG, ERR_BODY_TOO_LARGE, "", "it has %lld bytes; at most %lu are taken",
                       (long long)status.st_size, CONF_FILE_SIZE_MAX);
    return check_writers(&status, own_uid, "file", ret_err);
}

/* To the end, which may be another one than fstat saw. */
static int read_all(int fd, struct buf *text, struct err *ret_err)
{
    char piece[65536];
    for (;;) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_kernel(ret_err, -errno, "read", "cannot read it");
        if (got == 0)
            break;
        buf_add(text, piece, (size_t)got);
        if (text->length > CONF_FILE_SIZE_MAX)
            return err_set(ret_err, -EFBIG, ERR_BODY_TOO_LARGE, "", "it grows while it is read");
    }
    buf_add(text, "", 0); /* an empty file is text, too */
    return text->failed ? err_no_memory(ret_err) : 0;
}

int conf_file_read(int directory_fd, const char *name, uint32_t own_uid, struct conf_file *ret_file,
                   struct err *ret_err)
{
    if (!name_is_clean(name))
        return err_set(ret_err, -EINVAL, ERR_INVALID_NAME, "",
                       "its name has control characters in it, or is not UTF-8");
    int fd CLEANUP(fd_done) = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return open_refused(-errno, name, ret_err);
    int error = check_file(fd, own_uid, ret_err);
    if (error)
        return error;
    struct buf text CLEANUP(buf_done) = {0};
    error = read_all(fd, &text, ret_err);
    if (error)
        return error;
    struct conf_file file = {.length = text.length};
    if (EVP_Digest(text.data ? text.data : "", text.length, file.digest, NULL, EVP_sha256(), NULL) != 1)
        return err_set(ret_err, -EIO, ERR_INTERNAL, "", "libcrypto gave no SHA-256");
    file.text = buf_take(&text);
    if (!file.text)
        return err_no_memory(ret_err);
    *ret_file = file;
    return 0;
}

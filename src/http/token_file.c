/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first token's file: 64 hex digits and a newline, for whoever sets the machine up.
 */
#include "auth.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_LENGTH 64

static bool is_token(const char *text)
{
    return strspn(text, "0123456789abcdef") == TOKEN_LENGTH;
}

/* The token without its newline. -ENOENT where there is no file. */
static int token_read(const char *path, char ret_token[static TOKEN_LENGTH + 2], struct err *ret_err)
{
    int fd CLEANUP(fd_done) = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "open", "cannot read %s", path);
    struct stat file;
    if (fstat(fd, &file) < 0)
        return err_set_kernel(ret_err, -errno, "fstat", "cannot read %s", path);
    if (!S_ISREG(file.st_mode) || file.st_uid != geteuid() || (file.st_mode & 077))
        return err_set(ret_err, -EPERM, ERR_INTERNAL, "",
                       "%s must be a file that belongs to user %u and that nobody else can read (chmod 600)", path,
                       geteuid());
    char text[TOKEN_LENGTH + 2] = "";
    ssize_t length = read(fd, text, sizeof text - 1);
    if (length < 0)
        return err_set_kernel(ret_err, -errno, "read", "cannot read %s", path);
    text[length] = '\0';
    if (length == TOKEN_LENGTH + 1 && text[TOKEN_LENGTH] == '\n' && is_token(text)) {
        text[TOKEN_LENGTH] = '\0';
        memcpy(ret_token, text, sizeof text);
        OPENSSL_cleanse(text, sizeof text);
        return 0;
    }
    OPENSSL_cleanse(text, sizeof text);
    return err_set(ret_err, -EINVAL, ERR_INTERNAL, "",
                   "%s does not hold a token (64 hex digits and a newline); remove it, and a new one is made", path);
}

static int token_write(const char *path, const char *line, struct err *ret_err)
{
    char temporary[512];
    int length = snprintf(temporary, sizeof temporary, "%s.new", path);
    if (length < 0 || length >= (int)sizeof temporary)
        return err_set(ret_err, -ENAMETOOLONG, ERR_INTERNAL, "", "the path of the token's file is too long");
    unlink(temporary);
    int fd CLEANUP(fd_done) = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set_kernel(ret_err, -errno, "open", "cannot make %s", temporary);
    errno = EIO; /* what a write that is cut short leaves unsaid */
    if (write(fd, line, TOKEN_LENGTH + 1) != TOKEN_LENGTH + 1 || fsync(fd) < 0 || rename(temporary, path) < 0) {
        int error = -errno;
        unlink(temporary);
        return err_set_kernel(ret_err, error, "write", "cannot write %s", path);
    }
    return 0;
}

/* `ret_token` gets the line's newline, too. */
static int token_make(const char *path, char ret_token[static TOKEN_LENGTH + 2], struct err *ret_err)
{
    int error = auth_secret_make(ret_token);
    if (error)
        return err_set_kernel(ret_err, error, "getrandom", "cannot make a token");
    memcpy(ret_token + TOKEN_LENGTH, "\n", 2);
    return token_write(path, ret_token, ret_err);
}

static int token_load(const char *path, uint8_t ret_digest[static TOKEN_DIGEST_SIZE], struct err *ret_err)
{
    char token[TOKEN_LENGTH + 2] = "";
    int error = token_read(path, token, ret_err);
    if (error == -ENOENT)
        error = token_make(path, token, ret_err);
    if (!error && auth_digest(token, TOKEN_LENGTH, ret_digest))
        error = err_no_memory(ret_err);
    OPENSSL_cleanse(token, sizeof token);
    return error;
}

int http_token_provision(const char *path, struct store *store, struct err *ret_err)
{
    struct token token = {.name = "admin", .kind = TOKEN_BEARER, .role = ROLE_ADMIN};
    bool made = false;
    int error = store_token_made(store, &made, ret_err);
    if (error || made)
        return error;
    error = token_load(path, token.digest, ret_err);
    if (error)
        return error;
    token.created_ns = clock_realtime_ns();
    char *changes CLEANUP(text_done) = token_change_print(&token, true);
    return changes ? store_token_provision(store, &token, changes, ret_err) : err_no_memory(ret_err);
}

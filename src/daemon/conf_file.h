/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_file: the start-up files of a directory as names and bytes. What is in them is the model's to judge.
 *
 * Whoever may write such a file decides where packets go, so it has to belong to root or to the daemon's user, and
 * neither it nor its directory may be writable by everybody. One that does not comply is refused with a reason, and not
 * passed over: somebody meant it to count.
 */
#ifndef TUNWRIGHT_DAEMON_CONF_FILE_H
#define TUNWRIGHT_DAEMON_CONF_FILE_H

#include "tunwright/base.h"

#define CONF_FILE_SIZE_MAX (32UL * 1024 * 1024) /* bytes: as much as PUT /v1/config takes */

/* Whether a name in the directory is that of a start-up file: it ends in ".json" and begins with no dot. */
bool conf_name_is_meant(const char *name);
/* Copies what fits, and nothing of a character that does not: UTF-8 stays UTF-8. */
void conf_name_cut(char *out, size_t size, const char *name);

struct conf_names {
    char **items; /* owned, in the order of their bytes */
    size_t count, capacity;
};
void conf_names_done(struct conf_names *names);
/* The names that are meant. `own_uid`: the daemon's user. -ENOENT where there is no such directory; *ret_fd is the
 * directory, the caller's to close. */
int conf_names_read(const char *path, uint32_t own_uid, struct conf_names *ret_names, int *ret_fd, struct err *ret_err);

struct conf_file {
    char *text; /* owned; NUL-terminated */
    size_t length;
    uint8_t digest[32]; /* SHA-256 */
};
void conf_file_done(struct conf_file *file);
/* A regular file of that name in the directory: symbolic links are not followed, nothing is waited for. */
int conf_file_read(int directory_fd, const char *name, uint32_t own_uid, struct conf_file *ret_file,
                   struct err *ret_err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* history_file: the files that the rings lie in, one a device, named by its uuid, in one directory. */
#ifndef TUNWRIGHT_HISTORY_HISTORY_FILE_H
#define TUNWRIGHT_HISTORY_HISTORY_FILE_H

#include "rings.h"

struct history_directory {
    int fd;              /* -1: none */
    uint8_t boot_id[16]; /* of this run of the machine: what an earlier one left is worth nothing */
};
/* Makes it where it is missing, for its owner alone. */
int history_directory_open(const char *path, struct history_directory *ret_directory, struct err *ret_err);
void history_directory_close(struct history_directory *directory);
/* Removes the files of devices that `is_kept` does not know. */
void history_directory_sweep(const struct history_directory *directory,
                             bool (*is_kept)(void *context, const struct uuid *uuid), void *context);

/* Maps the device's file; one that is not there, or not good, is made anew. Unmap it with history_file_close. */
int history_file_open(const struct history_directory *directory, const struct uuid *uuid, int64_t now_s,
                      struct rings_file **ret_file, struct err *ret_err);
void history_file_close(struct rings_file *file);
void history_file_remove(const struct history_directory *directory, const struct uuid *uuid);
/* Makes sure that a page of records can be written: a full file system says so here, and not by a signal. */
int history_file_make_room(const struct history_directory *directory, const struct uuid *uuid, size_t page);

#endif

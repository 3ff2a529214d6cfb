/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_dir: the start-up files, applied one after the other in the order of their names, each as one transaction.
 *
 * A thread of its own reads them and waits for the engine, so that the daemon hears its signals meanwhile. A file
 * whose content was applied last is passed over by the engine, which keeps the digests. A file that cannot be applied
 * is told, and tried again with the next pass; one that finds netd away, or somebody else's change unconfirmed, waits
 * for that to be over, and those after it wait with it.
 */
#ifndef TUNWRIGHT_DAEMON_CONF_DIR_H
#define TUNWRIGHT_DAEMON_CONF_DIR_H

#include "tunwright/engine.h"

struct conf_dir;
struct conf_dir_options {
    const char *path;                /* borrowed; a directory that is not there is one without files */
    uint32_t own_uid;                /* who may own the files, beside root */
    struct engine *engine;           /* borrowed */
    void (*on_tried)(void *context); /* once, on its own thread: all files of the start were tried, or wait for a
                                        confirmation, which may take a day */
    void *context;
};

/* Starts the first pass. */
int conf_dir_start(const struct conf_dir_options *options, struct conf_dir **ret_dir, struct err *ret_err);
/* From any thread: reads and applies the files again, after the pass that is under way. */
void conf_dir_again(struct conf_dir *dir);
/* From the engine's on_publish: what is waited for may have come. */
void conf_dir_published(struct conf_dir *dir);
/* Waits for the file in hand; the engine must still be running. */
void conf_dir_stop(struct conf_dir *dir);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power_cut_vfs: a disk in memory under SQLite, as its default VFS. It can write down what is done to it, say what the
 * disk may look like when the power goes at any point of that, and fail.
 *
 * The model: a write, or a change of the length, is on the disk once its file was synced (xSync, fsync); until then a
 * cut may lose it, keep it, or keep some of its sectors and leave anything in the others. Names (made, removed,
 * renamed) are on the disk once their directory was synced; until then a cut keeps the first few of them. What was not
 * written is not harmed: SQLite's SQLITE_POWERSAFE_OVERWRITE, which is the default for Unix. As with SQLite's own VFS,
 * the first sync of a journal syncs its directory too.
 *
 * rename, unlink and fsync are this program's own, so that what the store does beside SQLite is seen as well. The files
 * are there as empty ones besides: for open(2) and flock(2).
 */
#ifndef TUNWRIGHT_TEST_POWER_CUT_VFS_H
#define TUNWRIGHT_TEST_POWER_CUT_VFS_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DISK_FILES     32 /* ever made, of one disk */
#define DISK_NAMES     8
#define DISK_NAME_SIZE 160
#define DISK_SECTOR    512

struct blob {
    uint8_t *data;
    size_t length, capacity;
};

static inline void blob_resize(struct blob *blob, size_t length)
{
    if (length > blob->capacity) {
        blob->capacity = length * 2;
        blob->data = realloc(blob->data, blob->capacity);
        assert_non_null(blob->data);
    }
    if (length > blob->length)
        memset(blob->data + blob->length, 0, length - blob->length);
    blob->length = length;
}

static inline void blob_write(struct blob *blob, const void *data, size_t length, size_t offset)
{
    if (offset + length > blob->length)
        blob_resize(blob, offset + length);
    memcpy(blob->data + offset, data, length);
}

static inline void blob_copy(struct blob *to, const struct blob *from)
{
    blob_resize(to, from->length);
    if (from->length > 0)
        memcpy(to->data, from->data, from->length);
}

/* ---- what was done ----------------------------------------------------------------------------------------------- */

enum disk_op_kind { DISK_WRITE, DISK_TRUNCATE, DISK_SYNC, DISK_LINK, DISK_UNLINK, DISK_RENAME, DISK_SYNC_NAMES };

struct disk_op {
    enum disk_op_kind kind;
    int file;
    size_t offset, length; /* DISK_TRUNCATE: the new length */
    uint8_t *data;         /* owned */
    char name[DISK_NAME_SIZE], to[DISK_NAME_SIZE];
};

struct disk_log {
    struct disk_op *ops;
    size_t count, capacity;
};

static inline void disk_log_done(struct disk_log *log)
{
    for (size_t i = 0; i < log->count; i++)
        free(log->ops[i].data);
    free(log->ops);
    memset(log, 0, sizeof(*log));
}

/* ---- the disk ---------------------------------------------------------------------------------------------------- */

struct disk_name {
    char name[DISK_NAME_SIZE];
    int file;
};

struct disk_image {
    struct blob files[DISK_FILES];
    int file_count;
    struct disk_name names[DISK_NAMES];
    int name_count;
};

struct disk_fault {
    size_t at; /* the n-th write, sync, truncation, creation or removal from now; 0: none … */
    bool once; /* … or that and all that come after it */
    int error; /* errno */
};

static struct {
    pthread_mutex_t lock;
    struct disk_image now;
    struct {
        int shared;
        const void *reserved;
        bool pending;
    } locks[DISK_FILES];
    struct disk_log *log; /* where what is done is written down; NULL: nowhere */
    struct disk_fault fault;
    size_t fault_seen; /* operations that could have failed */
    int error;         /* errno of the last failure */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void image_done(struct disk_image *image)
{
    for (int i = 0; i < DISK_FILES; i++)
        free(image->files[i].data);
    memset(image, 0, sizeof(*image));
}

static inline void image_copy(struct disk_image *to, const struct disk_image *from)
{
    for (int i = 0; i < DISK_FILES; i++)
        blob_copy(&to->files[i], &from->files[i]);
    to->file_count = from->file_count;
    memcpy(to->names, from->names, sizeof(to->names));
    to->name_count = from->name_count;
}

static inline int image_find(const struct disk_image *image, const char *name)
{
    for (int i = 0; i < image->name_count; i++)
        if (strcmp(image->names[i].name, name) == 0)
            return i;
    return -1;
}

static inline void image_unlink(struct disk_image *image, const char *name)
{
    int at = image_find(image, name);

    if (at >= 0)
        image->names[at] = image->names[--image->name_count];
}

static inline void image_link(struct disk_image *image, const char *name, int file)
{
    image_unlink(image, name);
    assert_true(image->name_count < DISK_NAMES);
    snprintf(image->names[image->name_count].name, DISK_NAME_SIZE, "%s", name);
    image->names[image->name_count++].file = file;
}

/* Those about names. */
static inline void image_rename(struct disk_image *image, const struct disk_op *op)
{
    int at = image_find(image, op->name);

    if (op->kind == DISK_LINK) {
        image_link(image, op->name, op->file);
    } else if (op->kind == DISK_UNLINK) {
        image_unlink(image, op->name);
    } else if (at >= 0) {
        int file = image->names[at].file;

        image_unlink(image, op->name);
        image_link(image, op->to, file);
    }
}

static inline void image_apply(struct disk_image *image, const struct disk_op *op)
{
    if (op->file >= image->file_count)
        image->file_count = op->file + 1;
    if (op->kind == DISK_WRITE)
        blob_write(&image->files[op->file], op->data, op->length, op->offset);
    else if (op->kind == DISK_TRUNCATE)
        blob_resize(&image->files[op->file], op->length);
    else if (op->kind != DISK_SYNC && op->kind != DISK_SYNC_NAMES)
        image_rename(image, op);
}

static inline void disk_do(struct disk_op op, const void *data)
{
    struct disk_log *log = disk.log;

    op.data = (uint8_t *)data;
    image_apply(&disk.now, &op);
    op.data = NULL;
    if (!log)
        return;
    if (log->count == log->capacity) {
        log->capacity = log->capacity ? log->capacity * 2 : 1024;
        log->ops = realloc(log->ops, log->capacity * sizeof(*log->ops));
        assert_non_null(log->ops);
    }
    if (op.kind == DISK_WRITE) {
        op.data = malloc(op.length);
        memcpy(op.data, data, op.length);
    }
    log->ops[log->count++] = op;
}

/* Whether this operation fails. */
static inline bool disk_fails(void)
{
    struct disk_fault *fault = &disk.fault;

    disk.fault_seen++;
    if (fault->at == 0 || fault->at > 1) {
        fault->at -= fault->at > 1;
        return false;
    }
    if (fault->once)
        fault->at = 0;
    disk.error = fault->error;
    return true;
}

/* ---- a file of SQLite's ------------------------------------------------------------------------------------------ */

struct disk_file {
    sqlite3_file base;
    int file;
    int level;        /* of the lock */
    bool syncs_names; /* with its next sync */
};

static inline int disk_close(sqlite3_file *base);
static inline int disk_unlock(sqlite3_file *base, int level);

static inline int disk_read(sqlite3_file *base, void *data, int length, sqlite3_int64 offset)
{
    const struct blob *blob;
    size_t there;

    pthread_mutex_lock(&disk.lock);
    blob = &disk.now.files[((struct disk_file *)base)->file];
    there = (size_t)offset < blob->length ? blob->length - (size_t)offset : 0;
    if (there > (size_t)length)
        there = (size_t)length;
    if (there > 0)
        memcpy(data, blob->data + offset, there);
    memset((char *)data + there, 0, (size_t)length - there);
    pthread_mutex_unlock(&disk.lock);
    return there == (size_t)length ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static inline int disk_write(sqlite3_file *base, const void *data, int length, sqlite3_int64 offset)
{
    int result = SQLITE_OK;
    struct disk_op op = {.kind = DISK_WRITE,
                         .file = ((struct disk_file *)base)->file,
                         .offset = (size_t)offset,
                         .length = (size_t)length};

    pthread_mutex_lock(&disk.lock);
    if (disk_fails()) {
        op.length /= 2; /* what fits */
        result = disk.error == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    if (op.length > 0)
        disk_do(op, data);
    pthread_mutex_unlock(&disk.lock);
    return result;
}

static inline int disk_truncate(sqlite3_file *base, sqlite3_int64 length)
{
    int result = SQLITE_OK;

    pthread_mutex_lock(&disk.lock);
    if (disk_fails())
        result = SQLITE_IOERR_TRUNCATE;
    else
        disk_do(
            (struct disk_op){.kind = DISK_TRUNCATE, .file = ((struct disk_file *)base)->file, .length = (size_t)length},
            NULL);
    pthread_mutex_unlock(&disk.lock);
    return result;
}

static inline int disk_sync(sqlite3_file *base, int flags)
{
    struct disk_file *file = (struct disk_file *)base;
    int result = SQLITE_OK;

    (void)flags;
    pthread_mutex_lock(&disk.lock);
    if (disk_fails()) {
        result = SQLITE_IOERR_FSYNC;
    } else {
        disk_do((struct disk_op){.kind = DISK_SYNC, .file = file->file}, NULL);
        if (file->syncs_names)
            disk_do((struct disk_op){.kind = DISK_SYNC_NAMES}, NULL);
        file->syncs_names = false;
    }
    pthread_mutex_unlock(&disk.lock);
    return result;
}

static inline int disk_size(sqlite3_file *base, sqlite3_int64 *ret_size)
{
    pthread_mutex_lock(&disk.lock);
    *ret_size = (sqlite3_int64)disk.now.files[((struct disk_file *)base)->file].length;
    pthread_mutex_unlock(&disk.lock);
    return SQLITE_OK;
}

static inline int disk_lock_locked(struct disk_file *file, int level)
{
    int at = file->file;

    if (level == SQLITE_LOCK_SHARED) {
        if (disk.locks[at].pending)
            return SQLITE_BUSY;
        disk.locks[at].shared++;
    } else if (level == SQLITE_LOCK_RESERVED) {
        if (disk.locks[at].reserved)
            return SQLITE_BUSY;
        disk.locks[at].reserved = file;
    } else {
        if ((disk.locks[at].reserved && disk.locks[at].reserved != file) ||
            (disk.locks[at].pending && file->level < SQLITE_LOCK_PENDING))
            return SQLITE_BUSY;
        disk.locks[at].reserved = file;
        disk.locks[at].pending = true;
        file->level = SQLITE_LOCK_PENDING;
        if (disk.locks[at].shared > 1)
            return SQLITE_BUSY;
    }
    file->level = level;
    return SQLITE_OK;
}

static inline int disk_lock(sqlite3_file *base, int level)
{
    struct disk_file *file = (struct disk_file *)base;
    int result = SQLITE_OK;

    pthread_mutex_lock(&disk.lock);
    if (level > file->level)
        result = disk_lock_locked(file, level);
    pthread_mutex_unlock(&disk.lock);
    return result;
}

static inline int disk_unlock(sqlite3_file *base, int level)
{
    struct disk_file *file = (struct disk_file *)base;
    int at = file->file;

    pthread_mutex_lock(&disk.lock);
    if (file->level > SQLITE_LOCK_SHARED && level <= SQLITE_LOCK_SHARED && disk.locks[at].reserved == file) {
        disk.locks[at].reserved = NULL;
        disk.locks[at].pending = false;
    }
    if (file->level >= SQLITE_LOCK_SHARED && level == SQLITE_LOCK_NONE)
        disk.locks[at].shared--;
    if (level < file->level)
        file->level = level;
    pthread_mutex_unlock(&disk.lock);
    return SQLITE_OK;
}

static inline int disk_is_reserved(sqlite3_file *base, int *ret_reserved)
{
    pthread_mutex_lock(&disk.lock);
    *ret_reserved = disk.locks[((struct disk_file *)base)->file].reserved != NULL;
    pthread_mutex_unlock(&disk.lock);
    return SQLITE_OK;
}

static inline int disk_control(sqlite3_file *base, int op, void *argument)
{
    (void)base;
    (void)op;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static inline int disk_sector(sqlite3_file *base)
{
    (void)base;
    return 4096; /* as SQLite's own */
}

static inline int disk_traits(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods disk_methods = {
    .iVersion = 1,
    .xClose = disk_close,
    .xRead = disk_read,
    .xWrite = disk_write,
    .xTruncate = disk_truncate,
    .xSync = disk_sync,
    .xFileSize = disk_size,
    .xLock = disk_lock,
    .xUnlock = disk_unlock,
    .xCheckReservedLock = disk_is_reserved,
    .xFileControl = disk_control,
    .xSectorSize = disk_sector,
    .xDeviceCharacteristics = disk_traits,
};

static inline int disk_close(sqlite3_file *base)
{
    return disk_unlock(base, SQLITE_LOCK_NONE);
}

/* ---- the VFS ----------------------------------------------------------------------------------------------------- */

static inline int disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *ret_flags)
{
    struct disk_file *file = (struct disk_file *)base;
    int result = SQLITE_OK, at;

    (void)vfs;
    memset(file, 0, sizeof(*file));
    if (!name)
        return SQLITE_CANTOPEN; /* temporary files stay in memory */
    pthread_mutex_lock(&disk.lock);
    at = image_find(&disk.now, name);
    if (at < 0 && disk_fails()) {
        result = SQLITE_CANTOPEN;
    } else if (at < 0) {
        assert_true(disk.now.file_count < DISK_FILES);
        file->file = disk.now.file_count;
        disk_do((struct disk_op){.kind = DISK_TRUNCATE, .file = file->file}, NULL);
        struct disk_op op = {.kind = DISK_LINK, .file = file->file};
        snprintf(op.name, sizeof(op.name), "%s", name);
        disk_do(op, NULL);
    } else {
        file->file = disk.now.names[at].file;
    }
    if (result == SQLITE_OK)
        base->pMethods = &disk_methods;
    file->syncs_names = (flags & SQLITE_OPEN_CREATE) && (flags & SQLITE_OPEN_MAIN_JOURNAL);
    pthread_mutex_unlock(&disk.lock);
    if (ret_flags)
        *ret_flags = flags;
    return result;
}

static inline int disk_delete(sqlite3_vfs *vfs, const char *name, int sync_names)
{
    struct disk_op op = {.kind = DISK_UNLINK};
    int result = SQLITE_OK;

    (void)vfs;
    snprintf(op.name, sizeof(op.name), "%s", name);
    pthread_mutex_lock(&disk.lock);
    if (image_find(&disk.now, name) < 0) {
        result = SQLITE_IOERR_DELETE_NOENT;
    } else if (disk_fails()) {
        result = SQLITE_IOERR_DELETE;
    } else {
        disk_do(op, NULL);
        if (sync_names)
            disk_do((struct disk_op){.kind = DISK_SYNC_NAMES}, NULL);
    }
    pthread_mutex_unlock(&disk.lock);
    return result;
}

static inline int disk_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_there)
{
    int at;

    (void)vfs;
    pthread_mutex_lock(&disk.lock);
    at = image_find(&disk.now, name);
    *ret_there = at >= 0 && (flags != SQLITE_ACCESS_EXISTS || disk.now.files[disk.now.names[at].file].length > 0);
    pthread_mutex_unlock(&disk.lock);
    return SQLITE_OK;
}

static inline int disk_full_name(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    snprintf(out, (size_t)size, "%s", name);
    return SQLITE_OK;
}

static inline int disk_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    (void)size;
    (void)out;
    return disk.error;
}

/* From now on all databases are on it. */
static inline void disk_register(void)
{
    static sqlite3_vfs vfs;
    const sqlite3_vfs *usual = sqlite3_vfs_find(NULL);

    vfs = *usual;
    vfs.iVersion = 2;
    vfs.pNext = NULL;
    vfs.zName = "power-cut";
    vfs.szOsFile = sizeof(struct disk_file);
    vfs.mxPathname = DISK_NAME_SIZE;
    vfs.xOpen = disk_open;
    vfs.xDelete = disk_delete;
    vfs.xAccess = disk_access;
    vfs.xFullPathname = disk_full_name;
    vfs.xGetLastError = disk_last_error;
    assert_int_equal(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
}

static inline void disk_fail_at(size_t at, bool once, int error)
{
    pthread_mutex_lock(&disk.lock);
    disk.fault = (struct disk_fault){.at = at, .once = once, .error = error};
    disk.fault_seen = 0;
    pthread_mutex_unlock(&disk.lock);
}

/* ---- what the store does beside SQLite --------------------------------------------------------------------------- */

int rename(const char *from, const char *to)
{
    struct disk_op op = {.kind = DISK_RENAME};

    snprintf(op.name, sizeof(op.name), "%s", from);
    snprintf(op.to, sizeof(op.to), "%s", to);
    pthread_mutex_lock(&disk.lock);
    if (image_find(&disk.now, from) >= 0)
        disk_do(op, NULL);
    pthread_mutex_unlock(&disk.lock);
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int unlink(const char *name)
{
    (void)disk_delete(NULL, name, 0);
    return (int)syscall(SYS_unlinkat, AT_FDCWD, name, 0);
}

int fsync(int fd)
{
    char link[64], name[DISK_NAME_SIZE] = "";
    int at;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    (void)!readlink(link, name, sizeof(name) - 1);
    pthread_mutex_lock(&disk.lock);
    at = image_find(&disk.now, name);
    if (at >= 0)
        disk_do((struct disk_op){.kind = DISK_SYNC, .file = disk.now.names[at].file}, NULL);
    else if (disk.now.name_count > 0 && strncmp(disk.now.names[0].name, name, strlen(name)) == 0)
        disk_do((struct disk_op){.kind = DISK_SYNC_NAMES}, NULL);
    pthread_mutex_unlock(&disk.lock);
    return 0;
}

/* ---- the power goes ---------------------------------------------------------------------------------------------- */

/* How a cut treats what was not synced. */
enum cut_mode { CUT_LOSES_ALL, CUT_LOSES_NOTHING, CUT_LOSES_SOME, CUT_TEARS, CUT_MODE_N };

/* What is on the disk for certain, and what is not yet: moves forward over a log. */
struct cut {
    const struct disk_log *log;
    size_t at; /* so many operations were done */
    struct disk_image durable;
    size_t *pending; /* those not synced, in order */
    size_t pending_count;
    uint64_t random;
};

static inline void cut_begin(struct cut *cut, const struct disk_log *log, const struct disk_image *before)
{
    memset(cut, 0, sizeof(*cut));
    cut->log = log;
    image_copy(&cut->durable, before);
    cut->pending = calloc(log->count + 1, sizeof(*cut->pending));
    assert_non_null(cut->pending);
}

static inline void cut_done(struct cut *cut)
{
    image_done(&cut->durable);
    free(cut->pending);
}

static inline bool op_is_of_names(const struct disk_op *op)
{
    return op->kind == DISK_LINK || op->kind == DISK_UNLINK || op->kind == DISK_RENAME;
}

/* One operation more. */
static inline void cut_step(struct cut *cut)
{
    const struct disk_op *op = &cut->log->ops[cut->at];
    size_t kept = 0;

    if (op->kind != DISK_SYNC && op->kind != DISK_SYNC_NAMES) {
        cut->pending[cut->pending_count++] = cut->at++;
        return;
    }
    for (size_t i = 0; i < cut->pending_count; i++) {
        const struct disk_op *one = &cut->log->ops[cut->pending[i]];

        if (op->kind == DISK_SYNC_NAMES ? op_is_of_names(one) : !op_is_of_names(one) && one->file == op->file)
            image_apply(&cut->durable, one);
        else
            cut->pending[kept++] = cut->pending[i];
    }
    cut->pending_count = kept;
    cut->at++;
}

static inline uint64_t cut_random(struct cut *cut, uint64_t below)
{
    cut->random += 0x9e3779b97f4a7c15;
    uint64_t z = cut->random;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % below;
}

/* Some of its sectors, and anything in some of the others. */
static inline void cut_tear(struct cut *cut, struct disk_image *image, const struct disk_op *op)
{
    for (size_t from = 0; from < op->length;) {
        size_t to = ((op->offset + from) / DISK_SECTOR + 1) * DISK_SECTOR - op->offset;
        struct disk_op sector = *op;
        uint8_t garbage[DISK_SECTOR];

        if (to > op->length)
            to = op->length;
        sector.offset += from;
        sector.length = to - from;
        sector.data += from;
        switch (cut_random(cut, 4)) {
        case 0:
            for (size_t i = 0; i < sector.length; i++)
                garbage[i] = (uint8_t)cut_random(cut, 256);
            sector.data = garbage;
            image_apply(image, &sector);
            break;
        case 1:
            break;
        default:
            image_apply(image, &sector);
            break;
        }
        from = to;
    }
}

/* What may be found when the power comes back; `seed` chooses. */
static inline void cut_image(struct cut *cut, enum cut_mode mode, uint64_t seed, struct disk_image *ret_image)
{
    bool names_end = mode == CUT_LOSES_ALL;

    cut->random = seed * 0x9e3779b97f4a7c15 + cut->at;
    image_copy(ret_image, &cut->durable);
    for (size_t i = 0; mode != CUT_LOSES_ALL && i < cut->pending_count; i++) {
        const struct disk_op *op = &cut->log->ops[cut->pending[i]];
        uint64_t chance = mode == CUT_LOSES_NOTHING ? 0 : cut_random(cut, 4);

        if (op_is_of_names(op))
            names_end = names_end || chance == 3;
        if (op_is_of_names(op) ? names_end : chance >= 2 && !(mode == CUT_TEARS && op->kind == DISK_WRITE))
            continue;
        if (mode == CUT_TEARS && op->kind == DISK_WRITE && chance > 0)
            cut_tear(cut, ret_image, op);
        else
            image_apply(ret_image, op);
    }
}

/* The disk is that from now on. No file may be open. */
static inline void disk_mount(const struct disk_image *image)
{
    pthread_mutex_lock(&disk.lock);
    image_copy(&disk.now, image);
    memset(disk.locks, 0, sizeof(disk.locks));
    pthread_mutex_unlock(&disk.lock);
}

#endif

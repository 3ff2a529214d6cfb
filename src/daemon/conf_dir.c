/* SPDX-License-Identifier: Apache-2.0 */
#include "conf_dir.h"

#include "conf_file.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_AGAIN_NS   NSEC_PER_SEC          /* at the state of the engine, where it does not publish */
#define RETRY_NS        (250 * NSEC_PER_MSEC) /* after what is only put off */
#define SHOWN_FAULT_MAX 8                     /* log lines for one file */

struct conf_dir {
    struct conf_dir_options options;
    bool told; /* on_tried was called; the thread's own */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all that follows */
    pthread_cond_t news;
    bool stopping;
    bool wanted;  /* a pass */
    bool changed; /* the engine published since somebody looked */
    bool is_done; /* the change in hand came back */
};

/* One file on its way. The change is large: it lives in the heap. */
struct attempt {
    struct conf_dir *dir;
    struct change change;
};

static void tell_tried(struct conf_dir *dir)
{
    if (!dir->told && dir->options.on_tried)
        dir->options.on_tried(dir->options.context);
    dir->told = true;
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static bool is_interrupted(const struct conf_dir *dir)
{
    return dir->stopping || dir->wanted;
}

/* For `most_ns`, or until a pass is wanted, the end has come or, where that is asked for, the engine publishes. */
static void wait_for_news(struct conf_dir *dir, int64_t most_ns, bool or_published)
{
    int64_t until_ns = clock_monotonic_ns() + most_ns;
    struct timespec until = {.tv_sec = until_ns / NSEC_PER_SEC, .tv_nsec = until_ns % NSEC_PER_SEC};
    pthread_mutex_lock(&dir->mutex);
    while (!is_interrupted(dir) && !(or_published && dir->changed))
        if (pthread_cond_timedwait(&dir->news, &dir->mutex, &until) == ETIMEDOUT)
            break;
    dir->changed = false;
    pthread_mutex_unlock(&dir->mutex);
}

static bool interrupted(struct conf_dir *dir)
{
    pthread_mutex_lock(&dir->mutex);
    bool answer = is_interrupted(dir);
    pthread_mutex_unlock(&dir->mutex);
    return answer;
}

/* Until a change has a chance. A confirmation that is pending counts only for one that was put off: most files are as
 * they were applied, and change nothing. False: this pass is over before its time. */
static bool await_engine(struct conf_dir *dir, const char *name, bool was_put_off)
{
    for (bool said = false;;) {
        const struct snapshot *snapshot = engine_snapshot(dir->options.engine);
        bool settled = snapshot->settled && snapshot->netd_connected, is_pending = snapshot->is_pending;
        snapshot_release(snapshot);
        if (interrupted(dir))
            return false;
        if (settled && !(is_pending && was_put_off))
            return true;
        if (settled)
            tell_tried(dir);
        if (settled && !said)
            log_info("the start-up file %s waits until an earlier change is confirmed or reverted", name);
        said |= settled;
        wait_for_news(dir, LOOK_AGAIN_NS, true);
    }
}

/* False: the end has come. */
static bool await_pass(struct conf_dir *dir)
{
    pthread_mutex_lock(&dir->mutex);
    while (!is_interrupted(dir))
        pthread_cond_wait(&dir->news, &dir->mutex);
    dir->wanted = false;
    bool stopping = dir->stopping;
    pthread_mutex_unlock(&dir->mutex);
    return !stopping;
}

/* ---- one file ---------------------------------------------------------------------------------------------------- */

static void attempt_free(struct attempt *attempt)
{
    struct change *change = &attempt->change;
    device_set_done(&change->config);
    free(change->differences);
    if (change->after)
        snapshot_release(change->after);
    free(attempt);
}

static void attempt_done(struct change *change)
{
    struct attempt *attempt = change->context;
    struct conf_dir *dir = attempt->dir;
    pthread_mutex_lock(&dir->mutex);
    dir->is_done = true;
    pthread_cond_signal(&dir->news);
    pthread_mutex_unlock(&dir->mutex);
}

/* NULL: no memory. */
static struct attempt *attempt_new(struct conf_dir *dir, const char *name)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (!attempt)
        return NULL;
    attempt->dir = dir;
    struct change *change = &attempt->change;
    change->kind = CHANGE_CONFIG_MERGE;
    change->done = attempt_done;
    change->context = attempt;
    memcpy(change->actor.name, "file:", 5);
    conf_name_cut(change->actor.name + 5, sizeof change->actor.name - 5, name);
    conf_name_cut(change->file, sizeof change->file, name);
    text_copy(change->actor.operation, sizeof change->actor.operation, "start-up file");
    return attempt;
}

/* What is wrong with the file itself goes to the engine as well, for it writes the event. */
static void attempt_fill(struct attempt *attempt, int directory_fd, const char *name)
{
    struct conf_file file = {0};
    struct err e;
    struct change *change = &attempt->change;
    if (conf_file_read(directory_fd, name, attempt->dir->options.own_uid, &file, &e))
        err_list_add_err(&change->errors, &e);
    else
        device_set_parse(file.text, file.length, true, &change->config, &change->errors);
    memcpy(change->file_digest, file.digest, sizeof change->file_digest);
    conf_file_done(&file);
}

static void attempt_carry_out(struct attempt *attempt)
{
    struct conf_dir *dir = attempt->dir;
    pthread_mutex_lock(&dir->mutex);
    dir->is_done = false;
    pthread_mutex_unlock(&dir->mutex);
    engine_submit(dir->options.engine, &attempt->change);
    pthread_mutex_lock(&dir->mutex);
    while (!dir->is_done)
        pthread_cond_wait(&dir->news, &dir->mutex);
    pthread_mutex_unlock(&dir->mutex);
}

static bool is_put_off(const struct change *change)
{
    enum err_code code = change->errors.count ? change->errors.items[0].code : ERR_NONE;
    return change->outcome == OUTCOME_FAILED && (code == ERR_NETD_UNAVAILABLE || code == ERR_CONFIRMATION_PENDING);
}

static void tell_failure(const struct change *change, const char *name)
{
    size_t count = change->errors.count;
    for (size_t i = 0; i < count && i < SHOWN_FAULT_MAX; i++) {
        const struct err *e = &change->errors.items[i];
        log_error("start-up file %s: %s%s%s", name, e->pointer, e->pointer[0] ? ": " : "", e->message);
    }
    if (count > SHOWN_FAULT_MAX)
        log_error("start-up file %s: and %zu more", name, count - SHOWN_FAULT_MAX);
    log_error("start-up file %s: nothing of it was applied; it is tried again at the next start or SIGHUP", name);
}

/* True: it had its chance, and the next may have its own. */
static bool file_try(struct conf_dir *dir, int directory_fd, const char *name)
{
    struct attempt *attempt = attempt_new(dir, name);
    if (!attempt) {
        log_error("start-up file %s: out of memory", name);
        return true;
    }
    attempt_fill(attempt, directory_fd, name);
    struct change *change = &attempt->change;
    size_t devices = change->config.count, absent = change->config.absent_count;
    attempt_carry_out(attempt);

    bool put_off = is_put_off(change);
    if (change->outcome == OUTCOME_UNCHANGED)
        log_debug("start-up file %s: as it was applied", name);
    else if (change->outcome != OUTCOME_FAILED)
        log_info("start-up file %s: applied, with %zu devices and %zu absent", name, devices, absent);
    else if (!put_off && !interrupted(dir))
        tell_failure(change, name);
    attempt_free(attempt);
    return !put_off;
}

/* ---- all files --------------------------------------------------------------------------------------------------- */

/* False: it was interrupted. */
static bool files_try(struct conf_dir *dir, int directory_fd, const struct conf_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        for (bool was_put_off = false;; was_put_off = true) {
            if (!await_engine(dir, names->items[i], was_put_off))
                return false;
            if (file_try(dir, directory_fd, names->items[i]))
                break;
            wait_for_news(dir, RETRY_NS, false);
        }
    return true;
}

static void pass(struct conf_dir *dir)
{
    struct conf_names names = {0};
    struct err e;
    int fd CLEANUP(fd_done) = -1;
    int error = conf_names_read(dir->options.path, dir->options.own_uid, &names, &fd, &e);
    if (error && error != -ENOENT)
        log_error("start-up files in %s: %s", dir->options.path, e.message);
    bool whole = error || files_try(dir, fd, &names);
    conf_names_done(&names);
    if (whole)
        tell_tried(dir);
}

static void *conf_dir_main(void *closure)
{
    struct conf_dir *dir = closure;
    while (await_pass(dir))
        pass(dir);
    return NULL;
}

/* ---- from outside ------------------------------------------------------------------------------------------------ */

static void conf_dir_free(struct conf_dir *dir)
{
    pthread_cond_destroy(&dir->news);
    pthread_mutex_destroy(&dir->mutex);
    free(dir);
}

int conf_dir_start(const struct conf_dir_options *options, struct conf_dir **ret_dir, struct err *ret_err)
{
    struct conf_dir *dir = calloc(1, sizeof *dir);
    if (!dir)
        return err_no_memory(ret_err);
    dir->options = *options;
    dir->wanted = true;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&dir->mutex, NULL);
    pthread_cond_init(&dir->news, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int error = -pthread_create(&dir->thread, NULL, conf_dir_main, dir);
    if (error) {
        conf_dir_free(dir);
        return err_set_kernel(ret_err, error, "pthread_create", "cannot start a thread");
    }
    *ret_dir = dir;
    return 0;
}

static void conf_dir_set(struct conf_dir *dir, bool *flag)
{
    pthread_mutex_lock(&dir->mutex);
    *flag = true;
    pthread_cond_signal(&dir->news);
    pthread_mutex_unlock(&dir->mutex);
}

void conf_dir_again(struct conf_dir *dir)
{
    conf_dir_set(dir, &dir->wanted);
}

void conf_dir_published(struct conf_dir *dir)
{
    conf_dir_set(dir, &dir->changed);
}

void conf_dir_stop(struct conf_dir *dir)
{
    if (!dir)
        return;
    conf_dir_set(dir, &dir->stopping);
    pthread_join(dir->thread, NULL);
    conf_dir_free(dir);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base: what every other module stands on, and which knows nothing of the project.
 *
 * Conventions of the whole code, stated once:
 *   - an `int` function returns 0 or a negative errno; a `bool` only answers a question; a pointer
 *     comes back NULL only from a constructor that ran out of memory or a look-up that found nothing;
 *   - out-parameters are named `ret_…` and are written only on success;
 *   - `_free` destroys, `_done` empties; both accept what is empty already;
 *   - libraries neither exit nor log: they fill a `struct err`, which reaches the user unchanged.
 */
#ifndef TUNWRIGHT_BASE_H
#define TUNWRIGHT_BASE_H

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLEANUP(function)                __attribute__((cleanup(function)))
#define PRINTF_LIKE(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define ARRAY_SIZE(array)                (sizeof(array) / sizeof((array)[0]))

/* ---- errors ------------------------------------------------------------------------------------------------------ */

/* The stable `code` of a problem document (RFC 9457) and of each entry in its `errors`. */
enum err_code {
    ERR_NONE,
    /* a request that cannot be understood */
    ERR_INVALID_JSON, /* not JSON at all, or JSON that two parsers could read differently */
    ERR_BODY_TOO_LARGE,
    ERR_UNSUPPORTED_MEDIA_TYPE,
    ERR_INVALID_QUERY,
    ERR_INVALID_REQUEST, /* HTTP that is ambiguous or not as it must be */
    /* a request that is understood and wrong: one per faulty field */
    ERR_VALIDATION_FAILED, /* the problem itself; its `errors` say which fields */
    ERR_WRONG_TYPE,
    ERR_UNKNOWN_FIELD,
    ERR_MISSING_FIELD,
    ERR_OUT_OF_RANGE,
    ERR_INVALID_VALUE,
    ERR_INVALID_NAME,
    ERR_INVALID_ADDRESS,
    ERR_HOST_BITS_SET,
    ERR_DUPLICATE,
    ERR_INCOMPATIBLE, /* right alone, wrong beside another field */
    ERR_LIMIT_EXCEEDED,
    /* who and what */
    ERR_UNAUTHENTICATED,
    ERR_FORBIDDEN,
    ERR_NOT_FOUND,
    ERR_METHOD_NOT_ALLOWED,
    ERR_ALREADY_EXISTS,
    ERR_FOREIGN_DEVICE,       /* a device of that name exists and is not ours */
    ERR_ADDRESS_IN_USE,       /* the worker's local address is bound already */
    ERR_PRECONDITION_FAILED,  /* If-Match or If-None-Match does not hold */
    ERR_CONFIRMATION_PENDING, /* an earlier change waits to be confirmed or reverted */
    ERR_NOTHING_PENDING,      /* there is no change to confirm or revert */
    ERR_RATE_LIMITED,         /* too many failures from there: wait */
    ERR_CONTESTED,            /* somebody undoes what we do, again and again: see state `conflict` */
    /* what stopped us */
    ERR_KERNEL_REFUSED, /* `operation` and `sys_errno` say what and why */
    ERR_WORKER_FAILED,
    ERR_DRIFTED, /* the kernel is not as the document says, and `drift` is "report" */
    ERR_NETD_UNAVAILABLE,
    ERR_STORE_UNAVAILABLE,
    ERR_STORE_FULL,
    ERR_OUT_OF_MEMORY,
    ERR_INTERNAL,
    ERR_CODE_N
};

#define ERR_POINTER_MAX   160
#define ERR_OPERATION_MAX 48
#define ERR_MESSAGE_MAX   320

/* One fault. All text is NUL-terminated; what does not fit is cut. */
struct err {
    enum err_code code;
    int sys_errno;                     /* positive errno where the kernel refused, else 0 */
    char operation[ERR_OPERATION_MAX]; /* what the kernel was asked ("RTM_NEWROUTE"), else "" */
    char pointer[ERR_POINTER_MAX];     /* RFC 6901 JSON Pointer into the request, "" for the whole */
    char message[ERR_MESSAGE_MAX];     /* one sentence for a person */
};

/* Several faults at once: validation reports all it finds, up to the size of the list. */
#define ERR_LIST_MAX 32
struct err_list {
    size_t count;
    struct err items[ERR_LIST_MAX];
};

/* "invalid_json", "kernel_refused", …; never NULL. */
const char *err_code_name(enum err_code code);

/* Fills *e (which may be NULL) and returns `error`, so that a caller can `return err_set(…)`. */
int err_set(struct err *e, int error, enum err_code code, const char *pointer, const char *format, ...)
    PRINTF_LIKE(5, 6);

/* As err_set for a refusal by the kernel: `error` is the negative errno, `operation` what was asked.
 * The message gets ": <strerror>" appended. The code is ERR_KERNEL_REFUSED. */
int err_set_kernel(struct err *e, int error, const char *operation, const char *format, ...) PRINTF_LIKE(4, 5);

/* -ENOMEM with its err. */
int err_no_memory(struct err *e);

void err_list_add(struct err_list *list, enum err_code code, const char *pointer, const char *format, ...)
    PRINTF_LIKE(4, 5);
void err_list_add_err(struct err_list *list, const struct err *e);

/* "EEXIST" for EEXIST or -EEXIST; "E<number>" for one without a name. Static or thread-local storage. */
const char *errno_name(int error);

/* ---- log: only programs and their loops log ---------------------------------------------------------------------- */

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_N };

/* Lines go to stderr: with "<N>" priorities under systemd (JOURNAL_STREAM), else with a time and `program`.
 * Each line is one write(2) of at most 1 KiB; control characters are written as '?'. */
void log_open(const char *program, enum log_level most);
bool log_wants(enum log_level level);
bool log_level_parse(const char *text, enum log_level *ret_level);
void log_line(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
/* What it says is not even worked out where nobody wants it. */
#define log_debug(...) (log_wants(LOG_LEVEL_DEBUG) ? log_line(LOG_LEVEL_DEBUG, __VA_ARGS__) : (void)0)

/* ---- clock ------------------------------------------------------------------------------------------------------- */

#define NSEC_PER_SEC  1000000000LL
#define NSEC_PER_MSEC 1000000LL

int64_t clock_monotonic_ns(void);
int64_t clock_realtime_ns(void);

/* RFC 3339 in UTC with milliseconds, "2026-01-02T03:04:05.678Z". */
#define CLOCK_TEXT_SIZE 32
const char *clock_print(int64_t realtime_ns, char out[static CLOCK_TEXT_SIZE]);
/* RFC 3339, with any offset and fraction. -EINVAL for what is none, -ERANGE for one before 1677 or after 2262. */
int clock_parse(const char *text, int64_t *ret_realtime_ns);

/* A token bucket: `rate` a second, up to `burst` at once. Zero-initialise the rest. */
struct rate_limit {
    double rate, burst;
    double tokens;
    int64_t last_ns;
    uint64_t suppressed; /* refused since the last permitted one; the caller may read and clear it */
};
bool rate_limit_permits(struct rate_limit *limit, int64_t now_monotonic_ns);

/* ---- text and bytes ---------------------------------------------------------------------------------------------- */

/* Copies with its NUL. -ENAMETOOLONG leaves `out` an empty string. */
int text_copy(char *out, size_t size, const char *text);
/* Decimal digits only, no sign, no blanks, no leading zero except "0" itself; -EINVAL, or -ERANGE over `most`. */
int text_to_u64(const char *text, uint64_t most, uint64_t *ret_value);
bool utf8_is_valid(const char *text, size_t length);
/* FNV-1a, 64 bits: for change detection, not against an adversary. Start with FNV1A_START. */
#define FNV1A_START 0xcbf29ce484222325ULL
uint64_t fnv1a(uint64_t hash, const void *data, size_t length);

/* A growing byte string, always NUL-terminated once it holds something. Once memory runs out it stays `failed`. */
struct buf {
    char *data;
    size_t length, capacity;
    bool failed;
};
void buf_done(struct buf *b);
void buf_add(struct buf *b, const void *data, size_t length);
void buf_add_text(struct buf *b, const char *text);
void buf_add_u64(struct buf *b, uint64_t value); /* in full; for what is printed by the thousand */
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
/* Returns owned text (never NULL unless memory ran out) and empties b. */
char *buf_take(struct buf *b);

/* Makes room for one more of `size` bytes in an array, doubling; 0 or -ENOMEM. `items_at` is the address of the pointer
 * to the array, of whatever type: it is read and written as bytes. */
int array_grow(void *items_at, size_t *capacity, size_t count, size_t size);

/* ---- random and uuid --------------------------------------------------------------------------------------------- */

int random_bytes(void *out, size_t length); /* getrandom(2) */

struct uuid {
    uint8_t bytes[16];
};
#define UUID_TEXT_SIZE 37
const char *uuid_print(const struct uuid *uuid, char out[static UUID_TEXT_SIZE]);
int uuid_parse(const char *text, struct uuid *ret_uuid); /* 8-4-4-4-12 lower-case hex only */
bool uuid_equal(const struct uuid *a, const struct uuid *b);
bool uuid_is_zero(const struct uuid *uuid);

/* ---- files and descriptors --------------------------------------------------------------------------------------- */

/* For CLEANUP: close(2) where *fd >= 0. */
void fd_done(int *fd);
void text_done(char **text);
int fd_set_nonblocking(int fd);

/* ---- program options: one table per program ---------------------------------------------------------------------- */

/*
 * A flag `--some-flag VALUE` with its environment variable TUNWRIGHT_SOME_FLAG; the flag wins. `value` receives
 * borrowed text; `list` (else NULL) collects a flag that may be repeated (its variable is split at commas).
 * A row with neither is a switch: `on` is set.
 */
struct option_row {
    const char *flag;     /* without the dashes */
    const char *argument; /* its name in the help, NULL for a switch */
    const char *help;
    const char **value; /* holds the default on entry */
    struct option_list *list;
    bool *on;
};
#define OPTION_LIST_MAX 8
struct option_list {
    size_t count;
    const char *items[OPTION_LIST_MAX];
};
/* 0: go on. 1: --help or --version was printed, exit with 0. -EINVAL: said on stderr, exit with 2. */
int options_read(int argc, char **argv, const char *program, const char *summary, const struct option_row *rows,
                 size_t count);

/* sd_notify(3)'s datagram to NOTIFY_SOCKET, without the library; does nothing where the variable is not set. */
void notify_service_manager(const char *state);

/* A user as `--user` takes it: a name from passwd(5), or a numeric uid (its group is then the same number). */
struct service_user {
    uint32_t uid, gid;
};
int service_user_find(const char *text, struct service_user *ret_user, struct err *ret_err);
/* A group's number, of a name from group(5) or a number. -ENOENT. */
int service_group_find(const char *text, uint32_t *ret_gid, struct err *ret_err);
/* For a process that is root: drops supplementary groups, gid, uid, and verifies that there is no way back. */
int service_user_become(const struct service_user *user, struct err *ret_err);

#endif

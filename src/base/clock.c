/* SPDX-License-Identifier: Apache-2.0 */
#include "tunwright/base.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

int64_t clock_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t clock_realtime_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

const char *clock_print(int64_t realtime_ns, char out[static CLOCK_TEXT_SIZE])
{
    int64_t total_ms =
        realtime_ns / NSEC_PER_MSEC - (realtime_ns % NSEC_PER_MSEC < 0); /* rounded down, before 1970 too */
    time_t seconds = (time_t)(total_ms / 1000 - (total_ms % 1000 < 0));
    int milliseconds = (int)(total_ms - (int64_t)seconds * 1000);
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) || strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts) != 19)
        snprintf(out, CLOCK_TEXT_SIZE, "1970-01-01T00:00:00.000Z");
    else
        snprintf(out + 19, CLOCK_TEXT_SIZE - 19, ".%03uZ", (unsigned)milliseconds % 1000);
    return out;
}

/* Just `count` digits. */
static bool digits_take(const char **text, int count, int *ret_number)
{
    int number = 0;

    for (int i = 0; i < count; i++) {
        char c = *(*text)++;
        if (c < '0' || c > '9')
            return false;
        number = number * 10 + (c - '0');
    }
    *ret_number = number;
    return true;
}

static bool character_take(const char **text, const char *any_of)
{
    return **text != '\0' && strchr(any_of, *(*text)++);
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}

/* The part after the seconds: nothing, or a point and digits, of which nine count. */
static bool fraction_take(const char **text, int64_t *ret_ns)
{
    int64_t ns = 0, unit = NSEC_PER_SEC / 10;

    if (**text == '.') {
        (*text)++;
        if (**text < '0' || **text > '9')
            return false;
        for (; **text >= '0' && **text <= '9'; (*text)++, unit /= 10)
            ns += (**text - '0') * unit;
    }
    *ret_ns = ns;
    return true;
}

/* "Z", or how far ahead of UTC the time is: in minutes. */
static bool offset_take(const char **text, int *ret_minutes)
{
    int hours = 0, minutes = 0, sign = **text == '-' ? -1 : 1;

    if (character_take(text, "+-")) {
        if (!digits_take(text, 2, &hours) || !character_take(text, ":") || !digits_take(text, 2, &minutes) ||
            hours > 23 || minutes > 59)
            return false;
    } else if ((*text)[-1] != 'Z' && (*text)[-1] != 'z') {
        return false;
    }
    *ret_minutes = sign * (hours * 60 + minutes);
    return true;
}

int clock_parse(const char *text, int64_t *ret_realtime_ns)
{
    struct tm parts = {0};
    int year, month, offset = 0;
    int64_t fraction_ns = 0;

    if (!digits_take(&text, 4, &year) || !character_take(&text, "-") || !digits_take(&text, 2, &month) ||
        !character_take(&text, "-") || !digits_take(&text, 2, &parts.tm_mday) || !character_take(&text, "Tt") ||
        !digits_take(&text, 2, &parts.tm_hour) || !character_take(&text, ":") ||
        !digits_take(&text, 2, &parts.tm_min) || !character_take(&text, ":") || !digits_take(&text, 2, &parts.tm_sec) ||
        !fraction_take(&text, &fraction_ns) || !offset_take(&text, &offset) || *text != '\0')
        return -EINVAL;
    if (month < 1 || month > 12 || parts.tm_mday < 1 || parts.tm_mday > days_of_month(year, month) ||
        parts.tm_hour > 23 || parts.tm_min > 59 || parts.tm_sec > 60)
        return -EINVAL;
    parts.tm_year = year - 1900;
    parts.tm_mon = month - 1;
    bool leap = parts.tm_sec == 60; /* it ends a day of UTC, and counts as the next day's first second */
    int64_t seconds = (int64_t)timegm(&parts) - offset * 60;
    if (leap && seconds % 86400 != 0)
        return -EINVAL;
    if (seconds < INT64_MIN / NSEC_PER_SEC + 1 || seconds > INT64_MAX / NSEC_PER_SEC - 1)
        return -ERANGE;
    *ret_realtime_ns = seconds * NSEC_PER_SEC + fraction_ns;
    return 0;
}

bool rate_limit_permits(struct rate_limit *limit, int64_t now_monotonic_ns)
{
    if (!limit->last_ns)
        limit->tokens = limit->burst;
    else
        limit->tokens += (double)(now_monotonic_ns - limit->last_ns) * limit->rate / (double)NSEC_PER_SEC;
    limit->last_ns = now_monotonic_ns;
    if (limit->tokens > limit->burst)
        limit->tokens = limit->burst;
    if (limit->tokens < 1) {
        limit->suppressed++;
        return false;
    }
    limit->tokens -= 1;
    return true;
}

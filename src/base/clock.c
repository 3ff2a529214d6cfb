/* SPDX-License-Identifier: Apache-2.0 */
#include "tunwright/base.h"

#include <errno.h>
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

/* Days since 1970-01-01 as year, month and day in the Gregorian calendar. A year is taken to begin in March, so that its
 * leap day is its last; 400 of them have 146097 days. */
static void date_of_days(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468; /* since 0000-03-01 */
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month_from_march = (5 * day_of_year + 2) / 153;
    *ret_day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    *ret_month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    *ret_year = (int64_t)year_of_era + era * 400 + (*ret_month <= 2);
}

/* `count` digits, the last of which stands at out[count - 1]. */
static void digits_print(char *out, unsigned value, int count)
{
    while (count) {
        out[--count] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* Without gmtime and strftime: counters are printed with their times, many thousand times a second. An int64_t of
 * nanoseconds has years of four digits only, 1677 to 2262. */
const char *clock_print(int64_t realtime_ns, char out[static CLOCK_TEXT_SIZE])
{
    static const char form[] = "0000-00-00T00:00:00.000Z";
    int64_t total_ms =
        realtime_ns / NSEC_PER_MSEC - (realtime_ns % NSEC_PER_MSEC < 0); /* rounded down, before 1970 too */
    int64_t days = total_ms / 86400000 - (total_ms % 86400000 < 0);
    unsigned ms = (unsigned)(total_ms - days * 86400000);
    int64_t year;
    unsigned month, day;
    date_of_days(days, &year, &month, &day);
    memcpy(out, form, sizeof form);
    digits_print(out, (unsigned)year, 4);
    digits_print(out + 5, month, 2);
    digits_print(out + 8, day, 2);
    digits_print(out + 11, ms / 3600000, 2);
    digits_print(out + 14, ms / 60000 % 60, 2);
    digits_print(out + 17, ms / 1000 % 60, 2);
    digits_print(out + 20, ms % 1000, 3);
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

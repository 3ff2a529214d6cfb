/* SPDX-License-Identifier: Apache-2.0 */
#include "tunwright/base.h"

#include <stdio.h>
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* proc(5): the boot's time in seconds since the epoch. */
static double boot_time_s(void)
{
    struct timespec now, since_boot;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &since_boot);
    return (double)(now.tv_sec - since_boot.tv_sec) + (double)(now.tv_nsec - since_boot.tv_nsec) / 1e9;
}

/* The process's start never changes, but the clock that it is told by may be set: read once. */
static double start_time_s(double ticks_after_boot)
{
    static _Atomic double known;
    double none = 0, found = boot_time_s() + ticks_after_boot / (double)sysconf(_SC_CLK_TCK);
    atomic_compare_exchange_strong(&known, &none, found);
    return known;
}

static void read_stat(struct process_facts *facts)
{
    char text[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file)
        return;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    /* the name, in parentheses, may hold anything; state is the third field, starttime the 22nd */
    const char *at = strrchr(text, ')');
    double values[25] = {0};
    if (!at)
        return;
    at += strlen(") S");
    for (size_t field = 4; field < ARRAY_SIZE(values); field++) {
        char *end;
        values[field] = strtod(at, &end);
        if (end == at)
            return;
        at = end;
    }
    facts->start_time_s = start_time_s(values[22]);
    facts->virtual_bytes = (uint64_t)values[23];
    facts->resident_bytes = (uint64_t)values[24] * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t count_open_fds(void)
{
    uint64_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (!directory)
        return 0;
    for (const struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count ? count - 1 : 0; /* without the one that looked */
}

void process_facts_read(struct process_facts *ret_facts)
{
    *ret_facts = (struct process_facts){0};
    struct rusage usage;
    struct rlimit limit;
    if (!getrusage(RUSAGE_SELF, &usage))
        ret_facts->cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    if (!getrlimit(RLIMIT_NOFILE, &limit))
        ret_facts->max_fds = limit.rlim_cur;
    ret_facts->open_fds = count_open_fds();
    read_stat(ret_facts);
}

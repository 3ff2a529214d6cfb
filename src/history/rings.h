/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rings: one device's history, as it lies in its file, and all that is done to it.
 *
 * The file is a page with the head, and pages of records. Each step of each ring has a place for its record, and a byte
 * of flags in the head. Nobody writes a record of zeros: flags alone say that a step was observed and nothing increased.
 * So the file of a device that carries nothing has one page that is not a hole.
 *
 * There is one writer, which adds to all three rings with each reading; the coarser ones' newest step grows in its place.
 * A reader takes no lock: it copies, and copies again where `sequence` says that it was disturbed. Values go in before
 * the flags that say they are there: a writer that is killed in between loses that reading, and no more.
 */
#ifndef TUNWRIGHT_HISTORY_RINGS_H
#define TUNWRIGHT_HISTORY_RINGS_H

#include "tunwright/history.h"

#define RINGS_PAGE_SIZE    4096
#define RINGS_STEPS        (600 + 721 + 1441) /* of all rings together, with those that are not over yet */
#define RINGS_RECORDS      36                 /* a page, so that none lies across two */
#define RINGS_RECORD_PAGES 77
#define RINGS_LATE_MAX_S   5 /* a reading that came so late is still spread over its steps; a later one is a gap */

#define RINGS_MAGIC   0x54574849U /* "TWHI" */
#define RINGS_VERSION 1

enum { RINGS_KERNEL = 1, RINGS_WORKER = 2, RINGS_VALUES = 4 }; /* observed, observed, and there is a record */

struct rings_file {
    struct rings_head {
        uint32_t magic;
        uint16_t version, series;
        uint64_t size;
        uint8_t uuid[16], boot_id[16];
        int64_t until_s;                 /* CLOCK_BOOTTIME up to which there were readings; 0: none */
        int64_t newest[HISTORY_SCALE_N]; /* each ring's last step: its number since the machine's start */
        uint8_t flags[RINGS_STEPS];      /* the rings' one behind the other */
        uint8_t reserved[RINGS_PAGE_SIZE - 80 - RINGS_STEPS];
    } head;
    struct rings_page {
        uint64_t records[RINGS_RECORDS][HISTORY_SERIES_N];
        uint8_t reserved[RINGS_PAGE_SIZE - RINGS_RECORDS * HISTORY_SERIES_N * 8];
    } pages[RINGS_RECORD_PAGES];
};
_Static_assert(sizeof(struct rings_head) == RINGS_PAGE_SIZE && sizeof(struct rings_page) == RINGS_PAGE_SIZE, "pages");
_Static_assert(RINGS_STEPS <= RINGS_RECORDS * RINGS_RECORD_PAGES, "all have their place");

/* What a device's counters showed. */
struct rings_reading {
    uint32_t ifindex; /* 0: the kernel showed none */
    int64_t since_ns; /* 0: there is no worker */
    uint64_t values[HISTORY_SERIES_N];
};

struct rings {
    struct rings_file *file; /* borrowed, mapped */
    uint64_t sequence;       /* odd: it is being written */
    bool has_base;
    int64_t base_s;            /* the boundary that … */
    struct rings_reading base; /* … was read at; the next increase is from there */
    /* Called before the first write to a page of records: 0 where there is room for it now. NULL: there always is. */
    int (*make_room)(void *context, size_t page);
    void *context;
    bool has_room[RINGS_RECORD_PAGES];
};

/* Makes an empty head. */
void rings_format(struct rings_head *head, const struct uuid *uuid, const uint8_t boot_id[static 16]);
/* Whether it is the head of this device's file, of this run of the machine, that could be so at `now_s`. */
bool rings_head_is_good(const struct rings_head *head, const struct uuid *uuid, const uint8_t boot_id[static 16],
                        int64_t now_s);

/* A reading at CLOCK_BOOTTIME `time_ns`, meant for the boundary of seconds next to it. The first one is only the base of
 * the next. */
void rings_sample(struct rings *rings, int64_t time_ns, const struct rings_reading *reading);

/* The last `count` whole steps before rings_sample's last boundary. *ret_steps has room for them. Returns that boundary
 * in whole steps, in seconds; 0: there was no reading yet, and all are unobserved. */
int64_t rings_read(const struct rings *rings, enum history_scale scale, size_t count, struct history_step *ret_steps);

#endif

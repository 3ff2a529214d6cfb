/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads: lanes 1 and up, each on a thread of its own. Lane 0 belongs to the main thread, so that a
 * worker with one queue has one thread and none of this.
 *
 * A thread shares with the main thread its lane's report, and two eventfds: one that ends it, and one that wakes the
 * main thread when there is news. All it does otherwise is in its lane.
 */
#ifndef WORKER_THREADS_H
#define WORKER_THREADS_H

#include "tunwright/model.h"

#include <pthread.h>
#include <semaphore.h>

struct lane;

struct thread {
    struct threads *threads;
    struct lane *lane;
    pthread_t id;
};

struct threads {
    int stop_fd, news_fd; /* eventfds; -1 where there are no threads */
    bool told;            /* there is news that was not taken yet; atomic */
    sem_t gate;           /* they wait here until they are let go */
    size_t count;
    struct thread all[DEVICE_QUEUES_MAX - 1];
};

/* Before anything else. */
void threads_init(struct threads *threads);

/* Makes threads for all lanes but the first, which is where `lanes` begins. They wait: nothing is read or sent before
 * threads_go. On failure those that were made are ended again. */
int threads_start(struct threads *threads, struct lane *lanes, size_t lane_count, struct err *ret_err);
void threads_go(struct threads *threads);

/* Ends and joins them, each after its turn, whether they were let go or not. Doing it again does nothing. */
void threads_stop(struct threads *threads);

/* When news_fd is readable. */
void threads_hear(struct threads *threads);
/* Before the reports are read: news after this wakes the main thread again. */
void threads_take_news(struct threads *threads);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tunwright-worker: forwards one device's packets. Started by tunwright-netd; tunwright/worker.h is the contract.
 */
#include "tunwright/base.h"
#include "tunwright/worker.h"
#include "worker/loop.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* Only `stop` and SIGTERM end a worker: not the Ctrl-C that ends netd at a terminal, nor a log without a reader. */
static void signals_set(void)
{
    sigset_t signals;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_SETMASK, &signals, NULL);
}

/* There are many workers on a host, so that each is to be small: no heap for each thread, and large buffers come fresh
 * from the kernel, which takes no memory for what is never touched. */
static void memory_set(void)
{
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 64 * 1024); /* naming it keeps it from growing */
    mallopt(M_TRIM_THRESHOLD, 64 * 1024);
}

int main(int argc, char **argv)
{
    struct err err = {0};
    int type = 0;
    socklen_t length = sizeof(type);

    if (argc > 1) {
        int r = options_read(argc, argv, "tunwright-worker", "forwards the packets of one device", NULL, 0);

        return r < 0 ? 2 : EXIT_SUCCESS;
    }
    log_open("tunwright-worker", LOG_LEVEL_INFO);
    if (getsockopt(WORKER_CONTROL_FD, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_SEQPACKET) {
        fprintf(stderr, "tunwright-worker is started by tunwright-netd, with a control socket as descriptor 3.\n");
        return 2;
    }
#ifndef TUNWRIGHT_SANITIZED    /* the leak checker looks into its own process */
    prctl(PR_SET_DUMPABLE, 0); /* all workers have one uid: none may look into another */
#endif
    signals_set();
    memory_set();
    if (loop_run(WORKER_CONTROL_FD, WORKER_LISTEN_FD, &err) < 0) {
        log_error("%s", err.message);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

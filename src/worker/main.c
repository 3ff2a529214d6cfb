/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tunwright-worker: forwards one device's packets. Started by tunwright-netd; tunwright/worker.h is the contract.
 */
#include "tunwright/base.h"
#include "tunwright/worker.h"
#include "worker/loop.h"

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
    if (loop_run(WORKER_CONTROL_FD, WORKER_LISTEN_FD, &err) < 0) {
        log_error("%s", err.message);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

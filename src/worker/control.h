/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control: packets of the worker contract (tunwright/worker.h) and the descriptors beside them.
 */
#ifndef WORKER_CONTROL_H
#define WORKER_CONTROL_H

#include "worker/config.h"

struct control_message {
    struct config_head head;
    const char *packet; /* in the buffer it was received into */
    size_t length;
    int fds[WORKER_FDS_MAX]; /* the receiver's to close */
    size_t fd_count;
};

/* Room to receive one packet; the last byte is never filled. */
struct control_buffer {
    char bytes[WORKER_MESSAGE_MAX + 1];
};

/* -EAGAIN: none is waiting. -ECONNRESET: the other end is gone. -EPROTO: a packet that is no message; it is lost, and
 * its descriptors are closed. */
int control_receive(int fd, struct control_buffer *buffer, struct control_message *ret_message, struct err *ret_err);

/* `verb`, a line's end, and the body. Never waits. 0 or -errno. */
int control_send(int fd, const char *verb, const char *body, size_t body_length, const int *fds, size_t fd_count);

/* {"detail": …} with the pointer of the fault before its message. */
int control_send_failed(int fd, const struct err *err);

#endif

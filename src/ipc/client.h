/* SPDX-License-Identifier: Apache-2.0 */
/* client: one connection of tunwrightd to tunwright-netd, and the calls over it. Not thread-safe. */
#ifndef IPC_CLIENT_H
#define IPC_CLIENT_H

#include "tunwright/ipc.h"

#define IPC_HELLO_TIMEOUT_MS 3000
#define IPC_CALL_TIMEOUT_MS  10000

struct ipc_client {
    int fd;          /* -1: not connected */
    uint32_t serial; /* of the last request */
};

/* One reply. The descriptors are the holder's. */
#define IPC_ANSWER_FDS_MAX 2
struct ipc_answer {
    struct ipc_reply reply;
    char text[WORKER_STATUS_MAX + 1]; /* NUL-terminated */
    int fds[IPC_ANSWER_FDS_MAX];
    size_t fd_count;
};
void ipc_answer_done(struct ipc_answer *answer);

/* All of it zero, with its padding: it goes over a socket as it is. */
void ipc_request_init(struct ipc_request *request, enum ipc_op op);

/*
 * Whatever goes wrong with the connection itself closes it and is -ENOTCONN, or -ETIMEDOUT, with ERR_NETD_UNAVAILABLE.
 * A refusal by netd is its errno and its err, and the connection stays.
 */

/* Connects and says hello. -ENOTCONN. */
int ipc_client_connect(struct ipc_client *client, const char *path, int64_t timeout_ms, struct err *ret_err);
void ipc_client_close(struct ipc_client *client);
/* Whether the other end is there still, as far as can be told without asking it. */
bool ipc_client_is_alive(const struct ipc_client *client);

/* Fills in magic, size and serial, and sends. Where it fails, netd has not seen the request. */
int ipc_client_send(struct ipc_client *client, struct ipc_request *request, const char *text, int64_t deadline_ns,
                    struct err *ret_err);
/* Waits for the next reply to the last request. *ret_answer is written on a refusal too, and is the caller's to empty.
 */
int ipc_client_receive(struct ipc_client *client, int64_t deadline_ns, struct ipc_answer *ret_answer,
                       struct err *ret_err);
/* The same for the next reply to any of the requests since the one with the serial `oldest`. */
int ipc_client_receive_any(struct ipc_client *client, uint32_t oldest, int64_t deadline_ns,
                           struct ipc_answer *ret_answer, struct err *ret_err);
/* Both, for what has one reply, with the time-out from now on. */
int ipc_client_call(struct ipc_client *client, struct ipc_request *request, const char *text, int64_t timeout_ms,
                    struct ipc_answer *ret_answer, struct err *ret_err);

#endif

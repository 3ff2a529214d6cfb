/* SPDX-License-Identifier: Apache-2.0 */
/* dispatch: the clients of netd.sock, and the table of what they may ask for. */
#ifndef NETD_DISPATCH_H
#define NETD_DISPATCH_H

#include "netd.h"

#include "tunwright/ipc.h"

/* A checked request in hand. */
struct request {
    struct netd *netd;
    uint64_t client; /* by number: it may be gone by the time of the answer */
    const struct ipc_request *packet;
    const char *text;
};

/* What a handler returns beside 0 and -errno: the answer was given, or will be by somebody who holds a waiter. */
#define ANSWER_LATER 1

/* A request whose answer depends on a worker. Holds a copy of the packet, without its text. */
struct waiter {
    struct waiter *next;
    uint64_t client;
    struct ipc_request packet;
};
struct waiter *waiter_new(const struct request *request); /* NULL: no memory */
/* Answers and frees. */
void waiter_answer(struct netd *netd, struct waiter *waiter, int error, const struct err *err);
/* What it waited for has happened: handles the request again, from its beginning, and frees. For those without text. */
void waiter_again(struct netd *netd, struct waiter *waiter);

int dispatch_listen(struct netd *netd, int fd);
void dispatch_close(struct netd *netd);
/* Tells every subscriber to look again. */
void dispatch_event(struct netd *netd);

/* One reply, descriptors (borrowed) beside it. */
void request_answer(const struct request *request, int error, const struct err *err, const int *fds, size_t fd_count);

/* ---- the handlers: device_requests.c, worker_requests.c; 0, -errno, or ANSWER_LATER ------------------------------ */
int handle_device_create(const struct request *request, struct err *ret_err);
int handle_device_delete(const struct request *request, struct err *ret_err);
int handle_devices_delete(const struct request *request, struct err *ret_err);
int handle_device_adopt(const struct request *request, struct err *ret_err);
int handle_device_release(const struct request *request, struct err *ret_err);
int handle_link_set(const struct request *request, struct err *ret_err);
int handle_address_add(const struct request *request, struct err *ret_err);
int handle_address_delete(const struct request *request, struct err *ret_err);
int handle_route_add(const struct request *request, struct err *ret_err);
int handle_route_delete(const struct request *request, struct err *ret_err);
int handle_netns_socket(const struct request *request, struct err *ret_err);
int handle_worker_start(const struct request *request, struct err *ret_err);
int handle_worker_configure(const struct request *request, struct err *ret_err);
int handle_worker_stop(const struct request *request, struct err *ret_err);
int handle_worker_page(const struct request *request, struct err *ret_err);
int handle_worker_capture(const struct request *request, struct err *ret_err);
/* The client's connection ends: what it was there for is over. */
void dispatch_end_client(struct netd *netd, uint64_t client);
/* What a client captured that has gone. */
void worker_captures_end(struct netd *netd, uint64_t client);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipc: what tunwrightd and tunwright-netd say to each other over <run-dir>/netd.sock (SOCK_SEQPACKET, one message a
 * packet, native byte order: both ends come from one build, and IPC_HELLO refuses any other).
 *
 * A request is a fixed struct with an `op` and a `serial`; a worker's JSON configuration follows it as text, or a list of
 * devices. Several may be on their way at once: those that need not wait are handled in their order. Each request gets exactly one reply with its serial, WORKER_LIST as many as there are workers and one more. Replies need
 * not come in the order of the requests: starting a worker takes as long as the worker does.
 *
 * netd believes nothing: every field is checked against the table in message.c before it is used.
 */
#ifndef TUNWRIGHT_IPC_H
#define TUNWRIGHT_IPC_H

#include "tunwright/net.h"

#define IPC_MAGIC      0x54574e31U /* "TWN1": with the struct sizes, the protocol's version */
#define IPC_PACKET_MAX (WORKER_CONFIG_MAX + 4096)

enum ipc_op {
    IPC_HELLO, /* → uid and version agreed */
    IPC_DEVICE_CREATE,
    IPC_DEVICE_DELETE,
    IPC_DEVICES_DELETE, /* text: struct ipc_device, devices.count of them in device.netns: all of them or none */
    IPC_DEVICE_ADOPT,
    IPC_DEVICE_RELEASE,
    IPC_LINK_SET,
    IPC_ADDRESS_ADD,
    IPC_ADDRESS_DELETE,
    IPC_ROUTE_ADD,
    IPC_ROUTE_DELETE,
    IPC_WORKER_START,     /* text: the configuration */
    IPC_WORKER_CONFIGURE, /* text: the configuration */
    IPC_WORKER_STOP,
    IPC_WORKER_LIST,    /* → one reply a worker (`more`), text: its status; then one without */
    IPC_WORKER_PAGE,    /* → fd: its counter page, read-only */
    IPC_NETNS_SOCKET,   /* device.netns → fds: a netlink socket there, and one that hears events */
    IPC_SUBSCRIBE,      /* this connection gets IPC_EVENT packets from now on */
    IPC_WORKER_CAPTURE, /* text: the program; → fd: a capture area, until this connection ends */
    IPC_OP_N
};

struct ipc_worker_start {
    char program[WORKER_PROGRAM_SIZE];
    uint32_t queues, socket_spec_count;
    struct socket_spec sockets[SOCKET_SPECS_MAX];
    uint64_t tag;
    uint32_t config_length; /* bytes of text after the struct */
};

struct ipc_device {
    char name[DEVICE_NAME_SIZE];
    struct uuid uuid;
};
struct ipc_devices {
    uint32_t count; /* 1 to STEP_RUN_MAX, of struct ipc_device after the struct */
};

struct ipc_capture {
    uint32_t snaplen;
    uint32_t program_length; /* instructions after the struct */
};

struct ipc_request {
    uint32_t magic;
    uint32_t op; /* enum ipc_op */
    uint32_t serial;
    uint32_t size; /* sizeof(struct ipc_request) */
    struct device_key device;
    uint32_t protocol; /* IPC_ROUTE_DELETE: as in struct step */
    union {
        struct device_adopt adopt;
        struct device_create create;
        struct link_settings link;
        struct ip_prefix address;
        struct route route;
        struct ipc_worker_start worker;
        struct ipc_devices devices;
        struct ipc_capture capture;
    };
};

struct ipc_worker_info {
    struct uuid uuid;
    uint32_t state; /* enum worker_state */
    int32_t pid;
    uint32_t restarts;
    int64_t started_ns;
    uint64_t tag;
    char program[WORKER_PROGRAM_SIZE];
    char detail[ERR_MESSAGE_MAX];
};

struct ipc_reply {
    uint32_t magic;
    uint32_t op; /* the request's; IPC_OP_N: an event, "look again" */
    uint32_t serial;
    int32_t error;        /* 0 or a negative errno */
    uint32_t more;        /* not 0: further replies to this request follow */
    uint32_t text_length; /* bytes of text after the struct */
    struct err err;       /* where error != 0 */
    struct ipc_worker_info worker;
};

/* ---- packets with descriptors ------------------------------------------------------------------------------------ */

#define IPC_FDS_MAX 40

/* Sends head and text as one packet with `fd_count` descriptors (borrowed). Without MSG_DONTWAIT it waits. 0 or -errno.
 */
int seqpacket_send(int fd, const void *head, size_t head_length, const void *text, size_t text_length, const int *fds,
                   size_t fd_count, int flags);
/* Receives one packet into `out` (at most `size` bytes: a longer one is -EMSGSIZE and lost). Descriptors are
 * close-on-exec and the caller's; *fd_count holds the room on entry and the number on return; more than fit are closed
 * and the packet is -EMSGSIZE. 0 with *ret_length 0: end of file. */
int seqpacket_receive(int fd, void *out, size_t size, size_t *ret_length, int *ret_fds, size_t *fd_count, int flags);
/* Binds and listens; an old socket file of that name is removed first if nothing answers on it (-EADDRINUSE if
 * something does). `mode` is the file's, less the umask. */
int seqpacket_listen(const char *path, uint32_t mode, int *ret_fd, struct err *ret_err);
int seqpacket_connect(const char *path, int *ret_fd, struct err *ret_err);

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* Checks a received packet from head to tail: sizes, magic, op, every field that the op uses (names NUL-terminated and
 * valid, enums in range, prefixes in form, counts, text length exactly filling the packet). 0 or -EINVAL (-EPROTO: not
 * of this protocol at all) with what is wrong. *ret_text points into the packet. */
int ipc_request_check(const void *packet, size_t length, const struct ipc_request **ret_request, const char **ret_text,
                      struct err *ret_err);
int ipc_reply_check(const void *packet, size_t length, const struct ipc_reply **ret_reply, const char **ret_text,
                    struct err *ret_err);
/* "hello", "device_create", …; "event" for IPC_OP_N, "?" past it. */
const char *ipc_op_name(uint32_t op);
/* How many bytes of text go with a request of this op, going by its counts. */
size_t ipc_request_text_length(const struct ipc_request *request);
/* A step as its request; the text is the step's worker.config (borrowed). */
void ipc_request_from_step(const struct step *step, uint32_t serial, struct ipc_request *ret_request);

/* ---- tunwrightd's end -------------------------------------------------------------------------------------------- */

/* The real kernel: dumps by netlink sockets of this process, changes by tunwright-netd at `netd_socket`. Opening does
 * not need netd to be there. */
int kernel_netd_open(const char *netd_socket, struct kernel **ret_kernel, struct err *ret_err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The check at netd's door: whatever passes holds what the handlers rely on. */
#include "tunwright/ipc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MUST(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request_holds(const struct ipc_request *request, const char *text, size_t text_length)
{
    const struct ipc_worker_start *worker = &request->worker;
    uint32_t sockets = 0;
    MUST(request->op < IPC_OP_N);
    switch (request->op) {
    case IPC_DEVICE_CREATE:
        MUST(device_name_is_valid(request->device.name));
        MUST(request->create.queues >= 1 && request->create.queues <= DEVICE_QUEUES_MAX);
        MUST(request->create.has_mac == true || request->create.has_mac == false);
        break;
    case IPC_DEVICE_ADOPT:
        MUST(device_name_is_valid(request->device.name) && request->adopt.queues <= DEVICE_QUEUES_MAX);
        break;
    case IPC_ROUTE_DELETE:
        MUST(request->protocol == 84 || request->protocol == 3 || request->protocol == 4);
        MUST(!ip_prefix_has_host_bits(&request->route.to));
        break;
    case IPC_ROUTE_ADD:
        MUST(!ip_prefix_has_host_bits(&request->route.to));
        break;
    case IPC_NETNS_SOCKET:
        MUST(netns_name_is_valid(request->device.netns));
        break;
    case IPC_WORKER_START:
    case IPC_WORKER_CONFIGURE:
        MUST(strlen(worker->program) < WORKER_PROGRAM_SIZE && !strchr(worker->program, '/'));
        MUST(worker->queues <= DEVICE_QUEUES_MAX && worker->socket_spec_count <= SOCKET_SPECS_MAX);
        MUST(worker->config_length == text_length && !memchr(text, '\0', text_length));
        for (uint32_t i = 0; i < worker->socket_spec_count; i++) {
            const struct socket_spec *spec = &worker->sockets[i];
            struct sockaddr_storage address;
            MUST(endpoint_to_sockaddr(&spec->local, &address) > 0);
            MUST(spec->count <= WORKER_SOCKETS_MAX && spec->local.port + spec->count <= 65536);
            MUST(strlen(spec->interface) < DEVICE_NAME_SIZE);
            sockets += spec->count;
        }
        MUST(sockets <= WORKER_SOCKETS_MAX);
        return;
    case IPC_DEVICES_DELETE:
        MUST(request->devices.count >= 1 && request->devices.count <= STEP_RUN_MAX);
        MUST(text_length == request->devices.count * sizeof(struct ipc_device));
        for (uint32_t i = 0; i < request->devices.count; i++) {
            struct ipc_device device;
            memcpy(&device, text + i * sizeof device, sizeof device);
            MUST(device_name_is_valid(device.name) && !uuid_is_zero(&device.uuid));
        }
        return;
    case IPC_WORKER_CAPTURE:
        MUST(request->capture.program_length <= CAPTURE_PROGRAM_MAX);
        MUST(text_length == request->capture.program_length * sizeof(struct capture_instruction));
        return;
    default:
        break;
    }
    MUST(text_length == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ipc_request *request;
    const struct ipc_reply *reply;
    const char *text;
    struct err err = {0};
    if (ipc_request_check(data, size, &request, &text, &err) == 0)
        request_holds(request, text, size - sizeof *request);
    else
        MUST(err.message[0]);
    if (ipc_reply_check(data, size, &reply, &text, &err) == 0) {
        MUST(reply->err.code < ERR_CODE_N && strlen(reply->err.message) < ERR_MESSAGE_MAX);
        MUST(reply->worker.state < WORKER_STATE_N && strlen(reply->worker.detail) < ERR_MESSAGE_MAX);
        MUST(reply->text_length == size - sizeof *reply);
    }
    return 0;
}

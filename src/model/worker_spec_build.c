/* SPDX-License-Identifier: Apache-2.0 */
#include "document.h"

#include <errno.h>
#include <string.h>

static const char worker_program[] = "tunwright-worker";

/* {"device": {"name", "kind"}, "worker": {…}}: what the worker must know of its device, and what it is to do. */
static cJSON *worker_spec_json(const struct device *device)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *about = cJSON_CreateObject();

    if (json && about && cJSON_AddStringToObject(about, "name", device->name) &&
        cJSON_AddStringToObject(about, "kind", device_kind_name(device->kind))) {
        bool added = field_add(json, "device", about);
        about = NULL;
        if (added && field_add(json, "worker", worker_config_to_json(&device->worker)))
            return json;
    }
    cJSON_Delete(about);
    cJSON_Delete(json);
    return NULL;
}

static uint64_t tag_add_number(uint64_t tag, uint32_t number)
{
    uint8_t bytes[4] = {(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16), (uint8_t)(number >> 24)};
    return fnv1a(tag, bytes, sizeof(bytes));
}

/* Value by value: a struct as a whole would hash its padding. */
static uint64_t worker_spec_tag(const struct worker_spec *spec)
{
    uint64_t tag = fnv1a(FNV1A_START, spec->program, strlen(spec->program) + 1);
    tag = tag_add_number(tag, spec->queues);
    tag = tag_add_number(tag, spec->socket_spec_count);
    for (uint32_t i = 0; i < spec->socket_spec_count; i++) {
        const struct socket_spec *socket = &spec->sockets[i];
        tag = tag_add_number(tag, (uint32_t)socket->type);
        tag = tag_add_number(tag, socket->local.addr.family);
        tag = fnv1a(tag, socket->local.addr.bytes, sizeof(socket->local.addr.bytes));
        tag = tag_add_number(tag, socket->local.port);
        tag = tag_add_number(tag, socket->count);
        tag = tag_add_number(tag, socket->mark);
        tag = fnv1a(tag, socket->interface, strlen(socket->interface) + 1);
    }
    return fnv1a(tag, spec->config, spec->config_length);
}

_Static_assert(DEVICE_QUEUES_MAX <= WORKER_SOCKETS_MAX, "a socket for each queue");

uint32_t worker_sockets(const struct device *device, struct socket_spec ret_specs[static SOCKET_SPECS_MAX])
{
    const struct worker_config *worker = &device->worker;

    if (worker->type != WORKER_UDP)
        return 0;
    ret_specs[0] = (struct socket_spec){
        .type = SOCK_DGRAM, .count = device->queues, .local = worker->udp.local, .mark = worker->udp.mark};
    text_copy(ret_specs[0].interface, sizeof(ret_specs[0].interface), worker->udp.interface);
    return 1;
}

int worker_spec_build(const struct device *device, struct worker_spec *ret_spec)
{
    CLEANUP(document_done) cJSON *json = NULL;
    struct worker_spec spec = {.queues = device->queues};

    if (device->worker.type == WORKER_NONE)
        return -EINVAL;
    text_copy(spec.program, sizeof(spec.program), worker_program);
    spec.socket_spec_count = worker_sockets(device, spec.sockets);
    json = worker_spec_json(device);
    spec.config = json ? cJSON_PrintUnformatted(json) : NULL;
    if (!spec.config)
        return -ENOMEM;
    spec.config_length = strlen(spec.config);
    spec.tag = worker_spec_tag(&spec);
    *ret_spec = spec;
    return 0;
}

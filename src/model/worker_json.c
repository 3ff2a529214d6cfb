/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"
#include "document.h"
#include "word.h"

#include <errno.h>

#define MONITOR_LOG_RATE 10

static const struct udp_offload udp_offload_all = {true, true, true, true, true, true};
static const struct field_range monitor_log_rate = {0, MONITOR_LOG_RATE_MAX};

/* Each type has a table, and `type` is a field of each: it selects the table. */
#define WORKER(member) offsetof(struct worker_config, member)
/* clang-format off */
#define WORKER_TYPE_ROW {"type", &field_word, WORKER(type), FIELD_REQUIRED, &worker_type_words}
#define WORKER_TABLE(fields) {.rows = (fields), .count = ARRAY_SIZE(fields)}
/* clang-format on */
static const struct field none_fields[] = {WORKER_TYPE_ROW};
static const struct field monitor_fields[] = {
    WORKER_TYPE_ROW,
    {"log_rate", &field_u32, WORKER(monitor.log_rate), 0, &monitor_log_rate},
};
static const struct field echo_fields[] = {WORKER_TYPE_ROW};
#define OFFLOAD(member)                                                                                                \
    {                                                                                                                  \
#member, &field_bool, offsetof(struct udp_offload, member), 0, NULL                                            \
    }
static const struct field udp_offload_fields[] = {
    OFFLOAD(tso), OFFLOAD(uso), OFFLOAD(merge), OFFLOAD(udp_segment), OFFLOAD(udp_gro), OFFLOAD(checksum),
};
static const struct field_table udp_offload_table = WORKER_TABLE(udp_offload_fields);
static const struct field_range udp_mark = {1, UINT32_MAX};
static const struct field_text_rules udp_interface_rules = {
    DEVICE_NAME_SIZE, interface_name_is_valid,
    "an interface's name: 1 to 15 of A-Z a-z 0-9 _ . @ + - that begin with a letter, a digit or _"};
static const struct field udp_fields[] = {
    WORKER_TYPE_ROW,
    {"local", &field_endpoint, WORKER(udp.local), FIELD_REQUIRED, NULL},
    {"remote", &field_endpoint, WORKER(udp.remote), FIELD_REQUIRED, NULL},
    {"header", &field_word, WORKER(udp.header), 0, &udp_header_words},
    {"mark", &field_u32, WORKER(udp.mark), FIELD_NULLABLE, &udp_mark},
    {"interface", &field_name, WORKER(udp.interface), FIELD_NULLABLE, &udp_interface_rules},
    {"offload", &field_object, WORKER(udp.offload), 0, &udp_offload_table},
};

static const struct field_table worker_tables[] = {
    /* A type that is missing or not known: say that, and nothing of fields whose meaning is not known then. */
    [WORKER_NONE] = {.rows = none_fields, .count = ARRAY_SIZE(none_fields), .open = true},
    [WORKER_MONITOR] = WORKER_TABLE(monitor_fields),
    [WORKER_ECHO] = WORKER_TABLE(echo_fields),
    [WORKER_UDP] = WORKER_TABLE(udp_fields),
};
_Static_assert(ARRAY_SIZE(worker_tables) == WORKER_TYPE_N, "a table for each type");

static enum worker_type worker_type_of(const cJSON *json)
{
    enum worker_type type = WORKER_NONE;
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "type"));
    if (text)
        worker_type_parse(text, &type);
    return type;
}

int worker_config_decode(const cJSON *json, const struct fault_path *path, struct worker_config *ret_worker,
                         struct err_list *errors)
{
    struct worker_config worker = {.type = WORKER_NONE};
    enum worker_type type = worker_type_of(json);

    *ret_worker = worker;
    if (type == WORKER_MONITOR)
        worker.monitor.log_rate = MONITOR_LOG_RATE;
    if (type == WORKER_UDP)
        worker.udp.offload = udp_offload_all;
    int result = fields_decode(&worker_tables[type], json, path, &worker, errors);
    if (result == -ENOMEM)
        return result;
    if (worker_validate(&worker, path, errors) < 0)
        result = -EINVAL;
    if (result == 0)
        *ret_worker = worker;
    return result;
}

int worker_config_parse(const char *text, size_t length, struct worker_config *ret_worker, struct err_list *errors)
{
    CLEANUP(document_done) cJSON *json = NULL;
    struct worker_config worker;

    int result = document_read(text, length, &json, errors);
    if (result < 0)
        return result;
    result = worker_config_decode(json, NULL, &worker, errors);
    if (result == 0)
        *ret_worker = worker;
    return document_result(result, errors);
}

struct cJSON *worker_config_to_json(const struct worker_config *worker)
{
    if (worker->type == WORKER_NONE)
        return cJSON_CreateNull();
    return fields_encode(&worker_tables[worker->type], worker);
}

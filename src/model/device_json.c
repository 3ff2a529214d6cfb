/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"
#include "document.h"
#include "word.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- types of fields that only the device has -------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* "02:00:5e:10:00:01", in either case. */
static int mac_parse(const char *text, uint8_t ret_mac[static 6])
{
    uint8_t mac[6];

    if (strlen(text) != 17)
        return -EINVAL;
    for (size_t i = 0; i < sizeof(mac); i++) {
        int high = hex_digit(text[i * 3]), low = hex_digit(text[i * 3 + 1]);
        if (high < 0 || low < 0 || (i < 5 && text[i * 3 + 2] != ':'))
            return -EINVAL;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret_mac, mac, sizeof(mac));
    return 0;
}

static int mac_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                      struct err_list *errors)
{
    static const uint8_t zero[6];
    struct device *device = object;
    char shown[FAULT_TEXT_SIZE];
    uint8_t mac[6];

    (void)field;
    if (!cJSON_IsString(value))
        return field_wrong_type(value, "a string", path, errors);
    if (mac_parse(value->valuestring, mac) < 0) {
        return fault_add(errors, path, NULL, ERR_INVALID_ADDRESS,
                         "%s is not an Ethernet address, such as 02:00:5e:10:00:01",
                         fault_text(value->valuestring, shown));
    }
    if ((mac[0] & 1) != 0 || memcmp(mac, zero, sizeof(mac)) == 0) {
        return fault_add(errors, path, NULL, ERR_INVALID_ADDRESS,
                         "%s cannot be a device's own: it is a multicast address, or zero",
                         fault_text(value->valuestring, shown));
    }
    memcpy(device->mac, mac, sizeof(mac));
    device->has_mac = true;
    return 0;
}

static cJSON *mac_encode(const struct field *field, const void *object)
{
    const struct device *device = object;
    const uint8_t *mac = device->mac;
    char text[18];

    (void)field;
    if (!device->has_mac)
        return cJSON_CreateNull();
    snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    return cJSON_CreateString(text);
}

static const struct field_type field_mac = {mac_decode, mac_encode};

static int label_decode(const cJSON *value, const struct fault_path *path, struct label *ret_label,
                        struct err_list *errors)
{
    char shown[FAULT_TEXT_SIZE];
    int result = 0;

    if (!label_key_is_valid(value->string)) {
        result = fault_add(errors, path, NULL, ERR_INVALID_NAME,
                           "%s is not a label's key: 1 to 63 of A-Z a-z 0-9 _ . - that begin with a letter or digit",
                           fault_text(value->string, shown));
    }
    if (!cJSON_IsString(value))
        return field_wrong_type(value, "a string", path, errors);
    if (!label_value_is_valid(value->valuestring)) {
        return fault_add(errors, path, NULL, ERR_INVALID_VALUE,
                         "%s is not a label's value: at most 255 bytes without control characters",
                         fault_text(value->valuestring, shown));
    }
    if (result == 0) {
        text_copy(ret_label->key, sizeof(ret_label->key), value->string);
        text_copy(ret_label->value, sizeof(ret_label->value), value->valuestring);
    }
    return result;
}

static int label_compare(const void *a, const void *b)
{
    const struct label *left = a, *right = b;
    return strcmp(left->key, right->key);
}

/* Zeroed room for the elements of an array or the members of an object, at most `most`; NULL where there are none. */
static int items_make(const cJSON *value, size_t most, size_t size, const struct fault_path *path, void *ret_items,
                      size_t *ret_count, struct err_list *errors)
{
    size_t count = (size_t)cJSON_GetArraySize(value);
    void *items = NULL;

    if (count > most) {
        return fault_add(errors, path, NULL, ERR_LIMIT_EXCEEDED, "%zu entries: there can be %zu at most", count, most);
    }
    if (count > 0) {
        items = calloc(count, size);
        if (!items)
            return -ENOMEM;
    }
    memcpy(ret_items, &items, sizeof(items));
    *ret_count = count;
    return 0;
}

static int labels_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                         struct err_list *errors)
{
    struct device *device = object;
    const cJSON *item;
    size_t i = 0;

    (void)field;
    if (!cJSON_IsObject(value))
        return field_wrong_type(value, "an object", path, errors);
    int result = items_make(value, DEVICE_LABELS_MAX, sizeof(*device->labels), path, &device->labels,
                            &device->label_count, errors);
    if (result < 0)
        return result;
    cJSON_ArrayForEach (item, value) {
        struct fault_path entry = {.parent = path, .name = item->string};
        if (label_decode(item, &entry, &device->labels[i++], errors) < 0)
            result = -EINVAL;
    }
    if (device->label_count > 1)
        qsort(device->labels, device->label_count, sizeof(*device->labels), label_compare);
    return result;
}

static cJSON *labels_encode(const struct field *field, const void *object)
{
    const struct device *device = object;
    cJSON *json = cJSON_CreateObject();

    (void)field;
    for (size_t i = 0; json && i < device->label_count; i++) {
        /* With a copy of the key: the tree may outlive the device. */
        if (!cJSON_AddStringToObject(json, device->labels[i].key, device->labels[i].value)) {
            cJSON_Delete(json);
            return NULL;
        }
    }
    return json;
}

static const struct field_type field_labels = {labels_decode, labels_encode};

static int addresses_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                            struct err_list *errors)
{
    struct device *device = object;
    const cJSON *item;
    size_t i = 0;

    (void)field;
    if (!cJSON_IsArray(value))
        return field_wrong_type(value, "an array", path, errors);
    int result = items_make(value, DEVICE_ADDRESSES_MAX, sizeof(*device->addresses), path, &device->addresses,
                            &device->address_count, errors);
    if (result < 0)
        return result;
    cJSON_ArrayForEach (item, value) {
        struct fault_path entry = {.parent = path, .index = i};
        struct ip_prefix *address = &device->addresses[i++];
        if (ip_prefix_decode(item, &entry, address, errors) < 0 || address_validate(address, &entry, errors) < 0)
            result = -EINVAL;
    }
    return result;
}

static cJSON *addresses_encode(const struct field *field, const void *object)
{
    const struct device *device = object;
    cJSON *json = cJSON_CreateArray();

    (void)field;
    for (size_t i = 0; json && i < device->address_count; i++) {
        if (!field_add(json, NULL, ip_prefix_encode(&device->addresses[i]))) {
            cJSON_Delete(json);
            return NULL;
        }
    }
    return json;
}

static const struct field_type field_addresses = {addresses_decode, addresses_encode};

static int routes_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                         struct err_list *errors)
{
    struct device *device = object;
    const cJSON *item;
    size_t i = 0;

    (void)field;
    if (!cJSON_IsArray(value))
        return field_wrong_type(value, "an array", path, errors);
    int result = items_make(value, DEVICE_ROUTES_MAX, sizeof(*device->routes), path, &device->routes,
                            &device->route_count, errors);
    if (result < 0)
        return result;
    cJSON_ArrayForEach (item, value) {
        struct fault_path entry = {.parent = path, .index = i};
        int decoded = route_decode(item, NULL, &entry, &device->routes[i++], errors);
        if (decoded == -ENOMEM)
            return decoded;
        if (decoded < 0)
            result = decoded;
    }
    return result;
}

static cJSON *routes_encode(const struct field *field, const void *object)
{
    const struct device *device = object;
    cJSON *json = cJSON_CreateArray();

    (void)field;
    for (size_t i = 0; json && i < device->route_count; i++) {
        if (!field_add(json, NULL, route_to_json(&device->routes[i]))) {
            cJSON_Delete(json);
            return NULL;
        }
    }
    return json;
}

static const struct field_type field_routes = {routes_decode, routes_encode};

static int worker_decode(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                         struct err_list *errors)
{
    struct device *device = object;

    (void)field;
    return worker_config_decode(value, path, &device->worker, errors);
}

static cJSON *worker_encode(const struct field *field, const void *object)
{
    const struct device *device = object;

    (void)field;
    return worker_config_to_json(&device->worker);
}

static const struct field_type field_worker = {worker_decode, worker_encode};

/* ---- the table --------------------------------------------------------------------------------------------------- */

#define DEVICE_NAME_ALLOWED                                                                                            \
    "a device name: 1 to 15 of A-Z a-z 0-9 _ . - that begin with a letter or digit, not digits alone, "                \
    "and not all, default or lo"

static const struct field_text_rules device_name_rules = {DEVICE_NAME_SIZE, device_name_pattern_is_valid,
                                                          DEVICE_NAME_ALLOWED};
static const struct field_text_rules device_master_rules = {DEVICE_NAME_SIZE, device_name_is_valid,
                                                            DEVICE_NAME_ALLOWED};
static const struct field_text_rules device_netns_rules = {
    NETNS_NAME_SIZE, netns_name_is_valid,
    "a network namespace's name: 1 to 127 of A-Z a-z 0-9 _ . - that begin with a letter or digit"};
static const struct field_range device_mtu = {DEVICE_MTU_MIN, DEVICE_MTU_MAX_TUN}; /* tap: device_validate_between */
static const struct field_range device_txqueuelen = {1, DEVICE_TXQUEUELEN_MAX};
static const struct field_range device_queues = {1, DEVICE_QUEUES_MAX};
static const struct field_range device_owner = {0, OWNER_NONE - 1};

#define DEVICE(member) offsetof(struct device, member)
static const struct field device_fields[] = {
    {"name", &field_name, DEVICE(name), 0, &device_name_rules}, /* required, unless the path says it: device_parse */
    {"kind", &field_word, DEVICE(kind), FIELD_REQUIRED, &device_kind_words},
    {"up", &field_bool, DEVICE(up), 0, NULL},
    {"mtu", &field_u32, DEVICE(mtu), FIELD_NULLABLE, &device_mtu},
    {"txqueuelen", &field_u32, DEVICE(txqueuelen), 0, &device_txqueuelen},
    {"queues", &field_u32, DEVICE(queues), 0, &device_queues},
    {"mac", &field_mac, 0, FIELD_NULLABLE, NULL},
    {"owner", &field_u32, DEVICE(owner), FIELD_NULLABLE, &device_owner},
    {"group", &field_u32, DEVICE(group), FIELD_NULLABLE, &device_owner},
    {"netns", &field_name, DEVICE(netns), FIELD_NULLABLE, &device_netns_rules},
    {"master", &field_name, DEVICE(master), FIELD_NULLABLE, &device_master_rules},
    {"labels", &field_labels, 0, 0, NULL},
    {"addresses", &field_addresses, 0, 0, NULL},
    {"routes", &field_routes, 0, 0, NULL},
    {"worker", &field_worker, 0, FIELD_NULLABLE, NULL},
    {"drift", &field_word, DEVICE(drift), 0, &drift_policy_words},
};
static const struct field_table device_table = {
    .rows = device_fields,
    .count = ARRAY_SIZE(device_fields),
    .ignored = "status",
};
_Static_assert(ARRAY_SIZE(device_fields) <= 32, "a bit for each row in fields_decode");

/* kind DEVICE_KIND_N and mtu 0 stand for "not said yet". */
static struct device *device_new(void)
{
    struct device *device = calloc(1, sizeof(*device));
    if (device) {
        device->kind = DEVICE_KIND_N;
        device->up = true;
        device->txqueuelen = 1000;
        device->queues = 1;
        device->owner = OWNER_NONE;
        device->group = OWNER_NONE;
        device->drift = DRIFT_REPAIR;
    }
    return device;
}

/* The name stands in the document, in the path, or in both alike. A name that was faulty in the document is "" here. */
static int device_name_settle(const cJSON *json, const char *name, bool name_may_be_pattern,
                              const struct fault_path *path, struct device *device, struct err_list *errors)
{
    char shown[FAULT_TEXT_SIZE], known[FAULT_TEXT_SIZE];
    bool present = cJSON_GetObjectItemCaseSensitive(json, "name") != NULL;

    if (name && !device_name_is_valid(name)) {
        return fault_add(errors, path, "name", ERR_INVALID_NAME, "%s is not " DEVICE_NAME_ALLOWED,
                         fault_text(name, shown));
    }
    if (!present && !name)
        return fault_add(errors, path, "name", ERR_MISSING_FIELD, "\"name\" is required");
    if (!present)
        return text_copy(device->name, sizeof(device->name), name);
    if (device->name[0] == '\0')
        return -EINVAL;
    if (name && strcmp(device->name, name) != 0) {
        return fault_add(errors, path, "name", ERR_INCOMPATIBLE, "the body says %s, and the path %s",
                         fault_text(device->name, shown), fault_text(name, known));
    }
    if (!name_may_be_pattern && !device_name_is_valid(device->name)) {
        return fault_add(errors, path, "name", ERR_INVALID_NAME, "%s is not " DEVICE_NAME_ALLOWED,
                         fault_text(device->name, shown));
    }
    return 0;
}

static int device_fill(const cJSON *json, const char *name, bool name_may_be_pattern, const struct fault_path *path,
                       struct device *device, struct err_list *errors)
{
    int result = fields_decode(&device_table, json, path, device, errors);
    if (result == -ENOMEM || !cJSON_IsObject(json))
        return result;
    if (device_name_settle(json, name, name_may_be_pattern, path, device, errors) < 0)
        result = -EINVAL;
    if (device->mtu == 0)
        device->mtu = device_default_mtu(device->kind, &device->worker);
    int between_result = device_validate_between(device, path, errors);
    if (between_result == -ENOMEM)
        return between_result;
    return between_result < 0 ? between_result : result;
}

int device_decode(const cJSON *json, const char *name, bool name_may_be_pattern, const struct fault_path *path,
                  struct device **ret_device, struct err_list *errors)
{
    CLEANUP(device_done) struct device *device = device_new();

    int result = device ? device_fill(json, name, name_may_be_pattern, path, device, errors) : -ENOMEM;
    if (result < 0)
        return document_result(result, errors);
    device_routes_sort(device);
    *ret_device = device;
    device = NULL;
    return 0;
}

int device_parse(const char *text, size_t length, const char *name, bool name_may_be_pattern,
                 struct device **ret_device, struct err_list *errors)
{
    CLEANUP(document_done) cJSON *json = NULL;

    int result = document_read(text, length, &json, errors);
    return result < 0 ? result : device_decode(json, name, name_may_be_pattern, NULL, ret_device, errors);
}

struct cJSON *device_to_json(const struct device *device)
{
    return fields_encode(&device_table, device);
}

char *device_print(const struct device *device)
{
    CLEANUP(document_done) cJSON *json = device_to_json(device);
    return json ? cJSON_PrintUnformatted(json) : NULL;
}

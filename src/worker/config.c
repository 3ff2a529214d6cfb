/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/config.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_SIZE 256

static int config_head_number(const char *word, const char *key, uint32_t *value)
{
    size_t length = strlen(key);
    uint64_t number;
    int r;

    if (strncmp(word, key, length) != 0 || word[length] != '=')
        return 0;
    r = text_to_u64(word + length + 1, WORKER_FDS_MAX, &number);
    if (r == 0)
        *value = (uint32_t)number;
    return r;
}

int config_head_parse(const char *packet, size_t length, struct config_head *ret_head, struct err *ret_err)
{
    const char *end = memchr(packet, '\n', length);
    struct config_head head = {0};
    char line[HEAD_SIZE];
    char *rest, *word;
    size_t size = end ? (size_t)(end - packet) : HEAD_SIZE;

    if (size >= sizeof(line) || memchr(packet, '\0', size))
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "the message has no head");
    memcpy(line, packet, size);
    line[size] = '\0';
    head.body_offset = size + 1;
    word = strtok_r(line, " ", &rest);
    if (!word || text_copy(head.verb, sizeof(head.verb), word) < 0)
        return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "the message has no verb");
    while ((word = strtok_r(NULL, " ", &rest)))
        if (config_head_number(word, "queues", &head.queues) < 0 ||
            config_head_number(word, "sockets", &head.sockets) < 0)
            return err_set(ret_err, -EINVAL, ERR_INVALID_REQUEST, "", "\"%s\" is not a number in range", word);
    *ret_head = head;
    return 0;
}

static void json_done(cJSON **json)
{
    cJSON_Delete(*json);
}

static int config_device(const cJSON *object, struct config *config, struct err *ret_err)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(object, "name");
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(object, "kind");

    if (!cJSON_IsObject(object))
        return err_set(ret_err, -EINVAL, ERR_WRONG_TYPE, "/device", "must be an object");
    if (cJSON_GetArraySize(object) != (name != NULL) + (kind != NULL))
        return err_set(ret_err, -EINVAL, ERR_UNKNOWN_FIELD, "/device", "has a field that is not known");
    if (!cJSON_IsString(name) || !device_name_is_valid(name->valuestring) ||
        text_copy(config->device, sizeof(config->device), name->valuestring) < 0)
        return err_set(ret_err, -EINVAL, ERR_INVALID_NAME, "/device/name", "must be a device's name");
    if (!cJSON_IsString(kind) || device_kind_parse(kind->valuestring, &config->kind) < 0)
        return err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "/device/kind", "must be tun or tap");
    return 0;
}

static int config_worker(const cJSON *object, struct config *config, struct err *ret_err)
{
    CLEANUP(text_done) char *text = NULL;
    struct err_list *errors;
    int r;

    if (!cJSON_IsObject(object))
        return err_set(ret_err, -EINVAL, ERR_WRONG_TYPE, "/worker", "must be an object");
    text = cJSON_PrintUnformatted(object);
    errors = calloc(1, sizeof(*errors));
    r = text && errors ? worker_config_parse(text, strlen(text), &config->worker, errors) : err_no_memory(ret_err);
    if (r < 0 && errors && errors->count > 0 && ret_err) {
        *ret_err = errors->items[0];
        snprintf(ret_err->pointer, sizeof(ret_err->pointer), "/worker%.100s", errors->items[0].pointer);
    }
    free(errors);
    return r;
}

int config_parse(const char *text, size_t length, struct config *ret_config, struct err *ret_err)
{
    CLEANUP(json_done) cJSON *json = NULL;
    struct config config = {0};
    int r;

    r = json_read(text, length, &json, ret_err);
    if (r < 0)
        return r;
    if (!cJSON_IsObject(json) || cJSON_GetArraySize(json) != 2)
        return err_set(ret_err, -EINVAL, ERR_WRONG_TYPE, "", "must be an object of device and worker");
    r = config_device(cJSON_GetObjectItemCaseSensitive(json, "device"), &config, ret_err);
    if (r == 0)
        r = config_worker(cJSON_GetObjectItemCaseSensitive(json, "worker"), &config, ret_err);
    if (r == 0)
        *ret_config = config;
    return r;
}

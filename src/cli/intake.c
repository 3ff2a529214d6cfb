/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/intake.h"

#include "tunwright/model.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void intake_done(struct intake *intake)
{
    for (size_t i = 0; i < intake->count; i++) {
        cJSON_Delete(intake->items[i].document);
        free(intake->items[i].source);
    }
    free(intake->items);
    *intake = (struct intake){0};
}

bool intake_is_wanted(const struct intake_item *item)
{
    return cJSON_IsObject(item->document);
}

/* ---- documents ---------------------------------------------------------------------------------------------------- */

/* Takes the document. */
static int add_item(struct intake *intake, cJSON *document, const char *source, const char *pointer,
                    struct err *ret_err)
{
    const cJSON *name = cJSON_IsObject(document) ? cJSON_GetObjectItemCaseSensitive(document, "name") : document;
    const char *fault = NULL;

    if (!cJSON_IsObject(document) && !cJSON_IsString(document))
        fault = "this must be a device";
    else if (!cJSON_IsString(name) || !*name->valuestring)
        fault = "this device has no name";
    char *copy = fault ? NULL : strdup(source);
    if (!copy || array_grow(&intake->items, &intake->capacity, intake->count, sizeof *intake->items) < 0) {
        free(copy);
        cJSON_Delete(document);
        return fault ? err_set(ret_err, -EINVAL, ERR_VALIDATION_FAILED, "", "%.120s: %s: %s", source, pointer, fault)
                     : err_no_memory(ret_err);
    }
    cJSON_DeleteItemFromObjectCaseSensitive(document, "status");
    intake->items[intake->count++] = (struct intake_item){name->valuestring, document, copy};
    return 0;
}

/* Moves all entries of a list into the intake. */
static int add_list(struct intake *intake, cJSON *list, bool names, const char *source, const char *below,
                    struct err *ret_err)
{
    int error = 0;

    if (!cJSON_IsArray(list))
        return err_set(ret_err, -EINVAL, ERR_VALIDATION_FAILED, "", "%.120s: %s: this must be a list", source, below);
    for (unsigned i = 0; list->child && !error; i++) {
        char pointer[64];
        cJSON *entry = cJSON_DetachItemViaPointer(list, list->child);
        snprintf(pointer, sizeof pointer, "%s/%u", below, i);
        if (names != cJSON_IsString(entry)) {
            cJSON_Delete(entry);
            error = err_set(ret_err, -EINVAL, ERR_VALIDATION_FAILED, "", "%.120s: %s: this must be %s", source, pointer,
                            names ? "a device's name" : "a device");
        } else {
            error = add_item(intake, entry, source, pointer, ret_err);
        }
    }
    return error;
}

static bool has_only(const cJSON *object, const char *a, const char *b)
{
    const cJSON *member;

    cJSON_ArrayForEach (member, object) {
        if (strcmp(member->string, a) != 0 && strcmp(member->string, b) != 0)
            return false;
    }
    return true;
}

/* Takes the tree. */
static int add_tree(struct intake *intake, cJSON *tree, const char *source, struct err *ret_err)
{
    cJSON *devices = cJSON_GetObjectItemCaseSensitive(tree, "devices");
    cJSON *absent = cJSON_GetObjectItemCaseSensitive(tree, "absent");
    cJSON *items = cJSON_GetObjectItemCaseSensitive(tree, "items");
    int error = 0;

    if (!devices && !absent)
        intake->whole = false;
    if (cJSON_IsArray(tree)) {
        error = add_list(intake, tree, false, source, "", ret_err);
    } else if (devices || absent) {
        if (!has_only(tree, "devices", "absent"))
            error = err_set(ret_err, -EINVAL, ERR_UNKNOWN_FIELD, "",
                            "%.120s: beside devices and absent there is nothing", source);
        if (!error && devices)
            error = add_list(intake, devices, false, source, "/devices", ret_err);
        if (!error && absent)
            error = add_list(intake, absent, true, source, "/absent", ret_err);
    } else if (items && has_only(tree, "items", "next")) {
        error = add_list(intake, items, false, source, "/items", ret_err);
    } else if (cJSON_IsObject(tree)) {
        return add_item(intake, tree, source, "", ret_err);
    } else {
        error = err_set(ret_err, -EINVAL, ERR_WRONG_TYPE, "", "%.120s: this is no device and no configuration", source);
    }
    cJSON_Delete(tree);
    return error;
}

/* ---- files -------------------------------------------------------------------------------------------------------- */

static int add_file(struct intake *intake, FILE *file, const char *source, struct err *ret_err)
{
    struct buf text = {0};
    struct err fault = {0};
    char piece[65536];
    cJSON *tree = NULL;
    int error = 0;

    for (size_t length; !error && (length = fread(piece, 1, sizeof piece, file)) > 0;) {
        if (text.length + length > INTAKE_FILE_MAX)
            error = err_set(ret_err, -EINVAL, ERR_BODY_TOO_LARGE, "", "%.200s: it is longer than 32 MiB", source);
        else
            buf_add(&text, piece, length);
    }
    if (!error && ferror(file))
        error = err_set_kernel(ret_err, -errno, "read", "cannot read %.200s", source);
    if (!error && text.failed)
        error = err_no_memory(ret_err);
    if (!error && (error = json_read(text.length ? text.data : "", text.length, &tree, &fault)))
        error = err_set(ret_err, error, fault.code, "", "%.120s: %s", source, fault.message);
    buf_done(&text);
    return error ? error : add_tree(intake, tree, source, ret_err);
}

static int is_document(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > 5 && !strcmp(entry->d_name + length - 5, ".json");
}

static int add_directory(struct intake *intake, const char *path, struct err *ret_err)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, is_document, alphasort), error = 0;

    if (count < 0)
        return err_set_kernel(ret_err, -errno, "scandir", "cannot read %.200s", path);
    if (!count)
        error = err_set(ret_err, -EINVAL, ERR_INVALID_VALUE, "", "%.200s: there is no *.json in this directory", path);
    for (int i = 0; i < count; i++) {
        struct buf name = {0};
        buf_printf(&name, "%s/%s", path, entries[i]->d_name);
        if (!error && name.failed)
            error = err_no_memory(ret_err);
        else if (!error)
            error = intake_add(intake, name.data, ret_err);
        buf_done(&name);
        free(entries[i]);
    }
    free(entries);
    return error;
}

int intake_add(struct intake *intake, const char *path, struct err *ret_err)
{
    struct stat about;

    if (!strcmp(path, "-"))
        return add_file(intake, stdin, "standard input", ret_err);
    FILE *file = fopen(path, "re");
    if (!file || fstat(fileno(file), &about) < 0) {
        int error = err_set_kernel(ret_err, -errno, "open", "cannot read %.200s", path);
        if (file)
            fclose(file);
        return error;
    }
    int error = S_ISDIR(about.st_mode) ? add_directory(intake, path, ret_err) : add_file(intake, file, path, ret_err);
    fclose(file);
    return error;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct intake_item *const *)a)->name, (*(const struct intake_item *const *)b)->name);
}

int intake_check(const struct intake *intake, struct err *ret_err)
{
    const struct intake_item **sorted = reallocarray(NULL, intake->count + 1, sizeof *sorted);
    int error = 0;

    if (!sorted)
        return err_no_memory(ret_err);
    for (size_t i = 0; i < intake->count; i++)
        sorted[i] = &intake->items[i];
    qsort(sorted, intake->count, sizeof *sorted, by_name);
    for (size_t i = 1; i < intake->count && !error; i++)
        if (!strcmp(sorted[i - 1]->name, sorted[i]->name))
            error = err_set(ret_err, -EINVAL, ERR_DUPLICATE, "", "%.60s is there twice: in %.100s and in %.100s",
                            sorted[i]->name, sorted[i - 1]->source, sorted[i]->source);
    free(sorted);
    return error;
}

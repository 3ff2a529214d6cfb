/* SPDX-License-Identifier: Apache-2.0 */
/*
 * field: objects of the document as tables. One row for each field serves reading and writing: to add a field is to add
 * its member to the struct and its row to the table.
 */
#ifndef TUNWRIGHT_MODEL_FIELD_H
#define TUNWRIGHT_MODEL_FIELD_H

#include "fault.h"
#include "tunwright/model.h"

#include <cjson/cJSON.h>

struct field;

/* How a kind of value is read into an object and written from it. `object` is the struct that the table is about. */
struct field_type {
    /* Says what is wrong at `path`: 0, -EINVAL, or -ENOMEM (which nobody has put into the list yet). */
    int (*decode)(const struct field *field, const cJSON *value, const struct fault_path *path, void *object,
                  struct err_list *errors);
    /* Returns owned; NULL when memory ran out. */
    cJSON *(*encode)(const struct field *field, const void *object);
};

enum field_flag {
    FIELD_REQUIRED = 1 << 0,
    FIELD_NULLABLE = 1 << 1, /* null says the same as leaving it out */
};

struct field {
    const char *name;
    const struct field_type *type;
    size_t offset; /* of the value in the struct */
    unsigned flags;
    const void *rules; /* of the type: a field_range, field_text_rules, word_list */
};

/* At most 32 rows. What no row fills keeps the default that the caller put into the object. */
struct field_table {
    const struct field *rows;
    size_t count;
    const char *ignored; /* a member that is passed over, or NULL */
    bool open;           /* other members are not judged */
};

/* Reads `json`, which must be an object without another member than the table's. 0, -EINVAL, -ENOMEM. */
int fields_decode(const struct field_table *table, const cJSON *json, const struct fault_path *path, void *object,
                  struct err_list *errors);
/* Writes all fields, in the table's order. */
cJSON *fields_encode(const struct field_table *table, const void *object);

/* "must be <expected>, not <what it is>". */
int field_wrong_type(const cJSON *value, const char *expected, const struct fault_path *path, struct err_list *errors);
/* Adds `item`, which may be NULL, to an array or (name) an object; frees it where that fails. `name` stays borrowed. */
bool field_add(cJSON *to, const char *name, cJSON *item);

/* ---- types ------------------------------------------------------------------------------------------------------- */

/* uint32_t. A value out of the range in the struct (an OWNER_NONE) is written as null. */
struct field_range {
    uint32_t least, most;
};
extern const struct field_type field_u32;

/* char[size] in the struct; written as null where it is "". */
struct field_text_rules {
    size_t size;
    bool (*is_valid)(const char *text);
    const char *allowed; /* "… is not <allowed>" */
};
extern const struct field_type field_name; /* rules: field_text_rules; its fault is ERR_INVALID_NAME */

extern const struct field_type field_bool;
extern const struct field_type field_word;    /* an enum; rules: its word_list */
extern const struct field_type field_ip_addr; /* family 0 is written as null */
extern const struct field_type field_ip_prefix;
extern const struct field_type field_endpoint;

/* A struct inside the struct: an object of its own; rules: its field_table, whose offsets begin at the inner struct. */
extern const struct field_type field_object;

/* One prefix, as in a list of addresses. */
int ip_prefix_decode(const cJSON *value, const struct fault_path *path, struct ip_prefix *ret_prefix,
                     struct err_list *errors);
cJSON *ip_prefix_encode(const struct ip_prefix *prefix);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the store keeps beside devices: events, audit entries, tokens, a pending change, start-up files, a revision. */
#include "engine_fixture.h"
#include "store/database.h"

#include <errno.h>
#include <unistd.h>

struct place {
    char directory[64], path[96];
    struct store *store;
};

static struct store *opened(const char *path)
{
    struct store *store = NULL;
    struct err err = {0};

    if (store_open(path, &store, &err) < 0)
        fail_msg("%s", err.message);
    return store;
}

static int place_make(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    strcpy(place->directory, "/tmp/test_store_rows.XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    snprintf(place->path, sizeof(place->path), "%s/tunwright.db", place->directory);
    place->store = opened(place->path);
    *state = place;
    return 0;
}

static int place_remove(void **state)
{
    struct place *place = *state;
    char journal[128];

    store_close(place->store);
    snprintf(journal, sizeof(journal), "%s-journal", place->path);
    unlink(journal);
    unlink(place->path);
    assert_int_equal(rmdir(place->directory), 0);
    free(place);
    return 0;
}

static void reopen(struct place *place)
{
    store_close(place->store);
    place->store = opened(place->path);
}

/* The call puts its error into `fault`. */
static struct err fault;
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) < 0)                                                                                                \
            fail_msg("%s: %s", #call, fault.message);                                                                  \
    } while (0)

/* ---- revision ---------------------------------------------------------------------------------------------------- */

static void test_revision(void **state)
{
    struct place *place = *state;
    struct err err = {0};

    assert_int_equal(store_revision(place->store), 0);
    assert_true(store_revision_bump(place->store, &err) < 0); /* outside of a transaction */
    MUST(store_begin(place->store, &fault));
    MUST(store_revision_bump(place->store, &fault));
    MUST(store_revision_bump(place->store, &fault));
    assert_int_equal(store_revision(place->store), 0); /* as committed */
    MUST(store_commit(place->store, &fault));
    assert_int_equal(store_revision(place->store), 2);
    MUST(store_begin(place->store, &fault));
    MUST(store_revision_bump(place->store, &fault));
    store_rollback(place->store);
    assert_int_equal(store_revision(place->store), 2);
    MUST(store_begin(place->store, &fault));
    MUST(store_revision_bump(place->store, &fault));
    MUST(store_commit(place->store, &fault));
    reopen(place);
    assert_int_equal(store_revision(place->store), 3);
}

static void test_probe(void **state)
{
    struct place *place = *state;
    struct err err = {0};
    sqlite3 *tool;

    MUST(store_probe(place->store, &fault));
    assert_int_equal(sqlite3_open(place->path, &tool), SQLITE_OK);
    assert_int_equal(sqlite3_exec(tool, "BEGIN; SELECT * FROM device", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_probe(place->store, &err), -EBUSY);
    sqlite3_close(tool);
    MUST(store_probe(place->store, &fault));
    MUST(database_run(place->store->db, "PRAGMA query_only = ON", &fault, ""));
    assert_int_equal(store_probe(place->store, &err), -EROFS);
    MUST(database_run(place->store->db, "PRAGMA query_only = OFF", &fault, ""));
    MUST(store_begin(place->store, &fault)); /* nothing is left open */
    store_rollback(place->store);
    assert_int_equal(store_revision(place->store), 0);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void events_put(struct store *store, uint64_t first, uint64_t last, int64_t time_ns)
{
    MUST(store_begin(store, &fault));
    for (uint64_t s = first; s <= last; s++) {
        struct event event = {.sequence = s, .time_ns = time_ns, .type = (enum event_type)(s % EVENT_TYPE_N)};

        snprintf(event.device, sizeof(event.device), "tun%d", (int)(s % 7));
        snprintf(event.detail, sizeof(event.detail), "detail %d \xc3\xa4", (int)s);
        MUST(store_event_put(store, &event, &fault));
    }
    MUST(store_commit(store, &fault));
}

static void events_trim(struct store *store, uint64_t through, int64_t before_ns)
{
    MUST(store_begin(store, &fault));
    MUST(store_events_trim(store, through, before_ns, &fault));
    MUST(store_commit(store, &fault));
}

/* "first-last" of those that are kept, all between them being there. */
static void events_are(struct store *store, size_t most, uint64_t first, uint64_t last)
{
    struct event *events = NULL;
    size_t count = 0;
    uint64_t newest = 77;

    MUST(store_events_load(store, most, &events, &count, &fault));
    assert_int_equal(count, first ? last - first + 1 : 0);
    for (size_t i = 0; i < count; i++) {
        char detail[64];

        snprintf(detail, sizeof(detail), "detail %d \xc3\xa4", (int)(first + i));
        assert_int_equal(events[i].sequence, first + i);
        assert_int_equal(events[i].type, (first + i) % EVENT_TYPE_N);
        assert_string_equal(events[i].detail, detail);
        assert_int_equal(events[i].device[3] - '0', (first + i) % 7);
    }
    free(events);
    MUST(store_event_newest(store, &newest, &fault));
    assert_int_equal(newest, last);
}

static void test_events(void **state)
{
    struct place *place = *state;
    struct event twin = {.sequence = 5, .time_ns = 1, .type = EVENT_DEVICE_STATE};
    struct err err = {0};

    events_are(place->store, 100, 0, 0);
    events_trim(place->store, 100, INT64_MAX);
    assert_true(store_event_put(place->store, &twin, &err) < 0);
    events_put(place->store, 1, 10, 1000);
    events_put(place->store, 11, 20, 2000);
    events_put(place->store, 21, 30, 3000);
    reopen(place);
    events_are(place->store, 100, 1, 30);
    events_are(place->store, 7, 24, 30);

    assert_int_equal(store_begin(place->store, &err), 0);
    assert_int_equal(store_event_put(place->store, &twin, &err), -EINVAL); /* a number is given once */
    store_rollback(place->store);

    events_trim(place->store, 0, 1000);
    events_are(place->store, 100, 1, 30);
    events_trim(place->store, 4, INT64_MIN);
    events_are(place->store, 100, 5, 30);
    events_trim(place->store, 0, 2000);
    events_are(place->store, 100, 11, 30);
    events_put(place->store, 31, 31, 500); /* a clock that was set back: what is behind a younger one stays */
    events_trim(place->store, 13, 2500);
    events_are(place->store, 100, 21, 31);
    events_trim(place->store, UINT64_MAX, INT64_MAX);
    events_are(place->store, 100, 31, 31); /* the newest holds the number */
}

/* An event that a newer program wrote: left out, but its number is taken. */
static void test_unknown_event(void **state)
{
    struct place *place = *state;
    struct event *events = NULL;
    uint64_t newest = 0;
    size_t count = 0;

    events_put(place->store, 1, 2, 1000);
    MUST(database_run(place->store->db, "INSERT INTO event VALUES (3, 1, 'device_painted', '', 'red')", &fault, ""));
    MUST(store_events_load(place->store, 100, &events, &count, &fault));
    assert_int_equal(count, 2);
    free(events);
    MUST(store_event_newest(place->store, &newest, &fault));
    assert_int_equal(newest, 3);
}

/* ---- audit ------------------------------------------------------------------------------------------------------- */

static const struct actor somebody = {"token:ci", "[2001:db8::1]:40112", "PUT /v1/devices/tun0"};

static void audit_put(struct store *store, unsigned count, int64_t time_ns, const char *changes)
{
    MUST(store_begin(store, &fault));
    for (unsigned i = 0; i < count; i++)
        MUST(store_audit_put(store, time_ns, &somebody, changes, &fault));
    MUST(store_commit(store, &fault));
}

static void audit_trim(struct store *store, size_t kept, uint64_t bytes, int64_t before_ns)
{
    MUST(store_begin(store, &fault));
    MUST(store_audit_trim(store, kept, bytes, before_ns, &fault));
    MUST(store_commit(store, &fault));
}

static void audit_is(struct store *store, uint64_t after, size_t most, uint64_t first, uint64_t last)
{
    struct audit_entry *entries = NULL;
    size_t count = 0;

    MUST(store_audit_list(store, after, most, &entries, &count, &fault));
    assert_int_equal(count, first ? last - first + 1 : 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(entries[i].sequence, first + i);
        assert_string_equal(entries[i].actor.name, somebody.name);
        assert_string_equal(entries[i].actor.address, somebody.address);
        assert_string_equal(entries[i].actor.operation, somebody.operation);
        assert_true(entries[i].changes[0] == '[');
        audit_entry_done(&entries[i]);
    }
    free(entries);
}

static void test_audit(void **state)
{
    struct place *place = *state;
    struct err err = {0};

    assert_true(store_audit_put(place->store, 1, &somebody, "[]", &err) < 0); /* outside of a transaction */
    audit_is(place->store, 0, 10, 0, 0);
    audit_put(place->store, 5, 1000, "[{\"device\":\"tun0\"}]");
    audit_put(place->store, 5, 2000, "[]");
    reopen(place);
    audit_is(place->store, 0, 100, 1, 10);
    audit_is(place->store, 0, 3, 1, 3);
    audit_is(place->store, 7, 100, 8, 10);
    audit_is(place->store, 10, 100, 0, 0);
    audit_is(place->store, UINT64_MAX, 100, 0, 0);
    MUST(store_begin(place->store, &fault));
    assert_int_equal(store_audit_put(place->store, 1, &somebody, "{}", &err), -EINVAL); /* an array, always */
    store_rollback(place->store);

    audit_trim(place->store, 100, UINT64_MAX, 1000);
    audit_is(place->store, 0, 100, 1, 10);
    audit_trim(place->store, 8, UINT64_MAX, INT64_MIN);
    audit_is(place->store, 0, 100, 3, 10);
    audit_trim(place->store, 8, UINT64_MAX, 2000);
    audit_is(place->store, 0, 100, 6, 10);
    audit_trim(place->store, 100, 6, INT64_MIN); /* three times "[]" */
    audit_is(place->store, 0, 100, 8, 10);
    audit_trim(place->store, 0, 0, INT64_MAX);
    audit_is(place->store, 0, 100, 10, 10);
    audit_put(place->store, 1, 3000, "[]");
    audit_is(place->store, 0, 100, 10, 11); /* the numbers go on */
}

static void test_large_audit(void **state)
{
    struct place *place = *state;
    size_t length = 6U << 20;
    char *changes = malloc(length + 1);

    memset(changes, ' ', length);
    changes[0] = '[';
    changes[length - 1] = ']';
    changes[length] = '\0';
    audit_put(place->store, 5, 1000, changes);
    audit_is(place->store, 0, 100, 1, 3); /* a page of them must fit into memory */
    audit_is(place->store, 3, 100, 4, 5);
    audit_trim(place->store, 100, 2 * length, INT64_MIN);
    audit_is(place->store, 0, 100, 4, 5);
    free(changes);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static struct token token_of(const char *name, enum token_kind kind, enum role role, const char *selector)
{
    struct token token = {.kind = kind, .role = role, .created_ns = 7, .expires_ns = 9};

    strcpy(token.name, name);
    strcpy(token.selector, selector);
    memset(token.digest, kind == TOKEN_BEARER ? 0xa5 : 0, sizeof(token.digest));
    return token;
}

static void test_tokens(void **state)
{
    struct place *place = *state;
    struct token b = token_of("b", TOKEN_BEARER, ROLE_ADMIN, ""), *found = NULL;
    struct token a = token_of("a", TOKEN_CERTIFICATE, ROLE_READER, "site=berlin,!old");
    struct err err = {0};
    size_t count = 0;
    bool made = true;

    assert_true(store_token_add(place->store, &a, &err) < 0); /* outside of a transaction */
    MUST(store_token_made(place->store, &made, &fault));
    assert_false(made);
    MUST(store_token_provision(place->store, &b, "[]", &fault));
    MUST(store_token_made(place->store, &made, &fault));
    assert_true(made);
    MUST(store_begin(place->store, &fault));
    MUST(store_token_add(place->store, &a, &fault));
    assert_int_equal(store_token_add(place->store, &b, &err), -EEXIST);
    assert_int_equal(err.code, ERR_ALREADY_EXISTS);
    assert_string_equal(err.pointer, "/name");
    MUST(store_commit(place->store, &fault)); /* the other one is in */
    reopen(place);
    MUST(store_tokens_load(place->store, &found, &count, &fault));
    assert_int_equal(count, 2);
    assert_memory_equal(&found[0], &a, sizeof(a));
    assert_memory_equal(&found[1], &b, sizeof(b));
    free(found);

    MUST(store_begin(place->store, &fault));
    MUST(store_token_delete(place->store, "b", &fault));
    assert_int_equal(store_token_delete(place->store, "b", &err), -ENOENT);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    MUST(store_commit(place->store, &fault));
    MUST(store_token_made(place->store, &made, &fault));
    assert_true(made); /* for ever */
    assert_int_equal(store_token_provision(place->store, &a, "[]", &err), -EEXIST);
    MUST(store_begin(place->store, &fault)); /* nothing is left open */
    store_rollback(place->store);

    MUST(database_run(place->store->db, "UPDATE token SET selector = 'a,,b'", &fault, ""));
    assert_int_equal(store_tokens_load(place->store, &found, &count, &err), -EUCLEAN);
    assert_true(database_run(place->store->db, "UPDATE token SET role = 'king'", &err, "") < 0);
    assert_true(database_run(place->store->db, "UPDATE token SET digest = x'00'", &err, "") < 0);
}

/* ---- a pending change -------------------------------------------------------------------------------------------- */

static void test_pending(void **state)
{
    struct place *place = *state;
    struct pending_device devices[2] = {
        {.name = "tun1", .before = {.uuid = uuid_of(1)}}, /* there was none */
        {.name = "tun0",
         .before = {.uuid = uuid_of(2),
                    .generation = 7,
                    .created_ns = 8,
                    .changed_ns = 9,
                    .device = device_of("{'name':'tun0','kind':'tun','mtu':1400}")}},
    };
    struct stored_pending pending = {
        .deadline_ns = 1700000000123456789, .confirm_s = 600, .actor = somebody, .devices = devices, .device_count = 2};
    struct stored_pending found = {0};
    struct err err = {0};
    bool there = true;

    MUST(store_pending_load(place->store, &there, &found, &fault));
    assert_false(there);
    assert_true(store_pending_put(place->store, &pending, &err) < 0); /* outside of a transaction */
    MUST(store_begin(place->store, &fault));
    MUST(store_pending_put(place->store, &pending, &fault));
    MUST(store_pending_put(place->store, &pending, &fault)); /* in the place of the first */
    MUST(store_commit(place->store, &fault));
    reopen(place);
    MUST(store_pending_load(place->store, &there, &found, &fault));
    assert_true(there);
    assert_int_equal(found.deadline_ns, pending.deadline_ns);
    assert_int_equal(found.confirm_s, 600);
    assert_string_equal(found.actor.name, somebody.name);
    assert_string_equal(found.actor.operation, somebody.operation);
    assert_string_equal(found.actor.address, "");
    assert_int_equal(found.device_count, 2);
    assert_string_equal(found.devices[0].name, "tun0");
    assert_true(device_equal(found.devices[0].before.device, devices[1].before.device));
    assert_true(uuid_equal(&found.devices[0].before.uuid, &devices[1].before.uuid));
    assert_int_equal(found.devices[0].before.generation, 7);
    assert_int_equal(found.devices[0].before.created_ns, 8);
    assert_int_equal(found.devices[0].before.changed_ns, 9);
    assert_string_equal(found.devices[1].name, "tun1");
    assert_null(found.devices[1].before.device);
    stored_pending_done(&found);
    assert_null(found.devices);

    MUST(store_begin(place->store, &fault));
    MUST(store_pending_delete(place->store, &fault));
    store_rollback(place->store);
    MUST(store_pending_load(place->store, &there, &found, &fault));
    assert_true(there);
    stored_pending_done(&found);
    MUST(store_begin(place->store, &fault));
    MUST(store_pending_delete(place->store, &fault));
    MUST(store_pending_delete(place->store, &fault)); /* what is not there */
    MUST(store_commit(place->store, &fault));
    MUST(store_pending_load(place->store, &there, &found, &fault));
    assert_false(there);

    pending.confirm_s = 86401;
    MUST(store_begin(place->store, &fault));
    assert_int_equal(store_pending_put(place->store, &pending, &err), -EINVAL);
    store_rollback(place->store);
    device_free(devices[1].before.device);
}

/* ---- start-up files ---------------------------------------------------------------------------------------------- */

static void test_files(void **state)
{
    struct place *place = *state;
    uint8_t one[32] = {1}, two[32] = {2};
    struct err err = {0};
    bool applied = true;

    MUST(store_file_is_applied(place->store, "10-site.json", one, &applied, &fault));
    assert_false(applied);
    assert_true(store_file_put(place->store, "10-site.json", one, 1, &err) < 0); /* outside of a transaction */
    MUST(store_begin(place->store, &fault));
    MUST(store_file_put(place->store, "10-site.json", one, 1, &fault));
    MUST(store_commit(place->store, &fault));
    reopen(place);
    MUST(store_file_is_applied(place->store, "10-site.json", one, &applied, &fault));
    assert_true(applied);
    MUST(store_file_is_applied(place->store, "10-site.json", two, &applied, &fault));
    assert_false(applied);
    MUST(store_file_is_applied(place->store, "10-SITE.json", one, &applied, &fault));
    assert_false(applied);
    MUST(store_begin(place->store, &fault));
    MUST(store_file_put(place->store, "10-site.json", two, 2, &fault));
    MUST(store_commit(place->store, &fault));
    MUST(store_file_is_applied(place->store, "10-site.json", two, &applied, &fault));
    assert_true(applied);
}

/* ---- a full disk ------------------------------------------------------------------------------------------------- */

static void test_full(void **state)
{
    struct place *place = *state;
    size_t length = 100000;
    char *changes = malloc(length + 1), limit[64];
    struct err err = {0};
    int64_t pages;

    memset(changes, ' ', length);
    changes[0] = '[';
    changes[length - 1] = ']';
    changes[length] = '\0';
    audit_put(place->store, 1, 1, "[]");
    MUST(database_read_int(place->store->db, "PRAGMA page_count", &pages, &fault, ""));
    snprintf(limit, sizeof(limit), "PRAGMA max_page_count = %d", (int)pages + 1);
    MUST(database_run(place->store->db, limit, &fault, ""));
    MUST(store_begin(place->store, &fault));
    MUST(store_revision_bump(place->store, &fault));
    assert_int_equal(store_audit_put(place->store, 2, &somebody, changes, &err), -ENOSPC);
    assert_int_equal(err.code, ERR_STORE_FULL);
    /* whether SQLite has ended the transaction or not: nothing of it may be committed */
    if (store_commit(place->store, &err) == 0)
        assert_int_equal(store_revision(place->store), 1);
    else
        assert_int_equal(store_revision(place->store), 0);
    audit_is(place->store, 0, 10, 1, 1);
    MUST(database_run(place->store->db, "PRAGMA max_page_count = 100000", &fault, ""));
    audit_put(place->store, 1, 2, changes);
    audit_is(place->store, 0, 10, 1, 2);
    free(changes);
}

#define TEST_IN_PLACE(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_PLACE(test_revision),      TEST_IN_PLACE(test_probe),   TEST_IN_PLACE(test_events),
        TEST_IN_PLACE(test_unknown_event), TEST_IN_PLACE(test_audit),   TEST_IN_PLACE(test_large_audit),
        TEST_IN_PLACE(test_tokens),        TEST_IN_PLACE(test_pending), TEST_IN_PLACE(test_files),
        TEST_IN_PLACE(test_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

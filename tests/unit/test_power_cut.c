/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The power goes at every point of everything that the store does: what is found afterwards is whole, has all that was
 * acknowledged, and nothing of a transaction that was not committed.
 *
 * A script of store calls runs once, on a disk that writes everything down. Then the disk is made what it may look like
 * after each operation, and opened. TUNWRIGHT_POWER_CUTS=N draws N times as often what was lost.
 */
#include "engine_fixture.h"
#include "store/database.h"

#include "power_cut_vfs.h"

#define STATES 512

/* What the database held after a commit, and between which operations that came to be. */
struct state {
    size_t begun, acknowledged; /* the log's length before the commit, and when it was acknowledged */
    char *text;                 /* owned */
};

struct bench {
    char directory[64], path[96], backup[128], made[136];
    struct disk_image before;
    struct disk_log log;
    struct state states[STATES];
    size_t state_count;
    struct store *store;
    size_t points, cuts, cuts_in_recovery;
};

/* The call puts its error into `fault`. */
static struct err fault;
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) < 0)                                                                                                \
            fail_msg(#call ": %s", fault.message);                                                                     \
    } while (0)

static int bench_make(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));

    strcpy(bench->directory, "/tmp/test_power_cut.XXXXXX");
    assert_non_null(mkdtemp(bench->directory));
    snprintf(bench->path, sizeof(bench->path), "%s/x.db", bench->directory);
    snprintf(bench->backup, sizeof(bench->backup), "%s.before-%u", bench->path, migration_count);
    snprintf(bench->made, sizeof(bench->made), "%s.new", bench->backup);
    *state = bench;
    return 0;
}

static int bench_remove(void **state)
{
    struct bench *bench = *state;

    disk.log = NULL;
    store_close(bench->store);
    for (size_t i = 0; i < bench->state_count; i++)
        free(bench->states[i].text);
    disk_log_done(&bench->log);
    image_done(&bench->before);
    image_done(&disk.now);
    (void)unlink(bench->path);
    (void)unlink(bench->backup);
    (void)unlink(bench->made);
    assert_int_equal(rmdir(bench->directory), 0);
    free(bench);
    return 0;
}

/* ---- what a database holds --------------------------------------------------------------------------------------- */

static void table_print(sqlite3 *db, const char *table, struct buf *out)
{
    sqlite3_stmt *rows;
    char sql[128];

    snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY 1", table);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &rows, NULL), SQLITE_OK);
    while (sqlite3_step(rows) == SQLITE_ROW) {
        buf_printf(out, "%s", table);
        for (int i = 0; i < sqlite3_column_count(rows); i++) {
            const uint8_t *data = sqlite3_column_blob(rows, i);

            buf_add_text(out, "|");
            if (sqlite3_column_type(rows, i) != SQLITE_BLOB)
                buf_add_text(out, data ? (const char *)sqlite3_column_text(rows, i) : "null");
            else
                for (int j = 0; j < sqlite3_column_bytes(rows, i); j++)
                    buf_printf(out, "%02x", data[j]);
        }
        buf_add_text(out, "\n");
    }
    assert_int_equal(sqlite3_finalize(rows), SQLITE_OK);
}

/* All rows of all tables. Owned. */
static char *database_text(sqlite3 *db)
{
    struct buf out = {0};
    sqlite3_stmt *tables;

    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name", -1, &tables, NULL),
        SQLITE_OK);
    while (sqlite3_step(tables) == SQLITE_ROW)
        table_print(db, (const char *)sqlite3_column_text(tables, 0), &out);
    assert_int_equal(sqlite3_finalize(tables), SQLITE_OK);
    buf_add_text(&out, "");
    return buf_take(&out);
}

/* Without what a new database makes up. */
static bool texts_equal(const char *a, const char *b, bool is_new)
{
    size_t length = strlen("installation|1|");

    if (!is_new)
        return strcmp(a, b) == 0;
    for (const char *end = strstr(a, "installation|1|"), *other = strstr(b, "installation|1|"); end && other;) {
        const char *a_rest = strchr(strchr(end + length, '|') + 1, '|'),
                   *b_rest = strchr(strchr(other + length, '|') + 1, '|');

        return end - a == other - b && memcmp(a, b, (size_t)(end - a)) == 0 && strcmp(a_rest, b_rest) == 0;
    }
    return false;
}

static void database_whole(sqlite3 *db)
{
    sqlite3_stmt *rows;

    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &rows, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(rows), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(rows, 0), "ok");
    sqlite3_finalize(rows);
}

/* ---- the script -------------------------------------------------------------------------------------------------- */

static void state_add(struct bench *bench, size_t begun)
{
    assert_true(bench->state_count < STATES);
    bench->states[bench->state_count++] =
        (struct state){.begun = begun, .acknowledged = bench->log.count, .text = database_text(bench->store->db)};
}

/* What is recorded from here on begins with what is there. */
static void script_begin(struct bench *bench)
{
    image_copy(&bench->before, &disk.now);
    disk.log = &bench->log;
}

static void script_open(struct bench *bench)
{
    size_t begun = bench->log.count;

    MUST(store_open(bench->path, &bench->store, &fault));
    state_add(bench, begun);
}

static void begin(struct bench *bench)
{
    MUST(store_begin(bench->store, &fault));
}

static void commit(struct bench *bench)
{
    size_t begun = bench->log.count;

    MUST(store_commit(bench->store, &fault));
    state_add(bench, begun);
}

static void device_put(struct bench *bench, unsigned number, uint64_t generation, unsigned routes)
{
    char name[64];
    struct stored_device stored = {.uuid = uuid_of(number), .generation = generation, .created_ns = 7, .changed_ns = 8};
    bool changed;

    snprintf(name, sizeof(name), "{'name':'tun%u','kind':'tun','mtu':%u}", number, 1300 + (unsigned)generation);
    stored.device = device_of(name);
    for (unsigned i = 0; i < routes; i++) {
        struct route route = {
            .to = {.addr = {.family = AF_INET, .bytes = {10, (uint8_t)number, (uint8_t)i, 0}}, .length = 24},
            .table = 254};

        assert_int_equal(device_route_add(stored.device, &route, &changed), 0);
    }
    MUST(store_device_put(bench->store, &stored, &fault));
    stored_device_done(&stored);
}

static void attempt_put(struct bench *bench, unsigned number)
{
    CLEANUP(device_done) struct device *device = device_of("{'name':'tun7','kind':'tun'}");
    struct uuid uuid = uuid_of(number);

    MUST(store_attempt_put(bench->store, &uuid, device, number % 2 == 0, &fault));
}

static void attempt_delete(struct bench *bench, unsigned number)
{
    struct uuid uuid = uuid_of(number);

    MUST(store_attempt_delete(bench->store, &uuid, &fault));
}

static void events_put(struct bench *bench, uint64_t first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct event event = {.sequence = first + i, .time_ns = (int64_t)(first + i), .type = EVENT_DEVICE_STATE};

        snprintf(event.device, sizeof(event.device), "tun%u", i);
        memset(event.detail, 'd', 200);
        MUST(store_event_put(bench->store, &event, &fault));
    }
}

static void audit_put(struct bench *bench, size_t length)
{
    struct actor actor = {.name = "token:ci", .address = "unix", .operation = "PUT /v1/config"};
    char *changes = malloc(length + 3);

    memset(changes, ' ', length + 2);
    changes[0] = '[';
    changes[length + 1] = ']';
    changes[length + 2] = '\0';
    MUST(store_audit_put(bench->store, 1000, &actor, changes, &fault));
    free(changes);
}

static struct token token_of(unsigned number)
{
    struct token token = {.role = ROLE_READER, .created_ns = 5, .digest = {(uint8_t)number}};

    snprintf(token.name, sizeof(token.name), "ci%u", number);
    return token;
}

static void pending_put(struct bench *bench, unsigned count)
{
    struct stored_pending pending = {.deadline_ns = 77, .confirm_s = 30, .actor = {.name = "uid:0", .operation = "x"}};

    pending.devices = calloc(count, sizeof(*pending.devices));
    for (unsigned i = 0; i < count; i++) {
        struct pending_device *device = &pending.devices[pending.device_count++];

        snprintf(device->name, sizeof(device->name), "tun%u", i);
        device->before = (struct stored_device){.uuid = uuid_of(i), .generation = 1};
        if (i % 2 == 0)
            device->before.device = device_of("{'name':'tun0','kind':'tun'}");
    }
    MUST(store_pending_put(bench->store, &pending, &fault));
    stored_pending_done(&pending);
}

/* Devices and what goes with them: a change as the engine makes it, with its announcement. */
static void script_devices(struct bench *bench)
{
    for (unsigned round = 1; round <= 4; round++) {
        begin(bench);
        attempt_put(bench, 1);
        attempt_put(bench, 2);
        commit(bench);
        begin(bench);
        for (unsigned i = 0; i < 6; i++)
            device_put(bench, i, round, i * 8);
        attempt_delete(bench, 1);
        attempt_delete(bench, 2);
        MUST(store_revision_bump(bench->store, &fault));
        audit_put(bench, 300);
        events_put(bench, round * 10, 3);
        if (round == 3) {
            store_rollback(bench->store);
            continue;
        }
        commit(bench);
    }
    begin(bench);
    for (unsigned i = 0; i < 6; i += 2) {
        char name[16];

        snprintf(name, sizeof(name), "tun%u", i);
        MUST(store_device_delete(bench->store, name, &fault));
    }
    MUST(store_revision_bump(bench->store, &fault));
    commit(bench);
}

/* More than the cache holds: pages reach the file, and the journal is synced, before the commit. */
static void script_spill(struct bench *bench)
{
    MUST(database_run(bench->store->db, "PRAGMA cache_size = 8", &fault, ""));
    begin(bench);
    for (unsigned i = 0; i < 40; i++)
        device_put(bench, 100 + i, 1, 60);
    commit(bench);
    begin(bench);
    for (unsigned i = 0; i < 40; i += 3)
        device_put(bench, 100 + i, 2, 90);
    store_rollback(bench->store);
    begin(bench);
    for (unsigned i = 0; i < 40; i++) {
        char name[16];

        snprintf(name, sizeof(name), "tun%u", 100 + i);
        if (i % 4 == 0)
            device_put(bench, 100 + i, 2, 5);
        else
            MUST(store_device_delete(bench->store, name, &fault));
    }
    commit(bench);
    MUST(database_run(bench->store->db, "PRAGMA cache_size = -2000", &fault, ""));
}

static void script_events_and_audit(struct bench *bench)
{
    for (unsigned i = 0; i < 8; i++) {
        begin(bench);
        events_put(bench, 1000 + i * 20, 20);
        if (i % 2 == 1)
            MUST(store_events_trim(bench->store, 1000 + i * 20 - 30, i == 5 ? 1060 : INT64_MIN, &fault));
        commit(bench);
    }
    for (unsigned i = 0; i < 8; i++) {
        begin(bench);
        audit_put(bench, i == 4 ? 30000 : 700);
        if (i % 3 == 2)
            MUST(store_audit_trim(bench->store, 5, i == 5 ? 32000 : 1U << 20, 0, &fault));
        commit(bench);
    }
}

static void script_tokens(struct bench *bench)
{
    size_t begun = bench->log.count;
    struct token token = token_of(0);

    MUST(store_token_provision(bench->store, &token, "[]", &fault));
    state_add(bench, begun);
    for (unsigned i = 1; i < 4; i++) {
        token = token_of(i);
        begin(bench);
        MUST(store_token_add(bench->store, &token, &fault));
        audit_put(bench, 40);
        events_put(bench, 2000 + i, 1);
        commit(bench);
    }
    begin(bench);
    MUST(store_token_delete(bench->store, "ci2", &fault));
    commit(bench);
}

static void script_pending_and_files(struct bench *bench)
{
    uint8_t digest[32] = {1};
    size_t begun;

    for (unsigned i = 1; i < 4; i++) {
        begin(bench);
        device_put(bench, i, 9 + i, 3);
        pending_put(bench, i * 3);
        digest[0] = (uint8_t)i;
        MUST(store_file_put(bench->store, i == 3 ? "20.json" : "10.json", digest, i, &fault));
        commit(bench);
    }
    begin(bench);
    MUST(store_pending_delete(bench->store, &fault));
    MUST(store_revision_bump(bench->store, &fault));
    commit(bench);
    begun = bench->log.count;
    MUST(store_probe(bench->store, &fault));
    state_add(bench, begun);
}

/* ---- the cuts ---------------------------------------------------------------------------------------------------- */

/* The real files beside the disk, as names for open(2): what a cut makes of the names is not asked of them. */
static void recover(struct bench *bench)
{
    if (image_find(&disk.now, bench->made) < 0)
        (void)syscall(SYS_unlinkat, AT_FDCWD, bench->made, 0);
    MUST(store_open(bench->path, &bench->store, &fault));
}

static void check_found(struct bench *bench, sqlite3 *db, size_t point, const char *how)
{
    CLEANUP(text_done) char *text = NULL;
    const struct state *old = NULL, *new = NULL;

    database_whole(db);
    text = database_text(db);
    for (size_t i = 0; i < bench->state_count && bench->states[i].begun < point; i++) {
        if (bench->states[i].acknowledged <= point)
            old = &bench->states[i];
        else
            new = &bench->states[i];
    }
    if (!old)
        old = &bench->states[0]; /* opened again, it is a new one */
    if (texts_equal(text, old->text, point < bench->states[0].acknowledged) ||
        (new &&texts_equal(text, new->text, false)))
        return;
    fail_msg(
        "cut at operation %zu of %zu (%s): neither what was committed nor what was about to be\n%s\n--- committed\n%s"
        "\n--- about to be\n%s",
        point, bench->log.count, how, text, old->text, new ? new->text : "nothing");
}

/* Where the new schema is, there is the old database, too. */
static void check_backup(struct bench *bench, const char *before)
{
    CLEANUP(text_done) char *text = NULL;
    int64_t version = 0;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(bench->path, &db), SQLITE_OK);
    MUST(database_read_int(db, "PRAGMA user_version", &version, &fault, "read"));
    sqlite3_close(db);
    if (version == 1 && image_find(&disk.now, bench->backup) < 0)
        return;
    assert_true(image_find(&disk.now, bench->backup) >= 0);
    assert_int_equal(sqlite3_open_v2(bench->backup, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    MUST(database_read_int(db, "PRAGMA user_version", &version, &fault, "read"));
    assert_int_equal(version, 1);
    database_whole(db);
    text = database_text(db);
    assert_string_equal(text, before);
    sqlite3_close(db);
}

/* SQLite's part of opening, which mends what was cut, is the same for every program: the rest of ours takes most of the
 * time. It is left out where the schema is there already, but for one in so many. */
static void found_and_closed(struct bench *bench, size_t point, const char *how)
{
    if (point <= bench->states[0].acknowledged || bench->cuts % 16 == 0) {
        recover(bench);
        check_found(bench, bench->store->db, point, how);
        store_close(bench->store);
        bench->store = NULL;
    } else {
        sqlite3 *db;

        assert_int_equal(sqlite3_open(bench->path, &db), SQLITE_OK);
        check_found(bench, db, point, how);
        sqlite3_close(db);
    }
    bench->cuts++;
}

/* The power goes again while the first cut is being mended. */
static void cut_recovery(struct bench *bench, const struct disk_image *image, size_t point, uint64_t seed)
{
    static struct disk_image again;
    struct disk_log log = {0};
    struct cut cut;

    disk_mount(image);
    disk.log = &log;
    recover(bench);
    disk.log = NULL;
    store_close(bench->store);
    bench->store = NULL;
    cut_begin(&cut, &log, image);
    while (cut.at < log.count) {
        cut_step(&cut);
        for (int mode = 0; mode < CUT_MODE_N; mode++) {
            cut_image(&cut, (enum cut_mode)mode, seed, &again);
            disk_mount(&again);
            found_and_closed(bench, point, "twice");
            bench->cuts_in_recovery++;
        }
    }
    image_done(&again);
    cut_done(&cut);
    disk_log_done(&log);
}

static void cut_everywhere(struct bench *bench, const char *backup_text)
{
    static const char *const how[] = {"all lost", "nothing lost", "some lost", "torn"};
    const char *wish = getenv("TUNWRIGHT_POWER_CUTS");
    unsigned long times = wish ? strtoul(wish, NULL, 10) : 0;
    int64_t begun_ns = clock_monotonic_ns();
    struct disk_image image = {0};
    struct cut cut;

    disk.log = NULL;
    store_close(bench->store);
    bench->store = NULL;
    cut_begin(&cut, &bench->log, &bench->before);
    for (;;) {
        for (uint64_t seed = 0; seed <= times; seed++) {
            for (int mode = 0; mode < CUT_MODE_N; mode++) {
                if (times == 0 && mode != CUT_TEARS && mode != (int)(cut.at % CUT_TEARS))
                    continue; /* one of the others in turn */
                cut_image(&cut, (enum cut_mode)mode, seed, &image);
                disk_mount(&image);
                if (backup_text)
                    check_backup(bench, backup_text);
                disk_mount(&image);
                found_and_closed(bench, cut.at, how[mode]);
                if (mode == CUT_TEARS && seed == 0 && (times > 0 || cut.at % 97 == 7))
                    cut_recovery(bench, &image, cut.at, seed);
            }
        }
        if (cut.at == bench->log.count)
            break;
        cut_step(&cut);
    }
    bench->points = cut.at;
    image_done(&image);
    cut_done(&cut);
    print_message("%zu points, %zu commits, %zu cuts, of them %zu during the recovery from another; %lld ms\n",
                  bench->points, bench->state_count, bench->cuts, bench->cuts_in_recovery,
                  (long long)(clock_monotonic_ns() - begun_ns) / 1000000);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void test_every_call(void **state)
{
    struct bench *bench = *state;

    script_begin(bench);
    script_open(bench);
    script_devices(bench);
    script_tokens(bench);
    script_pending_and_files(bench);
    store_close(bench->store);
    script_open(bench);
    script_events_and_audit(bench);
    script_spill(bench);
    cut_everywhere(bench, NULL);
}

static void v1_make(struct bench *bench)
{
    sqlite3 *db;
    char sql[512];

    assert_int_equal(sqlite3_open(bench->path, &db), SQLITE_OK);
    MUST(database_run(db, migrations[0].sql, &fault, "make"));
    snprintf(sql, sizeof(sql),
             "PRAGMA application_id = %d; PRAGMA user_version = 1;"
             "INSERT INTO installation VALUES (1, x'010203040506', 1700000000000000000);"
             "INSERT INTO attempt VALUES ('54455354-2121-8000-8000-0000000000ff', 'tunx',"
             " '{\"name\":\"tunx\",\"kind\":\"tun\"}')",
             STORE_APPLICATION_ID);
    MUST(database_run(db, sql, &fault, "fill"));
    MUST(database_run(db, "BEGIN", &fault, "fill"));
    for (unsigned i = 0; i < 60; i++) {
        snprintf(sql, sizeof(sql),
                 "INSERT INTO device VALUES ('tun%u', '54455354-2121-8000-8000-00000000%04x', 7, 10, 20,"
                 " '{\"name\":\"tun%u\",\"kind\":\"tun\",\"labels\":{\"x\":\"%0200u\"}}')",
                 i, i, i, i);
        MUST(database_run(db, sql, &fault, "fill"));
    }
    MUST(database_run(db, "COMMIT", &fault, "fill"));
    sqlite3_close(db);
}

static void test_migration(void **state)
{
    struct bench *bench = *state;
    CLEANUP(text_done) char *before = NULL;
    sqlite3 *db;

    v1_make(bench);
    assert_int_equal(sqlite3_open(bench->path, &db), SQLITE_OK);
    before = database_text(db);
    sqlite3_close(db);
    script_begin(bench);
    script_open(bench);
    begin(bench);
    device_put(bench, 500, 1, 3);
    commit(bench);
    cut_everywhere(bench, before);
}

/* Stacks of each allocation would take half of the time. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "malloc_context_size=1:quarantine_size_mb=1";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_migration, bench_make, bench_remove),
        cmocka_unit_test_setup_teardown(test_every_call, bench_make, bench_remove),
    };

    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    disk_register();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

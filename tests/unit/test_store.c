/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_fixture.h"
#include "store/database.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a directory of its own for each test ------------------------------------------------------------------------ */

struct place {
    char directory[64];
    char path[96];
    char backup[128], next_backup[128]; /* before the newest migration, and before one that tests add */
};

static int place_make(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    strcpy(place->directory, "/tmp/test_store.XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    snprintf(place->path, sizeof(place->path), "%s/tunwright.db", place->directory);
    snprintf(place->backup, sizeof(place->backup), "%s.before-%u", place->path, migration_count);
    snprintf(place->next_backup, sizeof(place->next_backup), "%s.before-%u", place->path, migration_count + 1);
    *state = place;
    return 0;
}

static int place_remove(void **state)
{
    struct place *place = *state;
    char journal[128];

    snprintf(journal, sizeof(journal), "%s-journal", place->path);
    unlink(journal);
    unlink(place->backup);
    unlink(place->next_backup);
    unlink(place->path);
    assert_int_equal(rmdir(place->directory), 0);
    free(place);
    return 0;
}

static struct store *store_of(const struct place *place)
{
    struct store *store = NULL;
    struct err err = {0};

    if (store_open(place->path, &store, &err) < 0)
        fail_msg("%s", err.message);
    return store;
}

static struct stored_device stored_of(const char *document, unsigned number, uint64_t generation)
{
    return (struct stored_device){
        .uuid = uuid_of(number),
        .generation = generation,
        .created_ns = 1000000007,
        .changed_ns = 1700000000123456789,
        .device = device_of(document),
    };
}

static void put(struct store *store, const char *document, unsigned number, uint64_t generation)
{
    struct stored_device stored = stored_of(document, number, generation);
    struct err err = {0};

    assert_int_equal(store_begin(store, &err), 0);
    if (store_device_put(store, &stored, &err) < 0 || store_commit(store, &err) < 0)
        fail_msg("%s", err.message);
    stored_device_done(&stored);
}

static size_t count_devices(struct store *store)
{
    struct stored_device *devices = NULL;
    size_t count = 0;
    struct err err = {0};

    if (store_devices_load(store, &devices, &count, &err) < 0)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < count; i++)
        stored_device_done(&devices[i]);
    free(devices);
    return count;
}

static void tool(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    sqlite3_close(db);
}

static char *file_read(const char *path, size_t *ret_length)
{
    FILE *file = fopen(path, "rb");
    char *data = malloc(1 << 20);

    assert_non_null(file);
    *ret_length = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

static void file_write(const char *path, size_t offset, const void *data, size_t length)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, length, (off_t)offset), length);
    close(fd);
}

/* ---- what is kept ------------------------------------------------------------------------------------------------ */

static const char full[] =
    "{'name':'tap1','kind':'tap','up':false,'mtu':1400,'txqueuelen':2000,'queues':4,'mac':'02:00:00:00:00:07',"
    "'owner':1000,'group':0,'netns':'blue','master':'br0','labels':{'site':'berlin','note':'\xc3\xa4'},"
    "'addresses':['192.168.3.11/24','fd00:3::11/64'],"
    "'routes':[{'to':'10.9.0.0/16','via':'192.168.3.1','metric':100,'table':4000000000},{'to':'fd09::/16'}],"
    "'worker':{'type':'udp','local':'10.32.0.11:5000','remote':'10.33.0.1:5000'},'drift':'report'}";

static void test_round_trip(void **state)
{
    const struct place *place = *state;
    struct store *store = store_of(place);
    uint8_t before[6], after[6];
    struct stored_device *devices = NULL, expected = stored_of(full, 1, 9007199254740993ULL);
    size_t count = 0;

    store_installation(store, before);
    put(store, "{'name':'tun9','kind':'tun'}", 2, 1);
    put(store, full, 1, 9007199254740993ULL);
    put(store, "{'name':'a','kind':'tun'}", 3, 1);
    put(store, "{'name':'tun9','kind':'tun','mtu':1300}", 2, 2);
    store_close(store);

    store = store_of(place);
    store_installation(store, after);
    assert_memory_equal(before, after, sizeof(before));
    assert_int_equal(store_schema_version(store), (int)migration_count);
    assert_int_equal(store_devices_load(store, &devices, &count, NULL), 0);
    assert_int_equal(count, 3);
    assert_string_equal(devices[0].device->name, "a");
    assert_string_equal(devices[2].device->name, "tun9");
    assert_int_equal(devices[2].device->mtu, 1300);
    assert_int_equal(devices[2].generation, 2);
    assert_true(device_equal(devices[1].device, expected.device));
    assert_true(uuid_equal(&devices[1].uuid, &expected.uuid));
    assert_true(devices[1].generation == expected.generation);
    assert_true(devices[1].created_ns == expected.created_ns && devices[1].changed_ns == expected.changed_ns);
    for (size_t i = 0; i < count; i++)
        stored_device_done(&devices[i]);
    free(devices);
    stored_device_done(&expected);
    store_close(store);
}

static void test_delete_and_rollback(void **state)
{
    struct store *store = store_of(*state);
    struct stored_device other = stored_of("{'name':'tun1','kind':'tun'}", 1, 1);
    struct err err = {0};

    put(store, "{'name':'tun0','kind':'tun'}", 1, 1);
    assert_int_equal(store_begin(store, &err), 0);
    assert_int_equal(store_device_delete(store, "tun0", &err), 0);
    store_rollback(store);
    store_rollback(store);
    assert_int_equal(count_devices(store), 1);

    assert_int_equal(store_begin(store, &err), 0);
    assert_int_equal(store_device_put(store, &other, &err), -EINVAL); /* the uuid is taken */
    assert_int_equal(err.code, ERR_INTERNAL);
    store_rollback(store);

    assert_int_equal(store_begin(store, &err), 0);
    assert_int_equal(store_device_delete(store, "tun1", &err), -ENOENT);
    assert_int_equal(store_device_delete(store, "tun0", &err), 0);
    assert_int_equal(store_commit(store, &err), 0);
    assert_int_equal(count_devices(store), 0);

    assert_int_equal(store_device_put(store, &other, &err), -EIO); /* no transaction */
    assert_int_equal(store_commit(store, &err), -EIO);
    stored_device_done(&other);
    store_close(store);
}

/* ---- how it is opened -------------------------------------------------------------------------------------------- */

static void test_file_and_settings(void **state)
{
    const struct place *place = *state;
    struct store *store = store_of(place), *second = NULL;
    struct stat status;
    struct err err = {0};
    int64_t value = -1;
    sqlite3_stmt *mode = NULL;

    assert_int_equal(stat(place->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(store_open(place->path, &second, &err), -EBUSY);
    assert_null(second);

    assert_int_equal(database_read_int(store->db, "PRAGMA synchronous", &value, NULL, ""), 0);
    assert_int_equal(value, 2);
    assert_int_equal(database_read_int(store->db, "PRAGMA foreign_keys", &value, NULL, ""), 0);
    assert_int_equal(value, 1);
    assert_int_equal(database_read_int(store->db, "PRAGMA trusted_schema", &value, NULL, ""), 0);
    assert_int_equal(value, 0);
    assert_int_equal(database_read_int(store->db, "PRAGMA application_id", &value, NULL, ""), 0);
    assert_int_equal(value, STORE_APPLICATION_ID);
    assert_int_equal(sqlite3_prepare_v2(store->db, "PRAGMA journal_mode", -1, &mode, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(mode), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(mode, 0), "truncate");
    sqlite3_finalize(mode);
    assert_true(database_run(store->db, "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema", &err, "break it") <
                0);
    assert_true(database_run(store->db, "INSERT INTO device VALUES ('x','y',1,1,1,'{')", &err, "break it") < 0);
    assert_true(database_run(store->db, "INSERT INTO installation VALUES (2,x'000000000000',1)", &err, "") < 0);
    store_close(store);

    chmod(place->path, 0644);
    store_close(store_of(place));
    assert_int_equal(stat(place->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
}

static void expect_refusal(const struct place *place, int error)
{
    struct store *store = NULL;
    struct err err = {0};
    size_t before_length, after_length;
    char *before = file_read(place->path, &before_length), *after;

    assert_int_equal(store_open(place->path, &store, &err), error);
    assert_null(store);
    assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
    assert_true(err.message[0]);
    after = file_read(place->path, &after_length);
    assert_int_equal(before_length, after_length);
    assert_memory_equal(before, after, before_length);
    free(before);
    free(after);
}

static void test_damaged(void **state)
{
    const struct place *place = *state;
    char garbage[8192];
    struct store *store;

    memset(garbage, 'x', sizeof(garbage));
    file_write(place->path, 0, garbage, sizeof(garbage));
    expect_refusal(place, -EUCLEAN);
    unlink(place->path);

    store = store_of(place);
    for (unsigned i = 0; i < 40; i++) {
        char document[64];

        snprintf(document, sizeof(document), "{'name':'tun%u','kind':'tun'}", i);
        put(store, document, i, 1);
    }
    store_close(store);
    memset(garbage, 0x5a, sizeof(garbage));
    file_write(place->path, 4096, garbage, 3000); /* the head of the second page */
    expect_refusal(place, -EUCLEAN);

    assert_int_equal(truncate(place->path, 5000), 0);
    expect_refusal(place, -EUCLEAN);
}

static void test_foreign(void **state)
{
    const struct place *place = *state;
    char sql[64];

    tool(place->path, "CREATE TABLE mine (a); PRAGMA user_version = 1");
    expect_refusal(place, -EPROTO);
    unlink(place->path);
    tool(place->path, "PRAGMA application_id = 77");
    expect_refusal(place, -EPROTO);
    unlink(place->path);
    store_close(store_of(place));
    snprintf(sql, sizeof(sql), "PRAGMA user_version = %u", migration_count + 1);
    tool(place->path, sql);
    expect_refusal(place, -EPROTO);
    tool(place->path, "PRAGMA user_version = 0");
    expect_refusal(place, -EUCLEAN);
}

static void test_no_place(void **state)
{
    struct store *store = NULL;
    struct err err = {0};

    (void)state;
    assert_int_equal(store_open("/tmp/no-such-directory/x.db", &store, &err), -ENOENT);
    assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
    assert_int_equal(store_open("/tmp", &store, &err), -EISDIR);
}

static void test_row_no_longer_valid(void **state)
{
    const struct place *place = *state;
    struct stored_device *devices = NULL;
    size_t count = 0;
    struct store *store = store_of(place);
    struct err err = {0};

    put(store, "{'name':'tun0','kind':'tun'}", 1, 1);
    assert_int_equal(database_run(store->db,
                                  "UPDATE device SET document = '{\"name\":\"tun0\",\"kind\":\"tun\",\"mtu\":1}'", &err,
                                  ""),
                     0);
    assert_int_equal(store_devices_load(store, &devices, &count, &err), -EUCLEAN);
    assert_null(devices);
    assert_non_null(strstr(err.message, "tun0"));
    assert_int_equal(
        database_run(store->db, "UPDATE device SET document = '{\"name\":\"tun1\",\"kind\":\"tun\"}'", &err, ""), 0);
    assert_int_equal(store_devices_load(store, &devices, &count, &err), -EUCLEAN);
    store_close(store);
}

/* ---- changes under way ------------------------------------------------------------------------------------------- */

static void test_attempts(void **state)
{
    const struct place *place = *state;
    struct store *store = store_of(place);
    struct stored_device a = stored_of(full, 1, 1), b = stored_of("{'name':'tun0','kind':'tun'}", 2, 1), *found = NULL;
    struct err err = {0};
    size_t count = 1;

    assert_true(store_attempt_put(store, &a.uuid, a.device, false, &err) < 0); /* outside of a transaction */
    assert_true(store_attempt_delete(store, &a.uuid, &err) < 0);
    assert_int_equal(store_begin(store, &err), 0);
    assert_int_equal(store_attempt_put(store, &a.uuid, b.device, false, &err), 0);
    assert_int_equal(store_attempt_put(store, &b.uuid, b.device, false, &err), 0);
    assert_int_equal(store_attempt_put(store, &a.uuid, a.device, false, &err), 0); /* in the place of the first */
    assert_int_equal(store_commit(store, &err), 0);
    assert_int_equal(store_begin(store, &err), 0);
    assert_int_equal(store_attempt_delete(store, &a.uuid, &err), 0);
    store_rollback(store);
    store_close(store);

    store = store_of(place);
    assert_int_equal(count_devices(store), 0);
    assert_int_equal(store_attempts_load(store, &found, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_true(uuid_equal(&found[0].uuid, &a.uuid) && device_equal(found[0].device, a.device));
    assert_true(uuid_equal(&found[1].uuid, &b.uuid) && device_equal(found[1].device, b.device));
    stored_device_done(&found[0]);
    stored_device_done(&found[1]);
    free(found);

    assert_int_equal(store_begin(store, &err), 0);
    assert_int_equal(store_attempt_delete(store, &a.uuid, &err), 0);
    assert_int_equal(store_attempt_delete(store, &a.uuid, &err), 0); /* what is not there */
    assert_int_equal(store_attempt_delete(store, &b.uuid, &err), 0);
    assert_int_equal(store_commit(store, &err), 0);
    assert_int_equal(store_attempts_load(store, &found, &count, &err), 0);
    assert_int_equal(count, 0);
    free(found);
    stored_device_done(&a);
    stored_device_done(&b);
    store_close(store);
}

/* ---- migrations -------------------------------------------------------------------------------------------------- */

#define MIGRATIONS_MAX 64

static void with_another(struct migration list[static MIGRATIONS_MAX], const char *name, const char *sql)
{
    assert_true(migration_count < MIGRATIONS_MAX);
    memcpy(list, migrations, migration_count * sizeof(*list));
    list[migration_count] = (struct migration){name, sql};
}

static void test_migrations(void **state)
{
    const struct place *place = *state;
    struct migration list[MIGRATIONS_MAX], broken[MIGRATIONS_MAX], leaving[MIGRATIONS_MAX];
    unsigned count = migration_count;
    struct store *store = NULL;
    uint8_t before[6], after[6];
    struct err err = {0};
    int64_t value;
    sqlite3 *db;

    with_another(list, "more", "ALTER TABLE device ADD COLUMN note TEXT DEFAULT 'x'");
    with_another(broken, "broken", "CREATE TABLE half (a); INSERT INTO nowhere VALUES (1)");
    with_another(leaving, "leaving", "CREATE TABLE half (a); COMMIT");
    assert_int_equal(store_open_migrated(place->path, list, count, &store, &err), 0);
    put(store, "{'name':'tun0','kind':'tun'}", 1, 1);
    store_installation(store, before);
    store_close(store);
    assert_int_equal(access(place->next_backup, F_OK), -1); /* a new database has nothing to lose */

    store = NULL;
    assert_true(store_open_migrated(place->path, broken, count + 1, &store, &err) < 0);
    assert_null(store);
    assert_int_equal(store_open_migrated(place->path, list, count, &store, &err), 0);
    assert_int_equal(count_devices(store), 1);
    assert_int_equal(
        database_read_int(store->db, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'", &value, NULL, ""), 0);
    assert_int_equal(value, 0);
    store_close(store);

    assert_int_equal(store_open_migrated(place->path, list, count + 1, &store, &err), 0);
    assert_int_equal(store_schema_version(store), count + 1);
    assert_int_equal(count_devices(store), 1);
    store_installation(store, after);
    assert_memory_equal(before, after, sizeof(before));
    assert_int_equal(database_read_int(store->db, "SELECT count(*) FROM device WHERE note = 'x'", &value, NULL, ""), 0);
    assert_int_equal(value, 1);
    store_close(store);

    assert_int_equal(sqlite3_open(place->next_backup, &db), SQLITE_OK);
    assert_int_equal(database_read_int(db, "PRAGMA user_version", &value, NULL, ""), 0);
    assert_int_equal(value, count);
    assert_int_equal(database_read_int(db, "SELECT count(*) FROM device", &value, NULL, ""), 0);
    assert_int_equal(value, 1);
    sqlite3_close(db);

    unlink(place->path);
    assert_true(store_open_migrated(place->path, leaving, count + 1, &store, &err) < 0);
}

/* A database as the first version made it: nothing in it is lost, and all that is new works. */
static void test_from_version_1(void **state)
{
    const struct place *place = *state;
    struct stored_device *found = NULL;
    static const uint8_t id[6] = {1, 2, 3, 4, 5, 6};
    uint8_t installation[6];
    struct store *store;
    struct err err = {0};
    char version[96];
    size_t count;
    bool made = true;
    int64_t value;
    sqlite3 *db;

    tool(place->path, migrations[0].sql);
    snprintf(version, sizeof(version), "PRAGMA application_id = %d; PRAGMA user_version = 1", STORE_APPLICATION_ID);
    tool(place->path, version);
    tool(place->path, "INSERT INTO installation VALUES (1, x'010203040506', 1700000000000000000);"
                      "INSERT INTO device VALUES ('tun0', '54455354-2121-8000-8000-000000000001', 7, 10, 20,"
                      " '{\"name\":\"tun0\",\"kind\":\"tun\",\"mtu\":1400}');"
                      "INSERT INTO attempt VALUES ('54455354-2121-8000-8000-000000000002', 'tun1',"
                      " '{\"name\":\"tun1\",\"kind\":\"tun\"}')");
    store = store_of(place);
    assert_int_equal(store_schema_version(store), migration_count);
    store_installation(store, installation);
    assert_memory_equal(installation, id, sizeof(id));
    assert_int_equal(store_revision(store), 0);
    assert_int_equal(store_token_made(store, &made, &err), 0);
    assert_false(made);

    assert_int_equal(store_devices_load(store, &found, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_int_equal(found[0].generation, 7);
    assert_int_equal(found[0].created_ns, 10);
    assert_int_equal(found[0].changed_ns, 20);
    assert_int_equal(found[0].device->mtu, 1400);
    stored_device_done(&found[0]);
    free(found);
    assert_int_equal(store_attempts_load(store, &found, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_string_equal(found[0].device->name, "tun1");
    assert_false(found[0].adopts);
    stored_device_done(&found[0]);
    free(found);
    store_close(store);

    assert_int_equal(sqlite3_open(place->backup, &db), SQLITE_OK);
    assert_int_equal(database_read_int(db, "PRAGMA user_version", &value, NULL, ""), 0);
    assert_int_equal(value, 1);
    assert_int_equal(database_read_int(db, "SELECT count(*) FROM device", &value, NULL, ""), 0);
    assert_int_equal(value, 1);
    sqlite3_close(db);
}

/* ---- what can go wrong while it is open -------------------------------------------------------------------------- */

static void test_full(void **state)
{
    const struct place *place = *state;
    struct store *store = store_of(place);
    struct stored_device big = stored_of("{'name':'tun1','kind':'tun'}", 2, 1);
    struct err err = {0};
    char limit[64];
    int64_t pages;
    bool changed;

    put(store, "{'name':'tun0','kind':'tun'}", 1, 1);
    for (unsigned i = 0; i < 500; i++) {
        struct route route = {
            .to = {.addr = {.family = AF_INET, .bytes = {10, (uint8_t)(i >> 8), (uint8_t)i, 0}}, .length = 24},
            .table = 254};

        assert_int_equal(device_route_add(big.device, &route, &changed), 0);
    }
    assert_int_equal(database_read_int(store->db, "PRAGMA page_count", &pages, NULL, ""), 0);
    snprintf(limit, sizeof(limit), "PRAGMA max_page_count = %d", (int)pages + 1);
    assert_int_equal(database_run(store->db, limit, &err, ""), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_begin(store, &err), 0);
        assert_int_equal(store_device_put(store, &big, &err), -ENOSPC);
        assert_int_equal(err.code, ERR_STORE_FULL);
        store_rollback(store);
        assert_int_equal(count_devices(store), 1);
    }
    assert_int_equal(database_run(store->db, "PRAGMA max_page_count = 100000", &err, ""), 0);
    assert_int_equal(store_begin(store, &err), 0);
    assert_int_equal(store_device_put(store, &big, &err), 0);
    assert_int_equal(store_commit(store, &err), 0);
    assert_int_equal(count_devices(store), 2);
    stored_device_done(&big);
    store_close(store);
}

static void test_busy_and_read_only(void **state)
{
    const struct place *place = *state;
    struct store *store = store_of(place);
    struct stored_device stored = stored_of("{'name':'tun0','kind':'tun'}", 1, 1);
    struct err err = {0};
    sqlite3 *other;

    sqlite3_busy_timeout(store->db, 10);
    assert_int_equal(sqlite3_open(place->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_begin(store, &err), -EBUSY);
    assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK; BEGIN; SELECT * FROM installation", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_begin(store, &err), 0);
    assert_int_equal(store_device_put(store, &stored, &err), 0);
    assert_int_equal(store_commit(store, &err), -EBUSY); /* a reader holds it back: then it is rolled back */
    assert_true(sqlite3_get_autocommit(store->db));
    sqlite3_close(other);
    assert_int_equal(count_devices(store), 0);

    assert_int_equal(database_run(store->db, "PRAGMA query_only = ON", &err, ""), 0);
    assert_int_equal(store_begin(store, &err), -EROFS);
    assert_int_equal(err.code, ERR_STORE_UNAVAILABLE);
    assert_int_equal(count_devices(store), 0);
    stored_device_done(&stored);
    store_close(store);
}

static void test_error_table(void **state)
{
    static const struct {
        int result, error;
        enum err_code code;
    } rows[] = {
        {SQLITE_FULL, -ENOSPC, ERR_STORE_FULL},
        {SQLITE_IOERR_FSYNC, -EIO, ERR_STORE_UNAVAILABLE},
        {SQLITE_IOERR_NOMEM, -ENOMEM, ERR_OUT_OF_MEMORY},
        {SQLITE_NOMEM, -ENOMEM, ERR_OUT_OF_MEMORY},
        {SQLITE_READONLY_DBMOVED, -EROFS, ERR_STORE_UNAVAILABLE},
        {SQLITE_CORRUPT_INDEX, -EUCLEAN, ERR_STORE_UNAVAILABLE},
        {SQLITE_NOTADB, -EUCLEAN, ERR_STORE_UNAVAILABLE},
        {SQLITE_BUSY_SNAPSHOT, -EBUSY, ERR_STORE_UNAVAILABLE},
        {SQLITE_LOCKED, -EBUSY, ERR_STORE_UNAVAILABLE},
        {SQLITE_CONSTRAINT_CHECK, -EINVAL, ERR_INTERNAL},
        {SQLITE_CANTOPEN, -EIO, ERR_STORE_UNAVAILABLE},
        {SQLITE_PERM, -EACCES, ERR_STORE_UNAVAILABLE},
        {SQLITE_ERROR, -EIO, ERR_STORE_UNAVAILABLE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct err err = {0};

        assert_int_equal(database_error(NULL, rows[i].result, &err, "do it"), rows[i].error);
        assert_int_equal(err.code, rows[i].code);
    }
}

#define TEST_IN_PLACE(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_PLACE(test_round_trip),
        TEST_IN_PLACE(test_delete_and_rollback),
        TEST_IN_PLACE(test_file_and_settings),
        TEST_IN_PLACE(test_damaged),
        TEST_IN_PLACE(test_foreign),
        cmocka_unit_test(test_no_place),
        TEST_IN_PLACE(test_row_no_longer_valid),
        TEST_IN_PLACE(test_attempts),
        TEST_IN_PLACE(test_migrations),
        TEST_IN_PLACE(test_from_version_1),
        TEST_IN_PLACE(test_full),
        TEST_IN_PLACE(test_busy_and_read_only),
        cmocka_unit_test(test_error_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of several devices at once, to be disturbed in every way that there is, and everything that may then be seen
 * of them. */
#ifndef TUNWRIGHT_TEST_TRANSACTION_SCENES_H
#define TUNWRIGHT_TEST_TRANSACTION_SCENES_H

#include "engine_bench.h"

/* ---- scenes: a configuration, and the one that is to take its place ---------------------------------------------- */

#define SCENE_MOST 4

struct scene {
    const char *name;
    const char *before[SCENE_MOST], *after[SCENE_MOST];
};

static const struct scene scenes[] = {
    {
        .name = "one comes, one changes, one stays, one goes",
        .before = {"{'name':'tap0','kind':'tap','worker':{'type':'echo'}}",
                   "{'name':'tun0','kind':'tun','mtu':1400,'addresses':['192.168.3.11/24','fd00:3::11/64'],"
                   "'routes':[{'to':'10.9.0.0/16','via':'192.168.3.1'},{'to':'10.11.0.0/16','type':'blackhole'}],"
                   "'worker':{'type':'monitor'}}",
                   "{'name':'tun1','kind':'tun','addresses':['192.168.5.1/24']}"},
        .after = {"{'name':'tap0','kind':'tap','worker':{'type':'echo'}}",
                  "{'name':'tun1','kind':'tun','queues':2,'addresses':['192.168.6.1/24','192.168.5.1/24'],"
                  "'worker':{'type':'monitor'}}",
                  "{'name':'tun2','kind':'tun','addresses':['192.168.3.11/24'],"
                  "'routes':[{'to':'10.9.0.0/16','via':'192.168.3.1'},{'to':'10.12.0.0/16','type':'prohibit'}]}"},
    },
    {
        .name = "an address and routes move to another device",
        .before = {"{'name':'tun0','kind':'tun','addresses':['192.168.3.11/24','192.168.7.1/24'],"
                   "'routes':[{'to':'10.9.0.0/16','metric':5},{'to':'10.11.0.0/16','type':'blackhole'}]}",
                   "{'name':'tun1','kind':'tun'}"},
        .after = {"{'name':'tun0','kind':'tun','addresses':['192.168.3.11/24']}",
                  "{'name':'tun1','kind':'tun','addresses':['192.168.7.1/24'],"
                  "'routes':[{'to':'10.9.0.0/16','metric':5},{'to':'10.11.0.0/16','type':'blackhole'}]}"},
    },
    {
        .name = "a route without a device changes hands, and nothing else does",
        .before = {"{'name':'tun0','kind':'tun','routes':[{'to':'10.11.0.0/16','type':'blackhole'},"
                   "{'to':'10.12.0.0/16','type':'prohibit'}]}",
                   "{'name':'tun1','kind':'tun'}"},
        .after = {"{'name':'tun0','kind':'tun'}",
                  "{'name':'tun1','kind':'tun','routes':[{'to':'10.11.0.0/16','type':'blackhole'},"
                  "{'to':'10.12.0.0/16','type':'unreachable'}]}"},
    },
    {
        .name = "two devices change kind and place",
        .before = {"{'name':'a0','kind':'tun','netns':'blue','addresses':['192.168.3.11/24'],'worker':{'type':'echo'}}",
                   "{'name':'b0','kind':'tap','addresses':['192.168.4.11/24']}"},
        .after = {"{'name':'a0','kind':'tap','addresses':['192.168.4.11/24'],'worker':{'type':'monitor'}}",
                  "{'name':'b0','kind':'tun','netns':'blue','addresses':['192.168.3.11/24']}"},
    },
    {
        .name = "all of it comes",
        .before = {NULL},
        .after = {"{'name':'a0','kind':'tun','worker':{'type':'echo'}}", "{'name':'b0','kind':'tap'}",
                  "{'name':'c0','kind':'tun','routes':[{'to':'10.11.0.0/16','type':'blackhole'}]}"},
    },
    {
        .name = "all of it goes",
        .before = {"{'name':'a0','kind':'tun','worker':{'type':'echo'}}", "{'name':'b0','kind':'tap'}",
                   "{'name':'c0','kind':'tun','routes':[{'to':'10.11.0.0/16','type':'blackhole'}]}"},
        .after = {NULL},
    },
};

static inline struct change *scene_change(const char *const *documents)
{
    size_t count = 0;

    while (count < SCENE_MOST && documents[count])
        count++;
    return config_change(CHANGE_CONFIG_PUT, documents, count);
}

static inline void scene_set(struct bench *bench, const char *const *documents)
{
    assert_int_not_equal(run(bench, scene_change(documents), NULL), OUTCOME_FAILED);
}

/* ---- everything that there is to see ----------------------------------------------------------------------------- */

/* All that a change may write, by way of a second connection. Owned. */
static inline char *store_text(struct bench *bench)
{
    static const char *const queries[] = {
        "SELECT name || uuid || generation || created_ns || changed_ns || document FROM device ORDER BY name",
        "SELECT uuid || name || document || adopts FROM attempt ORDER BY uuid",
        "SELECT revision FROM installation",
        "SELECT sequence || actor || operation || changes FROM audit ORDER BY sequence",
        "SELECT deadline_ns || actor FROM pending",
        "SELECT name || uuid || generation || coalesce(document, '-') FROM pending_device ORDER BY name",
        "SELECT sequence || type || device || detail FROM event WHERE type NOT LIKE '%_state' ORDER BY sequence",
        "SELECT name || hex(digest) FROM startup_file ORDER BY name",
    };
    struct buf out = {0};
    sqlite3_stmt *rows;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(bench->path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
        assert_int_equal(sqlite3_prepare_v2(db, queries[i], -1, &rows, NULL), SQLITE_OK);
        while (sqlite3_step(rows) == SQLITE_ROW)
            buf_printf(&out, "%s\n", (const char *)sqlite3_column_text(rows, 0));
        buf_add_text(&out, "--\n");
        sqlite3_finalize(rows);
    }
    sqlite3_close(db);
    return buf_take(&out);
}

/* What readers see of the configuration. Owned. */
static inline char *snapshot_text(struct bench *bench)
{
    const struct snapshot *snapshot = engine_snapshot(bench->engine);
    struct buf out = {0};

    buf_printf(&out, "revision %llu pending %d\n", (unsigned long long)snapshot->revision, snapshot->is_pending);
    for (size_t i = 0; i < snapshot->device_count; i++) {
        const struct snapshot_device *device = &snapshot->devices[i];
        CLEANUP(text_done) char *document = device_print(device->stored.device);
        char uuid[UUID_TEXT_SIZE];

        buf_printf(&out, "%s %llu %lld %lld %s\n", uuid_print(&device->stored.uuid, uuid),
                   (unsigned long long)device->stored.generation, (long long)device->stored.created_ns,
                   (long long)device->stored.changed_ns, document);
    }
    snapshot_release(snapshot);
    return buf_take(&out);
}

struct world {
    char *kernel, *store, *snapshot;
};

static inline struct world world_of(struct bench *bench)
{
    return (struct world){bench_kernel_text(bench), store_text(bench), snapshot_text(bench)};
}

static inline void world_done(struct world *world)
{
    free(world->kernel);
    free(world->store);
    free(world->snapshot);
}

static inline void assert_same_world(struct bench *bench, const struct world *then)
{
    CLEANUP(world_done) struct world now = world_of(bench);

    assert_string_equal(then->kernel, now.kernel);
    assert_string_equal(then->store, now.store);
    assert_string_equal(then->snapshot, now.snapshot);
}

/* It is all there, and asking again does nothing. */
static inline void assert_complete(struct bench *bench, const char *const *documents)
{
    size_t applied = bench_applied(bench);
    CLEANUP(world_done) struct world then = world_of(bench);
    const struct snapshot *snapshot = engine_snapshot(bench->engine);

    for (size_t i = 0; i < snapshot->device_count; i++) {
        assert_int_equal(snapshot->devices[i].state, STATE_READY);
        assert_int_equal(snapshot->devices[i].observed_generation, snapshot->devices[i].stored.generation);
        assert_int_equal(put(bench, documents[i]), OUTCOME_UNCHANGED);
    }
    snapshot_release(snapshot);
    assert_int_equal(run(bench, scene_change(documents), NULL), OUTCOME_UNCHANGED);
    assert_int_equal(bench_applied(bench), applied);
    assert_same_world(bench, &then);
}

static const char *const nothing[] = {NULL};

static inline void scene_begin(struct bench *bench, const struct scene *scene)
{
    scene_set(bench, nothing);
    wait_for_kernel(bench, "");
    scene_set(bench, scene->before);
}

#endif

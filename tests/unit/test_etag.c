/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags and preconditions: pure functions. */
#include "engine_bench.h"

static void test_tags(void **state)
{
    struct stored_device device = {.uuid = uuid_of(1), .generation = 7}, twin = device;
    struct snapshot snapshot = {.revision = 9, .installation = {1, 2, 3, 4, 5, 0xff}};
    char a[ETAG_SIZE], b[ETAG_SIZE];

    (void)state;
    assert_string_equal(etag_of_device(&device, a), "\"80008000000000000001-7\"");
    twin.generation++;
    assert_string_not_equal(a, etag_of_device(&twin, b));
    twin = (struct stored_device){.uuid = uuid_of(2), .generation = 7};
    assert_string_not_equal(a, etag_of_device(&twin, b));
    twin.created_ns = twin.changed_ns = 5; /* no part of it */
    etag_of_device(&twin, a);
    assert_string_equal(a, b);

    assert_string_equal(etag_of_config(&snapshot, a), "\"config-0102030405ff-9\"");
    device.generation = snapshot.revision = UINT64_MAX; /* the longest of all end with their quote */
    etag_of_device(&device, a);
    assert_int_equal(a[strlen(a) - 1], '"');
    etag_of_config(&snapshot, a);
    assert_int_equal(a[strlen(a) - 1], '"');
}

static bool holds(const struct precondition *precondition, const char *etag)
{
    struct err err = {0};
    int r = precondition_check(precondition, etag, &err);

    assert_true(r == 0 || (r == -ECANCELED && err.code == ERR_PRECONDITION_FAILED && err.message[0]));
    return r == 0;
}

static void test_preconditions(void **state)
{
    static const struct precondition none;
    static const struct precondition any = {.match = {.is_present = true, .any = true}};
    static const struct precondition absent = {.none_match = {.is_present = true, .any = true}};
    static const struct precondition match = {.match = {.is_present = true, .count = 2, .tags = {"\"x\"", "\"y\""}}};
    static const struct precondition weak = {.match = {.is_present = true}}; /* only weak ones stood there */
    static const struct precondition differs = {.none_match = {.is_present = true, .count = 1, .tags = {"\"y\""}}};
    static const struct precondition both = {.match = {.is_present = true, .any = true},
                                             .none_match = {.is_present = true, .count = 1, .tags = {"\"y\""}}};

    (void)state;
    assert_true(holds(&none, NULL) && holds(&none, "\"y\""));
    assert_true(!holds(&any, NULL) && holds(&any, "\"y\""));
    assert_true(holds(&absent, NULL) && !holds(&absent, "\"y\""));
    assert_true(!holds(&match, NULL) && holds(&match, "\"y\"") && !holds(&match, "\"z\"") && !holds(&match, "y"));
    assert_true(!holds(&weak, NULL) && !holds(&weak, "\"y\""));
    assert_true(holds(&differs, NULL) && !holds(&differs, "\"y\"") && holds(&differs, "\"z\""));
    assert_true(!holds(&both, NULL) && !holds(&both, "\"y\"") && holds(&both, "\"z\""));
}

/* ---- where changes are held to them ------------------------------------------------------------------------------ */

static struct change *under(struct change *change, struct etag_list *list, const char *tag)
{
    list->is_present = true;
    list->any = strcmp(tag, "*") == 0;
    if (!list->any)
        strcpy(list->tags[list->count++], tag);
    return change;
}

static struct change *if_match(struct change *change, const char *tag)
{
    return under(change, &change->precondition.match, tag);
}

static struct change *if_none_match(struct change *change, const char *tag)
{
    return under(change, &change->precondition.none_match, tag);
}

static void device_tag(struct bench *bench, const char *name, char out[static ETAG_SIZE])
{
    const struct snapshot *snapshot = engine_snapshot(bench->engine);

    etag_of_device(&snapshot_device_find(snapshot, name)->stored, out);
    snapshot_release(snapshot);
}

static void config_tag(struct bench *bench, char out[static ETAG_SIZE])
{
    const struct snapshot *snapshot = engine_snapshot(bench->engine);

    etag_of_config(snapshot, out);
    snapshot_release(snapshot);
}

static void assert_refused(struct bench *bench, struct change *change)
{
    struct err err;

    assert_int_equal(run(bench, change, &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_PRECONDITION_FAILED);
}

static void test_changes(void **state)
{
    static const char *const documents[] = {"{'name':'tun0','kind':'tun'}"};
    struct bench *bench = *state;
    char first[ETAG_SIZE], second[ETAG_SIZE], config[ETAG_SIZE], later[ETAG_SIZE];
    struct err err;

    assert_refused(bench, if_match(change_of(CHANGE_DEVICE_PUT, documents[0]), "*"));
    assert_int_equal(run(bench, if_match(change_of(CHANGE_DEVICE_DELETE, "tun0"), "*"), &err), OUTCOME_FAILED);
    assert_int_equal(err.code, ERR_NOT_FOUND); /* it would be so without the condition, too */
    config_tag(bench, config);
    assert_int_equal(run(bench, if_none_match(change_of(CHANGE_DEVICE_PUT, documents[0]), "*"), NULL), OUTCOME_CREATED);
    assert_refused(bench, if_none_match(change_of(CHANGE_DEVICE_PUT, documents[0]), "*"));
    device_tag(bench, "tun0", first);
    config_tag(bench, later);
    assert_string_not_equal(config, later);

    assert_int_equal(run(bench, if_match(address_change(CHANGE_ADDRESS_PUT, "tun0", "10.0.0.1/24"), first), NULL),
                     OUTCOME_CREATED);
    device_tag(bench, "tun0", second);
    assert_string_not_equal(first, second);
    assert_refused(bench, if_match(address_change(CHANGE_ADDRESS_DELETE, "tun0", "10.0.0.1/24"), first));
    assert_refused(bench, if_match(change_of(CHANGE_DEVICE_DELETE, "tun0"), first));
    assert_int_equal(run(bench, if_match(address_change(CHANGE_ADDRESS_PUT, "tun0", "10.0.0.1/24"), second), NULL),
                     OUTCOME_UNCHANGED);
    device_tag(bench, "tun0", first);
    assert_string_equal(first, second);

    assert_refused(bench, if_match(config_change(CHANGE_CONFIG_PUT, documents, 1), later));
    config_tag(bench, config);
    assert_int_equal(run(bench, if_match(config_change(CHANGE_CONFIG_PUT, documents, 1), config), NULL),
                     OUTCOME_CHANGED);
    config_tag(bench, later);
    assert_int_equal(run(bench, if_match(config_change(CHANGE_CONFIG_PUT, documents, 1), later), NULL),
                     OUTCOME_UNCHANGED);
    config_tag(bench, config);
    assert_string_equal(config, later);

    bench_end(bench); /* the same over a restart */
    bench_begin(bench);
    config_tag(bench, later);
    assert_string_equal(config, later);
    device_tag(bench, "tun0", first);

    assert_int_equal(run(bench, change_of(CHANGE_DEVICE_DELETE, "tun0"), NULL), OUTCOME_DELETED);
    bench_wait_settled(bench);
    assert_int_equal(put(bench, documents[0]), OUTCOME_CREATED);
    device_tag(bench, "tun0", second);
    assert_string_not_equal(first, second); /* of the same name, and another one */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_preconditions),
        TEST_ON_BENCH(test_changes),
    };

    log_open("test_etag", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tunwright/worker.h"

#include <string.h>

static void reasons_have_names(void **state)
{
    (void)state;
    for (enum drop_reason a = 0; a < DROP_REASON_N; a++) {
        assert_string_not_equal(drop_reason_name(a), "unknown");
        for (enum drop_reason b = 0; b < a; b++)
            assert_string_not_equal(drop_reason_name(a), drop_reason_name(b));
    }
    assert_string_equal(drop_reason_name(DROP_NO_PEER), "no_peer");
    assert_string_equal(drop_reason_name(DROP_NOT_FORWARDED), "not_forwarded");
    assert_string_equal(drop_reason_name(DROP_REASON_N), "unknown");
}

/* Each counter of each slot counts, in full 64 bits, and in its own place. */
static void slots_are_added_up(void **state)
{
    static struct counter_page page;
    struct counter_slot sum;
    (void)state;

    memset(&sum, 0xee, sizeof(sum));
    counter_page_sum(&page, &sum);
    assert_int_equal(sum.device_in.packets, 0);
    assert_int_equal(sum.drops[15], 0);

    for (size_t i = 0; i < COUNTER_SLOTS; i++) {
        struct counter_slot *slot = &page.slots[i];
        uint64_t one = UINT64_C(1) << (4 * i);
        slot->device_in = (struct counter_pair){1 * one, 2 * one};
        slot->wire_out = (struct counter_pair){3 * one, 4 * one};
        slot->wire_in = (struct counter_pair){5 * one, 6 * one};
        slot->device_out = (struct counter_pair){7 * one, 8 * one};
        for (size_t reason = 0; reason < 16; reason++)
            slot->drops[reason] = reason * one;
    }
    page.slot_count = 1; /* a worker may have written anything here */
    counter_page_sum(&page, &sum);
    const uint64_t ones = UINT64_C(0x1111111111111111);
    assert_true(sum.device_in.packets == 1 * ones && sum.device_in.bytes == 2 * ones);
    assert_true(sum.wire_out.packets == 3 * ones && sum.wire_out.bytes == 4 * ones);
    assert_true(sum.wire_in.packets == 5 * ones && sum.wire_in.bytes == 6 * ones);
    assert_true(sum.device_out.packets == 7 * ones && sum.device_out.bytes == 8 * ones);
    for (size_t reason = 0; reason < 16; reason++)
        assert_true(sum.drops[reason] == reason * ones);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons_have_names),
        cmocka_unit_test(slots_are_added_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

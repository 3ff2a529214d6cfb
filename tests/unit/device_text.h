/* SPDX-License-Identifier: Apache-2.0 */
/* device_text: devices, routes and faults as text, for tests. Include cmocka.h first. */
#ifndef TUNWRIGHT_TESTS_DEVICE_TEXT_H
#define TUNWRIGHT_TESTS_DEVICE_TEXT_H

#include "tunwright/model.h"

#include <string.h>

#define TUN             "{\"name\":\"tun0\",\"kind\":\"tun\""
#define TAP             "{\"name\":\"tap0\",\"kind\":\"tap\""
#define REPEAT_4(text)  text text text text
#define REPEAT_16(text) REPEAT_4(REPEAT_4(text))
#define REPEAT_64(text) REPEAT_4(REPEAT_16(text))

static inline struct device *device_of(const char *text)
{
    struct err_list errors = {0};
    struct device *device = NULL;
    if (device_parse(text, strlen(text), NULL, false, &device, &errors) < 0)
        fail_msg("%s: %s %s: %s", text, err_code_name(errors.items[0].code), errors.items[0].pointer,
                 errors.items[0].message);
    assert_int_equal(errors.count, 0);
    return device;
}

static inline struct ip_prefix prefix_of(const char *text)
{
    struct ip_prefix prefix;
    assert_int_equal(ip_prefix_parse(text, &prefix), 0);
    return prefix;
}

static inline struct route route_of(const char *text)
{
    struct err_list errors = {0};
    struct route route;
    if (route_parse(text, strlen(text), NULL, &route, &errors) < 0)
        fail_msg("%s: %s", text, errors.items[0].message);
    return route;
}

/* "code pointer" of each fault, separated by "; ". */
static inline char *faults_of(const struct err_list *errors)
{
    struct buf text = {0};
    for (size_t i = 0; i < errors->count; i++) {
        const struct err *e = &errors->items[i];
        buf_printf(&text, "%s%s %s", i > 0 ? "; " : "", err_code_name(e->code), e->pointer);
        assert_true(e->message[0] != '\0');
        for (const char *at = e->message; *at != '\0'; at++)
            assert_true(*at >= ' ' && *at <= '~');
    }
    char *taken = buf_take(&text);
    assert_non_null(taken);
    return taken;
}

#endif

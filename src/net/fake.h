/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the kernel in memory (fake_link.c, fake_address.c, fake_route.c), apart from the provider around them
 * (fake.c). Each refuses as the kernel does, and then changes nothing; tests/unit/test_net.c holds them against the
 * real one.
 */
#ifndef TUNWRIGHT_NET_FAKE_H
#define TUNWRIGHT_NET_FAKE_H

#include "tunwright/net.h"

/* The device that a step means, or NULL with -ENODEV in *ret_err. */
struct observed_link *fake_link_find(struct kernel_fake *fake, const struct device_key *key, struct err *ret_err);

int fake_device_create(struct kernel_fake *fake, const struct device_key *key, const struct device_create *create,
                       struct err *ret_err);
int fake_device_delete(struct kernel_fake *fake, const struct device_key *key, struct err *ret_err);
int fake_device_adopt(struct kernel_fake *fake, const struct device_key *key, const struct device_adopt *adopt,
                      struct err *ret_err);
int fake_device_release(struct kernel_fake *fake, const struct device_key *key, struct err *ret_err);
int fake_link_set(struct kernel_fake *fake, const struct device_key *key, const struct link_settings *settings,
                  struct err *ret_err);
int fake_address_add(struct kernel_fake *fake, const struct device_key *key, const struct ip_prefix *address,
                     struct err *ret_err);
int fake_address_delete(struct kernel_fake *fake, const struct device_key *key, const struct ip_prefix *address,
                        struct err *ret_err);
int fake_route_add(struct kernel_fake *fake, const struct device_key *key, const struct route *route,
                   struct err *ret_err);
int fake_route_delete(struct kernel_fake *fake, const struct device_key *key, const struct route *route,
                      uint8_t protocol, struct err *ret_err);

#endif

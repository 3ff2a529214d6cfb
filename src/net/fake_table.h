/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the fake kernel: what happens to a device's addresses and routes when something else happens to the device. */
#ifndef TUNWRIGHT_NET_FAKE_TABLE_H
#define TUNWRIGHT_NET_FAKE_TABLE_H

#include "tunwright/net.h"

#define FAKE_MTU_MIN_IPV6 1280 /* below it a device has no IPv6 at all */

/* The device's routes of a family (0: all) are gone. */
void fake_routes_drop(struct observed_link *link, int family);
/* So are its addresses of a family, and whatever hung on them. */
void fake_addresses_drop(struct kernel_fake *fake, struct observed_link *link, int family);
/* The device went up: it has a link-local address, made by the kernel. 0 or -ENOMEM. */
int fake_link_local_add(struct observed_link *link);

#endif

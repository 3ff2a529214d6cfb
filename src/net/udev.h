/* SPDX-License-Identifier: Apache-2.0 */
/* udev: asking it to look at a device again. */
#ifndef NET_UDEV_H
#define NET_UDEV_H

#include "tunwright/net.h"

/* Once our alias is on a device. Does nothing where there is no udev, or the device is in another namespace than its. */
void udev_look_again(const struct device_key *key);

#endif

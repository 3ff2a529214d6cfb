/* SPDX-License-Identifier: Apache-2.0 */
/* adopt: what document a device has that somebody else made. Private to the engine and its tests. */
#ifndef TUNWRIGHT_ENGINE_ADOPT_H
#define TUNWRIGHT_ENGINE_ADOPT_H

#include "tunwright/engine.h"

/*
 * The document that describes the device as it is, valid and normalised: to want it is to want no change but the taking
 * over. It has no worker, and `drift` is "report", so that nothing is fought over before anybody has said so. Addresses
 * that the kernel made are not in it, nor are routes that are not an administrator's (or ours, of an earlier life).
 *
 * -EEXIST with ERR_FOREIGN_DEVICE where it carries an alias; -EINVAL with ERR_KERNEL_REFUSED where it is no persistent
 * TUN/TAP device, and otherwise with a pointer where no document can say what was found. *ret_device is owned.
 */
int adopt_document(const struct observed_link *link, struct device **ret_device, struct err *ret_err);

#endif

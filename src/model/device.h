/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device: what the files of the model share about the document's structs.
 */
#ifndef TUNWRIGHT_MODEL_DEVICE_H
#define TUNWRIGHT_MODEL_DEVICE_H

#include "fault.h"
#include "tunwright/model.h"

#define DEVICE_MTU_MIN        68 /* RFC 791: what IPv4 asks of every link */
#define DEVICE_MTU_MAX_TUN    65535
#define DEVICE_MTU_MAX_TAP    65521 /* the Ethernet header counts (drivers/net/tun.c: MAX_MTU - hard_header_len) */
#define DEVICE_TXQUEUELEN_MAX 1000000
#define ROUTE_TABLE_MAIN      254
#define ROUTE_TABLE_LOCAL     255
#define ROUTE_METRIC_IPV6     1024 /* the kernel's own for metric 0 (net/ipv6: IP6_RT_PRIO_USER) */
#define MONITOR_LOG_RATE_MAX  1000

/* 1 to 63 of A-Z a-z 0-9 _ . - that begin with a letter or digit: keys of labels, names of tokens. */
bool label_key_is_valid(const char *key);
/* At most 255 bytes without control characters, of text that is UTF-8 already. */
bool label_value_is_valid(const char *value);

/* Routes by table, family, destination and metric: 0 where route_key_equal. */
int route_key_compare(const struct route *a, const struct route *b);
void route_normalise(struct route *route);
void device_routes_sort(struct device *device);

/*
 * The rules of one entry by itself. Absent parts (family 0) are passed over: a reader of JSON has reported them, with a
 * better word than could be found here. 0 or -EINVAL.
 */
int address_validate(const struct ip_prefix *address, const struct fault_path *path, struct err_list *errors);
int route_validate(const struct route *route, const struct fault_path *path, struct err_list *errors);
int worker_validate(const struct worker_config *worker, const struct fault_path *path, struct err_list *errors);

/*
 * The rules between fields and entries of the document at `path`. Holes (kind DEVICE_KIND_N, family 0) are passed over
 * here too. 0, -EINVAL, or -ENOMEM (which is then in the list).
 */
int device_validate_between(const struct device *device, const struct fault_path *path, struct err_list *errors);

#endif

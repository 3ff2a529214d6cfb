/* SPDX-License-Identifier: Apache-2.0 */
/* Without cJSON, which tunwright-netd has nothing to do with: it empties specs, and reads none. */
#include "tunwright/model.h"

#include <stdlib.h>
#include <string.h>

static bool socket_ports_overlap(const struct socket_spec *a, const struct socket_spec *b)
{
    return a->local.port < b->local.port + b->count && b->local.port < a->local.port + a->count;
}

/* An IPv6 socket has no IPv4 address, not even [::]: netd sets IPV6_V6ONLY. */
static bool socket_addresses_meet(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->family == b->family && (ip_addr_is_any(a) || ip_addr_is_any(b) || ip_addr_equal(a, b));
}

bool socket_specs_collide(const struct socket_spec *a, const struct socket_spec *b)
{
    bool apart = a->interface[0] != '\0' && b->interface[0] != '\0' && strcmp(a->interface, b->interface) != 0;
    return !apart && a->type == b->type && socket_addresses_meet(&a->local.addr, &b->local.addr) &&
           socket_ports_overlap(a, b);
}

void worker_spec_done(struct worker_spec *spec)
{
    free(spec->config);
    *spec = (struct worker_spec){0};
}

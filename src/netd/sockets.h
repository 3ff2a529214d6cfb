/* SPDX-License-Identifier: Apache-2.0 */
/* sockets: a worker's sockets on the wire side, opened in our own network namespace. */
#ifndef NETD_SOCKETS_H
#define NETD_SOCKETS_H

#include "tunwright/model.h"

/* One descriptor for each spec: another one of the same open socket where one of `held` is what the spec asks for, else
 * a new one. -EADDRINUSE is ERR_ADDRESS_IN_USE. On failure none is left. */
int sockets_open(const struct socket_spec *specs, size_t count, const int *held, size_t held_count, int *ret_fds,
                 struct err *ret_err);
void sockets_close(int *fds, size_t count);
/* Whether a descriptor of unknown origin is a bound UDP socket. */
bool socket_is_sound(int fd);

#endif

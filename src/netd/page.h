/* SPDX-License-Identifier: Apache-2.0 */
/* page: the counter page of a worker, a sealed memfd. */
#ifndef NETD_PAGE_H
#define NETD_PAGE_H

#include "tunwright/base.h"

/* A memfd of fixed size for ever, zeroes behind its head (borrowed), readable and writable. */
int memfd_create_sealed(const char *name, size_t size, const void *head, size_t head_length, int *ret_fd,
                        struct err *ret_err);
/* A page of zeroes with its head filled in: of fixed size for ever, and readable and writable. */
int page_create(int *ret_fd, struct err *ret_err);
/* Whether a descriptor of unknown origin is such a page (what it holds is another matter). */
bool page_is_sound(int fd);
/* The same page, for reading only. */
int page_open_read_only(int fd, int *ret_fd, struct err *ret_err);

#endif

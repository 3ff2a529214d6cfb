/* SPDX-License-Identifier: Apache-2.0 */
/* converge: observe, plan, apply and look again, until nothing is left to do. Private to the engine. */
#ifndef TUNWRIGHT_ENGINE_CONVERGE_H
#define TUNWRIGHT_ENGINE_CONVERGE_H

#include "plan.h"

#define CONVERGE_ROUNDS 4 /* setting a device down loses its IPv6 addresses: some plans take a second one */

/* One device on its way, and what became of it. */
struct converge_item {
    struct wanted wanted;
    bool held; /* plan it, but touch nothing */

    bool differs;         /* the last plan had steps for it */
    bool recreated;       /* its device was deleted or made */
    bool worker_replaced; /* its worker was stopped or started */
    size_t applied;       /* steps carried out; the first of them: */
    enum step_kind mended;
    char mended_pointer[ERR_POINTER_MAX];
    int error; /* 0, or why it stopped */
    struct err err;
    char first[ERR_OPERATION_MAX]; /* the kind of the first step that the last plan had for it */
};

enum converge_mode {
    CONVERGE_ATOMIC,      /* stop at the first refusal: the caller rolls back */
    CONVERGE_BEST_EFFORT, /* a refusal ends the way of its device; the others go on */
};

/*
 * Leads the kernel to what the items want. `look` is the caller's first look at it, and holds the last one on return.
 * Atomic: the first item's error. Best effort: 0, and each item has its own. In both, an error where the kernel cannot
 * be seen or reached any more.
 */
int converge(struct kernel *kernel, struct converge_item *items, size_t count, enum converge_mode mode,
             struct observed *look, struct err *ret_err);
/* The same, and says how far it is. */
struct progress;
int converge_telling(struct kernel *kernel, struct converge_item *items, size_t count, enum converge_mode mode,
                     struct observed *look, struct progress *progress, struct err *ret_err);

/* What the first round would do. Atomic: an error where one of the items cannot be had. The plan is the caller's to
 * empty. */
int converge_plan(struct converge_item *items, size_t count, const struct observed *look, struct plan *plan,
                  struct err *ret_err);

/* A fresh look at the daemon's netns and all those that the items are about. Replaces what is in `look`; leaves it
 * alone on failure. */
int converge_look(struct kernel *kernel, const struct converge_item *items, size_t count, struct observed *look,
                  struct err *ret_err);

/* One plan, without looking before or after. Puts a pointer into the document on the refusal of a step. `progress` may be
 * NULL. */
int plan_apply(struct kernel *kernel, const struct plan *plan, struct converge_item *items, size_t count,
               enum converge_mode mode, struct progress *progress, struct err *ret_err);

/* Whether this says that netd is not there or does not answer, rather than that it refused. */
bool error_is_absence(int error, const struct err *err);

#endif

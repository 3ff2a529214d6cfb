/* SPDX-License-Identifier: Apache-2.0 */
/* transaction: some devices, led from what they are to what they shall be, all of them or none. Private to the engine.
 */
#ifndef TUNWRIGHT_ENGINE_TRANSACTION_H
#define TUNWRIGHT_ENGINE_TRANSACTION_H

#include "progress.h"
#include "state.h"

#define PLACE_NONE SIZE_MAX

/* One device of a transaction. */
struct part {
    struct tracked *current;         /* borrowed; NULL: there is none yet */
    struct document *next;           /* one reference; NULL: the device goes */
    struct tracked *candidate;       /* owned until the commit; NULL: the device goes, or its document stays as it is */
    struct document *before, *tried; /* each one reference: what the way there, and the way back, has to take away from.
                                        As `current` and `next`, but for what changes hands; NULL where those are */
    struct document *found; /* one reference: as the device was, and will be where it goes back, without our mark */
    struct uuid uuid;
    uint64_t generation; /* what the candidate gets; 0: the next one */
    int64_t created_ns;  /* 0: as it is, or now */
    bool writes;         /* the document differs: there is something to commit */
    bool adopts;         /* the device is there, and not ours yet */
    bool releases;       /* it goes out of our hands, but stays in the kernel */
    bool yields;         /* another part's worker takes the address of its worker, or its own does anew … */
    bool yields_back;    /* … and on the way back */
    bool announced;      /* a row says that this is under way */
    bool touched;        /* it failed, and the kernel may not be as it was … */
    bool remembered;     /* … and could not be led back */
    size_t place;        /* of its document in the request's list; PLACE_NONE: it is in none */
};

struct transaction {
    struct engine *engine;
    struct err_list *errors; /* borrowed: what went wrong */
    const struct actor *actor;
    const struct selector *selector; /* what of other devices may be spoken of */
    bool whole;                      /* it is about the configuration: pointers begin with /devices/<place> */
    bool numbered;                   /* the name of the one device may end in %d */
    bool dry_run;
    bool forced;        /* what the kernel says to it does not count: the resync sees to that later */
    bool ends_pending;  /* the change that waits for its confirmation waits no longer */
    bool reverts;       /* … because it is undone */
    uint32_t confirm_s; /* it waits for a confirmation itself */
    const char *file;   /* borrowed: the start-up file that it comes from, NULL: none */
    const uint8_t *file_digest;

    struct progress progress;

    struct part *parts; /* by name, from transaction_run on */
    size_t count, capacity;
    struct converge_item *items; /* items[i] leads parts[i] there */
    struct observed look;
    struct plan plan; /* of a dry run */
    char *differences;

    /* made beforehand, so that neither the commit nor the way back can run out of memory */
    struct converge_item *back; /* back[i] undoes parts[i] … */
    struct device *tried;       /* … which was about to become this: shallow */
    struct tracked **list;      /* the engine's devices as they will be; after the commit: as they were */
    size_t list_count, list_capacity;
    struct pending *pending; /* the engine's as it will be, where `confirm_s` or `ends_pending` */
};
void transaction_done(struct transaction *transaction);

/* Adds a device. Takes the reference to `next`, on failure too; NULL: the device `current` goes. *ret_part is valid
 * until the next one is added. */
int transaction_add(struct transaction *transaction, struct tracked *current, struct document *next,
                    struct part **ret_part);
bool transaction_writes(const struct transaction *transaction); /* some document differs */
/* From the rules to the commit; of a dry run: to the plan. A failure says in `errors` why, and changed nothing. */
int transaction_run(struct transaction *transaction);

const char *part_name(const struct part *part);
/* Adds the fault of one device (NULL: of none), its pointer into the request. Returns `error`. */
int transaction_fail(const struct transaction *transaction, const struct part *part, int error, const struct err *err);

/* The part whose item has an error. NULL: none. */
const struct part *transaction_culprit(const struct transaction *transaction);

/* commit.c: all of it, in the store and in the kernel, or nothing. */
int transaction_carry_out(struct transaction *transaction);

/* pending.c: the devices as they are before this transaction, to be put back unless it is confirmed. NULL: no memory. */
struct pending *pending_new(const struct transaction *transaction);
/* The parts that undo what waits. There must be something that waits. */
int pending_restore(struct transaction *transaction);
/* Its time runs from now. */
void pending_start(struct pending *pending);

/* foresight.c: whether the kernel would refuse a step of the plan, as far as a look can tell: which, and why. */
int plan_foresee(const struct plan *plan, const struct observed *look, const struct step **ret_step,
                 struct err *ret_err);

/* rules.c: what must hold between devices, of the configuration as it would be. */
int transaction_check_rules(const struct transaction *transaction);
/* rules.c: of each part, `before` and `tried`, and whether it yields. */
int transaction_check_hands(struct transaction *transaction);
/* rollback.c: the kernel as it was before. The store's transaction must be over. */
void transaction_roll_back(struct transaction *transaction);
/* rollback.c: what was announced is not under way any more. */
void transaction_forget(struct transaction *transaction);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Somebody undoes what we do. Three repairs of a device that was ready, within a minute, are taken for a fight, which
 * the two of us could go on with for ever, and which no packet would get past. The wiser gives in: from then on the
 * device is only looked at, its state says that it is contested and what for, and it is led back to its document when
 * nothing of it has changed for a minute, or when somebody asks for it with a change.
 */
#include "state.h"

#include <string.h>

#define CONTEST_WINDOW_NS (60 * NSEC_PER_SEC)
#define CONTEST_PAUSE_NS  (60 * NSEC_PER_SEC)

bool contest_holds(const struct tracked *tracked, int64_t now_ns)
{
    if (tracked->contested)
        return now_ns < tracked->deviated_ns + CONTEST_PAUSE_NS;
    return tracked->repairs_ns[0] != 0 && now_ns < tracked->repairs_ns[0] + CONTEST_WINDOW_NS;
}

void contest_begin(struct tracked *tracked, int64_t now_ns)
{
    if (tracked->contested)
        return;
    log_warning("%s: somebody undoes what we do (%s%s%s): it is only looked at from now on", tracked_name(tracked),
                tracked->mended, tracked->mended_pointer[0] ? " at " : "", tracked->mended_pointer);
    tracked->contested = true;
    tracked->deviated_ns = now_ns;
}

void contest_end(struct tracked *tracked)
{
    tracked->contested = false;
    memset(tracked->repairs_ns, 0, sizeof(tracked->repairs_ns));
}

void contest_repaired(struct tracked *tracked, const struct converge_item *item, int64_t now_ns)
{
    memmove(tracked->repairs_ns, tracked->repairs_ns + 1, (CONTEST_REPAIRS - 1) * sizeof(tracked->repairs_ns[0]));
    tracked->repairs_ns[CONTEST_REPAIRS - 1] = now_ns;
    (void)text_copy(tracked->mended, sizeof(tracked->mended), step_kind_name(item->mended));
    memcpy(tracked->mended_pointer, item->mended_pointer, sizeof(tracked->mended_pointer));
    log_info("%s: led back to its document (%s%s%s first)", tracked_name(tracked), tracked->mended,
             tracked->mended_pointer[0] ? " at " : "", tracked->mended_pointer);
}

int64_t contest_due_ns(const struct tracked *tracked)
{
    return tracked->deviated_ns + CONTEST_PAUSE_NS;
}

void contest_reason(const struct tracked *tracked, struct err *ret_reason)
{
    (void)err_set(ret_reason, 0, ERR_CONTESTED, tracked->mended_pointer,
                  "somebody undoes what we do: %s was needed again and again, %d times within %d s; it is left alone "
                  "until nothing has changed for %d s, or its document is put again",
                  tracked->mended, CONTEST_REPAIRS, (int)(CONTEST_WINDOW_NS / NSEC_PER_SEC),
                  (int)(CONTEST_PAUSE_NS / NSEC_PER_SEC));
    (void)text_copy(ret_reason->operation, sizeof(ret_reason->operation), tracked->mended);
}

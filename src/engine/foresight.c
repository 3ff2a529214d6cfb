/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a dry run can tell of what the kernel would refuse: a network namespace or a master that is not there, or is no
 * bridge. The words are those of the kernel's side. What only trying can tell (a gateway that cannot be reached, an
 * address that somebody's socket has) stays untold.
 */
#include "transaction.h"

#include <errno.h>
#include <string.h>

/* Each has at least its loopback device. */
static bool netns_is_there(const struct observed *look, const char *netns)
{
    for (size_t i = 0; i < look->link_count; i++)
        if (strcmp(look->links[i].netns, netns) == 0)
            return true;
    return false;
}

static int foresee_netns(const struct observed *look, const char *netns, struct err *ret_err)
{
    if (!netns[0] || netns_is_there(look, netns))
        return 0;
    (void)err_set_kernel(ret_err, -ENOENT, "open", "cannot open the network namespace %s", netns);
    (void)text_copy(ret_err->pointer, sizeof(ret_err->pointer), "/netns");
    return -ENOENT;
}

static int foresee_master(const struct observed *look, const struct step *step, struct err *ret_err)
{
    const struct observed_link *master = observed_link_find(look, step->device.netns, step->link.master);
    int r;

    if (master && master->kind == OBSERVED_OTHER)
        return 0;
    if (master)
        r = err_set_kernel(ret_err, -EOPNOTSUPP, "RTM_NEWLINK", "cannot make %s a port of its master",
                           step->device.name);
    else
        r = err_set_kernel(ret_err, -ENODEV, "RTM_GETLINK", "no device %s", step->link.master);
    (void)text_copy(ret_err->pointer, sizeof(ret_err->pointer), "/master");
    return r;
}

static bool step_has_master(const struct step *step)
{
    return step->kind == STEP_LINK_SET && step->link.set & LINK_MASTER && step->link.master[0];
}

int plan_foresee(const struct plan *plan, const struct observed *look, const struct step **ret_step,
                 struct err *ret_err)
{
    const struct step *netns = NULL, *master = NULL; /* the last that were there: a thousand devices share a few */

    for (size_t i = 0; i < plan->count; i++) {
        const struct step *step = &plan->steps[i];
        int r = 0;

        if (step->kind == STEP_DEVICE_CREATE && !(netns && strcmp(netns->device.netns, step->device.netns) == 0)) {
            r = foresee_netns(look, step->device.netns, ret_err);
            netns = step;
        }
        if (step_has_master(step) && !(master && strcmp(master->device.netns, step->device.netns) == 0 &&
                                       strcmp(master->link.master, step->link.master) == 0)) {
            r = foresee_master(look, step, ret_err);
            master = step;
        }
        if (r < 0) {
            *ret_step = step;
            return r;
        }
    }
    return 0;
}

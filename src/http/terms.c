/* SPDX-License-Identifier: Apache-2.0 */
#include "terms.h"

#include "precondition.h"
#include "route_table.h"

#include <errno.h>
#include <string.h>

static int dry_run_read(const char *text, bool *ret_dry_run, struct err *ret_err)
{
    if (strcmp(text, "true") && strcmp(text, "false"))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "dry_run is true or false");
    *ret_dry_run = *text == 't';
    return 0;
}

static int confirm_read(const char *text, uint32_t *ret_confirm_s, struct err *ret_err)
{
    uint64_t seconds;
    if (text_to_u64(text, CONFIRM_MAX_S, &seconds) || !seconds)
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "confirm_s is a number of seconds from 1 to %d",
                       CONFIRM_MAX_S);
    *ret_confirm_s = (uint32_t)seconds;
    return 0;
}

int terms_read(const struct route_row *row, const struct target *target, const struct head *head,
               struct terms *ret_terms, struct err *ret_err)
{
    struct terms terms = {.dry_run = false};
    const char *dry_run = row->flags & ROUTE_CHANGES ? target_query_find(target, "dry_run") : NULL;
    const char *confirm_s = row->flags & ROUTE_CONFIRMABLE ? target_query_find(target, "confirm_s") : NULL;
    int error = dry_run ? dry_run_read(dry_run, &terms.dry_run, ret_err) : 0;
    if (!error && confirm_s)
        error = confirm_read(confirm_s, &terms.confirm_s, ret_err);
    if (!error && terms.dry_run && terms.confirm_s)
        error = err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "",
                        "dry_run changes nothing, so there is nothing to confirm: leave dry_run or confirm_s out");
    if (!error && row->flags & ROUTE_CONDITIONAL)
        error = precondition_read(head, &terms.precondition, ret_err);
    if (!error)
        *ret_terms = terms;
    return error;
}

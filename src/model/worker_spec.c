/* SPDX-License-Identifier: Apache-2.0 */
/* Without cJSON: tunwright-netd keeps and copies specs, and reads none. */
#include "tunwright/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void worker_spec_done(struct worker_spec *spec)
{
    free(spec->config);
    *spec = (struct worker_spec){0};
}

int worker_spec_copy(const struct worker_spec *spec, struct worker_spec *ret_spec)
{
    struct worker_spec copy = *spec;

    if (spec->config) {
        copy.config = malloc(spec->config_length + 1);
        if (!copy.config)
            return -ENOMEM;
        memcpy(copy.config, spec->config, spec->config_length);
        copy.config[spec->config_length] = '\0';
    }
    *ret_spec = copy;
    return 0;
}

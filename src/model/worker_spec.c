/* SPDX-License-Identifier: Apache-2.0 */
/* Without cJSON, which tunwright-netd has nothing to do with: it empties specs, and reads none. */
#include "tunwright/model.h"

#include <stdlib.h>

void worker_spec_done(struct worker_spec *spec)
{
    free(spec->config);
    *spec = (struct worker_spec){0};
}

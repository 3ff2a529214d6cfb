/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress: how far a change is, told while it is carried out. Private to the engine.
 *
 * Only what is long is told: a change of many steps from the start, another one once it has lasted a while. A plan may be
 * followed by another one, and by the way back: then there is more to do than was said before.
 */
#ifndef TUNWRIGHT_ENGINE_PROGRESS_H
#define TUNWRIGHT_ENGINE_PROGRESS_H

#include "tunwright/engine.h"

#define PROGRESS_STEPS_MANY 20
#define PROGRESS_LONG_NS    (200 * NSEC_PER_MSEC)
#define PROGRESS_EVERY_NS   (200 * NSEC_PER_MSEC)

struct progress {
    const struct engine_options *options; /* borrowed: who is told */
    struct change_progress shown;
    bool is_told; /* somebody was, and will be told of the end */
    int64_t begun_ns, told_ns;
};
void progress_begin(struct progress *progress, const struct engine_options *options, const struct actor *actor,
                    int64_t now_ns);
/* Each takes NULL: nobody wants to know. */
void progress_plan(struct progress *progress, size_t steps, int64_t now_ns);
void progress_step(struct progress *progress, size_t steps, int64_t now_ns);
void progress_end(struct progress *progress);

#endif

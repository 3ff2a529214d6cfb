/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

static void tell(struct progress *progress, int64_t now_ns)
{
    progress->is_told = true;
    progress->told_ns = now_ns;
    progress->options->on_progress(progress->options->context, &progress->shown);
}

void progress_begin(struct progress *progress, const struct engine_options *options, const struct actor *actor,
                    int64_t now_ns)
{
    *progress = (struct progress){.options = options, .begun_ns = now_ns};
    (void)text_copy(progress->shown.operation, sizeof(progress->shown.operation), actor->operation);
    (void)text_copy(progress->shown.actor, sizeof(progress->shown.actor), actor->name);
}

void progress_plan(struct progress *progress, size_t steps, int64_t now_ns)
{
    if (!progress || !progress->options || !progress->options->on_progress)
        return;
    progress->shown.total += steps;
    if (!progress->is_told && progress->shown.total > PROGRESS_STEPS_MANY)
        tell(progress, now_ns);
}

void progress_step(struct progress *progress, size_t steps, int64_t now_ns)
{
    if (!progress || !progress->options || !progress->options->on_progress)
        return;
    progress->shown.done += steps;
    if (progress->is_told ? now_ns - progress->told_ns >= PROGRESS_EVERY_NS
                          : now_ns - progress->begun_ns >= PROGRESS_LONG_NS)
        tell(progress, now_ns);
}

void progress_end(struct progress *progress)
{
    if (!progress->is_told)
        return;
    progress->shown.finished = true;
    tell(progress, progress->told_ns);
}

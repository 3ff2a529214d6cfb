/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"
#include "handlers.h"
#include "server.h"

#include "tunwright/history.h"

#include <errno.h>
#include <inttypes.h>

static int read_scale(const struct request *request, enum history_scale *ret_scale, struct err *ret_err)
{
    const char *text = request_query(request, "step_s");
    uint64_t step_s = history_scale_sizes[0].step_s;
    if (text && text_to_u64(text, UINT32_MAX, &step_s))
        step_s = 0;
    for (unsigned scale = 0; scale < HISTORY_SCALE_N; scale++) {
        if (step_s == history_scale_sizes[scale].step_s) {
            *ret_scale = (enum history_scale)scale;
            return 0;
        }
    }
    return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "step_s is 1, 10 or 60");
}

static int read_limit(const struct request *request, size_t *ret_limit, struct err *ret_err)
{
    const char *text = request_query(request, "limit");
    uint64_t limit = HISTORY_STEPS_MAX;
    if (text && (text_to_u64(text, HISTORY_STEPS_MAX, &limit) || !limit))
        return err_set(ret_err, -EINVAL, ERR_INVALID_QUERY, "", "limit is a number from 1 to %d", HISTORY_STEPS_MAX);
    *ret_limit = (size_t)limit;
    return 0;
}

static void print_series(struct buf *out, enum history_series series, const struct history_view *view)
{
    bool is_kernels = series <= HISTORY_KERNEL_DROPPED;
    buf_printf(out, "\"%s\":[", history_series_name(series));
    for (size_t i = 0; i < view->count; i++) {
        const struct history_step *step = &view->steps[i];
        if (i)
            buf_add(out, ",", 1);
        if (is_kernels ? step->has_kernel : step->has_worker)
            buf_add_u64(out, step->values[series]);
        else
            buf_add(out, "null", 4);
    }
    buf_add(out, "]", 1);
}

/* A device's name needs no escapes. */
static void print_history(struct buf *out, const char *name, unsigned step_s, const struct history_view *view)
{
    char start[CLOCK_TEXT_SIZE], end[CLOCK_TEXT_SIZE];
    int64_t start_ns = view->end_ns - (int64_t)view->count * step_s * NSEC_PER_SEC;
    buf_printf(out, "{\"device\":\"%s\",\"step_s\":%u,\"start\":\"%s\",\"end\":\"%s\",\"series\":{", name, step_s,
               clock_print(start_ns, start), clock_print(view->end_ns, end));
    for (unsigned series = 0; series < HISTORY_SERIES_N; series++) {
        if (series)
            buf_add(out, ",", 1);
        print_series(out, (enum history_series)series, view);
    }
    buf_add_text(out, "}}\n");
}

void device_history_get(struct request *request)
{
    const struct snapshot *snapshot CLEANUP(devices_snapshot_done) = NULL;
    const struct snapshot_device *device = devices_find(request, &snapshot);
    struct history_view view CLEANUP(history_view_done) = {.count = 0};
    enum history_scale scale = HISTORY_SECONDS;
    size_t limit = 0;
    struct err e;
    if (!device)
        return;
    if (read_scale(request, &scale, &e) || read_limit(request, &limit, &e)) {
        answer_problem(request, &e);
        return;
    }
    if (history_read(request->server->history, device, scale, limit, &view)) {
        answer_no_memory(request);
        return;
    }
    struct buf text = {0};
    print_history(&text, device->stored.device->name, history_scale_sizes[scale].step_s, &view);
    struct shared_response *answer = shared_response_of_json(&text);
    if (answer)
        answer_shared(request, answer);
    else
        answer_no_memory(request);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tunwright-netd: the privileged hands of tunwrightd. */
#include "netd.h"

#ifndef TUNWRIGHT_LIBEXECDIR
#define TUNWRIGHT_LIBEXECDIR "/usr/local/libexec"
#endif

int main(int argc, char **argv)
{
    struct netd_options options = {.run_dir = "/run/tunwright",
                                   .worker_dir = TUNWRIGHT_LIBEXECDIR "/tunwright",
                                   .user = "tunwright",
                                   .worker_user = "tunwright-worker"};
    const char *level_name = "info";
    const struct option_row rows[] = {
        {"run-dir", "DIR", "directory of netd.sock and of the workers' sockets", &options.run_dir, NULL, NULL},
        {"worker-dir", "DIR", "directory of the worker programs", &options.worker_dir, NULL, NULL},
        {"user", "USER", "who may give orders, beside root: tunwrightd's user", &options.user, NULL, NULL},
        {"worker-user", "USER", "whom the workers run as", &options.worker_user, NULL, NULL},
        {"log-level", "LEVEL", "error, warning, info or debug", &level_name, NULL, NULL},
    };
    int result = options_read(argc, argv, "tunwright-netd", "makes network devices and runs workers for tunwrightd",
                              rows, ARRAY_SIZE(rows));
    if (result != 0)
        return result > 0 ? 0 : 2;
    enum log_level level;
    log_open("tunwright-netd", LOG_LEVEL_INFO);
    if (!log_level_parse(level_name, &level)) {
        log_error("--log-level: not a level: %s", level_name);
        return 2;
    }
    log_open("tunwright-netd", level);

    static struct netd netd;
    struct err err = {0};
    result = netd_open(&netd, &options, &err);
    if (result == 0) {
        log_info("ready: run directory %s, worker directory %s", options.run_dir, netd.worker_dir);
        notify_service_manager("READY=1");
        result = netd_run(&netd, &err);
    }
    if (result < 0)
        log_error("%s", err.message);
    netd_close(&netd);
    return result < 0 ? 1 : 0;
}

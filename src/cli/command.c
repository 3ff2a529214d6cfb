/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#define KINDS         "tun tap"
#define DRIFTS        "repair report"
#define ROLES         "reader operator admin"
#define SECONDS       "SECONDS"
#define OPTIONS(rows) .options = rows, .option_count = ARRAY_SIZE(rows)

#define DRY_RUN                                                                                                        \
    {                                                                                                                  \
        "dry-run", 'n', NULL, "show the plan, and change nothing", NULL, false                                         \
    }
#define CONFIRM                                                                                                        \
    {                                                                                                                  \
        "confirm", 0, SECONDS, "take it back after so long, unless `tunwright confirm` comes", NULL, false             \
    }
#define IF_MATCH                                                                                                       \
    {                                                                                                                  \
        "if-match", 0, "ETAG", "only if this is its entity tag still", NULL, false                                     \
    }
#define SELECTOR                                                                                                       \
    {                                                                                                                  \
        "selector", 'l', "SELECTOR", "only devices whose labels match: site=berlin,!old", NULL, false                  \
    }

const struct command_option common_options[] = {
    {"output", 'o', "FORMAT", "table (for people), json (the API's own), name", "table json name", false},
    {"socket", 0, "PATH", "the daemon's Unix socket (default: " CALLER_SOCKET ")", COMPLETE_FILE, false},
    {"url", 0, "URL", "https://HOST:PORT instead, or http:// on loopback", NULL, false},
    {"token-file", 0, "FILE", "the token for --url; TUNWRIGHT_TOKEN may hold one, too", COMPLETE_FILE, false},
    {"ca", 0, "FILE", "whom the daemon's certificate must be signed by", COMPLETE_FILE, false},
    {"cert", 0, "FILE", "a client certificate", COMPLETE_FILE, false},
    {"key", 0, "FILE", "its key", COMPLETE_FILE, false},
    {"timeout", 0, SECONDS, "how long an answer may take (default: 300)", NULL, false},
    {"help", 'h', NULL, "print this and exit", NULL, false},
    {"version", 0, NULL, "print the version and exit", NULL, false},
};
const size_t common_option_count = ARRAY_SIZE(common_options);

static const struct command_option list_options[] = {SELECTOR};
static const struct command_option show_options[] = {
    {"counters", 'c', NULL, "its counters in full", NULL, false},
};
static const struct command_option create_options[] = {
    {"kind", 'k', "KIND", "tun carries IP packets, tap Ethernet frames (default: tun)", KINDS, false},
    {"address", 'a', "IP/LENGTH", "an address; once for each", NULL, true},
    {"route", 'r', "PREFIX[,via=IP]...", "a route into it: also metric= table= type= source=; once for each", NULL,
     true},
    {"worker", 'w', "TYPE[,KEY=VALUE]...", "udp,local=IP:PORT,remote=IP:PORT, or monitor, or echo", "udp, monitor echo",
     false},
    {"label", 0, "KEY=TEXT", "a label; once for each", NULL, true},
    {"mtu", 0, "BYTES", "default: what fits 1500 bytes of wire", NULL, false},
    {"down", 0, NULL, "leave it down", NULL, false},
    {"queues", 0, "N", "1 to 16", NULL, false},
    {"txqueuelen", 0, "PACKETS", "how many may wait for the worker", NULL, false},
    {"mac", 0, "MAC", "of a tap", NULL, false},
    {"owner", 0, "UID", "who may attach to the device", NULL, false},
    {"group", 0, "GID", "likewise", NULL, false},
    {"netns", 0, "NAME", "a named network namespace", NULL, false},
    {"master", 0, "BRIDGE", "the bridge that a tap belongs to", NULL, false},
    {"drift", 0, "WHAT", "what is done where the kernel differs later", DRIFTS, false},
    DRY_RUN,
    CONFIRM,
};
static const struct command_option set_options[] = {DRY_RUN, CONFIRM, IF_MATCH};
static const struct command_option delete_options[] = {DRY_RUN, CONFIRM, IF_MATCH};
static const struct command_option release_options[] = {DRY_RUN, CONFIRM, IF_MATCH};
static const struct command_option adopt_options[] = {
    {"netns", 0, "NAME", "the network namespace that it is in", NULL, false},
    DRY_RUN,
    CONFIRM,
};
#define FILES                                                                                                          \
    {                                                                                                                  \
        "file", 'f', "FILE", "a file, a directory (its *.json), or - for standard input; once for each",               \
            COMPLETE_FILE, true                                                                                        \
    }
#define PRUNE                                                                                                          \
    {                                                                                                                  \
        "prune", 0, NULL, "delete the devices that the files do not name; they must say {\"devices\": [...]}", NULL,   \
            false                                                                                                      \
    }
#define TOGETHER                                                                                                       \
    {                                                                                                                  \
        "together", 0, NULL, "all in one transaction, with everything else as it is: all or nothing", NULL, false      \
    }
static const struct command_option apply_options[] = {
    FILES, PRUNE, TOGETHER, DRY_RUN, CONFIRM, {"yes", 'y', NULL, "do not ask before devices are deleted", NULL, false},
};
static const struct command_option diff_options[] = {FILES, PRUNE, TOGETHER};
static const struct command_option export_options[] = {
    SELECTOR,
    {"write", 'w', "FILE", "to this file instead of standard output", COMPLETE_FILE, false},
};
static const struct command_option revert_options[] = {DRY_RUN};
static const struct command_option watch_options[] = {
    {"counters", 'c', NULL, "counters and rates as well", NULL, false},
    {"device", 'd', "NAME", "of this device only", COMPLETE_DEVICE, false},
    SELECTOR,
    {"interval", 'i', "MS", "milliseconds between two messages of counters (default: 1000)", NULL, false},
    {"after", 0, "SEQUENCE", "begin with the event after this one", NULL, false},
    {"count", 0, "N", "end after so many messages", NULL, false},
    {"for", 0, SECONDS, "end after so long", NULL, false},
};
static const struct command_option events_options[] = {
    {"last", 'n', "N", "the last N, 1 to 1000 (default: 50)", NULL, false},
    {"after", 0, "SEQUENCE", "those after this one instead, at most --last of them", NULL, false},
    {"device", 'd', "NAME", "of these, those of this device", COMPLETE_DEVICE, false},
};
static const struct command_option top_options[] = {
    SELECTOR,
    {"interval", 'i', "MS", "milliseconds between two looks (default: 1000)", NULL, false},
    {"sort", 's', "BY", "name, rate or drops (default: rate)", "name rate drops", false},
    {"once", '1', NULL, "print one table, and end", NULL, false},
};
static const struct command_option capture_options[] = {
    {"write", 'w', "FILE", "to this file; - is standard output, as without", COMPLETE_FILE, false},
    {"filter", 0, "EXPRESSION", "only packets that match, as tcpdump has it: udp port 53", NULL, false},
    {"snaplen", 0, "BYTES", "at most so much of each packet", NULL, false},
    {"count", 'c', "PACKETS", "end after so many", NULL, false},
    {"for", 0, SECONDS, "end after so long", NULL, false},
};
static const struct command_option token_create_options[] = {
    {"role", 0, "ROLE", "reader, operator or admin", ROLES, false},
    {"kind", 0, "KIND", "bearer (default), or certificate: NAME is then its common name", "bearer certificate", false},
    {"selector", 'l', "SELECTOR", "only for devices whose labels match", NULL, false},
    {"expires", 0, "TIME", "from when on it is worth nothing: 2027-01-01T00:00:00Z", NULL, false},
    DRY_RUN,
};
static const struct command_option token_delete_options[] = {DRY_RUN};

const struct command commands[] = {
    {.name = "list",
     .arguments = "",
     .summary = "devices, with their state",
     .run = command_list,
     OPTIONS(list_options)},
    {.name = "show",
     .arguments = "NAME",
     .summary = "one device, its state and its counters",
     .least = 1,
     .most = 1,
     .first = COMPLETE_DEVICE,
     .run = command_show,
     OPTIONS(show_options)},
    {.name = "create",
     .arguments = "NAME [FIELD=VALUE]...",
     .summary = "make a device; NAME may end in %d",
     .detail = "What has no option of its own is given as for set. A device that is there already is not changed.",
     .least = 1,
     .most = ARGUMENTS_MAX,
     .rest = COMPLETE_FIELD,
     .run = command_create,
     OPTIONS(create_options)},
    {.name = "set",
     .arguments = "NAME FIELD=VALUE...",
     .summary = "change fields of a device, and nothing else of it",
     .detail = "mtu=1400  up=false  labels.site=berlin  labels.old=null (no such label any more)\n"
               "addresses+=10.0.0.2/24  routes-=10.9.0.0/16  worker.remote=10.33.0.1:5000  worker=echo  worker=none\n"
               "A value is JSON where it can be read as JSON and the field is not text by its nature, else text;\n"
               "null gives a field its default. All fields of one call are one change.",
     .least = 2,
     .most = ARGUMENTS_MAX,
     .first = COMPLETE_DEVICE,
     .rest = COMPLETE_FIELD,
     .run = command_set,
     OPTIONS(set_options)},
    {.name = "delete",
     .arguments = "NAME...",
     .summary = "end devices, with their workers, addresses and routes",
     .least = 1,
     .most = ARGUMENTS_MAX,
     .first = COMPLETE_DEVICE,
     .rest = COMPLETE_DEVICE,
     .run = command_delete,
     OPTIONS(delete_options)},
    {.name = "adopt",
     .arguments = "NAME [FIELD=VALUE]...",
     .summary = "take over a TUN or TAP device that somebody else made",
     .least = 1,
     .most = ARGUMENTS_MAX,
     .rest = COMPLETE_FIELD,
     .run = command_adopt,
     OPTIONS(adopt_options)},
    {.name = "release",
     .arguments = "NAME",
     .summary = "let go of a device; it stays in the kernel",
     .least = 1,
     .most = 1,
     .first = COMPLETE_DEVICE,
     .run = command_release,
     OPTIONS(release_options)},
    {.name = "apply",
     .arguments = "-f FILE...",
     .summary = "make devices what files say",
     .detail =
         "A file holds a device, a list of them, {\"devices\": [...], \"absent\": [NAME...]}, or what list and export "
         "print.\n"
         "All are tried first and the plan is shown; where one is refused, nothing is done. Then each device is put\n"
         "by itself. Devices that no file names stay as they are, unless there is --prune.",
     .run = command_apply,
     OPTIONS(apply_options)},
    {.name = "diff",
     .arguments = "-f FILE...",
     .summary = "what apply would change: exit status 0 for nothing, 6 for something",
     .run = command_diff,
     OPTIONS(diff_options)},
    {.name = "export",
     .arguments = "[NAME]...",
     .summary = "the configuration, as apply takes it",
     .most = ARGUMENTS_MAX,
     .first = COMPLETE_DEVICE,
     .rest = COMPLETE_DEVICE,
     .run = command_export,
     OPTIONS(export_options)},
    {.name = "pending", .arguments = "", .summary = "the change that waits to be confirmed", .run = command_pending},
    {.name = "confirm", .arguments = "", .summary = "keep the change that waits", .run = command_confirm},
    {.name = "revert",
     .arguments = "",
     .summary = "take back the change that waits, now",
     .run = command_revert,
     OPTIONS(revert_options)},
    {.name = "watch",
     .arguments = "",
     .summary = "what happens, as it happens",
     .detail = "It comes back by itself where the daemon was restarted, and misses nothing that is still kept.",
     .run = command_watch,
     OPTIONS(watch_options)},
    {.name = "top",
     .arguments = "",
     .summary = "devices with their rates and drops, live",
     .detail = "Keys: q ends it, n sorts by name, r by rate, d by drops.",
     .run = command_top,
     OPTIONS(top_options)},
    {.name = "capture",
     .arguments = "NAME",
     .summary = "the packets of a device, as pcapng",
     .detail = "tunwright capture tun0 | wireshark -k -i -",
     .least = 1,
     .most = 1,
     .first = COMPLETE_DEVICE,
     .run = command_capture,
     OPTIONS(capture_options)},
    {.name = "events",
     .arguments = "",
     .summary = "what happened lately",
     .run = command_events,
     OPTIONS(events_options)},
    {.name = "token list", .arguments = "", .summary = "who may", .run = command_token_list},
    {.name = "token create",
     .arguments = "NAME --role ROLE",
     .summary = "make a token, and print its secret, this once",
     .least = 1,
     .most = 1,
     .run = command_token_create,
     OPTIONS(token_create_options)},
    {.name = "token delete",
     .arguments = "NAME",
     .summary = "end a token, at once",
     .least = 1,
     .most = 1,
     .first = COMPLETE_TOKEN,
     .run = command_token_delete,
     OPTIONS(token_delete_options)},
    {.name = "completion",
     .arguments = "SHELL",
     .summary = "print what makes bash, zsh or fish complete all this",
     .detail = "bash: source <(tunwright completion bash)    zsh: likewise    fish: tunwright completion fish | source",
     .least = 1,
     .most = 1,
     .first = "bash zsh fish",
     .run = command_completion},
    {.name = "version", .arguments = "", .summary = "of this program and of the daemon", .run = command_version},
    {.name = "help",
     .arguments = "[COMMAND]",
     .summary = "all commands, or one of them",
     .most = 2,
     .first = "@command",
     .run = command_help},
};
const size_t command_count = ARRAY_SIZE(commands);

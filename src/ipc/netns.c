/* SPDX-License-Identifier: Apache-2.0 */
#include "netns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int netns_identity(const char *name, struct stat *ret_status)
{
    char path[sizeof "/run/netns/" + NETNS_NAME_SIZE];
    snprintf(path, sizeof path, "/run/netns/%s", name);
    return stat(path, ret_status) < 0 ? -errno : 0;
}

static bool space_is_current(const struct netns_space *space)
{
    struct stat status;
    return netns_identity(space->name, &status) == 0 && status.st_dev == space->dev && status.st_ino == space->ino;
}

static void space_free(struct netns_space *space)
{
    net_ns_close(space->ns);
    fd_done(&space->events);
    free(space);
}

static void cache_remove(struct netns_cache *cache, size_t index)
{
    space_free(cache->spaces[index]);
    cache->spaces[index] = cache->spaces[--cache->count];
}

void netns_cache_done(struct netns_cache *cache)
{
    while (cache->count > 0)
        cache_remove(cache, cache->count - 1);
    free(cache->spaces);
    *cache = (struct netns_cache){0};
}

struct netns_space *netns_cache_find(struct netns_cache *cache, const char *name)
{
    for (size_t i = 0; i < cache->count; i++) {
        if (strcmp(cache->spaces[i]->name, name) != 0)
            continue;
        if (space_is_current(cache->spaces[i]))
            return cache->spaces[i];
        cache_remove(cache, i);
        break;
    }
    return NULL;
}

void netns_cache_drop(struct netns_cache *cache, const char *name)
{
    for (size_t i = cache->count; i-- > 0;)
        if (strcmp(cache->spaces[i]->name, name) == 0)
            cache_remove(cache, i);
}

static bool name_is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

void netns_cache_prune(struct netns_cache *cache, const char *const *names, size_t count)
{
    for (size_t i = cache->count; i-- > 0;)
        if (!name_is_among(cache->spaces[i]->name, names, count) || !space_is_current(cache->spaces[i]))
            cache_remove(cache, i);
}

/* Takes the answer's two descriptors. */
static int space_make(const char *name, const struct stat *status, struct ipc_answer *answer,
                      struct netns_space **ret_space, struct err *ret_err)
{
    struct netns_space *space = calloc(1, sizeof *space);
    if (!space)
        return err_no_memory(ret_err);
    text_copy(space->name, sizeof space->name, name);
    space->dev = status->st_dev;
    space->ino = status->st_ino;
    space->events = answer->fds[1];
    answer->fd_count = 0;
    int result = net_ns_adopt(answer->fds[0], name, &space->ns, ret_err);
    if (result == 0)
        result = fd_set_nonblocking(space->events);
    if (result < 0) {
        space_free(space);
        return result;
    }
    *ret_space = space;
    return 0;
}

int netns_cache_open(struct netns_cache *cache, struct ipc_client *client, const char *name, int64_t timeout_ms,
                     struct netns_space **ret_space, struct err *ret_err)
{
    struct stat status;
    struct ipc_request request;
    struct ipc_answer answer;
    struct netns_space *space = NULL;
    ipc_request_init(&request, IPC_NETNS_SOCKET);
    /* before netd looks: should the name change hands in between, the entry is stale at once, and not for ever */
    if (netns_identity(name, &status) < 0 || text_copy(request.device.netns, sizeof request.device.netns, name) < 0)
        return err_set(ret_err, -ENOENT, ERR_NOT_FOUND, "", "there is no network namespace %s", name);
    int result = ipc_client_call(client, &request, NULL, timeout_ms, &answer, ret_err);
    if (result == 0 && answer.fd_count != 2)
        result = err_set(ret_err, -EPROTO, ERR_INTERNAL, "", "tunwright-netd sent no sockets");
    void *spaces = cache->spaces;
    if (result == 0 && array_grow(&spaces, &cache->capacity, cache->count, sizeof *cache->spaces) < 0)
        result = err_no_memory(ret_err);
    cache->spaces = spaces;
    if (result == 0)
        result = space_make(name, &status, &answer, &space, ret_err);
    ipc_answer_done(&answer);
    if (result < 0)
        return result;
    cache->spaces[cache->count++] = space;
    *ret_space = space;
    return 0;
}

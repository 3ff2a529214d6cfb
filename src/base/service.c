/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon owes the system around it: who it runs as, and that it says when it is ready. */
#include "tunwright/base.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_service_manager(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || (*path != '/' && *path != '@') || text_copy(address.sun_path, sizeof address.sun_path, path))
        return;
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (*path == '@')
        address.sun_path[0] = '\0';
    else
        length++;
    int fd CLEANUP(fd_done) = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, length);
}

int service_user_find(const char *text, struct service_user *ret_user, struct err *ret_err)
{
    uint64_t number;
    if (!text_to_u64(text, UINT32_MAX - 1, &number)) {
        *ret_user = (struct service_user){(uint32_t)number, (uint32_t)number};
        return 0;
    }
    const struct passwd *entry = getpwnam(text); /* called before there are threads */
    if (!entry)
        return err_set(ret_err, -ENOENT, ERR_INVALID_VALUE, "",
                       "there is no user \"%s\" on this system: make it, or name another (see --help)", text);
    *ret_user = (struct service_user){entry->pw_uid, entry->pw_gid};
    return 0;
}

int service_group_find(const char *text, uint32_t *ret_gid, struct err *ret_err)
{
    uint64_t number;
    if (!text_to_u64(text, UINT32_MAX - 1, &number)) {
        *ret_gid = (uint32_t)number;
        return 0;
    }
    const struct group *entry = getgrnam(text); /* called before there are threads */
    if (!entry)
        return err_set(ret_err, -ENOENT, ERR_INVALID_VALUE, "", "there is no group \"%s\" on this system", text);
    *ret_gid = entry->gr_gid;
    return 0;
}

int service_user_become(const struct service_user *user, struct err *ret_err)
{
    if (setgroups(0, NULL) < 0)
        return err_set_kernel(ret_err, -errno, "setgroups", "cannot drop supplementary groups");
    if (setresgid(user->gid, user->gid, user->gid) < 0)
        return err_set_kernel(ret_err, -errno, "setresgid", "cannot become group %u", user->gid);
    if (setresuid(user->uid, user->uid, user->uid) < 0)
        return err_set_kernel(ret_err, -errno, "setresuid", "cannot become user %u", user->uid);
    if (user->uid && !setuid(0))
        return err_set(ret_err, -EPERM, ERR_INTERNAL, "", "user %u can become root again", user->uid);
    return 0;
}

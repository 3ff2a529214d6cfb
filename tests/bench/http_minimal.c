/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that libmicrohttpd can do: each GET gets the same body, from a server with the daemon's flags on a listener
 * of the daemon's kind. What the API costs is told by comparing with it.
 *
 *     http_minimal SOCKET BYTES        listens there until it gets SIGTERM, SIGINT or an end of file on its stdin
 */
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct body {
    char *text;
    size_t length;
};

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *data_length, void **request)
{
    (void)url, (void)version, (void)data, (void)data_length;
    static int begun;
    struct body *body = context;
    if (strcmp(method, "GET") != 0)
        return MHD_NO;
    if (!*request) { /* the head is there: the answer comes with the second call, as in the library's own example */
        *request = &begun;
        return MHD_YES;
    }
    *request = NULL;
    struct MHD_Response *response = MHD_create_response_from_buffer(body->length, body->text, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return result;
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (argc != 3 || strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: http_minimal SOCKET BYTES\n");
        return 2;
    }
    struct body body = {.length = strtoul(argv[2], NULL, 10)};
    body.text = malloc(body.length + 1);
    if (!body.text)
        return fail("malloc");
    memset(body.text, 'x', body.length);
    strcpy(address.sun_path, argv[1]);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1024) < 0)
        return fail(argv[1]);

    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0,
                         NULL, NULL, answer, &body, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                         MHD_OPTION_CONNECTION_LIMIT, 4096U, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32 << 10,
                         MHD_OPTION_CONNECTION_TIMEOUT, 30U, MHD_OPTION_END);
    if (!daemon)
        return fail("MHD_start_daemon");
    puts("listening");
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    MHD_stop_daemon(daemon);
    free(body.text);
    return 0;
}

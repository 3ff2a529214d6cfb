/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API from the socket to the kernel in memory and back: store, engine and server in this process, driven by bytes
 * on a Unix socket (and on TCP, where the token counts).
 */
#include "tunwright/http.h"

#include "http/auth.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_S 10
#define TOKEN      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ---- the world --------------------------------------------------------------------------------------------------- */

static struct {
    char directory[64], socket_path[96], database_path[96];
    struct store *store;
    struct kernel_fake *fake;
    const struct kernel_ops *fake_ops;
    struct kernel_ops ops;
    struct engine *engine;
    struct http_server *server;
    struct endpoint tcp;

    pthread_mutex_t mutex;
    pthread_cond_t moved;
    struct http_server *listener; /* who hears of what the engine publishes */
    bool gate_closed;             /* a change stops before the kernel's first step … */
    size_t at_gate;               /* … and so many did */
} world = {.mutex = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

static int apply_through_gate(struct kernel *kernel, const struct step *step, struct err *ret_err)
{
    pthread_mutex_lock(&world.mutex);
    world.at_gate++;
    pthread_cond_broadcast(&world.moved);
    while (world.gate_closed)
        pthread_cond_wait(&world.moved, &world.mutex);
    pthread_mutex_unlock(&world.mutex);
    return world.fake_ops->apply(kernel, step, ret_err);
}

static void gate_set(bool closed)
{
    pthread_mutex_lock(&world.mutex);
    world.gate_closed = closed;
    world.at_gate = 0;
    pthread_cond_broadcast(&world.moved);
    pthread_mutex_unlock(&world.mutex);
}

static void gate_wait(void)
{
    pthread_mutex_lock(&world.mutex);
    while (!world.at_gate)
        pthread_cond_wait(&world.moved, &world.mutex);
    pthread_mutex_unlock(&world.mutex);
}

static void pass_on(void *context)
{
    (void)context;
    pthread_mutex_lock(&world.mutex);
    if (world.listener)
        http_published(world.listener);
    pthread_mutex_unlock(&world.mutex);
}

static void listener_set(struct http_server *server)
{
    pthread_mutex_lock(&world.mutex);
    world.listener = server;
    pthread_mutex_unlock(&world.mutex);
}

static int world_begin(void **state)
{
    (void)state;
    struct token token = {.name = "admin", .kind = TOKEN_BEARER, .role = ROLE_ADMIN, .created_ns = 1};
    struct err e = {0};
    int unix_fd, tcp_fd;
    strcpy(world.directory, "/tmp/test-http-XXXXXX");
    assert_non_null(mkdtemp(world.directory));
    snprintf(world.socket_path, sizeof world.socket_path, "%s/api.sock", world.directory);
    snprintf(world.database_path, sizeof world.database_path, "%s/tunwright.db", world.directory);
    if (store_open(world.database_path, &world.store, &e))
        fail_msg("%s", e.message);
    assert_int_equal(auth_digest(TOKEN, strlen(TOKEN), token.digest), 0);
    assert_int_equal(store_token_provision(world.store, &token, "[]", &e), 0);
    world.fake = kernel_fake_new();
    assert_non_null(world.fake);
    world.fake_ops = world.fake->kernel.ops;
    world.ops = *world.fake_ops;
    world.ops.apply = apply_through_gate;
    world.fake->kernel.ops = &world.ops;

    const struct engine_options engine = {.store = world.store, .kernel = &world.fake->kernel, .on_publish = pass_on};
    assert_int_equal(engine_start(&engine, &world.engine, &e), 0);
    assert_int_equal(http_listen_unix(world.socket_path, getegid(), &unix_fd, &e), 0);
    assert_int_equal(http_listen_tcp("127.0.0.1:0", false, &tcp_fd, &world.tcp, &e), 0);
    const struct http_options http = {.engine = world.engine, .own_uid = geteuid(), .socket_gid = getegid()};
    assert_int_equal(http_start(&http, unix_fd, &tcp_fd, 1, &world.server, &e), 0);
    listener_set(world.server);
    return 0;
}

static void server_end(void)
{
    listener_set(NULL);
    http_stop(world.server);
    world.server = NULL;
}

static int world_end(void **state)
{
    (void)state;
    char backup[128];
    gate_set(false);
    server_end();
    engine_stop(world.engine);
    world.fake->kernel.ops = world.fake_ops;
    world.fake_ops->close(&world.fake->kernel);
    store_close(world.store);
    unlink(world.socket_path);
    unlink(world.database_path);
    snprintf(backup, sizeof backup, "%s-journal", world.database_path);
    unlink(backup);
    assert_int_equal(rmdir(world.directory), 0);
    return 0;
}

/* ---- a client ---------------------------------------------------------------------------------------------------- */

static int client_open(bool tcp)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_storage storage;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, world.socket_path);
    socklen_t size = tcp ? endpoint_to_sockaddr(&world.tcp, &storage) : sizeof address;
    int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, tcp ? (struct sockaddr *)&storage : (struct sockaddr *)&address, size), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

static void client_send(int fd, const char *data, size_t length)
{
    while (length) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the server had enough: what it says is looked at */
        data += sent;
        length -= (size_t)sent;
    }
}

/* Adds what comes until `until` stands in it, or the end of the connection. */
static void client_read(int fd, struct buf *in, const char *until)
{
    char piece[4096];
    while (!until || !in->data || !strstr(in->data, until)) {
        ssize_t length = recv(fd, piece, sizeof piece, 0);
        if (length < 0 && errno != ECONNRESET)
            fail_msg("nothing comes (%s) after: %s", strerror(errno), in->data ? in->data : "");
        if (length <= 0)
            break;
        buf_add(in, piece, (size_t)length);
    }
    buf_add(in, "", 0);
}

struct reply {
    int status; /* 0: the connection was closed without a word */
    char *text; /* the head and the body */
    char *body;
    cJSON *json; /* the body, where it is JSON */
};

static struct reply reply_parse(struct buf *in)
{
    struct reply reply = {.text = buf_take(in)};
    reply.body = reply.text ? strstr(reply.text, "\r\n\r\n") : NULL;
    if (!reply.body)
        return reply;
    reply.body += 4;
    sscanf(reply.text, "HTTP/1.1 %d", &reply.status);
    reply.json = cJSON_Parse(reply.body);
    return reply;
}

static void reply_done(struct reply *reply)
{
    cJSON_Delete(reply->json);
    free(reply->text);
}

static struct reply ask_raw(bool tcp, const char *data, size_t length)
{
    struct buf in = {0};
    int fd = client_open(tcp);
    client_send(fd, data, length);
    client_read(fd, &in, NULL);
    close(fd);
    return reply_parse(&in);
}

static struct reply ask_with(bool tcp, const char *method, const char *path, const char *fields, const char *body)
{
    struct buf out = {0};
    buf_printf(&out, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", method, path, fields);
    if (body)
        buf_printf(&out, "Content-Length: %zu\r\n", strlen(body));
    buf_add_text(&out, "\r\n");
    if (body)
        buf_add_text(&out, body);
    struct reply reply = ask_raw(tcp, out.data, out.length);
    buf_done(&out);
    return reply;
}

static struct reply ask(const char *method, const char *path, const char *body)
{
    return ask_with(false, method, path, body ? "Content-Type: application/json\r\n" : "", body);
}

static const char *member(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

#define EXPECT(reply_, status_)                                                                                        \
    do {                                                                                                               \
        if ((reply_).status != (status_))                                                                              \
            fail_msg("%d instead of %d: %s", (reply_).status, (status_), (reply_).text ? (reply_).text : "");          \
    } while (0)

static void expect(const char *method, const char *path, const char *body, int status)
{
    struct reply reply = ask(method, path, body);
    EXPECT(reply, status);
    reply_done(&reply);
}

/* A problem with a code and, unless NULL, a first pointer. */
static void expect_problem(struct reply reply, int status, const char *code, const char *pointer)
{
    EXPECT(reply, status);
    assert_non_null(strstr(reply.text, "Content-Type: application/problem+json\r\n"));
    assert_string_equal(member(reply.json, "code"), code);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(reply.json, "status")->valueint, status);
    assert_true(*member(reply.json, "detail"));
    const cJSON *errors = cJSON_GetObjectItemCaseSensitive(reply.json, "errors");
    assert_true(cJSON_IsArray(errors));
    if (pointer)
        assert_string_equal(member(errors->child, "pointer"), pointer);
    reply_done(&reply);
}

#define MONITOR                                                                                                        \
    "{\"name\":\"tun0\",\"kind\":\"tun\",\"addresses\":[\"192.168.3.11/24\"],\"worker\":{\"type\":\"monitor\"}}"

/* ---- devices ----------------------------------------------------------------------------------------------------- */

static void test_devices(void **state)
{
    (void)state;
    struct reply reply = ask("GET", "/v1/devices", NULL);
    EXPECT(reply, 200);
    assert_string_equal(reply.body, "{\"items\":[],\"next\":null}\n");
    reply_done(&reply);

    reply = ask("POST", "/v1/devices", MONITOR);
    EXPECT(reply, 201);
    assert_non_null(strstr(reply.text, "Location: /v1/devices/tun0\r\n"));
    assert_non_null(strstr(reply.text, "Tunwright-Changed: true\r\n"));
    const cJSON *status = cJSON_GetObjectItemCaseSensitive(reply.json, "status");
    assert_string_equal(member(status, "state"), "ready");
    assert_string_equal(member(cJSON_GetObjectItemCaseSensitive(status, "worker"), "state"), "running");
    assert_int_equal(reply.text[strlen(reply.text) - 1], '\n');
    assert_null(strstr(reply.body, "\n{"));
    /* GET, PUT: nothing changed */
    struct reply document = ask("GET", "/v1/devices/tun%30", NULL);
    EXPECT(document, 200);
    struct reply again = ask("PUT", "/v1/devices/tun0", document.body);
    EXPECT(again, 200);
    assert_non_null(strstr(again.text, "Tunwright-Changed: false\r\n"));
    reply_done(&again);
    reply_done(&document);
    reply_done(&reply);

    expect_problem(ask("POST", "/v1/devices", MONITOR), 409, "already_exists", "/name");
    reply = ask("POST", "/v1/devices", "{\"name\":\"tun%d\",\"kind\":\"tun\"}");
    EXPECT(reply, 201);
    assert_non_null(strstr(reply.text, "Location: /v1/devices/tun1\r\n"));
    reply_done(&reply);
    expect("PUT", "/v1/devices/tap0", "{\"kind\":\"tap\"}", 201);
    expect("PUT", "/v1/devices/tap0", "{\"kind\":\"tap\",\"mtu\":1400}", 200);
    reply = ask("GET", "/v1/devices", NULL);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(reply.json, "items")), 3);
    reply_done(&reply);

    reply = ask("HEAD", "/v1/devices/tap0", NULL);
    EXPECT(reply, 200);
    assert_string_equal(reply.body, "");
    reply_done(&reply);
    reply = ask("DELETE", "/v1/devices/tap0", NULL);
    EXPECT(reply, 204);
    assert_string_equal(reply.body, "");
    reply_done(&reply);
    expect_problem(ask("DELETE", "/v1/devices/tap0", NULL), 404, "not_found", NULL);
    expect_problem(ask("GET", "/v1/devices/tap0", NULL), 404, "not_found", NULL);
}

static void test_device_faults(void **state)
{
    (void)state;
    expect_problem(ask("POST", "/v1/devices", "{\"name\":\"a/b\",\"kind\":\"tun\",\"mtu\":1,\"x\":2}"), 400,
                   "validation_failed", NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0", "{\"kind\":\"tun\",\"mtu\":1}"), 400, "validation_failed", "/mtu");
    expect_problem(ask("PUT", "/v1/devices/tun0", "{\"kind\":\"tun\",\"name\":\"other\"}"), 400, "validation_failed",
                   "/name");
    expect_problem(ask("PUT", "/v1/devices/a%2Fb", "{\"kind\":\"tun\"}"), 400, "validation_failed", NULL);
    expect_problem(ask("PUT", "/v1/devices/sixteen-letters-", "{\"kind\":\"tun\"}"), 400, "validation_failed", NULL);
    expect_problem(ask("PUT", "/v1/devices/..", "{\"kind\":\"tun\"}"), 400, "validation_failed", NULL);
    expect_problem(ask("GET", "/v1/devices/a%2Fb", NULL), 404, "not_found", NULL);
    expect_problem(ask("DELETE", "/v1/devices/sixteen-letters-", NULL), 404, "not_found", NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0", "{\"kind\":\"tun\""), 400, "invalid_json", NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0", "{\"kind\":\"tun\",\"kind\":\"tap\"}"), 400, "invalid_json", NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0", ""), 400, "invalid_json", NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0", NULL), 400, "invalid_json", NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0", "[]"), 400, "validation_failed", "");
    expect_problem(ask("GET", "/v1/devices/%00", NULL), 400, "invalid_request", NULL);
    /* a message that quotes what does not fit is text still */
    struct reply reply =
        ask("GET",
            "/v1/devices/x%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4"
            "%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4"
            "%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4",
            NULL);
    EXPECT(reply, 404);
    assert_true(utf8_is_valid(reply.text, strlen(reply.text)));
    reply_done(&reply);
    assert_int_equal(world.fake->applied, 0);
}

static void test_kernel_refusal(void **state)
{
    (void)state;
    expect("POST", "/v1/devices", MONITOR, 201);
    struct reply reply = ask("PUT", "/v1/devices/tun0/routes/10.9.0.0/16", "{\"via\":\"172.16.0.1\"}");
    EXPECT(reply, 422);
    assert_string_equal(member(reply.json, "code"), "kernel_refused");
    assert_string_equal(member(reply.json, "errno"), "ENETUNREACH");
    assert_true(*member(reply.json, "operation"));
    reply_done(&reply);
    reply = ask("GET", "/v1/devices/tun0/routes", NULL);
    assert_string_equal(reply.body, "{\"items\":[],\"next\":null}\n");
    reply_done(&reply);
}

/* ---- what a device has ------------------------------------------------------------------------------------------- */

static void test_addresses(void **state)
{
    (void)state;
    expect("POST", "/v1/devices", MONITOR, 201);
    expect("PUT", "/v1/devices/tun0/addresses/10.0.0.1/24", NULL, 201);
    expect("PUT", "/v1/devices/tun0/addresses/10.0.0.1/24", "{}", 200);
    expect("PUT", "/v1/devices/tun0/addresses/fd00:3::11/64", NULL, 201);
    expect("PUT", "/v1/devices/tun0/addresses/FD00%3A3:0::11/64", NULL, 200);
    struct reply reply = ask("GET", "/v1/devices/tun0/addresses", NULL);
    assert_string_equal(reply.body,
                        "{\"items\":[\"192.168.3.11/24\",\"10.0.0.1/24\",\"fd00:3::11/64\"],\"next\":null}\n");
    reply_done(&reply);
    expect("DELETE", "/v1/devices/tun0/addresses/10.0.0.1/24", NULL, 204);
    expect_problem(ask("DELETE", "/v1/devices/tun0/addresses/10.0.0.1/24", NULL), 404, "not_found", NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0/addresses/10.0.0.1/33", NULL), 400, "validation_failed", "");
    expect_problem(ask("PUT", "/v1/devices/tun0/addresses/10.0.0.1/024", NULL), 400, "validation_failed", "");
    expect_problem(ask("PUT", "/v1/devices/tun0/addresses/10.0.0.2/24", "{\"x\":1}"), 400, "validation_failed", "");
    expect_problem(ask("PUT", "/v1/devices/tun0/addresses/10.0.0.2/24", "[]"), 400, "validation_failed", "");
    expect_problem(ask("PUT", "/v1/devices/tun0/addresses/224.0.0.1/24", NULL), 400, "validation_failed",
                   "/addresses/2");
    expect_problem(ask("PUT", "/v1/devices/gone/addresses/10.0.0.2/24", NULL), 404, "not_found", NULL);
    expect_problem(ask("PUT", "/v1/devices/much-too-long-a-name/addresses/10.0.0.2/24", NULL), 404, "not_found", NULL);
    expect_problem(ask("GET", "/v1/devices/gone/addresses", NULL), 404, "not_found", NULL);
}

static void test_routes(void **state)
{
    (void)state;
    const char *path = "/v1/devices/tun0/routes/10.9.0.0/16";
    expect("POST", "/v1/devices", MONITOR, 201);
    expect("PUT", path, NULL, 201);
    expect("PUT", path, "{}", 200);
    expect("PUT", path, "{\"to\":\"10.9.0.0/16\"}", 200);
    expect("PUT", "/v1/devices/tun0/routes/10.9.0.0/16?metric=100&table=100", "{\"via\":\"192.168.3.1\"}", 201);
    expect("PUT", "/v1/devices/tun0/routes/10.9.0.0/16?metric=100&table=100",
           "{\"via\":\"192.168.3.1\",\"metric\":100}", 200);
    expect("PUT", "/v1/devices/tun0/addresses/fd00:3::11/64", NULL, 201);
    expect("PUT", "/v1/devices/tun0/routes/fd00:9::/48?metric=0", NULL, 201);
    expect("PUT", "/v1/devices/tun0/routes/fd00:9::/48?metric=1024", NULL, 200);
    struct reply reply = ask("GET", "/v1/devices/tun0/routes", NULL);
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(reply.json, "items");
    assert_int_equal(cJSON_GetArraySize(items), 3);
    assert_string_equal(member(cJSON_GetArrayItem(items, 2), "via"), "192.168.3.1");
    reply_done(&reply);

    expect_problem(ask("PUT", "/v1/devices/tun0/routes/10.9.0.0/16?metric=100", "{\"metric\":7}"), 400, "invalid_query",
                   NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0/routes/10.9.0.0/16?metric=-1", NULL), 400, "invalid_query", NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0/routes/10.9.0.0/16?table=255", NULL), 400, "validation_failed",
                   "/table");
    expect_problem(ask("PUT", "/v1/devices/tun0/routes/10.9.0.0/16?metrik=1", NULL), 400, "invalid_query", NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0/routes/10.9.1.1/16", NULL), 400, "validation_failed", "");
    expect_problem(ask("PUT", path, "{\"to\":\"10.8.0.0/16\"}"), 400, "validation_failed", "/to");
    expect_problem(ask("DELETE", path, NULL), 400, "invalid_query", NULL);
    expect("DELETE", "/v1/devices/tun0/routes/10.9.0.0/16?table=100", NULL, 204);
    expect("DELETE", path, NULL, 204);
    expect_problem(ask("DELETE", path, NULL), 404, "not_found", NULL);
    expect("DELETE", "/v1/devices/tun0/routes/fd00:9::/48?metric=0", NULL, 204);
}

static void test_worker(void **state)
{
    (void)state;
    expect("POST", "/v1/devices", "{\"name\":\"tun0\",\"kind\":\"tun\"}", 201);
    expect_problem(ask("GET", "/v1/devices/tun0/worker", NULL), 404, "not_found", NULL);
    expect_problem(ask("DELETE", "/v1/devices/tun0/worker", NULL), 404, "not_found", NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0/worker", NULL), 400, "invalid_json", NULL);
    expect_problem(ask("PUT", "/v1/devices/tun0/worker", "{\"type\":\"magic\"}"), 400, "validation_failed", "/type");
    expect("PUT", "/v1/devices/tun0/worker", "{\"type\":\"echo\"}", 201);
    expect("PUT", "/v1/devices/tun0/worker", "{\"type\":\"echo\"}", 200);
    struct reply reply = ask("GET", "/v1/devices/tun0/worker", NULL);
    EXPECT(reply, 200);
    assert_string_equal(reply.body, "{\"type\":\"echo\"}\n");
    reply_done(&reply);
    expect("PUT", "/v1/devices/tun0/worker",
           "{\"type\":\"udp\",\"local\":\"10.0.0.1:5000\",\"remote\":\"10.0.0.2:5000\"}", 200);
    expect("DELETE", "/v1/devices/tun0/worker", NULL, 204);
}

static void test_counters(void **state)
{
    (void)state;
    expect("POST", "/v1/devices", MONITOR, 201);
    struct reply reply = ask("GET", "/v1/devices/tun0/counters", NULL);
    EXPECT(reply, 200);
    const cJSON *worker = cJSON_GetObjectItemCaseSensitive(reply.json, "worker");
    assert_string_equal(member(worker, "type"), "monitor");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(worker, "drops")), DROP_REASON_N);
    assert_true(cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(reply.json, "kernel")));
    reply_done(&reply);
    reply = ask("GET", "/v1/counters", NULL);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(reply.json, "items")), 1);
    reply_done(&reply);
    expect_problem(ask("GET", "/v1/devices/gone/counters", NULL), 404, "not_found", NULL);
}

static int stats_at_the_end(struct kernel *kernel, const char *netns, uint32_t ifindex, struct link_stats *ret_stats)
{
    (void)kernel, (void)netns, (void)ifindex;
    *ret_stats = (struct link_stats){.rx_packets = UINT64_MAX, .tx_bytes = (1ULL << 53) + 1};
    return 0;
}

/* No counter goes through a double. */
static void test_counters_are_exact(void **state)
{
    (void)state;
    expect("POST", "/v1/devices", MONITOR, 201);
    world.ops.stats = stats_at_the_end;
    struct reply reply = ask("GET", "/v1/devices/tun0/counters", NULL);
    EXPECT(reply, 200);
    assert_non_null(strstr(reply.body, "\"rx_packets\":18446744073709551615,"));
    assert_non_null(strstr(reply.body, "\"tx_bytes\":9007199254740993,"));
    reply_done(&reply);
}

/* ---- the rules of the house -------------------------------------------------------------------------------------- */

static void test_meta(void **state)
{
    (void)state;
    struct reply reply = ask("GET", "/healthz", NULL);
    assert_string_equal(reply.body, "{\"status\":\"ok\"}\n");
    reply_done(&reply);
    reply = ask("GET", "/v1/version", NULL);
    assert_string_equal(reply.body, "{\"name\":\"tunwright\",\"version\":\"" TUNWRIGHT_VERSION "\",\"api\":\"v1\"}\n");
    reply_done(&reply);
    expect("POST", "/v1/devices", MONITOR, 201); /* the start is over when a change is done */
    reply = ask("GET", "/readyz", NULL);
    EXPECT(reply, 200);
    assert_string_equal(reply.body, "{\"ready\":true,\"netd\":true,\"store\":true,\"settled\":true,\"files\":true}\n");
    reply_done(&reply);
}

static void test_methods_and_bodies(void **state)
{
    (void)state;
    expect_problem(ask("GET", "/nowhere", NULL), 404, "not_found", NULL);
    expect_problem(ask("GET", "/v1/devices/", NULL), 404, "not_found", NULL);
    struct reply reply = ask("PATCH", "/v1/devices/tun0/worker", "{}");
    assert_non_null(strstr(reply.text, "Allow: GET, HEAD, PUT, DELETE\r\n"));
    expect_problem(reply, 405, "method_not_allowed", NULL);
    expect_problem(ask_with(false, "OPTIONS", "/v1/devices", "Origin: http://localhost\r\n", NULL), 405,
                   "method_not_allowed", NULL);
    expect_problem(ask_with(false, "POST", "/v1/devices", "Content-Type: text/plain\r\n", MONITOR), 415,
                   "unsupported_media_type", NULL);
    expect_problem(ask_with(false, "POST", "/v1/devices", "", MONITOR), 415, "unsupported_media_type", NULL);
    expect_problem(
        ask_with(false, "POST", "/v1/devices", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", MONITOR),
        415, "unsupported_media_type", NULL);
    expect_problem(ask("GET", "/v1/devices", "{}"), 400, "invalid_request", NULL);
    expect_problem(ask("GET", "/v1/devices?x=1", NULL), 400, "invalid_query", NULL);
    expect_problem(ask_with(false, "GET", "/v1/devices", "Origin: http://evil.example\r\n", NULL), 403, "forbidden",
                   NULL);
    expect_problem(ask_with(false, "GET", "/v1/devices", "Sec-Fetch-Site: cross-site\r\n", NULL), 403, "forbidden",
                   NULL);
}

static void test_body_limits(void **state)
{
    (void)state;
    char *body = malloc((2 << 20) + 1);
    assert_non_null(body);
    memset(body, ' ', 2 << 20);
    body[2 << 20] = '\0';
    expect_problem(ask("POST", "/v1/devices", body), 413, "body_too_large", NULL);
    expect_problem(
        ask_with(false, "POST", "/v1/devices", "Content-Type: application/json\r\nExpect: 100-continue\r\n", body), 413,
        "body_too_large", NULL);
    body[65537] = '\0';
    expect_problem(ask("PUT", "/v1/devices/tun0/worker", body), 413, "body_too_large", NULL);
    body[65536] = '\0';
    expect_problem(ask("PUT", "/v1/devices/tun0/worker", body), 400, "invalid_json", NULL);

    /* chunks: the length is not known before */
    struct buf out = {0};
    buf_add_text(&out, "PUT /v1/devices/tun0/worker HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                       "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        buf_add_text(&out, "7530\r\n");
        buf_add(&out, body, 30000);
        buf_add_text(&out, "\r\n");
    }
    buf_add_text(&out, "0\r\n\r\n");
    expect_problem(ask_raw(false, out.data, out.length), 413, "body_too_large", NULL);
    buf_done(&out);
    free(body);

    static const char good[] =
        "POST /v1/devices HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n10\r\n{\"name\":\"tun0\",\r\ne\r\n\"kind\":\"tun\"} \r\n0\r\n\r\n";
    struct reply reply = ask_raw(false, good, strlen(good));
    EXPECT(reply, 201);
    reply_done(&reply);
}

#define RAW(text)                                                                                                      \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }

/* Each of these could be read in two ways. None is carried out. */
static void test_ambiguous(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t length;
    } heads[] = {
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: "
            "chunked\r\n\r\n0\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nabcde"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nX: one\r\n two\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nX: one\r\n\ttwo\r\nY: z\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\n Host: b\r\nHost: a\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nX: one\rY: two\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nX: one\nY: two\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\nHost: a\n\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\n\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nX: one\0two\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nX\0Y: 1\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n"),
        RAW("DELETE  /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0  HTTP/1.1\r\nHost: a\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.1 \r\nHost: a\r\n\r\n"),
        RAW("DELETE\t/v1/devices/tun0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0\r\nHost: a\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/0.9\r\nHost: a\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.2\r\nHost: a\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/2.0\r\nHost: a\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 http/1.1\r\nHost: a\r\n\r\n"),
        RAW("DELETE http://a/v1/devices/tun0 HTTP/1.1\r\nHost: b\r\n\r\n"),
        RAW("DELETE v1/devices/tun0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0#x HTTP/1.1\r\nHost: a\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0\0x HTTP/1.1\r\nHost: a\r\n\r\n"),
        RAW("DELETE /v1/devices/tun0 HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        RAW("PUT /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 14 "
            "14\r\n\r\n"
            "{\"kind\":\"tap\"}"),
        RAW("PUT /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: +14\r\n\r\n"
            "{\"kind\":\"tap\"}"),
        RAW("PUT /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: "
            "chunked\r\n\r\n"
            "0x10\r\n"),
        RAW("PUT /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: "
            "chunked\r\n\r\n"
            "-1\r\n"),
    };
    expect("POST", "/v1/devices", MONITOR, 201);
    size_t applied = world.fake->applied;
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        struct reply reply = ask_raw(false, heads[i].text, heads[i].length);
        /* refused by us with 400, or by the library: 400, 505, or a closed connection */
        if (reply.status && reply.status != 400 && reply.status != 505)
            fail_msg("request %zu: %s", i, reply.text);
        reply_done(&reply);
    }
    assert_int_equal(world.fake->applied, applied);
    expect("GET", "/v1/devices/tun0", NULL, 200);
}

static void test_keep_alive(void **state)
{
    (void)state;
    static const char two[] = "GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n"
                              "POST /v1/devices HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
                              "GET /healthz HTTP/1.1\r\nHost: a\r\nX: \t folded not\r\nConnection: close\r\n\r\n";
    struct reply reply = ask_raw(false, two, strlen(two));
    EXPECT(reply, 200);
    assert_non_null(strstr(reply.text, "HTTP/1.1 415"));
    assert_non_null(strstr(reply.text, "{\"status\":\"ok\"}"));
    reply_done(&reply);
}

static void test_tcp(void **state)
{
    (void)state;
    expect_problem(ask_with(true, "GET", "/v1/devices", "", NULL), 401, "unauthenticated", NULL);
    expect_problem(ask_with(true, "GET", "/nowhere", "", NULL), 401, "unauthenticated", NULL);
    expect_problem(ask_with(true, "GET", "/v1/devices", "Authorization: Bearer wrong\r\n", NULL), 401,
                   "unauthenticated", NULL);
    struct reply reply = ask_with(true, "POST", "/v1/devices", "Content-Type: application/json\r\n", MONITOR);
    assert_non_null(strstr(reply.text, "WWW-Authenticate: Bearer"));
    expect_problem(reply, 401, "unauthenticated", NULL);
    reply = ask_with(true, "GET", "/v1/devices", "Authorization: Bearer " TOKEN "\r\n", NULL);
    EXPECT(reply, 200);
    assert_string_equal(reply.body, "{\"items\":[],\"next\":null}\n");
    reply_done(&reply);
    reply = ask_with(true, "GET", "/healthz", "", NULL);
    EXPECT(reply, 200);
    reply_done(&reply);
    static const char rebound[] = "GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    expect_problem(ask_raw(true, rebound, strlen(rebound)), 403, "forbidden", NULL);
}

/* What a process with these ids is told, by its exit status: 0 is what was expected. */
static int answer_to_peer(uid_t uid, gid_t gid, const gid_t *groups, size_t group_count, const char *expected)
{
    pid_t child = fork();
    if (child == 0) {
        static const char request[] = "GET /v1/devices HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        char answer[64] = "";
        strcpy(address.sun_path, world.socket_path);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (setgroups(group_count, groups) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid) ||
            connect(fd, (struct sockaddr *)&address, sizeof address) ||
            write(fd, request, strlen(request)) != (ssize_t)strlen(request) || read(fd, answer, sizeof answer - 1) < 12)
            _exit(2);
        _exit(strncmp(answer, expected, strlen(expected)) != 0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_unix_peers(void **state)
{
    (void)state;
    const gid_t few[] = {70001, getegid()}, others[] = {70001, 70002};
    gid_t many[200];
    if (geteuid() != 0) {
        print_message("only root can be somebody else\n");
        skip();
    }
    /* past the file's mode, which would keep them out before */
    assert_int_equal(chmod(world.directory, 0755), 0);
    assert_int_equal(chmod(world.socket_path, 0666), 0);
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = 70000 + (gid_t)i;
    assert_int_equal(answer_to_peer(65533, 65533, NULL, 0, "HTTP/1.1 403"), 0);
    assert_int_equal(answer_to_peer(65533, 65533, others, 2, "HTTP/1.1 403"), 0);
    assert_int_equal(answer_to_peer(65533, 65533, many, ARRAY_SIZE(many), "HTTP/1.1 403"), 0);
    assert_int_equal(answer_to_peer(65533, 65533, few, 2, "HTTP/1.1 200"), 0);
    many[ARRAY_SIZE(many) - 1] = getegid();
    assert_int_equal(answer_to_peer(65533, 65533, many, ARRAY_SIZE(many), "HTTP/1.1 200"), 0);
    assert_int_equal(answer_to_peer(65533, getegid(), NULL, 0, "HTTP/1.1 200"), 0);
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static int watch_open(const char *query)
{
    struct buf out = {0};
    int fd = client_open(false);
    buf_printf(&out, "GET /v1/watch%s HTTP/1.1\r\nHost: a\r\n\r\n", query);
    client_send(fd, out.data, out.length);
    buf_done(&out);
    return fd;
}

static void test_watch(void **state)
{
    (void)state;
    struct buf in = {0}, other = {0};
    int fd = watch_open("?interval_ms=100"),
        filtered = watch_open("?device=tun9&topics=counters,events&interval_ms=100");
    client_read(fd, &in, "event: counters\ndata: {\"items\":[]}\n\n");
    assert_non_null(strstr(in.data, "Content-Type: text/event-stream\r\n"));
    client_read(filtered, &other, "event: counters\ndata: {\"items\":[]}\n\n");
    expect("POST", "/v1/devices", MONITOR, 201);
    client_read(fd, &in, "event: device_created\ndata: {\"sequence\":");
    client_read(fd, &in, "\"device\":\"tun0\",");
    client_read(fd, &in, "data: {\"items\":[{\"device\":\"tun0\"");
    client_read(fd, &in, "\"no_peer\":0");
    expect("PUT", "/v1/devices/tun9", "{\"kind\":\"tap\"}", 201);
    client_read(filtered, &other, "data: {\"items\":[{\"device\":\"tun9\"");
    client_read(filtered, &other, "\"type\":\"device_created\"");
    assert_null(strstr(other.data, "tun0"));
    close(fd);
    close(filtered);
    buf_done(&in);
    buf_done(&other);
    expect_problem(ask("GET", "/v1/watch?topics=everything", NULL), 400, "invalid_query", NULL);
    expect_problem(ask("GET", "/v1/watch?topics=", NULL), 400, "invalid_query", NULL);
    expect_problem(ask("GET", "/v1/watch?interval_ms=99", NULL), 400, "invalid_query", NULL);
    expect_problem(ask("GET", "/v1/watch?interval_ms=60001", NULL), 400, "invalid_query", NULL);
    expect_problem(ask("GET", "/v1/watch?device=a/b", NULL), 400, "invalid_query", NULL);
}

/* Streams that sleep, and streams that have something to send, end with the server. */
static void test_watch_ends(void **state)
{
    (void)state;
    enum { STREAMS = 50 };
    int fds[STREAMS];
    for (int i = 0; i < STREAMS; i++) {
        struct buf in = {0};
        fds[i] = watch_open(i % 2 ? "?topics=events" : "?interval_ms=100");
        client_read(fds[i], &in, ": watching");
        buf_done(&in);
    }
    server_end();
    for (int i = 0; i < STREAMS; i++) {
        struct buf in = {0};
        client_read(fds[i], &in, NULL);
        close(fds[i]);
        buf_done(&in);
    }
}

/* ---- clients that misbehave, and many of them -------------------------------------------------------------------- */

static void test_client_leaves(void **state)
{
    (void)state;
    static const char request[] = "PUT /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                                  "Content-Length: 14\r\n\r\n{\"kind\":\"tun\"}";
    gate_set(true);
    int fd = client_open(false);
    client_send(fd, request, strlen(request));
    gate_wait();
    close(fd);
    gate_set(false);
    /* the next change comes after it, and what the first did is there */
    expect("PUT", "/v1/devices/tun1", "{\"kind\":\"tun\"}", 201);
    expect("GET", "/v1/devices/tun0", NULL, 200);
}

/* A stop waits for the change in hand, and its client gets the answer. */
static void *stop_later(void *argument)
{
    (void)argument;
    server_end();
    return NULL;
}

static void test_stop_during_change(void **state)
{
    (void)state;
    static const char request[] = "PUT /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                                  "Content-Length: 14\r\n\r\n{\"kind\":\"tun\"}";
    pthread_t stopper;
    struct buf in = {0};
    gate_set(true);
    int fd = client_open(false);
    client_send(fd, request, strlen(request));
    gate_wait();
    assert_int_equal(pthread_create(&stopper, NULL, stop_later, NULL), 0);
    gate_set(false);
    client_read(fd, &in, "\r\n\r\n");
    assert_non_null(strstr(in.data, "HTTP/1.1 201"));
    close(fd);
    buf_done(&in);
    pthread_join(stopper, NULL);
}

static void test_parallel(void **state)
{
    (void)state;
    enum { CLIENTS = 200 };
    static const char get[] = "GET /v1/devices HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    static const char put[] =
        "PUT /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
        "Content-Length: 14\r\n\r\n{\"kind\":\"tun\"}";
    int fds[CLIENTS];
    size_t created = 0;
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = client_open(false);
    for (int i = 0; i < CLIENTS; i++)
        client_send(fds[i], i % 2 ? put : get, strlen(i % 2 ? put : get));
    for (int i = 0; i < CLIENTS; i++) {
        struct buf in = {0};
        client_read(fds[i], &in, NULL);
        struct reply reply = reply_parse(&in);
        created += reply.status == 201;
        if (reply.status != 200 && reply.status != 201)
            fail_msg("client %d: %s", i, reply.text);
        reply_done(&reply);
        close(fds[i]);
    }
    assert_int_equal(created, 1);
}

static void test_slow_request(void **state)
{
    (void)state;
    static const char *const starts[] = {
        "GET /healthz HT", "GET /healthz HTTP/1.1\r\nHost: a\r\n", "",
        "PUT /v1/devices/tun0 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        "Content-Length: 14\r\n\r\n{"};
    int fds[ARRAY_SIZE(starts)];
    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        fds[i] = client_open(false);
        client_send(fds[i], starts[i], strlen(starts[i]));
    }
    for (int second = 0; second < 4; second++) {
        struct pollfd closed = {.fd = fds[1], .events = POLLIN};
        assert_int_equal(poll(&closed, 1, 1000), 0); /* not before its time */
        client_send(fds[1], "X", 1);                 /* nor does a byte now and then win any */
    }
    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        struct buf in = {0};
        client_read(fds[i], &in, NULL);
        assert_int_equal(in.length, 0);
        buf_done(&in);
        close(fds[i]);
    }
    expect("GET", "/healthz", NULL, 200);
}

static int stats_after_long(struct kernel *kernel, const char *netns, uint32_t ifindex, struct link_stats *ret_stats)
{
    (void)kernel, (void)netns, (void)ifindex;
    const struct timespec longer_than_a_request_may_take = {.tv_sec = 5, .tv_nsec = 600 * NSEC_PER_MSEC};
    nanosleep(&longer_than_a_request_may_take, NULL);
    *ret_stats = (struct link_stats){.rx_packets = 1};
    return 0;
}

/* The thread has been with somebody else: who was kept waiting is not taken for slow. */
static void test_busy_listener(void **state)
{
    (void)state;
    static const char counters[] = "GET /v1/counters HTTP/1.1\r\nHost: a\r\n\r\n",
                      begin[] = "GET /healthz HTTP/1.1\r\n", rest[] = "Host: a\r\n\r\n";
    int fds[3];
    expect("PUT", "/v1/devices/tun0", "{\"kind\":\"tun\"}", 201);
    world.ops.stats = stats_after_long;
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = client_open(false);
    client_send(fds[1], begin, strlen(begin));
    const struct timespec moment = {.tv_nsec = 100 * NSEC_PER_MSEC};
    nanosleep(&moment, NULL); /* they are taken in, and their time runs */
    client_send(fds[0], counters, strlen(counters));
    nanosleep(&moment, NULL);
    client_send(fds[1], rest, strlen(rest));
    client_send(fds[2], begin, strlen(begin));
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        struct buf in = {0};
        if (i == 2)
            client_send(fds[i], rest, strlen(rest)); /* after the long answer: there is time left */
        client_read(fds[i], &in, "\r\n\r\n");
        assert_true(in.length > 12 && !memcmp(in.data, "HTTP/1.1 200", 12));
        buf_done(&in);
        close(fds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_devices, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_device_faults, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_kernel_refusal, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_addresses, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_routes, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_worker, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_counters, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_counters_are_exact, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_unix_peers, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_meta, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_ambiguous, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_keep_alive, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_tcp, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_watch, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_body_limits, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_client_leaves, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_parallel, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_watch_ends, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_slow_request, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_busy_listener, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_stop_during_change, world_begin, world_end),
        cmocka_unit_test_setup_teardown(test_methods_and_bodies, world_begin, world_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

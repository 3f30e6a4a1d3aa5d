// SPDX-License-Identifier: Apache-2.0
/* Against a keeper of paper: a thread that speaks its protocol. */
#include "test.h"

#include "apps/apps.h"
#include "base/mem.h"
#include "sys/fs.h"
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static int server_fd, conn_fd = -1;
static unsigned acts;
static _Atomic unsigned log_lines, posted;
static char kinds[64][32];

static void say(struct buf *b)
{
    for (size_t at = 0; at < b->n;) {
        ssize_t n = send(conn_fd, b->p + at, b->n - at, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        at += (size_t)n;
    }
    buf_reset(b);
}

static void put_proc(struct buf *b, enum control_type type, uint32_t id, enum control_event event, uint64_t restarts,
                     int code)
{
    size_t at = control_begin(b, type, id);
    control_put_u64(b, CT_ID, 7);
    control_put_u64(b, CT_INSTANCE, 0);
    control_put_u64(b, CT_PID, event == CE_EXITED ? 0 : (uint64_t)getpid());
    control_put_u64(b, CT_STATE, event == CE_EXITED ? CS_WAITING : CS_ONLINE);
    control_put_u64(b, CT_RESTARTS, restarts);
    control_put_u64(b, CT_STARTED_MS, (uint64_t)clock_now_ms(&clock_real) - 5000);
    control_put(b, CT_NAME, STR("api"));
    if (event)
        control_put_u64(b, CT_EVENT, event);
    if (event == CE_EXITED) {
        control_put_u64(b, CT_EXITED, 1);
        control_put_u64(b, CT_CODE, (uint64_t)code);
    }
    if (type == CONTROL_PROC)
        control_put(b, CT_NAMESPACE, STR("default"));
    control_end(b, at);
}

static void *keeper(void *arg)
{
    (void)arg;
    struct pollfd p = {.fd = server_fd, .events = POLLIN};
    poll(&p, 1, 5000);
    conn_fd = accept(server_fd, NULL, NULL);
    if (conn_fd < 0)
        return NULL;
    struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
    for (;;) {
        if (buf_reserve(&in, 4096))
            break;
        struct pollfd c = {.fd = conn_fd, .events = POLLIN};
        poll(&c, 1, 5000);
        ssize_t n = recv(conn_fd, in.p + in.n, 4096, 0);
        if (n <= 0)
            break;
        in.n += (size_t)n;
        struct control_frame f;
        size_t used, taken = 0;
        while (control_parse(str_make(in.p + taken, in.n - taken), 1 << 20, &f, &used) == 0) {
            taken += used;
            if (f.type == CONTROL_LIST)
                put_proc(&out, CONTROL_PROC, f.id, 0, 0, 0);
            if (f.type == CONTROL_ACT && ++acts == 2) {
                size_t at = control_begin(&out, CONTROL_FAIL, f.id);
                control_put(&out, CT_TEXT, STR("not now"));
                control_end(&out, at);
            } else {
                size_t at = control_begin(&out, CONTROL_OK, f.id);
                control_end(&out, at);
            }
            if (f.type == CONTROL_LIST) {
                size_t at = control_begin(&out, CONTROL_LOG, 0);
                control_put_u64(&out, CT_ID, 7);
                control_put_u64(&out, CT_STREAM, 2);
                control_put(&out, CT_BYTES, STR("first\nsecond\n"));
                control_end(&out, at);
                put_proc(&out, CONTROL_STATE, 0, CE_EXITED, 0, 3);
                put_proc(&out, CONTROL_STATE, 0, CE_STARTED, 1, 0);
            }
            say(&out);
        }
        memmove(in.p, in.p + taken, in.n - taken);
        in.n -= taken;
    }
    buf_done(&in);
    buf_done(&out);
    close(conn_fd);
    return NULL;
}

static void post(struct journal *j, const struct event *e)
{
    (void)j;
    unsigned i = posted;
    if (i < ARRAY_LEN(kinds))
        snprintf(kinds[i], sizeof(kinds[i]), STR_FMT, STR_ARG(e->kind));
    posted = i + 1;
}

static void on_line(void *ctx, const struct app_line *l)
{
    (void)ctx;
    log_lines += str_eqz(l->name, "api") && l->stream == 2;
}

static void story(void **state)
{
    (void)state;
    const char *dir = test_dir();
    char *sock = control_socket_path(dir), *folder = fs_join(dir, "keeper");
    assert_int_equal(fs_mkdirs(folder, 0700), 0);
    server_fd = control_socket_listen(sock);
    assert_true(server_fd >= 0);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, keeper, NULL), 0);
    static struct journal journal = {.post = post};
    struct apps_deps d = {.clock = &clock_real, .journal = &journal, .data_dir = dir};
    struct apps *a = apps_new(&d);
    struct err e = {0};
    assert_int_equal(apps_act(a, CA_RESTART, STR("api"), STR("anna"), &e), -EPIPE);
    apps_subscribe_logs(a, on_line, NULL);
    assert_int_equal(apps_start(a), 0);
    apps_report(a, CS_ONLINE, STR("http://127.0.0.1:1"), STR("ready"));
    struct arena *m = arena_new(0);
    struct app_view *v = NULL;
    size_t n = 0;
    for (int i = 0; i < 500 && (n == 0 || v[0].restarts != 1 || log_lines < 2); i++) {
        usleep(10000);
        apps_list(a, m, &v, &n);
    }
    assert_int_equal(n, 1);
    assert_str(v[0].name, "api");
    assert_str(v[0].namespace_, "default"); /* kept from the list: a change does not repeat it */
    assert_int_equal(v[0].restarts, 1);
    assert_true(v[0].rss_bytes > 0 && v[0].uptime_ms >= 5000);
    assert_int_equal(log_lines, 2);
    assert_int_equal(posted, 2);
    assert_string_equal(kinds[0], "process.exited");
    assert_string_equal(kinds[1], "process.restarted");
    struct app_line *l;
    size_t k;
    apps_log_tail(a, STR("api"), 0, 10, m, &l, &k);
    assert_int_equal(k, 2);
    assert_str(l[0].text, "first");
    assert_str(l[1].text, "second");
    apps_log_tail(a, STR("7"), l[0].n, 10, m, &l, &k);
    assert_int_equal(k, 1);
    apps_log_tail(a, STR("web"), 0, 10, m, &l, &k);
    assert_int_equal(k, 0);
    err_clear(&e);
    assert_int_equal(apps_act(a, CA_RESTART, STR("api"), STR("anna"), &e), 0);
    assert_int_equal(apps_act(a, CA_STOP, STR("7"), STR("anna"), &e), 1);
    assert_string_equal(e.msg, "not now");
    err_clear(&e);
    assert_int_equal(apps_act(a, CA_STOP, STR("nobody"), STR("anna"), &e), -ENOENT);
    apps_free(a);
    pthread_join(t, NULL);
    close(server_fd);
    arena_free(m);
    free(sock);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(story)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

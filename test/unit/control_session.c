// SPDX-License-Identifier: Apache-2.0
/* The server's session against a scripted keeper on a real socket: what it asks, what it hands on, how it comes back.
 */
#include "test.h"

#include "control/control.h"
#include "base/mem.h"
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct fake_keeper {
    struct loop *loop;
    char *dir, *path;
    int listen_fd, fd;
    struct loop_io *listen_io, *io;
    struct buf in;
    int n_subscribe, n_list, n_report, n_act, n_job;
    bool hang_up_on_act;
    char address[64];
};

struct seen {
    struct fake_keeper *k;
    int connected, disconnected, procs, changes, logs, died, act_done, job_done, act_r;
    char log_text[64], job_text[64];
    int died_signal, job_code;
};

static void say(struct fake_keeper *k, struct buf *b)
{
    assert_int_equal(buf_error(b), 0);
    assert_int_equal(send(k->fd, b->p, b->n, MSG_NOSIGNAL), (ssize_t)b->n);
    buf_reset(b);
}

static void put_proc(struct buf *b, enum control_type type, uint32_t frame_id, uint32_t id, enum control_event e)
{
    size_t at = control_begin(b, type, frame_id);
    control_put_u64(b, CT_ID, id);
    control_put(b, CT_NAME, STR("api"));
    control_put_u64(b, CT_EVENT, e);
    control_end(b, at);
}

static void answer(struct fake_keeper *k, const struct control_frame *f)
{
    _cleanup_buf_ struct buf b = BUF_INIT(65536);
    size_t at;
    switch (f->type) {
    case CONTROL_SUBSCRIBE:
        k->n_subscribe++;
        control_end(&b, control_begin(&b, CONTROL_OK, f->id));
        at = control_begin(&b, CONTROL_SERVER_DIED, 0);
        control_put_u64(&b, CT_SIGNAL, 11);
        control_end(&b, at);
        break;
    case CONTROL_LIST: /* two pages */
        k->n_list++;
        put_proc(&b, CONTROL_PROC, f->id, control_get_u64(f->body, CT_ID, 0) ? 5 : 1, 0);
        at = control_begin(&b, CONTROL_OK, f->id);
        if (control_get_u64(f->body, CT_ID, 0) == 0)
            control_put_u64(&b, CT_NEXT, 5);
        control_end(&b, at);
        if (control_get_u64(f->body, CT_ID, 0)) {
            put_proc(&b, CONTROL_STATE, 0, 1, CE_EXITED);
            at = control_begin(&b, CONTROL_LOG, 0);
            control_put_u64(&b, CT_ID, 1);
            control_put_u64(&b, CT_STREAM, 2);
            control_put(&b, CT_BYTES, STR("oops\n"));
            control_end(&b, at);
        }
        break;
    case CONTROL_REPORT:
        k->n_report++;
        snprintf(k->address, sizeof(k->address), STR_FMT, STR_ARG(control_get(f->body, CT_ADDRESS)));
        control_end(&b, control_begin(&b, CONTROL_OK, f->id));
        break;
    case CONTROL_ACT:
        k->n_act++;
        if (k->hang_up_on_act) {
            k->io = loop_io_close(k->io);
            close(k->fd);
            k->fd = -1;
            return;
        }
        at = control_begin(&b, CONTROL_FAIL, f->id);
        control_put(&b, CT_TEXT, STR("no such process"));
        control_end(&b, at);
        break;
    case CONTROL_JOB:
        k->n_job++;
        at = control_begin(&b, CONTROL_JOB_OUT, f->id);
        control_put_u64(&b, CT_STREAM, 1);
        control_put(&b, CT_BYTES, control_get(f->body, CT_INPUT));
        control_end(&b, at);
        at = control_begin(&b, CONTROL_OK, f->id);
        control_put_u64(&b, CT_CODE, 3);
        control_end(&b, at);
        break;
    default:
        fail_msg("unexpected request %u", f->type);
    }
    say(k, &b);
}

static void on_request(void *arg, int events)
{
    struct fake_keeper *k = arg;
    (void)events;
    assert_int_equal(buf_reserve(&k->in, 65536), 0);
    ssize_t n = recv(k->fd, k->in.p + k->in.n, 65536, 0);
    if (n <= 0) {
        k->io = loop_io_close(k->io);
        close(k->fd);
        k->fd = -1;
        return;
    }
    k->in.n += (size_t)n;
    struct control_frame f;
    size_t taken = 0, used;
    while (k->fd >= 0 && control_parse(str_make(k->in.p + taken, k->in.n - taken), 1 << 20, &f, &used) == 0) {
        taken += used;
        answer(k, &f);
    }
    memmove(k->in.p, k->in.p + taken, k->in.n - taken);
    k->in.n -= taken;
}

static void on_connect(void *arg, int events)
{
    struct fake_keeper *k = arg;
    (void)events;
    k->fd = accept4(k->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(k->fd >= 0);
    buf_reset(&k->in);
    k->io = loop_io_new(k->loop, k->fd, on_request, k);
    loop_io_set(k->io, LOOP_READ);
}

static void keeper_up(struct fake_keeper *k)
{
    k->listen_fd = control_socket_listen(k->path);
    assert_true(k->listen_fd >= 0);
    struct stat st;
    assert_int_equal(stat(k->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    k->listen_io = loop_io_new(k->loop, k->listen_fd, on_connect, k);
    loop_io_set(k->listen_io, LOOP_READ);
}

static void h_connected(void *ctx)
{
    ((struct seen *)ctx)->connected++;
}

static void h_disconnected(void *ctx, int why)
{
    assert_true(why < 0);
    ((struct seen *)ctx)->disconnected++;
}

static void h_process(void *ctx, const struct control_proc *p)
{
    struct seen *s = ctx;
    assert_str(p->name, "api");
    if (p->event)
        s->changes++;
    else
        s->procs++;
}

static void h_log(void *ctx, uint32_t id, int stream, struct str bytes)
{
    struct seen *s = ctx;
    assert_int_equal(id, 1);
    assert_int_equal(stream, 2);
    snprintf(s->log_text, sizeof(s->log_text), STR_FMT, STR_ARG(bytes));
    s->logs++;
}

static void h_died(void *ctx, int code, int sig, uint64_t uptime_ms, int64_t at_ms, struct str text)
{
    struct seen *s = ctx;
    (void)code;
    (void)uptime_ms;
    (void)at_ms;
    (void)text;
    s->died++;
    s->died_signal = sig;
}

static void act_done(void *ctx, int r, struct str text)
{
    struct seen *s = ctx;
    s->act_done++;
    s->act_r = r;
    if (r == 1)
        assert_str(text, "no such process");
}

static void job_output(void *ctx, int stream, struct str bytes)
{
    struct seen *s = ctx;
    assert_int_equal(stream, 1);
    snprintf(s->job_text, sizeof(s->job_text), STR_FMT, STR_ARG(bytes));
}

static void job_done(void *ctx, int r, int code, int sig, bool timed_out, struct str text)
{
    struct seen *s = ctx;
    (void)text;
    assert_int_equal(r, 0);
    assert_int_equal(sig, 0);
    assert_false(timed_out);
    s->job_done++;
    s->job_code = code;
}

static const struct control_handler handler = {
    .connected = h_connected,
    .disconnected = h_disconnected,
    .process = h_process,
    .log = h_log,
    .server_died = h_died,
};

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

/* Turn the loop for a while. */
static void turn(struct loop *l, uint64_t ms)
{
    struct loop_timer *t = loop_timer_new(l, stop_loop, l);
    loop_timer_set(t, ms, 0);
    loop_run(l);
    loop_timer_close(t);
}

static void test_session(void **state)
{
    (void)state;
    struct fake_keeper k = {.fd = -1, .listen_fd = -1, .in = BUF_INIT(1 << 20)};
    k.dir = xasprintf("%s/data", test_dir());
    k.path = control_socket_path(k.dir);
    _cleanup_free_ char *sub = xasprintf("%s/keeper", k.dir);
    assert_int_equal(mkdir(k.dir, 0700), 0);
    assert_int_equal(mkdir(sub, 0700), 0);
    struct loop *l = k.loop = loop_new();
    struct seen s = {.k = &k};
    struct control_session *c = control_session_new(l, k.dir, TOPIC_STATES | TOPIC_LOGS | TOPIC_SERVER, &handler, &s);
    control_session_report(c, CS_ONLINE, STR("http://127.0.0.1:1"), STR(""));
    turn(l, 30);
    assert_int_equal(s.connected, 0); /* nobody there yet: it keeps trying */
    assert_int_equal(control_session_job(c, &(struct control_job){.argv = (const char *[]){"x", NULL}}), 0);
    control_session_act(c, CA_STOP, 1, 0, act_done, &s);
    assert_int_equal(s.act_r, -EPIPE);

    keeper_up(&k);
    turn(l, 400);
    assert_int_equal(s.connected, 1);
    assert_true(control_session_up(c));
    assert_int_equal(k.n_subscribe, 1);
    assert_int_equal(k.n_list, 2);
    assert_int_equal(k.n_report, 1);
    assert_string_equal(k.address, "http://127.0.0.1:1");
    assert_int_equal(s.procs, 2);
    assert_int_equal(s.changes, 1);
    assert_string_equal(s.log_text, "oops\n");
    assert_int_equal(s.died, 1);
    assert_int_equal(s.died_signal, 11);

    control_session_act(c, CA_STOP, 1, 0, act_done, &s);
    struct control_job job = {
        .argv = (const char *[]){"cat", NULL}, .input = STR("in"), .output = job_output, .done = job_done, .ctx = &s};
    assert_true(control_session_job(c, &job) != 0);
    turn(l, 50);
    assert_int_equal(s.act_done, 2);
    assert_int_equal(s.act_r, 1);
    assert_int_equal(s.job_done, 1);
    assert_int_equal(s.job_code, 3);
    assert_string_equal(s.job_text, "in");

    /* The keeper goes away in the middle of a request: it is answered, and the session comes back with everything. */
    k.hang_up_on_act = true;
    control_session_act(c, CA_RESTART, UINT32_MAX, 0, act_done, &s);
    turn(l, 400);
    assert_int_equal(s.act_r, -EPIPE);
    assert_int_equal(s.disconnected, 1);
    assert_int_equal(s.connected, 2);
    assert_int_equal(k.n_subscribe, 2);
    assert_int_equal(k.n_report, 2);

    control_session_free(c);
    if (k.fd >= 0) {
        loop_io_close(k.io);
        close(k.fd);
    }
    loop_io_close(k.listen_io);
    close(k.listen_fd);
    loop_free(l);
    buf_done(&k.in);
    free(k.dir);
    free(k.path);
}

/* A folder whose socket path is longer than sun_path. */
static void test_long_path(void **state)
{
    (void)state;
    char *dir = xasprintf("%s/%0100d", test_dir(), 7);
    assert_int_equal(mkdir(dir, 0700), 0);
    char *sub = xasprintf("%s/keeper", dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    char *path = control_socket_path(dir);
    int a = control_socket_listen(path);
    assert_true(a >= 0);
    int b = control_socket_connect(path);
    assert_true(b >= 0);
    close(a);
    close(b);
    assert_int_equal(control_socket_connect(path), -ECONNREFUSED);
    free(path);
    free(sub);
    free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session),
        cmocka_unit_test(test_long_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

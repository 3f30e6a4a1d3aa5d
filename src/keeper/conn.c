// SPDX-License-Identifier: Apache-2.0
#include "keeper/keeper_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The control socket. A client is trusted as far as its user id (the keeper's, or root), not as far as its bytes: a
 * frame that is not one ends the connection, a request that makes no sense is refused with words. A client that does
 * not read loses log bytes and events (counted, told in LOST), never answers: those end the connection when they
 * outgrow their limit.
 */

#define FOLLOW_MAX 64
#define ACCEPT_PAUSE_MS 100

struct conn {
    struct conn *next;
    struct keeper *k;
    int fd;
    struct loop_io *io;
    struct buf in, out;
    size_t sent; /* of out */
    uint32_t topics;
    uint32_t follow[FOLLOW_MAX]; /* processes whose logs are wanted; n_follow 0 = all */
    size_t n_follow;
    uint64_t lost_log_bytes, lost_events;
    bool writing; /* LOOP_WRITE is on */
    bool closing; /* close at the next flush: an error while in the middle of something */
};

static void conn_close(struct conn *c)
{
    struct keeper *k = c->k;
    jobs_drop(k, c);
    for (struct conn **p = &k->conns; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    k->n_conns--;
    loop_io_close(c->io);
    close(c->fd);
    buf_done(&c->in);
    buf_done(&c->out);
    free(c);
}

struct buf *conn_out(struct conn *c)
{
    return &c->out;
}

size_t conn_waiting(const struct conn *c)
{
    return c->out.n - c->sent;
}

/* Send what the socket takes. Never closes: callers may be inside a walk over all connections. */
void conn_flush(struct conn *c)
{
    if (buf_error(&c->out))
        c->closing = true;
    while (!c->closing && c->sent < c->out.n) {
        ssize_t n = send(c->fd, c->out.p + c->sent, c->out.n - c->sent, MSG_NOSIGNAL);
        if (n > 0)
            c->sent += (size_t)n;
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            c->closing = true;
    }
    if (c->sent == c->out.n) {
        if (c->out.cap > 256 << 10)
            buf_done(&c->out); /* a burst is over: give its memory back */
        else
            buf_reset(&c->out);
        c->out.max = (size_t)limit(control_message_bytes) + KEEPER_CONN_EVENT_BYTES + KEEPER_CONN_LOG_BYTES;
        c->sent = 0;
    } else if (c->sent > 1 << 20) {
        memmove(c->out.p, c->out.p + c->sent, c->out.n - c->sent);
        c->out.n -= c->sent;
        c->sent = 0;
    }
    bool want = c->sent < c->out.n || c->closing;
    if (want != c->writing) {
        c->writing = want;
        loop_io_set(c->io, want ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    }
}

/* ---- answers ---- */

static void answer_ok(struct conn *c, uint32_t id)
{
    control_end(&c->out, control_begin(&c->out, CONTROL_OK, id));
}

static void answer_fail(struct conn *c, uint32_t id, const char *text)
{
    size_t at = control_begin(&c->out, CONTROL_FAIL, id);
    control_put(&c->out, CT_TEXT, str_of(text));
    control_end(&c->out, at);
}

static void put_death(struct conn *c)
{
    const struct server_death *d = &c->k->death;
    size_t at = control_begin(&c->out, CONTROL_SERVER_DIED, 0);
    control_put_u64(&c->out, CT_CODE, (uint64_t)d->code);
    control_put_u64(&c->out, CT_SIGNAL, (uint64_t)d->signal);
    control_put_u64(&c->out, CT_UPTIME_MS, d->uptime_ms);
    control_put_u64(&c->out, CT_PID, d->pid);
    control_put_u64(&c->out, CT_AT_MS, (uint64_t)d->at_ms);
    control_put(&c->out, CT_TEXT, buf_view(&d->text));
    control_end(&c->out, at);
}

/* ---- requests ---- */

static void do_ping(struct conn *c, const struct control_frame *f)
{
    size_t at = control_begin(&c->out, CONTROL_OK, f->id);
    control_put(&c->out, CT_VERSION, str_of(c->k->o->version));
    control_put_u64(&c->out, CT_PID, (uint64_t)getpid());
    control_end(&c->out, at);
}

static void do_info(struct conn *c, const struct control_frame *f)
{
    struct keeper *k = c->k;
    uint64_t online = 0, count = 0;
    for (size_t i = 0; i < k->procs.n; i++)
        if (!k->procs.v[i]->app->server) {
            count++;
            online += k->procs.v[i]->m.state == CS_ONLINE;
        }
    size_t at = control_begin(&c->out, CONTROL_OK, f->id);
    control_put(&c->out, CT_VERSION, str_of(k->o->version));
    control_put_u64(&c->out, CT_PID, (uint64_t)getpid());
    control_put_u64(&c->out, CT_UPTIME_MS, (uint64_t)MAX(clock_now_ms(&clock_real) - k->began_ms, 0));
    control_put(&c->out, CT_DATA_DIR, str_of(k->data_dir));
    control_put_u64(&c->out, CT_COUNT, count);
    control_put_u64(&c->out, CT_COUNT2, online);
    if (k->server) {
        const struct proc *s = k->server;
        enum control_state state = s->m.state == CS_ONLINE ? k->server_state : s->m.state;
        control_put_u64(&c->out, CT_SERVER_STATE, state);
        control_put_u64(&c->out, CT_SERVER_PID, (uint64_t)s->pid);
        control_put_u64(&c->out, CT_SERVER_RESTARTS, s->m.restarts);
        control_put_u64(&c->out, CT_SERVER_UPTIME_MS,
                        s->started_ms ? (uint64_t)MAX(clock_now_ms(&clock_real) - s->started_ms, 0) : 0);
        control_put(&c->out, CT_ADDRESS, buf_view(&k->server_address));
        control_put(&c->out, CT_SERVER_TEXT,
                    s->m.main_alive ? buf_view(&k->server_text)
                    : s->failure[0] ? str_of(s->failure)
                                    : str_make(s->tail, s->n_tail));
    }
    control_end(&c->out, at);
}

static void do_list(struct conn *c, const struct control_frame *f)
{
    struct keeper *k = c->k;
    uint64_t from = control_get_u64(f->body, CT_ID, 0);
    bool env = control_get_u64(f->body, CT_WITH_ENV, 0) != 0;
    size_t limit_at = c->out.n + (size_t)limit(control_message_bytes) / 2;
    uint64_t next = UINT64_MAX;
    for (;;) { /* in order of id, whatever the order in the vector */
        const struct proc *p = NULL;
        for (size_t i = 0; i < k->procs.n; i++) {
            const struct proc *q = k->procs.v[i];
            if (!q->app->server && q->id >= from && (!p || q->id < p->id))
                p = q;
        }
        if (!p)
            break;
        if (c->out.n > limit_at) {
            next = p->id;
            break;
        }
        size_t at = control_begin(&c->out, CONTROL_PROC, f->id);
        proc_put(&c->out, p, true, env);
        control_end(&c->out, at);
        from = (uint64_t)p->id + 1;
    }
    size_t at = control_begin(&c->out, CONTROL_OK, f->id);
    if (next != UINT64_MAX)
        control_put_u64(&c->out, CT_NEXT, next);
    control_end(&c->out, at);
}

/* A second definition of an application that does not run takes its place and its ids. 0; 1 with a reason. */
static int app_replace(struct keeper *k, struct app *a, const struct buf *spec, uint32_t *ids, size_t *ret_n,
                       struct err *e)
{
    int r = spec_check(buf_view(spec), e);
    size_t n = 0;
    for (size_t i = 0; r == 0 && i < k->procs.n; i++) {
        const struct proc *p = k->procs.v[i];
        if (p->app != a)
            continue;
        if (proc_busy(p)) {
            err_set(e, "\"%s\" runs already (hune restart %s; or give another --name)", a->name, a->name);
            r = 1;
        }
        ids[n++] = p->id;
    }
    if (r != 0)
        return r;
    for (size_t i = 0; i < n; i++)
        proc_free(proc_find(k, ids[i]));
    *ret_n = n;
    return 0;
}

static void do_add(struct conn *c, const struct control_frame *f)
{
    struct keeper *k = c->k;
    if (k->ending) {
        answer_fail(c, f->id, "hune is stopping");
        return;
    }
    _cleanup_buf_ struct buf spec = BUF_INIT((size_t)limit(control_message_bytes));
    spec_copy(&spec, f->body);
    struct err e = {0};
    uint32_t ids[KEEPER_INSTANCES];
    size_t n = 0;
    struct app *a = app_find(k, control_get(f->body, CT_NAME));
    if (a && app_replace(k, a, &spec, ids, &n, &e) != 0) {
        answer_fail(c, f->id, e.msg);
        return;
    }
    if (app_add(k, buf_view(&spec), ids, n, &a, &e) != 0) {
        answer_fail(c, f->id, e.msg);
        return;
    }
    n = 0;
    size_t at = control_begin(&c->out, CONTROL_OK, f->id);
    for (size_t i = 0; i < k->procs.n; i++)
        if (k->procs.v[i]->app == a) {
            ids[n++] = k->procs.v[i]->id;
            control_put_u64(&c->out, CT_ID, k->procs.v[i]->id);
        }
    control_end(&c->out, at);
    bool start = !control_get_u64(f->body, CT_NO_START, 0);
    for (size_t i = 0; i < n; i++) {
        struct proc *p = proc_find(k, ids[i]);
        conns_state(k, p, CE_ADDED);
        if (start)
            proc_feed(p, ME_START);
    }
    store_apps(k);
}

/* CA_SIGNAL goes to the main process alone, as pm2's sendSignal. */
static int act(struct proc *p, enum control_action a, int signum)
{
    switch (a) {
    case CA_START:
        proc_feed(p, ME_START);
        return 0;
    case CA_STOP:
        proc_feed(p, ME_STOP);
        return 0;
    case CA_RESTART:
        proc_feed(p, ME_RESTART);
        return 0;
    case CA_DELETE:
        proc_feed(p, ME_DELETE);
        return 0;
    case CA_RESET:
        p->m.restarts = p->m.unstable = 0;
        p->m.backoff_ms = 0;
        store_pid(p->app->k, p);
        return 0;
    case CA_SIGNAL:
        if (!p->m.main_alive || p->pid <= 0 || proc_start_ticks(p->pid) != p->start_ticks)
            return -ESRCH;
        return kill(p->pid, signum) == 0 ? 0 : -errno;
    }
    return -EINVAL;
}

static void do_act(struct conn *c, const struct control_frame *f)
{
    struct keeper *k = c->k;
    uint64_t action = control_get_u64(f->body, CT_ACTION, 0), sig = control_get_u64(f->body, CT_SIGNAL, 0);
    if (action < CA_START || action > CA_SIGNAL || (action == CA_SIGNAL && (sig < 1 || sig >= NSIG))) {
        answer_fail(c, f->id, "unknown action or signal");
        return;
    }
    if (k->ending && (action == CA_START || action == CA_RESTART)) {
        answer_fail(c, f->id, "hune is stopping");
        return;
    }
    uint16_t tag;
    struct str v, rest = f->body;
    size_t n = 0;
    int bad = 0;
    /* The answer first: events that follow from the action must come after it. */
    while (control_field(&rest, &tag, &v))
        if (tag == CT_ID && !proc_find(k, (uint32_t)control_number(v)))
            bad++;
    if (bad) {
        answer_fail(c, f->id, "no such process");
        return;
    }
    if (action != CA_SIGNAL)
        answer_ok(c, f->id);
    rest = f->body;
    int r = 0;
    while (control_field(&rest, &tag, &v)) {
        struct proc *p = tag == CT_ID ? proc_find(k, (uint32_t)control_number(v)) : NULL;
        if (!p || p->app->server)
            continue;
        int one = act(p, (enum control_action)action, (int)sig);
        if (r == 0)
            r = one;
        n++;
    }
    if (action == CA_SIGNAL && (r < 0 || n == 0))
        answer_fail(c, f->id, n ? err_name(r) : "no such process");
    else if (action == CA_SIGNAL)
        answer_ok(c, f->id);
}

static void do_subscribe(struct conn *c, const struct control_frame *f)
{
    c->topics = (uint32_t)control_get_u64(f->body, CT_TOPICS, 0);
    c->n_follow = 0;
    uint16_t tag;
    struct str v, rest = f->body;
    while (control_field(&rest, &tag, &v))
        if (tag == CT_ID && c->n_follow < FOLLOW_MAX)
            c->follow[c->n_follow++] = (uint32_t)control_number(v);
    answer_ok(c, f->id);
    if ((c->topics & TOPIC_SERVER) && c->k->death.known) {
        put_death(c);
        c->k->death.known = false;
    }
}

static void do_save(struct conn *c, const struct control_frame *f, bool save)
{
    struct err e = {0};
    uint32_t n = 0;
    if (!save && c->k->ending) {
        answer_fail(c, f->id, "hune is stopping");
        return;
    }
    int r = save ? store_save(c->k, &n, &e) : store_resurrect(c->k, &n, &e);
    if (r != 0) {
        answer_fail(c, f->id, r == -ENOENT ? "nothing has been saved yet (hune save)" : e.msg);
        return;
    }
    size_t at = control_begin(&c->out, CONTROL_OK, f->id);
    control_put_u64(&c->out, CT_COUNT, n);
    control_end(&c->out, at);
}

static void do_server_act(struct conn *c, const struct control_frame *f)
{
    struct proc *s = c->k->server;
    if (!s) {
        answer_fail(c, f->id, "this hune runs without a server");
        return;
    }
    uint64_t action = control_get_u64(f->body, CT_ACTION, 0);
    if (c->k->ending || (action != CA_START && action != CA_STOP && action != CA_RESTART)) {
        answer_fail(c, f->id, c->k->ending ? "hune is stopping" : "unknown action");
        return;
    }
    answer_ok(c, f->id);
    act(s, (enum control_action)action, 0);
}

static void do_flush(struct conn *c, const struct control_frame *f)
{
    uint16_t tag;
    struct str v, rest = f->body;
    while (control_field(&rest, &tag, &v)) {
        struct proc *p = tag == CT_ID ? proc_find(c->k, (uint32_t)control_number(v)) : NULL;
        if (p)
            logset_flush(&p->app->logs);
    }
    answer_ok(c, f->id);
}

static void dispatch(struct conn *c, const struct control_frame *f)
{
    struct keeper *k = c->k;
    switch (f->type) {
    case CONTROL_PING:
        do_ping(c, f);
        break;
    case CONTROL_INFO:
        do_info(c, f);
        break;
    case CONTROL_LIST:
        do_list(c, f);
        break;
    case CONTROL_ADD:
        do_add(c, f);
        break;
    case CONTROL_ACT:
        do_act(c, f);
        break;
    case CONTROL_SUBSCRIBE:
        do_subscribe(c, f);
        break;
    case CONTROL_SAVE:
        do_save(c, f, true);
        break;
    case CONTROL_RESURRECT:
        do_save(c, f, false);
        break;
    case CONTROL_KILL:
        answer_ok(c, f->id);
        conn_flush(c);
        keeper_end(k);
        break;
    case CONTROL_JOB:
        job_start(k, c, f->id, f->body);
        break;
    case CONTROL_JOB_KILL:
        job_kill(k, c, (uint32_t)control_get_u64(f->body, CT_ID, 0));
        answer_ok(c, f->id);
        break;
    case CONTROL_REPORT:
        server_report(k, (enum control_state)MIN(control_get_u64(f->body, CT_STATE, CS_ONLINE), CS_ERRORED),
                      control_get(f->body, CT_ADDRESS), control_get(f->body, CT_TEXT));
        answer_ok(c, f->id);
        break;
    case CONTROL_SERVER_ACT:
        do_server_act(c, f);
        break;
    case CONTROL_FLUSH:
        do_flush(c, f);
        break;
    default:
        answer_fail(c, f->id, "unknown request: the keeper is of another version (hune --version)");
        break;
    }
}

/* ---- input ---- */

static void on_conn(void *arg, int events)
{
    struct conn *c = arg;
    if (events & LOOP_HUP)
        c->closing = true;
    if ((events & LOOP_WRITE) && !c->closing) {
        conn_flush(c);
        jobs_resume(c->k, c);
    }
    if ((events & LOOP_READ) && !c->closing) {
        ssize_t n = -1;
        if (buf_reserve(&c->in, 16384) == 0)
            n = recv(c->fd, c->in.p + c->in.n, c->in.cap - c->in.n - 1, 0);
        if (n > 0)
            c->in.n += (size_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            c->closing = true;
        size_t taken = 0, used = 0;
        struct control_frame f;
        while (!c->closing) {
            int r = control_parse(str_make(c->in.p + taken, c->in.n - taken), (size_t)limit(control_message_bytes), &f,
                                  &used);
            if (r < 0)
                c->closing = true;
            if (r != 0)
                break;
            taken += used;
            dispatch(c, &f);
            conn_flush(c);
        }
        if (taken == c->in.n && c->in.cap > 64 << 10) {
            size_t max = c->in.max;
            buf_done(&c->in);
            buf_init(&c->in, max);
        } else if (taken) {
            memmove(c->in.p, c->in.p + taken, c->in.n - taken);
            c->in.n -= taken;
        }
    }
    if (c->closing)
        conn_close(c);
}

static bool peer_is_ours(int fd)
{
    struct ucred u;
    socklen_t n = sizeof(u);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &n) == 0 && (u.uid == geteuid() || u.uid == 0);
}

static void on_accept_again(void *arg)
{
    struct keeper *k = arg;
    loop_io_set(k->listen_io, LOOP_READ);
}

static void on_listen(void *arg, int events)
{
    struct keeper *k = arg;
    (void)events;
    int fd = accept4(k->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            /* The caller stays in the queue and the socket readable: without a pause this would be a busy loop. */
            loop_io_set(k->listen_io, 0);
            loop_timer_set(k->listen_timer, ACCEPT_PAUSE_MS, 0);
        }
        return;
    }
    if (k->n_conns >= KEEPER_CONNS || !peer_is_ours(fd)) {
        close(fd);
        return;
    }
    struct conn *c = NEW(struct conn);
    c->k = k;
    c->fd = fd;
    buf_init(&c->in, (size_t)limit(control_message_bytes) + CONTROL_HEAD_BYTES + 65536);
    buf_init(&c->out, (size_t)limit(control_message_bytes) + KEEPER_CONN_EVENT_BYTES + KEEPER_CONN_LOG_BYTES);
    c->next = k->conns;
    k->conns = c;
    k->n_conns++;
    c->io = loop_io_new(k->loop, fd, on_conn, c);
    loop_io_set(c->io, LOOP_READ);
}

int conns_open(struct keeper *k, struct err *e)
{
    _cleanup_free_ char *path = control_socket_path(k->data_dir);
    k->listen_fd = control_socket_listen(path);
    if (k->listen_fd < 0) {
        err_set(e, "%s: %s", path, err_name(k->listen_fd));
        return k->listen_fd;
    }
    k->listen_io = loop_io_new(k->loop, k->listen_fd, on_listen, k);
    k->listen_timer = loop_timer_new(k->loop, on_accept_again, k);
    loop_io_set(k->listen_io, LOOP_READ);
    return 0;
}

void conns_close(struct keeper *k)
{
    k->listen_timer = loop_timer_close(k->listen_timer);
    k->listen_io = loop_io_close(k->listen_io);
    if (k->listen_fd >= 0)
        close(k->listen_fd);
    k->listen_fd = -1;
    while (k->conns)
        conn_close(k->conns);
}

/* ---- what the keeper says by itself ---- */

/* First word about bytes that a slow client missed, as soon as there is room again. */
static void put_lost(struct conn *c)
{
    if (!c->lost_log_bytes && !c->lost_events)
        return;
    size_t at = control_begin(&c->out, CONTROL_LOST, 0);
    control_put_u64(&c->out, CT_COUNT, c->lost_log_bytes);
    control_put_u64(&c->out, CT_COUNT2, c->lost_events);
    control_end(&c->out, at);
    c->lost_log_bytes = c->lost_events = 0;
}

void conns_state(struct keeper *k, struct proc *p, enum control_event e)
{
    if (p->app->server)
        return;
    for (struct conn *c = k->conns; c; c = c->next) {
        if (!(c->topics & TOPIC_STATES) || c->closing)
            continue;
        if (conn_waiting(c) > KEEPER_CONN_EVENT_BYTES) {
            c->lost_events++;
            continue;
        }
        put_lost(c);
        size_t at = control_begin(&c->out, CONTROL_STATE, 0);
        control_put_u64(&c->out, CT_EVENT, e);
        control_put_u64(&c->out, CT_AT_MS, (uint64_t)clock_now_ms(&clock_real));
        proc_put(&c->out, p, e == CE_ADDED, false); /* a new one is told whole: nobody has its spec yet */
        control_end(&c->out, at);
        conn_flush(c);
    }
}

static bool follows(const struct conn *c, uint32_t id)
{
    for (size_t i = 0; i < c->n_follow; i++)
        if (c->follow[i] == id)
            return true;
    return c->n_follow == 0;
}

void conns_log(struct keeper *k, const struct proc *p, int which, struct str bytes)
{
    for (struct conn *c = k->conns; c; c = c->next) {
        if (!(c->topics & TOPIC_LOGS) || c->closing || p->app->server || !follows(c, p->id))
            continue;
        if (conn_waiting(c) + bytes.n > KEEPER_CONN_LOG_BYTES) {
            c->lost_log_bytes += bytes.n;
            continue;
        }
        put_lost(c);
        size_t at = control_begin(&c->out, CONTROL_LOG, 0);
        control_put_u64(&c->out, CT_ID, p->id);
        control_put_u64(&c->out, CT_STREAM, (uint64_t)which + 1);
        control_put(&c->out, CT_BYTES, bytes);
        control_end(&c->out, at);
        conn_flush(c);
    }
}

void conns_server_died(struct keeper *k)
{
    for (struct conn *c = k->conns; c; c = c->next)
        if ((c->topics & TOPIC_SERVER) && !c->closing) {
            put_death(c);
            conn_flush(c);
            k->death.known = false;
        }
}

// SPDX-License-Identifier: Apache-2.0
#include "control/control.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/vec.h"
#include <sys/socket.h>
#include <unistd.h>

#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS 2000

enum pending_kind { PENDING_PLAIN, PENDING_LIST, PENDING_JOB };

struct pending {
    uint32_t id;
    enum pending_kind kind;
    control_done_fn fn;
    void *ctx;
    void (*output)(void *ctx, int stream, struct str bytes);
    void (*job_done)(void *ctx, int r, int code, int signal, bool timed_out, struct str text);
};

struct control_session {
    struct loop *loop;
    char *path;
    uint32_t topics;
    const struct control_handler *h;
    void *ctx;
    int fd; /* -1: not connected */
    struct loop_io *io;
    struct loop_timer *retry;
    uint64_t retry_ms;
    struct buf in, out;
    size_t sent;
    uint32_t last_id;
    VEC(struct pending) pending;
    VEC(uint32_t) known; /* process ids, for actions on all */
    bool reports;
    enum control_state report_state;
    char *report_address, *report_text;
    bool dispatching; /* inside a callback: a lost connection is dealt with afterwards */
    int broken;       /* -errno noticed meanwhile */
};

static void connect_now(void *arg);

static uint32_t next_id(struct control_session *s)
{
    if (++s->last_id == 0)
        s->last_id = 1;
    return s->last_id;
}

static void flush(struct control_session *s)
{
    if (s->fd < 0)
        return;
    if (buf_error(&s->out))
        s->broken = -EMSGSIZE;
    while (!s->broken && s->sent < s->out.n) {
        ssize_t n = send(s->fd, s->out.p + s->sent, s->out.n - s->sent, MSG_NOSIGNAL);
        if (n > 0)
            s->sent += (size_t)n;
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            s->broken = -errno;
    }
    if (s->sent == s->out.n) {
        buf_reset(&s->out);
        s->sent = 0;
    }
    loop_io_set(s->io, s->sent < s->out.n || s->broken ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void finish(const struct pending *p, int r, struct str body)
{
    struct str text = r == 1 ? control_get(body, CT_TEXT) : STR_NULL;
    if (p->kind == PENDING_JOB)
        p->job_done(p->ctx, r, (int)control_get_u64(body, CT_CODE, 0), (int)control_get_u64(body, CT_SIGNAL, 0),
                    control_get_u64(body, CT_COUNT, 0) != 0, text);
    else if (p->fn)
        p->fn(p->ctx, r, text);
}

static void disconnect(struct control_session *s, int why, bool again)
{
    if (s->fd < 0)
        return;
    s->io = loop_io_close(s->io);
    close(s->fd);
    s->fd = -1;
    s->broken = 0;
    s->sent = 0;
    buf_reset(&s->in);
    buf_reset(&s->out);
    vec_reset(&s->known);
    /* Taken out first: a callback may ask for something new. */
    typeof(s->pending) lost = s->pending;
    s->pending = (typeof(s->pending)){0};
    for (size_t i = 0; i < lost.n; i++)
        finish(&lost.v[i], -EPIPE, STR_NULL);
    vec_done(&lost);
    if (again) {
        s->retry_ms = RETRY_FIRST_MS;
        loop_timer_set(s->retry, s->retry_ms, 0);
        if (s->h->disconnected)
            s->h->disconnected(s->ctx, why);
    }
}

static void ask_list(struct control_session *s, uint64_t from)
{
    uint32_t id = next_id(s);
    size_t at = control_begin(&s->out, CONTROL_LIST, id);
    control_put_u64(&s->out, CT_ID, from);
    control_end(&s->out, at);
    vec_push(&s->pending, (struct pending){.id = id, .kind = PENDING_LIST});
}

static void send_report(struct control_session *s)
{
    size_t at = control_begin(&s->out, CONTROL_REPORT, next_id(s));
    control_put_u64(&s->out, CT_STATE, s->report_state);
    control_put(&s->out, CT_ADDRESS, str_of(s->report_address));
    control_put(&s->out, CT_TEXT, str_of(s->report_text));
    control_end(&s->out, at);
}

static void know(struct control_session *s, const struct control_proc *p)
{
    for (size_t i = 0; i < s->known.n; i++)
        if (s->known.v[i] == p->id) {
            if (p->event == CE_DELETED)
                vec_swap_del(&s->known, i);
            return;
        }
    if (p->event != CE_DELETED)
        vec_push(&s->known, p->id);
}

static struct pending *pending_of(struct control_session *s, uint32_t id)
{
    for (size_t i = 0; id && i < s->pending.n; i++)
        if (s->pending.v[i].id == id)
            return &s->pending.v[i];
    return NULL;
}

static void dispatch(struct control_session *s, const struct control_frame *f)
{
    struct control_proc p;
    struct pending *q;
    switch (f->type) {
    case CONTROL_PROC:
    case CONTROL_STATE:
        control_proc_read(f->body, &p);
        know(s, &p);
        if (s->h->process)
            s->h->process(s->ctx, &p);
        break;
    case CONTROL_LOG:
        if (s->h->log)
            s->h->log(s->ctx, (uint32_t)control_get_u64(f->body, CT_ID, 0), (int)control_get_u64(f->body, CT_STREAM, 1),
                      control_get(f->body, CT_BYTES));
        break;
    case CONTROL_LOST:
        if (s->h->lost)
            s->h->lost(s->ctx, control_get_u64(f->body, CT_COUNT, 0), control_get_u64(f->body, CT_COUNT2, 0));
        if (control_get_u64(f->body, CT_COUNT2, 0))
            ask_list(s, 0); /* changes were missed: look at everything again */
        break;
    case CONTROL_SERVER_DIED:
        if (s->h->server_died)
            s->h->server_died(s->ctx, (int)control_get_u64(f->body, CT_CODE, 0),
                              (int)control_get_u64(f->body, CT_SIGNAL, 0), control_get_u64(f->body, CT_UPTIME_MS, 0),
                              (int64_t)control_get_u64(f->body, CT_AT_MS, 0), control_get(f->body, CT_TEXT));
        break;
    case CONTROL_JOB_OUT:
        q = pending_of(s, f->id);
        if (q && q->output)
            q->output(q->ctx, (int)control_get_u64(f->body, CT_STREAM, 1), control_get(f->body, CT_BYTES));
        break;
    case CONTROL_OK:
    case CONTROL_FAIL:
        q = pending_of(s, f->id);
        if (q) {
            struct pending done = *q;
            vec_swap_del(&s->pending, (size_t)(q - s->pending.v));
            uint64_t next = control_get_u64(f->body, CT_NEXT, UINT64_MAX);
            if (done.kind == PENDING_LIST && f->type == CONTROL_OK && next != UINT64_MAX)
                ask_list(s, next);
            else
                finish(&done, f->type == CONTROL_FAIL, f->body);
        }
        break;
    default: /* a newer keeper says more */
        break;
    }
}

static void on_io(void *arg, int events)
{
    struct control_session *s = arg;
    if (events & LOOP_HUP)
        s->broken = -EPIPE;
    if ((events & LOOP_WRITE) && !s->broken)
        flush(s);
    if ((events & LOOP_READ) && !s->broken) {
        ssize_t n = buf_reserve(&s->in, 65536) == 0 ? recv(s->fd, s->in.p + s->in.n, 65536, 0) : -1;
        if (n > 0)
            s->in.n += (size_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            s->broken = -EPIPE;
        size_t taken = 0, used = 0;
        struct control_frame f;
        s->dispatching = true;
        while (!s->broken) {
            int r = control_parse(str_make(s->in.p + taken, s->in.n - taken), (size_t)limit(control_message_bytes), &f,
                                  &used);
            if (r < 0)
                s->broken = r;
            if (r != 0)
                break;
            taken += used;
            dispatch(s, &f);
        }
        s->dispatching = false;
        if (taken) {
            memmove(s->in.p, s->in.p + taken, s->in.n - taken);
            s->in.n -= taken;
        }
        flush(s);
    }
    if (s->broken)
        disconnect(s, s->broken, true);
}

static void connect_now(void *arg)
{
    struct control_session *s = arg;
    int fd = control_socket_connect(s->path);
    if (fd < 0) {
        loop_timer_set(s->retry, s->retry_ms, 0);
        s->retry_ms = MIN(s->retry_ms * 2, RETRY_MAX_MS);
        return;
    }
    s->fd = fd;
    s->io = loop_io_new(s->loop, fd, on_io, s);
    if (s->reports)
        send_report(s);
    /* Subscribed before listed: a change in between comes twice rather than never. */
    size_t at = control_begin(&s->out, CONTROL_SUBSCRIBE, next_id(s));
    control_put_u64(&s->out, CT_TOPICS, s->topics);
    control_end(&s->out, at);
    ask_list(s, 0);
    flush(s);
    if (s->h->connected)
        s->h->connected(s->ctx);
}

struct control_session *control_session_new(struct loop *l, const char *data_dir, uint32_t topics,
                                            const struct control_handler *h, void *ctx)
{
    struct control_session *s = NEW(struct control_session);
    s->loop = l;
    s->path = control_socket_path(data_dir);
    s->topics = topics;
    s->h = h;
    s->ctx = ctx;
    s->fd = -1;
    buf_init(&s->in, (size_t)limit(control_message_bytes) + CONTROL_HEAD_BYTES + 65536);
    buf_init(&s->out, (size_t)limit(control_message_bytes) * 4);
    s->retry_ms = RETRY_FIRST_MS;
    s->retry = loop_timer_new(l, connect_now, s);
    loop_timer_set(s->retry, 0, 0);
    return s;
}

struct control_session *control_session_free(struct control_session *s)
{
    if (!s)
        return NULL;
    ASSERT(!s->dispatching);
    loop_timer_close(s->retry);
    disconnect(s, 0, false);
    buf_done(&s->in);
    buf_done(&s->out);
    vec_done(&s->pending);
    vec_done(&s->known);
    free(s->path);
    free(s->report_address);
    free(s->report_text);
    free(s);
    return NULL;
}

bool control_session_up(const struct control_session *s)
{
    return s->fd >= 0 && !s->broken;
}

void control_session_report(struct control_session *s, enum control_state state, struct str address, struct str text)
{
    free(s->report_address);
    free(s->report_text);
    s->reports = true;
    s->report_state = state;
    s->report_address = str_dupz(address);
    s->report_text = str_dupz(text);
    if (control_session_up(s)) {
        send_report(s);
        flush(s);
    }
}

void control_session_act(struct control_session *s, enum control_action action, uint32_t id, int signum,
                         control_done_fn fn, void *ctx)
{
    if (!control_session_up(s)) {
        if (fn)
            fn(ctx, -EPIPE, STR_NULL);
        return;
    }
    uint32_t request = next_id(s);
    size_t at = control_begin(&s->out, CONTROL_ACT, request);
    control_put_u64(&s->out, CT_ACTION, action);
    if (action == CA_SIGNAL)
        control_put_u64(&s->out, CT_SIGNAL, (uint64_t)signum);
    if (id != UINT32_MAX)
        control_put_u64(&s->out, CT_ID, id);
    for (size_t i = 0; id == UINT32_MAX && i < s->known.n; i++)
        control_put_u64(&s->out, CT_ID, s->known.v[i]);
    control_end(&s->out, at);
    vec_push(&s->pending, (struct pending){.id = request, .kind = PENDING_PLAIN, .fn = fn, .ctx = ctx});
    flush(s);
}

uint32_t control_session_job(struct control_session *s, const struct control_job *j)
{
    if (!control_session_up(s))
        return 0;
    uint32_t id = next_id(s);
    size_t at = control_begin(&s->out, CONTROL_JOB, id);
    for (size_t i = 0; j->argv[i]; i++)
        control_put(&s->out, CT_ARG, str_of(j->argv[i]));
    for (size_t i = 0; j->envp && j->envp[i]; i++)
        control_put(&s->out, CT_ENV, str_of(j->envp[i]));
    if (j->cwd)
        control_put(&s->out, CT_CWD, str_of(j->cwd));
    if (j->input.n)
        control_put(&s->out, CT_INPUT, j->input);
    if (j->timeout_ms)
        control_put_u64(&s->out, CT_TIMEOUT_MS, j->timeout_ms);
    control_end(&s->out, at);
    vec_push(&s->pending,
             (struct pending){.id = id, .kind = PENDING_JOB, .output = j->output, .job_done = j->done, .ctx = j->ctx});
    flush(s);
    return id;
}

void control_session_job_kill(struct control_session *s, uint32_t id)
{
    if (!control_session_up(s))
        return;
    size_t at = control_begin(&s->out, CONTROL_JOB_KILL, next_id(s));
    control_put_u64(&s->out, CT_ID, id);
    control_end(&s->out, at);
    flush(s);
}

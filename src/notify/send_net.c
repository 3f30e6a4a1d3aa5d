// SPDX-License-Identifier: Apache-2.0
/* The real transport: HTTP and SMTP by net/. Lives on the notifier's loop thread; only wake() comes from elsewhere. */
#include "notify/notify_int.h"
#include "base/parse.h"

#define CONNECTIONS_MAX 64

struct call {
    struct net *t;
    struct notify_job *job;
    struct http_call *call;
    bool mail, early; /* early: failed before it began, to be told from poll() */
    struct notify_result result;
};

struct net {
    struct notify_transport base;
    struct http_multi *multi;
    VEC(struct call *) calls;
};

static void drop(struct net *t, struct call *c)
{
    for (size_t i = 0; i < t->calls.n; i++)
        if (t->calls.v[i] == c) {
            vec_swap_del(&t->calls, i);
            break;
        }
    free(c);
}

static void done(void *ctx, const struct http_response *r)
{
    struct call *c = ctx;
    struct notify_result res = {.status = r->status};
    if (r->error) {
        res.retry = true;
        err_set(&res.err, "%s", r->err.msg[0] ? r->err.msg : err_name(r->error));
        /* A refusal of the mail server for good (5xx) is not tried again. */
        if (c->mail && r->status >= 500 && r->status < 600)
            res.retry = false;
    } else if (c->mail ? r->status < 400 : r->status / 100 == 2) {
        res.ok = true;
    } else {
        int64_t s;
        res.retry = c->mail ? r->status < 500 : r->status / 100 == 5 || r->status == 429;
        err_set(&res.err, "answered %ld: " STR_FMT, r->status, STR_ARG(str_sub(r->body, 0, 300)));
        if (r->retry_after.n && parse_i64(r->retry_after, &s) && s > 0 && s < 86400)
            res.retry_after_ms = s * 1000;
    }
    struct notify_job *job = c->job;
    drop(c->t, c);
    notify_job_done(job, &res);
}

static void send_message(struct notify_transport *base, const struct notify_message *m, struct notify_job *job)
{
    struct net *t = (struct net *)base;
    struct call *c = NEW(struct call);
    *c = (struct call){.t = t, .job = job, .mail = m->mail != NULL};
    vec_push(&t->calls, c);
    int r;
    if (m->mail) {
        r = smtp_multi_start(t->multi, m->mail, done, c, &c->call, &c->result.err);
    } else {
        struct http_request req = {.method = "POST",
                                   .url = m->url,
                                   .config = m->http,
                                   .headers = m->headers,
                                   .n_headers = m->n_headers,
                                   .body = m->body,
                                   .timeout_ms = m->timeout_ms,
                                   .max_body = 1 << 20};
        r = http_multi_start(t->multi, &req, done, c, &c->call, &c->result.err);
    }
    if (r) {
        c->early = true;
        c->result.retry = r != -EINVAL;
        if (!c->result.err.msg[0])
            err_set(&c->result.err, "%s", err_name(r));
    }
}

static void cancel(struct notify_transport *base, struct notify_job *job)
{
    struct net *t = (struct net *)base;
    for (size_t i = 0; i < t->calls.n; i++)
        if (t->calls.v[i]->job == job) {
            if (!t->calls.v[i]->early)
                http_call_cancel(t->calls.v[i]->call);
            drop(t, t->calls.v[i]);
            return;
        }
}

static void poll_net(struct notify_transport *base, int timeout_ms)
{
    struct net *t = (struct net *)base;
    bool early = false;
    for (size_t i = 0; i < t->calls.n;) {
        struct call *c = t->calls.v[i];
        if (!c->early) {
            i++;
            continue;
        }
        struct notify_result res = c->result;
        struct notify_job *job = c->job;
        drop(t, c);
        notify_job_done(job, &res);
        early = true;
        i = 0;
    }
    (void)http_multi_poll(t->multi, early ? 0 : timeout_ms); /* how many still run does not matter here */
}

static void wake(struct notify_transport *base)
{
    http_multi_wake(((struct net *)base)->multi);
}

static void free_net(struct notify_transport *base)
{
    struct net *t = (struct net *)base;
    http_multi_free(t->multi);
    for (size_t i = 0; i < t->calls.n; i++)
        free(t->calls.v[i]);
    vec_done(&t->calls);
    free(t);
}

struct notify_transport *notify_transport_net(void)
{
    struct net *t = NEW(struct net);
    t->base = (struct notify_transport){
        .send = send_message, .cancel = cancel, .poll = poll_net, .wake = wake, .free = free_net};
    t->multi = http_multi_new(CONNECTIONS_MAX);
    return &t->base;
}

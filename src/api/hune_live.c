// SPDX-License-Identifier: Apache-2.0
/* Live streams: journal events and log lines to every client that wants them. Events come on the journal's thread,
 * lines on the apps thread; each is written as JSON once and queued to the clients whose filter it passes. A client
 * that is gone or too slow is dropped at the next thing sent. */
#include "api/hune_int.h"

#include "base/parse.h"
#include "base/vec.h"

#include <pthread.h>

#define BACKLOG_MAX 1000

struct live_client {
    struct http_sse *sse;
    bool logs;
    struct str kind, service; /* events; own memory */
    enum severity least;
    uint64_t last_seq;
    int64_t process; /* logs: id, or -1 = all */
};

struct hune_live {
    pthread_mutex_t lock;
    VEC(struct live_client) clients;
};

static void drop(struct hune_live *l, size_t i)
{
    struct live_client *c = &l->clients.v[i];
    http_sse_close(c->sse);
    free((char *)c->kind.p);
    free((char *)c->service.p);
    vec_swap_del(&l->clients, i);
}

static bool wants(const struct live_client *c, const struct event *e)
{
    return !c->logs && e->seq > c->last_seq && e->severity >= c->least && str_starts(e->kind, c->kind) &&
           (str_empty(c->service) || str_eq(e->service, c->service));
}

static int send_event(struct http_sse *sse, const struct event *e)
{
    struct buf json = BUF_INIT(1 << 20);
    struct jw w;
    jw_init(&w, &json);
    event_json(&w, e);
    char id[24];
    int n = snprintf(id, sizeof(id), "%llu", (unsigned long long)e->seq);
    int r = http_sse_send(sse, STR("event"), str_make(id, (size_t)n), buf_view(&json));
    buf_done(&json);
    return r;
}

static void on_event(void *ctx, const struct event *e)
{
    struct hune_live *l = ctx;
    struct buf json = BUF_INIT(1 << 20);
    char id[24];
    int n = 0;
    pthread_mutex_lock(&l->lock);
    for (size_t i = l->clients.n; i-- > 0;) {
        struct live_client *c = &l->clients.v[i];
        if (!wants(c, e))
            continue;
        if (!json.n) {
            struct jw w;
            jw_init(&w, &json);
            event_json(&w, e);
            n = snprintf(id, sizeof(id), "%llu", (unsigned long long)e->seq);
        }
        c->last_seq = e->seq;
        if (http_sse_send(c->sse, STR("event"), str_make(id, (size_t)n), buf_view(&json)) < 0)
            drop(l, i);
    }
    pthread_mutex_unlock(&l->lock);
    buf_done(&json);
}

static void on_line(void *ctx, const struct app_line *line)
{
    struct hune_live *l = ctx;
    struct buf json = BUF_INIT(1 << 20);
    pthread_mutex_lock(&l->lock);
    for (size_t i = l->clients.n; i-- > 0;) {
        struct live_client *c = &l->clients.v[i];
        if (!c->logs || (c->process >= 0 && c->process != line->id))
            continue;
        if (!json.n) {
            struct jw w;
            jw_init(&w, &json);
            jw_obj(&w);
            jw_ki64(&w, "t_ms", line->t_ms);
            jw_kz(&w, "stream", line->stream == 2 ? "err" : "out");
            jw_ki64(&w, "id", line->id);
            jw_kstr(&w, "name", line->name);
            jw_kstr(&w, "text", line->text);
            jw_end(&w);
        }
        if (http_sse_send(c->sse, STR("line"), STR(""), buf_view(&json)) < 0)
            drop(l, i);
    }
    pthread_mutex_unlock(&l->lock);
    buf_done(&json);
}

/* With the lock held. */
static void sweep(struct hune_live *l)
{
    for (size_t i = l->clients.n; i-- > 0;)
        if (http_sse_gone(l->clients.v[i].sse))
            drop(l, i);
}

/* Send what was missed after c->last_seq; false when the client is gone. */
static bool catch_up(struct api *a, struct live_client *c, struct arena *arena)
{
    struct event_filter f = {.kind_prefix = c->kind,
                             .service = c->service,
                             .min_severity = c->least,
                             .after_seq = c->last_seq,
                             .limit = BACKLOG_MAX,
                             .ascending = true};
    struct event *v;
    size_t n;
    if (a->d.journal->list(a->d.journal, &f, arena, &v, &n) < 0)
        return true;
    for (size_t i = 0; i < n; i++) {
        if (send_event(c->sse, &v[i]) < 0)
            return false;
        c->last_seq = v[i].seq;
    }
    return true;
}

static void do_events_stream(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct hune_live *l = a->live;
    struct str sev = http_arg(r, "severity"), last = http_header(r, "last-event-id");
    uint64_t after = 0;
    bool resume = parse_u64(last, &after) || parse_u64(http_arg(r, "after"), &after);
    struct live_client c = {.least = severity_parse(sev), .last_seq = after};
    if (!str_empty(sev) && !c.least) {
        http_fail(r, 400, "severity must be info, warning or critical");
        return;
    }
    pthread_mutex_lock(&l->lock);
    sweep(l); /* so that streams of closed pages do not count against the limit */
    pthread_mutex_unlock(&l->lock);
    c.sse = http_sse_open(r);
    if (!c.sse)
        return;
    c.kind = str_of(str_dupz(http_arg(r, "kind")));
    c.service = str_of(str_dupz(http_arg(r, "service")));
    bool alive = !resume || catch_up(a, &c, http_arena(r));
    pthread_mutex_lock(&l->lock);
    /* What was written meanwhile is in the journal already or will come through on_event(), never both: last_seq tells.
     */
    if (alive && resume)
        alive = catch_up(a, &c, http_arena(r));
    vec_push(&l->clients, c);
    if (!alive)
        drop(l, l->clients.n - 1);
    pthread_mutex_unlock(&l->lock);
}

static void events_stream(struct http_req *r, void *ctx)
{
    http_later(r, do_events_stream, ctx);
}

static void logs_stream(struct http_req *r, void *ctx)
{
    struct api *a = ctx;
    struct hune_live *l = a->live;
    struct str id = http_param(r, "id");
    uint64_t number = 0;
    if (!str_eqz(id, "all") && !parse_u64(id, &number)) {
        http_fail(r, 400, "a process is named by its number, or all");
        return;
    }
    struct live_client c = {.logs = true, .process = str_eqz(id, "all") ? -1 : (int64_t)number};
    pthread_mutex_lock(&l->lock);
    sweep(l);
    c.sse = http_sse_open(r);
    if (c.sse)
        vec_push(&l->clients, c);
    pthread_mutex_unlock(&l->lock);
}

void hune_live_start(struct api *a)
{
    struct hune_live *l = NEW(struct hune_live);
    pthread_mutex_init(&l->lock, NULL);
    a->live = l;
    if (a->d.journal)
        a->d.journal->subscribe(a->d.journal, on_event, l);
    if (a->d.apps)
        apps_subscribe_logs(a->d.apps, on_line, l);
}

void hune_live_bye(struct api *a)
{
    struct hune_live *l = a->live;
    pthread_mutex_lock(&l->lock);
    while (l->clients.n) {
        (void)!http_sse_send(l->clients.v[l->clients.n - 1].sse, STR("bye"), STR(""), STR("{}"));
        drop(l, l->clients.n - 1);
    }
    pthread_mutex_unlock(&l->lock);
}

void hune_live_free(struct api *a)
{
    struct hune_live *l = a->live;
    if (!l)
        return;
    while (l->clients.n)
        drop(l, l->clients.n - 1);
    vec_done(&l->clients);
    pthread_mutex_destroy(&l->lock);
    free(l);
    a->live = NULL;
}

static const struct http_route routes[] = {
    {HTTP_GET, "/api/hune/v1/events/stream", HTTP_VIEWER, 0, events_stream, "the journal, live (SSE)"},
    {HTTP_GET, "/api/hune/v1/processes/{id}/logs/stream", HTTP_VIEWER, 0, logs_stream, "live lines (SSE)"},
};

void hune_live_routes(struct api *a)
{
    http_server_routes(a->http, routes, ARRAY_LEN(routes), a);
}

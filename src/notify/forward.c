// SPDX-License-Identifier: Apache-2.0
/* Alerts to outside Alertmanagers: POST /api/v2/alerts to each of `alerting.alertmanagers`. A bounded queue, batches of
 * 256 (as Prometheus); what does not fit is dropped oldest first and counted, what fails is sent again with the next
 * resend of the rule. */
#include "notify/notify_int.h"
#include "sys/thread.h"

#define BATCH 256

struct queued {
    void *block;
    struct alert a;
};

struct target_state {
    struct forward_target t;
    uint64_t sent, errors;
};

struct target_set {
    _Atomic int refs;
    struct arena *mem;
    struct target_state *v;
    size_t n;
};

struct forward {
    struct alert_sink sink;
    const struct clock *clock;
    pthread_mutex_t mu;
    VEC(struct queued) queue;
    uint64_t dropped;
    struct target_set *targets;
    struct http_multi *multi;
    pthread_t thread;
    bool running, stop;
};

struct post {
    struct forward *f;
    struct target_set *set;
    size_t target, alerts;
    struct str body;
    char *text;
};

static void set_unref(struct target_set *s)
{
    if (s && atomic_fetch_sub(&s->refs, 1) == 1) {
        arena_free(s->mem);
        free(s);
    }
}

static int put(struct alert_sink *sink, const struct alert *alerts, size_t n)
{
    struct forward *f = CONTAINER_OF(sink, struct forward, sink);
    pthread_mutex_lock(&f->mu);
    size_t max = (size_t)limit(notify_queue);
    for (size_t i = 0; i < n && f->targets && f->targets->n; i++) {
        struct queued q;
        q.block = pack_alert(&alerts[i], &q.a);
        vec_push(&f->queue, q);
    }
    if (f->queue.n > max) {
        size_t over = f->queue.n - max;
        for (size_t i = 0; i < over; i++)
            free(f->queue.v[i].block);
        memmove(f->queue.v, f->queue.v + over, max * sizeof(*f->queue.v));
        f->queue.n = max;
        f->dropped += over;
    }
    bool running = f->running;
    pthread_mutex_unlock(&f->mu);
    if (running)
        http_multi_wake(f->multi);
    return 0;
}

static void done(void *ctx, const struct http_response *r)
{
    struct post *p = ctx;
    struct target_state *t = &p->set->v[p->target];
    pthread_mutex_lock(&p->f->mu);
    if (r->error || r->status / 100 != 2) {
        t->errors += p->alerts;
        log_warn("an Alertmanager did not take alerts", KV_STR("url", t->t.url), KV_INT("status", r->status),
                 KV_INT("alerts", p->alerts), KV_Z("reason", r->err.msg));
    } else {
        t->sent += p->alerts;
    }
    pthread_mutex_unlock(&p->f->mu);
    set_unref(p->set);
    free(p->text);
    free(p);
}

static void put_time(struct jw *w, const char *key, int64_t ms)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    time_format_go(&b, ms, STR("2006-01-02T15:04:05.999Z07:00"), 0, STR("UTC"));
    jw_kstr(w, key, buf_view(&b));
}

static void send_batch(struct forward *f)
{
    struct queued batch[BATCH];
    pthread_mutex_lock(&f->mu);
    size_t n = MIN(f->queue.n, BATCH);
    memcpy(batch, f->queue.v, n * sizeof(*batch));
    memmove(f->queue.v, f->queue.v + n, (f->queue.n - n) * sizeof(*f->queue.v));
    f->queue.n -= n;
    struct target_set *set = f->targets;
    if (set)
        atomic_fetch_add(&set->refs, 1);
    pthread_mutex_unlock(&f->mu);
    struct buf b = BUF_INIT((size_t)256 << 20);
    struct jw w;
    jw_init(&w, &b);
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        const struct alert *a = &batch[i].a;
        jw_obj(&w);
        jw_key(&w, "labels");
        labels_json(&w, a->labels);
        jw_key(&w, "annotations");
        labels_json(&w, a->annotations);
        put_time(&w, "startsAt", a->starts_ms);
        put_time(&w, "endsAt", a->ends_ms);
        jw_kstr(&w, "generatorURL", a->generator_url);
        jw_end(&w);
        free(batch[i].block);
    }
    jw_end(&w);
    static const struct http_header headers[] = {{.name = {"Content-Type", 12}, .value = {"application/json", 16}}};
    for (size_t i = 0; set && i < set->n; i++) {
        struct post *p = NEW(struct post);
        *p = (struct post){.f = f, .set = set, .target = i, .alerts = n};
        p->text = str_dupz(buf_view(&b));
        p->body = str_make(p->text, b.n);
        atomic_fetch_add(&set->refs, 1);
        char *url = xasprintf(STR_FMT "/api/v2/alerts", STR_ARG(set->v[i].t.url));
        struct http_request req = {.method = "POST",
                                   .url = str_of(url),
                                   .config = &set->v[i].t.http,
                                   .headers = headers,
                                   .n_headers = 1,
                                   .body = p->body,
                                   .timeout_ms = set->v[i].t.timeout_ms ? set->v[i].t.timeout_ms : 10000,
                                   .max_body = 1 << 20};
        struct http_call *call;
        struct http_response bad = {0};
        bad.error = http_multi_start(f->multi, &req, done, p, &call, &bad.err);
        if (bad.error)
            done(p, &bad);
        free(url);
    }
    set_unref(set);
    buf_done(&b);
}

static void *run(void *arg)
{
    struct forward *f = arg;
    for (;;) {
        (void)http_multi_poll(f->multi, 1000); /* how many run does not matter */
        pthread_mutex_lock(&f->mu);
        bool stop = f->stop, work = f->queue.n > 0;
        pthread_mutex_unlock(&f->mu);
        if (stop)
            return NULL;
        while (work) {
            send_batch(f);
            pthread_mutex_lock(&f->mu);
            work = f->queue.n > 0 && !f->stop;
            pthread_mutex_unlock(&f->mu);
        }
    }
}

struct forward *forward_new(const struct clock *c)
{
    struct forward *f = NEW(struct forward);
    f->clock = c;
    f->sink.put = put;
    pthread_mutex_init(&f->mu, NULL);
    return f;
}

int forward_start(struct forward *f)
{
    f->multi = http_multi_new(16);
    int r = thread_start(&f->thread, "forward", run, f);
    pthread_mutex_lock(&f->mu);
    f->running = !r;
    pthread_mutex_unlock(&f->mu);
    return r;
}

struct forward *forward_free(struct forward *f)
{
    if (!f)
        return NULL;
    if (f->running) {
        pthread_mutex_lock(&f->mu);
        f->stop = true;
        pthread_mutex_unlock(&f->mu);
        http_multi_wake(f->multi);
        pthread_join(f->thread, NULL);
    }
    if (f->multi)
        http_multi_free(f->multi);
    for (size_t i = 0; i < f->queue.n; i++)
        free(f->queue.v[i].block);
    vec_done(&f->queue);
    set_unref(f->targets);
    pthread_mutex_destroy(&f->mu);
    free(f);
    return NULL;
}

/* external_labels: rules have put them on the alerts already; kept in the interface for alerts from elsewhere. */
void forward_apply(struct forward *f, const struct forward_target *t, size_t n, struct labels external_labels)
{
    (void)external_labels;
    struct target_set *s = NEW(struct target_set);
    atomic_init(&s->refs, 1);
    s->mem = arena_new(0);
    s->n = n;
    s->v = ARENA_ARRAY(s->mem, struct target_state, n + 1);
    for (size_t i = 0; i < n; i++) {
        s->v[i].t = t[i]; /* strings of http_config belong to the configuration generation, which outlives this set */
        s->v[i].t.url = arena_str(s->mem, t[i].url);
    }
    pthread_mutex_lock(&f->mu);
    struct target_set *old = f->targets;
    f->targets = s;
    pthread_mutex_unlock(&f->mu);
    set_unref(old);
}

struct alert_sink *forward_alert_sink(struct forward *f)
{
    return &f->sink;
}

void forward_collect(void *ctx, struct metrics_out *o)
{
    struct forward *f = ctx;
    pthread_mutex_lock(&f->mu);
    o->family(o, STR("prometheus_notifications_queue_length"), STR("Alerts waiting for outside Alertmanagers."),
              METRIC_GAUGE);
    o->sample(o, STR(""), NULL, 0, (double)f->queue.n);
    o->family(o, STR("prometheus_notifications_queue_capacity"), STR("Most alerts that may wait."), METRIC_GAUGE);
    o->sample(o, STR(""), NULL, 0, (double)limit(notify_queue));
    o->family(o, STR("prometheus_notifications_dropped_total"), STR("Alerts dropped because the queue was full."),
              METRIC_COUNTER);
    o->sample(o, STR(""), NULL, 0, (double)f->dropped);
    size_t n = f->targets ? f->targets->n : 0;
    o->family(o, STR("prometheus_notifications_alertmanagers_discovered"), STR("Outside Alertmanagers."), METRIC_GAUGE);
    o->sample(o, STR(""), NULL, 0, (double)n);
    for (int k = 0; k < 2 && n; k++) {
        o->family(o, k ? STR("prometheus_notifications_errors_total") : STR("prometheus_notifications_sent_total"),
                  k ? STR("Alerts an Alertmanager did not take.") : STR("Alerts sent."), METRIC_COUNTER);
        for (size_t i = 0; i < n; i++) {
            struct metric_label l = {STR("alertmanager"), f->targets->v[i].t.url};
            o->sample(o, STR(""), &l, 1, (double)(k ? f->targets->v[i].errors : f->targets->v[i].sent));
        }
    }
    pthread_mutex_unlock(&f->mu);
}

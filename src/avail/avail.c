// SPDX-License-Identifier: Apache-2.0
/* Incidents are folded out of the journal as it grows: each anomaly.* event carries the whole list form of its sheet,
 * the newest one wins; a critical alert is an incident of its own as long as no sheet has it. What was read stays in
 * memory (some 400 bytes an incident), so a report costs the new events only. */
#include "avail/avail.h"

#include "base/mem.h"
#include "base/map.h"
#include "base/vec.h"
#include <math.h>
#include <pthread.h>

#define READ_STEP 512
#define INCIDENTS_MAX 100000 /* the oldest are forgotten beyond */

const struct avail_objectives avail_objectives_default = {
    /* MISSION */
    .uptime_ratio = 0.9999,         .mttd_ms = 5 * 60000LL,     .mttr_ms = 5 * 60000LL,
    .resolution_ms = 4 * 3600000LL, .mtbf_ms = 720 * 3600000LL, .detection_ratio = 0.95,
};

enum loss { LOSS_UNKNOWN, LOSS_NONE, LOSS_SOME };

struct record {
    char *id, *title, *service;
    enum severity severity;
    bool sheet;   /* else a lone alert */
    bool covered; /* a lone alert that a sheet names */
    bool automatic, gone;
    enum loss loss;
    int64_t started_ms, detected_ms, acknowledged_ms, stabilised_ms, resolved_ms;
};

struct avail {
    struct journal *j;
    const struct clock *clock;
    pthread_mutex_t lock; /* everything below: reports come from several threads */
    struct map by_id;     /* record.id -> record; of lone alerts the one that is still firing */
    VEC(struct record *) all;
    uint64_t seen;
    int64_t first_ms; /* hune's first event */
};

struct avail *avail_new(struct journal *j, const struct clock *c)
{
    struct avail *a = NEW(struct avail);
    a->j = j;
    a->clock = c;
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

static void record_free(struct record *r)
{
    free(r->id);
    free(r->title);
    free(r->service);
    free(r);
}

struct avail *avail_free(struct avail *a)
{
    if (!a)
        return NULL;
    for (size_t i = 0; i < a->all.n; i++)
        record_free(a->all.v[i]);
    vec_done(&a->all);
    map_done(&a->by_id);
    pthread_mutex_destroy(&a->lock);
    free(a);
    return NULL;
}

/* ---- folding ---- */

static struct record *record_of(struct avail *a, struct str id)
{
    struct record *r = map_get(&a->by_id, id);
    if (r)
        return r;
    if (a->all.n >= INCIDENTS_MAX) {
        size_t half = a->all.n / 2;
        for (size_t i = 0; i < half; i++) {
            if (map_get(&a->by_id, str_of(a->all.v[i]->id)) == a->all.v[i])
                map_del(&a->by_id, str_of(a->all.v[i]->id));
            record_free(a->all.v[i]);
        }
        memmove(a->all.v, a->all.v + half, (a->all.n - half) * sizeof(*a->all.v));
        a->all.n -= half;
    }
    r = NEW(struct record);
    r->id = str_dupz(id);
    r->title = xstrdup("");
    r->service = xstrdup("");
    vec_push(&a->all, r);
    map_put(&a->by_id, str_of(r->id), r);
    return r;
}

static void set_text(char **field, struct str s)
{
    if (str_eqz(s, *field))
        return;
    free(*field);
    *field = str_dupz(s);
}

static void fold_sheet(struct avail *a, const struct event *e, const struct json *o)
{
    struct str loss = json_str(o, "loss", STR("")), alert = json_str(o, "alert", STR(""));
    struct record *r = record_of(a, e->subject);
    set_text(&r->title, json_str(o, "title", STR("")));
    set_text(&r->service, json_str(o, "service", STR("")));
    r->sheet = true;
    r->severity = severity_parse(json_str(o, "severity", STR("")));
    r->automatic = str_eqz(json_str(o, "detection", STR("")), "automatic");
    r->loss = str_eqz(loss, "none") ? LOSS_NONE : loss.n ? LOSS_SOME : LOSS_UNKNOWN;
    r->started_ms = json_i64(o, "started_ms", e->t_ms);
    r->detected_ms = json_i64(o, "detected_ms", r->started_ms);
    r->acknowledged_ms = json_i64(o, "acknowledged_ms", 0);
    r->stabilised_ms = json_i64(o, "stabilised_ms", 0);
    r->resolved_ms = json_i64(o, "resolved_ms", 0);
    struct record *lone = alert.n ? map_get(&a->by_id, alert) : NULL;
    if (lone && !lone->sheet)
        lone->covered = true;
}

static void fold_alert(struct avail *a, const struct event *e, const struct json *o)
{
    bool firing = str_eqz(e->kind, "alert.firing");
    struct record *r = map_get(&a->by_id, e->subject);
    if (!firing) {
        if (r && !r->sheet) {
            r->stabilised_ms = r->resolved_ms = e->t_ms;
            map_del(&a->by_id, str_of(r->id)); /* the next one of this fingerprint is another incident */
        }
        return;
    }
    if (r || e->severity != SEV_CRITICAL || !e->subject.n)
        return;
    r = record_of(a, e->subject);
    set_text(&r->title, e->summary);
    set_text(&r->service, e->service);
    r->severity = e->severity;
    r->automatic = true;
    r->detected_ms = e->t_ms;
    int64_t active = json_i64(o, "active_ms", 0);
    r->started_ms = active > 0 && active <= e->t_ms ? active : e->t_ms;
}

/* A sheet holds every alert of its name and service that began while it was open: none of them counts again. */
static bool within_a_sheet(const struct avail *a, const struct record *lone)
{
    if (lone->covered)
        return true;
    for (size_t i = a->all.n; i-- > 0;) {
        const struct record *r = a->all.v[i];
        if (r->sheet && strcmp(r->service, lone->service) == 0 && r->started_ms <= lone->detected_ms + 60000 &&
            (!r->resolved_ms || r->resolved_ms >= lone->started_ms))
            return true;
    }
    return false;
}

static int catch_up(struct avail *a)
{
    for (;;) {
        _cleanup_arena_ struct arena *m = arena_new(0);
        struct event *v;
        size_t n = 0;
        struct event_filter f = {.after_seq = a->seen, .limit = READ_STEP, .ascending = true};
        int r = a->j->list(a->j, &f, m, &v, &n);
        if (r)
            return r;
        for (size_t i = 0; i < n; i++) {
            const struct event *e = &v[i];
            a->seen = e->seq;
            if (!a->first_ms || e->t_ms < a->first_ms)
                a->first_ms = e->t_ms;
            bool sheet = str_starts(e->kind, STR("anomaly.")) && !str_eqz(e->kind, "anomaly.escalated");
            bool alert = str_eqz(e->kind, "alert.firing") || str_eqz(e->kind, "alert.resolved");
            const struct json *o = NULL;
            struct err why = {0};
            if ((!sheet && !alert) || (e->payload.n && json_parse(e->payload, m, &o, &why) != 0))
                continue;
            if (sheet && o)
                fold_sheet(a, e, o);
            else if (alert)
                fold_alert(a, e, o);
        }
        if (n < READ_STEP)
            return 0;
    }
}

/* ---- figures ---- */

static int by_value(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

static int by_start(const void *x, const void *y)
{
    const struct avail_incident *a = x, *b = y;
    return (a->started_ms > b->started_ms) - (a->started_ms < b->started_ms);
}

typedef VEC(int64_t) durations;

static struct avail_stat stat_of(durations *d)
{
    struct avail_stat s = {.n = d->n};
    if (d->n) {
        qsort(d->v, d->n, sizeof(*d->v), by_value);
        /* Sums of a century of milliseconds times 100,000 incidents stay below 2^63. */
        int64_t sum = 0;
        for (size_t i = 0; i < d->n; i++)
            sum += d->v[i];
        s.mean_ms = sum / (int64_t)d->n;
        s.median_ms = d->n % 2 ? d->v[d->n / 2] : (d->v[d->n / 2 - 1] + d->v[d->n / 2]) / 2;
        size_t rank = (d->n * 9 + 9) / 10; /* nearest rank: the smallest value with 90 % at or below it */
        s.p90_ms = d->v[rank - 1];
    }
    vec_done(d);
    return s;
}

static bool counts(const struct avail *a, const struct record *r)
{
    if (r->sheet)
        return r->loss == LOSS_SOME || (r->loss == LOSS_UNKNOWN && r->severity == SEV_CRITICAL);
    return !within_a_sheet(a, r);
}

static void fill(struct avail *a, struct str service, struct arena *m, struct avail_report *r)
{
    VEC(struct avail_incident) in = {0};
    durations mttd = {0}, mtta = {0}, mttr = {0}, resolution = {0};
    int64_t now = clock_now_ms(a->clock), begin = r->observed_from_ms;
    for (size_t i = 0; i < a->all.n; i++) {
        const struct record *x = a->all.v[i];
        int64_t end = x->stabilised_ms ? x->stabilised_ms : x->resolved_ms;
        int64_t last = end ? end : now;
        if ((service.n && !str_eqz(service, x->service)) || x->started_ms >= r->to_ms || last < begin)
            continue;
        if (x->sheet) {
            r->n_anomalies++;
            r->n_resolved += x->resolved_ms != 0;
        }
        if (!counts(a, x))
            continue;
        struct avail_incident y = {
            .id = arena_str(m, str_of(x->id)),
            .title = arena_str(m, str_of(x->title)),
            .service = arena_str(m, str_of(x->service)),
            .severity = x->severity,
            .ongoing = end == 0,
            .automatic = x->automatic,
            .started_ms = x->started_ms,
            .detected_ms = x->detected_ms,
            .acknowledged_ms = x->acknowledged_ms,
            .ended_ms = end,
            .resolved_ms = x->resolved_ms,
        };
        y.down_ms = MAX(MIN(last, r->to_ms) - MAX(x->started_ms, begin), 0);
        vec_push(&in, y);
        r->n_automatic += x->automatic;
        vec_push(&mttd, MAX(x->detected_ms - x->started_ms, 0));
        if (x->acknowledged_ms)
            vec_push(&mtta, MAX(x->acknowledged_ms - x->detected_ms, 0));
        if (end)
            vec_push(&mttr, MAX(end - x->started_ms, 0));
        if (x->resolved_ms)
            vec_push(&resolution, MAX(x->resolved_ms - x->detected_ms, 0));
    }
    if (in.n)
        qsort(in.v, in.n, sizeof(*in.v), by_start);
    struct avail_incident *v = ARENA_ARRAY(m, struct avail_incident, in.n + 1);
    struct avail_span *down = ARENA_ARRAY(m, struct avail_span, in.n + 1);
    size_t n_down = 0;
    for (size_t i = 0; i < in.n; i++) {
        v[i] = in.v[i];
        int64_t s = MAX(v[i].started_ms, begin), e = MIN(v[i].ongoing ? now : v[i].ended_ms, r->to_ms);
        if (e <= s)
            continue;
        if (n_down && s <= down[n_down - 1].to_ms)
            down[n_down - 1].to_ms = MAX(down[n_down - 1].to_ms, e);
        else
            down[n_down++] = (struct avail_span){s, e};
    }
    for (size_t i = 0; i < n_down; i++)
        r->downtime_ms += down[i].to_ms - down[i].from_ms;
    r->incidents = v;
    r->n_incidents = in.n;
    r->down = down;
    r->n_down = n_down;
    vec_done(&in);
    r->mttd = stat_of(&mttd);
    r->mtta = stat_of(&mtta);
    r->mttr = stat_of(&mttr);
    r->resolution = stat_of(&resolution);
    r->uptime_ratio = r->period_ms ? (double)(r->period_ms - r->downtime_ms) / (double)r->period_ms : 1;
    int64_t up = r->period_ms - r->downtime_ms;
    r->mtbf_at_least = r->n_incidents == 0;
    r->mtbf_ms = r->n_incidents ? up / (int64_t)r->n_incidents : up;
}

int avail_report(struct avail *a, struct str service, int64_t from_ms, int64_t to_ms, struct arena *arena,
                 struct avail_report *ret)
{
    int64_t now = clock_now_ms(a->clock);
    int64_t to = to_ms ? MIN(to_ms, now) : now, from = from_ms ? from_ms : to - 30 * 86400000LL;
    if (from >= to)
        return -EINVAL;
    struct avail_report r = {.service = arena_str(arena, service), .from_ms = from, .to_ms = to};
    pthread_mutex_lock(&a->lock);
    int e = catch_up(a);
    if (!e) {
        r.observed_from_ms = MIN(MAX(from, a->first_ms ? a->first_ms : to), to);
        r.period_ms = to - r.observed_from_ms;
        fill(a, service, arena, &r);
    }
    pthread_mutex_unlock(&a->lock);
    if (!e)
        *ret = r;
    return e;
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

int avail_services(struct avail *a, struct arena *arena, struct str **ret, size_t *ret_n)
{
    pthread_mutex_lock(&a->lock);
    int e = catch_up(a);
    struct str *v = ARENA_ARRAY(arena, struct str, a->all.n + 1);
    size_t n = 0, k = 0;
    for (size_t i = 0; i < a->all.n && !e; i++)
        if (a->all.v[i]->service[0])
            v[n++] = str_of(a->all.v[i]->service);
    if (n)
        qsort(v, n, sizeof(*v), by_text);
    for (size_t i = 0; i < n; i++)
        if (!k || !str_eq(v[k - 1], v[i]))
            v[k++] = v[i];
    for (size_t i = 0; i < k; i++)
        v[i] = arena_str(arena, v[i]);
    pthread_mutex_unlock(&a->lock);
    *ret = v;
    *ret_n = k;
    return e;
}

int avail_up(struct query_engine *q, struct str service, int64_t from_ms, int64_t to_ms, double *ret, struct err *e)
{
    _cleanup_arena_ struct arena *a = arena_new(4 << 20);
    _cleanup_buf_ struct buf expr = BUF_INIT(4096);
    if (to_ms <= from_ms)
        return -EINVAL;
    buf_z(&expr, "avg(avg_over_time(up");
    if (service.n) {
        buf_z(&expr, "{job=\"");
        for (size_t i = 0; i < service.n; i++) {
            if (service.p[i] == '"' || service.p[i] == '\\')
                buf_putc(&expr, '\\');
            if (service.p[i] == '\n')
                buf_z(&expr, "\\n");
            else
                buf_putc(&expr, service.p[i]);
        }
        buf_z(&expr, "\"}");
    }
    buf_fmt(&expr, "[%lldms]))", (long long)(to_ms - from_ms));
    if (buf_error(&expr))
        return -EMSGSIZE;
    struct query_request req = {.expr = buf_view(&expr), .start_ms = to_ms, .end_ms = to_ms};
    struct query_result res = {0};
    int r = query_eval(q, &req, a, &res, e);
    if (!r)
        *ret = res.kind == QUERY_VECTOR && res.n_series && res.series[0].n ? res.series[0].v[0] : NAN;
    return r;
}

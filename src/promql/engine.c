// SPDX-License-Identifier: Apache-2.0
/* The engine: takes turns, sets limits, runs one expression and hands over its answer. */
#include "promql/exec_int.h"
#include "base/limits.h"
#include "base/mem.h"
#include <math.h>
#include <pthread.h>
#include <time.h>

enum { M_QUERIES, M_QUERIES_MAX, M_WAITING, M_TOTAL, M_FAILED, M_SAMPLES, M_SECONDS, M_COUNT };

/* 73 million years: leaves room for every range, offset and lookback (292 years each) in 64 bits. */
#define TIME_LIMIT_MS (INT64_MAX / 4)

struct promql_engine {
    struct query_engine query; /* first: what others hold */
    struct source *src;
    struct promql_options o;
    pthread_mutex_t lock; /* guards running; leaf lock, held for a few instructions */
    pthread_cond_t turn;
    unsigned running;
    struct metric m[M_COUNT];
};

static int engine_eval(struct query_engine *q, const struct query_request *req, struct arena *a,
                       struct query_result *ret, struct err *e);

struct promql_engine *promql_engine_new(struct source *src, const struct promql_options *o)
{
    struct promql_engine *e = NEW(struct promql_engine);
    e->query.eval = engine_eval;
    e->src = src;
    if (o)
        e->o = *o;
    if (!e->o.clock)
        e->o.clock = &clock_real;
    if (!e->o.lookback_ms)
        e->o.lookback_ms = 5 * 60 * 1000;
    if (!e->o.timeout_ms)
        e->o.timeout_ms = 2 * 60 * 1000;
    if (!e->o.subquery_step_ms)
        e->o.subquery_step_ms = 60 * 1000;
    if (!e->o.max_samples)
        e->o.max_samples = (uint64_t)limit(query_samples);
    if (!e->o.max_bytes)
        e->o.max_bytes = (size_t)limit(query_memory);
    if (!e->o.max_concurrency)
        e->o.max_concurrency = 20;
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&e->turn, &attr);
    pthread_condattr_destroy(&attr);
    e->m[M_QUERIES] = (struct metric){.name = "prometheus_engine_queries",
                                      .help = "The current number of queries being executed or waiting.",
                                      .type = METRIC_GAUGE};
    e->m[M_QUERIES_MAX] = (struct metric){.name = "prometheus_engine_queries_concurrent_max",
                                          .help = "The max number of concurrent queries.",
                                          .type = METRIC_GAUGE};
    e->m[M_WAITING] =
        (struct metric){.name = "hune_query_waiting", .help = "Queries waiting for their turn.", .type = METRIC_GAUGE};
    e->m[M_TOTAL] = (struct metric){.name = "hune_query_total", .help = "Queries evaluated.", .type = METRIC_COUNTER};
    e->m[M_FAILED] = (struct metric){
        .name = "hune_query_failed_total", .help = "Queries that ended in an error.", .type = METRIC_COUNTER};
    e->m[M_SAMPLES] = (struct metric){.name = "prometheus_engine_query_samples_total",
                                      .help = "The total number of samples loaded by all queries.",
                                      .type = METRIC_COUNTER};
    e->m[M_SECONDS] = (struct metric){.name = "hune_query_seconds_total",
                                      .help = "Time spent evaluating queries.",
                                      .type = METRIC_COUNTER,
                                      .scale = 1e-9};
    metric_set(&e->m[M_QUERIES_MAX], e->o.max_concurrency);
    return e;
}

struct promql_engine *promql_engine_free(struct promql_engine *e)
{
    if (e) {
        ASSERT(e->running == 0);
        pthread_cond_destroy(&e->turn);
        pthread_mutex_destroy(&e->lock);
        free(e);
    }
    return NULL;
}

struct query_engine *promql_engine_query(struct promql_engine *e)
{
    return &e->query;
}

void promql_engine_metrics(struct promql_engine *e, struct metrics *m)
{
    metrics_add_table(m, e->m, M_COUNT);
}

/* ---- The answer -------------------------------------------------------------------- */

struct answer {
    struct exec *x;
    struct arena *a;
    struct row_map rows;
    VEC(struct query_series) matrix;
};

static int no_memory(struct exec *x)
{
    return x_fail(x, QUERY_E_BUDGET, "the answer does not fit into the memory of the request (limit query_memory)");
}

static int copy_labels(struct answer *s, struct labels l, struct labels *ret)
{
    size_t bytes = l.n * sizeof(struct label);
    for (size_t i = 0; i < l.n; i++)
        bytes += l.v[i].name.n + l.v[i].value.n;
    char *p = arena_try(s->a, bytes + 1);
    if (!p)
        return no_memory(s->x);
    struct label *v = (struct label *)(void *)p;
    p += l.n * sizeof(struct label);
    for (size_t i = 0; i < l.n; i++) {
        memcpy(p, l.v[i].name.p, l.v[i].name.n);
        v[i].name = str_make(p, l.v[i].name.n);
        p += l.v[i].name.n;
        memcpy(p, l.v[i].value.p, l.v[i].value.n);
        v[i].value = str_make(p, l.v[i].value.n);
        p += l.v[i].value.n;
    }
    *ret = (struct labels){.v = v, .n = l.n};
    return 0;
}

static size_t hist_bytes(const struct histogram *h)
{
    return sizeof(*h) + (h->n_pos_spans + h->n_neg_spans) * sizeof(struct hist_span) +
           (h->n_pos + h->n_neg + h->n_custom) * sizeof(double) + 128;
}

/* Points into the request's arena: n of them, of which `hists` are histograms. */
static int new_series(struct answer *s, struct labels labels, size_t n, bool hists, struct query_series *ret,
                      int64_t **ret_t, double **ret_v, const struct histogram ***ret_h)
{
    struct query_series q = {.n = n};
    int r = copy_labels(s, labels, &q.labels);
    if (r != 0)
        return r;
    *ret_t = arena_try(s->a, n * sizeof(int64_t) + 1);
    *ret_v = arena_try(s->a, n * sizeof(double) + 1);
    *ret_h = hists ? arena_try(s->a, n * sizeof(void *)) : NULL;
    if (!*ret_t || !*ret_v || (hists && !*ret_h))
        return no_memory(s->x);
    if (hists)
        memset(*ret_h, 0, n * sizeof(void *));
    q.t = *ret_t;
    q.v = *ret_v;
    q.h = *ret_h;
    *ret = q;
    return 0;
}

static int keep_histogram(struct answer *s, const struct histogram *h, const struct histogram **ret)
{
    void *room = arena_try(s->a, hist_bytes(h)); /* asks whether there is room; the copy comes after */
    if (!room)
        return no_memory(s->x);
    *ret = hist_copy(s->a, h);
    return 0;
}

/* The rows of the whole query, names dropped where that was put off, equal ones merged. */
static int answer_take(void *ctx, struct row *r)
{
    struct answer *s = ctx;
    int rc = x_check(s->x);
    if (rc != 0)
        return rc;
    struct labels labels = r->drop_name ? drop_metric_name(s->x, r->labels) : r->labels;
    struct row *o;
    if ((rc = row_map_get(&s->rows, labels, &o)) != 0)
        return rc;
    if (!r->h)
        return rows_merge(&s->rows.rows, o, r);
    struct row copy = *r;
    copy.h = X_ARRAY(s->x, const struct histogram *, s->rows.f->n);
    if (!copy.h)
        return QUERY_E_BUDGET;
    for (size_t i = 0; i < s->rows.f->n; i++)
        copy.h[i] = r->h[i] ? hist_copy(s->x->a, r->h[i]) : NULL;
    return rows_merge(&s->rows.rows, o, &copy);
}

static int compare_rows(const void *a, const void *b)
{
    return labels_cmp(((const struct row *)a)->labels, ((const struct row *)b)->labels);
}

static int finish_rows(struct answer *s, const struct frame *f, bool sorted, size_t max, struct query_result *ret)
{
    struct rows *rows = &s->rows.rows;
    if (sorted && rows->n > 1)
        qsort(rows->v, rows->n, sizeof(*rows->v), compare_rows);
    struct query_series *out = arena_try(s->a, (rows->n + 1) * sizeof(*out));
    if (!out)
        return no_memory(s->x);
    size_t n = 0;
    for (size_t k = 0; k < rows->n && !(max && n == max); k++) {
        const struct row *r = &rows->v[k];
        size_t points = 0, hists = 0;
        for (size_t i = 0; i < f->n; i++) {
            points += has_point(r, i);
            hists += has_hist(r, i);
        }
        if (points == 0)
            continue;
        int64_t *t;
        double *v;
        const struct histogram **h;
        int rc = new_series(s, r->labels, points, hists > 0, &out[n], &t, &v, &h);
        if (rc != 0)
            return rc;
        n++;
        size_t p = 0;
        for (size_t i = 0; i < f->n; i++) {
            if (!has_point(r, i))
                continue;
            t[p] = frame_ts(f, i);
            v[p] = has_float(r->v[i]) ? r->v[i] : 0;
            if (has_hist(r, i) && (rc = keep_histogram(s, r->h[i], &h[p])) != 0)
                return rc;
            p++;
        }
    }
    ret->series = out;
    ret->n_series = n;
    return 0;
}

/* foo[5m] alone: the samples themselves. */
static int matrix_take(void *ctx, struct labels labels, bool drop_name, const struct series_data *d,
                       const struct span *w)
{
    struct answer *s = ctx;
    int64_t end = span_end(w, s->rows.f, 0), start = end - w->range_ms;
    size_t n = 0, nh = 0;
    for (size_t i = 0; i < d->nf; i++)
        n += d->ft[i] > start && d->ft[i] <= end;
    for (size_t i = 0; i < d->nh; i++)
        nh += d->ht[i] > start && d->ht[i] <= end;
    if (n + nh == 0)
        return 0;
    struct query_series q;
    int64_t *t;
    double *v;
    const struct histogram **h;
    if (drop_name)
        labels = drop_metric_name(s->x, labels);
    int rc = x_hold(s->x, n + nh);
    if (rc != 0 || (rc = new_series(s, labels, n + nh, nh > 0, &q, &t, &v, &h)) != 0)
        return rc;
    size_t f = 0, k = 0, p = 0;
    while (f < d->nf || k < d->nh) {
        bool hist = f == d->nf || (k < d->nh && d->ht[k] < d->ft[f]);
        int64_t at = hist ? d->ht[k] : d->ft[f];
        if (at > start && at <= end) {
            t[p] = at;
            v[p] = hist ? 0 : d->fv[f];
            if (hist && (rc = keep_histogram(s, d->hv[k], &h[p])) != 0)
                return rc;
            p++;
        }
        if (hist)
            k++;
        else
            f++;
    }
    vec_push(&s->matrix, q);
    return 0;
}

struct matrix_ctx {
    struct answer *s;
    const struct span *span;
};

static int matrix_row(void *ctx, struct labels labels, bool drop_name, const struct series_data *d)
{
    const struct matrix_ctx *m = ctx;
    return matrix_take(m->s, labels, drop_name, d, m->span);
}

static int compare_series(const void *a, const void *b)
{
    return labels_cmp(((const struct query_series *)a)->labels, ((const struct query_series *)b)->labels);
}

static int answer_matrix(struct answer *s, const struct expr *root, size_t max, struct query_result *ret)
{
    struct span span = {0};
    struct matrix_ctx m = {.s = s, .span = &span};
    int rc = exec_matrix(s->x, s->rows.f, root, &span, matrix_row, &m);
    if (rc == 0) {
        if (s->matrix.n > 1)
            qsort(s->matrix.v, s->matrix.n, sizeof(*s->matrix.v), compare_series);
        size_t n = max && max < s->matrix.n ? max : s->matrix.n;
        struct query_series *out = arena_try(s->a, (n + 1) * sizeof(*out));
        if (!out) {
            rc = no_memory(s->x);
        } else {
            if (n)
                memcpy(out, s->matrix.v, n * sizeof(*out));
            ret->series = out;
            ret->n_series = n;
        }
    }
    vec_done(&s->matrix);
    return rc;
}

static int answer_scalar(struct answer *s, const struct expr *root, bool range, struct query_result *ret)
{
    const struct frame *f = s->rows.f;
    double *v = X_ARRAY(s->x, double, f->n);
    if (!v)
        return QUERY_E_BUDGET;
    int rc = exec_scalar(s->x, f, root, v);
    if (rc != 0)
        return rc;
    if (!range) {
        ret->t = f->start;
        ret->scalar = v[0];
        return 0;
    }
    struct query_series *out = arena_try(s->a, sizeof(*out));
    int64_t *t;
    double *values;
    const struct histogram **h;
    if (!out)
        return no_memory(s->x);
    if ((rc = new_series(s, (struct labels){0}, f->n, false, out, &t, &values, &h)) != 0)
        return rc;
    for (size_t i = 0; i < f->n; i++) {
        t[i] = frame_ts(f, i);
        values[i] = v[i];
    }
    ret->series = out;
    ret->n_series = 1;
    return 0;
}

static int evaluate(struct exec *x, const struct query_request *req, struct arena *a, struct query_result *ret)
{
    const struct expr *root = x->q->root;
    bool range = req->step_ms > 0;
    struct answer s = {.x = x, .a = a, .rows = {.rows = {.x = x, .steps = x->top.n}, .f = &x->top}};
    int rc = 0;
    switch (root->type) {
    case PROMQL_SCALAR:
        ret->kind = range ? QUERY_MATRIX : QUERY_SCALAR;
        rc = answer_scalar(&s, root, range, ret);
        break;
    case PROMQL_STRING: {
        struct str text = {0};
        ret->kind = QUERY_STRING;
        ret->t = x->top.start;
        if ((rc = exec_string(x, root, &text)) != 0)
            break;
        char *p = arena_try(a, text.n + 1);
        if (!p)
            return no_memory(x);
        memcpy(p, text.p, text.n);
        ret->string = str_make(p, text.n);
        break;
    }
    case PROMQL_MATRIX:
        ret->kind = QUERY_MATRIX;
        rc = answer_matrix(&s, root, req->limit, ret);
        break;
    case PROMQL_VECTOR:
    case PROMQL_NONE:
        ret->kind = range ? QUERY_MATRIX : QUERY_VECTOR;
        rc = exec_vector(x, &x->top, root, answer_take, &s);
        if (rc == 0)
            rc = finish_rows(&s, &x->top, range, req->limit, ret);
        break;
    }
    row_map_done(&s.rows);
    return rc;
}

/* ---- One query --------------------------------------------------------------------- */

static int take_turn(struct promql_engine *e, int64_t timeout_ms, struct err *err)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    int r = 0;
    pthread_mutex_lock(&e->lock);
    metric_add(&e->m[M_WAITING], 1);
    while (r == 0 && e->running >= e->o.max_concurrency)
        r = pthread_cond_timedwait(&e->turn, &e->lock, &until);
    metric_add(&e->m[M_WAITING], -1);
    bool got = e->running < e->o.max_concurrency;
    if (got)
        e->running++;
    pthread_mutex_unlock(&e->lock);
    if (got)
        return 0;
    err_set(err, "query timed out in query queue");
    return QUERY_E_TIMEOUT;
}

static void end_turn(struct promql_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->running--;
    pthread_cond_signal(&e->turn);
    pthread_mutex_unlock(&e->lock);
}

static int run(struct promql_engine *e, const struct promql *q, const struct query_request *req, int64_t timeout_ms,
               struct arena *a, struct query_result *ret, struct err *err)
{
    struct exec x = {.q = q,
                     .max_bytes = e->o.max_bytes,
                     .max_samples = e->o.max_samples,
                     .lookback_ms = req->lookback_ms > 0 ? req->lookback_ms : e->o.lookback_ms,
                     .subquery_step_ms = e->o.subquery_step_ms,
                     .is_range = req->step_ms > 0,
                     .use_st = !e->o.no_start_timestamps,
                     .clock = e->o.clock,
                     .cancel = req->cancel,
                     .err = err};
    x.top = (struct frame){.start = req->start_ms, .step = req->step_ms > 0 ? req->step_ms : 1, .n = 1};
    if (req->step_ms > 0)
        x.top.n = (size_t)((req->end_ms - req->start_ms) / req->step_ms) + 1;
    if (x.is_range && q->root->type != PROMQL_SCALAR && q->root->type != PROMQL_VECTOR) {
        err_set(err, "invalid expression type \"%s\" for range query, must be Scalar or instant Vector",
                promql_type_documents[q->root->type]);
        return QUERY_E_PARSE;
    }
    x.deadline_ns = clock_mono_ns(x.clock) + (uint64_t)timeout_ms * 1000000;
    int r = source_open(e->src, &x.snap);
    if (r != 0) {
        err_set(err, "opening a snapshot failed: %s", err_name(r));
        return QUERY_E_INTERNAL;
    }
    x.a = arena_new(0);
    struct query_result out = {0};
    r = evaluate(&x, req, a, &out);
    if (r == 0)
        r = notes_result(&x, a, &out.notes, &out.n_notes);
    out.samples_read = x.samples_read;
    out.samples_peak = x.samples_peak;
    metric_add(&e->m[M_SAMPLES], (int64_t)x.samples_read);
    vec_done(&x.notes);
    arena_free(x.a);
    snapshot_release(x.snap);
    if (r == 0)
        *ret = out;
    return r;
}

static int engine_eval(struct query_engine *query, const struct query_request *req, struct arena *a,
                       struct query_result *ret, struct err *err)
{
    struct promql_engine *e = CONTAINER_OF(query, struct promql_engine, query);
    struct promql *q;
    struct err own = {0};
    if (!err)
        err = &own;
    if (req->step_ms < 0 || (req->step_ms > 0 && req->end_ms < req->start_ms)) {
        err_set(err, "end of the range lies before its start");
        return QUERY_E_PARSE;
    }
    if (req->start_ms < -TIME_LIMIT_MS || req->end_ms > TIME_LIMIT_MS || req->end_ms < -TIME_LIMIT_MS ||
        req->start_ms > TIME_LIMIT_MS) {
        err_set(err, "the query's time is beyond the years this engine can count");
        return QUERY_E_PARSE;
    }
    int r = promql_parse(req->expr, &q, err);
    if (r != 0) {
        metric_add(&e->m[M_FAILED], 1);
        return r;
    }
    int64_t timeout_ms = req->timeout_ms > 0 ? MIN(req->timeout_ms, e->o.timeout_ms) : e->o.timeout_ms;
    metric_add(&e->m[M_QUERIES], 1);
    uint64_t begun = clock_mono_ns(e->o.clock);
    r = take_turn(e, timeout_ms, err);
    if (r == 0) {
        r = run(e, q, req, timeout_ms, a, ret, err);
        end_turn(e);
    }
    metric_add(&e->m[M_SECONDS], (int64_t)(clock_mono_ns(e->o.clock) - begun));
    metric_add(&e->m[M_TOTAL], 1);
    if (r != 0)
        metric_add(&e->m[M_FAILED], 1);
    metric_add(&e->m[M_QUERIES], -1);
    promql_free(q);
    return r;
}

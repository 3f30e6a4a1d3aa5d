// SPDX-License-Identifier: Apache-2.0
/* Series out of the store: instant values at every step, and the samples of every window. */
#include "promql/exec_int.h"
#include <math.h>

static int select_series(struct exec *x, const struct expr *sel, int64_t mint, int64_t maxt, struct arena *a,
                         struct source_list *ret)
{
    int r = x->snap->ops->select(x->snap, sel->sel.matchers, sel->sel.n_matchers, mint, maxt, a, ret);
    if (r == -ENOMEM)
        return x_fail(x, QUERY_E_BUDGET, "query selects too many series for its memory (limit query_memory)");
    if (r != 0)
        return x_fail(x, QUERY_E_INTERNAL, "reading series failed: %s", err_name(r));
    return 0;
}

/* What a store of Prometheus tells of histograms it was given without a hint: one that goes on where the one before
 * left, in the same layout, is "not a reset". stats: also as HistogramStatsIterator, which tells every other one too.
 * Done once here, no window has to compare them again. prev: the sample before the first, or NULL. */
static void work_out_hints(struct column *c, const struct histogram *prev, bool stats)
{
    bool inside = false; /* prev was read by the query itself: the iterator has seen it */
    for (size_t i = 0; i < c->n; i++, inside = true) {
        const struct histogram *h = c->h[i];
        if (!h || is_stale(h->sum)) {
            prev = NULL;
            continue;
        }
        enum hist_hint hint = h->hint;
        if (hint == HIST_UNKNOWN_RESET && prev) {
            bool reset = hist_reset(h, prev);
            if (!reset && ((stats && inside) || (prev->hint != HIST_GAUGE && hist_same_layout(h, prev))))
                hint = HIST_NOT_RESET;
            else if (reset && stats && inside)
                hint = HIST_RESET;
        }
        if (hint != h->hint) {
            struct histogram *copy = ARENA_NEW(c->hists, struct histogram);
            *copy = *h;
            copy->hint = hint;
            c->h[i] = copy;
        }
        prev = h;
    }
}

/* The first histogram's hint hangs on the sample before it. */
static int histogram_hints(struct exec *x, const struct source_series *s, int64_t mint, struct column *c)
{
    if (!c->hists)
        c->hists = arena_new(0);
    struct column before = {0};
    const struct histogram *prev = NULL;
    int r = 0;
    if (c->h[0] && c->h[0]->hint == HIST_UNKNOWN_RESET)
        r = x->snap->ops->read(x->snap, s, mint - x->lookback_ms, mint - 1, &before);
    if (r == 0 && before.n > 0 && before.h)
        prev = before.h[before.n - 1];
    if (prev && is_stale(prev->sum))
        prev = NULL;
    if (r == 0)
        work_out_hints(c, prev, x->hist_stats);
    column_done(&before);
    return r == 0 ? 0 : x_fail(x, QUERY_E_INTERNAL, "reading samples failed: %s", err_name(r));
}

static int read_series(struct exec *x, const struct source_series *s, int64_t mint, int64_t maxt, struct column *c)
{
    int r = x_check(x);
    if (r != 0)
        return r;
    column_reset(c);
    if ((r = x->snap->ops->read(x->snap, s, mint, maxt, c)) != 0)
        return x_fail(x, QUERY_E_INTERNAL, "reading samples failed: %s", err_name(r));
    x->samples_read += c->n;
    if (c->n > 0 && c->h && (r = histogram_hints(x, s, mint, c)) != 0)
        return r;
    if (c->n > x->max_samples)
        return x_hold(x, c->n);
    return 0;
}

static bool stale_at(const struct column *c, size_t i)
{
    return c->h && c->h[i] ? is_stale(c->h[i]->sum) : is_stale(c->v[i]);
}

/* ---- Instant selectors ------------------------------------------------------------- */

struct instant {
    struct exec *x;
    const struct frame *f;
    const struct expr *sel;
    enum select_what what;
    int64_t offset, at, lookback;
    bool pinned;
    struct row out;
    const struct histogram **h;
    struct arena *hists;
};

static int64_t ref_time(const struct instant *s, size_t i)
{
    return (s->pinned ? s->at : frame_ts(s->f, i)) - s->offset;
}

static bool show_sample(struct instant *s, const struct column *c, size_t k, size_t i)
{
    if (s->what == SELECT_TIME) {
        s->out.v[i] = (double)c->t[k] / 1000;
    } else if (s->what == SELECT_START) {
        s->out.v[i] = c->st ? (double)c->st[k] / 1000 : 0;
    } else if (c->h && c->h[k]) {
        s->out.v[i] = stale_nan();
        s->h[i] = c->h[k];
        s->out.h = s->h;
    } else {
        s->out.v[i] = c->v[k];
    }
    return true;
}

/* The value between two samples; only the time decides, counters or not. */
static bool smooth_between(struct instant *s, const struct column *c, size_t k, int64_t t, size_t i)
{
    bool ha = c->h && c->h[k], hb = c->h && c->h[k + 1];
    double part = (double)(t - c->t[k]) / (double)(c->t[k + 1] - c->t[k]);
    if (!ha && !hb) {
        s->out.v[i] = c->v[k] + (c->v[k + 1] - c->v[k]) * part;
        return true;
    }
    struct str name = metric_name(s->out.labels);
    if (ha != hb) {
        x_note(s->x, NOTE_MIXED_RANGE, s->sel->start, name, STR(""));
        return false;
    }
    unsigned status = 0;
    struct histogram *d = hist_sub(s->hists, c->h[k + 1], c->h[k], &status);
    struct histogram *sum = d ? hist_add(s->hists, c->h[k], hist_scale(s->hists, d, part), &status) : NULL;
    if (!sum) {
        x_note(s->x, NOTE_MIXED_SCHEMAS, s->sel->start, name, STR(""));
        return false;
    }
    s->out.v[i] = stale_nan();
    s->h[i] = sum;
    s->out.h = s->h;
    return true;
}

static bool fill_plain(struct instant *s, const struct column *c)
{
    bool any = false;
    size_t k = 0; /* samples at or before the time looked at */
    for (size_t i = 0; i < s->f->n; i++) {
        int64_t t = ref_time(s, i);
        while (k < c->n && c->t[k] <= t)
            k++;
        if (k > 0 && c->t[k - 1] > t - s->lookback && !stale_at(c, k - 1))
            any |= show_sample(s, c, k - 1, i);
        else
            s->out.v[i] = stale_nan();
    }
    return any;
}

static bool fill_smoothed(struct instant *s, const struct column *c)
{
    bool any = false;
    size_t k = 0;
    for (size_t i = 0; i < s->f->n; i++) {
        int64_t t = ref_time(s, i);
        while (k < c->n && c->t[k] <= t)
            k++;
        s->out.v[i] = stale_nan();
        if (k == 0 || c->t[k - 1] <= t - s->lookback || stale_at(c, k - 1))
            continue;
        if (c->t[k - 1] == t || k == c->n || c->t[k] > t + s->lookback || stale_at(c, k))
            any |= show_sample(s, c, k - 1, i);
        else
            any |= smooth_between(s, c, k - 1, t, i);
    }
    return any;
}

int exec_selector(struct exec *x, const struct frame *f, const struct expr *e, enum select_what what, row_fn emit,
                  void *ctx)
{
    struct instant s = {.x = x, .f = f, .sel = e, .what = what, .lookback = x->lookback_ms};
    int r = when_offset(x, f, &e->sel.when, &s.offset);
    if (r != 0 || (r = row_init(x, f, &s.out, false)) != 0)
        return r;
    s.pinned = when_at(x, &e->sel.when, &s.at);
    if (!(s.h = X_ARRAY(x, const struct histogram *, f->n)))
        return QUERY_E_BUDGET;
    int64_t mint = ref_time(&s, 0) - s.lookback + 1;
    int64_t maxt = ref_time(&s, f->n - 1) + (e->sel.smoothed ? s.lookback : 0);
    struct arena *list_arena = arena_new(x->max_bytes);
    struct source_list list = {0};
    struct column c = {0};
    s.hists = arena_new(0);
    r = select_series(x, e, mint, maxt, list_arena, &list);
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        if ((r = read_series(x, &list.v[i], mint, maxt, &c)) != 0)
            break;
        if (c.n == 0)
            continue;
        s.out.labels = list.v[i].labels;
        s.out.drop_name = false;
        if (s.out.h) {
            memset(s.h, 0, f->n * sizeof(*s.h));
            s.out.h = NULL;
        }
        if (e->sel.smoothed && what == SELECT_VALUE ? fill_smoothed(&s, &c) : fill_plain(&s, &c))
            r = emit(ctx, &s.out);
        arena_reset(s.hists);
    }
    arena_free(s.hists);
    column_done(&c);
    arena_free(list_arena);
    return r;
}

/* ---- Windows ----------------------------------------------------------------------- */

/* A column cut in two, without staleness markers. Reuses its arrays. */
struct splitter {
    int64_t *ft, *fst, *ht, *hst;
    double *fv;
    const struct histogram **hv;
    size_t fcap, hcap;
    struct series_data d;
};

static void splitter_done(struct splitter *s)
{
    free(s->ft);
    free(s->fst);
    free(s->fv);
    free(s->ht);
    free(s->hst);
    free(s->hv);
}

static void split(struct splitter *s, const struct column *c)
{
    bool plain = !c->h;
    for (size_t i = 0; plain && i < c->n; i++)
        plain = !is_stale(c->v[i]);
    if (plain) { /* the usual case costs nothing */
        s->d = (struct series_data){.ft = c->t, .fv = c->v, .fst = c->st, .nf = c->n};
        return;
    }
    if (s->fcap < c->n) {
        s->fcap = c->n * 2;
        s->ft = xrealloc(s->ft, s->fcap * sizeof(*s->ft));
        s->fst = xrealloc(s->fst, s->fcap * sizeof(*s->fst));
        s->fv = xrealloc(s->fv, s->fcap * sizeof(*s->fv));
    }
    if (c->h && s->hcap < c->n) {
        s->hcap = c->n * 2;
        s->ht = xrealloc(s->ht, s->hcap * sizeof(*s->ht));
        s->hst = xrealloc(s->hst, s->hcap * sizeof(*s->hst));
        s->hv = xrealloc(s->hv, s->hcap * sizeof(*s->hv));
    }
    size_t nf = 0, nh = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (stale_at(c, i))
            continue;
        int64_t st = c->st ? c->st[i] : 0;
        if (c->h && c->h[i]) {
            s->ht[nh] = c->t[i];
            s->hst[nh] = st;
            s->hv[nh++] = c->h[i];
        } else {
            s->ft[nf] = c->t[i];
            s->fst[nf] = st;
            s->fv[nf++] = c->v[i];
        }
    }
    s->d = (struct series_data){.ft = s->ft,
                                .fv = s->fv,
                                .fst = c->st ? s->fst : NULL,
                                .nf = nf,
                                .ht = s->ht,
                                .hv = s->hv,
                                .hst = c->st ? s->hst : NULL,
                                .nh = nh};
}

static int matrix_selector(struct exec *x, const struct frame *f, const struct expr *e, struct span *span, data_fn fn,
                           void *ctx)
{
    const struct expr *sel = e->win.child;
    int r = win_range(x, f, e, &span->range_ms, NULL);
    if (r != 0 || (r = when_offset(x, f, &sel->sel.when, &span->offset_ms)) != 0)
        return r;
    span->pinned = when_at(x, &sel->sel.when, &span->at_ms);
    span->anchored = sel->sel.anchored;
    span->smoothed = sel->sel.smoothed;
    int64_t mint = span_end(span, f, 0) - span->range_ms + 1, maxt = span_end(span, f, f->n - 1);
    if (span->anchored || span->smoothed)
        mint -= x->lookback_ms;
    if (span->smoothed)
        maxt += x->lookback_ms;
    struct arena *list_arena = arena_new(x->max_bytes);
    struct source_list list = {0};
    struct column c = {0};
    struct splitter s = {0};
    r = select_series(x, sel, mint, maxt, list_arena, &list);
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        if ((r = read_series(x, &list.v[i], mint, maxt, &c)) != 0)
            break;
        split(&s, &c);
        if (!x->use_st)
            s.d.fst = s.d.hst = NULL;
        if (s.d.nf + s.d.nh > 0)
            r = fn(ctx, list.v[i].labels, false, &s.d);
    }
    splitter_done(&s);
    column_done(&c);
    arena_free(list_arena);
    return r;
}

struct subquery {
    struct exec *x;
    struct frame inner;
    data_fn fn;
    void *ctx;
    int64_t *ft, *ht;
    double *fv;
    const struct histogram **hv;
};

static int subquery_take(void *ctx, struct row *r)
{
    struct subquery *s = ctx;
    size_t nf = 0, nh = 0;
    for (size_t i = 0; i < s->inner.n; i++) {
        if (has_float(r->v[i])) {
            s->ft[nf] = frame_ts(&s->inner, i);
            s->fv[nf++] = r->v[i];
        } else if (has_hist(r, i)) {
            if (!s->ht) {
                s->ht = X_ARRAY(s->x, int64_t, s->inner.n);
                s->hv = X_ARRAY(s->x, const struct histogram *, s->inner.n);
                if (!s->ht || !s->hv)
                    return QUERY_E_BUDGET;
            }
            s->ht[nh] = frame_ts(&s->inner, i);
            s->hv[nh++] = r->h[i];
        }
    }
    if (nf + nh == 0)
        return 0;
    struct series_data d = {.ft = s->ft, .fv = s->fv, .nf = nf, .ht = s->ht, .hv = s->hv, .nh = nh};
    int rc = x_hold(s->x, nf + nh);
    if (rc == 0)
        rc = s->fn(s->ctx, r->labels, r->drop_name, &d);
    x_release(s->x, nf + nh);
    return rc;
}

static int matrix_subquery(struct exec *x, const struct frame *f, const struct expr *e, struct span *span, data_fn fn,
                           void *ctx)
{
    struct subquery s = {.x = x, .fn = fn, .ctx = ctx};
    int64_t step;
    int r = win_range(x, f, e, &span->range_ms, &step);
    if (r != 0 || (r = when_offset(x, f, &e->win.when, &span->offset_ms)) != 0)
        return r;
    span->pinned = when_at(x, &e->win.when, &span->at_ms);
    /* Steps lie at multiples of the subquery's step, the first one after the left edge of the first window. */
    int64_t left = span_end(span, f, 0) - span->range_ms, last = span_end(span, f, f->n - 1);
    int64_t first = left / step * step;
    if (first <= left)
        first += step;
    if (first > last)
        return 0;
    s.inner = (struct frame){.start = first, .step = step, .n = (size_t)((last - first) / step) + 1};
    if (s.inner.n > x->max_samples)
        return x_hold(x, s.inner.n);
    s.ft = X_ARRAY(x, int64_t, s.inner.n);
    s.fv = X_ARRAY(x, double, s.inner.n);
    if (!s.ft || !s.fv)
        return QUERY_E_BUDGET;
    return exec_vector(x, &s.inner, e->win.child, subquery_take, &s);
}

int exec_matrix(struct exec *x, const struct frame *f, const struct expr *e, struct span *ret_span, data_fn fn,
                void *ctx)
{
    e = expr_bare(e);
    *ret_span = (struct span){0};
    if (e->kind == E_MATRIX)
        return matrix_selector(x, f, e, ret_span, fn, ctx);
    ASSERT(e->kind == E_SUBQUERY);
    return matrix_subquery(x, f, e, ret_span, fn, ctx);
}

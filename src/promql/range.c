// SPDX-License-Identifier: Apache-2.0
/* Functions of a range: one pass per series, two indices that only move forward. Numerics follow promql/functions.go of
 * Prometheus 3.14; windows are open on the left. */
#include "promql/range_int.h"
#include "codec/f64.h"
#include <math.h>

/* ---- sum_over_time and its like ---------------------------------------------------- */

static void note_ignored(struct range_run *r, const struct win *w)
{
    if (w->nh > 0 && w->nf > 0)
        range_note(r, NOTE_IGNORED_IN_RANGE);
}

static bool floats_only(struct range_run *r, const struct win *w)
{
    note_ignored(r, w);
    return w->nf > 0;
}

static void sum_hists(struct range_run *r, const struct win *w, size_t i, bool average)
{
    unsigned status = 0;
    bool custom = hist_is_custom(w->hv[0]), saw_reset = false, saw_not = false;
    struct histogram *h = hist_copy(r->hists, w->hv[0]);
    for (size_t k = 0; k < w->nh; k++) {
        saw_reset |= w->hv[k]->hint == HIST_RESET;
        saw_not |= w->hv[k]->hint == HIST_NOT_RESET;
        if (k > 0)
            h = hist_is_custom(w->hv[k]) == custom ? hist_add(r->hists, h, w->hv[k], &status) : NULL;
        if (!h) {
            range_note(r, NOTE_MIXED_SCHEMAS);
            return;
        }
    }
    range_note_status(r, status & HIST_RECONCILED, "aggregation");
    if (saw_reset && saw_not)
        x_note(r->x, NOTE_RESET_CONFLICT, r->pos, STR(""), STR("aggregation"));
    if (average)
        h = hist_divide(r->hists, h, (double)w->nh);
    range_put_hist(r, i, h);
}

static void sum_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (w->nh > 0) {
        if (w->nf > 0)
            range_note(r, NOTE_MIXED_RANGE);
        else
            sum_hists(r, w, i, false);
        return;
    }
    double sum = 0, c = 0;
    for (size_t k = 0; k < w->nf; k++)
        kahan_add(w->fv[k], &sum, &c);
    range_put(r, i, isinf(sum) ? sum : sum + c);
}

static double average_of(const double *v, size_t n)
{
    double sum = v[0], c = 0, mean = 0;
    bool incremental = false;
    for (size_t k = 1; k < n; k++) {
        double count = (double)(k + 1);
        if (!incremental) {
            double s = sum, sc = c;
            kahan_add(v[k], &s, &sc);
            if (!isinf(s)) {
                sum = s;
                c = sc;
                continue;
            }
            /* The sum overflows: go on with the mean. */
            incremental = true;
            mean = sum / (count - 1);
            c /= count - 1;
        }
        double q = (count - 1) / count;
        mean = q * mean;
        c = q * c;
        kahan_add(v[k] / count, &mean, &c);
    }
    return incremental ? mean + c : sum / (double)n + c / (double)n;
}

static void avg_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (w->nh > 0) {
        if (w->nf > 0)
            range_note(r, NOTE_MIXED_RANGE);
        else
            sum_hists(r, w, i, true);
        return;
    }
    range_put(r, i, average_of(w->fv, w->nf));
}

static void count_over_time(struct range_run *r, const struct win *w, size_t i)
{
    range_put(r, i, (double)(w->nf + w->nh));
}

static void present_over_time(struct range_run *r, const struct win *w, size_t i)
{
    (void)w;
    range_put(r, i, 1);
}

static void end_of_window(struct range_run *r, const struct win *w, size_t i, bool last, bool time)
{
    size_t f = last && w->nf ? w->nf - 1 : 0, h = last && w->nh ? w->nh - 1 : 0;
    bool use_h = w->nh > 0 && (w->nf == 0 || (last ? w->ht[h] > w->ft[f] : w->ht[h] < w->ft[f]));
    if (time)
        range_put(r, i, (double)(use_h ? w->ht[h] : w->ft[f]) / 1000);
    else if (use_h)
        range_put_hist(r, i, w->hv[h]);
    else
        range_put(r, i, w->fv[f]);
}

static void last_over_time(struct range_run *r, const struct win *w, size_t i)
{
    end_of_window(r, w, i, true, false);
}

static void first_over_time(struct range_run *r, const struct win *w, size_t i)
{
    end_of_window(r, w, i, false, false);
}

static void ts_of_last(struct range_run *r, const struct win *w, size_t i)
{
    end_of_window(r, w, i, true, true);
}

static void ts_of_first(struct range_run *r, const struct win *w, size_t i)
{
    end_of_window(r, w, i, false, true);
}

static void max_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    double m = w->fv[0];
    for (size_t k = 1; k < w->nf; k++)
        if (w->fv[k] > m || isnan(m))
            m = w->fv[k];
    range_put(r, i, m);
}

static void min_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    double m = w->fv[0];
    for (size_t k = 1; k < w->nf; k++)
        if (w->fv[k] < m || isnan(m))
            m = w->fv[k];
    range_put(r, i, m);
}

static void ts_of_extreme(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    bool max = r->id == FN_TS_OF_MAX_OVER_TIME;
    size_t best = 0;
    for (size_t k = 1; k < w->nf; k++)
        if ((max ? w->fv[k] >= w->fv[best] : w->fv[k] <= w->fv[best]) || isnan(w->fv[best]))
            best = k;
    range_put(r, i, (double)w->ft[best] / 1000);
}

static void variance_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    double count = 0, mean = 0, cmean = 0, aux = 0, caux = 0;
    for (size_t k = 0; k < w->nf; k++) { /* Welford, both sums compensated */
        count++;
        double delta = w->fv[k] - (mean + cmean);
        kahan_add(delta / count, &mean, &cmean);
        kahan_add(delta * (w->fv[k] - (mean + cmean)), &aux, &caux);
    }
    double v = (aux + caux) / count;
    range_put(r, i, r->id == FN_STDDEV_OVER_TIME ? sqrt(v) : v);
}

static double *scratch_copy(struct range_run *r, const struct win *w)
{
    if (r->scratch_cap < w->nf) {
        r->scratch_cap = w->nf * 2;
        r->scratch = xrealloc(r->scratch, r->scratch_cap * sizeof(double));
    }
    memcpy(r->scratch, w->fv, w->nf * sizeof(double));
    return r->scratch;
}

static void quantile_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    range_put(r, i, quantile_of(r->p1[i], scratch_copy(r, w), w->nf));
}

static void mad_over_time(struct range_run *r, const struct win *w, size_t i)
{
    if (!floats_only(r, w))
        return;
    double *v = scratch_copy(r, w);
    double median = quantile_of(0.5, v, w->nf);
    for (size_t k = 0; k < w->nf; k++)
        v[k] = fabs(v[k] - median);
    range_put(r, i, quantile_of(0.5, v, w->nf));
}

/* ---- Regression and smoothing ------------------------------------------------------ */

static void linear_regression(const struct win *w, int64_t at, double *ret_slope, double *ret_intercept)
{
    double n = 0, sx = 0, cx = 0, sy = 0, cy = 0, sxy = 0, cxy = 0, sxx = 0, cxx = 0;
    bool constant = true;
    for (size_t k = 0; k < w->nf; k++) {
        if (constant && k > 0 && w->fv[k] != w->fv[0])
            constant = false;
        n++;
        double t = (double)(w->ft[k] - at) / 1e3;
        kahan_add(t, &sx, &cx);
        kahan_add(w->fv[k], &sy, &cy);
        kahan_add(t * w->fv[k], &sxy, &cxy);
        kahan_add(t * t, &sxx, &cxx);
    }
    if (constant) {
        *ret_slope = isinf(w->fv[0]) ? NAN : 0;
        *ret_intercept = isinf(w->fv[0]) ? NAN : w->fv[0];
        return;
    }
    sx += cx;
    sy += cy;
    sxy += cxy;
    sxx += cxx;
    double cov = sxy - sx * sy / n, var = sxx - sx * sx / n;
    *ret_slope = cov / var;
    *ret_intercept = sy / n - *ret_slope * sx / n;
}

static void regression(struct range_run *r, const struct win *w, size_t i)
{
    note_ignored(r, w);
    if (w->nf < 2)
        return;
    double slope, intercept;
    bool predict = r->id == FN_PREDICT_LINEAR;
    linear_regression(w, predict ? frame_ts(r->f, i) : w->ft[0], &slope, &intercept);
    range_put(r, i, predict ? slope * r->p1[i] + intercept : slope);
}

static void double_smoothing(struct range_run *r, const struct win *w, size_t i)
{
    note_ignored(r, w);
    if (w->nf < 2)
        return;
    double sf = r->p1[i], tf = r->p2[i];
    double s0 = 0, s1 = w->fv[0], b = w->fv[1] - w->fv[0];
    for (size_t k = 1; k < w->nf; k++) {
        double scaled = sf * w->fv[k];
        if (k > 1)
            b = tf * (s1 - s0) + (1 - tf) * b;
        double y = (1 - sf) * (s1 + b);
        s0 = s1;
        s1 = scaled + y;
    }
    range_put(r, i, s1);
}

/* ---- The call ---------------------------------------------------------------------- */

/* One function per row of this list: the loop above with the body inside. */
#define BODIES(X)                                                                                                      \
    X(sum_over_time)                                                                                                   \
    X(avg_over_time)                                                                                                   \
    X(count_over_time)                                                                                                 \
    X(present_over_time)                                                                                               \
    X(last_over_time)                                                                                                  \
    X(first_over_time)                                                                                                 \
    X(ts_of_last)                                                                                                      \
    X(ts_of_first)                                                                                                     \
    X(max_over_time)                                                                                                   \
    X(min_over_time)                                                                                                   \
    X(ts_of_extreme)                                                                                                   \
    X(variance_over_time)                                                                                              \
    X(quantile_over_time)                                                                                              \
    X(mad_over_time)                                                                                                   \
    X(regression)                                                                                                      \
    X(double_smoothing)
#define X(body)                                                                                                        \
    static void body##_row(struct range_run *r, const struct series_data *d)                                           \
    {                                                                                                                  \
        over_steps(r, d, body);                                                                                        \
    }
BODIES(X)
#undef X

static void (*const bodies[FN_COUNT])(struct range_run *, const struct series_data *) = {
    [FN_RATE] = rate_row,
    [FN_INCREASE] = rate_row,
    [FN_DELTA] = rate_row,
    [FN_IRATE] = last_two_row,
    [FN_IDELTA] = last_two_row,
    [FN_CHANGES] = count_between_row,
    [FN_RESETS] = count_between_row,
    [FN_SUM_OVER_TIME] = sum_over_time_row,
    [FN_AVG_OVER_TIME] = avg_over_time_row,
    [FN_COUNT_OVER_TIME] = count_over_time_row,
    [FN_PRESENT_OVER_TIME] = present_over_time_row,
    [FN_LAST_OVER_TIME] = last_over_time_row,
    [FN_FIRST_OVER_TIME] = first_over_time_row,
    [FN_TS_OF_LAST_OVER_TIME] = ts_of_last_row,
    [FN_TS_OF_FIRST_OVER_TIME] = ts_of_first_row,
    [FN_MAX_OVER_TIME] = max_over_time_row,
    [FN_MIN_OVER_TIME] = min_over_time_row,
    [FN_TS_OF_MAX_OVER_TIME] = ts_of_extreme_row,
    [FN_TS_OF_MIN_OVER_TIME] = ts_of_extreme_row,
    [FN_STDDEV_OVER_TIME] = variance_over_time_row,
    [FN_STDVAR_OVER_TIME] = variance_over_time_row,
    [FN_QUANTILE_OVER_TIME] = quantile_over_time_row,
    [FN_MAD_OVER_TIME] = mad_over_time_row,
    [FN_DERIV] = regression_row,
    [FN_PREDICT_LINEAR] = regression_row,
    [FN_DOUBLE_EXPONENTIAL_SMOOTHING] = double_smoothing_row,
};

static bool counter_name(struct str name)
{
    return str_ends(name, STR("_total")) || str_ends(name, STR("_sum")) || str_ends(name, STR("_count")) ||
           str_ends(name, STR("_bucket"));
}

static int series_take(void *ctx, struct labels labels, bool drop_name, const struct series_data *d)
{
    struct range_run *r = ctx;
    r->out.labels = labels;
    r->name = metric_name(labels);
    /* last and first show the sample itself; everything else is a new quantity */
    r->out.drop_name = drop_name || (r->id != FN_LAST_OVER_TIME && r->id != FN_FIRST_OVER_TIME);
    for (size_t i = 0; i < r->f->n; i++)
        r->out.v[i] = stale_nan();
    if (r->out.h) {
        memset(r->h, 0, r->f->n * sizeof(*r->h));
        r->out.h = NULL;
    }
    if (r->span.anchored || r->span.smoothed)
        extended_row(r, d);
    else if (!slide_row(r, d))
        bodies[r->id](r, d);
    if (r->rc != 0)
        return r->rc;
    bool any = row_any(&r->out, r->f->n);
    if (any && d->nf > 0 && (r->id == FN_RATE || r->id == FN_INCREASE) && r->name.n > 0 && !counter_name(r->name))
        x_note(r->x, NOTE_MAYBE_NO_COUNTER, r->pos, r->name, STR(""));
    int rc = any ? r->emit(r->ctx, &r->out) : 0;
    arena_reset(r->hists);
    return rc;
}

static int scalar_arg(struct range_run *r, size_t index, double **ret)
{
    if (!(*ret = X_ARRAY(r->x, double, r->f->n)))
        return QUERY_E_BUDGET;
    return exec_scalar(r->x, r->f, r->call->call.args[index], *ret);
}

static int check_parameters(struct range_run *r)
{
    if (r->id == FN_DOUBLE_EXPONENTIAL_SMOOTHING) {
        for (size_t i = 0; i < r->f->n; i++) {
            if (!(r->p1[i] > 0 && r->p1[i] < 1))
                return x_fail(r->x, QUERY_E_EXEC, "invalid smoothing factor. Expected: 0 < sf < 1, got: %f", r->p1[i]);
            if (!(r->p2[i] > 0 && r->p2[i] < 1))
                return x_fail(r->x, QUERY_E_EXEC, "invalid trend factor. Expected: 0 < tf < 1, got: %f", r->p2[i]);
        }
    }
    return 0;
}

static void note_bad_quantiles(struct range_run *r)
{
    char text[F64_TEXT_MAX];
    for (size_t i = 0; i < r->f->n; i++) {
        double q = r->p1[i];
        if (!(q >= 0 && q <= 1)) {
            struct str got = arena_str(r->x->a, str_make(text, f64_write_g(text, q)));
            x_note(r->x, NOTE_BAD_QUANTILE, r->call->call.args[0]->start, STR(""), got);
        }
    }
}

/* absent_over_time: one row that says where no series has a sample. */
static int absent_take(void *ctx, struct labels labels, bool drop_name, const struct series_data *d)
{
    (void)labels, (void)drop_name;
    struct range_run *r = ctx;
    size_t f = 0, h = 0;
    for (size_t i = 0; i < r->f->n; i++) {
        int64_t end = span_end(&r->span, r->f, i), start = end - r->span.range_ms;
        while (f < d->nf && d->ft[f] <= start)
            f++;
        while (h < d->nh && d->ht[h] <= start)
            h++;
        if ((f < d->nf && d->ft[f] <= end) || (h < d->nh && d->ht[h] <= end))
            range_put(r, i, stale_nan());
    }
    return 0;
}

/* The labels that equality matchers tell, where they tell them once. */
static struct labels absent_labels(struct exec *x, const struct expr *arg)
{
    arg = expr_bare(arg);
    if (arg->kind == E_MATRIX)
        arg = arg->win.child;
    struct labels none = {0};
    if (arg->kind != E_SELECTOR)
        return none;
    struct labels_builder b = {0};
    lb_init(&b, none);
    for (size_t i = 0; i < arg->sel.n_matchers; i++) {
        const struct matcher *m = &arg->sel.matchers[i];
        if (str_eqz(m->name, LABEL_NAME))
            continue;
        size_t same = 0;
        for (size_t k = 0; k < arg->sel.n_matchers; k++)
            same += str_eq(m->name, arg->sel.matchers[k].name);
        if (m->op == MATCH_EQ && same == 1)
            lb_set(&b, m->name, m->value);
    }
    struct labels l = labels_build(x, &b);
    lb_done(&b);
    return l;
}

struct absent {
    size_t n;
    double *v;
};

static int absent_vector_take(void *ctx, struct row *r)
{
    struct absent *s = ctx;
    for (size_t i = 0; i < s->n; i++)
        if (has_point(r, i))
            s->v[i] = stale_nan();
    return 0;
}

static int exec_absent(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    struct range_run r = {.x = x, .f = f, .call = e, .id = e->call.id};
    int rc = row_init(x, f, &r.out, false);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < f->n; i++)
        r.out.v[i] = 1;
    if (e->call.id == FN_ABSENT) {
        struct absent s = {.n = f->n, .v = r.out.v};
        rc = exec_vector(x, f, e->call.args[0], absent_vector_take, &s);
    } else {
        rc = exec_matrix(x, f, e->call.args[0], &r.span, absent_take, &r);
    }
    r.out.labels = absent_labels(x, e->call.args[0]);
    return rc == 0 && row_any(&r.out, f->n) ? emit(ctx, &r.out) : rc;
}

int exec_range_call(struct exec *x, const struct frame *f, const struct expr *e, row_fn emit, void *ctx)
{
    if (e->call.id == FN_ABSENT || e->call.id == FN_ABSENT_OVER_TIME)
        return exec_absent(x, f, e, emit, ctx);
    struct range_run r = {.x = x, .f = f, .call = e, .id = e->call.id, .emit = emit, .ctx = ctx};
    const struct expr *arg = e->call.args[e->call.id == FN_QUANTILE_OVER_TIME ? 1 : 0];
    r.pos = arg->start;
    int rc = row_init(x, f, &r.out, false);
    if (rc != 0)
        return rc;
    if (!(r.h = X_ARRAY(x, const struct histogram *, f->n)))
        return QUERY_E_BUDGET;
    if (r.id == FN_QUANTILE_OVER_TIME) {
        if ((rc = scalar_arg(&r, 0, &r.p1)) != 0)
            return rc;
        note_bad_quantiles(&r);
    } else {
        if (e->call.n_args > 1 && (rc = scalar_arg(&r, 1, &r.p1)) != 0)
            return rc;
        if (e->call.n_args > 2 && (rc = scalar_arg(&r, 2, &r.p2)) != 0)
            return rc;
    }
    if ((rc = check_parameters(&r)) != 0)
        return rc;
    r.hists = arena_new(0);
    rc = exec_matrix(x, f, arg, &r.span, series_take, &r);
    arena_free(r.hists);
    free(r.scratch);
    return rc;
}
